"""What a partition holds to learn from, as a reader of committed records sees it.

The end is no offset that the broker tells, but the one behind the last record: at the broker's own there may be marks
of transactions, aborted records, or what compaction has left of them, and whoever waits for a record there waits for
ever.
"""

import logging
import time
from typing import Final

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from detector.batches import TIMESTAMP_UNKNOWN
from detector.errors import StateUnavailableError
from detector.io.kafka_config import ConsumerGroup, KafkaConnection
from detector.io.kafka_errors import words
from detector.io.kafka_reading import read_stretch
from detector.ports import History, OffsetRange, TopicPartition

ANSWER_TIMEOUT_S: Final = 5.0
"""One question about offsets."""
TAIL_OFFSETS: Final = 1_000
"""How far before the end the last record is looked for at first; ten times as far with each further look."""
MS_PER_S: Final = 1_000


def history_of(connection: KafkaConnection, group: ConsumerGroup, place: TopicPartition, age_ms: int | None) -> History:
    """Find the records that are at most ``age_ms`` old by their broker timestamps (None: all).

    Raises ``StateUnavailableError`` when the brokers do not answer or refuse.
    """
    now_ms = int(time.time() * MS_PER_S)
    kept = _kept(connection, group, place, None if age_ms is None else now_ms - age_ms)
    end = _behind_last(connection, group, place, kept)
    if end <= kept.begin:
        return History(kept.end, kept.end, now_ms)
    return History(kept.begin, end, _first_ms(connection, group, place, OffsetRange(kept.begin, end), now_ms))


def _kept(
    connection: KafkaConnection, group: ConsumerGroup, place: TopicPartition, since_ms: int | None
) -> OffsetRange:
    """First offset since a time, and the end as the broker tells it: below open transactions."""
    client = Consumer(connection.consumer_options(group), logger=logging.getLogger("detector.librdkafka"))
    try:
        marks = client.get_watermark_offsets(ClientPartition(*place), timeout=ANSWER_TIMEOUT_S)
        if marks is None:
            raise StateUnavailableError(f"no answer about the input's offsets within {ANSWER_TIMEOUT_S:.0f} s")
        begin, end = marks
        if since_ms is not None:
            asked = [ClientPartition(*place, max(0, since_ms))]
            (answer,) = client.offsets_for_times(asked, timeout=ANSWER_TIMEOUT_S)
            if answer.error is not None:
                raise StateUnavailableError(f"no answer about the input's times: {words(answer.error)}")
            # Negative: there is no record of that time or later.
            begin = end if answer.offset < 0 else max(begin, min(answer.offset, end))
    except KafkaException as error:
        raise StateUnavailableError(f"no answer about the input's offsets: {words(error.args[0])}") from error
    finally:
        client.close()
    return OffsetRange(begin, end)


def _behind_last(connection: KafkaConnection, group: ConsumerGroup, place: TopicPartition, kept: OffsetRange) -> int:
    """The offset behind the last record that a reader gets; ``kept.begin`` where there is none."""
    span = TAIL_OFFSETS
    start = kept.end
    while start > kept.begin:
        start = max(kept.begin, kept.end - span)
        behind = start
        for batch in read_stretch(connection, group.group_id, place, OffsetRange(start, kept.end), TAIL_OFFSETS):
            behind = int(batch.offsets[-1]) + 1
        if behind > start:
            return behind
        span *= 10
    return kept.begin


def _first_ms(
    connection: KafkaConnection, group: ConsumerGroup, place: TopicPartition, stretch: OffsetRange, now_ms: int
) -> int:
    """Broker timestamp of the first record."""
    batch = next(read_stretch(connection, group.group_id, place, stretch, 1), None)
    first_ms = TIMESTAMP_UNKNOWN if batch is None else int(batch.timestamps_ms[0])
    return now_ms if first_ms == TIMESTAMP_UNKNOWN else first_ms
