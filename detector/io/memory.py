"""A broker in memory: topics, partitions, groups with cooperative rebalances, transactions, and faults on demand.

No thread, no clock, no randomness: what happens is a function of the calls, so that a schedule of rebalances, failures
and stops can be replayed. What reads from it and writes to it passes the same contract tests as the ones for Kafka.
"""

from collections.abc import Callable, Mapping
from typing import Final
from zlib import crc32

from detector.errors import DeliveryFailedError
from detector.io.memory_coordinator import MemoryCoordinator
from detector.io.memory_groups import MemoryGroup
from detector.io.memory_log import MemoryLog, MemoryTransaction, StoredRecord
from detector.ports import Message, TopicPartition

Reached = Callable[[str], None]
"""Told the name of a point inside a call when it is reached: there a test ends the process, or lets others act."""

MESSAGE_BYTES_MAX: Final = 1_048_588
"""What brokers take by default (``message.max.bytes``)."""


def nowhere(_point: str) -> None:
    """Let calls go through."""


class TooLargeError(DeliveryFailedError):
    """A broker refused a message of that size."""


class MemoryBroker:
    """Topics, groups and transactions.

    ``available = False`` plays an outage: nothing is read, acknowledged or committed. ``message_bytes_max`` is what it
    takes as a message's key, value and headers. ``now_ms`` is the time by which the age of records is told.
    """

    def __init__(self) -> None:
        self.available = True
        self.now_ms = 0
        self.message_bytes_max = MESSAGE_BYTES_MAX
        self._logs: dict[TopicPartition, MemoryLog] = {}
        self._partition_counts: dict[str, int] = {}
        self._groups: dict[str, MemoryGroup] = {}
        self._turns: dict[str, int] = {}
        self.coordinator = MemoryCoordinator(self._logs, self._groups)

    def create_topic(self, topic: str, *, partitions: int) -> None:
        """Create an empty topic."""
        assert topic not in self._partition_counts, f"{topic} exists"
        self._partition_counts[topic] = partitions
        self.recreate_topic(topic)

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Every partition of a topic; none if there is no such topic."""
        return [TopicPartition(topic, partition) for partition in range(self._partition_counts.get(topic, 0))]

    def append(self, place: TopicPartition, record: StoredRecord, transaction: MemoryTransaction | None = None) -> int:
        """Write one record to a partition; gives its offset."""
        offset = self._logs[place].append(record, transaction)
        if transaction is not None:
            transaction.records.append((place, offset))
        return offset

    def append_message(
        self, message: Message, transaction: MemoryTransaction | None = None
    ) -> tuple[TopicPartition, int]:
        """Write a message as a producer would: its partition, or by key, or by turns; gives its place and offset.

        Refuses unknown topics, and messages that are too large.
        """
        count = self._partition_counts.get(message.topic)
        if count is None:
            raise DeliveryFailedError(f"a message to {message.topic} was not delivered: unknown topic")
        size = len(message.key or b"") + len(message.value or b"")
        size += sum(len(name) + len(value or b"") for name, value in message.headers)
        if size > self.message_bytes_max:
            raise TooLargeError(f"a message to {message.topic} was not delivered: {size} bytes are too many")
        if message.partition is not None:
            turn = message.partition
        elif message.key is None:
            turn = self._turns.get(message.topic, 0)
            self._turns[message.topic] = turn + 1
        else:
            turn = crc32(message.key)
        place = TopicPartition(message.topic, turn % count)
        return place, self.append(place, StoredRecord(message.key, message.value, message.headers), transaction)

    def log(self, place: TopicPartition) -> MemoryLog:
        """A partition as it lies there."""
        return self._logs[place]

    def records(self, place: TopicPartition, *, committed_only: bool = True) -> list[StoredRecord]:
        """Every record of a partition that a reader sees; ``committed_only=False`` shows it aborted and open ones."""
        return [record for _, record in self._logs[place].read(committed_only=committed_only)]

    def begins(self, place: TopicPartition) -> int:
        """First offset that is kept."""
        return self._logs[place].begin

    def expire_records(self, place: TopicPartition, before: int) -> None:
        """Let retention pass ``before``: what lies below is not read any more."""
        self._logs[place].begin = before

    def recreate_topic(self, topic: str) -> None:
        """Delete a topic's records and begin at offset 0 again; committed offsets stay as they are."""
        self._logs.update({place: MemoryLog() for place in self.partitions(topic)})

    def compact(self, place: TopicPartition, before: int) -> None:
        """Keep the latest record of each key, as a compacted topic does; the others leave gaps.

        Records from ``before`` on are as if not there: brokers compact only what has been written long enough ago, and
        is decided.
        """
        self._logs[place].compact(before)

    def committed(self, group_id: str) -> Mapping[TopicPartition, int]:
        """The committed offsets of a group."""
        return {place: committed.offset for place, committed in self.group(group_id).committed.items()}

    def group(self, group_id: str) -> MemoryGroup:
        """The group of that name; comes into being when first named."""
        if group_id not in self._groups:
            self._groups[group_id] = MemoryGroup(group_id, self.partitions)
        return self._groups[group_id]
