"""Workers on the broker in memory, for unit tests and simulation: a small pipeline, a clock that is told the time."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Final

import numpy as np

from detector.batches import BatchCounts, Event, LeftOut, Output, RecordBatch, Reject
from detector.columns import Columns
from detector.io import (
    MemoryBroker,
    MemorySink,
    MemorySnapshotStore,
    MemorySource,
    MemoryTransactionalSink,
    StoredRecord,
)
from detector.io.memory import Reached, nowhere
from detector.ports import TopicPartition
from detector.state import Snapshot, SnapshotHeader, encode
from detector.worker import (
    AtLeastOnce,
    BatchReport,
    Bootstrap,
    BootstrapReport,
    Delivery,
    ExactlyOnce,
    NullObserver,
    OutputListener,
    OutputTopics,
    PipelineFactory,
    ProcessingPipeline,
    StateKeeping,
    StateLimits,
    Worker,
    WorkerLimits,
)
from detector.worker.observer import BootstrapStage

TOPICS: Final = OutputTopics(events="events", dead_letters="dead-letters")
GROUP: Final = "group"
INPUT: Final = "input"
STATE: Final = "state"


class ManualClock:
    """Stands still until told, or goes on by ``tick_s`` with every look at it."""

    def __init__(self, tick_s: float = 0.0) -> None:
        self.now_s = 1_000.0
        self._tick_s = tick_s

    def monotonic_s(self) -> float:
        self.now_s += self._tick_s
        return self.now_s

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + round(self.now_s * 1000)


class TwoSlices:
    """A copy that takes two turns; what was copied is known at once."""

    def __init__(self, header: SnapshotHeader, columns: Columns) -> None:
        self.header = header
        self._columns = columns
        self._advanced = 0

    def advance(self) -> bool:
        self._advanced += 1
        return self._advanced >= 2

    def columns(self) -> Columns:
        assert self._advanced >= 2
        return self._columns


def state_of(pipeline: ProcessingPipeline, offset: int) -> bytes:
    """The whole state as a snapshot; a snapshot that is under way is given up."""
    copy = pipeline.begin_snapshot(offset=offset, cluster="memory")
    while not copy.advance():
        pass
    return encode(copy.header, copy.columns)


class CountingPipeline:
    """Emits an event for every ``every``-th record, naming its place; rejects records that begin with ``bad``.

    Raises ``ZeroDivisionError`` at a record that is ``boom``, as a mistake of ours would.
    """

    def __init__(self, place: TopicPartition, every: int = 1) -> None:
        self.watermark_ms = -1
        self.open_episodes = 0
        self._place = place
        self._every = every
        self._seen = 0

    @property
    def series_count(self) -> int:
        return min(self._seen, 1)

    def state_bytes(self) -> int:
        return 0

    @property
    def config_hash(self) -> str:
        return f"every-{self._every}"

    def begin_snapshot(self, *, offset: int, cluster: str) -> "TwoSlices":
        header = SnapshotHeader(
            config_hash=self.config_hash,
            cluster=cluster,
            topic=self._place.topic,
            partition=self._place.partition,
            offset=offset,
            watermark_ms=self.watermark_ms,
            series_count=self.series_count,
            open_episodes=0,
        )
        return TwoSlices(header, {"seen": np.array([self._seen])})

    def restore(self, snapshot: Snapshot, *, cluster: str) -> int:
        assert snapshot.header.cluster == cluster
        self._seen = int(snapshot.columns["seen"][0])
        return snapshot.header.offset

    def forget_episodes(self) -> None:
        """There are none."""

    def take_left_out(self) -> list[LeftOut]:
        return []

    def process(self, batch: RecordBatch) -> Output:
        assert TopicPartition(batch.topic, batch.partition) == self._place
        events, rejects = [], []
        for row, value in enumerate(batch.values):
            offset = int(batch.offsets[row])
            if value == b"boom":
                raise ZeroDivisionError(offset)
            if value is None or value.startswith(b"bad"):
                rejects.append(Reject(row, offset, "invalid_json", "not JSON"))
            elif self._seen % self._every == 0:
                events.append(Event(b"key", event_name(self._place, offset)))
            self._seen += 1
        return Output(events, rejects, int(batch.offsets[-1]) + 1, BatchCounts(records=len(batch)))


def event_name(place: TopicPartition, offset: int) -> bytes:
    """Value of the event for one record."""
    return b"%d/%d" % (place.partition, offset)


class RecordingObserver(NullObserver):
    """Keeps what the worker tells."""

    def __init__(self) -> None:
        self.reports: list[BatchReport] = []
        self.facts: list[tuple[object, ...]] = []
        self.lags: Mapping[TopicPartition, int] = {}

    def batch_processed(self, report: BatchReport) -> None:
        self.reports.append(report)

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.facts.append(("assigned", *partitions))

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.facts.append(("revoked", *partitions))

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        self.facts.append(("lost", *partitions))

    def committed(self, seconds: float) -> None:
        self.facts.append(("committed", seconds))

    def commit_postponed(self, reason: str) -> None:
        self.facts.append(("commit_postponed", reason))

    def transaction_aborted(self, reason: str, partitions: int) -> None:
        self.facts.append(("transaction_aborted", reason, partitions))

    def lags_measured(self, lags: Mapping[TopicPartition, int]) -> None:
        self.lags = lags

    def snapshot_written(self, partition: TopicPartition, size_bytes: int, seconds: float) -> None:
        self.facts.append(("snapshot_written", partition, size_bytes, seconds))

    def snapshot_failed(self, partition: TopicPartition, reason: str) -> None:
        self.facts.append(("snapshot_failed", partition, reason))

    def restored(self, partition: TopicPartition, seconds: float, offset: int, replay_until: int) -> None:
        del seconds
        self.facts.append(("restored", partition, offset, replay_until))

    def restore_postponed(self, partition: TopicPartition, reason: str) -> None:
        self.facts.append(("restore_postponed", partition, reason))

    def replayed(self, partition: TopicPartition, records: int) -> None:
        self.facts.append(("replayed", partition, records))

    def models_left_out(self, partition: TopicPartition, left_out: LeftOut) -> None:
        self.facts.append(("models_left_out", partition, left_out))

    def bootstrap_begun(self, partition: TopicPartition, stage: BootstrapStage, begin: int, end: int) -> None:
        self.facts.append(("bootstrap_begun", partition, stage, begin, end))

    def bootstrap_advanced(self, partition: TopicPartition, stage: BootstrapStage, records: int, share: float) -> None:
        self.facts.append(("bootstrap_advanced", partition, stage, records, share))

    def bootstrap_ended(self, partition: TopicPartition, report: BootstrapReport) -> None:
        self.facts.append(("bootstrap_ended", partition, report))

    def state_lost(self, partition: TopicPartition, reason: str, records_lost: int) -> None:
        self.facts.append(("state_lost", partition, reason, records_lost))

    def held(self) -> None:
        self.facts.append(("held",))

    def released(self) -> None:
        self.facts.append(("released",))

    def stopped(self, reason: str) -> None:
        self.facts.append(("stopped", reason))

    def names(self) -> list[object]:
        """What happened, without particulars."""
        return [fact[0] for fact in self.facts]


class LazyFuture(Future[Any]):
    """Its job runs when somebody waits for it, or when it is told to; ``patient`` waits are the only ones that do."""

    def __init__(self, job: Callable[[], object], executor: "LazyExecutor") -> None:
        super().__init__()
        self._job = job
        self._executor = executor

    def run(self) -> None:
        """Do the job, unless it is done."""
        if not self.done():
            try:
                self.set_result(self._job())
            except Exception as error:  # noqa: BLE001  # handed to whoever asks, as executors do
                self.set_exception(error)

    def result(self, timeout: float | None = None) -> Any:
        if not self.done() and self._executor.patient:
            self.run()
        return super().result(0 if not self.done() else timeout)


class LazyExecutor(Executor):
    """One queue of jobs without a thread: at once, or one by one when told."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.at_once = at_once
        self.patient = True
        self.jobs: list[LazyFuture] = []

    def submit(self, job: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future = LazyFuture(lambda: job(*args, **named), self)
        self.jobs.append(future)
        if self.at_once:
            future.run()
        return future

    def run_one(self) -> None:
        """Do the oldest job that is not done."""
        for job in self.jobs:
            if not job.done():
                job.run()
                return


def broker_with(partitions: int = 1) -> MemoryBroker:
    """Give a broker with the input topic and the worker's own topics."""
    broker = MemoryBroker()
    broker.create_topic(INPUT, partitions=partitions)
    broker.create_topic(TOPICS.events, partitions=1)
    broker.create_topic(TOPICS.dead_letters, partitions=1)
    broker.create_topic(STATE, partitions=partitions)
    return broker


def write(broker: MemoryBroker, values: Sequence[bytes | None], partition: int = 0) -> None:
    """Append records to the input topic."""
    for value in values:
        broker.append(TopicPartition(INPUT, partition), StoredRecord(b"key", value, (("from", b"test"),), 1_000))


def delivered(broker: MemoryBroker, topic: str = TOPICS.events) -> list[bytes | None]:
    """Values in an output topic."""
    return [record.value for record in broker.records(TopicPartition(topic, 0))]


class Bench:
    """One worker with everything around it within reach; with a ``transactional_id`` it delivers exactly once."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        limits: WorkerLimits | None = None,
        clock: ManualClock | None = None,
        pipeline_factory: PipelineFactory = CountingPipeline,
        acknowledged_max: int | None = None,
        topic: str = INPUT,
        on_output: OutputListener | None = None,
        state: StateLimits | None = None,
        at_once: bool = True,
        transactional_id: str | None = None,
        reached: Reached = nowhere,
        bootstrap: Bootstrap | None = None,
    ) -> None:
        self.broker = broker
        self.clock = clock or ManualClock()
        self.source = MemorySource(broker, group_id=GROUP, topics=[topic], asks_later=state is not None)
        self.sink: MemorySink
        self.delivery: Delivery
        if transactional_id is None:
            self.sink = MemorySink(broker, acknowledged_max=acknowledged_max)
            self.delivery = AtLeastOnce(self.source, self.sink)
        else:
            self.sink = self.transactions = MemoryTransactionalSink(
                broker, transactional_id=transactional_id, acknowledged_max=acknowledged_max, reached=reached
            )
            self.delivery = ExactlyOnce(self.source, self.transactions)
        self.observer = RecordingObserver()
        self.store = MemorySnapshotStore(broker, topic=STATE, group_id=GROUP, reached=reached)
        self.writing, self.reading = LazyExecutor(at_once=at_once), LazyExecutor(at_once=at_once)
        self.worker = Worker(
            source=self.source,
            delivery=self.delivery,
            pipeline_factory=pipeline_factory,
            topics=TOPICS,
            limits=limits or WorkerLimits(),
            clock=self.clock,
            observer=self.observer,
            on_output=on_output,
            keeping=None if state is None else StateKeeping(self.store, state, self.writing, self.reading, bootstrap),
        )

    def turn(self, count: int = 1, *, advance_s: float = 0.0) -> None:
        """Let the loop turn; time passes before each turn."""
        for _ in range(count):
            self.clock.now_s += advance_s
            self.worker.turn()

    def run_until(self, reached: Callable[[], bool], *, advance_s: float = 0.1) -> None:
        """Let the loop turn until ``reached``."""
        for _ in range(10_000):
            if reached():
                return
            self.turn(advance_s=advance_s)
        raise AssertionError("not reached")

    def committed(self, partition: int = 0) -> int | None:
        """The group's committed offset."""
        return self.broker.committed(GROUP).get(TopicPartition(INPUT, partition))
