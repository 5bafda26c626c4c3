"""Do the brokers keep what transactions promise? Asked once, before the first event rests on it.

Stand-ins for Kafka, old brokers and proxies take every call of a transaction without error and keep none of its
promises. Hence a trial: an aborted record of a snapshot chunk's size, which must not be seen, and a committed
transaction whose offset and metadata must be.

Several workers that start at once share the partition and the group. Another's records and open transactions only delay
the answer, and another's later offset counts as the answer about ours: it came about in the same way.
"""

# ruff: noqa: SLF001  # the client's own error codes are written with a leading underscore

import logging
import os
import time
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka import TopicPartition as ClientPartition

from detector.errors import SourceFailedError, TransactionAbortedError
from detector.io.kafka_config import ConsumerGroup, KafkaConnection
from detector.io.kafka_errors import ON_FETCH, Reaction, error_of, reaction_to, words
from detector.io.kafka_snapshots import state_topic
from detector.io.transaction_errors import CONSEQUENCES, reaction_in_transaction
from detector.state import CHUNK_BYTES_MAX

METADATA: Final = "detector-probe"
"""Begins the text beside every offset that a probe commits."""
REMEDY: Final = "set delivery.mode: at_least_once, or use brokers that keep transactions"
ANSWER_S: Final = 10.0
"""For the aborted record to be decided, and the committed offset to be told."""
UNDECIDED_MAX: Final = 5
"""Trials without a decision before the brokers count as unable. Others' transactions hold a reader back for as long as
they are open: 20 s and the broker's next look for those that are overdue, when their worker has died."""
POLL_S: Final = 0.2

Answer = TypeVar("Answer")

_LOG: Final = structlog.get_logger(__name__)


class TransactionProbe:
    """Tries transactions on partition 0 of the state topic, and offsets in a group of its own.

    ``name`` marks the record. Where the group may not be used by this client its part is left out, with a warning.
    Raises ``SourceFailedError`` with the remedy, and ``TransactionAbortedError`` without an answer for now.
    """

    def __init__(self, connection: KafkaConnection, *, topic: str, group_id: str, name: str) -> None:
        self._connection = connection
        self._topic = topic
        self._group_id = group_id
        self._key = f"probe/{name}".encode()
        self._undecided = 0

    def __call__(self, producer: Producer, timeout_s: float) -> None:
        """Try both promises with an initialised ``producer``."""
        began_s = time.monotonic()
        group = ConsumerGroup(self._group_id, [self._topic], offset_reset="earliest")
        consumer = Consumer(
            {
                **self._connection.consumer_options(group),
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
            },
            logger=logging.getLogger("detector.librdkafka"),
        )
        try:
            # Not through the producer, whose question may create the topic, and not compacted.
            self._done(lambda: state_topic(consumer, self._topic, timeout_s))
            offset = self._abort_a_record(producer, timeout_s)
            self._must_not_see(consumer, offset)
            self._commit_an_offset(producer, consumer, timeout_s)
        finally:
            consumer.close()
        _LOG.info("transactions_probed", topic=self._topic, seconds=round(time.monotonic() - began_s, 3))

    def _abort_a_record(self, producer: Producer, timeout_s: float) -> int:
        """Write a record and take it back; gives its offset."""
        offsets: list[int] = []
        faults: list[KafkaError] = []

        def note(error: KafkaError | None, message: object) -> None:
            if error is not None:
                faults.append(error)
            else:
                offsets.append(message.offset())  # type: ignore[attr-defined]  # the client's own class

        self._done(producer.begin_transaction)
        # Random bytes, since a topic's limit is checked after compression.
        self._done(
            lambda: producer.produce(self._topic, os.urandom(CHUNK_BYTES_MAX), self._key, partition=0, on_delivery=note)
        )
        self._done(lambda: producer.flush(timeout_s))
        if faults and faults[0].code() in CONSEQUENCES:
            faults.insert(0, error_of(producer.begin_transaction) or faults[0])
        self._done(lambda: producer.abort_transaction(timeout_s))
        if faults:
            self._react_to_refused(faults[0])
        if not offsets:
            raise TransactionAbortedError(f"no answer to a record for {self._topic} within {timeout_s:.0f} s")
        return offsets[0]

    def _react_to_refused(self, fault: KafkaError) -> None:
        """Raise what a record asks for that was not taken."""
        if fault.code() == KafkaError._MSG_TIMED_OUT:
            raise TransactionAbortedError(f"no answer to a record for {self._topic}: {words(fault)}")
        if fault.code() != KafkaError.MSG_SIZE_TOO_LARGE and reaction_in_transaction(fault) is not Reaction.STOP:
            self._react(fault)
        raise SourceFailedError(
            f"a record of {CHUNK_BYTES_MAX} bytes could not be written to {self._topic}: {words(fault)}; snapshots "
            "need a state topic (`detector topics create`) that takes such records"
        )

    def _must_not_see(self, consumer: Consumer, offset: int) -> None:
        """Read from the aborted record on; whoever sees it reads events that never happened."""
        consumer.assign([ClientPartition(self._topic, 0, offset)])
        deadline_s = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline_s:
            message = consumer.poll(POLL_S)
            if message is None:
                continue
            error = message.error()
            if error is None and message.offset() == offset:
                raise SourceFailedError(
                    f"the brokers show an aborted record to readers that want committed ones only; {REMEDY}"
                )
            if error is None or (error.code() == KafkaError._PARTITION_EOF and (message.offset() or 0) > offset):
                return
            if reaction_to(error, ON_FETCH) is Reaction.STOP:
                raise SourceFailedError(f"the state topic {self._topic} cannot be read: {words(error)}")
        self._not_decided(f"an aborted record was not decided within {ANSWER_S:.0f} s")

    def _commit_an_offset(self, producer: Producer, consumer: Consumer, timeout_s: float) -> None:
        """Commit an offset with metadata in a transaction, and ask for it."""
        place = ClientPartition(self._topic, 0, 0, f"{METADATA}/{os.urandom(8).hex()}")
        before = self._held(consumer)
        self._done(producer.begin_transaction)
        error = error_of(
            lambda: producer.send_offsets_to_transaction([place], consumer.consumer_group_metadata(), timeout_s)
        )
        if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            self._done(lambda: producer.abort_transaction(timeout_s))
            _LOG.warning("offsets_not_probed", group_id=self._group_id, reason=words(error))
            return
        if error is not None:
            self._react(error)
        self._done(lambda: producer.commit_transaction(timeout_s))
        after = self._held(consumer)
        if after is None:
            _LOG.warning("offsets_not_probed", group_id=self._group_id, reason="the group may not be described")
        elif after == before or not after.startswith(METADATA):
            raise SourceFailedError(f"the brokers do not keep offsets that are committed in transactions; {REMEDY}")

    def _held(self, consumer: Consumer) -> str | None:
        """The text beside the group's offset, once no transaction about it is open; None where we may not know."""
        (held,) = self._done(lambda: consumer.committed([ClientPartition(self._topic, 0)], timeout=ANSWER_S))
        if held.error is not None and held.error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return None
        if held.error is not None:
            self._react(held.error)
        return held.metadata or ""

    def _done(self, call: Callable[[], Answer]) -> Answer:
        """Call the client; raise what its error means."""
        answers: list[Answer] = []
        error = error_of(lambda: answers.append(call()))
        if error is not None:
            self._react(error)
        return answers[0]

    def _react(self, error: KafkaError) -> NoReturn:
        reaction = reaction_in_transaction(error)
        if reaction is Reaction.WAIT:
            raise TransactionAbortedError(f"no answer about transactions: {words(error)}")
        if reaction is Reaction.ABORT:
            self._not_decided(f"a transaction was tried and aborted: {words(error)}")
        raise SourceFailedError(f"exactly-once delivery was tried and failed: {words(error)}; {REMEDY}")

    def _not_decided(self, what: str) -> NoReturn:
        self._undecided += 1
        if self._undecided >= UNDECIDED_MAX:
            raise SourceFailedError(f"{what}, {self._undecided} times; {REMEDY}")
        raise TransactionAbortedError(what)
