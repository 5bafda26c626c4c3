"""Records that could not be used: sent on with their original bytes, until there are too many of them.

A dead letter carries the record's key, headers and value as they were, and says in headers of its own what was wrong
and where the record lies. When most of a partition's recent records are rejected, something is set wrongly, and the
worker stops before it has moved a whole topic into the dead letters.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from detector import __version__
from detector.batches import NO_ENVELOPE, Envelope, RecordBatch, Reject
from detector.errors import RejectRatioError
from detector.ports import Message, TopicPartition

DETAIL_CHARACTERS_MAX: Final = 1_000
"""Of the explanation in a header."""

JUDGED_FROM_SHARE: Final = 0.1
"""Of the window that must have been seen before the ratio is judged: the first bad record alone has a ratio of one."""


def dead_letter(topic: str, batch: RecordBatch, reject: Reject, *, bytes_max: int) -> Message:
    """Give the message for one reject, with the record's bytes as they were.

    A record whose key, headers and value exceed ``bytes_max`` is cut to fit, and its true size told in one more header:
    what a broker took as a record it may refuse as a dead letter, and then the partition would stand still.
    """
    value, envelope = batch.values[reject.row], batch.envelope(reject.row)
    facts: list[tuple[str, object]] = [
        ("reason", reject.reason),
        ("detail", reject.detail[:DETAIL_CHARACTERS_MAX]),
        ("topic", batch.topic),
        ("partition", batch.partition),
        ("offset", reject.offset),
        ("timestamp-ms", int(batch.timestamps_ms[reject.row])),
        ("version", __version__),
    ]
    room = bytes_max - _size(Envelope(None, _headers(facts)))
    envelope_bytes = _size(envelope)
    if envelope_bytes > room // 2:  # a record of mostly headers: its value tells more
        facts.append(("envelope-bytes", envelope_bytes))
        envelope, envelope_bytes = NO_ENVELOPE, 0
    if value is not None and len(value) > room - envelope_bytes:
        facts.append(("value-bytes", len(value)))
        value = value[: room - envelope_bytes]
    return Message(topic, envelope.key, value, (*envelope.headers, *_headers(facts)))


def _headers(facts: Sequence[tuple[str, object]]) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((f"detector-{name}", str(fact).encode("utf-8", "replace")) for name, fact in facts)


def _size(envelope: Envelope) -> int:
    return len(envelope.key or b"") + sum(len(name.encode()) + len(value or b"") for name, value in envelope.headers)


class RejectGuard:
    """Share of rejected records among the latest ``window_records`` of one partition."""

    def __init__(self, place: TopicPartition, *, ratio_max: float, window_records: int) -> None:
        self._place = place
        self._ratio_max = ratio_max
        self._window_records = window_records
        self._batches: deque[tuple[int, int]] = deque()
        self._records = 0
        self._rejects = 0
        self._last: Reject | None = None

    def add(self, records: int, rejects: Sequence[Reject]) -> None:
        """Count one batch; raises ``RejectRatioError`` when too many of the window were rejected."""
        self._batches.append((records, len(rejects)))
        self._records += records
        self._rejects += len(rejects)
        while self._records - self._batches[0][0] >= self._window_records:
            oldest_records, oldest_rejects = self._batches.popleft()
            self._records -= oldest_records
            self._rejects -= oldest_rejects
        self._last = rejects[-1] if rejects else self._last
        judged = self._records >= self._window_records * JUDGED_FROM_SHARE
        if judged and self._rejects > self._ratio_max * self._records:
            raise RejectRatioError(self._sentence())

    def _sentence(self) -> str:
        assert self._last is not None, "a share above zero has a reject in it"
        reason, detail = self._last.reason, self._last.detail[:DETAIL_CHARACTERS_MAX]
        return (
            f"{self._rejects} of the last {self._records} records of {self._place.topic}[{self._place.partition}] "
            f"were rejected, the last one at offset {self._last.offset}: {reason} ({detail})"
        )
