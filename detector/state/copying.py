"""A copy of a partition's state that is taken in slices while records flow.

Copying hundreds of megabytes at once would stop scoring for seconds. So a copy is only begun at an offset and then
advanced by one slice at a time, between batches. Meanwhile whoever changes the state of a slot says so first, and what
was not copied yet is copied then: the finished copy is the state at the offset at which it was begun, to the bit.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.columns import Columns, PartialCopy, prefixed
from detector.state.snapshot import SnapshotHeader

SLICE_SLOTS: Final = 4096
"""Slots copied at once: 3.5 MB, which took 1 to 25 ms, the most where the memory was new to the process."""


class StateCopy:
    """The copy of the ``slots``, int64[n] ascending, that were live when it was begun; ``parts`` by room.

    ``header`` is complete from the beginning. :meth:`columns` may be called, in any thread, once :meth:`advance` has
    said so. The copy belongs to the thread of the pipeline until then.
    """

    def __init__(self, header: SnapshotHeader, slots: NDArray[np.int64], parts: Mapping[str, PartialCopy]) -> None:
        self.header: Final = header
        self._parts = dict(parts)
        self._count = len(slots)
        self._next = 0
        self._missing = np.ones(self._count + 1, dtype=np.bool_)
        self._missing[self._count] = False  # the position of all slots that are not in the copy
        self._slots_end = int(slots[-1]) + 1 if self._count else 0
        self._positions = np.full(self._slots_end + 1, self._count, dtype=np.int64)
        self._positions[slots] = np.arange(self._count)

    @property
    def complete(self) -> bool:
        """Whether everything is copied; from then on changes do not matter."""
        return self._next >= self._count

    def advance(self, slots_max: int = SLICE_SLOTS) -> bool:
        """Copy the next slice, at most ``slots_max`` slots; true once the copy is complete."""
        assert slots_max > 0
        assert self._parts, "a dropped copy cannot become complete"
        while self._next < self._count:
            start, self._next = self._next, min(self._next + slots_max, self._count)
            missing = start + np.flatnonzero(self._missing[start : self._next])
            if len(missing):
                self._take(missing)
                break
        return self.complete

    def save(self, slots: NDArray[np.int64]) -> None:
        """Copy what is missing of these slots, which are about to change; any numbers, in any order, repeated or not.

        Of slots that came to life after the beginning, and of -1, nothing belongs to the copy.
        """
        if self.complete:
            return
        positions = self._positions[np.minimum(slots, self._slots_end)]
        missing = positions[self._missing[positions]]
        if len(missing):
            self._take(missing)

    def drop(self) -> None:
        """Give up: the memory is free, and the copy is never complete."""
        self._parts.clear()

    def columns(self) -> Columns:
        """The columns of all rooms, each under its room's name."""
        assert self._parts, "a dropped copy has nothing"
        assert self.complete, "a copy is laid out when all of it is there"
        return {
            name: column
            for room, part in self._parts.items()
            for name, column in prefixed(room, part.columns()).items()
        }

    def _take(self, positions: NDArray[np.int64]) -> None:
        for part in self._parts.values():
            part.take(positions)
        self._missing[positions] = False
