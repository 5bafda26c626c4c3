"""Snapshots in a topic of the broker in memory: the same records as in Kafka, without waiting."""

from collections.abc import Sequence
from typing import Final

from detector.errors import SourceFailedError, StateUnavailableError
from detector.io.memory import MemoryBroker
from detector.io.snapshot_records import HEADER, ChunkRecord, checked, complete, messages_of
from detector.ports import Message, TopicPartition
from detector.state import Pointer

CLUSTER: Final = "memory"


class MemorySnapshotStore:
    """Snapshots of one group."""

    def __init__(self, broker: MemoryBroker, *, topic: str, group_id: str) -> None:
        self._broker = broker
        self._topic = topic
        self._group_id = group_id

    def prepare(self, partition: TopicPartition) -> str:
        """Id of the cluster; refuses where the state topic is too small or missing."""
        self._answering()
        if self._home(partition) not in self._broker.partitions(self._topic):
            raise SourceFailedError(f"the state topic {self._topic} has no partition {partition.partition}")
        return CLUSTER

    def messages(self, partition: TopicPartition, pointer: Pointer, chunks: Sequence[bytes]) -> Sequence[Message]:
        """One message per chunk."""
        return messages_of(self._topic, self._group_id, partition, pointer, chunks)

    def read(self, partition: TopicPartition, pointer: Pointer) -> bytes:
        """Give the snapshot, checked."""
        self._answering()
        records = self._records(partition)[pointer.first_offset : pointer.last_offset + 1]
        return checked(self._group_id, partition, pointer, records)

    def scan(self, partition: TopicPartition) -> Sequence[Pointer]:
        """Look through everything."""
        self._answering()
        return complete(self._group_id, partition, self._records(partition))

    def close(self) -> None:
        """Nothing waits here."""

    def _home(self, partition: TopicPartition) -> TopicPartition:
        return TopicPartition(self._topic, partition.partition)

    def _records(self, partition: TopicPartition) -> list[ChunkRecord]:
        return [
            ChunkRecord(offset, record.key, record.value, dict(record.headers).get(HEADER))
            for offset, record in enumerate(self._broker.records(self._home(partition)))
        ]

    def _answering(self) -> None:
        if not self._broker.available:
            raise StateUnavailableError("the broker is away")
