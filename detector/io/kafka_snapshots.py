"""Snapshots in a compacted Kafka topic.

Reading takes a consumer of its own for each question, without group membership; writing keeps one idempotent producer.
Both may run at the same time, each on one thread. Every wait ends soon after :meth:`KafkaSnapshotStore.close`.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as ClientPartition

from detector.errors import SnapshotNotWrittenError, SnapshotRefusedError, SourceFailedError, StateUnavailableError
from detector.io.kafka_columns import RawMessage
from detector.io.kafka_config import ConsumerGroup, KafkaConnection, Option
from detector.io.kafka_errors import words
from detector.io.snapshot_records import HEADER, ChunkRecord, checked, chunk_key, complete, header_of, placed
from detector.ports import TopicPartition
from detector.state import Pointer

QUESTION_TIMEOUT_S: Final = 10.0
"""One question about topics or offsets."""
SILENCE_S: Final = 15.0
"""Without a record for so long, although there should be some, reading is given up and tried again."""
WRITE_TIMEOUT_S: Final = 30.0
"""One snapshot; a broker that takes longer is in trouble, and the next snapshot comes soon enough."""
WRITE_TRIES: Final = 3
"""Writers of other topics or groups may get in between; rarely more than once."""
POLL_S: Final = 0.1
CONSUME_MAX: Final = 64


class KafkaSnapshotStore:
    """Snapshots of the group ``group_id`` in ``topic``."""

    def __init__(self, connection: KafkaConnection, *, topic: str, group_id: str) -> None:
        self._connection = connection
        self._topic = topic
        self._group_id = group_id
        self._closed = Event()
        self._producer: Producer | None = None

    def prepare(self, partition: TopicPartition) -> str:
        """Ask for the topic, its partitions and the cluster's id."""
        with self._consumer() as consumer:
            answer = consumer.list_topics(self._topic, timeout=QUESTION_TIMEOUT_S)
        topic = answer.topics.get(self._topic)
        if topic is None or topic.error is not None:
            why = "does not exist" if topic is None or topic.error is None else words(topic.error)
            raise SourceFailedError(
                f"the state topic {self._topic} cannot be used ({why}): run `detector topics create`, "
                "or set state.enabled: false"
            )
        if partition.partition >= len(topic.partitions):
            raise SourceFailedError(
                f"the state topic {self._topic} has {len(topic.partitions)} partitions, but {partition.topic} has a "
                f"partition {partition.partition}: give it at least as many as the widest input topic"
            )
        return str(answer.cluster_id)

    def write(self, partition: TopicPartition, pointer: Pointer, chunks: Sequence[bytes]) -> Pointer:
        """Write the chunks until they lie in one run."""
        deadline_s = time.monotonic() + WRITE_TIMEOUT_S
        for _ in range(WRITE_TRIES):
            found = placed(pointer, self._written(partition, pointer, chunks, deadline_s))
            if found is not None:
                return found
        raise SnapshotNotWrittenError(f"others wrote to {self._topic}[{partition.partition}] in between, every time")

    def read(self, partition: TopicPartition, pointer: Pointer) -> bytes:
        """Fetch exactly the chunks that ``pointer`` names."""
        home = ClientPartition(self._topic, partition.partition, pointer.first_offset)
        stop = pointer.first_offset + pointer.chunk_count
        with self._consumer() as consumer:
            low, high = _ends(consumer, home)
            if pointer.first_offset < low or stop > high:
                raise SnapshotRefusedError(f"the state topic holds the offsets {low} to {high}, not the snapshot's")
            records = {record.offset: record for record in self._records(consumer, home, stop)}
        offsets = range(pointer.first_offset, stop)
        return checked(self._group_id, partition, pointer, [records.get(offset) for offset in offsets])

    def scan(self, partition: TopicPartition) -> Sequence[Pointer]:
        """Read the whole partition of the state topic."""
        home = ClientPartition(self._topic, partition.partition, 0)
        with self._consumer() as consumer:
            home.offset, high = _ends(consumer, home)
            return complete(self._group_id, partition, self._records(consumer, home, high))

    def close(self) -> None:
        """Let both threads come to an end; the clients go with their last reference."""
        self._closed.set()

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        """Give a consumer that reads by assignment; its broker trouble becomes ``StateUnavailableError``."""
        group = ConsumerGroup(self._group_id, [self._topic], offset_reset="error")
        options: dict[str, Option] = {**self._connection.consumer_options(group), "enable.partition.eof": True}
        consumer = Consumer(options, logger=logging.getLogger("detector.librdkafka"))
        try:
            yield consumer
        except KafkaException as error:
            raise StateUnavailableError(f"the state topic cannot be asked: {words(error.args[0])}") from error
        finally:
            consumer.close()

    def _records(self, consumer: Consumer, home: ClientPartition, stop: int) -> Iterator[ChunkRecord]:
        """Records from ``home`` to before ``stop``; compaction leaves gaps, the end of the partition ends them."""
        if home.offset >= stop:
            return
        consumer.assign([home])
        heard_s = time.monotonic()
        while True:
            for message in consumer.consume(CONSUME_MAX, POLL_S):
                heard_s = time.monotonic()
                error = message.error()
                offset = message.offset()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # the client's own name
                    raise StateUnavailableError(f"the state topic cannot be read: {words(error)}")
                if error is not None or offset is None or offset >= stop:
                    return
                yield _record(message, offset)
                if offset + 1 >= stop:
                    return
            if self._closed.is_set():
                raise StateUnavailableError("the worker stops")
            if time.monotonic() - heard_s > SILENCE_S:
                raise StateUnavailableError(f"no record of the state topic came within {SILENCE_S:.0f} s")

    def _written(
        self, partition: TopicPartition, pointer: Pointer, chunks: Sequence[bytes], deadline_s: float
    ) -> list[int]:
        """Offsets of the chunks, all acknowledged."""
        producer = self._producer = self._producer or self._new_producer()
        delivery = _Delivery()
        try:
            for number, chunk in enumerate(chunks):
                key = chunk_key(self._group_id, partition, pointer.generation, number)
                while not _queued(producer, delivery, (self._topic, partition.partition), key, chunk, pointer):
                    self._wait(producer, delivery, deadline_s)
            while len(delivery.offsets) < len(chunks):
                self._wait(producer, delivery, deadline_s)
        except SnapshotNotWrittenError:
            # What is still on its way must not arrive behind the next snapshot's chunks.
            producer.purge()
            producer.flush(0)
            self._producer = None
            raise
        return delivery.offsets

    def _wait(self, producer: Producer, delivery: "_Delivery", deadline_s: float) -> None:
        producer.poll(POLL_S)
        if delivery.failure is not None:
            raise SnapshotNotWrittenError(f"a chunk was not delivered: {words(delivery.failure)}")
        if self._closed.is_set():
            raise SnapshotNotWrittenError("the worker stops")
        if time.monotonic() > deadline_s:
            raise SnapshotNotWrittenError(f"the chunks were not acknowledged within {WRITE_TIMEOUT_S:.0f} s")

    def _new_producer(self) -> Producer:
        options = self._connection.producer_options()
        options |= {"message.timeout.ms": round(WRITE_TIMEOUT_S * 1000), "compression.type": "none"}
        return Producer(options, logger=logging.getLogger("detector.librdkafka"))


class _Delivery:
    """Reports of one snapshot's chunks, in the order in which they were sent."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.failure: KafkaError | None = None

    def report(self, error: KafkaError | None, message: RawMessage) -> None:
        """Note one report."""
        offset = message.offset()
        if error is not None or offset is None:
            self.failure = self.failure or error
        else:
            self.offsets.append(offset)


def _queued(
    producer: Producer, delivery: _Delivery, home: tuple[str, int], key: bytes, chunk: bytes, pointer: Pointer
) -> bool:
    """Hand over one chunk; false when the client's queue is full."""
    try:
        producer.produce(
            home[0],
            chunk,
            key,
            partition=home[1],
            headers=[(HEADER, header_of(pointer))],
            on_delivery=delivery.report,
        )
    except BufferError:
        return False
    except KafkaException as error:
        raise SnapshotNotWrittenError(f"a chunk was refused: {words(error.args[0])}") from error
    return True


def _ends(consumer: Consumer, home: ClientPartition) -> tuple[int, int]:
    marks = consumer.get_watermark_offsets(home, timeout=QUESTION_TIMEOUT_S)
    if marks is None:
        raise StateUnavailableError("no answer about the ends of the state topic")
    return marks


def _record(message: RawMessage, offset: int) -> ChunkRecord:
    header = dict(message.headers() or ()).get(HEADER)
    assert header is None or isinstance(header, bytes)
    return ChunkRecord(offset, message.key(), message.value(), header)
