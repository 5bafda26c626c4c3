"""Learning before the first word: what a partition without any commit holds already, and recorded files before that.

1. The partition comes gated. Beside the loop it is found out which of its records, from offset S to before C, are there
   to learn from.
2. C is committed with a pointer to the empty state at S, marked as untold. From here on every owner of the partition,
   after whatever crash, goes on from what is committed, and will be live at C.
3. With files: a pipeline of its own learns them on the loop, a slice per turn, up to the time of the record at S. What
   it knows of episodes is forgotten, its snapshot at S is written, and a pointer to that is committed in place of the
   other.
4. The restore does the rest: records from S to C go through the models and nothing is sent.
5. At C the partition is live. What is open there is told by the events of its opening and latest update, and they are
   committed with a pointer that is no longer marked.

Only where nothing is committed; a state that is lost is learnt anew as ``on_state_loss`` says.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from detector.ports import Clock, Committed, Files, History, RecordedBatch
from detector.state import Pointer, empty_pointer, format_pointer
from detector.worker.assignments import Assignments, OwnedPartition, PartitionState, PipelineFactory
from detector.worker.observer import BootstrapReport, WorkerObserver
from detector.worker.untold import Untold

SLICE_S: Final = 0.1
"""How long files are learnt from in one turn of the loop, so that the other partitions go on."""


@dataclass(frozen=True, slots=True)
class FileLessons:
    """Files, and what makes pipelines that can read their records; these learn what the worker's would learn."""

    files: Files
    pipeline_factory: PipelineFactory


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What partitions without a commit learn from: records at most ``age_ms`` old (None: all), after ``lessons``."""

    age_ms: int | None
    lessons: FileLessons | None = None


@dataclass(slots=True)
class _Lesson:
    """One partition that learns from files."""

    partition: OwnedPartition
    pointer: Pointer
    end: int
    batches: Iterator[RecordedBatch]
    began_s: float
    records: int
    rejected: Counter[str]
    learnt: bool = False


class Bootstraps:
    """Brings partitions to where a restore can go on; called once per turn of the loop."""

    def __init__(
        self, *, bootstrap: Bootstrap | None, assignments: Assignments, clock: Clock, observer: WorkerObserver
    ) -> None:
        self._bootstrap = bootstrap
        self._assignments = assignments
        self._clock = clock
        self._observer = observer
        self._opening: list[OwnedPartition] = []
        self._lessons: list[_Lesson] = []

    def begin(self, partition: OwnedPartition, history: History, cluster: str) -> None:
        """Have it committed where the partition will be live, and that nothing is learnt yet."""
        assert self._bootstrap is not None, "somebody has asked for its history"
        until_ms = None if self._bootstrap.lessons is None else history.begin_ms
        config_hash = partition.pipeline.config_hash
        pointer = empty_pointer(history.begin, generation=0, config_hash=config_hash, cluster=cluster)
        self._assignments.move(partition, PartitionState.BOOTSTRAPPING)
        self._commit(partition, history.end, pointer.bootstrapping(files_until_ms=until_ms))

    def learn_files(self, partition: OwnedPartition, committed: Committed, pointer: Pointer) -> bool:
        """Let it learn from the files that its pointer waits for; false where there are none in these settings."""
        lessons = None if self._bootstrap is None else self._bootstrap.lessons
        if lessons is None or pointer.files_until_ms is None:
            return False
        self._assignments.move(partition, PartitionState.BOOTSTRAPPING)
        partition.committed, partition.cluster = committed, pointer.cluster
        partition.pipeline = lessons.pipeline_factory(partition.place)
        batches = lessons.files.batches(partition.place, pointer.files_until_ms)
        self._lessons.append(
            _Lesson(partition, pointer, committed.offset, batches, self._clock.monotonic_s(), 0, Counter())
        )
        self._observer.bootstrap_begun(partition.place, "files", 0, 0)
        return True

    def replay(self, partition: OwnedPartition, begin: int) -> None:
        """Keep what the partition will have to say when its records from ``begin`` on have gone through the models."""
        end, moment_s = partition.replay_until, self._clock.monotonic_s()
        untold = Untold(begin, end, moment_s)
        self._observer.bootstrap_begun(partition.place, "topic", begin, end)
        if begin < end:
            partition.untold = untold
            partition.snapshot_due_s = 0.0  # as soon as it is live: until then a crash costs the whole replay
        else:
            self._observer.bootstrap_ended(partition.place, untold.report(moment_s))

    def turn(self) -> None:
        """Go on with what is committed, with what is written, and with files. Raises ``UsageError``."""
        for partition in self._opening:
            if self._is_ours(partition) and partition.committed == partition.opening:
                partition.opening = None
                self._assignments.move(partition, PartitionState.RESTORING)
        self._opening = [each for each in self._opening if self._is_ours(each)]
        self._lessons = [each for each in self._lessons if self._is_ours(each.partition)]
        for lesson in list(self._lessons):
            pointer = lesson.partition.pointer
            if lesson.learnt and pointer is not None and not pointer.is_empty:
                self._lessons.remove(lesson)
                self._commit(lesson.partition, lesson.end, pointer.bootstrapping())
        for lesson in self._lessons:
            if not lesson.learnt:
                self._learn(lesson)
                return

    def _is_ours(self, partition: OwnedPartition) -> bool:
        """Whether it is owned still, and waits here."""
        return self._assignments.holds(partition) and partition.state is PartitionState.BOOTSTRAPPING

    def _commit(self, partition: OwnedPartition, offset: int, pointer: Pointer) -> None:
        partition.opening = Committed(offset, format_pointer(pointer))
        self._opening.append(partition)

    def _learn(self, lesson: _Lesson) -> None:
        """Learn for a while. Time decides how far a turn gets, and nothing else."""
        partition = lesson.partition
        until_s = self._clock.monotonic_s() + SLICE_S
        for batch, share in lesson.batches:
            output = partition.pipeline.process(batch)
            lesson.records += len(batch)
            lesson.rejected.update(reject.reason for reject in output.rejects)
            self._observer.bootstrap_advanced(partition.place, "files", len(batch), share)
            if self._clock.monotonic_s() >= until_s:
                return
        partition.pipeline.forget_episodes()
        # What lies at S is written as any snapshot is, by who takes them.
        partition.pointer, partition.processed = lesson.pointer.told(), lesson.pointer.offset
        partition.snapshot_due_s = 0.0
        lesson.learnt = True
        seconds = self._clock.monotonic_s() - lesson.began_s
        report = BootstrapReport("files", lesson.records, lesson.rejected, 0, 0, seconds)
        self._observer.bootstrap_ended(partition.place, report)


def waits_for_snapshot(partition: OwnedPartition) -> bool:
    """Whether files were learnt and no snapshot of that is written."""
    is_learnt = partition.state is PartitionState.BOOTSTRAPPING and partition.processed is not None
    return is_learnt and partition.opening is None and partition.pointer is not None and partition.pointer.is_empty
