"""The start-up probe, and what an abort leaves behind, on real Apache Kafka."""

import itertools
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from structlog.testing import capture_logs

from detector.errors import DeliveryFailedError, SourceFailedError, TransactionAbortedError
from detector.io import ConsumerGroup, KafkaConnection, KafkaSource, KafkaTransactionalSink
from detector.io.transaction_probe import METADATA, TransactionProbe
from detector.ports import Committed
from detector.ports import Message as Outgoing
from detector.ports import TopicPartition as Place
from tests.kafka.broker import Broker
from tests.kafka.workers import DEADLINE_S, Isolation, until

pytestmark = pytest.mark.kafka

NUMBERS: Final = itertools.count()
PROBES: Final = 8


class Topic:
    """A topic with one partition, and plain clients around it."""

    def __init__(self, kafka: Broker, **settings: str) -> None:
        self.servers = kafka.bootstrap_servers
        self.name = f"transactions-{os.getpid()}-{next(NUMBERS)}"
        self.group = f"{self.name}-probe"
        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        for future in admin.create_topics([NewTopic(self.name, 1, 1, config=settings)]).values():
            future.result(DEADLINE_S)

    def sink(self, pod: int = 0, *, probed: bool = True) -> KafkaTransactionalSink:
        connection = KafkaConnection(self.servers)
        name = f"{self.name}-pod-{pod}"
        probe = TransactionProbe(connection, topic=self.name, group_id=self.group, name=name)
        return KafkaTransactionalSink(connection, transactional_id=name, probe=probe if probed else None)

    def read(self, isolation: Isolation) -> list[Message]:
        """Every record that a reader with ``isolation`` is shown."""
        consumer = self.consumer(isolation)
        messages: list[Message] = []
        try:
            consumer.assign([TopicPartition(self.name, 0, 0)])
            until(lambda: at_the_end(consumer, messages), "the end of the topic")
        finally:
            consumer.close()
        return messages

    def committed(self) -> TopicPartition:
        consumer = self.consumer("read_committed")
        try:
            (held,) = consumer.committed([TopicPartition(self.name, 0)], timeout=DEADLINE_S)
            return held
        finally:
            consumer.close()

    def consumer(self, isolation: Isolation) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.servers,
                "group.id": self.group,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": isolation,
                "log_level": 0,
            }
        )


def at_the_end(consumer: Consumer, messages: list[Message]) -> bool:
    for message in consumer.consume(1_000, 0.5):
        error = message.error()
        if error is None:
            messages.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            return True
    return False


def begin(sink: KafkaTransactionalSink) -> None:
    until(lambda: sink.begin(1.0), "a producer that is ready")


def values(messages: Sequence[Message]) -> list[bytes | None]:
    return [message.value() for message in messages]


class TestProbe:
    def test_it_passes_says_so_and_leaves_nothing_for_readers(self, kafka: Broker) -> None:
        topic = Topic(kafka)
        sink = topic.sink()
        with capture_logs() as lines:
            begin(sink)
        sink.close()
        assert [line["event"] for line in lines].count("transactions_probed") == 1
        assert topic.read("read_committed") == []
        assert len(topic.read("read_uncommitted")) == 1, "something was tried"
        assert (topic.committed().metadata or "").startswith(METADATA)

    def test_each_start_is_a_trial_of_its_own(self, kafka: Broker) -> None:
        topic = Topic(kafka)
        texts = []
        for _ in range(2):
            sink = topic.sink()
            begin(sink)
            sink.close()
            texts.append(topic.committed().metadata)
        assert texts[0] != texts[1]

    def test_workers_that_start_at_once_do_not_disturb_each_other(self, kafka: Broker) -> None:
        topic = Topic(kafka)
        with ThreadPoolExecutor(PROBES) as threads:
            sinks = list(threads.map(topic.sink, range(PROBES)))
            began_s = time.monotonic()
            list(threads.map(begin, sinks))
            assert time.monotonic() - began_s < DEADLINE_S / 2
        for sink in sinks:
            sink.close()
        assert topic.read("read_committed") == []

    def test_another_s_open_transaction_delays_it_and_no_more(self, kafka: Broker) -> None:
        topic = Topic(kafka)
        other, sink = topic.sink(1, probed=False), topic.sink(2)
        begin(other)
        other.send(Outgoing(topic.name, b"key", b"open"))
        other.flush(DEADLINE_S)
        with ThreadPoolExecutor(1) as thread:
            passed = thread.submit(begin, sink)
            time.sleep(2)
            assert not passed.done()
            other.abort()
            passed.result(DEADLINE_S)
        sink.close()

    def test_a_state_topic_that_takes_no_chunks_is_refused(self, kafka: Broker) -> None:
        topic = Topic(kafka, **{"max.message.bytes": "262144"})
        with pytest.raises(SourceFailedError, match=rf"could not be written to {topic.name}: .*MSG_SIZE_TOO_LARGE"):
            begin(topic.sink())

    def test_a_state_topic_that_is_not_there_is_named(self, kafka: Broker) -> None:
        topic = Topic(kafka)
        topic.name += "-missing"
        with pytest.raises(SourceFailedError, match=rf"{topic.name} cannot be used .* `detector topics create`"):
            begin(topic.sink())


class TestSink:
    def test_what_was_aborted_is_not_shown_and_the_next_transaction_is(self, kafka: Broker) -> None:
        topic = Topic(kafka)
        sink = topic.sink(probed=False)
        for value in (b"lost", b"kept"):
            begin(sink)
            sink.send(Outgoing(topic.name, b"key", value))
            sink.flush(DEADLINE_S)
            if value == b"lost":
                sink.abort()
            else:
                sink.commit({}, b"")
        sink.close()
        assert values(topic.read("read_committed")) == [b"kept"]
        assert values(topic.read("read_uncommitted")) == [b"lost", b"kept"]

    def test_the_older_of_two_with_one_id_stops_and_stays_stopped(self, kafka: Broker) -> None:
        topic = Topic(kafka)
        older, newer = topic.sink(probed=False), topic.sink(probed=False)
        begin(older)
        older.send(Outgoing(topic.name, b"key", b"older"))
        older.flush(DEADLINE_S)
        begin(newer)
        with pytest.raises(DeliveryFailedError, match="FENCED"):
            older.commit({}, b"")
        older.abort()
        with pytest.raises(DeliveryFailedError):
            older.begin(1.0)
        newer.send(Outgoing(topic.name, b"key", b"newer"))
        newer.flush(DEADLINE_S)
        newer.commit({}, b"")
        newer.close()
        assert values(topic.read("read_committed")) == [b"newer"]

    def test_offsets_of_a_member_that_the_group_has_lost_cost_the_transaction(self, kafka: Broker) -> None:
        """And a source says who it is only while it is somebody."""
        topic = Topic(kafka)
        source = KafkaSource(KafkaConnection(topic.servers), ConsumerGroup(topic.group, [topic.name]))
        owned: list[Place] = []
        source.subscribe(Listener(owned))
        with pytest.raises(TransactionAbortedError, match="no member"):
            source.member()
        until(lambda: bool(source.fetch(1, 0.1)) or bool(owned), "an assignment")
        member = source.member()
        sink = topic.sink(probed=False)
        begin(sink)
        sink.send(Outgoing(topic.name, b"key", b"one"))
        sink.flush(DEADLINE_S)
        sink.commit({Place(topic.name, 0): Committed(1, "text")}, member)
        assert (topic.committed().offset, topic.committed().metadata) == (1, "text")
        source.close()
        sink.send(Outgoing(topic.name, b"key", b"two"))
        sink.flush(DEADLINE_S)
        with pytest.raises(TransactionAbortedError, match=r"UNKNOWN_MEMBER_ID|ILLEGAL_GENERATION"):
            sink.commit({Place(topic.name, 0): Committed(2, "text")}, member)
        sink.abort()
        sink.close()
        assert values(topic.read("read_committed")) == [b"one"]
        assert topic.committed().offset == 1


class Listener:
    """Notes what it was given."""

    def __init__(self, owned: list[Place]) -> None:
        self._owned = owned

    def assigned(self, partitions: object) -> None:
        """Note it."""
        assert isinstance(partitions, dict)
        self._owned.extend(partitions)

    def revoked(self, partitions: Sequence[Place]) -> None:
        """Hand over nothing."""

    def lost(self, partitions: Sequence[Place]) -> None:
        """Drop nothing."""

    def out_of_range(self, partition: Place, offset: int) -> None:
        """Miss nothing."""
