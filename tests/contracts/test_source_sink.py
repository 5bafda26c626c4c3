"""The contract of sources and sinks: one set of sentences for the brokers in memory and embedded, and Apache Kafka."""

import itertools
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Final, Literal

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient

from detector.batches import RecordBatch
from detector.errors import DeliveryFailedError, SourceFailedError
from detector.io import (
    ConsumerGroup,
    EmbeddedBroker,
    KafkaConnection,
    KafkaSink,
    KafkaSource,
    MemoryBroker,
    MemorySink,
    MemorySource,
    TopicPlan,
    Topics,
)
from detector.io.kafka_config import GroupProtocol
from detector.io.memory_log import StoredRecord
from detector.ports import NOT_COMMITTED, Committed, Message, Sink, Source, TopicPartition
from tests.kafka.broker import Broker

OffsetReset = Literal["earliest", "latest", "error"]

DEADLINE_S: Final = 30.0
NUMBERS: Final = itertools.count()


class Listener:
    """Keeps what a source tells; may commit inside ``revoked``."""

    def __init__(self) -> None:
        self.owned: set[TopicPartition] = set()
        self.starts: dict[TopicPartition, Committed | None] = {}
        self.gates: Callable[[Sequence[TopicPartition]], None] = lambda _partitions: None
        self.assigned_count = 0
        self.gaps: list[tuple[TopicPartition, int]] = []
        self.on_revoke: Callable[[Sequence[TopicPartition]], None] = lambda _partitions: None

    def assigned(self, partitions: Mapping[TopicPartition, Committed | None]) -> None:
        assert self.owned.isdisjoint(partitions)
        self.owned |= set(partitions)
        self.starts |= partitions
        self.assigned_count += 1
        self.gates(list(partitions))

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        assert self.owned.issuperset(partitions)
        self.on_revoke(partitions)
        self.owned -= set(partitions)

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        self.owned -= set(partitions)

    def out_of_range(self, partition: TopicPartition, offset: int) -> None:
        assert partition in self.owned
        self.gaps.append((partition, offset))


class Reader:
    """A subscribed source with its listener, and everything it has read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.listener = Listener()
        self.batches: list[RecordBatch] = []
        source.subscribe(self.listener)

    def turn(self, records_max: int = 1_000) -> int:
        """Fetch once; gives how many records came."""
        batches = self.source.fetch(records_max, 0.05)
        for batch in batches:
            assert TopicPartition(batch.topic, batch.partition) in self.listener.owned
        self.batches.extend(batches)
        return sum(map(len, batches))

    def read(self, count: int, records_max: int = 1_000) -> None:
        """Fetch until ``count`` records are there in all."""
        until(lambda: self.count() >= count, lambda: self.turn(records_max))

    def count(self) -> int:
        return sum(map(len, self.batches))

    def values(self) -> list[bytes | None]:
        return [value for batch in self.batches for value in batch.values]

    def offsets(self) -> dict[TopicPartition, list[int]]:
        offsets: dict[TopicPartition, list[int]] = {}
        for batch in self.batches:
            offsets.setdefault(TopicPartition(batch.topic, batch.partition), []).extend(batch.offsets.tolist())
        return offsets

    def next_offsets(self) -> dict[TopicPartition, Committed]:
        return {place: Committed(offsets[-1] + 1, f"text {offsets[-1]}") for place, offsets in self.offsets().items()}


def until(reached: Callable[[], bool], step: Callable[[], object]) -> None:
    """Repeat ``step`` until ``reached``; a limit in time, since a real broker takes some."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not reached():
        assert time.monotonic() < deadline_s, "not reached in time"
        step()


class World(ABC):
    """One kind of broker, with a topic of several partitions for each test."""

    def __init__(self) -> None:
        self.stack = ExitStack()

    @abstractmethod
    def topic(self) -> str:
        """Name of a new topic with at least two partitions, which exists or comes into being when written to."""

    @abstractmethod
    def new_source(self, topic: str, group: str, offset_reset: OffsetReset = "earliest") -> Source:
        """A source that reads ``topic`` from where ``offset_reset`` says, unless ``group`` has committed."""

    @abstractmethod
    def new_sink(self) -> Sink:
        """A sink."""

    def reader(self, topic: str, group: str = "group", offset_reset: OffsetReset = "earliest") -> Reader:
        """A subscribed source, closed after the test."""
        source = self.new_source(topic, f"{group}-{topic}", offset_reset)
        self.stack.callback(source.close)
        return Reader(source)

    def sink(self) -> Sink:
        """A sink, closed after the test."""
        sink = self.new_sink()
        self.stack.callback(sink.close)
        return sink

    def write(self, topic: str, count: int, start: int = 0) -> list[bytes]:
        """Deliver ``count`` records with many keys; gives their values."""
        values = [b"%d" % number for number in range(start, start + count)]
        sink = self.sink()
        for value in values:
            sink.send(Message(topic, b"key-" + value, value))
        sink.flush(DEADLINE_S)
        return values


class RetainingWorld(World):
    """A world whose records can go, and whose partitions are written to one by one."""

    @abstractmethod
    def fill(self, place: TopicPartition, count: int) -> None:
        """Deliver records to one partition."""

    @abstractmethod
    def expire(self, place: TopicPartition, before: int) -> None:
        """Let retention remove what lies before an offset."""

    @abstractmethod
    def recreate(self, topic: str) -> None:
        """Delete a topic and create it anew."""

    @abstractmethod
    def commit(self, topic: str, offset: int) -> None:
        """Commit for partition 0, for the group that :meth:`reader` uses; nobody may be in it."""


class MemoryWorld(RetainingWorld):
    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryBroker()

    def topic(self) -> str:
        topic = f"topic-{next(NUMBERS)}"
        self.broker.create_topic(topic, partitions=3)
        return topic

    def new_source(self, topic: str, group: str, offset_reset: OffsetReset = "earliest") -> Source:
        return MemorySource(self.broker, group_id=group, topics=[topic], offset_reset=offset_reset)

    def new_sink(self) -> Sink:
        return MemorySink(self.broker)

    def fill(self, place: TopicPartition, count: int) -> None:
        for _ in range(count):
            self.broker.append(place, StoredRecord(b"key", b"value"))

    def expire(self, place: TopicPartition, before: int) -> None:
        self.broker.expire_records(place, before)

    def recreate(self, topic: str) -> None:
        self.broker.recreate_topic(topic)

    def commit(self, topic: str, offset: int) -> None:
        self.broker.group(f"group-{topic}").committed[TopicPartition(topic, 0)] = Committed(offset)


class KafkaWorld(RetainingWorld):
    """Apache Kafka, or (without creating topics) the embedded broker."""

    def __init__(self, bootstrap_servers: str, *, creates_topics: bool, protocol: GroupProtocol = "classic") -> None:
        super().__init__()
        self.creates_topics = creates_topics
        self.protocol: GroupProtocol = protocol
        self.connection = KafkaConnection(
            bootstrap_servers,
            librdkafka={"log_level": 2},
            # How long the producer hopes for a topic that does not exist (default: 30 s).
            librdkafka_producer={"topic.metadata.propagation.max.ms": 500},
        )

    def topic(self) -> str:
        topic = f"contract-{os.getpid()}-{next(NUMBERS)}"
        if self.creates_topics:
            findings = Topics(self.connection).create([TopicPlan(topic, partitions=3, replicas=1)])
            assert [finding.kind for finding in findings] == ["created"]
        return topic

    def new_source(self, topic: str, group: str, offset_reset: OffsetReset = "earliest") -> Source:
        settings = ConsumerGroup(group, [topic], offset_reset, session_timeout_ms=6_000, protocol=self.protocol)
        return KafkaSource(self.connection, settings)

    def new_sink(self) -> Sink:
        return KafkaSink(self.connection)

    def fill(self, place: TopicPartition, count: int) -> None:
        producer = Producer(self.connection.producer_options())
        for _ in range(count):
            producer.produce(place.topic, b"value", b"key", partition=place.partition)
        assert producer.flush(DEADLINE_S) == 0

    def expire(self, place: TopicPartition, before: int) -> None:
        admin = self._admin()
        for future in admin.delete_records([ClientPartition(*place, before)]).values():
            assert future.result(DEADLINE_S).low_watermark == before

    def recreate(self, topic: str) -> None:
        admin = self._admin()
        for future in admin.delete_topics([topic]).values():
            future.result(DEADLINE_S)
        finding = Topics(self.connection)
        until(
            lambda: finding.create([TopicPlan(topic, partitions=3, replicas=1)])[0].kind == "created",
            lambda: time.sleep(0.1),
        )

    def commit(self, topic: str, offset: int) -> None:
        consumer = Consumer(self.connection.consumer_options(ConsumerGroup(f"group-{topic}", [topic])))
        consumer.commit(offsets=[ClientPartition(topic, 0, offset)], asynchronous=False)
        consumer.close()

    def _admin(self) -> AdminClient:
        return AdminClient(self.connection.admin_options())


class DeliveryContract:
    """What holds for every source and sink."""

    def test_records_arrive_once_and_in_order_of_offsets(self, world: World) -> None:
        topic = world.topic()
        sent = world.write(topic, 500)
        reader = world.reader(topic)
        reader.read(len(sent), records_max=64)
        assert sorted(reader.values(), key=lambda value: int(value or b"-1")) == sent
        assert len(reader.offsets()) > 1
        for offsets in reader.offsets().values():
            assert offsets == list(range(len(offsets)))
        until(lambda: set(reader.source.lags().values()) == {0}, reader.turn)
        assert reader.source.lags().keys() == reader.listener.owned

    def test_key_value_and_headers_arrive_byte_for_byte(self, world: World) -> None:
        topic = world.topic()
        sink = world.sink()
        headers = (("a", b"\x00\xff"), ("b", None), ("a", b"again"))
        sink.send(Message(topic, b"\xfe", b"\xfd\n", headers))
        sink.send(Message(topic, b"\xfe", None))
        sink.flush(DEADLINE_S)
        reader = world.reader(topic)
        reader.read(2)
        envelopes = [batch.envelope(row) for batch in reader.batches for row in range(len(batch))]
        assert reader.values() == [b"\xfd\n", None]
        assert [envelope.key for envelope in envelopes] == [b"\xfe", b"\xfe"]
        assert [envelope.headers for envelope in envelopes] == [headers, ()]

    def test_a_member_that_comes_later_goes_on_at_the_committed_offsets(self, world: World) -> None:
        topic = world.topic()
        world.write(topic, 100)
        first = world.reader(topic)
        first.read(100)
        first.source.commit(first.next_offsets())
        first.source.close()
        later = world.write(topic, 50, start=100)
        second = world.reader(topic)
        second.read(50)
        assert sorted(second.values(), key=lambda value: int(value or b"-1")) == later
        assert {place: offsets[0] for place, offsets in second.offsets().items()} == {
            place: first.next_offsets()[place].offset for place in second.offsets()
        }
        assert {place: second.listener.starts[place] for place in first.next_offsets()} == first.next_offsets()
        assert set(first.listener.starts.values()) == {NOT_COMMITTED}


class RangeContract:
    """Where reading begins, and what happens to positions that the broker does not keep."""

    def committed_at(self, world: RetainingWorld, offset: int) -> TopicPartition:
        """A partition with 60 records, and a group that has committed an offset in it."""
        place = TopicPartition(world.topic(), 0)
        world.fill(place, 60)
        world.commit(place.topic, offset)
        return place

    def test_without_a_commit_the_first_record_that_is_kept_comes_first(self, retaining: RetainingWorld) -> None:
        place = TopicPartition(retaining.topic(), 0)
        retaining.fill(place, 60)
        retaining.expire(place, 20)
        reader = retaining.reader(place.topic)
        reader.read(40)
        assert reader.offsets() == {place: list(range(20, 60))}
        assert reader.listener.starts[place] == NOT_COMMITTED
        assert reader.listener.gaps == []

    def test_what_is_there_to_learn_from_ends_behind_the_last_record(self, retaining: RetainingWorld) -> None:
        place = TopicPartition(retaining.topic(), 0)
        reader = retaining.reader(place.topic)
        source = reader.source
        until(lambda: place in reader.listener.owned, reader.turn)  # a new topic's leaders need a moment
        assert source.history(place, None)[:2] == (0, 0)
        retaining.fill(place, 60)
        retaining.expire(place, 20)
        history = source.history(place, None)
        assert (history.begin, history.end) == (20, 60)
        assert source.history(place, 3_600_000)[:2] in {(20, 60), (60, 60)}, "in memory records have no time"

    def test_without_a_commit_the_latest_begins_at_the_end(self, retaining: RetainingWorld) -> None:
        place = TopicPartition(retaining.topic(), 0)
        retaining.fill(place, 60)
        reader = retaining.reader(place.topic, offset_reset="latest")
        until(lambda: place in reader.listener.owned, reader.turn)
        until(lambda: reader.count() > 0, lambda: (reader.turn(), retaining.fill(place, 1)))
        assert reader.offsets()[place][0] >= 60
        assert reader.listener.gaps == []

    def test_without_a_commit_the_strict_setting_stops(self, retaining: RetainingWorld) -> None:
        reader = retaining.reader(retaining.topic(), offset_reset="error")
        with pytest.raises(SourceFailedError, match="nothing was committed for"):
            until(lambda: False, reader.turn)

    @pytest.mark.parametrize("offset_reset", ["earliest", "latest"])
    @pytest.mark.parametrize("offset", [20, 30, 60])
    def test_a_commit_that_is_kept_is_where_reading_goes_on(
        self, retaining: RetainingWorld, offset: int, offset_reset: OffsetReset
    ) -> None:
        place = self.committed_at(retaining, offset)
        retaining.expire(place, 20)
        reader = retaining.reader(place.topic, offset_reset=offset_reset)
        until(lambda: place in reader.listener.owned, reader.turn)
        retaining.fill(place, 5)
        until(lambda: len(reader.offsets().get(place, [])) == 65 - offset, reader.turn)
        assert reader.offsets()[place] == list(range(offset, 65))
        assert reader.listener.gaps == []

    @pytest.mark.parametrize("offset_reset", ["earliest", "latest"])
    @pytest.mark.parametrize("offset", [10, 90])
    def test_a_commit_that_is_not_kept_is_told_and_nothing_comes_until_it_is_opened(
        self, retaining: RetainingWorld, offset: int, offset_reset: OffsetReset
    ) -> None:
        place = self.committed_at(retaining, offset)
        retaining.expire(place, 20)
        reader = retaining.reader(place.topic, offset_reset=offset_reset)
        until(lambda: bool(reader.listener.gaps), reader.turn)
        for _ in range(10):
            reader.turn()
        assert reader.listener.gaps == [(place, offset)]
        assert place not in reader.offsets()
        assert reader.source.bounds(place) == (20, 60)
        reader.source.open(place, 20)
        until(lambda: len(reader.offsets().get(place, [])) == 40, reader.turn)
        assert reader.offsets()[place] == list(range(20, 60))
        until(lambda: reader.source.lags()[place] == 0, reader.turn)

    def test_the_other_partitions_go_on(self, retaining: RetainingWorld) -> None:
        place = self.committed_at(retaining, 10)
        retaining.expire(place, 20)
        other = TopicPartition(place.topic, 1)
        reader = retaining.reader(place.topic)
        until(lambda: bool(reader.listener.gaps), reader.turn)
        retaining.fill(other, 30)
        until(lambda: len(reader.offsets().get(other, [])) == 30, reader.turn)
        reader.source.open(place, 55)
        retaining.fill(other, 30)
        until(lambda: reader.count() == 65, reader.turn)
        assert reader.offsets() == {place: list(range(55, 60)), other: list(range(60))}

    def test_retention_that_overtakes_a_held_reader_is_told_again_and_again(self, retaining: RetainingWorld) -> None:
        place = TopicPartition(retaining.topic(), 0)
        retaining.fill(place, 60)
        reader = retaining.reader(place.topic)
        reader.read(60)
        for kept in (80, 140):
            reader.source.hold()
            reader.turn()
            before = reader.offsets()[place][-1] + 1
            retaining.fill(place, 60)
            retaining.expire(place, kept)
            reader.source.release()
            until(lambda before=before: (place, before) in reader.listener.gaps, reader.turn)  # type: ignore[misc]  # mypy knows no defaults here
            reader.source.open(place, kept)
            until(lambda before=before: reader.offsets()[place][-1] + 1 == before + 60, reader.turn)  # type: ignore[misc]
            assert reader.offsets()[place][-1] - kept + 1 == len([at for at in reader.offsets()[place] if at >= kept])
        assert [offset for _, offset in reader.listener.gaps] == [60, 120]

    def test_a_topic_created_anew_under_a_reader_is_told(self, retaining: RetainingWorld) -> None:
        place = TopicPartition(retaining.topic(), 0)
        retaining.fill(place, 60)
        reader = retaining.reader(place.topic)
        reader.read(60)
        retaining.recreate(place.topic)
        retaining.fill(place, 7)
        until(lambda: bool(reader.listener.gaps) or reader.listener.assigned_count > 1, reader.turn)
        if reader.listener.gaps:  # else the broker took the old partition away and gave the new one
            reader.source.open(place, 0)
        reader.read(67)
        assert reader.offsets()[place][-7:] == list(range(7))

    def test_opening_during_a_hold_leaves_the_hold(self, retaining: RetainingWorld) -> None:
        place = self.committed_at(retaining, 10)
        retaining.expire(place, 20)
        reader = retaining.reader(place.topic)
        until(lambda: bool(reader.listener.gaps), reader.turn)
        reader.source.hold()
        reader.source.open(place, 20)
        for _ in range(10):
            reader.turn()
        assert reader.count() == 0
        reader.source.release()
        reader.read(40)


class FullContract(DeliveryContract):
    """What holds besides for brokers that keep groups and topics as Apache Kafka does."""

    def test_what_is_committed_while_closing_counts(self, world: World) -> None:
        topic = world.topic()
        world.write(topic, 60)
        first = world.reader(topic)
        first.read(60)
        first.listener.on_revoke = lambda _partitions: first.source.commit(first.next_offsets())
        first.source.close()
        assert first.listener.owned == set()
        world.write(topic, 1, start=60)
        second = world.reader(topic)
        second.read(1)
        assert second.values() == [b"60"]

    def test_nothing_is_pending_after_a_flush(self, world: World) -> None:
        topic = world.topic()
        sink = world.sink()
        for number in range(10):
            sink.send(Message(topic, b"%d" % number, b"x"))
        assert sink.pending() == 10
        sink.flush(DEADLINE_S)
        assert sink.pending() == 0

    def test_polling_serves_delivery_reports(self, world: World) -> None:
        sink = world.sink()
        sink.send(Message(world.topic(), b"key", b"value"))
        until(lambda: sink.pending() == 0, lambda: sink.poll(0.05))

    def test_a_message_to_an_unknown_topic_fails_and_is_never_forgotten(self, world: World) -> None:
        sink = world.sink()
        sink.send(Message("no-such-topic", b"key", b"value"))
        with pytest.raises(DeliveryFailedError, match="no-such-topic"):
            sink.flush(DEADLINE_S)
        with pytest.raises(DeliveryFailedError, match="no-such-topic"):
            sink.send(Message(world.topic(), b"key", b"value"))
        with pytest.raises(DeliveryFailedError, match="no-such-topic"):
            sink.poll(0)

    def test_an_unknown_input_topic_stops_with_the_broker_s_words(self, world: World) -> None:
        source = world.new_source("no-such-topic", "group")
        world.stack.callback(source.close)
        with pytest.raises(SourceFailedError, match=r"(?i)no-such-topic.*unknown topic|unknown topic no-such-topic"):
            until(lambda: False, Reader(source).turn)

    def test_a_fetch_gives_at_most_what_was_asked_for(self, world: World) -> None:
        topic = world.topic()
        world.write(topic, 50)
        reader = world.reader(topic)
        taken = [reader.turn(records_max=1) for _ in range(3)]
        until(lambda: reader.count() >= 50, lambda: taken.append(reader.turn(records_max=7)))
        assert max(taken[:3]) <= 1
        assert max(taken) <= 7

    def test_groups_do_not_disturb_each_other(self, world: World) -> None:
        topic = world.topic()
        world.write(topic, 40)
        one, other = world.reader(topic, "one"), world.reader(topic, "other")
        one.read(40)
        one.source.commit(one.next_offsets())
        other.read(40)
        assert sorted(filter(None, one.values())) == sorted(filter(None, other.values()))

    def test_committing_nothing_is_no_mistake(self, world: World) -> None:
        reader = world.reader(world.topic())
        until(lambda: bool(reader.listener.owned), reader.turn)
        reader.source.commit({})

    def test_a_held_source_returns_nothing_and_goes_on_where_it_stood(self, world: World) -> None:
        topic = world.topic()
        world.write(topic, 300)
        reader = world.reader(topic)
        reader.read(30, records_max=10)
        before = reader.count()
        reader.source.hold()
        for _ in range(10):
            reader.turn()
        assert reader.count() == before
        reader.source.release()
        reader.read(300)
        for offsets in reader.offsets().values():
            assert offsets == list(range(len(offsets)))

    def test_partitions_that_come_during_a_hold_are_held_too(self, world: World) -> None:
        topic = world.topic()
        world.write(topic, 30)
        reader = world.reader(topic)
        reader.source.hold()
        until(lambda: len(reader.listener.owned) == 3, reader.turn)
        for _ in range(10):
            reader.turn()
        assert reader.count() == 0
        reader.source.release()
        reader.read(30)

    def test_a_gated_partition_is_silent_until_it_is_opened_and_then_read_from_the_offset_given(
        self, world: World
    ) -> None:
        topic = world.topic()
        world.write(topic, 300)
        reader = world.reader(topic)
        gated, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
        reader.listener.gates = lambda partitions: reader.source.gate([place for place in partitions if place == gated])
        until(lambda: other in reader.offsets(), reader.turn)
        for _ in range(10):
            reader.turn()
        assert gated not in reader.offsets()
        reader.source.open(gated, 7)
        until(lambda: gated in reader.offsets(), reader.turn)
        assert reader.offsets()[gated][0] == 7
        reader.source.gate([gated])
        reader.source.open(gated, 3)
        before = len(reader.offsets()[gated])
        until(lambda: len(reader.offsets()[gated]) > before, reader.turn)
        assert reader.offsets()[gated][before] == 3

    def test_a_partition_that_is_opened_at_once_is_read_from_the_offset_given(self, world: World) -> None:
        topic = world.topic()
        world.write(topic, 300)
        reader = world.reader(topic)
        reader.listener.gates = reader.source.gate
        until(lambda: len(reader.listener.owned) == 3, reader.turn)
        for place in list(reader.listener.owned):
            reader.source.open(place, 7)
        until(lambda: len(reader.offsets()) == 3, reader.turn)
        assert {offsets[0] for offsets in reader.offsets().values()} == {7}

    def test_a_gated_partition_goes_on_where_it_stood_when_no_offset_is_given(self, world: World) -> None:
        topic = world.topic()
        world.write(topic, 30)
        reader = world.reader(topic)
        reader.listener.gates = reader.source.gate
        until(lambda: len(reader.listener.owned) == 3, reader.turn)
        for _ in range(10):
            reader.turn()
        assert reader.count() == 0
        for place in list(reader.listener.owned):
            reader.source.open(place, None)
        reader.read(30)
        assert {offsets[0] for offsets in reader.offsets().values()} == {0}

    def test_a_hold_that_ends_leaves_gates_shut_and_a_gate_that_opens_leaves_the_hold(self, world: World) -> None:
        topic = world.topic()
        world.write(topic, 90)
        reader = world.reader(topic)
        gated = TopicPartition(topic, 0)
        reader.listener.gates = lambda partitions: reader.source.gate([place for place in partitions if place == gated])
        reader.source.hold()
        until(lambda: len(reader.listener.owned) == 3, reader.turn)
        reader.source.release()
        until(lambda: bool(reader.offsets()), reader.turn)
        for _ in range(10):
            reader.turn()
        assert gated not in reader.offsets()
        reader.source.hold()
        reader.source.open(gated, 0)
        for _ in range(10):
            reader.turn()
        assert gated not in reader.offsets()
        reader.source.release()
        reader.read(90)

    def test_the_broker_says_where_a_partition_begins_and_ends(self, world: World) -> None:
        topic = world.topic()
        world.write(topic, 30)
        reader = world.reader(topic)
        until(lambda: len(reader.listener.owned) == 3, reader.turn)
        bounds = {place: reader.source.bounds(place) for place in reader.listener.owned}
        assert {begin for begin, _ in bounds.values()} == {0}
        assert sum(end for _, end in bounds.values()) == 30

    def test_two_members_share_the_partitions_and_none_has_two_owners(self, world: World) -> None:
        topic = world.topic()
        world.write(topic, 90)
        first = world.reader(topic)
        until(lambda: len(first.listener.owned) == 3, first.turn)
        second = world.reader(topic)

        def turn() -> None:
            first.turn()
            second.turn()
            assert first.listener.owned.isdisjoint(second.listener.owned)

        until(lambda: (len(first.listener.owned), len(second.listener.owned)) == (2, 1), turn)

    def test_what_a_member_leaves_behind_is_read_by_the_other_from_the_last_commit(self, world: World) -> None:
        topic = world.topic()
        sent = world.write(topic, 90)
        first, second = world.reader(topic), world.reader(topic)

        def turn() -> None:
            first.turn(records_max=5)
            second.turn(records_max=5)

        until(lambda: (first.count() > 0 and second.count() > 0) or first.count() + second.count() >= 90, turn)
        first.listener.on_revoke = lambda partitions: first.source.commit(
            {place: offset for place, offset in first.next_offsets().items() if place in partitions}
        )
        first.source.close()
        until(lambda: len(second.listener.owned) == 3, second.turn)
        until(lambda: {*first.values(), *second.values()} == set(sent), second.turn)

    def test_a_member_without_partitions_is_told_so(self, world: World) -> None:
        topic = world.topic()
        readers = [world.reader(topic) for _ in range(4)]

        def turn() -> None:
            for reader in readers:
                reader.turn()

        until(lambda: all(reader.listener.assigned_count for reader in readers), turn)
        until(lambda: sum(len(reader.listener.owned) for reader in readers) == 3, turn)


class TestMemory(FullContract, RangeContract):
    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = MemoryWorld()
        with world.stack:
            yield world

    @pytest.fixture
    def retaining(self, world: RetainingWorld) -> RetainingWorld:
        return world


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


class TestEmbedded(DeliveryContract):
    @pytest.fixture
    def world(self, embedded: EmbeddedBroker) -> Iterator[World]:
        world = KafkaWorld(embedded.bootstrap_servers, creates_topics=False)
        with world.stack:
            yield world


@pytest.mark.kafka
class TestKafka(FullContract, RangeContract):
    @pytest.fixture
    def world(self, kafka: Broker) -> Iterator[World]:
        world = KafkaWorld(kafka.bootstrap_servers, creates_topics=True)
        with world.stack:
            yield world

    @pytest.fixture
    def retaining(self, world: RetainingWorld) -> RetainingWorld:
        return world


@pytest.mark.kafka
class TestKafkaConsumerProtocol(TestKafka):
    """The same under KIP-848."""

    @pytest.fixture
    def world(self, kafka: Broker) -> Iterator[World]:
        world = KafkaWorld(kafka.bootstrap_servers, creates_topics=True, protocol="consumer")
        with world.stack:
            yield world
