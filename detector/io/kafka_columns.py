"""Messages become columns: one pass per column through an unbound C method, so that no Python line runs per record.

A fetch nearly always holds records of one partition; then its columns are cut straight from the list. A mixed fetch is
first sorted out by partition, which keeps the order inside each.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeAlias

import numpy as np
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from detector.batches import TIMESTAMP_UNKNOWN, Envelope, IntArray, RecordBatch
from detector.ports import TopicPartition

RawMessage: TypeAlias = "Message[bytes, bytes]"  # the class takes parameters only in its stub

_TIMESTAMP: Final = itemgetter(1)


def place_of(message: RawMessage) -> TopicPartition:
    """Where a record lies."""
    topic, partition = message.topic(), message.partition()
    assert topic is not None
    assert partition is not None
    return TopicPartition(topic, partition)


def record_batches(messages: Sequence[RawMessage], *, one_topic: bool = False) -> list[RecordBatch]:
    """One batch per topic-partition in ``messages`` (error-free), records in the order in which they came.

    ``one_topic`` promises that all are of one topic, which saves looking.
    """
    if not messages:
        return []
    if _all_equal(list(map(Message.partition, messages))) and (
        one_topic or _all_equal(list(map(Message.topic, messages)))
    ):
        return [_batch(place_of(messages[0]), messages)]
    places: dict[TopicPartition, list[RawMessage]] = {}
    for place, run in groupby(messages, key=place_of):
        places.setdefault(place, []).extend(run)
    return [_batch(place, members) for place, members in places.items()]


def _all_equal(column: Sequence[object]) -> bool:
    return column.count(column[0]) == len(column)


def _batch(place: TopicPartition, messages: Sequence[RawMessage]) -> RecordBatch:
    return RecordBatch(
        topic=place.topic,
        partition=place.partition,
        offsets=_offsets(messages),
        timestamps_ms=_timestamps_ms(messages),
        values=list(map(Message.value, messages)),
        envelope=partial(envelope_of, messages),
    )


def _offsets(messages: Sequence[RawMessage]) -> IntArray:
    first, last = messages[0].offset(), messages[-1].offset()
    assert first is not None
    assert last is not None
    if last - first == len(messages) - 1:  # offsets increase within a partition, so nothing can be missing in between
        return np.arange(first, last + 1, dtype=np.int64)
    offsets: Callable[[RawMessage], int | None] = Message.offset
    return np.array(list(map(offsets, messages)), dtype=np.int64)


def _timestamps_ms(messages: Sequence[RawMessage]) -> IntArray:
    # No list of the pairs: each is freed at once and its memory taken again, which halves the cost.
    pairs = map(Message.timestamp, messages)
    timestamps = np.fromiter(map(_TIMESTAMP, pairs), dtype=np.int64, count=len(messages))
    if timestamps.min() <= 0:  # only then can one be missing: the client gives 0 or -1 beside the kind "not available"
        kinds = np.array([message.timestamp()[0] for message in messages])
        timestamps[kinds == TIMESTAMP_NOT_AVAILABLE] = TIMESTAMP_UNKNOWN
    return timestamps


def envelope_of(messages: Sequence[RawMessage], row: int) -> Envelope:
    """Key and headers of one record."""
    message = messages[row]
    headers = message.headers() or ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    return Envelope(message.key(), tuple((name, _bytes(value)) for name, value in pairs))


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
