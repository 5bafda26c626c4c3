"""A stretch of one partition, read by a command: no membership in a group, no commits, nothing after the stretch."""

import logging
import time
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from detector.batches import RecordBatch
from detector.errors import StateUnavailableError
from detector.io.kafka_columns import RawMessage, record_batches
from detector.io.kafka_config import ConsumerGroup, KafkaConnection, Option
from detector.io.kafka_errors import words
from detector.ports import OffsetRange, TopicPartition

SILENCE_S: Final = 15.0
"""Without a record for so long, although there should be some, reading is given up."""
POLL_S: Final = 0.2
AHEAD_KBYTES: Final = 8_192
"""Prefetched bytes at most: one partition is read, by somebody who computes."""


def read_stretch(
    connection: KafkaConnection,
    group_id: str,
    place: TopicPartition,
    stretch: OffsetRange,
    records_max: int,
    *,
    silence_s: float = SILENCE_S,
) -> Iterator[RecordBatch]:
    """Give the committed records of ``stretch`` in batches of at most ``records_max``.

    Compaction and transactions leave gaps; the end of the partition ends them, too. ``group_id`` is only a name that
    ACLs may ask for. Raises ``StateUnavailableError`` when the broker does not answer or refuses.
    """
    group = ConsumerGroup(group_id, [], offset_reset="error")
    options: dict[str, Option] = {**connection.consumer_options(group), "enable.partition.eof": True}
    options["queued.max.messages.kbytes"] = min(AHEAD_KBYTES, int(options["queued.max.messages.kbytes"]))
    consumer = Consumer(options, logger=logging.getLogger("detector.librdkafka"))
    try:
        consumer.assign([ClientPartition(*place, stretch.begin)])
        yield from _batches(consumer, place, stretch, records_max, silence_s)
    except KafkaException as error:
        raise _unavailable(place, words(error.args[0])) from error
    finally:
        consumer.close()


def _batches(
    consumer: Consumer, place: TopicPartition, stretch: OffsetRange, records_max: int, silence_s: float
) -> Iterator[RecordBatch]:
    heard_s = time.monotonic()
    reached = stretch.begin
    while reached < stretch.end:
        messages: list[RawMessage] = consumer.consume(records_max, POLL_S)
        if messages:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > silence_s:
            raise _unavailable(place, f"no record came within {silence_s:.0f} s")
        records: list[RawMessage] = []
        for message in messages:
            error, offset = message.error(), message.offset()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # the client's own name
                raise _unavailable(place, words(error))
            if error is not None or offset is None or offset >= stretch.end:
                reached = stretch.end
                break
            records.append(message)
            reached = offset + 1
        yield from record_batches(records)


def _unavailable(place: TopicPartition, why: str) -> StateUnavailableError:
    return StateUnavailableError(f"{place.topic}[{place.partition}] cannot be read: {why}")
