"""Messages to a broker in memory."""

from detector.errors import DeliveryFailedError, DetectorError
from detector.io.memory import MemoryBroker
from detector.ports import Message, Receipt, ReceiptListener


class MemorySink:
    """Messages to a :class:`MemoryBroker`; acknowledged in later calls, as with Kafka.

    ``acknowledged_max`` is how many one :meth:`poll` acknowledges (default: all). ``fail_next`` lets the next message
    fail.
    """

    def __init__(self, broker: MemoryBroker, *, acknowledged_max: int | None = None) -> None:
        self.acknowledged_max = acknowledged_max
        self._broker = broker
        self._queue: list[tuple[Message, ReceiptListener | None]] = []
        self._failing_topic: str | None = None
        self._failure: DetectorError | None = None

    def send(self, message: Message, on_receipt: ReceiptListener | None = None) -> None:
        """Queue one message."""
        self._raise_failure()
        self._queue.append((message, on_receipt))

    def pending(self) -> int:
        """Messages queued."""
        return len(self._queue)

    def poll(self, timeout_s: float) -> None:
        """Deliver up to ``acknowledged_max`` messages."""
        del timeout_s  # time does not pass in here
        self._deliver(len(self._queue) if self.acknowledged_max is None else self.acknowledged_max)

    def flush(self, timeout_s: float) -> None:
        """Deliver everything; an outage counts as a time-out."""
        self._deliver(len(self._queue))
        if self._queue:
            raise DeliveryFailedError(f"{len(self._queue)} messages were not acknowledged within {timeout_s:.1f} s")

    def close(self) -> None:
        """Throw away what is pending."""
        self._queue.clear()

    def fail_next(self, topic: str = "") -> None:
        """Let the delivery of the next message (to ``topic``) fail, as a broker does that refuses it."""
        self._failing_topic = topic

    def _deliver(self, count: int) -> None:
        if self._broker.available:
            arrived, self._queue = self._queue[:count], self._queue[count:]
            for message, on_receipt in arrived:
                receipt = self._receipt(message)
                if on_receipt is not None:
                    on_receipt(receipt)
                elif receipt.offset is None and self._failure is None:
                    self._failure = DeliveryFailedError(receipt.reason)
        self._raise_failure()

    def _receipt(self, message: Message) -> Receipt:
        if self._is_refused(message):
            return Receipt(None, f"a message to {message.topic} was not delivered: refused on demand")
        try:
            return Receipt(self._broker.append_message(message)[1])
        except DeliveryFailedError as error:
            return Receipt(None, str(error))

    def _is_refused(self, message: Message) -> bool:
        if self._failing_topic not in {"", message.topic}:
            return False
        self._failing_topic = None
        return True

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
