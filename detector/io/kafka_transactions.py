"""A transactional producer as a :class:`detector.ports.TransactionalSink`.

One producer per process, with a transactional id that no other living process has. What it sends becomes visible to
``read_committed`` readers together with the group's offsets, in one commit, or never.

1. ``begin`` initialises a producer. The coordinator ends whatever an earlier one with our id left open, and fences it.
2. The first message opens a transaction; ``commit`` adds the offsets and commits.
3. What fails is classified in :mod:`detector.io.kafka_errors`. A commit without an answer is repeated until a deadline;
   after that its outcome is unknown, and only a new process can read it.
4. After any abort the producer is thrown away: a late answer about the old transaction must not meet the next one
   (librdkafka speaks the protocol of before KIP-890).

Source: KIP-98 (transactions), KIP-447 (one producer per process), librdkafka INTRODUCTION.md, "Transactional producer".
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as ClientPartition

from detector.errors import DeliveryFailedError, OutcomeUnknownError, TransactionAbortedError, UsageError
from detector.io.kafka_columns import RawMessage
from detector.io.kafka_config import TRANSACTION_TIMEOUT_S, KafkaConnection
from detector.io.kafka_errors import (
    Reaction,
    SeldomLog,
    reaction_in_transaction,
    reaction_to_undelivered,
    words,
)
from detector.io.kafka_sink import ROOM_POLL_S, ROOM_TIMEOUT_S, queue_message, receipt_of
from detector.ports import Committed, GroupMember, Message, ReceiptListener, TopicPartition

CALL_TIMEOUT_S: Final = 5.0
"""One call of the client; it is repeated until the deadline of what it belongs to."""
COMMIT_TIMEOUT_S: Final = 15.0
"""A commit with all repetitions; below the transaction's own time-out, after which the broker aborts it."""
ABORT_TIMEOUT_S: Final = 2.0
"""A courtesy to readers, who otherwise wait until the next producer with our id, or the time-out, ends it."""
PAUSE_S: Final = 0.05
"""Between two tries of a call that failed at once."""

Probe = Callable[[Producer, float], None]
"""Given an initialised producer and a time limit, raises ``StopWorkerError`` where transactions do not hold."""

_LOG: Final = structlog.get_logger(__name__)


class _Life:
    """One producer from its creation to its end; reports of an ended one reach nobody."""

    def __init__(self, options: Mapping[str, object], on_error: Callable[["_Life", KafkaError], None]) -> None:
        self.pending = 0
        self.initialised = False
        self.open = False
        self.fatal = False
        self.trouble: Exception | None = None
        self.producer = Producer(
            {**options, "error_cb": partial(on_error, self)}, logger=logging.getLogger("detector.librdkafka")
        )

    def fail(self, error: Exception) -> None:
        """Remember what went wrong first; a reason to stop is stronger than one to abort."""
        if self.trouble is None or (
            isinstance(self.trouble, TransactionAbortedError) and not isinstance(error, TransactionAbortedError)
        ):
            self.trouble = error


class KafkaTransactionalSink:
    """Messages out, in transactions. Used by one thread. Raises ``UsageError`` when librdkafka refuses an option.

    ``probe`` runs once, with the first producer. The broker aborts a transaction that is open for ``timeout_s``; a
    commit with all its repetitions gets ``commit_timeout_s``, which is less.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        transactional_id: str,
        probe: Probe | None = None,
        timeout_s: float = TRANSACTION_TIMEOUT_S,
        commit_timeout_s: float = COMMIT_TIMEOUT_S,
        room_timeout_s: float = ROOM_TIMEOUT_S,
    ) -> None:
        self._options = connection.transaction_options(transactional_id, timeout_s)
        self._commit_timeout_s = commit_timeout_s
        self._transactional_id = transactional_id
        self._room_timeout_s = room_timeout_s
        self._probe = probe
        self._seldom = SeldomLog(_LOG, "producer_error_waited")
        self._life: _Life | None = self._new_life()

    def begin(self, timeout_s: float) -> bool:
        """Initialise a producer; the probe runs with the first one."""
        life = self._life = self._life or self._new_life()
        if life.initialised:
            return True
        error = _error_of(lambda: life.producer.init_transactions(timeout_s))
        if error is not None:
            if reaction_in_transaction(error) is Reaction.WAIT:
                self._seldom.warning(error)
                return False
            if reaction_in_transaction(error) is Reaction.ABORT:
                self._seldom.warning(error)
                self._end(life)
                return False
            raise DeliveryFailedError(f"the transactional id {self._transactional_id} cannot be used: {words(error)}")
        if self._probe is not None:
            self._probe(life.producer, CALL_TIMEOUT_S)
            self._probe = None
            self._end(life)  # it has aborted a transaction
            return False
        life.initialised = True
        return True

    def send(self, message: Message, on_receipt: ReceiptListener | None = None) -> None:
        """Queue one message, opening a transaction if none is open; waits only when the queue is full."""
        life = self._current()
        self._open(life)
        deadline_s: float | None = None
        while not self._queue(life, message, on_receipt):
            moment_s = time.monotonic()
            deadline_s = deadline_s or moment_s + self._room_timeout_s
            if moment_s > deadline_s:
                raise TransactionAbortedError(
                    f"no room in the send queue for {self._room_timeout_s:.0f} s ({life.pending} messages wait)"
                )
            self.poll(ROOM_POLL_S)

    def pending(self) -> int:
        """Messages of the open transaction whose delivery report has not been served."""
        return 0 if self._life is None else self._life.pending

    def poll(self, timeout_s: float) -> None:
        """Serve delivery reports."""
        if self._life is not None:
            self._life.producer.poll(timeout_s)
            self._raise_trouble(self._life)

    def flush(self, timeout_s: float) -> None:
        """Send what lingers and wait for every report."""
        life = self._life
        if life is None:
            return
        life.producer.flush(timeout_s)
        self._raise_trouble(life)
        if life.pending:
            raise TransactionAbortedError(f"{life.pending} messages were not acknowledged within {timeout_s:.1f} s")

    def commit(self, offsets: Mapping[TopicPartition, Committed], member: GroupMember) -> None:
        """Send the offsets, then commit; both are repeated as long as the client asks for it, until the deadline."""
        life = self._current()
        self._open(life)
        positions = [ClientPartition(*place, each.offset, each.metadata) for place, each in offsets.items()]
        deadline_s = time.monotonic() + self._commit_timeout_s
        if positions:
            error = self._repeated(
                life,
                lambda: life.producer.send_offsets_to_transaction(positions, member, CALL_TIMEOUT_S),
                deadline_s,
            )
            if error is not None:  # nothing can have been committed yet
                raise TransactionAbortedError(f"no answer to the offsets of a transaction: {words(error)}")
        error = self._repeated(life, lambda: life.producer.commit_transaction(CALL_TIMEOUT_S), deadline_s)
        if error is not None:
            raise OutcomeUnknownError(f"no answer to a commit within {self._commit_timeout_s:.1f} s: {words(error)}")
        life.open = False

    def abort(self) -> None:
        """Abort what is open and throw the producer away; its id is taken again by the next one."""
        if self._life is not None:
            self._end(self._life)

    def close(self) -> None:
        """Abort what is open; the client itself goes with the last reference."""
        self.abort()

    def _new_life(self) -> _Life:
        try:
            return _Life(self._options, self._on_error)
        except KafkaException as error:
            raise UsageError(f"librdkafka refuses the producer's options: {words(error.args[0])}") from error

    def _current(self) -> _Life:
        life = self._life
        assert life is not None, "begin comes first"
        assert life.initialised, "begin comes first"
        self._raise_trouble(life)
        return life

    def _open(self, life: _Life) -> None:
        if not life.open:
            error = _error_of(life.producer.begin_transaction)
            if error is not None:
                self._react(life, error)
                raise TransactionAbortedError(f"no transaction could be begun: {words(error)}")
            life.open = True

    def _queue(self, life: _Life, message: Message, on_receipt: ReceiptListener | None) -> bool:
        """Hand over to librdkafka; false when its queue is full."""
        try:
            queued = queue_message(life.producer, message, partial(self._on_delivery, life, on_receipt))
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            self._undelivered(life, error, message.topic)
            self._raise_trouble(life)
            raise AssertionError("a refused message is trouble") from exception
        life.pending += queued
        return queued

    def _repeated(self, life: _Life, call: Callable[[], object], deadline_s: float) -> KafkaError | None:
        """Call until it is done; gives the error of the last try when the deadline passes before."""
        while True:
            error = _error_of(call)
            if error is None:
                return None
            self._react(life, error)
            if time.monotonic() + PAUSE_S > deadline_s:
                return error
            time.sleep(PAUSE_S)

    def _react(self, life: _Life, error: KafkaError) -> None:
        """Raise what ``error`` asks for; returns where the same call may be tried again."""
        self._note(life, reaction_in_transaction(error), error, None)
        self._raise_trouble(life)

    def _undelivered(self, life: _Life, error: KafkaError, topic: str | None) -> None:
        self._note(life, reaction_to_undelivered(error), error, topic)

    @staticmethod
    def _note(life: _Life, reaction: Reaction, error: KafkaError, topic: str | None) -> None:
        life.fatal = life.fatal or error.fatal()
        what = "the transaction failed" if topic is None else f"a message to {topic} was not delivered"
        if reaction is Reaction.STOP:
            life.fail(DeliveryFailedError(f"{what}: {words(error)}"))
        elif reaction is Reaction.ABORT:
            too_large = topic if error.code() == KafkaError.MSG_SIZE_TOO_LARGE else None
            life.fail(TransactionAbortedError(f"{what}: {words(error)}", too_large=too_large))

    def _on_delivery(
        self, life: _Life, on_receipt: ReceiptListener | None, error: KafkaError | None, message: RawMessage
    ) -> None:
        if life is not self._life:
            return
        life.pending -= 1
        if error is not None:
            self._undelivered(life, error, message.topic())
        if on_receipt is not None:
            on_receipt(receipt_of(error, message))

    def _on_error(self, life: _Life, error: KafkaError) -> None:
        """Errors of the client as a whole, served inside poll and flush."""
        if error.fatal():
            self._note(life, reaction_in_transaction(error), error, None)
        else:
            self._seldom.warning(error)

    @staticmethod
    def _raise_trouble(life: _Life) -> None:
        if life.trouble is not None:
            raise life.trouble

    def _end(self, life: _Life) -> None:
        """Abort, where that is still possible, and forget the producer; nothing waits longer than a moment."""
        self._life = None
        if life.open and not life.fatal:
            deadline_s = time.monotonic() + ABORT_TIMEOUT_S
            while time.monotonic() < deadline_s:
                error = _error_of(partial(life.producer.abort_transaction, ABORT_TIMEOUT_S))
                if error is None or error.fatal() or not error.retriable():
                    break
        life.producer.purge()
        life.producer.flush(0)


def _error_of(call: Callable[[], object]) -> KafkaError | None:
    """Call; gives the error that the client raised, if it did."""
    try:
        call()
    except KafkaException as exception:
        error = exception.args[0]
        assert isinstance(error, KafkaError)
        return error
    return None
