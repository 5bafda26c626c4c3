"""What every wire format implements, and the faults it may find."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from detector.batches import RecordBatch, RejectReason, SampleBatch, SeriesKey


class NamedLabels(NamedTuple):
    """What a series key stands for: the metric's name and its labels, as text."""

    name: str
    labels: Mapping[str, str]


class LabelFault(NamedTuple):
    """Why a series key stands for nothing usable."""

    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """What a record may ask of us.

    ``record_bytes_max`` bytes of one value; ``labels_max`` labels of one series; ``ahead_max_ms`` how far an event time
    may lie past the record's broker timestamp, so that one bad clock cannot push the partition's watermark.
    """

    record_bytes_max: int = 1_048_576
    labels_max: int = 64
    ahead_max_ms: int = 600_000


class Decoder(Protocol):
    """One wire format."""

    name: str

    def decode(self, batch: RecordBatch) -> SampleBatch:
        """All samples and rejects of ``batch``. Never raises on input."""

    def labels(self, key: SeriesKey) -> NamedLabels | LabelFault:
        """Parse a key made by :meth:`decode`; asked once per series, then remembered by the series room."""
