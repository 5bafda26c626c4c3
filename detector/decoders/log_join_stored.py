"""What a joiner waits with, in memory and as columns of numbers.

``version`` int64[1]; ``texts`` and ``keys`` uint8[], the bytes of all lines and of all keys (name, line feed, rest);
``text_sizes``, ``key_sizes`` int64[n]; ``traces`` uint8[] and ``trace_sizes`` int64[n], -1 where there is none;
``offsets``, ``times_ms``, ``line_counts``, ``ended_at`` int64[n]; ``severities`` int8[n]; ``open`` bool[n]. In order of
arrival.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import SeriesKey
from detector.columns import Columns, taken
from detector.errors import SnapshotRefusedError
from detector.log_batches import SEVERITY_CLASSES

VERSION: Final = 1
_TRACEBACK: Final = b"Traceback"
_INTEGERS: Final = ("offsets", "times_ms", "line_counts", "ended_at")


@dataclass(slots=True)
class HeldLine:
    """A line that waits, with what was joined to it.

    ``place`` in the batch that it came with, -1 in later ones, and then ``offset``, ``time_ms``, ``severity`` and
    ``trace`` are set; ``size`` bytes in ``pieces``; ``open`` when the next goes on with its last line; ``ended_at``
    bytes of it lie before the end of the last traceback of Python.
    """

    key: SeriesKey
    pieces: list[bytes]
    size: int
    place: int = -1
    line_count: int = 1
    open: bool = False
    ended_at: int = 0
    offset: int = 0
    time_ms: int = 0
    severity: int = 0
    trace: str | None = field(default=None)

    def text(self) -> bytes:
        """All of it."""
        if len(self.pieces) > 1:
            self.pieces = [b"".join(self.pieces)]
        return self.pieces[0]

    def in_traceback(self) -> bool:
        """Whether a traceback of Python has begun that has not ended."""
        text = self.text()
        begun = text.rfind(b"\n" + _TRACEBACK) + 1
        return begun >= self.ended_at if begun else self.ended_at == 0 and text.startswith(_TRACEBACK)


def laid_out(held: Mapping[SeriesKey, HeldLine]) -> dict[str, NDArray[Any]]:
    """Columns of these lines, none of which is of the batch being joined."""
    lines = list(held.values())
    texts = [line.text() for line in lines]
    keys = [line.key[0].encode() + b"\n" + line.key[1] for line in lines]
    traces = [None if line.trace is None else line.trace.encode() for line in lines]
    return {
        "version": np.array([VERSION], np.int64),
        "texts": _bytes(texts),
        "text_sizes": _column(map(len, texts)),
        "keys": _bytes(keys),
        "key_sizes": _column(map(len, keys)),
        "traces": _bytes([trace for trace in traces if trace is not None]),
        "trace_sizes": _column(-1 if trace is None else len(trace) for trace in traces),
        "offsets": _column(line.offset for line in lines),
        "times_ms": _column(line.time_ms for line in lines),
        "line_counts": _column(line.line_count for line in lines),
        "ended_at": _column(line.ended_at for line in lines),
        "severities": np.array([line.severity for line in lines], np.int8),
        "open": np.array([line.open for line in lines], np.bool_),
    }


def taken_apart(columns: Columns) -> dict[SeriesKey, HeldLine]:
    """Undo :func:`laid_out`. Raises ``SnapshotRefusedError`` for columns that it did not make."""
    if taken(columns, "version", np.dtype(np.int64), (1,))[0] != VERSION:
        raise SnapshotRefusedError(f"the snapshot's waiting lines have a version other than {VERSION}")
    sizes = taken(columns, "text_sizes", np.dtype(np.int64), (_length(columns, "text_sizes"),))
    shape = sizes.shape
    integers = {name: taken(columns, name, np.dtype(np.int64), shape) for name in _INTEGERS}
    severities = taken(columns, "severities", np.dtype(np.int8), shape)
    opened = taken(columns, "open", np.dtype(np.bool_), shape)
    trace_sizes = taken(columns, "trace_sizes", np.dtype(np.int64), shape)
    texts = _cut(columns, "texts", sizes)
    keys = [_key(key) for key in _cut(columns, "keys", taken(columns, "key_sizes", np.dtype(np.int64), shape))]
    traces = _cut(columns, "traces", np.maximum(trace_sizes, 0))
    if any(column.min(initial=0) < 0 for column in integers.values()) or len(set(keys)) != len(keys):
        raise SnapshotRefusedError("the snapshot's waiting lines have negative numbers, or keys that come twice")
    if severities.min(initial=0) < 0 or severities.max(initial=0) >= len(SEVERITY_CLASSES):
        raise SnapshotRefusedError("the snapshot's waiting lines have severities that are not known")
    held = {}
    for row, (key, text) in enumerate(zip(keys, texts, strict=True)):
        held[key] = HeldLine(
            key,
            [text],
            len(text),
            line_count=int(integers["line_counts"][row]),
            open=bool(opened[row]),
            ended_at=int(integers["ended_at"][row]),
            offset=int(integers["offsets"][row]),
            time_ms=int(integers["times_ms"][row]),
            severity=int(severities[row]),
            trace=traces[row].decode("utf-8", "replace") if trace_sizes[row] >= 0 else None,
        )
    return held


def _bytes(texts: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(texts), np.uint8)


def _column(values: Iterable[int]) -> NDArray[np.int64]:
    return np.array(list(values), np.int64)


def _length(columns: Columns, name: str) -> int:
    """Length of a column, which may have any; raises ``SnapshotRefusedError`` where it is missing."""
    if name not in columns or columns[name].ndim != 1:
        raise SnapshotRefusedError(f"the snapshot lacks the column {name}")
    return len(columns[name])


def _cut(columns: Columns, name: str, sizes: NDArray[np.int64]) -> list[bytes]:
    """The texts of these sizes that a column holds one behind the other."""
    text = taken(columns, name, np.dtype(np.uint8), (_length(columns, name),)).tobytes()
    if sizes.min(initial=0) < 0 or sizes.max(initial=0) > len(text) or sizes.sum() != len(text):
        raise SnapshotRefusedError(f"the snapshot's {name} of waiting lines do not have the sizes it tells")
    ends = np.cumsum(sizes).tolist()
    return [text[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True)]


def _key(key: bytes) -> SeriesKey:
    name, mark, rest = key.partition(b"\n")
    if not mark:
        raise SnapshotRefusedError("the snapshot's waiting lines have a key without a name")
    return name.decode("utf-8", "replace"), rest
