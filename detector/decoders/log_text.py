r"""Log lines as text: what all formats share, and plain text itself.

The values of a batch become one text, which one compiled pass takes apart (:mod:`detector.decoders.log_text_scan`);
each line costs Python a slice. Bytes that are no UTF-8 pass, since the miner works on bytes; colours of terminals and
``\r`` at the ends of lines are left out.
"""

import re
from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np

from detector.batches import IntArray, RecordBatch, Reject, RejectReason, SeriesKey
from detector.decoders.decoder import LabelFault, NamedLabels
from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_service import default_key, labels_of, service_key
from detector.decoders.log_severity import SeverityMemo
from detector.decoders.log_text_fields import (
    AHEAD,
    EMPTY,
    ESCAPED,
    FLAGS,
    GOOD,
    HEAD_START,
    HEAD_STOP,
    JSON,
    LEVEL_START,
    LEVEL_STOP,
    LONG,
    MALFORMED,
    PART,
    PLAIN,
    RECORD,
    SERVICE_START,
    SERVICE_STOP,
    SEVERITY,
    START,
    STDERR,
    STOP,
    TIME,
    TOO_LARGE,
    TRACE_START,
    TRACE_STOP,
    UNTIMED,
    YEARLESS,
    Table,
)
from detector.decoders.log_text_scan import NEWLINE, scan, table_of, without_colours
from detector.log_batches import LogBatch, SeverityArray

SERVICES_MAX: Final = 65_536
"""Names of services remembered; a memo that is full is emptied."""
TRACE_CHARACTERS_MAX: Final = 128
"""Of a trace id; a longer one is none."""
T = TypeVar("T")
_START: Final = np.zeros(1, np.int64)
_NO_PLACES: Final = np.empty(0, np.int64)
_SEQUENCE: Final = b"\x1b["
_REASONS: Final[dict[int, tuple[RejectReason, str]]] = {
    EMPTY: ("empty", "the record holds no text"),
    UNTIMED: ("time_unreadable", "neither the line nor the broker tells a time"),
    YEARLESS: ("time_unreadable", "the line's time has no year, and the broker tells no time to find it by"),
}
_UNESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_ESCAPE: Final = re.compile(rb"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)


class TextDecoder:
    """Decode text of one format; ``shape`` is what the scanner takes it for.

    Settings: ``service_default`` and ``utc_offset_ms`` of ``paths``; text has no paths.
    """

    def __init__(self, name: str, shape: int, paths: LogPaths, limits: LogDecoderLimits) -> None:
        self.name = name
        self._shape: Final = shape
        self._limits: Final = limits
        self._service_default: Final = paths.service_default
        self._offset_ms: Final = paths.utc_offset_ms
        self._severities: Final = SeverityMemo()
        self._services: dict[bytes, SeriesKey] = {}

    def decode(self, batch: RecordBatch) -> LogBatch:
        """All lines and rejects of ``batch``; the same whichever way the stream was cut."""
        return self.decoded(batch)[0]

    def labels(self, key: SeriesKey) -> NamedLabels | LabelFault:
        """The service's labels."""
        return labels_of(key)

    def decoded(self, batch: RecordBatch) -> tuple[LogBatch, Table]:
        """The same, with the scanner's row for each line."""
        text, ends, faults = self._joined(batch)
        codes = np.frombuffer(text, np.uint8)
        if _SEQUENCE[:1] in text and _SEQUENCE in text:  # one byte is found ten times as fast as two
            cleaned, cleaned_ends = np.empty(len(codes), np.uint8), np.empty(len(ends), np.int64)
            size = without_colours(codes, ends, cleaned, cleaned_ends)
            text, ends = cleaned[:size].tobytes(), cleaned_ends
            codes = np.frombuffer(text, np.uint8)  # read-only like the other, or the scanner would be compiled again
        newlines = np.flatnonzero(codes == NEWLINE) if b"\n" in text else _NO_PLACES
        table = table_of(len(newlines) + len(ends))
        details = np.zeros(len(ends), np.int64)
        count = scan(
            codes,
            np.concatenate([_START, ends[:-1]]),
            ends,
            newlines,
            np.array(batch.timestamps_ms, np.int64),
            self._shape,
            self._offset_ms,
            self._limits.ahead_max_ms,
            table,
            faults,
            details,
        )
        found = table[:count]
        return self._batch(batch, text, found, self._rejects(batch, faults, details)), found

    def _joined(self, batch: RecordBatch) -> tuple[bytes, IntArray, IntArray]:
        """The text of all records, where each ends in it, and faults of those whose text is left out."""
        values = batch.values
        if None in values:
            values = [b"" if value is None else value for value in values]
        sizes = np.fromiter(map(len, values), np.int64, len(values))  # type: ignore[arg-type]  # no None is left
        faults = np.where(sizes > self._limits.record_bytes_max, TOO_LARGE, GOOD)
        if faults.any():
            values = [value if fault == GOOD else b"" for value, fault in zip(values, faults.tolist(), strict=True)]
            sizes = np.where(faults == GOOD, sizes, 0)
        return b"".join(values), np.cumsum(sizes), faults  # type: ignore[arg-type]  # no None is left

    def _rejects(self, batch: RecordBatch, faults: IntArray, details: IntArray) -> list[Reject]:
        rejects = []
        for row in np.flatnonzero(faults).tolist():
            fault = int(faults[row])
            if fault == TOO_LARGE:
                value = batch.values[row]
                size, most = len(value or b""), self._limits.record_bytes_max
                reason: tuple[RejectReason, str] = ("too_large", f"{size} bytes, {most} allowed")
            elif fault == AHEAD:
                allowed_s = self._limits.ahead_max_ms / 1000
                ahead_s = int(details[row]) / 1000
                detail = f"time is {ahead_s:.0f} s after the record's timestamp, {allowed_s:.0f} s allowed"
                reason = ("too_far_ahead", detail)
            elif fault == MALFORMED:
                reason = ("malformed", f"a line has no header of {self.name}")
            else:
                reason = _REASONS[fault]
            rejects.append(Reject(row, int(batch.offsets[row]), *reason))
        return rejects

    def _batch(self, batch: RecordBatch, text: bytes, found: Table, rejects: list[Reject]) -> LogBatch:
        rows = found[:, RECORD].copy()
        lines, lines_cut = self._lines(text, found)
        return LogBatch(
            rows=rows,
            offsets=batch.offsets[rows],
            keys=self._keys(batch.topic, text, found),
            times_ms=found[:, TIME].copy(),
            severities=self._classes(text, found),
            lines=lines,
            parts=found[:, PART].astype(np.int8),
            traces=_traces(text, found),
            rejects=rejects,
            formats={self.name: int(np.count_nonzero(np.diff(rows, prepend=-1)))} if len(rows) else {},
            lines_cut=lines_cut,
        )

    def _lines(self, text: bytes, found: Table) -> tuple[list[bytes], int]:
        """The messages, and how many of them were cut."""
        starts, stops, flags = found[:, START], found[:, STOP], found[:, FLAGS]
        lines = [text[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
        for place in np.flatnonzero(flags & (ESCAPED | LONG)).tolist():
            line = lines[place].replace(b"\r\n", b"\n")
            lines[place] = _unescaped(line) if flags[place] & ESCAPED else line
        headed = np.flatnonzero(found[:, HEAD_STOP] > found[:, HEAD_START])
        heads = found[headed]
        for place, start, stop in zip(
            headed.tolist(), heads[:, HEAD_START].tolist(), heads[:, HEAD_STOP].tolist(), strict=True
        ):
            lines[place] = text[start:stop] + lines[place]
        most = self._limits.line_bytes_max
        sizes = stops - starts + found[:, HEAD_STOP] - found[:, HEAD_START]
        sizes = np.where(flags & JSON, 0, sizes)  # these are read whole, and cut behind that
        return lines, self._cut(lines, np.flatnonzero(sizes > most).tolist())

    def _cut(self, lines: list[bytes], places: Sequence[int]) -> int:
        """Cut those of the lines at ``places`` that are too long; how many there are."""
        most = self._limits.line_bytes_max
        long = [place for place in places if len(lines[place]) > most]
        for place in long:
            lines[place] = lines[place][:most]
        return len(long)

    def _keys(self, topic: str, text: bytes, found: Table) -> Sequence[SeriesKey]:
        default = default_key(self._service_default, topic)
        places, names = _named(text, found, SERVICE_START, SERVICE_STOP)
        told = [self._services.get(name) or self._service(name) for name in names]
        keys = told if len(told) == len(found) else _spread(told, places, [default] * len(found))
        for place in np.flatnonzero(found[:, FLAGS] & STDERR).tolist():
            keys[place] = _apart(keys[place])
        return keys

    def _service(self, name: bytes) -> SeriesKey:
        key = service_key({"service.name": name.decode("utf-8", "replace")})
        if len(self._services) >= SERVICES_MAX:
            self._services.clear()
        self._services[name] = key
        return key

    def _classes(self, text: bytes, found: Table) -> SeverityArray:
        classes = found[:, SEVERITY].astype(np.int8)
        places, levels = _named(text, found, LEVEL_START, LEVEL_STOP)
        known = {level: self._severities.of(level.decode("utf-8", "replace")) for level in set(levels)}
        classes[places] = np.fromiter(map(known.__getitem__, levels), np.int8, len(levels))
        return classes


class PlainDecoder(TextDecoder):
    """Plain text: lines with a time in any common layout before them, or with none."""

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits) -> None:
        super().__init__("plain", PLAIN, paths, limits)


class OtlpRawDecoder(TextDecoder):
    """Bodies of OpenTelemetry's log records as they are (``encoding: raw``): as plain text."""

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits) -> None:
        super().__init__("otlp_raw", PLAIN, paths, limits)


def _named(text: bytes, found: Table, start_field: int, stop_field: int) -> tuple[IntArray, list[bytes]]:
    """Places of the lines that have this name, and it."""
    starts, stops = found[:, start_field], found[:, stop_field]
    places = np.flatnonzero(stops > starts)
    spans = zip(starts[places].tolist(), stops[places].tolist(), strict=True)
    return places, [text[start:stop] for start, stop in spans]


def _spread(values: Sequence[T], places: IntArray, onto: list[T]) -> list[T]:
    """``onto`` with ``values`` at their ``places``."""
    for place, value in zip(places.tolist(), values, strict=True):
        onto[place] = value
    return onto


def _traces(text: bytes, found: Table) -> list[str | None] | None:
    places, named = _named(text, found, TRACE_START, TRACE_STOP)
    return _spread(list(map(_trace, named)), places, [None] * len(found)) if named else None


def _trace(text: bytes) -> str | None:
    if len(text) > TRACE_CHARACTERS_MAX or not text.isascii() or not text.strip(b"0"):
        return None
    name = text.decode()
    return name if name.isprintable() else None


def _apart(key: SeriesKey) -> SeriesKey:
    """Another key of the same service: a blank behind its labels, which are JSON, keeps two streams apart."""
    return key[0], key[1] + b" "


def _unescaped(line: bytes) -> bytes:
    r"""A quoted value of logfmt without its escapes: ``\n``, ``\"``, ``\u00e9``."""
    return _ESCAPE.sub(_character, line)


def _character(found: re.Match[bytes]) -> bytes:
    escape: bytes = found[1]
    if len(escape) > 1:
        return chr(int(escape[1:], 16)).encode("utf-8", "replace")
    return _UNESCAPED.get(escape, escape)
