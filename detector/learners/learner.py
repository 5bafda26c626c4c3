"""What the rest of the package may expect of any learner."""

from typing import Protocol

from detector.batches import FloatArray, IntArray, ScoreColumns
from detector.columns import Columns, PartialCopy


class Learner(Protocol):
    """Online models of many series, one per slot; columns in, columns out.

    A series' scores and state are a function of its own samples in order and of nothing else: not of the slot's number,
    of other series or of where a batch is cut. Times per slot are strictly increasing and values are finite; the caller
    has dropped everything else.
    """

    name: str
    version: int
    warm_up_samples: int

    def reserve(self, capacity: int) -> None:
        """Make room for the slots 0 to ``capacity`` - 1; only grows, and keeps what was learnt."""

    def score(self, slots: IntArray, times_ms: IntArray, values: FloatArray, out: ScoreColumns) -> int:
        """In row order: score a sample, then learn it; every column of ``out`` is written, with NaN while warming up.

        Returns how many samples met an exception inside a foreign model; such a series answers NaN until it is reset.
        """

    def reset(self, slots: IntArray) -> None:
        """Forget: these slots are new series again."""

    def rebaseline(self, slots: IntArray, times_ms: IntArray, levels: FloatArray) -> None:
        """Take ``levels`` float64[n] as the new normal of these slots, each seen, from ``times_ms`` int64[n] on.

        The law: a sample of that level at that time is then not outside of the band, or has no score. What is known of
        noise and seasons stays, where the learner keeps such things apart from the level; a learner without a level of
        its own forgets. It is called between two samples of a series, never in the middle of one's scoring.
        """

    def samples_seen(self, slot: int) -> int:
        """How many samples the slot's series has been given since it was new."""

    def state_bytes(self) -> int:
        """Bytes of state that are held for all slots."""

    def begin_copy(self, slots: IntArray) -> PartialCopy:
        """Begin a copy of the state of these slots, in their order; no columns where a state cannot be kept."""

    def restore(self, slots: IntArray, columns: Columns) -> None:
        """Take the columns of such a copy, for reserved new slots; ``SnapshotRefusedError`` where it does not fit."""
