"""Log records of any format, told by their first bytes; every record by itself, so no neighbour changes what it is."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from detector.batches import IntArray, RecordBatch, SeriesKey
from detector.decoders.decoder import LabelFault, NamedLabels
from detector.decoders.log_decoder import LogDecoder, LogDecoderLimits, LogPaths
from detector.decoders.log_service import labels_of
from detector.decoders.log_text_guess import AS_JSON, AS_OTLP, FAMILIES, guess
from detector.decoders.log_text_rows import at_rows, merged_batches, records_at
from detector.decoders.log_times import FAR_MS, Bytes
from detector.log_batches import LogBatch

Build = Callable[[LogPaths, LogDecoderLimits], LogDecoder]


class AutoDecoder:
    """Decode each record by the format that it looks like.

    An object or a list of objects is JSON; ``<13>`` and a time, a host and a tag are syslog; a time, a stream and a tag
    are a line of the Container Runtime Interface; what begins with ``key=`` and has a level, a time or a message is
    logfmt; what is an OpenTelemetry request in protobuf is that; all else is plain text. ``builds`` has the decoder of
    each of ``FAMILIES``; one is built when it is first needed, that of JSON at once: it raises ``UsageError`` for paths
    that cannot be followed.
    """

    name = "auto"

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits, builds: Mapping[str, Build]) -> None:
        self._paths: Final = paths
        self._limits: Final = limits
        self._builds: Final = builds
        self._decoders: dict[str, LogDecoder] = {}
        self._decoder(FAMILIES[AS_JSON])

    def decode(self, batch: RecordBatch) -> LogBatch:
        """All lines and rejects of ``batch``; the same whichever way the stream was cut."""
        families = _families(batch)
        counts = np.bincount(families, minlength=len(FAMILIES))
        present = np.flatnonzero(counts).tolist()
        if len(present) <= 1 and present != [AS_OTLP]:
            return self._decoder(FAMILIES[present[0] if present else 0]).decode(batch)
        parts = []
        for family in present:
            rows = np.flatnonzero(families == family)
            if family == AS_OTLP:
                parts += self._requests(batch, rows)
            else:
                parts.append(self._at(batch, rows, FAMILIES[family]))
        return merged_batches(parts)

    def labels(self, key: SeriesKey) -> NamedLabels | LabelFault:
        """The service's labels: all formats name services alike."""
        return labels_of(key)

    def _requests(self, batch: RecordBatch, rows: IntArray) -> list[LogBatch]:
        """Requests in protobuf, and what is none: text that begins with a line feed."""
        found = self._at(batch, rows, FAMILIES[AS_OTLP])
        others = np.array([each.row for each in found.rejects if each.reason == "malformed"], np.int64)
        others = np.setdiff1d(others, found.rows)
        if not len(others):
            return [found]
        kept = np.setdiff1d(rows, others)
        return [self._at(batch, kept, FAMILIES[AS_OTLP]), self._at(batch, others, FAMILIES[0])]

    def _at(self, batch: RecordBatch, rows: IntArray, family: str) -> LogBatch:
        return at_rows(self._decoder(family).decode(records_at(batch, rows)), rows)

    def _decoder(self, family: str) -> LogDecoder:
        if family not in self._decoders:
            self._decoders[family] = self._builds[family](self._paths, self._limits)
        return self._decoders[family]


def _families(batch: RecordBatch) -> Bytes:
    values = [value or b"" for value in batch.values]
    if {value[:1] for value in values} == {b"{"}:
        return np.full(len(values), AS_JSON, np.uint8)
    sizes = np.fromiter(map(len, values), np.int64, len(values))
    ends = np.cumsum(sizes)
    families = np.empty(len(values), np.uint8)
    guess(np.frombuffer(b"".join(values), np.uint8), ends - sizes, ends, 0, FAR_MS, families)
    return families
