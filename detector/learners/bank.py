"""One partition's learners behind one door: which learner owns a slot, and in which of its rows."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray, IntArray, LeftOut, ScoreColumns
from detector.columns import Columns, PartialCopy, prefixed, taken, under
from detector.errors import SnapshotRefusedError
from detector.learners.learner import Learner
from detector.learners.river_learner import RiverLearner

_CAPACITY_MIN: Final = 64
_CLOSED: Final = -1


class _Rows:
    """The dense rows of one learner: handed out from the lowest, returned ones first, doubled when they run out."""

    __slots__ = ("_capacity", "_free", "_next", "learner")

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self._free: list[int] = []
        self._next = 0
        self._capacity = 0

    def take(self) -> int:
        """A row that holds a new series."""
        if self._free:
            return self._free.pop()
        if self._next == self._capacity:
            self._capacity = max(_CAPACITY_MIN, 2 * self._capacity)
            self.learner.reserve(self._capacity)
        self._next += 1
        return self._next - 1

    def take_first(self, count: int) -> IntArray:
        """The first ``count`` rows, all at once, of a learner that has given out none."""
        assert self._next == 0
        self._next = self._capacity = count
        self.learner.reserve(count)
        return np.arange(count)

    def give_back(self, rows: IntArray) -> None:
        """Forget these rows' series and let others have the rows."""
        self.learner.reset(rows)
        self._free.extend(rows.tolist())


class LearnerBank:
    """Routes the samples of a partition to the learners that its policies ask for.

    Every learner gets rows of its own, dense and apart from slots, so that two learners do not both pay for every slot.
    A series' result does not depend on its row, so neither eviction nor the order of arrival shows in any score.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        assert learners
        self._parts = [_Rows(learner) for learner in learners]
        self._owners = np.full(0, _CLOSED, dtype=np.int64)
        self._rows = np.zeros(0, dtype=np.int64)

    def open(self, slot: int, learner: int) -> None:
        """Give a new series at ``slot`` a row of the learner with this index."""
        self._reserve(slot + 1)
        assert self._owners[slot] == _CLOSED, "a slot is opened once and released before it is opened again"
        self._rows[slot] = self._parts[learner].take()
        self._owners[slot] = learner

    def release(self, slots: IntArray) -> None:
        """Forget these open slots; their rows go to later series."""
        owners = self._owners[slots]
        assert (owners != _CLOSED).all()
        for index, part in enumerate(self._parts):
            own = slots[owners == index]
            if len(own):
                part.give_back(self._rows[own])
        self._owners[slots] = _CLOSED

    def score(self, slots: IntArray, times_ms: IntArray, values: FloatArray, out: ScoreColumns) -> int:
        """Score, then learn, each series in row order; returns how many samples met an exception."""
        assert len(slots) == len(times_ms) == len(values) == len(out)
        rows = self._rows[slots]
        if len(self._parts) == 1:
            return self._parts[0].learner.score(rows, times_ms, values, out)
        owners = self._owners[slots]
        failures = 0
        for index, part in enumerate(self._parts):
            own = np.flatnonzero(owners == index)
            if len(own) == 0:
                continue
            answer = ScoreColumns.empty(len(own))
            failures += part.learner.score(rows[own], times_ms[own], values[own], answer)
            _scatter(answer, own, out)
        return failures

    def rebaseline(self, slots: IntArray, times_ms: IntArray, levels: FloatArray) -> None:
        """Take ``levels`` float64[n] as the new normal of these open slots at ``times_ms`` int64[n]."""
        owners = self._owners[slots]
        for index, part in enumerate(self._parts):
            own = owners == index
            if own.any():
                part.learner.rebaseline(self._rows[slots[own]], times_ms[own], levels[own])

    def samples_seen(self, slot: int) -> int:
        """How many samples the series at ``slot`` has been given."""
        return self.learner_of(slot).samples_seen(int(self._rows[slot]))

    def learner_of(self, slot: int) -> Learner:
        """The learner that owns an open slot."""
        owner = int(self._owners[slot])
        assert owner != _CLOSED
        return self._parts[owner].learner

    def state_bytes(self) -> int:
        """Bytes of state of all learners and of the routing itself."""
        return sum(part.learner.state_bytes() for part in self._parts) + self._owners.nbytes + self._rows.nbytes

    def take_left_out(self) -> list[LeftOut]:
        """Models that snapshots or a restore left out since the last call; arrays never are."""
        rivers = [part.learner for part in self._parts if isinstance(part.learner, RiverLearner)]
        return [left_out for learner in rivers for left_out in learner.take_left_out()]

    def begin_copy(self, slots: IntArray) -> PartialCopy:
        """Owner of each of these open slots, and each learner's state of its own ones in the same order."""
        owners, rows = self._owners[slots], self._rows[slots]
        if len(self._parts) == 1:
            return _BankCopy(owners, [self._parts[0].learner.begin_copy(rows)])
        parts = [part.learner.begin_copy(rows[owners == index]) for index, part in enumerate(self._parts)]
        return _BankCopy(owners, parts)

    def restore(self, slots: IntArray, columns: Columns) -> None:
        """Open these slots in a new bank with the state in a copy's columns; raises ``SnapshotRefusedError``."""
        owners = taken(columns, "owner", np.dtype(np.int64), slots.shape)
        if not np.isin(owners, np.arange(len(self._parts))).all():
            raise SnapshotRefusedError("the snapshot names a learner that these settings do not have")
        self._reserve(int(slots.max(initial=-1)) + 1)
        self._owners[slots] = owners
        for index, part in enumerate(self._parts):
            own = slots[owners == index]
            self._rows[own] = part.take_first(len(own))
            part.learner.restore(self._rows[own], under(str(index), columns))

    def _reserve(self, capacity: int) -> None:
        size = len(self._owners)
        if capacity <= size:
            return
        grown = max(_CAPACITY_MIN, 2 * size, capacity)
        self._owners = np.concatenate((self._owners, np.full(grown - size, _CLOSED, dtype=np.int64)))
        self._rows = np.concatenate((self._rows, np.zeros(grown - size, dtype=np.int64)))


class _BankCopy:
    """Who owns each slot, copied at once, and the learners' own copies, which count their own slots only."""

    def __init__(self, owners: IntArray, parts: Sequence[PartialCopy]) -> None:
        self._owners = owners
        self._parts = parts
        if len(parts) == 1:
            return
        self._ranks = np.empty(len(owners), dtype=np.int64)
        for index in range(len(parts)):
            own = np.flatnonzero(owners == index)
            self._ranks[own] = np.arange(len(own))

    def take(self, positions: IntArray) -> None:
        """Let each learner copy its own ones of these positions."""
        if len(self._parts) == 1:
            self._parts[0].take(positions)
            return
        owners = self._owners[positions]
        for index, part in enumerate(self._parts):
            part.take(self._ranks[positions[owners == index]])

    def columns(self) -> Columns:
        """The owners, and the columns of learner k under ``k.``."""
        columns: dict[str, NDArray[Any]] = {"owner": self._owners}
        for index, part in enumerate(self._parts):
            columns |= prefixed(str(index), part.columns())
        return columns


def _scatter(answer: ScoreColumns, rows: IntArray, out: ScoreColumns) -> None:
    """Write a learner's answer to the rows of the batch that it is about."""
    for column, part in zip(out.columns(), answer.columns(), strict=True):
        column[rows] = part
