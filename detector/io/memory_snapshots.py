"""Snapshots in a topic of the broker in memory: the same records as in Kafka, without waiting."""

from collections.abc import Sequence
from typing import Final

from detector.errors import SnapshotNotWrittenError, SourceFailedError, StateUnavailableError
from detector.io.memory import MemoryBroker, StoredRecord
from detector.io.snapshot_records import HEADER, ChunkRecord, checked, chunk_key, complete, header_of, placed
from detector.ports import TopicPartition
from detector.state import Pointer

CLUSTER: Final = "memory"


class MemorySnapshotStore:
    """Snapshots of one group. ``fail_next`` lets the next one break off after its first chunk."""

    def __init__(self, broker: MemoryBroker, *, topic: str, group_id: str) -> None:
        self._broker = broker
        self._topic = topic
        self._group_id = group_id
        self._failing = False

    def prepare(self, partition: TopicPartition) -> str:
        """Id of the cluster; refuses where the state topic is too small or missing."""
        self._answering()
        if self._home(partition) not in self._broker.partitions(self._topic):
            raise SourceFailedError(f"the state topic {self._topic} has no partition {partition.partition}")
        return CLUSTER

    def write(self, partition: TopicPartition, pointer: Pointer, chunks: Sequence[bytes]) -> Pointer:
        """Append the chunks."""
        if not self._broker.available:
            raise SnapshotNotWrittenError("the broker is away")
        header = (HEADER, header_of(pointer))
        offsets = []
        for number, chunk in enumerate(chunks):
            key = chunk_key(self._group_id, partition, pointer.generation, number)
            offsets.append(self._broker.append(self._home(partition), StoredRecord(key, chunk, (header,))))
            if self._failing:
                self._failing = False
                raise SnapshotNotWrittenError("refused on demand")
        found = placed(pointer, offsets)
        if found is None:
            raise SnapshotNotWrittenError("the chunks do not lie in one run")
        return found

    def read(self, partition: TopicPartition, pointer: Pointer) -> bytes:
        """Give the snapshot, checked."""
        self._answering()
        log = self._records(partition)
        offsets = range(pointer.first_offset, pointer.first_offset + pointer.chunk_count)
        records = [log[offset] if offset < len(log) else None for offset in offsets]
        return checked(self._group_id, partition, pointer, records)

    def scan(self, partition: TopicPartition) -> Sequence[Pointer]:
        """Look through everything."""
        self._answering()
        return complete(self._group_id, partition, self._records(partition))

    def close(self) -> None:
        """Nothing waits here."""

    def fail_next(self) -> None:
        """Let the next write fail, as a broker does that goes away in the middle."""
        self._failing = True

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
