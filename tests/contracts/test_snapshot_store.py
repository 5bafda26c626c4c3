"""The contract of snapshot stores: one set of sentences for the broker in memory and Apache Kafka."""

import itertools
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

import pytest
from msgspec.structs import replace

from detector.errors import SnapshotRefusedError, SourceFailedError, StateUnavailableError
from detector.io import (
    KafkaConnection,
    KafkaSink,
    KafkaSnapshotStore,
    KafkaTransactionalSink,
    MemoryBroker,
    MemorySink,
    MemorySnapshotStore,
    MemoryTransactionalSink,
    TopicPlan,
    Topics,
    kafka_snapshots,
)
from detector.ports import Message, Receipt, Sink, SnapshotStore, TopicPartition, TransactionalSink
from detector.state import Pointer
from tests.kafka.broker import Broker
from tests.kafka.workers import until

NUMBERS: Final = itertools.count()
PLACE: Final = TopicPartition("input", 1)
OTHER: Final = TopicPartition("other", 1)
GROUP: Final = "group"


def snapshot(offset: int, generation: int, chunks: Sequence[bytes]) -> tuple[Pointer, Sequence[bytes]]:
    """A pointer without a place, and the chunks it is of."""
    data = b"".join(chunks)
    return Pointer(0, 0, len(chunks), len(data), zlib.crc32(data), offset, generation, "hash", "cluster"), chunks


SMALL: Final = snapshot(100, 1, [b"one", b"two"])
LARGE: Final = snapshot(200, 2, [os.urandom(512 * 1024) for _ in range(5)] + [b"rest"])


class World(ABC):
    """One kind of broker with a state topic of three partitions."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.topic = f"state-{os.getpid()}-{next(NUMBERS)}"

    def store(self, group: str = GROUP, topic: str | None = None) -> SnapshotStore:
        store = self.new_store(group, topic or self.topic)
        self.stack.callback(store.close)
        return store

    def write(
        self,
        pointer: Pointer,
        chunks: Sequence[bytes],
        *,
        between: Message | None = None,
        place: TopicPartition = PLACE,
    ) -> Pointer:
        """Send a snapshot, perhaps with another record after its first chunk; gives the pointer with its place."""
        receipts: list[Receipt] = []
        sink = self.new_sink()
        for number, message in enumerate(self.store().messages(place, pointer, chunks)):
            if between is not None and number == 1:
                sink.send(between)
            sink.send(message, receipts.append)
        sink.flush(30)
        sink.close()
        offsets = [receipt.offset for receipt in receipts if receipt.offset is not None]
        assert len(offsets) == len(chunks)
        return pointer.at(offsets[0], offsets[-1])

    @abstractmethod
    def new_store(self, group: str, topic: str) -> SnapshotStore:
        """A store of that group."""

    @abstractmethod
    def new_sink(self) -> Sink:
        """A sink to the same broker."""

    @abstractmethod
    def new_transactional_sink(self) -> TransactionalSink:
        """A sink with a transactional id to the same broker."""

    def new_transactions(self) -> TransactionalSink:
        """A transactional sink that has begun."""
        sink = self.new_transactional_sink()
        until(lambda: sink.begin(1.0), "the producer is known")
        return sink


class MemoryWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryBroker()
        self.broker.create_topic(self.topic, partitions=3)

    def new_store(self, group: str, topic: str) -> SnapshotStore:
        return MemorySnapshotStore(self.broker, topic=topic, group_id=group)

    def new_sink(self) -> Sink:
        return MemorySink(self.broker)

    def new_transactional_sink(self) -> TransactionalSink:
        return MemoryTransactionalSink(self.broker, transactional_id="stranger")


class KafkaWorld(World):
    def __init__(self, bootstrap_servers: str) -> None:
        super().__init__()
        self.connection = KafkaConnection(
            bootstrap_servers,
            librdkafka={"log_level": 2},
            librdkafka_producer={"topic.metadata.propagation.max.ms": 500},
        )
        plan = TopicPlan(self.topic, partitions=3, replicas=1, settings={"cleanup.policy": "compact"})
        assert [finding.kind for finding in Topics(self.connection).create([plan])] == ["created"]
        for partition in range(3):
            until(partial(self._answers, TopicPartition(PLACE.topic, partition)), "a new topic has leaders")

    def _answers(self, place: TopicPartition) -> bool:
        """Ask as the worker does, which takes a broker without an answer for one to be asked again."""
        store = self.new_store("probe", self.topic)
        try:
            store.scan(place)
        except StateUnavailableError:
            return False
        finally:
            store.close()
        return True

    def new_store(self, group: str, topic: str) -> SnapshotStore:
        return KafkaSnapshotStore(self.connection, topic=topic, group_id=group)

    def new_sink(self) -> Sink:
        return KafkaSink(self.connection)

    def new_transactional_sink(self) -> TransactionalSink:
        return KafkaTransactionalSink(self.connection, transactional_id=f"stranger-{self.topic}")


class StoreContract:
    @pytest.mark.parametrize(("pointer", "chunks"), [SMALL, LARGE], ids=["small", "large"])
    def test_what_was_written_is_read_byte_for_byte(
        self, world: World, pointer: Pointer, chunks: Sequence[bytes]
    ) -> None:
        written = world.write(pointer, chunks)
        assert written.last_offset - written.first_offset == len(chunks) - 1
        assert world.store().read(PLACE, written) == b"".join(chunks)

    def test_writing_a_generation_leaves_the_one_before_in_place(self, world: World) -> None:
        store = world.store()
        first, second = world.write(*SMALL), world.write(*LARGE)
        assert second.first_offset > first.last_offset
        assert store.read(PLACE, first) == b"onetwo"
        assert store.read(PLACE, second) == b"".join(LARGE[1])

    def test_a_scan_finds_every_complete_snapshot_the_newest_state_first(self, world: World) -> None:
        store = world.store()
        second, first = world.write(*LARGE), world.write(*SMALL)
        assert store.scan(PLACE) == [second, first]
        assert world.store().scan(PLACE) == [second, first]

    def test_what_others_write_in_between_does_no_harm(self, world: World) -> None:
        stranger = world.store().messages(OTHER, *LARGE)[0]._replace(topic=world.topic)
        written = world.write(*SMALL, between=stranger)
        assert written.last_offset == written.first_offset + 2
        assert world.store().read(PLACE, written) == b"onetwo"
        assert world.store().scan(PLACE) == [written]

    def test_a_chunk_of_another_snapshot_under_the_same_key_is_not_taken_for_ours(self, world: World) -> None:
        rival = snapshot(150, 3, [b"two", b"one"])
        stranger = world.store().messages(PLACE, *rival)[0]
        written = world.write(*SMALL, between=stranger)
        assert world.store().read(PLACE, written) == b"onetwo"

    def test_an_empty_state_topic_is_scanned_to_its_end(self, world: World) -> None:
        assert world.store().scan(PLACE) == []

    def test_topics_partitions_and_groups_do_not_see_each_other(self, world: World) -> None:
        written = world.write(*SMALL)
        assert world.store().scan(OTHER) == []
        assert world.store("another").scan(PLACE) == []
        assert world.store().scan(TopicPartition("input", 2)) == []
        with pytest.raises(SnapshotRefusedError):
            world.store("another").read(PLACE, written)
        with pytest.raises(SnapshotRefusedError):
            world.store().read(OTHER, written)

    @pytest.mark.parametrize(
        "forged",
        [
            lambda p: p.at(p.first_offset + 1, p.last_offset),
            lambda p: p.at(p.first_offset, p.last_offset - 1),
            lambda p: p.at(1_000, 1_001),
            lambda p: replace(p, chunk_count=1),
            lambda p: replace(p, chunk_count=3),
            lambda p: replace(p, crc=7),
            lambda p: replace(p, size_bytes=7),
            lambda p: replace(p, generation=p.generation + 1),
        ],
        ids=[
            "begins late",
            "ends early",
            "beyond the end",
            "cut",
            "too long",
            "other checksum",
            "other size",
            "other generation",
        ],
    )
    def test_what_is_not_exactly_as_the_pointer_says_is_refused(
        self, world: World, forged: Callable[[Pointer], Pointer]
    ) -> None:
        store = world.store()
        written = world.write(*SMALL)
        with pytest.raises(SnapshotRefusedError):
            store.read(PLACE, forged(written))

    def test_a_snapshot_that_broke_off_is_never_found(self, world: World) -> None:
        store = world.store()
        pointer, chunks = SMALL
        world.write(pointer, chunks)
        cut = Pointer(0, 0, 3, 9, 9, 150, 3, "hash", "cluster")
        world.write(cut, [b"x", b"y"])
        assert [found.offset for found in store.scan(PLACE)] == [100]

    def test_behind_an_open_transaction_a_snapshot_is_waited_for_and_not_taken_for_missing(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kafka_snapshots, "SILENCE_S", 0.5)
        store, stranger = world.store(), world.new_transactions()
        first = world.write(*SMALL)
        chunk = world.store().messages(PLACE, *snapshot(150, 3, [b"two", b"one"]))[0]
        stranger.send(chunk)
        stranger.flush(30)
        second = world.write(*LARGE)
        assert store.read(PLACE, first) == b"onetwo"
        for ask in (lambda: store.read(PLACE, second), lambda: store.scan(PLACE)):
            with pytest.raises(StateUnavailableError, match="transaction"):
                ask()
        stranger.abort()
        stranger.close()
        monkeypatch.undo()
        assert store.scan(PLACE) == [second, first]
        assert store.read(PLACE, second) == b"".join(LARGE[1])

    def test_an_aborted_snapshot_is_never_found(self, world: World) -> None:
        store, writer = world.store(), world.new_transactions()
        written = world.write(*SMALL)
        for message in store.messages(PLACE, *LARGE):
            writer.send(message)
        writer.flush(30)
        writer.abort()
        writer.close()
        assert store.scan(PLACE) == [written]

    def test_the_cluster_is_named_and_the_same_each_time(self, world: World) -> None:
        assert world.store().prepare(PLACE) == world.store("another").prepare(OTHER) != ""

    def test_a_partition_without_room_is_refused(self, world: World) -> None:
        with pytest.raises(SourceFailedError, match=r"partition"):
            world.store().prepare(TopicPartition("input", 3))

    def test_a_missing_state_topic_is_refused_by_its_name(self, world: World) -> None:
        with pytest.raises(SourceFailedError, match="no-such-state"):
            world.store(topic="no-such-state").prepare(PLACE)


class TestMemory(StoreContract):
    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = MemoryWorld()
        with world.stack:
            yield world

    def test_compaction_keeps_the_last_two_generations(self) -> None:
        world = MemoryWorld()
        store = world.store()
        kept = [world.write(*snapshot(100 * number, number, [b"a", b"%d" % number])) for number in range(1, 6)]
        home = TopicPartition(world.topic, PLACE.partition)
        world.broker.compact(home, len(world.broker.records(home)))
        assert store.scan(PLACE) == [kept[4], kept[3]]
        assert store.read(PLACE, kept[3]) == b"a4"
        with pytest.raises(SnapshotRefusedError):
            store.read(PLACE, kept[2])


@pytest.mark.kafka
class TestKafka(StoreContract):
    @pytest.fixture
    def world(self, kafka: Broker) -> Iterator[World]:
        world = KafkaWorld(kafka.bootstrap_servers)
        with world.stack:
            yield world
