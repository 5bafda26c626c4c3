"""Lines on their way from a parser to a :class:`LogBatch`: columns, and the checks that all formats share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from types import NoneType
from typing import Final, cast

import numpy as np

from detector.batches import TIMESTAMP_UNKNOWN, BoolArray, IntArray, RecordBatch, Reject, SeriesKey
from detector.decoders.json_lines import Fault
from detector.decoders.log_decoder import LogDecoderLimits
from detector.decoders.log_line_parts import line_parts
from detector.log_batches import LogBatch, SeverityArray

TRACE_CHARACTERS_MAX = 128
"""Of a trace id; a longer one is none."""
_ZEROS: Final = frozenset("0" * count for count in range(TRACE_CHARACTERS_MAX + 1))
"""Texts that are no trace id, the empty one among them."""


@dataclass(slots=True)
class LineColumns:
    """m lines of some records, ascending by ``rows``.

    ``lines`` messages as bytes; ``times_ms`` int64[m], negative where the record tells no time; ``severities`` int8[m];
    ``keys`` None where the record tells no service; ``traces`` None where no record has one. ``streamed`` bool[m], None
    where none is: the severity is that of the stream, which every line of it has.
    """

    rows: IntArray
    lines: list[bytes]
    times_ms: IntArray
    severities: SeverityArray
    keys: list[SeriesKey | None]
    traces: list[str | None] | None
    streamed: BoolArray | None = None

    def __post_init__(self) -> None:
        n = len(self.rows)
        assert n == len(self.lines) == len(self.times_ms) == len(self.severities) == len(self.keys)
        assert self.traces is None or n == len(self.traces)

    def taken(self, places: IntArray) -> "LineColumns":
        """The lines at ``places``."""
        at: list[int] = places.tolist()
        return LineColumns(
            self.rows[places],
            [self.lines[place] for place in at],
            self.times_ms[places],
            self.severities[places],
            [self.keys[place] for place in at],
            None if self.traces is None else [self.traces[place] for place in at],
            None if self.streamed is None else self.streamed[places],
        )


def concatenated(parts: Sequence[LineColumns]) -> LineColumns:
    """The lines of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    traced = any(part.traces is not None for part in parts)
    streamed = [np.zeros(len(part.rows), np.bool_) if part.streamed is None else part.streamed for part in parts]
    return LineColumns(
        np.concatenate([np.empty(0, dtype=np.int64), *(part.rows for part in parts)]),
        list(chain.from_iterable(part.lines for part in parts)),
        np.concatenate([np.empty(0, dtype=np.int64), *(part.times_ms for part in parts)]),
        np.concatenate([np.empty(0, dtype=np.int8), *(part.severities for part in parts)]),
        list(chain.from_iterable(part.keys for part in parts)),
        list(chain.from_iterable(part.traces or [None] * len(part.rows) for part in parts)) if traced else None,
        np.concatenate(streamed) if any(part.streamed is not None for part in parts) else None,
    )


def merged(parts: Sequence[LineColumns]) -> LineColumns:
    """The lines of all parts by row; lines of one row keep their order."""
    whole = concatenated(parts)
    return whole if len(parts) == 1 else whole.taken(np.argsort(whole.rows, kind="stable"))


def encoded(texts: Sequence[str]) -> list[bytes]:
    """UTF-8 of messages without the line ends behind them; halves of surrogate pairs become question marks.

    Raises ``TypeError`` where one is no text.
    """
    try:
        return list(map(bytes.rstrip, map(str.encode, texts), repeat(b"\r\n")))
    except UnicodeEncodeError:
        return [str.encode(text, "utf-8", "replace").rstrip(b"\r\n") for text in texts]


def trace_of(value: object) -> str | None:
    """A trace id as text, None where ``value`` is none: empty, all zeros, too long or not printable ASCII."""
    if type(value) is str:
        good = 0 < len(value) <= TRACE_CHARACTERS_MAX and value.isascii() and value.isprintable() and value.strip("0")
        return value if good else None
    return str(value) if type(value) is int and 0 < value < 1 << 128 else None


def traces_of(values: Sequence[object]) -> list[str | None]:
    """``trace_of`` of each; at once where all are texts in order, as nearly always."""
    kinds = set(map(type, values))
    if not kinds <= {str, NoneType}:
        return list(map(trace_of, values))
    texts = cast("Sequence[str]", values if NoneType not in kinds else [value for value in values if value is not None])
    whole = "".join(texts)
    too_long = max(map(len, texts), default=0) > TRACE_CHARACTERS_MAX
    if too_long or not (whole.isascii() and whole.isprintable()):
        return list(map(trace_of, values))
    found = cast("Sequence[str | None]", values)
    return list(found) if _ZEROS.isdisjoint(texts) else [None if value in _ZEROS else value for value in found]


def log_batch(
    batch: RecordBatch,
    columns: LineColumns,
    faults: dict[int, Fault],
    limits: LogDecoderLimits,
    default: SeriesKey,
    formats: Mapping[str, int],
    *,
    in_pieces: bool,
) -> LogBatch:
    """The finished batch: lines without a time take their record's, those that have none at all are refused.

    ``faults`` are the first of each record and gain those found here; ``default`` is the key of lines that tell no
    service.
    """
    keep = _timed(batch, columns, faults, limits)
    if not keep.all():
        columns = columns.taken(np.flatnonzero(keep))
    lines, lines_cut = _cut(columns.lines, limits.line_bytes_max)
    told = None not in columns.keys
    keys = columns.keys if told else [default if key is None else key for key in columns.keys]
    _miss_none(batch, columns.rows, faults)
    return LogBatch(
        rows=columns.rows,
        offsets=batch.offsets[columns.rows],
        keys=cast("list[SeriesKey]", keys),
        times_ms=columns.times_ms,
        severities=columns.severities,
        lines=lines,
        parts=line_parts(columns.lines, columns.severities, columns.streamed),
        traces=columns.traces if columns.traces and any(columns.traces) else None,
        rejects=[Reject(row, int(batch.offsets[row]), *faults[row]) for row in sorted(faults)],
        formats=formats,
        lines_cut=lines_cut,
        in_pieces=in_pieces,
    )


def _timed(batch: RecordBatch, columns: LineColumns, faults: dict[int, Fault], limits: LogDecoderLimits) -> BoolArray:
    """Which lines have a usable time; those without one get that of the broker, in place."""
    stamps = batch.timestamps_ms[columns.rows]
    untold = columns.times_ms < 0
    if untold.any():
        columns.times_ms = np.where(untold, stamps, columns.times_ms)
    unknown = columns.times_ms < 0
    ahead = (columns.times_ms > stamps + limits.ahead_max_ms) & (stamps != TIMESTAMP_UNKNOWN)
    for place in np.flatnonzero(unknown).tolist():
        fault: Fault = ("time_unreadable", "neither the record nor the broker tells a time")
        faults.setdefault(int(columns.rows[place]), fault)
    for place in np.flatnonzero(ahead).tolist():
        seconds = (int(columns.times_ms[place]) - int(stamps[place])) / 1000
        faults.setdefault(
            int(columns.rows[place]),
            (
                "too_far_ahead",
                f"{seconds:.0f} s after the broker's timestamp, {limits.ahead_max_ms / 1000:.0f} s allowed",
            ),
        )
    usable: BoolArray = ~(unknown | ahead)
    return usable


def _cut(lines: list[bytes], bytes_max: int) -> tuple[list[bytes], int]:
    if not lines or max(map(len, lines)) <= bytes_max:
        return lines, 0
    return [line[:bytes_max] for line in lines], sum(len(line) > bytes_max for line in lines)


def _miss_none(batch: RecordBatch, rows: IntArray, faults: dict[int, Fault]) -> None:
    """A record that gave neither a line nor a fault held no lines."""
    seen = np.zeros(len(batch), dtype=np.bool_)
    seen[rows] = True
    for row in np.flatnonzero(~seen).tolist():
        faults.setdefault(row, ("empty", "the record holds no log lines"))
