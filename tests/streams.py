"""Small builders that tests share: record batches, and ways to cut a stream."""

from collections.abc import Iterator, Sequence

import numpy as np
import orjson

from detector.batches import TIMESTAMP_UNKNOWN, RecordBatch

TOPIC = "metrics"


def batch_of(
    values: Sequence[bytes | None],
    *,
    first_offset: int = 0,
    timestamp_ms: int = TIMESTAMP_UNKNOWN,
    partition: int = 0,
    topic: str = TOPIC,
) -> RecordBatch:
    """Consecutive records of one partition."""
    offsets = np.arange(first_offset, first_offset + len(values), dtype=np.int64)
    return RecordBatch(topic, partition, offsets, np.full(len(values), timestamp_ms, dtype=np.int64), list(values))


def record(name: str, time: object, value: object, labels: object = None) -> bytes:
    """One JSON metric with the default paths."""
    body = {"name": name, "time": time, "value": value}
    return orjson.dumps(body if labels is None else body | {"labels": labels})


def cuts(
    values: Sequence[bytes | None], sizes: Sequence[int], *, timestamp_ms: int = TIMESTAMP_UNKNOWN, topic: str = TOPIC
) -> Iterator[RecordBatch]:
    """The same records in batches of the given sizes, the rest in one last batch."""
    start = 0
    for size in (*sizes, len(values)):
        part = values[start : start + size]
        if part:
            yield batch_of(part, first_offset=start, timestamp_ms=timestamp_ms, topic=topic)
        start += len(part)
