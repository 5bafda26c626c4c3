"""Snapshots in a topic of the broker in memory: the same records as in Kafka, without waiting."""

from collections.abc import Iterator, Sequence
from typing import Final

from detector.errors import SnapshotRefusedError, SourceFailedError, StateUnavailableError
from detector.io.memory import MemoryBroker, Reached, nowhere
from detector.io.snapshot_records import HEADER, ChunkRecord, checked, complete, messages_of
from detector.ports import Message, TopicPartition
from detector.state import Pointer

CLUSTER: Final = "memory"

LAYING_OUT: Final = "laying out"
PREPARING: Final = "preparing"
READING: Final = "reading"
CHUNK_READ: Final = "chunk read"
SCANNING: Final = "scanning"

STORE_POINTS: Final = (LAYING_OUT, PREPARING, READING, CHUNK_READ, SCANNING)
"""Where a call can be cut."""


class MemorySnapshotStore:
    """Snapshots of one group, as far as they are committed; ``reached`` is told every point of every call."""

    def __init__(self, broker: MemoryBroker, *, topic: str, group_id: str, reached: Reached = nowhere) -> None:
        self._broker = broker
        self._topic = topic
        self._group_id = group_id
        self._reached = reached

    def prepare(self, partition: TopicPartition) -> str:
        """Id of the cluster; refuses where the state topic is too small or missing."""
        self._arrive(PREPARING)
        if self._home(partition) not in self._broker.partitions(self._topic):
            raise SourceFailedError(f"the state topic {self._topic} has no partition {partition.partition}")
        return CLUSTER

    def messages(self, partition: TopicPartition, pointer: Pointer, chunks: Sequence[bytes]) -> Sequence[Message]:
        """One message per chunk."""
        self._reached(LAYING_OUT)
        return messages_of(self._topic, self._group_id, partition, pointer, chunks)

    def read(self, partition: TopicPartition, pointer: Pointer) -> bytes:
        """Give the snapshot, checked."""
        self._arrive(READING)
        end = self._broker.log(self._home(partition)).end
        if pointer.last_offset >= end:
            raise SnapshotRefusedError(f"the state topic ends at offset {end}, before the snapshot does")
        self._decided(partition, pointer.last_offset + 1)
        records = self._records(partition, pointer.first_offset, pointer.last_offset + 1)
        return checked(self._group_id, partition, pointer, records)

    def scan(self, partition: TopicPartition) -> Sequence[Pointer]:
        """Look through everything."""
        self._arrive(SCANNING)
        end = self._broker.log(self._home(partition)).end
        self._decided(partition, end)
        return complete(self._group_id, partition, self._records(partition, 0, end))

    def close(self) -> None:
        """Nothing waits here."""

    def _home(self, partition: TopicPartition) -> TopicPartition:
        return TopicPartition(self._topic, partition.partition)

    def _records(self, partition: TopicPartition, start: int, stop: int) -> Iterator[ChunkRecord]:
        log = self._broker.log(self._home(partition))
        for offset, record in log.read(start):
            if offset >= stop:
                return
            yield ChunkRecord(offset, record.key, record.value, dict(record.headers).get(HEADER))
            self._arrive(CHUNK_READ)

    def _decided(self, partition: TopicPartition, stop: int) -> None:
        if self._broker.log(self._home(partition)).stable_end < stop:
            raise StateUnavailableError("a transaction in the state topic is open")

    def _arrive(self, point: str) -> None:
        self._reached(point)
        if not self._broker.available:
            raise StateUnavailableError("the broker is away")
