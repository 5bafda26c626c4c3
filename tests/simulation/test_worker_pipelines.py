"""The worker with real pipelines on the broker in memory: what comes out is what the pipelines alone give."""

import random

from detector.batches import TIMESTAMP_UNKNOWN, RecordBatch
from detector.io import MemoryBroker, StoredRecord
from detector.pipeline import PartitionPipeline
from detector.ports import TopicPartition
from detector.worker import WorkerLimits
from tests.pipelines import pipeline
from tests.streams import TOPIC, batch_of, record
from tests.workers import TOPICS, Bench, delivered

PARTITIONS = 2
GARBAGE = (b"", b"{", b'{"name":"a"}', b'{"name":"a","time":1,"value":"x"}', None)


def stream(seed: int, *, minutes: int = 400, series: int = 3) -> list[bytes | None]:
    """Quiet series with one incident each, and a little garbage in between."""
    chance = random.Random(seed)
    values: list[bytes | None] = []
    for minute in range(minutes):
        for number in range(series):
            level = 500.0 if 300 <= minute < 320 else 10.0
            time_s = 1_700_000_000 + 60 * minute
            values.append(record("load", time_s, level + chance.random(), {"host": f"h{number}"}))
        if chance.random() < 0.02:
            values.append(chance.choice(GARBAGE))
    return values


def filled(streams: list[list[bytes | None]]) -> MemoryBroker:
    broker = MemoryBroker()
    broker.create_topic(TOPIC, partitions=PARTITIONS)
    for partition, values in enumerate(streams):
        for value in values:
            broker.append(TopicPartition(TOPIC, partition), StoredRecord(None, value))
    broker.create_topic(TOPICS.events, partitions=1)
    broker.create_topic(TOPICS.dead_letters, partitions=1)
    return broker


def build(place: TopicPartition) -> PartitionPipeline:
    return pipeline(partition=place.partition)


def alone(partition: int, values: list[bytes | None]) -> tuple[list[bytes | None], int]:
    """Events and number of rejects of a pipeline without a worker, all records in one batch."""
    batch: RecordBatch = batch_of(values, partition=partition, timestamp_ms=TIMESTAMP_UNKNOWN)
    output = pipeline(partition=partition).process(batch)
    return [event.value for event in output.events], len(output.rejects)


def test_a_calm_worker_delivers_exactly_the_events_of_the_pipelines() -> None:
    streams = [stream(partition) for partition in range(PARTITIONS)]
    broker = filled(streams)
    bench = Bench(broker, topic=TOPIC, pipeline_factory=build, limits=WorkerLimits(batch_records_max=97))
    bench.worker.begin()
    bench.run_until(lambda: set(bench.source.lags().values()) == {0})
    bench.worker.finish()
    expected = [alone(partition, values) for partition, values in enumerate(streams)]
    events = [value for values, _ in expected for value in values]
    assert len(events) >= PARTITIONS * 3 * 2
    assert sorted(filter(None, delivered(broker))) == sorted(filter(None, events))
    letters = delivered(broker, TOPICS.dead_letters)
    assert len(letters) == sum(rejects for _, rejects in expected) > 0
    assert set(letters) <= set(GARBAGE)


def test_events_are_labelled_as_cloudevents() -> None:
    broker = filled([stream(0), []])
    bench = Bench(broker, topic=TOPIC, pipeline_factory=build)
    bench.worker.begin()
    bench.turn(2)
    (first, *_) = broker.records(TopicPartition(TOPICS.events, 0))
    assert first.headers == (("content-type", b"application/cloudevents+json"),)
    assert first.key


def test_a_restart_reads_again_only_what_was_not_committed() -> None:
    values = stream(0)
    broker = filled([values, []])
    first = Bench(broker, topic=TOPIC, pipeline_factory=build, limits=WorkerLimits(batch_records_max=500))
    first.worker.begin()
    first.turn(1)
    first.worker.finish()
    second = Bench(broker, topic=TOPIC, pipeline_factory=build)
    second.worker.begin()
    second.turn(2)
    rows = [int(report.output.counts.records) for report in second.observer.reports]
    assert sum(rows) == len(values) - 500
