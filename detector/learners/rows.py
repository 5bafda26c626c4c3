"""Rows of learners for the slots of others: dense, so that a learner pays for its own series only."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray, IntArray, ScoreColumns
from detector.columns import Columns, PartialCopy, prefixed
from detector.learners.learner import Learner

CAPACITY_MIN: Final = 64


class Rows:
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
        self._next += 1
        self._grow()
        return self._next - 1

    def take_many(self, count: int) -> IntArray:
        """So many rows that hold new series."""
        returned = [self._free.pop() for _ in range(min(count, len(self._free)))]
        first, self._next = self._next, self._next + count - len(returned)
        self._grow()
        return np.concatenate((np.array(returned, dtype=np.int64), np.arange(first, self._next)))

    def take_first(self, count: int) -> IntArray:
        """The first ``count`` rows, all at once, of a learner that has given out none."""
        assert self._next == 0
        self._next = self._capacity = count
        self.learner.reserve(count)
        return np.arange(count)

    def _grow(self) -> None:
        if self._next > self._capacity:
            self._capacity = max(CAPACITY_MIN, 2 * self._capacity, self._next)
            self.learner.reserve(self._capacity)

    def give_back(self, rows: IntArray) -> None:
        """Forget these rows' series and let others have the rows."""
        self.learner.reset(rows)
        self._free.extend(rows.tolist())

    def score(self, own: IntArray, rows: IntArray, times_ms: IntArray, values: FloatArray, out: ScoreColumns) -> int:
        """Let the learner score the samples ``own`` of a batch, which are in its ``rows``, into their places."""
        answer = ScoreColumns.empty(len(own))
        failures = self.learner.score(rows[own], times_ms[own], values[own], answer)
        for column, part in zip(out.columns(), answer.columns(), strict=True):
            column[own] = part
        return failures


class PartsCopy:
    """Copies of several parts' state of the same slots; ``owners[i]`` is the part that has position i.

    Each part's own copy counts its own positions only.
    """

    def __init__(self, owners: NDArray[Any], parts: Sequence[PartialCopy]) -> None:
        self._owners = owners
        self._parts = parts
        if len(parts) == 1:
            return
        self._ranks = np.empty(len(owners), dtype=np.int64)
        for index in range(len(parts)):
            own = np.flatnonzero(owners == index)
            self._ranks[own] = np.arange(len(own))

    def take(self, positions: IntArray) -> None:
        """Let each part copy its own ones of these positions."""
        if len(self._parts) == 1:
            self._parts[0].take(positions)
            return
        owners = self._owners[positions]
        for index, part in enumerate(self._parts):
            part.take(self._ranks[positions[owners == index]])

    def columns(self) -> Columns:
        """The columns of part k under ``k.``."""
        columns: dict[str, NDArray[Any]] = {}
        for index, part in enumerate(self._parts):
            columns |= prefixed(str(index), part.columns())
        return columns
