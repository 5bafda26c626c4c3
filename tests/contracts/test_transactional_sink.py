"""The contract of transactional sinks: one set of sentences for the broker in memory and Apache Kafka."""

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Final, Literal

import pytest
from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as ClientPartition

from detector.errors import DeliveryFailedError, StateUnavailableError, StopWorkerError, TransactionAbortedError
from detector.io import (
    ConsumerGroup,
    KafkaConnection,
    KafkaSource,
    KafkaTransactionalSink,
    MemoryBroker,
    MemorySource,
    MemoryTransactionalSink,
    StoredRecord,
    TopicPlan,
    Topics,
)
from detector.io.memory_transactions import BEFORE_COMMIT
from detector.ports import NOT_COMMITTED, Committed, Message, Receipt, Source, TopicPartition, TransactionalSink
from tests.contracts.test_source_sink import DEADLINE_S, Reader, until
from tests.kafka.broker import Broker

NUMBERS: Final = itertools.count()
NOBODY: Final = b""
"""Nobody is asked who a commit without offsets is for."""
LARGEST: Final = 2_000
Isolation = Literal["read_committed", "read_uncommitted"]


class World(ABC):
    """One kind of broker."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.id = f"contract-{os.getpid()}-{next(NUMBERS)}"

    @abstractmethod
    def topic(self) -> str:
        """Name of a new topic with two partitions that takes messages of up to ``LARGEST`` bytes."""

    @abstractmethod
    def new_sink(self, transactional_id: str) -> TransactionalSink:
        """A sink that has not begun."""

    @abstractmethod
    def new_source(self, topic: str, group: str) -> Source:
        """A source that reads ``topic`` from the beginning, unless ``group`` has committed."""

    @abstractmethod
    def read(self, topic: str, isolation: Isolation = "read_committed") -> list[bytes | None]:
        """Values in partition 0, as a reader sees them now."""

    def sink(self, transactional_id: str | None = None) -> TransactionalSink:
        """A sink that has begun."""
        sink = self.new_sink(transactional_id or self.id)
        self.stack.callback(sink.close)
        until(lambda: sink.begin(1.0), lambda: None)
        return sink

    def reader(self, topic: str) -> Reader:
        """A subscribed source, closed after the test."""
        source = self.new_source(topic, f"group-{topic}")
        self.stack.callback(source.close)
        return Reader(source)

    def until_read(self, topic: str, values: Sequence[bytes]) -> None:
        """Wait for what a reader of committed records sees; the marker comes a moment after the answer."""
        until(lambda: self.read(topic) == values, lambda: None)


class MemoryWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryBroker()
        self.broker.message_bytes_max = LARGEST

    def topic(self) -> str:
        topic = f"topic-{next(NUMBERS)}"
        self.broker.create_topic(topic, partitions=2)
        return topic

    def new_sink(self, transactional_id: str) -> TransactionalSink:
        return MemoryTransactionalSink(self.broker, transactional_id=transactional_id)

    def new_source(self, topic: str, group: str) -> Source:
        return MemorySource(self.broker, group_id=group, topics=[topic])

    def read(self, topic: str, isolation: Isolation = "read_committed") -> list[bytes | None]:
        records = self.broker.records(TopicPartition(topic, 0), committed_only=isolation == "read_committed")
        return [record.value for record in records]


class KafkaWorld(World):
    def __init__(self, bootstrap_servers: str) -> None:
        super().__init__()
        self.bootstrap_servers = bootstrap_servers
        self.connection = KafkaConnection(
            bootstrap_servers,
            librdkafka={"log_level": 2},
            librdkafka_producer={"topic.metadata.propagation.max.ms": 500},
        )

    def topic(self) -> str:
        topic = f"transactions-{os.getpid()}-{next(NUMBERS)}"
        plan = TopicPlan(topic, partitions=2, replicas=1, settings={"max.message.bytes": str(LARGEST)})
        assert [finding.kind for finding in Topics(self.connection).create([plan])] == ["created"]
        return topic

    def new_sink(self, transactional_id: str) -> TransactionalSink:
        return KafkaTransactionalSink(self.connection, transactional_id=transactional_id)

    def new_source(self, topic: str, group: str) -> Source:
        return KafkaSource(self.connection, ConsumerGroup(group, [topic], session_timeout_ms=6_000))

    def read(self, topic: str, isolation: Isolation = "read_committed") -> list[bytes | None]:
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": "contract-reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": isolation,
                "log_level": 2,
            }
        )
        values: list[bytes | None] = []
        try:
            consumer.assign([ClientPartition(topic, 0, 0)])
            while True:
                for message in consumer.consume(1_000, 1.0):
                    error = message.error()
                    if error is None:
                        values.append(message.value())
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return values
        finally:
            consumer.close()


def send(sink: TransactionalSink, topic: str, *values: bytes) -> list[Receipt]:
    """Send to partition 0 and wait for the receipts."""
    receipts: list[Receipt] = []
    for value in values:
        sink.send(Message(topic, b"key", value, (), 0), receipts.append)
    sink.flush(DEADLINE_S)
    assert sink.pending() == 0
    return receipts


def fill(world: World, topic: str, count: int) -> None:
    """Deliver records to both partitions."""
    sink = world.sink(f"{world.id}-input")
    for number in range(count):
        sink.send(Message(topic, None, b"%d" % number, (), number % 2))
    sink.commit({}, NOBODY)


def expect_end(act: Callable[[], object]) -> None:
    """A sink whose id was taken may learn of it a moment later, but ends before anything is committed."""
    with pytest.raises(StopWorkerError):
        until(lambda: False, act)


class TransactionContract:
    """What holds for every transactional sink."""

    def test_messages_are_seen_when_they_are_committed_and_not_before(self, world: World) -> None:
        topic, sink = world.topic(), world.sink()
        send(sink, topic, b"one", b"two")
        assert world.read(topic) == []
        assert world.read(topic, "read_uncommitted") == [b"one", b"two"]
        sink.commit({}, NOBODY)
        world.until_read(topic, [b"one", b"two"])

    def test_what_was_aborted_is_never_seen_and_the_next_transaction_is(self, world: World) -> None:
        topic, sink = world.topic(), world.sink()
        send(sink, topic, b"wrong")
        sink.abort()
        until(lambda: sink.begin(1.0), lambda: None)
        send(sink, topic, b"right")
        sink.commit({}, NOBODY)
        world.until_read(topic, [b"right"])
        assert world.read(topic, "read_uncommitted") == [b"wrong", b"right"]

    def test_to_begin_again_leaves_the_open_transaction_as_it_is(self, world: World) -> None:
        topic, sink = world.topic(), world.sink()
        send(sink, topic, b"one")
        assert sink.begin(1.0)
        send(sink, topic, b"two")
        sink.commit({}, NOBODY)
        world.until_read(topic, [b"one", b"two"])

    def test_receipts_tell_offsets_and_markers_take_one_each(self, world: World) -> None:
        topic, sink = world.topic(), world.sink()
        assert send(sink, topic, b"one", b"two") == [Receipt(0), Receipt(1)]
        sink.commit({}, NOBODY)
        world.until_read(topic, [b"one", b"two"])
        assert send(sink, topic, b"three") == [Receipt(3)]

    def test_offsets_and_their_text_are_committed_with_the_messages(self, world: World) -> None:
        topic, output, sink = world.topic(), world.topic(), world.sink()
        fill(world, topic, 10)
        reader = world.reader(topic)
        reader.read(10)
        send(sink, output, b"event")
        offsets = reader.next_offsets()
        sink.commit(offsets, reader.source.member())
        assert reader.source.committed(list(offsets)) == offsets
        world.until_read(output, [b"event"])

    def test_offsets_of_an_aborted_transaction_are_not_committed(self, world: World) -> None:
        topic, sink = world.topic(), world.sink()
        fill(world, topic, 10)
        reader = world.reader(topic)
        reader.read(10)
        places = list(reader.next_offsets())
        send(sink, world.topic(), b"event")
        sink.abort()
        assert reader.source.committed(places) == dict.fromkeys(places, NOT_COMMITTED)

    def test_an_input_is_read_without_what_was_aborted(self, world: World) -> None:
        topic, sink = world.topic(), world.sink()
        send(sink, topic, b"wrong")
        sink.abort()
        fill(world, topic, 6)
        reader = world.reader(topic)
        reader.read(6)
        assert reader.offsets() == {TopicPartition(topic, 0): [2, 3, 4], TopicPartition(topic, 1): [0, 1, 2]}

    def test_who_takes_an_id_ends_the_transaction_of_the_one_before_and_fences_it(self, world: World) -> None:
        topic, older = world.topic(), world.sink()
        send(older, topic, b"older")
        newer = world.sink()
        send(newer, topic, b"newer")
        newer.commit({}, NOBODY)
        expect_end(lambda: send(older, topic, b"zombie"))
        with pytest.raises(StopWorkerError):
            older.commit({}, NOBODY)
        world.until_read(topic, [b"newer"])

    def test_a_sink_that_is_closed_takes_back_what_was_open(self, world: World) -> None:
        topic, first = world.topic(), world.sink()
        send(first, topic, b"open")
        first.close()
        second = world.sink()
        send(second, topic, b"next")
        second.commit({}, NOBODY)
        world.until_read(topic, [b"next"])

    def test_two_ids_do_not_disturb_each_other(self, world: World) -> None:
        topic, one, other = world.topic(), world.sink(), world.sink(f"{world.id}-other")
        send(one, topic, b"one")
        send(other, topic, b"other")
        other.commit({}, NOBODY)
        assert world.read(topic) == []  # behind an open transaction nothing is stable
        one.abort()
        world.until_read(topic, [b"other"])

    def test_a_commit_of_nothing_is_no_mistake(self, world: World) -> None:
        world.sink().commit({}, NOBODY)

    def test_offsets_of_who_has_left_the_group_are_refused(self, world: World) -> None:
        topic, output, sink = world.topic(), world.topic(), world.sink()
        fill(world, topic, 10)
        reader = world.reader(topic)
        reader.read(10)
        member, offsets = reader.source.member(), reader.next_offsets()
        reader.source.close()
        send(sink, output, b"event")
        with pytest.raises(TransactionAbortedError):
            sink.commit(offsets, member)
        sink.abort()
        again = world.new_source(topic, f"group-{topic}")
        world.stack.callback(again.close)
        assert again.committed(list(offsets)) == dict.fromkeys(offsets, NOT_COMMITTED)
        assert world.read(output) == []

    def test_offsets_of_an_earlier_generation_are_refused(self, world: World) -> None:
        topic, sink = world.topic(), world.sink()
        fill(world, topic, 10)
        first = world.reader(topic)
        first.read(10)
        member, offsets = first.source.member(), first.next_offsets()
        second = world.reader(topic)

        def turn() -> None:
            first.turn()
            second.turn()

        until(lambda: (len(first.listener.owned), len(second.listener.owned)) == (1, 1), turn)
        with pytest.raises(TransactionAbortedError):
            sink.commit(offsets, member)
        sink.abort()
        until(lambda: sink.begin(1.0), lambda: None)
        owned = {place: each for place, each in offsets.items() if place in first.listener.owned}
        sink.commit(owned, first.source.member())
        assert first.source.committed(list(owned)) == owned

    def test_who_has_not_joined_is_nobody(self, world: World) -> None:
        with pytest.raises(TransactionAbortedError, match="no member"):
            world.reader(world.topic()).source.member()

    def test_a_message_that_is_too_large_costs_the_transaction_and_names_its_topic(self, world: World) -> None:
        topic, sink = world.topic(), world.sink()
        with pytest.raises(TransactionAbortedError) as refused:
            send(sink, topic, b"small", os.urandom(2 * LARGEST))
        assert refused.value.too_large == topic
        with pytest.raises(TransactionAbortedError):
            sink.send(Message(topic, b"key", b"late"))
        with pytest.raises(TransactionAbortedError):
            sink.commit({}, NOBODY)
        sink.abort()
        until(lambda: sink.begin(1.0), lambda: None)
        send(sink, topic, b"next")
        sink.commit({}, NOBODY)
        world.until_read(topic, [b"next"])

    def test_a_message_to_an_unknown_topic_stops(self, world: World) -> None:
        sink = world.sink()
        with pytest.raises(DeliveryFailedError, match="no-such-topic"):
            send(sink, "no-such-topic", b"value")


class TestMemory(TransactionContract):
    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = MemoryWorld()
        with world.stack:
            yield world

    def test_offsets_are_not_told_while_a_transaction_about_them_is_open(self) -> None:
        broker = MemoryBroker()
        broker.create_topic("input", partitions=1)
        place = TopicPartition("input", 0)
        broker.append(place, StoredRecord(b"key", b"value"))
        source = MemorySource(broker, group_id="group", topics=["input"])
        reader = Reader(source)
        reader.read(1)
        asked: list[str] = []

        def reached(point: str) -> None:
            if point == BEFORE_COMMIT:
                with pytest.raises(StateUnavailableError):
                    source.committed([place])
                asked.append(point)

        sink = MemoryTransactionalSink(broker, transactional_id="id", reached=reached)
        sink.begin(1.0)
        sink.commit({place: Committed(1, "text")}, source.member())
        assert asked == [BEFORE_COMMIT]
        assert source.committed([place]) == {place: Committed(1, "text")}

    def test_a_transaction_that_takes_too_long_is_aborted_and_its_owner_fenced(self) -> None:
        broker = MemoryBroker()
        broker.create_topic("output", partitions=1)
        sink = MemoryTransactionalSink(broker, transactional_id="id")
        sink.begin(1.0)
        send(sink, "output", b"late")
        broker.coordinator.expire("id")
        with pytest.raises(StopWorkerError):
            sink.commit({}, NOBODY)
        assert broker.records(TopicPartition("output", 0)) == []
        assert len(broker.records(TopicPartition("output", 0), committed_only=False)) == 1


@pytest.mark.kafka
class TestKafka(TransactionContract):
    @pytest.fixture
    def world(self, kafka: Broker) -> Iterator[World]:
        world = KafkaWorld(kafka.bootstrap_servers)
        with world.stack:
            yield world
