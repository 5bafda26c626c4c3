"""A producer as a :class:`detector.ports.Sink`: acknowledged by all replicas, idempotent, compressed, bounded.

A message waits for its brokers as long as ``message.timeout.ms`` says; by default for ever, so that an outage is waited
out behind the worker's back-pressure instead of ending every worker. What cannot succeed by waiting (ACLs, missing
topic, too large) is reported by the client at once or within ``topic.metadata.propagation.max.ms``.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from detector.errors import DeliveryFailedError, UsageError
from detector.io.kafka_columns import RawMessage
from detector.io.kafka_config import KafkaConnection
from detector.io.kafka_errors import ON_DELIVERY, Reaction, SeldomLog, error_of, reaction_to, words
from detector.ports import Message, Receipt, ReceiptListener

ROOM_TIMEOUT_S: Final = 30.0
"""Wait for room in a full send queue. Back-pressure comes first; only huge messages in an outage fill it."""

ROOM_POLL_S: Final = 0.1

PARTITION_BY_KEY: Final = -1
"""librdkafka's RD_KAFKA_PARTITION_UA."""

_LOG: Final = structlog.get_logger(__name__)


class KafkaSink:
    """Messages out. Used by one thread. Raises ``UsageError`` when librdkafka refuses an option.

    Delivery reports arrive inside :meth:`poll`, :meth:`flush` and :meth:`send`; the first failure is kept and raised by
    every call after it, because offsets behind a lost message must not be committed.
    """

    def __init__(self, connection: KafkaConnection, *, room_timeout_s: float = ROOM_TIMEOUT_S) -> None:
        self._room_timeout_s = room_timeout_s
        self._pending = 0
        self._failure: DeliveryFailedError | None = None
        self._seldom = SeldomLog(_LOG, "producer_error_waited")
        options = connection.producer_options()
        try:
            self._producer = Producer(
                {**options, "error_cb": self._on_error}, logger=logging.getLogger("detector.librdkafka")
            )
        except KafkaException as error:
            raise UsageError(f"librdkafka refuses the producer's options: {words(error.args[0])}") from error

    def send(self, message: Message, on_receipt: ReceiptListener | None = None) -> None:
        """Queue one message; waits only when the queue is full, for at most ``room_timeout_s``."""
        self._raise_failure()
        deadline_s: float | None = None
        while not self._queue(message, on_receipt):
            moment_s = time.monotonic()
            deadline_s = deadline_s or moment_s + self._room_timeout_s
            if moment_s > deadline_s:
                raise DeliveryFailedError(
                    f"no room in the send queue for {self._room_timeout_s:.0f} s ({self._pending} messages wait)"
                )
            self.poll(ROOM_POLL_S)

    def pending(self) -> int:
        """Messages queued whose delivery report has not been served."""
        return self._pending

    def poll(self, timeout_s: float) -> None:
        """Serve delivery reports."""
        self._serve(partial(self._producer.poll, timeout_s))

    def flush(self, timeout_s: float) -> None:
        """Send what lingers and wait for every report."""
        self._serve(partial(self._producer.flush, timeout_s))
        if self._pending:
            raise DeliveryFailedError(f"{self._pending} messages were not acknowledged within {timeout_s:.1f} s")

    def close(self) -> None:
        """Throw away what is pending; the client itself goes with the last reference."""
        error_of(self._producer.purge)
        error_of(partial(self._producer.flush, 0))

    def _serve(self, call: Callable[[], object]) -> None:
        """Make a call that serves reports; a fatal error is raised out of it."""
        error = error_of(call)
        if error is not None:
            self._failure = self._failure or DeliveryFailedError(f"the producer cannot go on: {words(error)}")
        self._raise_failure()

    def _queue(self, message: Message, on_receipt: ReceiptListener | None) -> bool:
        """Hand over to librdkafka; false when its queue is full."""
        try:
            queued = queue_message(self._producer, message, partial(self._on_delivery, on_receipt))
        except KafkaException as error:
            self._failure = DeliveryFailedError(f"a message to {message.topic} was refused: {words(error.args[0])}")
            raise self._failure from error
        self._pending += queued
        return queued

    def _on_delivery(self, on_receipt: ReceiptListener | None, error: KafkaError | None, message: RawMessage) -> None:
        self._pending -= 1
        if on_receipt is not None:
            on_receipt(receipt_of(error, message))
        elif error is not None and self._failure is None:
            self._failure = DeliveryFailedError(f"a message to {message.topic()} was not delivered: {words(error)}")

    def _on_error(self, error: KafkaError) -> None:
        """Errors of the client as a whole, served inside poll and flush."""
        if reaction_to(error, ON_DELIVERY) is Reaction.STOP:
            self._failure = self._failure or DeliveryFailedError(f"the producer cannot go on: {words(error)}")
        else:
            self._seldom.warning(error)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def queue_message(
    producer: Producer, message: Message, on_delivery: Callable[[KafkaError | None, RawMessage], None]
) -> bool:
    """Hand one message to librdkafka; false when its queue is full. Raises ``KafkaException``."""
    try:
        producer.produce(
            message.topic,
            value=message.value,
            key=message.key,
            partition=PARTITION_BY_KEY if message.partition is None else message.partition,
            headers=list(message.headers) or None,
            on_delivery=on_delivery,
        )
    except BufferError:
        return False
    return True


def receipt_of(error: KafkaError | None, message: RawMessage) -> Receipt:
    """Translate a delivery report."""
    return Receipt(None, words(error)) if error is not None else Receipt(message.offset())
