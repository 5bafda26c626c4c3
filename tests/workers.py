"""Workers on the broker in memory, for unit tests and simulation: a small pipeline, a clock that is told the time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from detector.batches import BatchCounts, Event, Output, RecordBatch, Reject
from detector.io import MemoryBroker, MemorySink, MemorySource, StoredRecord
from detector.ports import TopicPartition
from detector.worker import (
    BatchReport,
    NullObserver,
    OutputListener,
    OutputTopics,
    PipelineFactory,
    Worker,
    WorkerLimits,
)

TOPICS: Final = OutputTopics(events="events", dead_letters="dead-letters")
GROUP: Final = "group"
INPUT: Final = "input"


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

    def lags_measured(self, lags: Mapping[TopicPartition, int]) -> None:
        self.lags = lags

    def held(self) -> None:
        self.facts.append(("held",))

    def released(self) -> None:
        self.facts.append(("released",))

    def stopped(self, reason: str) -> None:
        self.facts.append(("stopped", reason))

    def names(self) -> list[object]:
        """What happened, without particulars."""
        return [fact[0] for fact in self.facts]


def broker_with(partitions: int = 1) -> MemoryBroker:
    """Give a broker with the input topic and the worker's own topics."""
    broker = MemoryBroker()
    broker.create_topic(INPUT, partitions=partitions)
    broker.create_topic(TOPICS.events, partitions=1)
    broker.create_topic(TOPICS.dead_letters, partitions=1)
    return broker


def write(broker: MemoryBroker, values: Sequence[bytes | None], partition: int = 0) -> None:
    """Append records to the input topic."""
    for value in values:
        broker.append(TopicPartition(INPUT, partition), StoredRecord(b"key", value, (("from", b"test"),), 1_000))


def delivered(broker: MemoryBroker, topic: str = TOPICS.events) -> list[bytes | None]:
    """Values in an output topic."""
    return [record.value for record in broker.records(TopicPartition(topic, 0))]


class Bench:
    """One worker with everything around it within reach."""

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
    ) -> None:
        self.broker = broker
        self.clock = clock or ManualClock()
        self.source = MemorySource(broker, group_id=GROUP, topics=[topic])
        self.sink = MemorySink(broker, acknowledged_max=acknowledged_max)
        self.observer = RecordingObserver()
        self.worker = Worker(
            source=self.source,
            sink=self.sink,
            pipeline_factory=pipeline_factory,
            topics=TOPICS,
            limits=limits or WorkerLimits(),
            clock=self.clock,
            observer=self.observer,
            on_output=on_output,
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
