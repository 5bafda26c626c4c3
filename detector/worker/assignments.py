"""The partitions that this process owns: one pipeline each, and how far each was processed and committed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, Protocol

from detector.batches import LeftOut, Output, RecordBatch
from detector.columns import Columns
from detector.ports import NOT_COMMITTED, Committed, TopicPartition
from detector.state import Pointer, Snapshot, SnapshotHeader, format_pointer
from detector.worker.dead_letters import RejectGuard
from detector.worker.limits import WorkerLimits
from detector.worker.observer import Pipeline


class StateSlices(Protocol):
    """A copy of a partition's state that is taken slice by slice."""

    @property
    def header(self) -> SnapshotHeader:
        """What it is of."""

    def advance(self) -> bool:
        """Copy the next slice; true once all is copied."""

    def columns(self) -> Columns:
        """What was copied, laid out; in any thread."""


class ProcessingPipeline(Pipeline, Protocol):
    """A pipeline that the worker drives."""

    @property
    def config_hash(self) -> str:
        """Under which a state is learnt and holds."""

    def process(self, batch: RecordBatch) -> Output:
        """Everything that comes of the next records of the partition."""

    def begin_snapshot(self, *, offset: int, cluster: str) -> StateSlices:
        """Begin to copy the state after all records before ``offset``; batches may be processed between its slices."""

    def restore(self, snapshot: Snapshot, *, cluster: str) -> int:
        """Become what the snapshot says; raises ``SnapshotRefusedError``, and is of no use after that."""

    def forget_episodes(self) -> None:
        """Keep what was learnt, and nothing of episodes: none is open, and no silence is noticed of unseen series."""

    def take_left_out(self) -> Sequence[LeftOut]:
        """Models that a snapshot or the restore left out since the last call."""


PipelineFactory = Callable[[TopicPartition], ProcessingPipeline]


class PartitionState(Enum):
    """Life of a partition in this process.

    ::

        assigned ─▶ RESTORING ─▶ REPLAYING ─▶ LIVE ── revoked ──▶ HANDING_OVER ─▶ DROPPED
                        │   │        │          ▲  │           (snapshot, commit)    ▲
                        │   └────────┴──────────┼──┴─ lost, or a transaction aborted ┘
                        └──▶ BOOTSTRAPPING ─────┘

    RESTORING: gated, its snapshot is fetched. REPLAYING: records below the committed offset go through the models, and
    nothing is sent. A revocation may come in every state; only what is LIVE has anything to commit. Without snapshots a
    partition is LIVE at once. A partition that comes back begins anew: state is never kept across owners. After an
    aborted transaction a new life begins in its place, RESTORING. BOOTSTRAPPING: gated; it learns what is there before
    it says its first word, see :mod:`detector.worker.bootstraps`; it survives aborted transactions.
    """

    RESTORING = "restoring"
    BOOTSTRAPPING = "bootstrapping"
    REPLAYING = "replaying"
    LIVE = "live"
    HANDING_OVER = "handing_over"
    DROPPED = "dropped"


NOT_OPEN: Final = frozenset({PartitionState.RESTORING, PartitionState.BOOTSTRAPPING})
"""Gated: no record of these is processed."""
LEAVING: Final = frozenset({PartitionState.HANDING_OVER, PartitionState.DROPPED})
TRANSITIONS: Final[Mapping[PartitionState, frozenset[PartitionState]]] = {
    PartitionState.RESTORING: LEAVING | {PartitionState.BOOTSTRAPPING, PartitionState.REPLAYING, PartitionState.LIVE},
    PartitionState.BOOTSTRAPPING: LEAVING | {PartitionState.LIVE},
    PartitionState.REPLAYING: LEAVING | {PartitionState.LIVE},
    PartitionState.LIVE: LEAVING,
    PartitionState.HANDING_OVER: frozenset({PartitionState.DROPPED}),
    PartitionState.DROPPED: frozenset(),
}


class OwnedPartition:
    """One partition with its pipeline.

    ``committed`` is what the broker is known to hold (None while it must be asked), ``processed`` the next offset to
    process (None before the first record), ``pointer`` what says how to get the state back; it is committed beside the
    offset. ``replay_until`` is the offset from which on output is sent. ``live`` stays true when a live partition is
    handed over. ``was_committed``: the group has had an offset for it, in this life or the one before. ``opening`` is
    what must be committed before a partition that is bootstrapped goes on.
    """

    __slots__ = (
        "cluster",
        "committed",
        "guard",
        "live",
        "opening",
        "pipeline",
        "place",
        "pointer",
        "processed",
        "replay_until",
        "skipped_from",
        "snapshot_due_s",
        "state",
        "was_committed",
    )

    def __init__(
        self, place: TopicPartition, pipeline: ProcessingPipeline, guard: RejectGuard, committed: Committed | None
    ) -> None:
        self.place = place
        self.pipeline = pipeline
        self.guard = guard
        self.state = PartitionState.RESTORING
        self.live = False
        self.committed = committed
        self.processed: int | None = None
        self.pointer: Pointer | None = None
        self.cluster = ""
        self.replay_until = NOT_COMMITTED.offset if committed is None else committed.offset
        self.skipped_from: int | None = None
        self.snapshot_due_s = 0.0
        self.opening: Committed | None = None
        self.was_committed = committed is not None and committed.offset >= 0

    def move(self, state: PartitionState) -> None:
        """Go on in the life cycle."""
        assert state in TRANSITIONS[self.state], f"{self.place}: {self.state} -> {state}"
        self.state = state
        self.live = self.live or state is PartitionState.LIVE

    def skip(self, offset: int) -> None:
        """Note that records from ``offset`` on were fetched and not processed; they are to be read again."""
        if self.skipped_from is None:
            self.skipped_from = offset

    def first_offset(self) -> int | None:
        """Where this life began to read, if it was the first one of the partition in the group."""
        if self.processed is not None and self.pointer is not None and self.committed == NOT_COMMITTED:
            return self.pointer.offset if self.pointer.is_empty else None
        return self.skipped_from

    def due(self) -> Committed | None:
        """Give what should be committed; None where nothing has been processed, or the state is not whole yet."""
        if self.processed is None or not self.live:
            return self.opening
        return Committed(self.processed, "" if self.pointer is None else format_pointer(self.pointer))


class Assignments:
    """Every owned partition by its place. ``unrestored`` may be read by other threads."""

    def __init__(self, pipeline_factory: PipelineFactory, limits: WorkerLimits) -> None:
        self.pipeline_factory: Final = pipeline_factory
        self.unrestored = 0
        self._limits = limits
        self._owned: dict[TopicPartition, OwnedPartition] = {}

    def __len__(self) -> int:
        return len(self._owned)

    def add(self, places: Mapping[TopicPartition, Committed | None], state: PartitionState) -> None:
        """Begin to own ``places``, each with a new pipeline."""
        for place, committed in places.items():
            assert place not in self._owned, f"{place} is owned already"
            partition = self._owned[place] = self._new(place, committed)
            if state is not PartitionState.RESTORING:
                partition.move(state)
        self._count()

    def restart(self) -> list[TopicPartition]:
        """Begin a new life of every partition that has said anything; what the group has committed must be asked."""
        places = []
        for place, partition in self._owned.items():
            if partition.state not in NOT_OPEN:
                begins = partition.first_offset()
                partition.move(PartitionState.DROPPED)
                fresh = self._owned[place] = self._new(place, None)
                fresh.skipped_from = begins
                fresh.was_committed = partition.was_committed
                places.append(place)
        self._count()
        return places

    def _new(self, place: TopicPartition, committed: Committed | None) -> OwnedPartition:
        guard = RejectGuard(
            place,
            ratio_max=self._limits.rejects_ratio_max,
            window_records=self._limits.rejects_window_records,
        )
        return OwnedPartition(place, self.pipeline_factory(place), guard, committed)

    def all(self) -> list[OwnedPartition]:
        """Give every owned partition."""
        return list(self._owned.values())

    def at(self, place: TopicPartition) -> OwnedPartition:
        """Give an owned partition; records of others never get here."""
        return self._owned[place]

    def holds(self, partition: OwnedPartition) -> bool:
        """Whether this very partition is owned still, and not another life of it."""
        return self._owned.get(partition.place) is partition

    def move(self, partition: OwnedPartition, state: PartitionState) -> None:
        """Let one go on in its life."""
        partition.move(state)
        self._count()

    def hand_over(self, places: Iterable[TopicPartition]) -> None:
        """Begin to give ``places`` away."""
        for place in places:
            self._owned[place].move(PartitionState.HANDING_OVER)

    def drop(self, places: Iterable[TopicPartition]) -> None:
        """Forget ``places`` with all their state; unknown ones are no mistake, they were never processed here."""
        for place in places:
            partition = self._owned.pop(place, None)
            if partition is not None:
                partition.move(PartitionState.DROPPED)
        self._count()

    def uncommitted(self) -> dict[TopicPartition, Committed]:
        """Give what differs from what the broker holds."""
        dues = {place: partition.due() for place, partition in self._owned.items()}
        return {place: due for place, due in dues.items() if due is not None and due != self._owned[place].committed}

    def mark_committed(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Remember what the broker has confirmed."""
        for place, committed in offsets.items():
            self._owned[place].committed = committed
            self._owned[place].was_committed = True

    def _count(self) -> None:
        self.unrestored = sum(not partition.live for partition in self._owned.values())
