"""What every log format implements: bytes become lines with a service, a time and a severity.

A log decoder is pure and total, like a decoder of metrics: it never raises on input, accounts for every record by at
least one line or exactly one reject, and gives the same lines whichever way a stream is cut into batches.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from detector.batches import RecordBatch, SeriesKey
from detector.decoders.decoder import LabelFault, NamedLabels
from detector.log_batches import LogBatch

LOGS: Final = "logs"
"""Name in the key of every service's log stream, and of the series that it stands for."""


@dataclass(frozen=True, slots=True)
class LogPaths:
    r"""Where a JSON record keeps the parts of a line, and what holds where it keeps none.

    Dotted paths, a dot that belongs to a key written ``\.``; None leaves it to the format, which knows several places.
    A path that is given is the only place looked at. ``service_default`` names the service of records that tell none
    (None: the topic does); ``utc_offset_ms`` is how far local times without a zone are ahead of UTC.
    """

    message: str | None = None
    severity: str | None = None
    time: str | None = None
    service: str | None = None
    trace: str | None = None
    service_default: str | None = None
    utc_offset_ms: int = 0


@dataclass(frozen=True, slots=True)
class LogDecoderLimits:
    """What a record may ask of us.

    ``record_bytes_max`` bytes of one value; ``line_bytes_max`` bytes of one message, the rest is cut off and the line
    counted in ``LogBatch.lines_cut``; ``ahead_max_ms`` how far an event time may lie past the record's broker
    timestamp, so that one bad clock cannot push the partition's watermark.
    """

    record_bytes_max: int = 1_048_576
    line_bytes_max: int = 65_536
    ahead_max_ms: int = 600_000


class LogDecoder(Protocol):
    """One format of log records.

    Keys are ``(LOGS, bytes)``: what identifies the service, in a form that :meth:`labels` of the same decoder reads.
    """

    name: str

    def decode(self, batch: RecordBatch) -> LogBatch:
        """All lines and rejects of ``batch``. Never raises on input."""

    def labels(self, key: SeriesKey) -> NamedLabels | LabelFault:
        """Labels of the service behind a key made by :meth:`decode`; asked once per service."""
