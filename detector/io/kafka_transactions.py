"""A transactional producer as a :class:`detector.ports.TransactionalSink`.

One producer per process, with a transactional id that no other living process has. What it sends becomes visible to
``read_committed`` readers together with the group's offsets, in one commit, or never.

1. ``begin`` initialises a producer. The coordinator ends whatever an earlier one with our id left open, and fences it.
2. The first message opens a transaction; ``commit`` adds the offsets and commits.
3. What fails is classified in :mod:`detector.io.transaction_errors`. A commit without an answer is repeated until a
   deadline; after that its outcome is unknown, and only a new process can read it.
4. After any abort the producer is thrown away: a late answer about the old transaction must not meet the next one
   (librdkafka speaks the protocol of before KIP-890).
5. After a reason to stop no producer is made any more: who was fenced must not fence in return.

Source: KIP-98 (transactions), KIP-447 (one producer per process), librdkafka INTRODUCTION.md, "Transactional producer".
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NoReturn

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as ClientPartition

from detector.errors import (
    DeliveryFailedError,
    OutcomeUnknownError,
    StopWorkerError,
    TransactionAbortedError,
    UsageError,
)
from detector.io.kafka_columns import RawMessage
from detector.io.kafka_config import TRANSACTION_TIMEOUT_S, KafkaConnection
from detector.io.kafka_errors import REFUSED, Reaction, SeldomLog, error_of, words
from detector.io.kafka_sink import ROOM_POLL_S, ROOM_TIMEOUT_S, queue_message, receipt_of
from detector.io.transaction_errors import (
    CONSEQUENCES,
    reaction_in_transaction,
    reaction_to_commit,
    reaction_to_undelivered,
)
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
"""Given an initialised producer and a time limit, raises ``StopWorkerError`` where transactions do not hold, and
``TransactionAbortedError`` where that could not be found out at this moment."""

_LOG: Final = structlog.get_logger(__name__)


class _Tally:
    """What the reports of one producer have told.

    Held by the callbacks instead of the producer: a report that never comes would hold the producer for ever.
    """

    def __init__(self) -> None:
        self.ended = False
        self.pending = 0
        self.first_lost: tuple[KafkaError, str] | None = None
        self.refused: KafkaError | None = None

    def on_delivery(self, on_receipt: ReceiptListener | None, error: KafkaError | None, message: RawMessage) -> None:
        """Count one report; those of an ended producer reach nobody."""
        if self.ended:
            return
        self.pending -= 1
        if error is not None:
            self.lose(error, str(message.topic()))
        if on_receipt is not None:
            on_receipt(receipt_of(error, message))

    def lose(self, error: KafkaError, topic: str) -> None:
        """Remember the first message that failed; one that says why is better than one that was only swept along."""
        if self.first_lost is None or (self.first_lost[0].code() in CONSEQUENCES and error.code() not in CONSEQUENCES):
            self.first_lost = (error, topic)

    def on_error(self, seldom: SeldomLog, error: KafkaError) -> None:
        """Errors of the client as a whole; a fatal one does not come here but is raised."""
        if error.code() in REFUSED:
            self.refused = self.refused or error
        elif not self.ended:
            seldom.warning(error)


class _Life:
    """One producer from its creation to its end."""

    def __init__(self, options: Mapping[str, object], seldom: SeldomLog) -> None:
        self.tally = _Tally()
        self.initialised = False
        self.open = False
        self.abortable = True
        self.trouble: TransactionAbortedError | StopWorkerError | None = None
        self.producer = Producer(
            {**options, "error_cb": partial(self.tally.on_error, seldom)},
            logger=logging.getLogger("detector.librdkafka"),
        )

    def cause_of(self, error: KafkaError) -> KafkaError:
        """What lies behind an error that only follows from another: the client answers with it in a failed state."""
        if error.code() not in CONSEQUENCES:
            return error
        cause = error_of(self.producer.begin_transaction)
        return error if cause is None or cause.code() in CONSEQUENCES else cause

    def end(self, abort_timeout_s: float) -> None:
        """Abort, where that is possible, and let go of everything; nothing waits longer than a moment."""
        self.tally.ended = True
        self.trouble = None  # its traceback leads back here
        if self.open and self.abortable:
            deadline_s = time.monotonic() + abort_timeout_s
            while True:
                error = error_of(partial(self.producer.abort_transaction, max(0.0, deadline_s - time.monotonic())))
                if error is None or error.fatal() or not error.retriable() or time.monotonic() + PAUSE_S > deadline_s:
                    break
                time.sleep(PAUSE_S)
        error_of(self.producer.purge)
        error_of(partial(self.producer.flush, PAUSE_S))


class KafkaTransactionalSink:
    """Messages out, in transactions. Used by one thread. Raises ``UsageError`` when librdkafka refuses an option.

    ``probe`` runs with the first producer, until it has come to an end once. The broker aborts a transaction that is
    open for ``timeout_s``; a commit with all its repetitions gets ``commit_timeout_s``, which is less.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        transactional_id: str,
        probe: Probe | None = None,
        timeout_s: float = TRANSACTION_TIMEOUT_S,
        room_timeout_s: float = ROOM_TIMEOUT_S,
        call_timeout_s: float = CALL_TIMEOUT_S,
        commit_timeout_s: float = COMMIT_TIMEOUT_S,
        abort_timeout_s: float = ABORT_TIMEOUT_S,
    ) -> None:
        self._options = connection.transaction_options(transactional_id, timeout_s)
        self._transactional_id = transactional_id
        self._room_timeout_s = room_timeout_s
        self._call_timeout_s = call_timeout_s
        self._commit_timeout_s = commit_timeout_s
        self._abort_timeout_s = abort_timeout_s
        self._probe = probe
        self._seldom = SeldomLog(_LOG, "producer_error_waited")
        self._stopped: StopWorkerError | None = None
        self._life: _Life | None = self._new_life()

    def begin(self, timeout_s: float) -> bool:
        """Initialise a producer; the probe runs with the first one."""
        if self._stopped is not None:
            raise self._stopped
        life = self._life = self._life or self._new_life()
        if life.initialised:
            return True
        error = error_of(partial(life.producer.init_transactions, timeout_s))
        if error is not None:
            self._not_initialised(life, error)
            return False
        if self._probe is not None:
            self._run_probe(self._probe, life)
            return False
        life.initialised = True
        return True

    def _not_initialised(self, life: _Life, error: KafkaError) -> None:
        """Wait, in the client, for brokers that are away; raise what waiting cannot cure."""
        fatal = error_of(partial(life.producer.poll, 0))
        error = life.cause_of(life.tally.refused or fatal or error)
        if reaction_in_transaction(error) is not Reaction.WAIT:
            self._stop(
                DeliveryFailedError(f"the transactional id {self._transactional_id} cannot be used: {words(error)}")
            )
        self._seldom.warning(error)

    def _run_probe(self, probe: Probe, life: _Life) -> None:
        """Run it; the producer has aborted a transaction and is thrown away, whatever comes out."""
        try:
            probe(life.producer, self._call_timeout_s)
            self._probe = None
        except TransactionAbortedError as error:
            _LOG.warning("transactions_not_probed", reason=str(error))
        except StopWorkerError as error:
            self._stop(error)
        finally:
            self._end(life)

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
                    f"no room in the send queue for {self._room_timeout_s:.0f} s ({life.tally.pending} messages wait)"
                )
            self.poll(ROOM_POLL_S)

    def pending(self) -> int:
        """Messages of the open transaction whose delivery report has not been served."""
        return 0 if self._life is None else self._life.tally.pending

    def poll(self, timeout_s: float) -> None:
        """Serve delivery reports."""
        if self._life is not None:
            self._serve(self._life, partial(self._life.producer.poll, timeout_s))

    def flush(self, timeout_s: float) -> None:
        """Send what lingers and wait for every report."""
        life = self._life
        if life is None:
            return
        self._serve(life, partial(life.producer.flush, timeout_s))
        if life.tally.pending:
            raise TransactionAbortedError(
                f"{life.tally.pending} messages were not acknowledged within {timeout_s:.1f} s"
            )

    def commit(self, offsets: Mapping[TopicPartition, Committed], member: GroupMember) -> None:
        """Send the offsets, then commit; both are repeated as long as the client asks for it, until the deadline."""
        life = self._current()
        self._open(life)
        positions = [ClientPartition(*place, each.offset, each.metadata) for place, each in offsets.items()]
        deadline_s = time.monotonic() + self._commit_timeout_s
        if positions:
            send_offsets = partial(life.producer.send_offsets_to_transaction, positions, member)
            error = self._repeated(life, send_offsets, reaction_in_transaction, deadline_s)
            if error is not None:  # nothing can have been committed yet
                raise TransactionAbortedError(f"no answer to the offsets of a transaction: {words(error)}")
        error = self._repeated(life, life.producer.commit_transaction, reaction_to_commit, deadline_s)
        if error is not None:
            self._fail(life, Reaction.UNKNOWN, error, "the commit failed")
            self._raise_trouble(life)
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
            return _Life(self._options, self._seldom)
        except KafkaException as error:
            raise UsageError(f"librdkafka refuses the producer's options: {words(error.args[0])}") from error

    def _current(self) -> _Life:
        if self._stopped is not None:
            raise self._stopped
        life = self._life
        assert life is not None, "begin comes first"
        assert life.initialised, "begin comes first"
        self._raise_trouble(life)
        return life

    def _open(self, life: _Life) -> None:
        if not life.open:
            error = error_of(life.producer.begin_transaction)
            if error is not None:
                self._fail(life, reaction_in_transaction(error), error, "no transaction could be begun")
                self._raise_trouble(life)
                raise TransactionAbortedError(f"no transaction could be begun: {words(error)}")
            life.open = True

    def _queue(self, life: _Life, message: Message, on_receipt: ReceiptListener | None) -> bool:
        """Hand over to librdkafka; false when its queue is full."""
        try:
            queued = queue_message(life.producer, message, partial(life.tally.on_delivery, on_receipt))
        except KafkaException as exception:
            life.tally.lose(exception.args[0], message.topic)
            self._serve(life, lambda: None)
            raise AssertionError("a refused message is trouble") from exception
        life.tally.pending += queued
        return queued

    def _serve(self, life: _Life, call: Callable[[], object]) -> None:
        """Make a call that serves reports, and raise what they say."""
        error = error_of(call)
        if error is not None:
            error = life.cause_of(error)
            self._fail(life, reaction_in_transaction(error), error, "the transaction failed")
        self._judge_lost(life)
        self._raise_trouble(life)

    def _judge_lost(self, life: _Life) -> None:
        """Make trouble of the first message that failed, and of a client that was refused."""
        if life.tally.refused is not None:
            self._fail(life, Reaction.STOP, life.tally.refused, "the producer cannot go on")
        if life.tally.first_lost is None or life.trouble is not None:
            return
        error, topic = life.tally.first_lost
        cause = life.cause_of(error)
        if cause is error:
            self._fail(life, reaction_to_undelivered(error), error, f"a message to {topic} was not delivered", topic)
        else:
            self._fail(
                life,
                reaction_in_transaction(cause),
                cause,
                f"a message to {topic} was not delivered, since the transaction failed",
            )

    def _repeated(
        self,
        life: _Life,
        call: Callable[[float], object],
        reaction_to_it: Callable[[KafkaError], Reaction],
        deadline_s: float,
    ) -> KafkaError | None:
        """Call until it is done; gives the error of the last try when the deadline passes before."""
        while True:
            timeout_s = max(PAUSE_S, min(self._call_timeout_s, deadline_s - time.monotonic()))
            error = error_of(partial(call, timeout_s))
            if error is None:
                return None
            self._judge_lost(life)
            cause = life.cause_of(error)
            self._fail(life, reaction_to_it(cause), cause, "the transaction failed")
            self._raise_trouble(life)
            if time.monotonic() + PAUSE_S > deadline_s:
                return error
            time.sleep(PAUSE_S)

    @staticmethod
    def _fail(life: _Life, reaction: Reaction, error: KafkaError, what: str, topic: str | None = None) -> None:
        """Turn an error into trouble, unless it asks for waiting; the first one stays."""
        # A fatal client takes no call any more, and a commit that may have happened must not be undone.
        life.abortable = life.abortable and not error.fatal() and reaction is not Reaction.UNKNOWN
        reason = f"{what}: {words(error)}"
        trouble: TransactionAbortedError | StopWorkerError
        if reaction is Reaction.WAIT:
            return
        if reaction is Reaction.ABORT:
            too_large = topic if error.code() == KafkaError.MSG_SIZE_TOO_LARGE else None
            trouble = TransactionAbortedError(reason, too_large=too_large)
        elif reaction is Reaction.UNKNOWN:
            trouble = OutcomeUnknownError(f"{reason}; whether it was committed is not known")
        else:
            trouble = DeliveryFailedError(reason)
        life.trouble = life.trouble or trouble

    def _raise_trouble(self, life: _Life) -> None:
        if isinstance(life.trouble, StopWorkerError):
            self._stop(life.trouble)
        if life.trouble is not None:
            raise life.trouble

    def _stop(self, error: StopWorkerError) -> NoReturn:
        self._stopped = self._stopped or error
        raise error

    def _end(self, life: _Life) -> None:
        """Forget the producer; its threads and memory go with it."""
        self._life = None
        life.end(self._abort_timeout_s)
