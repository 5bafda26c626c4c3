"""Records of several lines that came as records of their own: joined again, per service, before they are mined.

A line of which the decoder says that others may go on with it waits for the next line of its key, which tells. So the
lines that come out, and their order, are a function of the stream alone: a line comes out when the arrival of another
releases it, or at a flush, and never because a batch has ended. What waits is state, and belongs into snapshots.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import TIMESTAMP_UNKNOWN, Reject, SeriesKey
from detector.columns import Columns
from detector.decoders.log_join_stored import HeldLine, laid_out, taken_apart
from detector.log_batches import BEGINS, CONTINUES, ENDS_TRACEBACK, PARTIAL, WHOLE, LogBatch

_NOTHING: Final = LogBatch(
    rows=np.empty(0, np.int64),
    offsets=np.empty(0, np.int64),
    keys=[],
    times_ms=np.empty(0, np.int64),
    severities=np.empty(0, np.int8),
    lines=[],
    parts=np.empty(0, np.int8),
    traces=None,
    rejects=[],
)
_ONE: Final = LogBatch(
    rows=np.zeros(1, np.int64),
    offsets=np.zeros(1, np.int64),
    keys=[("", b"")],
    times_ms=np.zeros(1, np.int64),
    severities=np.zeros(1, np.int8),
    lines=[b""],
    parts=np.zeros(1, np.int8),
    traces=None,
    rejects=[],
)
"""Stands for a batch of which nothing is taken."""


@dataclass(frozen=True, slots=True)
class JoinLimits:
    """Bounds of what waits.

    ``keys`` lines wait at most, of ``bytes`` bytes in all where they are more than one: beyond that the one that has
    waited longest comes out as it is. ``record_lines`` and ``record_bytes`` of one joined record are kept; what comes
    behind is left out, and counted.
    """

    keys: int = 4_096
    bytes: int = 16 * 2**20
    record_lines: int = 512
    record_bytes: int = 65_536

    def __post_init__(self) -> None:
        assert min(self.keys, self.bytes, self.record_lines, self.record_bytes) > 0


@dataclass(slots=True)
class JoinCounts:
    """What a joiner has done since it began or was restored.

    ``joined`` lines that became part of another, ``left_out`` those of them, or of which a part, that found no room
    there; ``released`` lines that came out early because too many waited.
    """

    joined: int = 0
    left_out: int = 0
    released: int = 0


class _Out:
    """Lines that come out, by their place: below zero among those that have waited, else in the batch."""

    __slots__ = ("lines", "places", "waited")

    def __init__(self) -> None:
        self.places: list[int] = []
        self.lines: list[bytes] = []
        self.waited: list[HeldLine] = []

    def put(self, held: HeldLine) -> None:
        if held.place < 0:
            self.waited.append(held)
            self.places.append(-len(self.waited))
        else:
            self.places.append(held.place)
        self.lines.append(held.text())


class Joiner:
    """Joins the lines of one partition.

    ``counts`` tells what it has done. Formats in which no line goes on with another give lines that are ``WHOLE``; a
    batch of them passes as it is, as long as nothing of its keys waits.
    """

    def __init__(self, limits: JoinLimits | None = None) -> None:
        self.counts = JoinCounts()
        self._limits: Final = limits or JoinLimits()
        self._held: dict[SeriesKey, HeldLine] = {}
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def feed(self, batch: LogBatch) -> LogBatch:
        r"""What ``batch`` releases, all ``WHOLE``; joined lines have ``\n`` between them, pieces nothing.

        A record has the offset, time, severity and trace of its first line. Lines come in the order in which they are
        released, so ``rows`` ascend for each key but not in all; those that have waited since an earlier batch have row
        -1. A line that goes on with nothing, and has no time, becomes a reject.
        """
        if not batch.parts.any() and (not self._held or self._held.keys().isdisjoint(batch.keys)):
            return batch
        if self._is_of_one_key(batch):
            return self._fed_whole(batch)
        out, rejects = _Out(), list(batch.rejects)
        self._feed_each(batch, range(len(batch)), out, rejects)
        self._settle(batch)
        return _released(batch, out, rejects)

    def flush(self, before_ms: int | None = None) -> LogBatch:
        """What waits and has a time before ``before_ms`` (None: all), in the order of arrival; all rows are -1."""
        due = [key for key, held in self._held.items() if before_ms is None or held.time_ms < before_ms]
        out = _Out()
        for key in due:
            out.put(self._pop(key))
        return _released(_NOTHING, out, [])

    def columns(self) -> dict[str, NDArray[Any]]:
        """What waits, as columns for a snapshot; see :mod:`detector.decoders.log_join_stored`."""
        return laid_out(self._held)

    def restore(self, columns: Columns) -> None:
        """Wait for what the joiner waited for whose :meth:`columns` these are.

        Raises ``SnapshotRefusedError`` for columns that no joiner has made.
        """
        self._held = taken_apart(columns)
        self._held_bytes = sum(held.size for held in self._held.values())
        self.counts = JoinCounts()

    # -- one key: the common case of plain text --

    def _is_of_one_key(self, batch: LogBatch) -> bool:
        """Whether all lines are of one key, of which alone something waits, and each waits for the next."""
        if not len(batch) or (len(self._held) > 1 or (self._held and batch.keys[0] not in self._held)):
            return False
        return bool((batch.parts != WHOLE).all()) and batch.keys.count(batch.keys[0]) == len(batch.keys)

    def _fed_whole(self, batch: LogBatch) -> LogBatch:
        """Only lines next to one that is joined are looked at one by one; each other releases the one before."""
        out, rejects = _Out(), list(batch.rejects)
        begins = batch.parts == BEGINS
        alone = begins.copy()
        alone[:-1] &= begins[1:]
        alone[-1] = False
        places = np.flatnonzero(np.diff(np.concatenate([[False], alone, [False]])))
        at = 0
        for start, stop in zip(places[::2].tolist(), places[1::2].tolist(), strict=True):
            # the first of a run releases what waits, and the last but one is released by the last
            self._feed_each(batch, range(at, start + 1), out, rejects)
            first = self._held.get(batch.keys[0])
            if first is None or first.place != start or len(first.pieces) > 1 or stop - start < 2:  # noqa: PLR2004
                at = start + 1
                continue
            self._pop(batch.keys[0])
            out.places.extend(range(start, stop - 1))
            out.lines.extend(batch.lines[start : stop - 1])
            self._hold(batch, stop - 1)
            at = stop
        self._feed_each(batch, range(at, len(batch)), out, rejects)
        self._settle(batch)
        return _released(batch, out, rejects)

    # -- line by line --

    def _feed_each(self, batch: LogBatch, places: Iterable[int], out: _Out, rejects: list[Reject]) -> None:
        keys, lines, parts = batch.keys, batch.lines, batch.parts
        for place in places:
            key, part = keys[place], int(parts[place])
            held = self._held.get(key)
            if held is not None:
                if held.open or part == CONTINUES or (part == ENDS_TRACEBACK and held.in_traceback()):
                    self._append(held, lines[place], part)
                    if part == WHOLE:
                        out.put(self._pop(key))
                    self._keep_limits(out)
                    continue
                out.put(self._pop(key))
            if part == WHOLE:
                out.places.append(place)
                out.lines.append(lines[place])
            elif batch.times_ms[place] == TIMESTAMP_UNKNOWN:
                _refuse(batch, place, rejects)
            else:
                self._hold(batch, place)
                self._keep_limits(out)

    def _append(self, held: HeldLine, line: bytes, part: int) -> None:
        """Join a line to one that waits, or as much of it as there is room for."""
        self.counts.joined += 1
        mark = b"" if held.open else b"\n"
        room = max(0, self._limits.record_bytes - held.size - len(mark))
        if room == 0 or (mark and held.line_count >= self._limits.record_lines):
            self.counts.left_out += 1
        else:
            piece = mark + line[:room]
            self.counts.left_out += len(line) > room
            held.pieces.append(piece)
            held.size += len(piece)
            self._held_bytes += len(piece)
            held.line_count += len(mark)
        held.open = part == PARTIAL
        if part == ENDS_TRACEBACK:
            held.ended_at = held.size

    def _hold(self, batch: LogBatch, place: int) -> None:
        key, line = batch.keys[place], batch.lines[place]
        self._held[key] = HeldLine(key, [line], len(line), place, open=bool(batch.parts[place] == PARTIAL))
        self._held_bytes += len(line)

    def _pop(self, key: SeriesKey) -> HeldLine:
        held = self._held.pop(key)
        self._held_bytes -= held.size
        return held

    def _keep_limits(self, out: _Out) -> None:
        while len(self._held) > self._limits.keys or (len(self._held) > 1 and self._held_bytes > self._limits.bytes):
            out.put(self._pop(next(iter(self._held))))
            self.counts.released += 1

    def _settle(self, batch: LogBatch) -> None:
        """What waits outlives the batch that it came with."""
        for held in self._held.values():
            if held.place >= 0:
                held.offset = int(batch.offsets[held.place])
                held.time_ms = int(batch.times_ms[held.place])
                held.severity = int(batch.severities[held.place])
                held.trace = None if batch.traces is None else batch.traces[held.place]
                held.place = -1


def _refuse(batch: LogBatch, place: int, rejects: list[Reject]) -> None:
    """A record whose line goes on with nothing, and has no time; a record has one reject."""
    row = int(batch.rows[place])
    if all(reject.row != row for reject in rejects):
        detail = "the line goes on with no other, and neither it nor the broker tells a time"
        rejects.append(Reject(row, int(batch.offsets[place]), "time_unreadable", detail))
        rejects.sort()


def _released(batch: LogBatch, out: _Out, rejects: list[Reject]) -> LogBatch:
    """The lines that come out, with the rest of ``batch`` as it is."""
    places = np.array(out.places, np.int64)
    waited = [(at, out.waited[-place - 1]) for at, place in enumerate(out.places) if place < 0]
    own = np.maximum(places, 0)
    source = batch if len(batch) else _ONE
    rows, offsets, times_ms = source.rows[own], source.offsets[own], source.times_ms[own]
    severities = source.severities[own]
    keys = [source.keys[place] for place in own.tolist()]
    traces: list[str | None] | None = None
    if source.traces is not None or any(held.trace is not None for _, held in waited):
        known = source.traces or [None] * len(source)
        traces = [known[place] for place in own.tolist()]
    for at, held in waited:
        rows[at], offsets[at], times_ms[at], severities[at] = -1, held.offset, held.time_ms, held.severity
        keys[at] = held.key
        if traces is not None:
            traces[at] = held.trace
    return LogBatch(
        rows=rows,
        offsets=offsets,
        keys=keys,
        times_ms=times_ms,
        severities=severities,
        lines=out.lines,
        parts=np.full(len(rows), WHOLE, np.int8),
        traces=traces,
        rejects=rejects,
        formats=batch.formats,
        lines_cut=batch.lines_cut,
        in_pieces=batch.in_pieces,
    )
