"""A member of a group of the broker in memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import numpy as np

from detector.batches import TIMESTAMP_UNKNOWN, Envelope, RecordBatch
from detector.errors import (
    CommitPostponedError,
    SourceFailedError,
    StateUnavailableError,
    TransactionAbortedError,
)
from detector.io.memory import MemoryBroker
from detector.io.memory_log import StoredRecord
from detector.ports import (
    NOT_COMMITTED,
    AssignmentListener,
    Committed,
    GroupMember,
    History,
    OffsetRange,
    TopicPartition,
)

OFFSET_UNKNOWN: Final = -1
"""Position of a partition without a commit, to be read from its begin: found out with the first read."""


class MemorySource:
    """A member of a group of a :class:`MemoryBroker`; never waits, and sees only what is committed.

    ``expire`` plays what a long silence does in Kafka: the group gives the partitions away and the member hears of it
    later. What is in ``forgets`` is told once, by :meth:`committed`, as never committed: a coordinator that has lost
    its own. With ``asks_later`` partitions come even while a transaction about their offsets is undecided.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        group_id: str,
        topics: Sequence[str],
        offset_reset: Literal["earliest", "latest", "error"] = "earliest",
        asks_later: bool = False,
    ) -> None:
        self.topics = tuple(topics)
        self.forgets: set[TopicPartition] = set()
        self._broker = broker
        self._group = broker.group(group_id)
        self._offset_reset = offset_reset
        self._asks_later = asks_later
        self._listener: AssignmentListener | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._next_turn = 0
        self._told = False
        self._name: GroupMember | None = None
        self._held = False
        self._gated: set[TopicPartition] = set()
        self._unplaced: set[TopicPartition] = set()

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
        if offset is not None or partition in self._unplaced:
            self._positions[partition] = self._first_position(partition) if offset is None else offset
        self._unplaced.discard(partition)
        self._gated.discard(partition)

    def bounds(self, partition: TopicPartition) -> OffsetRange:
        """What the broker keeps."""
        if not self._broker.available:
            raise StateUnavailableError("the broker is away")
        return OffsetRange(self._broker.begins(partition), self._broker.log(partition).end)

    def history(self, partition: TopicPartition, age_ms: int | None) -> History:
        """What lies in the log and is decided."""
        if not self._broker.available:
            raise StateUnavailableError("the broker is away")
        log, now_ms = self._broker.log(partition), self._broker.now_ms
        found = log.read()
        if age_ms is not None:
            young = (row for row, (_, record) in enumerate(found) if record.timestamp_ms >= now_ms - age_ms)
            found = found[next(young, len(found)) :]
        if not found:
            return History(log.stable_end, log.stable_end, now_ms)
        (begin, first), (last, _) = found[0], found[-1]
        return History(begin, last + 1, now_ms if first.timestamp_ms == TIMESTAMP_UNKNOWN else first.timestamp_ms)

    def records(self, partition: TopicPartition, stretch: OffsetRange, records_max: int) -> Iterator[RecordBatch]:
        """What lies in the log and is decided."""
        position = stretch.begin
        while position < stretch.end:
            log = self._broker.log(partition)
            if not self._broker.available or position < log.begin:
                raise StateUnavailableError(f"offset {position} cannot be read")
            found = [each for each in log.read(position, records_max=records_max) if each[0] < stretch.end]
            if not found:
                return
            position = found[-1][0] + 1
            yield _batch_of(partition, found)

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
        """What the group holds, unless a transaction about it is undecided."""
        if not self._broker.available:
            raise StateUnavailableError("the broker is away")
        answer = self._group.answer(partitions)
        if answer is None:
            raise StateUnavailableError("a transaction about the group's offsets is undecided")
        forgotten = self.forgets.intersection(partitions)
        self.forgets -= forgotten
        return {place: NOT_COMMITTED if place in forgotten else each for place, each in answer.items()}

    def member(self) -> GroupMember:
        """Our name in the group, as of when we last followed it."""
        if self._name is None:
            raise TransactionAbortedError("no member of the group at this moment")
        return self._name

    def lags(self) -> Mapping[TopicPartition, int]:
        """Offsets not yet passed, per owned partition."""
        logs = {place: self._broker.log(place) for place in self._positions}
        return {place: log.stable_end - max(self._positions[place], log.begin) for place, log in logs.items()}

    def close(self) -> None:
        """Give up everything and leave."""
        if self._group.is_member(self):
            self._give_up(list(self._positions))
            self._group.leave(self)
        self._name = None

    def expire(self) -> None:
        """Let the group forget this member; the next fetch learns of it, tells ``lost`` and joins again."""
        self._group.leave(self)

    def _follow_group(self) -> None:
        listener = self._listener
        assert listener is not None, "subscribe first"
        if not self._group.is_member(self):
            lost = sorted(self._positions)
            self._forget_places(lost)
            self._name = None
            listener.lost(lost)
            self._told = False
            self._group.join(self)
        self._name = self._group.name_of(self)
        self._give_up(self._group.surplus(self))
        taken = self._group.take_free(self)
        if taken or not self._told:
            self._told = True
            listener.assigned({place: self._place(place) for place in taken})

    def _give_up(self, places: Sequence[TopicPartition]) -> None:
        """``revoked`` may still commit; only after it can others take the partitions."""
        if not places:
            return
        assert self._listener is not None, "only a subscribed source owns partitions"
        self._listener.revoked(sorted(places))
        self._forget_places(places)
        for place in places:
            self._group.give_up(self, place)

    def _forget_places(self, places: Sequence[TopicPartition]) -> None:
        for place in places:
            del self._positions[place]
        for marks in (self._gated, self._unplaced, self.forgets):
            marks.difference_update(places)

    def _place(self, place: TopicPartition) -> Committed | None:
        """Find out where to begin, if that can be known already."""
        answer = self._group.answer([place])
        if answer is None and not self._asks_later:
            raise SourceFailedError("no answer about the group's committed offsets")
        if answer is None:
            self._unplaced.add(place)
            self._positions[place] = OFFSET_UNKNOWN
            return None
        committed = answer[place]
        self._positions[place] = committed.offset if committed.offset >= 0 else self._first_position(place)
        return committed

    def _first_position(self, place: TopicPartition) -> int:
        if self._offset_reset == "error":
            raise SourceFailedError(f"nothing was committed for {place.topic}[{place.partition}]")
        return OFFSET_UNKNOWN if self._offset_reset == "earliest" else self._broker.log(place).end

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
        log = self._broker.log(place)
        found = log.read(self._positions[place], records_max=room)
        if len(found) < room:
            self._positions[place] = max(self._positions[place], log.stable_end)  # past markers and aborted records
        elif found:
            self._positions[place] = found[-1][0] + 1
        if not found:
            return None
        return _batch_of(place, found)


def _batch_of(place: TopicPartition, found: Sequence[tuple[int, StoredRecord]]) -> RecordBatch:
    return RecordBatch(
        topic=place.topic,
        partition=place.partition,
        offsets=np.array([offset for offset, _ in found], dtype=np.int64),
        timestamps_ms=np.array([record.timestamp_ms for _, record in found], dtype=np.int64),
        values=[record.value for _, record in found],
        envelope=lambda row: Envelope(found[row][1].key, found[row][1].headers),
    )
