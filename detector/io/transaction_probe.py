"""Do the brokers keep what transactions promise? Asked once, before the first event rests on it.

Stand-ins for Kafka, old brokers and proxies take every call of a transaction without error and keep none of its
promises. Hence a trial: an aborted record of a snapshot chunk's size, which must not be seen, and a committed
transaction whose offset and metadata must be.
"""

# ruff: noqa: SLF001  # the client's own error codes are written with a leading underscore

import logging
import os
import time
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as ClientPartition

from detector.errors import SourceFailedError
from detector.io.kafka_config import ConsumerGroup, KafkaConnection
from detector.io.kafka_errors import words
from detector.io.kafka_snapshots import state_topic
from detector.state import CHUNK_BYTES_MAX

METADATA: Final = "detector-probe"
REMEDY: Final = "set delivery.mode: at_least_once, or use brokers that keep transactions"
ANSWER_S: Final = 20.0
"""For the aborted record to be decided, and the committed offset to be told."""
POLL_S: Final = 0.2

_LOG: Final = structlog.get_logger(__name__)


class TransactionProbe:
    """Tries transactions on partition 0 of the state topic, and offsets in a group of its own.

    ``name`` marks the record. Where the group may not be used by this client its part is left out, with a warning.
    Raises ``SourceFailedError`` with the remedy.
    """

    def __init__(self, connection: KafkaConnection, *, topic: str, group_id: str, name: str) -> None:
        self._connection = connection
        self._topic = topic
        self._group_id = group_id
        self._key = f"probe/{name}".encode()

    def __call__(self, producer: Producer, timeout_s: float) -> None:
        """Try both promises with an initialised ``producer``."""
        try:
            state_topic(producer, self._topic, timeout_s)
            offset = self._abort_a_record(producer, timeout_s)
            self._must_not_see(offset)
            self._commit_an_offset(producer, timeout_s)
        except KafkaException as error:
            raise SourceFailedError(
                f"exactly-once delivery was tried and failed: {words(error.args[0])}; {REMEDY}"
            ) from error

    def _abort_a_record(self, producer: Producer, timeout_s: float) -> int:
        """Write a record and take it back; gives its offset."""
        offsets: list[int] = []
        faults: list[KafkaError] = []

        def note(error: KafkaError | None, message: object) -> None:
            if error is not None:
                faults.append(error)
            else:
                offsets.append(message.offset())  # type: ignore[attr-defined]  # the client's own class

        producer.begin_transaction()
        # Random bytes, since a topic's limit is checked after compression.
        producer.produce(self._topic, os.urandom(CHUNK_BYTES_MAX), self._key, partition=0, on_delivery=note)
        producer.flush(timeout_s)
        producer.abort_transaction(timeout_s)
        if faults:
            raise SourceFailedError(
                f"a record of {CHUNK_BYTES_MAX} bytes could not be written to {self._topic}: {words(faults[0])}; "
                "snapshots need a state topic (`detector topics create`) that takes such records"
            )
        if not offsets:
            raise SourceFailedError(f"no answer to a record for {self._topic} within {timeout_s:.0f} s")
        return offsets[0]

    def _must_not_see(self, offset: int) -> None:
        """Read from the aborted record on; whoever sees it reads events that never happened."""
        consumer = self._consumer(self._topic)
        try:
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
        finally:
            consumer.close()
        raise SourceFailedError(f"an aborted record was not decided within {ANSWER_S:.0f} s; {REMEDY}")

    def _commit_an_offset(self, producer: Producer, timeout_s: float) -> None:
        """Commit an offset with metadata in a transaction, and ask for it."""
        place = ClientPartition(self._topic, 0, 0, METADATA)
        consumer = self._consumer(self._topic)
        try:
            producer.begin_transaction()
            try:
                producer.send_offsets_to_transaction([place], consumer.consumer_group_metadata(), timeout_s)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
                    raise
                producer.abort_transaction(timeout_s)
                _LOG.warning("offsets_not_probed", group_id=self._group_id, reason=words(error.args[0]))
                return
            producer.commit_transaction(timeout_s)
            held = consumer.committed([ClientPartition(self._topic, 0)], timeout=ANSWER_S)[0]
        finally:
            consumer.close()
        if held.metadata != METADATA:
            raise SourceFailedError(f"the brokers do not keep offsets that are committed in transactions; {REMEDY}")

    def _consumer(self, topic: str) -> Consumer:
        options = self._connection.consumer_options(ConsumerGroup(self._group_id, [topic], offset_reset="earliest"))
        return Consumer(
            {**options, "enable.partition.eof": True, "isolation.level": "read_committed"},
            logger=logging.getLogger("detector.librdkafka"),
        )
