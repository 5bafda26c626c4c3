"""First delivered, then committed, whether in one transaction or not.

1. Every message of a batch is handed to the sink before its offset counts as processed.
2. Offsets are committed only at a moment when nothing handed over is still pending.
3. Such a moment is waited for, briefly, once a commit is overdue; without messages in flight it is there at every turn.
4. The pointer to a partition's newest snapshot is committed beside its offset, so that the two can never disagree.

At least once: a commit without an answer is no harm, the next one covers its offsets; a failed delivery stops the
worker before any later commit. Exactly once: every commit covers everything sent, since a transaction cannot be
divided. A message that failed, or whose partition is gone, dooms all of it; the loop then aborts it and restores.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from detector.errors import CommitPostponedError, TransactionAbortedError
from detector.ports import AssignmentListener, Clock, Committed, Source, TopicPartition
from detector.worker.assignments import Assignments, PartitionState
from detector.worker.delivery import Delivery
from detector.worker.gaps import Gaps
from detector.worker.limits import WorkerLimits
from detector.worker.observer import WorkerObserver
from detector.worker.snapshots import SnapshotTaker

SETTLE_POLL_S: Final = 0.05
"""One wait for delivery reports; they end it early."""

LAST_SNAPSHOTS: Final = 2
"""Rounds of snapshot and commit when partitions are left: a snapshot that was under way is of an earlier offset, and
only when the pointer to it is committed may the one of the very end be taken. Mostly there is nothing to do in the
second."""


class Checkpoint:
    """Commits what was delivered, when it is due."""

    def __init__(
        self,
        *,
        source: Source,
        delivery: Delivery,
        assignments: Assignments,
        interval_s: float,
        clock: Clock,
        observer: WorkerObserver,
    ) -> None:
        self._source = source
        self._delivery = delivery
        self._sink = delivery.sink
        self._assignments = assignments
        self._interval_s = interval_s
        self._clock = clock
        self._observer = observer
        self._due_s = clock.monotonic_s() + interval_s
        self._doomed: TransactionAbortedError | None = None

    def doom(self, reason: str) -> None:
        """Let nothing sent since the last commit be committed; without transactions it is delivered already."""
        if self._delivery.transactional and self._doomed is None:
            self._doomed = TransactionAbortedError(reason)

    def raise_doom(self) -> None:
        """Raise ``TransactionAbortedError`` if the open transaction must not be committed."""
        if self._doomed is not None:
            raise self._doomed

    def abort(self) -> None:
        """Give up what was sent since the last commit; the next commit is due after a whole interval."""
        self._delivery.abort()
        self._doomed = None
        self._due_s = self._clock.monotonic_s() + self._interval_s

    def turn(self) -> None:
        """Commit if due; called once per turn of the loop."""
        moment_s = self._clock.monotonic_s()
        if moment_s < self._due_s:
            return
        self._sink.poll(0)
        if self._sink.pending():
            overdue = moment_s >= self._due_s + self._interval_s
            if not overdue:
                return
            if not self.settle(self._interval_s):
                self._due_s = self._clock.monotonic_s() + self._interval_s
                return
        self.commit()
        self._observer.lags_measured(self._source.lags())
        self._due_s = self._clock.monotonic_s() + self._interval_s

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing is pending; false after ``timeout_s``. A lost message raises ``DeliveryFailedError``."""
        deadline_s = self._clock.monotonic_s() + timeout_s
        self._sink.poll(0)
        while self._sink.pending():
            if self._clock.monotonic_s() >= deadline_s:
                return False
            self._sink.poll(SETTLE_POLL_S)
        return True

    def commit(self) -> None:
        """Commit everything processed, whose messages are all delivered; an unusable answer leaves it uncommitted."""
        assert not self._sink.pending(), "delivered first, then committed"
        offsets = self._assignments.uncommitted()
        if not offsets:
            return
        self.raise_doom()
        began_s = self._clock.monotonic_s()
        try:
            self._delivery.commit(offsets)
        except CommitPostponedError as error:
            self._observer.commit_postponed(str(error))
            return
        self._assignments.mark_committed(offsets)
        self._observer.committed(self._clock.monotonic_s() - began_s)


class Membership(AssignmentListener):
    """Follows the group: partitions come with new pipelines and leave with their last snapshot and commit.

    Without a ``taker`` nothing is restored and no snapshot taken: partitions are live as they come.
    """

    def __init__(
        self,
        *,
        source: Source,
        assignments: Assignments,
        gaps: Gaps,
        checkpoint: Checkpoint,
        taker: SnapshotTaker | None,
        limits: WorkerLimits,
        clock: Clock,
        observer: WorkerObserver,
    ) -> None:
        self._source = source
        self._assignments = assignments
        self._gaps = gaps
        self._checkpoint = checkpoint
        self._taker = taker
        self._limits = limits
        self._clock = clock
        self._observer = observer
        self._ending = False
        self.joined = False

    def end(self) -> None:
        """From here on, partitions are dropped without I/O: the last commit is made, or none may follow a failure."""
        self._ending = True
        self.joined = False

    def assigned(self, partitions: Mapping[TopicPartition, Committed | None]) -> None:
        """Gate what has to be restored; nothing waits in here.

        An empty assignment counts as one, for groups with more members than partitions.
        """
        keeps = self._taker is not None
        self._assignments.add(partitions, PartitionState.RESTORING if keeps else PartitionState.LIVE)
        if keeps:
            self._source.gate(list(partitions))
        self.joined = True
        self._observer.assigned(list(partitions))

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver, take a last snapshot and commit inside one deadline, then drop.

        What is late is read again by the next owner, with the older snapshot.
        """
        if not self._ending:  # else a failure may have come in the middle of handing them over
            self._assignments.hand_over(partitions)
            try:
                self._hand_over(partitions)
            except TransactionAbortedError as error:
                self._checkpoint.doom(str(error))
        self._assignments.drop(partitions)
        self._observer.revoked(partitions)

    def _hand_over(self, partitions: Sequence[TopicPartition]) -> None:
        deadline_s = self._clock.monotonic_s() + self._limits.revoke_timeout_s
        self._checkpoint.raise_doom()
        if not self._checkpoint.settle(self._limits.revoke_timeout_s):
            self._checkpoint.doom("what partitions said that were taken away was not delivered in time")
            return
        for _ in range(LAST_SNAPSHOTS):
            if self._taker is not None:
                self._taker.finish(partitions, deadline_s)
            if not self._checkpoint.settle(deadline_s - self._clock.monotonic_s()):
                self._checkpoint.doom("the last snapshot of partitions that were taken away was not delivered in time")
                return
            self._checkpoint.commit()

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Drop: they are somebody else's already."""
        self._checkpoint.doom("partitions were lost to another member")
        self._assignments.drop(partitions)
        self.joined = False
        self._observer.lost(partitions)

    def out_of_range(self, partition: TopicPartition, offset: int) -> None:
        """Leave it gated until the loop has found out what is there."""
        self._gaps.add(partition, offset)
