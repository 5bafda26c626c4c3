"""The partitions that this process owns: one pipeline each, and how far each was processed and committed."""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Final, Protocol

from detector.batches import Output, RecordBatch
from detector.ports import TopicPartition
from detector.worker.dead_letters import RejectGuard
from detector.worker.limits import WorkerLimits
from detector.worker.observer import Pipeline


class ProcessingPipeline(Pipeline, Protocol):
    """A pipeline that the worker drives."""

    def process(self, batch: RecordBatch) -> Output:
        """Everything that comes of the next records of the partition."""


PipelineFactory = Callable[[TopicPartition], ProcessingPipeline]


class PartitionState(Enum):
    """Life of a partition in this process.

    ::

        assigned ──▶ OWNED ──── revoked ────▶ HANDING_OVER ──▶ DROPPED
                       │                      (flush, commit)     ▲
                       └──────────────── lost ────────────────────┘

    A partition that comes back begins anew: state is never kept across owners.
    """

    OWNED = "owned"
    HANDING_OVER = "handing_over"
    DROPPED = "dropped"


TRANSITIONS: Final[Mapping[PartitionState, frozenset[PartitionState]]] = {
    PartitionState.OWNED: frozenset({PartitionState.HANDING_OVER, PartitionState.DROPPED}),
    PartitionState.HANDING_OVER: frozenset({PartitionState.DROPPED}),
    PartitionState.DROPPED: frozenset(),
}


class OwnedPartition:
    """One partition with its pipeline. ``processed`` and ``committed`` are next offsets; None before the first."""

    __slots__ = ("committed", "guard", "pipeline", "place", "processed", "state")

    def __init__(self, place: TopicPartition, pipeline: ProcessingPipeline, guard: RejectGuard) -> None:
        self.place = place
        self.pipeline = pipeline
        self.guard = guard
        self.state = PartitionState.OWNED
        self.processed: int | None = None
        self.committed: int | None = None

    def move(self, state: PartitionState) -> None:
        """Go on in the life cycle."""
        assert state in TRANSITIONS[self.state], f"{self.place}: {self.state} -> {state}"
        self.state = state


class Assignments:
    """Every owned partition by its place."""

    def __init__(self, pipeline_factory: PipelineFactory, limits: WorkerLimits) -> None:
        self._pipeline_factory = pipeline_factory
        self._limits = limits
        self._owned: dict[TopicPartition, OwnedPartition] = {}

    def __len__(self) -> int:
        return len(self._owned)

    def add(self, places: Iterable[TopicPartition]) -> None:
        """Begin to own ``places``, each with a new pipeline."""
        for place in places:
            assert place not in self._owned, f"{place} is owned already"
            guard = RejectGuard(
                place,
                ratio_max=self._limits.rejects_ratio_max,
                window_records=self._limits.rejects_window_records,
            )
            self._owned[place] = OwnedPartition(place, self._pipeline_factory(place), guard)

    def at(self, place: TopicPartition) -> OwnedPartition:
        """Give an owned partition; records of others never get here."""
        return self._owned[place]

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

    def uncommitted(self, places: Iterable[TopicPartition] | None = None) -> dict[TopicPartition, int]:
        """Next offsets of what was processed since its last commit, of ``places`` or of everything."""
        partitions = self._owned.values() if places is None else [self._owned[place] for place in places]
        return {
            partition.place: partition.processed
            for partition in partitions
            if partition.processed is not None and partition.processed != partition.committed
        }

    def mark_committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Remember what the broker has confirmed."""
        for place, offset in offsets.items():
            self._owned[place].committed = offset
