"""One partition of the broker in memory: records, gaps, and which of them a reader may see.

Every entry has an offset. A transaction's records are there at once and can be read (by ``read_committed`` readers,
which everything of ours is) when it has been committed. The marker that decides it takes an offset, too, as does what
compaction removes: readers see gaps.

Source: KIP-98, "read_committed" and the last stable offset.
"""

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from detector.batches import TIMESTAMP_UNKNOWN
from detector.ports import Committed, TopicPartition


class StoredRecord(NamedTuple):
    """One record in a partition's log."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = TIMESTAMP_UNKNOWN


class Outcome(Enum):
    """What became of a transaction."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


class MemoryTransaction:
    """One transaction: where its records lie, and the offsets that are committed with them, by group."""

    def __init__(self, transactional_id: str) -> None:
        self.transactional_id = transactional_id
        self.outcome = Outcome.OPEN
        self.records: list[tuple[TopicPartition, int]] = []
        self.offsets: dict[str, dict[TopicPartition, Committed]] = {}


class MemoryLog:
    """Entries by offset; ``begin`` is the first offset that retention has left."""

    def __init__(self) -> None:
        self.begin = 0
        self._entries: list[StoredRecord | None] = []
        self._transactions: dict[int, MemoryTransaction] = {}
        self._open: dict[MemoryTransaction, int] = {}
        self._plain = True

    @property
    def end(self) -> int:
        """The next offset."""
        return len(self._entries)

    @property
    def stable_end(self) -> int:
        """The last stable offset: below it, everything is decided."""
        return min(self._open.values(), default=len(self._entries))

    def append(self, record: StoredRecord, transaction: MemoryTransaction | None = None) -> int:
        """Write one record; gives its offset."""
        offset = len(self._entries)
        self._entries.append(record)
        if transaction is not None:
            self._plain = False
            self._transactions[offset] = transaction
            self._open.setdefault(transaction, offset)
        return offset

    def mark(self, transaction: MemoryTransaction) -> None:
        """Write the marker that decides ``transaction``, where it has written anything."""
        if self._open.pop(transaction, None) is not None:
            self._entries.append(None)

    def read(
        self, start: int = 0, *, records_max: int | None = None, committed_only: bool = True
    ) -> list[tuple[int, StoredRecord]]:
        """At most ``records_max`` records from ``start`` on, with their offsets."""
        start = max(start, self.begin)
        if self._plain:
            stop = len(self._entries) if records_max is None else start + records_max
            return [(start + row, record) for row, record in enumerate(self._entries[start:stop]) if record is not None]
        found: list[tuple[int, StoredRecord]] = []
        for offset, record in self._visible(start, self.stable_end if committed_only else self.end):
            if len(found) == records_max:
                break
            if not committed_only or self._is_committed(offset):
                found.append((offset, record))
        return found

    def compact(self, before: int) -> None:
        """Keep the latest record of each key below ``before``, and nothing of aborted transactions."""
        stop = min(before, self.stable_end)
        kept = [(offset, record) for offset, record in self._visible(0, stop) if self._is_committed(offset)]
        latest = {record.key: offset for offset, record in kept}
        for offset, record in list(self._visible(0, stop)):
            if latest.get(record.key) != offset:
                self._entries[offset] = None
                self._plain = False

    def _visible(self, start: int, stop: int) -> Iterator[tuple[int, StoredRecord]]:
        for offset in range(start, stop):
            record = self._entries[offset]
            if record is not None:
                yield offset, record

    def _is_committed(self, offset: int) -> bool:
        transaction = self._transactions.get(offset)
        return transaction is None or transaction.outcome is Outcome.COMMITTED
