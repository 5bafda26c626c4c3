"""A broker in memory: topics, partitions, groups with cooperative rebalances, commits, and faults on demand.

No thread, no clock, no randomness: what happens is a function of the calls, so that a schedule of rebalances, failures
and stops can be replayed. ``MemorySource`` and ``MemorySink`` pass the same contract tests as the ones for Kafka.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple
from zlib import crc32

import numpy as np

from detector.batches import TIMESTAMP_UNKNOWN, Envelope, RecordBatch
from detector.errors import (
    CommitPostponedError,
    DeliveryFailedError,
    SourceFailedError,
    StateUnavailableError,
    TransactionAbortedError,
)
from detector.ports import (
    NOT_COMMITTED,
    AssignmentListener,
    Committed,
    GroupMember,
    Message,
    OffsetRange,
    TopicPartition,
)

OFFSET_UNKNOWN: Final = -1
"""Position of a partition without a commit, to be read from its begin: found out with the first read."""


class StoredRecord(NamedTuple):
    """One record in a partition's log; its offset is its index."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = TIMESTAMP_UNKNOWN


class MemoryBroker:
    """Topics and groups. ``available = False`` plays an outage: nothing is read, acknowledged or committed."""

    def __init__(self) -> None:
        self.available = True
        self._logs: dict[TopicPartition, list[StoredRecord]] = {}
        self._partition_counts: dict[str, int] = {}
        self._groups: dict[str, _Group] = {}
        self._turns: dict[str, int] = {}
        self._begins: dict[TopicPartition, int] = {}

    def create_topic(self, topic: str, *, partitions: int) -> None:
        """Create an empty topic."""
        assert topic not in self._partition_counts, f"{topic} exists"
        self._partition_counts[topic] = partitions
        self.recreate_topic(topic)

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Every partition of a topic; none if there is no such topic."""
        return [TopicPartition(topic, partition) for partition in range(self._partition_counts.get(topic, 0))]

    def append(self, place: TopicPartition, record: StoredRecord) -> int:
        """Write one record to a partition; gives its offset."""
        log = self._logs[place]
        log.append(record)
        return len(log) - 1

    def append_message(self, message: Message) -> tuple[TopicPartition, int]:
        """Write a message as a producer would: its partition, or by key, or by turns; gives its place and offset.

        Refuses unknown topics.
        """
        count = self._partition_counts.get(message.topic)
        if count is None:
            raise DeliveryFailedError(f"a message to {message.topic} was not delivered: unknown topic")
        if message.partition is not None:
            turn = message.partition
        elif message.key is None:
            turn = self._turns.get(message.topic, 0)
            self._turns[message.topic] = turn + 1
        else:
            turn = crc32(message.key)
        place = TopicPartition(message.topic, turn % count)
        return place, self.append(place, StoredRecord(message.key, message.value, message.headers))

    def records(self, place: TopicPartition) -> Sequence[StoredRecord]:
        """Everything in a partition."""
        return self._logs[place]

    def begins(self, place: TopicPartition) -> int:
        """First offset that is kept."""
        return self._begins[place]

    def expire_records(self, place: TopicPartition, before: int) -> None:
        """Let retention pass ``before``: what lies below is not read any more."""
        self._begins[place] = before

    def recreate_topic(self, topic: str) -> None:
        """Delete a topic's records and begin at offset 0 again; committed offsets stay as they are."""
        self._logs |= {place: [] for place in self.partitions(topic)}
        self._begins |= dict.fromkeys(self.partitions(topic), 0)

    def compact(self, place: TopicPartition, before: int) -> None:
        """Keep the latest record of each key, as a compacted topic does; the others leave gaps.

        Records from ``before`` on are as if not there: brokers compact only what has been written long enough ago.
        """
        log = self._logs[place]
        latest = {record.key: offset for offset, record in enumerate(log[:before])}
        for offset, record in enumerate(log[:before]):
            if latest[record.key] != offset:
                log[offset] = StoredRecord(None, None)

    def committed(self, group_id: str) -> Mapping[TopicPartition, int]:
        """The committed offsets of a group."""
        return {place: committed.offset for place, committed in self.group(group_id).committed.items()}

    def group(self, group_id: str) -> "_Group":
        """The group of that name; comes into being when first named."""
        return self._groups.setdefault(group_id, _Group(self))


class _Group:
    """One consumer group: members in the order in which they joined, and who shall own and who owns which partition.

    A rebalance only changes what each member *shall* own. Members follow in their own calls: first they give up what is
    no longer theirs, and only then can another member take it, so that a partition never has two owners at once.
    """

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self.committed: dict[TopicPartition, Committed] = {}
        self.owners: dict[TopicPartition, MemorySource] = {}
        self._targets: dict[TopicPartition, MemorySource] = {}
        self._members: list[MemorySource] = []
        self.generation = 0

    def join(self, member: "MemorySource") -> None:
        """Add a member and rebalance."""
        self._members.append(member)
        self._rebalance()

    def leave(self, member: "MemorySource") -> None:
        """Remove a member, free what it owned, and rebalance."""
        self._members.remove(member)
        self.owners = {place: owner for place, owner in self.owners.items() if owner is not member}
        self._rebalance()

    def is_member(self, member: "MemorySource") -> bool:
        """Whether the group still knows ``member``."""
        return member in self._members

    def surplus(self, member: "MemorySource") -> list[TopicPartition]:
        """What ``member`` owns and shall give up."""
        return [
            place for place, owner in self.owners.items() if owner is member and self._targets.get(place) is not member
        ]

    def take_free(self, member: "MemorySource") -> list[TopicPartition]:
        """Let ``member`` own what it shall own and nobody holds."""
        free = [place for place, target in self._targets.items() if target is member and place not in self.owners]
        self.owners.update(dict.fromkeys(free, member))
        return free

    def _rebalance(self) -> None:
        """Sticky and even: everybody keeps up to a fair share, the rest goes to those who have least."""
        self.generation += 1
        topics = sorted({topic for member in self._members for topic in member.topics})
        places = [place for topic in topics for place in self._broker.partitions(topic)]
        shares: dict[MemorySource, list[TopicPartition]] = {member: [] for member in self._members}
        share_max = -(-len(places) // len(shares)) if shares else 0
        homeless = []
        for place in places:
            owner = self.owners.get(place)
            if owner in shares and place.topic in owner.topics and len(shares[owner]) < share_max:
                shares[owner].append(place)
            else:
                homeless.append(place)
        for place in homeless:
            readers = [member for member in self._members if place.topic in member.topics]
            shares[min(readers, key=lambda member: len(shares[member]))].append(place)
        self._targets = {place: member for member, places in shares.items() for place in places}


class MemorySource:
    """A member of a group of a :class:`MemoryBroker`; never waits.

    ``expire`` plays what a long silence does in Kafka: the group gives the partitions away and the member hears of it
    later.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        group_id: str,
        topics: Sequence[str],
        offset_reset: Literal["earliest", "latest", "error"] = "earliest",
    ) -> None:
        self.topics = tuple(topics)
        self._broker = broker
        self._group = broker.group(group_id)
        self._offset_reset = offset_reset
        self._listener: AssignmentListener | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._next_turn = 0
        self._told = False
        self._held = False
        self._gated: set[TopicPartition] = set()

    def subscribe(self, listener: AssignmentListener) -> None:
        """Join the group; raises ``SourceFailedError`` for a topic that does not exist."""
        for topic in self.topics:
            if not self._broker.partitions(topic):
                raise SourceFailedError(f"the consumer cannot go on: unknown topic {topic}")
        self._listener = listener
        self._group.join(self)

    def fetch(self, records_max: int, timeout_s: float) -> Sequence[RecordBatch]:
        """Follow the group, then read the owned partitions by turns until ``records_max`` is reached."""
        del timeout_s  # time does not pass in here
        if self._broker.available:
            self._follow_group()
        places = sorted(self._positions.keys() - self._gated)
        if not self._broker.available or self._held or not places:
            return []
        batches: list[RecordBatch] = []
        room = records_max
        first = self._next_turn % len(places)
        self._next_turn += 1
        for place in places[first:] + places[:first]:
            if not room:
                break
            batch = None if self._leaves_range(place) else self._read(place, room)
            if batch is not None:
                room -= len(batch)
                batches.append(batch)
        return batches

    def hold(self) -> None:
        """Return no records until :meth:`release`; the group is followed all the same."""
        self._held = True

    def release(self) -> None:
        """Return records again."""
        self._held = False

    def gate(self, partitions: Sequence[TopicPartition]) -> None:
        """Return no records of these until each is opened."""
        self._gated.update(partitions)

    def open(self, partition: TopicPartition, offset: int | None) -> None:
        """Return records of it again."""
        if not self._broker.available:
            raise StateUnavailableError("the broker is away")
        if offset is not None:
            self._positions[partition] = offset
        self._gated.discard(partition)

    def bounds(self, partition: TopicPartition) -> OffsetRange:
        """What the broker keeps."""
        if not self._broker.available:
            raise StateUnavailableError("the broker is away")
        return OffsetRange(self._broker.begins(partition), len(self._broker.records(partition)))

    def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit; refused, as by Kafka, when the group does not know us any more."""
        if not offsets:
            return
        if not self._broker.available:
            raise CommitPostponedError("offsets were not committed: the broker is away")
        if not self._group.is_member(self):
            raise CommitPostponedError("offsets were not committed: unknown member")
        self._group.committed.update(offsets)

    def committed(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        """What the group holds."""
        if not self._broker.available:
            raise StateUnavailableError("the broker is away")
        return {place: self._group.committed.get(place, NOT_COMMITTED) for place in partitions}

    def member(self) -> GroupMember:
        """Our name in the group."""
        if not self._group.is_member(self):
            raise TransactionAbortedError("no member of the group at this moment")
        return b"%d" % id(self)

    def lags(self) -> Mapping[TopicPartition, int]:
        """Records not yet returned, per owned partition."""
        starts = {place: max(position, self._broker.begins(place)) for place, position in self._positions.items()}
        return {place: len(self._broker.records(place)) - start for place, start in starts.items()}

    def close(self) -> None:
        """Give up everything and leave."""
        if self._group.is_member(self):
            self._give_up(list(self._positions))
            self._group.leave(self)

    def expire(self) -> None:
        """Let the group forget this member; the next fetch learns of it, tells ``lost`` and joins again."""
        self._group.leave(self)

    def _follow_group(self) -> None:
        listener = self._listener
        assert listener is not None, "subscribe first"
        if not self._group.is_member(self):
            lost = sorted(self._positions)
            self._positions.clear()
            self._gated.clear()
            listener.lost(lost)
            self._told = False
            self._group.join(self)
        self._give_up(self._group.surplus(self))
        taken = self._group.take_free(self)
        if taken or not self._told:
            self._told = True
            self._positions.update({place: self._start(place) for place in taken})
            listener.assigned({place: self._group.committed.get(place, NOT_COMMITTED) for place in taken})

    def _give_up(self, places: Sequence[TopicPartition]) -> None:
        """``revoked`` may still commit; only after it can others take the partitions."""
        if not places:
            return
        assert self._listener is not None, "only a subscribed source owns partitions"
        self._listener.revoked(sorted(places))
        for place in places:
            del self._positions[place]
            self._gated.discard(place)
            del self._group.owners[place]

    def _start(self, place: TopicPartition) -> int:
        committed = self._group.committed.get(place)
        if committed is not None:
            return committed.offset
        if self._offset_reset == "error":
            raise SourceFailedError(f"nothing was committed for {place.topic}[{place.partition}]")
        return OFFSET_UNKNOWN if self._offset_reset == "earliest" else len(self._broker.records(place))

    def _leaves_range(self, place: TopicPartition) -> bool:
        """Tell of a position that is not kept."""
        position, bounds = self._positions[place], self.bounds(place)
        if position == OFFSET_UNKNOWN:
            self._positions[place] = position = bounds.begin
        if bounds.begin <= position <= bounds.end:
            return False
        assert self._listener is not None, "only a subscribed source owns partitions"
        self._gated.add(place)
        self._listener.out_of_range(place, position)
        return True

    def _read(self, place: TopicPartition, room: int) -> RecordBatch | None:
        start = self._positions[place]
        records = self._broker.records(place)[start : start + room]
        if not records:
            return None
        self._positions[place] = start + len(records)
        return RecordBatch(
            topic=place.topic,
            partition=place.partition,
            offsets=np.arange(start, start + len(records), dtype=np.int64),
            timestamps_ms=np.array([record.timestamp_ms for record in records], dtype=np.int64),
            values=[record.value for record in records],
            envelope=lambda row: Envelope(records[row].key, records[row].headers),
        )
