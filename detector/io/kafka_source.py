"""A consumer in a group as a :class:`detector.ports.Source`.

The client never chooses an offset by itself (``auto.offset.reset=error``). Partitions without a committed offset begin
where the group's ``offset_reset`` says; a position that the broker does not keep is told to the listener.

Waiting is librdkafka's business: brokers that are away, moving or slow are logged (seldom) and waited out. What only an
operator can cure (ACLs, unknown topics, fatal client errors) raises ``SourceFailedError`` with the broker's words.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import structlog
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as ClientPartition

from detector.batches import RecordBatch
from detector.errors import (
    CommitPostponedError,
    SourceFailedError,
    StateUnavailableError,
    TransactionAbortedError,
    UsageError,
)
from detector.io.kafka_columns import RawMessage, place_of, record_batches
from detector.io.kafka_config import ConsumerGroup, KafkaConnection
from detector.io.kafka_errors import (
    ON_COMMIT,
    ON_FETCH,
    OUT_OF_RANGE,
    REBALANCING,
    Reaction,
    SeldomLog,
    error_of,
    is_fatal,
    reaction_to,
    words,
)
from detector.io.kafka_history import history_of
from detector.io.kafka_joining import REMEDY, JoinCheck
from detector.io.kafka_membership import is_member
from detector.io.kafka_offsets import GroupOffsets
from detector.io.kafka_reading import read_stretch
from detector.ports import (
    NOT_COMMITTED,
    AssignmentListener,
    Committed,
    GroupMember,
    History,
    OffsetRange,
    TopicPartition,
)

COMMITTED_TRIES: Final = 3
"""Far below ``max.poll.interval.ms``; after the last one the worker stops, since it cannot know where to begin."""

BOUNDS_TIMEOUT_S: Final = 5.0
"""One question about a partition's first and last offset."""

COMMIT_PAUSE_S: Final = 0.1
"""Between two tries of a commit; a coordinator that moves takes some hundred milliseconds."""

UNPLACED_OFFSET: Final = 0
"""Where a gated partition rests whose offset is not known yet; nothing is read there."""

_LOG: Final = structlog.get_logger(__name__)


class KafkaSource:
    """Records of the partitions that ``group`` gives to this process.

    Used by one thread. With ``asks_later`` the listener gates what is assigned and asks for what is committed itself
    where one question was not answered. Raises ``UsageError`` when librdkafka refuses an option. The listener is called
    inside :meth:`fetch` and :meth:`close`; records of a partition taken away during a fetch are not returned by it.
    """

    def __init__(self, connection: KafkaConnection, group: ConsumerGroup, *, asks_later: bool = False) -> None:
        options = connection.consumer_options(group)
        self._connection = connection
        self._group = group
        self._incremental = group.protocol == "consumer" or "cooperative" in str(
            options["partition.assignment.strategy"]
        )
        self._joining: JoinCheck | None = None
        self._listener: AssignmentListener | None = None
        self._starts: dict[TopicPartition, int] = {}
        self._taken: set[TopicPartition] = set()
        self._one_topic = False
        self._held = False
        self._gated: set[TopicPartition] = set()
        self._untouched: set[TopicPartition] = set()
        self._unplaced: set[TopicPartition] = set()
        self._asks_later = asks_later
        self._out_of_range: set[TopicPartition] = set()
        self._closed = False
        self._failure: SourceFailedError | None = None
        self._adrift: set[TopicPartition] = set()
        self._seldom = SeldomLog(_LOG, "consumer_error_waited")
        self._offsets = GroupOffsets(options, group, self._seldom)
        try:
            self._consumer = Consumer(
                {**options, "error_cb": self._on_error}, logger=logging.getLogger("detector.librdkafka")
            )
        except KafkaException as error:
            raise UsageError(f"librdkafka refuses the consumer's options: {words(error.args[0])}") from error

    def subscribe(self, listener: AssignmentListener) -> None:
        """Join the group with the first fetch; topics that begin with ``^`` are regular expressions."""
        self._listener = listener
        self._consumer.subscribe(
            list(self._group.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        self._await_assignment()

    def fetch(self, records_max: int, timeout_s: float) -> Sequence[RecordBatch]:
        """Wait for the first record, then take what is there: ``consume`` alone would wait for the last one, too."""
        for place in tuple(self._adrift):
            self._begin_again(place)
        try:
            messages = self._messages(records_max, timeout_s)
        except KafkaException as error:  # a fatal error is raised, and told to nobody
            raise SourceFailedError(f"the consumer cannot go on: {words(error.args[0])}") from None
        if any(map(Message.error, messages)):
            messages = self._without_errors(messages)
        if self._failure is not None:
            raise self._failure
        if self._joining is not None and self._joining.turn():
            self._joining = None
            self._tell().assigned({})
        batches = record_batches(messages, one_topic=self._one_topic)
        if self._untouched:
            self._untouched.difference_update(TopicPartition(batch.topic, batch.partition) for batch in batches)
        return batches

    def _messages(self, records_max: int, timeout_s: float) -> list[RawMessage]:
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        self._taken.clear()
        messages: list[RawMessage] = self._consumer.consume(records_max - 1, 0) if records_max > 1 else []
        # The second call may have served a rebalance that took the first record's partition away.
        if not self._taken or first.error() is not None or place_of(first) not in self._taken:
            messages.insert(0, first)
        return messages

    def hold(self) -> None:
        """Pause what is owned; partitions that come later are paused as they come."""
        if not self._held:
            self._held = True
            self._consumer.pause(self._consumer.assignment())

    def release(self) -> None:
        """Resume what is owned, from the last record that was returned."""
        if self._held:
            self._held = False
            assigned = self._consumer.assignment()
            self._consumer.resume([each for each in assigned if (each.topic, each.partition) not in self._gated])

    def gate(self, partitions: Sequence[TopicPartition]) -> None:
        """Pause these until each is opened."""
        if partitions:
            self._gated.update(partitions)
            self._consumer.pause([ClientPartition(*place) for place in partitions])

    def open(self, partition: TopicPartition, offset: int | None) -> None:
        """Seek while it is still paused, so that no record of before can slip through; then resume."""
        start = self._first_position(partition) if offset is None and partition in self._unplaced else offset
        try:
            if partition in self._out_of_range:
                assert start is not None, "where it stood there is nothing"
                self._restart(partition, start)
            elif start is not None:
                self._consumer.seek(ClientPartition(*partition, start))
            if not self._held:
                self._consumer.resume([ClientPartition(*partition)])
        except KafkaException as error:
            raise StateUnavailableError(f"the consumer cannot seek: {words(error.args[0])}") from error
        self._gated.discard(partition)
        self._unplaced.discard(partition)
        if offset is not None:
            self._untouched.discard(partition)

    def bounds(self, partition: TopicPartition) -> OffsetRange:
        """Ask the broker for the first and the last offset."""
        try:
            marks = self._consumer.get_watermark_offsets(ClientPartition(*partition), timeout=BOUNDS_TIMEOUT_S)
        except KafkaException as error:
            raise StateUnavailableError(f"no answer about the input's offsets: {words(error.args[0])}") from error
        if marks is None:
            raise StateUnavailableError(f"no answer about the input's offsets within {BOUNDS_TIMEOUT_S:.0f} s")
        return OffsetRange(*marks)

    def history(self, partition: TopicPartition, age_ms: int | None) -> History:
        """Ask, and look at the last and the first record, through clients of its own."""
        return history_of(self._connection, self._group, partition, age_ms)

    def records(self, partition: TopicPartition, stretch: OffsetRange, records_max: int) -> Iterator[RecordBatch]:
        """Read through a client of its own."""
        return read_stretch(self._connection, self._group.group_id, partition, stretch, records_max, silence_s=5.0)

    def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit and wait for the answer, trying again until ``commit_timeout_s``.

        Raises ``CommitPostponedError`` when no usable answer came until then or the group is rebalancing, and
        ``SourceFailedError`` when the broker refuses for good.
        """
        wanted = [ClientPartition(*place, each.offset, each.metadata) for place, each in offsets.items()]
        if not wanted:
            return
        deadline_s = time.monotonic() + self._group.commit_timeout_s
        while True:
            error = self._try_commit(wanted)
            if error is None:
                return
            if reaction_to(error, ON_COMMIT) is Reaction.STOP:
                raise SourceFailedError(f"offsets cannot be committed: {words(error)}")
            if error.code() in REBALANCING or time.monotonic() + COMMIT_PAUSE_S > deadline_s:
                raise CommitPostponedError(f"offsets were not committed: {words(error)}")
            time.sleep(COMMIT_PAUSE_S)

    def committed(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        """Ask through a client of its own; the coordinator answers once pending transactions are decided."""
        answers = self._offsets.committed(partitions)
        if answers is None:
            raise StateUnavailableError("no answer about the group's committed offsets")
        return answers

    def member(self) -> GroupMember:
        """Our membership as of now.

        Offsets sent as nobody (no generation) would be taken without question, whoever owns the partitions meanwhile.
        """
        metadata: bytes = self._consumer.consumer_group_metadata()
        if not is_member(metadata):
            raise TransactionAbortedError("no member of the group at this moment")
        return metadata

    def lags(self) -> Mapping[TopicPartition, int]:
        """High watermark of the last fetch less our position, without asking the broker."""
        lags: dict[TopicPartition, int] = {}
        for position in self._consumer.position(self._consumer.assignment()):
            place = TopicPartition(position.topic, position.partition)
            reached = position.offset if position.offset >= 0 else self._starts.get(place, OFFSET_INVALID)
            marks = self._consumer.get_watermark_offsets(position, cached=True)
            if marks is not None and marks[1] >= 0 and reached >= 0 and place not in self._unplaced:
                lags[place] = max(0, marks[1] - reached)
        return lags

    def close(self) -> None:
        """Leave the group; ``revoked`` is called for what is owned. Closing again does nothing."""
        if not self._closed:
            self._closed = True
            self._consumer.close()

    def _on_assign(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        self._joining = None
        places = [TopicPartition(each.topic, each.partition) for each in partitions]
        committed, starts = self._begin(places)
        assigned = [ClientPartition(*place, starts[place]) for place in places]
        if self._incremental:
            consumer.incremental_assign(assigned)
        else:
            consumer.assign(assigned)
        if assigned and (self._held or self._failure is not None):
            consumer.pause(assigned)
        self._starts.update(starts)
        self._one_topic = len({place.topic for place in self._starts}) == 1
        self._tell().assigned(committed)

    def _begin(
        self, places: list[TopicPartition]
    ) -> tuple[Mapping[TopicPartition, Committed | None], dict[TopicPartition, int]]:
        """What is committed for new partitions (None: it is asked for later), and where each begins."""
        tries = 1 if self._asks_later else COMMITTED_TRIES
        committed = self._offsets.committed(places, tries) or {}
        anew = [place for place, each in committed.items() if each == NOT_COMMITTED]
        first = self._offsets.first(anew, tries)
        if first is None or len(committed) < len(places):
            if not self._asks_later:
                # Beginning anywhere would look like a first start, and would be committed as one.
                self._failure = self._failure or SourceFailedError("no answer about the group's committed offsets")
            self._unplaced.update(places)
            return dict.fromkeys(places), dict.fromkeys(places, UNPLACED_OFFSET)
        self._untouched.update(anew)
        if anew and self._group.offset_reset == "error":
            self._failure = self._failure or _nothing_committed(anew)
        return committed, {place: first.get(place, each.offset) for place, each in committed.items()}

    def _first_position(self, place: TopicPartition) -> int:
        """Where the group begins, for a partition of which nothing is committed."""
        if self._group.offset_reset == "error":
            raise _nothing_committed([place])
        first = self._offsets.first([place])
        if first is None:
            raise StateUnavailableError("no answer about the input's offsets")
        self._untouched.add(place)
        return first[place]

    def _on_revoke(self, _consumer: Consumer, partitions: list[ClientPartition]) -> None:
        self._tell().revoked(self._give_up(partitions))

    def _on_lost(self, _consumer: Consumer, partitions: list[ClientPartition]) -> None:
        self._await_assignment()
        self._tell().lost(self._give_up(partitions))

    def _await_assignment(self) -> None:
        """Under the new protocol silence may mean anything; under the classic one every member is told."""
        if self._group.protocol == "consumer":
            self._joining = JoinCheck(self._connection, self._group)

    def _give_up(self, partitions: list[ClientPartition]) -> list[TopicPartition]:
        places = [TopicPartition(each.topic, each.partition) for each in partitions]
        self._taken.update(places)
        for place in places:
            self._starts.pop(place, None)
            for kind in (self._gated, self._untouched, self._unplaced, self._adrift, self._out_of_range):
                kind.discard(place)
        return places

    def _tell(self) -> AssignmentListener:
        assert self._listener is not None, "callbacks come only after subscribe"
        return self._listener

    def _on_error(self, error: KafkaError) -> None:
        """Errors of the client as a whole, served inside poll and consume."""
        if reaction_to(error, ON_FETCH) is Reaction.STOP:
            remedy = f". {REMEDY}" if self._joining is not None and is_fatal(error) else ""
            self._failure = self._failure or SourceFailedError(f"the consumer cannot go on: {words(error)}{remedy}")
        else:
            self._seldom.warning(error)

    def _without_errors(self, messages: list[RawMessage]) -> list[RawMessage]:
        for message in messages:
            error = message.error()
            if error is not None and error.code() in OUT_OF_RANGE:
                self._leave_range(TopicPartition(*place_of(message)), message.offset(), error)
            elif error is not None:
                self._on_error(error)
        return [message for message in messages if message.error() is None]

    def _leave_range(self, place: TopicPartition, offset: int | None, error: KafkaError) -> None:
        """Tell of it, unless nothing was read or committed yet: what is missing then, nobody has asked for."""
        start = self._starts.get(place)
        if start is None:
            return  # taken away meanwhile
        if place in self._unplaced:
            self._out_of_range.add(place)  # it only rested there
            return
        if place in self._untouched:
            self._seldom.warning(error)
            self._begin_again(place)
            return
        self._out_of_range.add(place)
        self.gate([place])
        self._tell().out_of_range(place, start if offset is None else offset)

    def _begin_again(self, place: TopicPartition) -> None:
        """Begin once more where the group begins; without an answer, with the next fetch."""
        self._adrift.add(place)
        with contextlib.suppress(StateUnavailableError):
            self._restart(place, self._first_position(place))
            self._adrift.discard(place)

    def _restart(self, place: TopicPartition, offset: int) -> None:
        """Read from ``offset`` on after an error has ended the partition's fetches, where seeking is refused."""
        anew = ClientPartition(*place, offset)
        if self._incremental:
            self._consumer.incremental_unassign([anew])
            self._consumer.incremental_assign([anew])
            shut = [anew] if self._held or place in self._gated else []
        else:
            assigned = self._consumer.position(self._consumer.assignment())
            for each in assigned:
                if (each.topic, each.partition) == place:
                    each.offset = offset
                elif each.offset < 0:  # nothing was read yet
                    each.offset = self._starts[TopicPartition(each.topic, each.partition)]
            self._consumer.assign(assigned)
            shut = (
                assigned if self._held else [each for each in assigned if (each.topic, each.partition) in self._gated]
            )
        if shut:
            self._consumer.pause(shut)
        self._out_of_range.discard(place)
        self._starts[place] = offset

    def _try_commit(self, wanted: list[ClientPartition]) -> KafkaError | None:
        answers: list[ClientPartition] = []
        error = error_of(lambda: answers.extend(self._consumer.commit(offsets=wanted, asynchronous=False) or ()))
        return error or next((each.error for each in answers if each.error is not None), None)


def _nothing_committed(places: Sequence[TopicPartition]) -> SourceFailedError:
    names = ", ".join(f"{topic}[{partition}]" for topic, partition in places)
    return SourceFailedError(f"nothing was committed for {names}, and kafka.auto_offset_reset is error")
