"""Snapshots in a compacted Kafka topic.

Reading takes a consumer of its own for each question, without group membership, and sees only what is committed. A
snapshot that is committed can lie behind an open transaction of somebody who is gone. It then looks as if it were not
there, and is waited for. Writing is the sink's business. Every wait ends soon after :meth:`KafkaSnapshotStore.close`.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Final, Literal

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as ClientPartition

from detector.errors import SnapshotRefusedError, SourceFailedError, StateUnavailableError
from detector.io.kafka_columns import RawMessage
from detector.io.kafka_config import ConsumerGroup, KafkaConnection, Option
from detector.io.kafka_errors import TRANSPORT, words
from detector.io.snapshot_records import HEADER, ChunkRecord, checked, complete, messages_of
from detector.ports import Message, TopicPartition
from detector.state import Pointer

QUESTION_TIMEOUT_S: Final = 10.0
"""One question about topics or offsets."""
SILENCE_S: Final = 15.0
"""Without a record for so long, although there should be some, reading is given up and tried again."""
POLL_S: Final = 0.1
DECIDED_POLL_S: Final = 0.2
"""Between two looks at a transaction that is open."""
CONSUME_MAX: Final = 64

Isolation = Literal["read_committed", "read_uncommitted"]


class KafkaSnapshotStore:
    """Snapshots of the group ``group_id`` in ``topic``."""

    def __init__(self, connection: KafkaConnection, *, topic: str, group_id: str) -> None:
        self._connection = connection
        self._topic = topic
        self._group_id = group_id
        self._closed = Event()

    def prepare(self, partition: TopicPartition) -> str:
        """Ask for the topic, its partitions and the cluster's id."""
        with self._consumer() as consumer:
            partitions, cluster = state_topic(consumer, self._topic, QUESTION_TIMEOUT_S)
        if partition.partition >= partitions:
            raise SourceFailedError(
                f"the state topic {self._topic} has {partitions} partitions, but {partition.topic} has a partition "
                f"{partition.partition}: give it at least as many as the widest input topic"
            )
        return cluster

    def messages(self, partition: TopicPartition, pointer: Pointer, chunks: Sequence[bytes]) -> Sequence[Message]:
        """One message per chunk, to the partition with the input partition's number."""
        return messages_of(self._topic, self._group_id, partition, pointer, chunks)

    def read(self, partition: TopicPartition, pointer: Pointer) -> bytes:
        """Fetch exactly the chunks that ``pointer`` names."""
        home = ClientPartition(self._topic, partition.partition, pointer.first_offset)
        with self._consumer() as consumer:
            low, stable = _ends(consumer, home)
            high = stable if pointer.last_offset < stable else self._end(home)
            if pointer.first_offset < low or pointer.last_offset >= high:
                raise SnapshotRefusedError(f"the state topic holds the offsets {low} to {high}, not the snapshot's")
            self._until_decided(consumer, home, pointer.last_offset + 1)
            records = self._records(consumer, home, pointer.last_offset + 1)
            return checked(self._group_id, partition, pointer, records)

    def scan(self, partition: TopicPartition) -> Sequence[Pointer]:
        """Read the whole partition of the state topic."""
        home = ClientPartition(self._topic, partition.partition, 0)
        high = self._end(home)
        with self._consumer() as consumer:
            self._until_decided(consumer, home, high)
            home.offset, _ = _ends(consumer, home)
            return complete(self._group_id, partition, self._records(consumer, home, high))

    def close(self) -> None:
        """Let both threads come to an end; the clients go with their last reference."""
        self._closed.set()

    @contextmanager
    def _consumer(self, isolation: Isolation = "read_committed") -> Iterator[Consumer]:
        """Give a consumer that reads by assignment; its broker trouble becomes ``StateUnavailableError``."""
        group = ConsumerGroup(self._group_id, [self._topic], offset_reset="error")
        options: dict[str, Option] = {
            **self._connection.consumer_options(group),
            "enable.partition.eof": True,
            "isolation.level": isolation,
        }
        consumer = Consumer(options, logger=logging.getLogger("detector.librdkafka"))
        try:
            yield consumer
        except KafkaException as error:
            raise StateUnavailableError(f"the state topic cannot be asked: {words(error.args[0])}") from error
        finally:
            consumer.close()

    def _end(self, home: ClientPartition) -> int:
        """The next offset, with everything undecided before it."""
        with self._consumer("read_uncommitted") as consumer:
            return _ends(consumer, home)[1]

    def _until_decided(self, consumer: Consumer, home: ClientPartition, stop: int) -> None:
        """Wait until no transaction below ``stop`` is open: what lies behind one is not seen."""
        deadline_s = time.monotonic() + SILENCE_S
        while _ends(consumer, home)[1] < stop:
            if self._closed.wait(DECIDED_POLL_S):
                raise StateUnavailableError("the worker stops")
            if time.monotonic() > deadline_s:
                raise StateUnavailableError(f"a transaction in the state topic was open for {SILENCE_S:.0f} s")

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


def state_topic(client: Consumer | Producer, name: str, timeout_s: float) -> tuple[int, str]:
    """Ask for the number of partitions of the state topic, and for the cluster's id.

    Raises ``SourceFailedError`` with the remedy where the topic is not there, and the client's ``KafkaException``.
    """
    answer = client.list_topics(name, timeout=timeout_s)
    topic = answer.topics.get(name)
    if topic is not None and topic.error is not None and topic.error.code() in TRANSPORT:
        raise KafkaException(topic.error)
    if topic is None or topic.error is not None:
        why = "does not exist" if topic is None or topic.error is None else words(topic.error)
        raise SourceFailedError(
            f"the state topic {name} cannot be used ({why}): run `detector topics create`, or set state.enabled: false "
            "and delivery.mode: at_least_once"
        )
    return len(topic.partitions), str(answer.cluster_id)


def _ends(consumer: Consumer, home: ClientPartition) -> tuple[int, int]:
    marks = consumer.get_watermark_offsets(home, timeout=QUESTION_TIMEOUT_S)
    if marks is None:
        raise StateUnavailableError("no answer about the ends of the state topic")
    return marks


def _record(message: RawMessage, offset: int) -> ChunkRecord:
    header = dict(message.headers() or ()).get(HEADER)
    assert header is None or isinstance(header, bytes)
    return ChunkRecord(offset, message.key(), message.value(), header)
