"""Messages to a broker in memory, in transactions.

Every call can be cut at named points: there a test ends the process, or lets the group, the coordinator or another
worker act.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Literal

from detector.errors import DeliveryFailedError, DetectorError, OutcomeUnknownError, TransactionAbortedError
from detector.io.memory import MemoryBroker, Reached, TooLargeError, nowhere
from detector.io.memory_log import Outcome
from detector.io.memory_sink import MemorySink
from detector.ports import Committed, GroupMember, Message, Receipt, ReceiptListener, TopicPartition

NO_PRODUCER: Final = -1

BEFORE_BEGIN: Final = "before begin"
BEGUN: Final = "begun"
BEFORE_SEND: Final = "before send"
BEFORE_DELIVERY: Final = "before delivery"
DELIVERED: Final = "delivered"
BEFORE_FLUSH: Final = "before flush"
FLUSHED: Final = "flushed"
BEFORE_OFFSETS: Final = "before offsets"
BEFORE_COMMIT: Final = "before commit"
COMMITTED: Final = "committed"
BEFORE_ABORT: Final = "before abort"
ABORTED: Final = "aborted"

SINK_POINTS: Final = (
    *(BEFORE_BEGIN, BEGUN, BEFORE_SEND, BEFORE_DELIVERY, DELIVERED, BEFORE_FLUSH, FLUSHED),
    *(BEFORE_OFFSETS, BEFORE_COMMIT, COMMITTED, BEFORE_ABORT, ABORTED),
)
"""Where a call can be cut: at ``BEFORE_COMMIT`` the offsets are pending, at ``COMMITTED`` the answer is on its way."""

Loss = Literal["no offsets", "not applied", "applied", "denied"]
"""Of a commit's answers: the offsets get none, or the commit gets none, or one that wrongly demands an abort."""


class MemoryTransactionalSink(MemorySink):
    """A transactional producer of a :class:`MemoryBroker`.

    Faults on demand: ``fail_next`` (a message is refused), ``demand_abort`` (the broker wants the transaction aborted),
    ``lose_answer`` (the next commit gets none, or a wrong one); ``reached`` is told every point of every call.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        transactional_id: str,
        acknowledged_max: int | None = None,
        reached: Reached = nowhere,
    ) -> None:
        super().__init__(broker, acknowledged_max=acknowledged_max)
        self.transactional_id = transactional_id
        self.epoch = NO_PRODUCER
        self._coordinator = broker.coordinator
        self._reached = reached
        self._losing: Loss | None = None

    def begin(self, timeout_s: float) -> bool:
        """Take the id, unless we have it."""
        del timeout_s  # time does not pass in here
        if self.epoch == NO_PRODUCER:
            self._reached(BEFORE_BEGIN)
            if not self._broker.available:
                return False
            self.epoch = self._coordinator.initialise(self.transactional_id)
            self._reached(BEGUN)
        return True

    def send(self, message: Message, on_receipt: ReceiptListener | None = None) -> None:
        """Queue one message of the transaction."""
        assert self.epoch != NO_PRODUCER, "begin comes first"
        self._arrive(BEFORE_SEND)
        super().send(message, on_receipt)

    def poll(self, timeout_s: float) -> None:
        """Deliver up to ``acknowledged_max`` messages."""
        if self.epoch != NO_PRODUCER:
            super().poll(timeout_s)

    def flush(self, timeout_s: float) -> None:
        """Deliver everything; an outage costs the transaction."""
        if self.epoch == NO_PRODUCER:
            return
        self._arrive(BEFORE_FLUSH)
        self._deliver(len(self._queue))
        if self._queue:
            raise TransactionAbortedError(f"{len(self._queue)} messages were not acknowledged within {timeout_s:.1f} s")
        self._arrive(FLUSHED)

    def commit(self, offsets: Mapping[TopicPartition, Committed], member: GroupMember) -> None:
        """Deliver what is left; then send the offsets, then commit."""
        assert self.epoch != NO_PRODUCER, "begin comes first"
        self._deliver(len(self._queue))
        self._arrive(BEFORE_OFFSETS)
        lost, self._losing = self._losing, None
        if lost == "no offsets" or self._queue or not self._broker.available:
            raise TransactionAbortedError("no answer to the offsets of a transaction")
        try:
            self._coordinator.add_offsets(self.transactional_id, self.epoch, offsets, member)
            self._arrive(BEFORE_COMMIT)
            if lost == "not applied" or not self._broker.available:
                raise OutcomeUnknownError("no answer to a commit")
            self._coordinator.end(self.transactional_id, self.epoch, Outcome.COMMITTED)
        except DetectorError as error:
            raise self._fail(error) from error
        self._reached(COMMITTED)
        if lost == "denied":
            raise self._fail(TransactionAbortedError("a commit that was applied is denied"))
        if lost == "applied" or not self._broker.available:
            raise self._fail(OutcomeUnknownError("no answer to a commit"))

    def abort(self) -> None:
        """Throw the producer away; during an outage its transaction stays open at the broker."""
        if self.epoch == NO_PRODUCER:
            return
        self._reached(BEFORE_ABORT)
        epoch, self.epoch = self.epoch, NO_PRODUCER
        self._queue.clear()
        self._failure = None
        if self._broker.available:
            with suppress(DeliveryFailedError):  # fenced: somebody else has ended it
                self._coordinator.end(self.transactional_id, epoch, Outcome.ABORTED)
        self._reached(ABORTED)

    def close(self) -> None:
        """Abort what is open."""
        self.abort()

    def demand_abort(self) -> None:
        """Let the transaction be one that the broker cannot commit any more."""
        self._fail(TransactionAbortedError("the broker demands an abort"))

    def lose_answer(self, loss: Loss) -> None:
        """Let the next commit be applied or not, and not tell."""
        self._losing = loss

    def _deliver(self, count: int) -> None:
        """One by one, since anything may happen in between."""
        self._raise_failure()
        while count and self._queue and self._broker.available:
            count -= 1
            message, on_receipt = self._queue[0]
            self._arrive(BEFORE_DELIVERY)
            receipt = self._receipt(message)
            del self._queue[0]
            if on_receipt is not None:
                on_receipt(receipt)
            self._raise_failure()

    def _receipt(self, message: Message) -> Receipt:
        try:
            if self._is_refused(message):
                raise TransactionAbortedError(f"a message to {message.topic} was refused on demand")
            transaction = self._coordinator.current(self.transactional_id, self.epoch)
            _, offset = self._broker.append_message(message, transaction)
        except TooLargeError as error:
            return Receipt(None, str(self._fail(TransactionAbortedError(str(error), too_large=message.topic))))
        except DetectorError as error:
            return Receipt(None, str(self._fail(error)))
        self._reached(DELIVERED)
        return Receipt(offset)

    def _arrive(self, point: str) -> None:
        self._reached(point)
        self._raise_failure()

    def _fail(self, error: DetectorError) -> DetectorError:
        """Remember the first failure; a reason to stop is stronger than one to abort."""
        if self._failure is None or (
            isinstance(self._failure, TransactionAbortedError) and not isinstance(error, TransactionAbortedError)
        ):
            self._failure = error
        return error
