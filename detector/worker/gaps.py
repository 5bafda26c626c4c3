"""Gaps in the input: records that the brokers no longer keep although somebody needs them.

Retention overtakes a group that was away, or a worker that is slow or held; a topic is truncated or created anew. Where
a partition goes on after that is never the client's choice: its state has jumped, which is a loss of state, and
records may be gone unread. ``state.on_state_loss`` decides, with or without models that are kept.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from detector.errors import StateLostError, StateUnavailableError
from detector.ports import NOT_COMMITTED, Clock, OffsetRange, Source, TopicPartition
from detector.state import empty_pointer
from detector.worker.assignments import NOT_OPEN, Assignments, OwnedPartition, PartitionState
from detector.worker.limits import OnStateLoss
from detector.worker.observer import WorkerObserver

RETRY_S: Final = 1.0
"""Between two questions to brokers that gave no answer."""


class Gap(NamedTuple):
    """Why reading cannot go on at a position, and at which ``start`` it can.

    ``records_lost`` lie between what was processed and what is kept: nobody has read them and nobody can. Offsets are
    counted, so records that compaction had removed, and the marks of transactions, are among them.
    """

    reason: str
    start: int
    records_lost: int


def gap_at(position: int, needed: int, bounds: OffsetRange) -> Gap | None:
    """What is missing for reading at ``position``, where records from ``needed`` on were never processed."""
    begin, end = bounds
    if position < begin <= needed <= end:
        return Gap(f"the input begins at offset {begin}, past {position}, from which to replay", needed, 0)
    if needed < begin:
        lost = begin - needed
        reason = f"the input begins at offset {begin}, past {needed}: {lost} records were removed before they were read"
        return Gap(reason, begin, lost)
    if position > end or needed > end:
        return _restarted(needed, bounds)
    return None


def _restarted(needed: int, bounds: OffsetRange) -> Gap:
    begin, end = bounds
    return Gap(
        f"the input's offsets {begin} to {end} do not go on at {needed}: the topic was truncated or created anew",
        begin,
        0,
    )


def stop_if_told(
    place: TopicPartition, reason: str, gap: Gap | None, on_loss: OnStateLoss, observer: WorkerObserver
) -> None:
    """Raise ``StateLostError`` with the remedies where a lost state shall stop the worker."""
    if on_loss == "cold_start":
        return
    observer.state_lost(place, reason, records_lost(gap))
    remedy = "state.on_state_loss: cold_start would learn it anew"
    if gap is not None:
        remedy = (
            f"`detector state reset {place.topic}:{place.partition} --to-earliest --forget --execute` sets the group's "
            f"offset, and state.on_state_loss: cold_start would go on at {gap.start}, learning anew"
        )
    raise StateLostError(f"the state of {place.topic}[{place.partition}] is lost ({reason}); {remedy}")


def records_lost(gap: Gap | None) -> int:
    """How many records nobody can read any more."""
    return 0 if gap is None else gap.records_lost


class Gaps:
    """Partitions whose next record is not there: each waits, gated, for the brokers to say what is.

    Called once per turn of the loop. With ``keeps`` a partition goes on under a pointer to an empty state.
    """

    def __init__(
        self,
        *,
        source: Source,
        assignments: Assignments,
        on_loss: OnStateLoss,
        keeps: bool,
        clock: Clock,
        observer: WorkerObserver,
    ) -> None:
        self._source = source
        self._assignments = assignments
        self._on_loss: OnStateLoss = on_loss
        self._keeps = keeps
        self._clock: Callable[[], float] = clock.monotonic_s
        self._observer = observer
        self._waiting: list[tuple[OwnedPartition, int]] = []
        self._retry_s = self._clock()

    def add(self, place: TopicPartition, offset: int) -> None:
        """Remember that ``offset`` is not kept. A partition that is being restored is asked about there."""
        partition = self._assignments.at(place)
        if partition.state not in NOT_OPEN:
            self._waiting.append((partition, offset))

    def turn(self) -> None:
        """Let partitions go on where there are records again. Raises ``StateLostError``."""
        if not self._waiting or self._clock() < self._retry_s:
            return
        waiting, self._waiting = self._waiting, []
        for partition, offset in waiting:
            if not self._assignments.holds(partition):
                continue  # taken away meanwhile; the next owner will find out
            try:
                self._go_on(partition, offset)
            except StateUnavailableError as error:
                self._waiting.append((partition, offset))
                self._retry_s = self._clock() + RETRY_S
                self._observer.restore_postponed(partition.place, str(error))

    def _go_on(self, partition: OwnedPartition, offset: int) -> None:
        place = partition.place
        committed = NOT_COMMITTED if partition.committed is None else partition.committed
        needed = partition.processed
        if needed is None:
            needed = offset if committed == NOT_COMMITTED else committed.offset
        bounds = self._source.bounds(place)
        # The broker has refused: where its offsets include ours by now, they belong to other records.
        gap = gap_at(offset, needed, bounds) or _restarted(needed, bounds)
        stop_if_told(place, gap.reason, gap, self._on_loss, self._observer)
        self._source.open(place, gap.start)
        self._observer.state_lost(place, gap.reason, gap.records_lost)
        self._assignments.drop([place])
        self._assignments.add({place: committed}, PartitionState.LIVE)
        fresh = self._assignments.at(place)
        fresh.processed = gap.start
        if self._keeps:
            fresh.cluster = partition.cluster
            fresh.pointer = empty_pointer(
                gap.start, generation=0, config_hash=fresh.pipeline.config_hash, cluster=fresh.cluster
            )
