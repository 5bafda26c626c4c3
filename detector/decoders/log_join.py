"""Records of several lines that came as records of their own: joined again, per service, before they are mined.

A line of which the decoder says that others may go on with it waits for the next line of its key, which tells. So the
lines that come out, and their order, are a function of the stream alone: a line comes out when the arrival of another
releases it, or at a flush, and never because a batch has ended. What waits is state, and belongs into snapshots.

Most lines go on with nothing, and nothing goes on with them: the next line of their key releases them, whatever it
says. These are moved as columns; only what stands beside a line that may go on with it is looked at line by line.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import TIMESTAMP_UNKNOWN, SeriesKey
from detector.columns import Columns
from detector.decoders.log_join_order import ByKey, by_key
from detector.decoders.log_join_released import NOTHING, Released
from detector.decoders.log_join_stored import HeldLine, laid_out, taken_apart
from detector.log_batches import CONTINUES, ENDS_TRACEBACK, PARTIAL, WHOLE, LogBatch


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
        out, keys = Released(batch), list(dict.fromkeys(batch.keys))
        if self._has_room(batch, keys):
            self._feed_columns(batch, keys, out)
        else:
            self._feed_each(batch, out)
        self._settle(batch)
        return out.lines()

    def flush(self, before_ms: int | None = None) -> LogBatch:
        """What waits and has a time before ``before_ms`` (None: all), in the order of arrival; all rows are -1."""
        due = [held for held in self._held.values() if before_ms is None or held.time_ms < before_ms]
        out = Released(NOTHING)
        for held in due:
            self._drop(held)
            out.put(0, held)
        return out.lines()

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

    # -- many lines at once --

    def _has_room(self, batch: LogBatch, keys: list[SeriesKey]) -> bool:
        """Whether nothing can have to come out early while these lines arrive, wherever the stream is cut."""
        limits = self._limits
        if len(self._held) + len(keys) > limits.keys and len(self._held.keys() | set(keys)) > limits.keys:
            return False
        return self._held_bytes + sum(map(len, batch.lines)) + len(batch) <= limits.bytes

    def _feed_columns(self, batch: LogBatch, keys: list[SeriesKey], out: Released) -> None:
        earlier = [self._held.get(key) for key in keys]
        self._held_bytes -= sum(held.size for held in earlier if held is not None)
        opened = np.fromiter((held is not None and held.open for held in earlier), np.bool_, len(keys))
        found = by_key(batch, keys, opened)
        places, lasting = found.places, found.alone & ~found.whole
        whole = places[found.alone & found.whole]
        out.put_columns(whole, whole, itself=True)
        followed = np.flatnonzero(lasting & ~found.last)
        out.put_columns(places[followed + 1], places[followed], itself=False)
        for held, head in zip(earlier, found.heads.tolist(), strict=True):
            if held is not None and not found.goes_on[head]:
                out.put(int(places[head]), held)
        waiting = [_waiting(batch, place) for place in places[lasting & found.last].tolist()]
        waiting += self._feed_beside(batch, found, earlier, out)
        still = {held.key for held in waiting if held.place < 0}
        for held in earlier:
            if held is not None and held.key not in still:
                del self._held[held.key]
        for held in sorted(waiting, key=_place):
            self._held[held.key] = held
            self._held_bytes += held.size

    def _feed_beside(
        self, batch: LogBatch, found: ByKey, earlier: list[HeldLine | None], out: Released
    ) -> list[HeldLine]:
        """The lines that do not stand alone; gives what waits behind the last ones of their keys."""
        waiting: list[HeldLine] = []
        beside = np.flatnonzero(~found.alone)
        owners = np.searchsorted(found.heads, beside, side="right") - 1
        held: HeldLine | None = None
        for at, place, owner in zip(beside.tolist(), found.places[beside].tolist(), owners.tolist(), strict=True):
            if found.first[at]:
                held = earlier[owner] if found.goes_on[at] else None
            held = self._arrived(batch, place, held, out)
            if held is None:
                continue
            if found.last[at]:
                waiting.append(held)
                held = None
            elif found.alone[at + 1]:
                out.put(int(found.places[at + 1]), held)
                held = None
        return waiting

    # -- line by line --

    def _feed_each(self, batch: LogBatch, out: Released) -> None:
        limits = self._limits
        for place, key in enumerate(batch.keys):
            held = self._held.get(key)
            before = 0 if held is None else held.size
            now = self._arrived(batch, place, held, out)
            if now is not held:
                self._held.pop(key, None)
                if now is not None:
                    self._held[key] = now
            self._held_bytes += (0 if now is None else now.size) - before
            while len(self._held) > limits.keys or (len(self._held) > 1 and self._held_bytes > limits.bytes):
                oldest = next(iter(self._held.values()))
                self._drop(oldest)
                out.put(place, oldest, itself=True)
                self.counts.released += 1

    def _arrived(self, batch: LogBatch, place: int, held: HeldLine | None, out: Released) -> HeldLine | None:
        """What waits for the key of the line at ``place`` behind it, ``held`` before it."""
        part = int(batch.parts[place])
        if held is not None:
            if held.open or part == CONTINUES or (part == ENDS_TRACEBACK and held.in_traceback()):
                self._append(held, batch.lines[place], part)
                if part != WHOLE:
                    return held
                out.put(place, held)
                return None
            out.put(place, held)
        if part == WHOLE:
            out.put(place, _waiting(batch, place), itself=True)
        elif batch.times_ms[place] == TIMESTAMP_UNKNOWN:
            out.refuse(place)
        else:
            return _waiting(batch, place)
        return None

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
            held.line_count += len(mark)
        held.open = part == PARTIAL
        if part == ENDS_TRACEBACK:
            held.ended_at = held.size

    # -- what waits --

    def _drop(self, held: HeldLine) -> None:
        del self._held[held.key]
        self._held_bytes -= held.size

    def _settle(self, batch: LogBatch) -> None:
        """What waits outlives the batch that it came with."""
        for held in self._held.values():
            if held.place >= 0:
                held.offset = int(batch.offsets[held.place])
                held.time_ms = int(batch.times_ms[held.place])
                held.severity = int(batch.severities[held.place])
                held.trace = None if batch.traces is None else batch.traces[held.place]
                held.place = -1


def _waiting(batch: LogBatch, place: int) -> HeldLine:
    line = batch.lines[place]
    return HeldLine(batch.keys[place], [line], len(line), place, open=bool(batch.parts[place] == PARTIAL))


def _place(held: HeldLine) -> int:
    return held.place
