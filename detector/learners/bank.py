"""One partition's learners behind one door: which learner owns a slot, and in which of its rows."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from detector.batches import FloatArray, IntArray, LeftOut, ScoreColumns
from detector.columns import Columns, PartialCopy, taken, under
from detector.errors import SnapshotRefusedError
from detector.learners.auto import AutoLearner, Scorer
from detector.learners.auto_hints import NO_HINT
from detector.learners.auto_peers import NO_GROUP
from detector.learners.learner import Learner
from detector.learners.river_learner import RiverLearner
from detector.learners.rows import CAPACITY_MIN, PartsCopy, Rows

_CLOSED: Final = -1


class LearnerBank:
    """Routes the samples of a partition to the learners that its policies ask for.

    Every learner gets rows of its own, dense and apart from slots, so that two learners do not both pay for every slot.
    A series' result does not depend on its row, so neither eviction nor the order of arrival shows in any score.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        assert learners
        self._parts = [Rows(learner) for learner in learners]
        self._owners = np.full(0, _CLOSED, dtype=np.int64)
        self._rows = np.zeros(0, dtype=np.int64)

    def open(self, slot: int, learner: int, hint: int = NO_HINT, group: int = NO_GROUP) -> None:
        """Give a new series at ``slot`` a row of the learner with this index.

        ``hint`` and ``group`` are :func:`hint_of` and :func:`group_of` its identity; only a learner that chooses asks.
        """
        self._reserve(slot + 1)
        assert self._owners[slot] == _CLOSED, "a slot is opened once and released before it is opened again"
        part = self._parts[learner]
        row = part.take()
        self._rows[slot] = row
        self._owners[slot] = learner
        if isinstance(part.learner, AutoLearner):
            part.learner.begin(row, hint, group)

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
            if len(own) == len(slots):
                return part.learner.score(rows, times_ms, values, out)
            failures += part.score(own, rows, times_ms, values, out)
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

    def scorer_of(self, slot: int, samples: int) -> Scorer:
        """What scored the sample with this number, from 1 on, of the series at an open slot, and why that."""
        learner = self.learner_of(slot)
        if isinstance(learner, AutoLearner):
            return learner.scorer_of(int(self._rows[slot]), samples)
        return Scorer(learner.name, learner.version, "policy", peers=False)

    @property
    def meets_peers(self) -> bool:
        """Whether :meth:`meet` is to be called at each full hour of event time."""
        return any(isinstance(part.learner, AutoLearner) and part.learner.meets_peers for part in self._parts)

    def meet(self) -> int:
        """Let learners put together what peers have shown; returns how many groups there was no room for."""
        choosing = [part.learner for part in self._parts if isinstance(part.learner, AutoLearner)]
        return sum(learner.meet() for learner in choosing if learner.meets_peers)

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
        grown = max(CAPACITY_MIN, 2 * size, capacity)
        self._owners = np.concatenate((self._owners, np.full(grown - size, _CLOSED, dtype=np.int64)))
        self._rows = np.concatenate((self._rows, np.zeros(grown - size, dtype=np.int64)))


class _BankCopy(PartsCopy):
    """Who owns each slot, copied at once, and the learners' own copies."""

    def columns(self) -> Columns:
        """The owners, and the columns of learner k under ``k.``."""
        return {"owner": self._owners, **super().columns()}
