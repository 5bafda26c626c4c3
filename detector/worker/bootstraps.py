"""Learning before the first word: recorded files, and what a partition without any commit holds already.

1. The partition comes gated, and stays so. Beside the loop it is found out which of its records, from offset S to
   before C, are there to learn from.
2. C is committed with a pointer to the empty state at S, marked as untold. From here on it is settled where the
   partition will be live: every owner of it, after whatever crash, begins at step 3.
3. The files, up to the time of the record at S, and then the records from S to C go through the models: read beside the
   loop, learnt on it, a slice per turn, while the other partitions go on. What is known of episodes of the files is
   forgotten.
4. A snapshot at C is written. What is open at C is told by the events of its opening and latest update, and they are
   committed with the pointer to the snapshot, which is not marked.
5. Once that is confirmed, the partition is opened at C and live.

One partition at a time. Only where nothing is committed; a state that is lost is learnt anew as ``on_state_loss`` says.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from detector.batches import Event
from detector.errors import StateUnavailableError
from detector.ports import Clock, Committed, Files, History, OffsetRange, RecordedBatch, Source, TopicPartition
from detector.state import Pointer, decode, empty_pointer, encode, format_pointer
from detector.worker.assignments import (
    Assignments,
    OwnedPartition,
    PartitionState,
    PipelineFactory,
    ProcessingPipeline,
)
from detector.worker.limits import StateLimits
from detector.worker.observer import BootstrapStage, WorkerObserver
from detector.worker.untold import Untold

SLICE_S: Final = 0.1
"""How long is learnt in one turn of the loop, and waited for what is read."""


@dataclass(frozen=True, slots=True)
class FileLessons:
    """Files to learn from first. ``pipeline_factory`` makes pipelines for records that are laid out differently.

    What those have learnt is then handed over to the partition's own (None: its own can read them).
    """

    files: Files
    pipeline_factory: PipelineFactory | None = None


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What partitions without a commit learn from: records at most ``age_ms`` old (None: all), after ``lessons``.

    ``records_max``: of one batch.
    """

    age_ms: int | None
    lessons: FileLessons | None = None
    records_max: int = 2_000


class _Lesson:
    """One partition that learns, with ``pipeline``, from where ``pointer`` says to ``end``, which is C."""

    def __init__(self, partition: OwnedPartition, pointer: Pointer, end: int, retry_s: float) -> None:
        self.partition = partition
        self.pointer = pointer
        self.end = end
        self.pipeline = partition.pipeline
        self.stages: list[BootstrapStage] = ["topic"] if pointer.files_until_ms is None else ["files", "topic"]
        self.untold: Untold | None = None
        self.next_offset = pointer.offset
        self.batches: Iterator[RecordedBatch] | None = None
        self.reading: Future[Any] | None = None
        self.retry_s = retry_s
        self.records = 0
        self.learnt = False
        self.told = False


class Bootstraps:
    """Brings partitions from nothing to live; called once per turn of the loop, and when the sink is ready."""

    def __init__(
        self,
        *,
        bootstrap: Bootstrap | None,
        source: Source,
        executor: Executor,
        assignments: Assignments,
        limits: StateLimits,
        clock: Clock,
        observer: WorkerObserver,
    ) -> None:
        self._bootstrap = bootstrap
        self._source = source
        self._executor = executor
        self._assignments = assignments
        self._limits = limits
        self._clock = clock
        self._observer = observer
        self._lessons: list[_Lesson] = []

    @property
    def has_files(self) -> bool:
        """Whether there are files to learn from."""
        return self._bootstrap is not None and self._bootstrap.lessons is not None

    def begin(self, partition: OwnedPartition, history: History, cluster: str) -> None:
        """Have it committed where the partition will be live, and that nothing is learnt yet."""
        config_hash = partition.pipeline.config_hash
        pointer = empty_pointer(history.begin, generation=0, config_hash=config_hash, cluster=cluster)
        pointer = pointer.bootstrapping(files_until_ms=history.begin_ms if self.has_files else None)
        self._add(partition, pointer, history.end)
        partition.opening = Committed(history.end, format_pointer(pointer))

    def resume(self, partition: OwnedPartition, committed: Committed, pointer: Pointer) -> None:
        """Learn what was begun in another life."""
        partition.committed = committed
        self._add(partition, pointer, committed.offset)

    def _add(self, partition: OwnedPartition, pointer: Pointer, end: int) -> None:
        partition.cluster = pointer.cluster
        self._assignments.move(partition, PartitionState.BOOTSTRAPPING)
        self._lessons.append(_Lesson(partition, pointer, end, self._clock.monotonic_s()))

    def turn(self) -> None:
        """Learn for a while; open what is live. Raises ``UsageError`` where files cannot be read."""
        if not self._lessons:
            return
        self._drop_others()
        for lesson in list(self._lessons):
            if self._is_told(lesson):
                self._wait_or(self._go_live, lesson)
        for lesson in self._lessons:
            if not lesson.learnt and self._is_committed(lesson):
                lesson.partition.opening = None
                self._wait_or(self._learn, lesson)
                return

    def take_untold(self) -> list[Event]:
        """Events to be sent now; what they belong to is committed with them."""
        events: list[Event] = []
        for lesson in self._lessons:
            partition = lesson.partition
            if not lesson.learnt or lesson.told or waits_for_snapshot(partition) or not self._is_ours(partition):
                continue
            assert lesson.untold is not None
            assert partition.pointer is not None, "a snapshot is written, or nothing was learnt"
            lesson.told = True
            partition.opening = Committed(lesson.end, format_pointer(partition.pointer))
            events += lesson.untold.events()
            self._observer.bootstrap_ended(partition.place, lesson.untold.report(self._clock.monotonic_s()))
        return events

    def go_back(self) -> None:
        """Nothing sent since the last commit will be seen, be it told or a snapshot. What was learnt stays."""
        for lesson in self._lessons:
            if lesson.learnt and not self._is_told(lesson):
                self._finish(lesson)

    def _drop_others(self) -> None:
        """Let go of partitions that were taken away; readers are closed where they read."""
        for lesson in self._lessons:
            if not self._is_ours(lesson.partition):
                self._close(lesson)
        self._lessons = [lesson for lesson in self._lessons if self._is_ours(lesson.partition)]

    def _is_ours(self, partition: OwnedPartition) -> bool:
        return self._assignments.holds(partition) and partition.state is PartitionState.BOOTSTRAPPING

    def _is_told(self, lesson: _Lesson) -> bool:
        """Whether all is said and committed."""
        return lesson.told and self._is_committed(lesson)

    @staticmethod
    def _is_committed(lesson: _Lesson) -> bool:
        """Whether the brokers hold what must be committed before the next step."""
        return lesson.partition.opening in {None, lesson.partition.committed}

    def _wait_or(self, step: Callable[[_Lesson], None], lesson: _Lesson) -> None:
        """Take a step, unless the brokers were asked for it in vain a moment ago."""
        if self._clock.monotonic_s() < lesson.retry_s:
            return
        try:
            step(lesson)
        except StateUnavailableError as error:
            self._observer.restore_postponed(lesson.partition.place, str(error))
            lesson.retry_s = self._clock.monotonic_s() + self._limits.retry_s
            self._close(lesson)

    def _learn(self, lesson: _Lesson) -> None:
        """Learn for a while. Time decides how far a turn gets, and nothing else."""
        until_s = self._clock.monotonic_s() + SLICE_S
        while not lesson.learnt:
            if lesson.untold is None:
                self._begin_stage(lesson)
            if lesson.reading is None:
                lesson.reading = self._read(lesson)
            try:
                batch = lesson.reading.result(max(0.0, until_s - self._clock.monotonic_s()))
            except TimeoutError:
                return
            lesson.reading = None
            if batch is None:
                self._end_stage(lesson)
            elif isinstance(batch, RecordedBatch):
                lesson.reading = self._read(lesson)
                self._process(lesson, batch)
            else:
                self._take_over(lesson, batch)
            if self._clock.monotonic_s() >= until_s:
                return

    def _begin_stage(self, lesson: _Lesson) -> None:
        place, stage = lesson.partition.place, lesson.stages[0]
        lessons = None if self._bootstrap is None else self._bootstrap.lessons
        if stage == "files" and lessons is not None and lessons.pipeline_factory is not None:
            lesson.pipeline = lessons.pipeline_factory(place)
        lesson.untold = Untold(stage, self._clock.monotonic_s())
        begin, end = (0, 0) if stage == "files" else (lesson.next_offset, lesson.end)
        self._observer.bootstrap_begun(place, stage, begin, end)

    def _read(self, lesson: _Lesson) -> Future[Any]:
        """Read the next batch beside the loop; None at the end."""
        if lesson.batches is None:
            lesson.batches = self._batches(lesson)
        return self._executor.submit(next, lesson.batches, None)

    def _batches(self, lesson: _Lesson) -> Iterator[RecordedBatch]:
        place = lesson.partition.place
        if lesson.stages[0] == "topic":
            if lesson.next_offset < lesson.end:  # what retention has taken from the beginning is not missed
                lesson.next_offset = max(lesson.next_offset, self._source.bounds(place).begin)
            stretch = OffsetRange(lesson.next_offset, lesson.end)
            records_max = Bootstrap(None).records_max if self._bootstrap is None else self._bootstrap.records_max
            return _shares(self._source, place, stretch, lesson.pointer.offset, records_max)
        assert self._bootstrap is not None
        assert self._bootstrap.lessons is not None
        assert lesson.pointer.files_until_ms is not None
        return self._bootstrap.lessons.files.batches(place, lesson.pointer.files_until_ms)

    def _process(self, lesson: _Lesson, batch: RecordedBatch) -> None:
        assert lesson.untold is not None
        output = lesson.pipeline.process(batch.records)
        lesson.untold.add(output, len(batch.records))
        lesson.records += len(batch.records)
        if lesson.stages[0] == "topic":
            lesson.next_offset = output.next_offset
        self._observer.bootstrap_advanced(lesson.partition.place, lesson.stages[0], len(batch.records), batch.share)

    def _end_stage(self, lesson: _Lesson) -> None:
        assert lesson.untold is not None
        lesson.batches = None
        stage = lesson.stages.pop(0)
        if stage == "topic":
            self._finish(lesson)
            return
        lesson.untold.forget()
        self._observer.bootstrap_ended(lesson.partition.place, lesson.untold.report(self._clock.monotonic_s()))
        lesson.untold = None
        lesson.pipeline.forget_episodes()
        if lesson.pipeline is not lesson.partition.pipeline:
            lesson.reading = self._executor.submit(
                _handed_over, lesson.pipeline, lesson.partition.pipeline, lesson.pointer
            )

    def _take_over(self, lesson: _Lesson, pipeline: ProcessingPipeline) -> None:
        """Go on with the partition's own pipeline."""
        for left_out in (*lesson.pipeline.take_left_out(), *pipeline.take_left_out()):
            self._observer.models_left_out(lesson.partition.place, left_out)
        lesson.pipeline = pipeline

    def _finish(self, lesson: _Lesson) -> None:
        """Have a snapshot written of what was learnt, as any snapshot is, by who takes them."""
        partition, pointer = lesson.partition, lesson.pointer
        if not lesson.records:
            pointer = msgspec.structs.replace(pointer.told(), offset=lesson.end)
        lesson.learnt, lesson.told = True, False
        partition.pipeline, partition.processed = lesson.pipeline, lesson.end
        partition.pointer, partition.opening, partition.snapshot_due_s = pointer, None, 0.0

    def _go_live(self, lesson: _Lesson) -> None:
        partition = lesson.partition
        self._source.open(partition.place, lesson.end)
        partition.opening, partition.replay_until = None, lesson.end
        self._assignments.move(partition, PartitionState.LIVE)
        self._lessons.remove(lesson)

    def _close(self, lesson: _Lesson) -> None:
        """Let a reader go, in the thread that reads."""
        close = getattr(lesson.batches, "close", None)
        lesson.batches = lesson.reading = None
        if close is not None:
            self._executor.submit(close)


def waits_for_snapshot(partition: OwnedPartition) -> bool:
    """Whether a partition has learnt, and no snapshot of that is written: its pointer is the one of the beginning."""
    is_ours = partition.state is PartitionState.BOOTSTRAPPING
    return is_ours and partition.pointer is not None and partition.pointer.untold


def _shares(
    source: Source, place: TopicPartition, stretch: OffsetRange, begin: int, records_max: int
) -> Iterator[RecordedBatch]:
    """Records of a partition, and which share of the offsets from ``begin`` on is done with each batch."""
    for batch in source.records(place, stretch, records_max):
        yield RecordedBatch(batch, (int(batch.offsets[-1]) + 1 - begin) / (stretch.end - begin))


def _handed_over(learnt: ProcessingPipeline, fresh: ProcessingPipeline, pointer: Pointer) -> ProcessingPipeline:
    """Give ``fresh`` with what ``learnt`` knows; runs beside the loop, which has neither in use."""
    copy = learnt.begin_snapshot(offset=pointer.offset, cluster=pointer.cluster)
    while not copy.advance():
        pass
    fresh.restore(decode(encode(copy.header, copy.columns)), cluster=pointer.cluster)
    return fresh
