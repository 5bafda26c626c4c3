"""What the compiled learners have in common: one record of a structured array for each slot."""

from collections.abc import Mapping

import numpy as np

from detector.batches import IntArray
from detector.columns import NO_FIELDS, Columns, PartialCopy, RecordsCopy, grown, put_fields


class RecordLearner:
    """The part of a learner that keeps records; scoring them and moving their levels is left to the algorithm.

    ``record`` is the type of one series, with ``samples`` among its fields; all zeros is a new one. ``later`` names the
    fields that older snapshots lack, each with the value that it then has.
    """

    def __init__(self, record: np.dtype[np.void], later: Mapping[str, float] = NO_FIELDS) -> None:
        self._state = np.zeros(0, dtype=record)
        self._later = later

    def reserve(self, capacity: int) -> None:
        """Make room for the slots 0 to ``capacity`` - 1, keeping what was learnt."""
        if capacity > len(self._state):
            self._state = grown(self._state, capacity, np.zeros(1, dtype=self._state.dtype))

    def reset(self, slots: IntArray) -> None:
        """Forget: these slots are new series again."""
        self._state[slots] = np.zeros((), dtype=self._state.dtype)

    def samples_seen(self, slot: int) -> int:
        """How many samples the slot's series has been given since it was new."""
        return int(self._state["samples"][slot])

    def state_bytes(self) -> int:
        """Bytes of the state array, reserved rows included."""
        return self._state.nbytes

    def begin_copy(self, slots: IntArray) -> PartialCopy:
        """One column per field of the record."""
        return RecordsCopy(lambda: self._state, slots)

    def restore(self, slots: IntArray, columns: Columns) -> None:
        """Take the records of these slots from their fields."""
        put_fields(self._state, slots, columns, self._later)
