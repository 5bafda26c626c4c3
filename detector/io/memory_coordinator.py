"""The transaction coordinator of the broker in memory: ids, epochs, and the one way in which a transaction ends.

Source: KIP-98 (epochs, fencing, time-outs), KIP-447 (offsets of a group in a transaction).
"""

from collections.abc import Mapping

from detector.errors import DeliveryFailedError
from detector.io.memory_groups import MemoryGroup, group_of
from detector.io.memory_log import MemoryLog, MemoryTransaction, Outcome
from detector.ports import Committed, GroupMember, TopicPartition


class MemoryCoordinator:
    """Every transactional id with its newest epoch and its open transaction; ``history`` has all that were decided."""

    def __init__(self, logs: Mapping[TopicPartition, MemoryLog], groups: Mapping[str, MemoryGroup]) -> None:
        self.history: list[MemoryTransaction] = []
        self._logs = logs
        self._groups = groups
        self._epochs: dict[str, int] = {}
        self._open: dict[str, MemoryTransaction] = {}

    def open_ids(self) -> list[str]:
        """Ids with an undecided transaction."""
        return list(self._open)

    def epoch_of(self, transactional_id: str) -> int:
        """The newest epoch of an id that was initialised; who has an older one is fenced."""
        return self._epochs[transactional_id]

    def initialise(self, transactional_id: str) -> int:
        """Epoch for a new producer. What an earlier one left open is aborted, and that one is fenced."""
        self.expire(transactional_id)
        epoch = self._epochs[transactional_id] = self._epochs.get(transactional_id, 0) + 1
        return epoch

    def expire(self, transactional_id: str) -> None:
        """Let the time-out of an open transaction pass: it is aborted, and its producer fenced."""
        if transactional_id in self._open:
            self._decide(transactional_id, Outcome.ABORTED)
            self._epochs[transactional_id] += 1

    def check(self, transactional_id: str, epoch: int) -> None:
        """Refuse a producer that was fenced."""
        if self._epochs[transactional_id] != epoch:
            raise DeliveryFailedError(f"the transactional id {transactional_id} was taken by another, or timed out")

    def current(self, transactional_id: str, epoch: int) -> MemoryTransaction:
        """The producer's open transaction, opened with the first question for it."""
        self.check(transactional_id, epoch)
        return self._open.setdefault(transactional_id, MemoryTransaction(transactional_id))

    def add_offsets(
        self,
        transactional_id: str,
        epoch: int,
        offsets: Mapping[TopicPartition, Committed],
        member: GroupMember,
    ) -> None:
        """Add offsets of ``member``'s group to the producer's transaction; the group may refuse them."""
        transaction = self.current(transactional_id, epoch)
        if offsets:
            self._groups[group_of(member)].add_pending(transaction, offsets, member)

    def end(self, transactional_id: str, epoch: int, outcome: Outcome) -> None:
        """Decide the producer's open transaction, if it has one."""
        self.check(transactional_id, epoch)
        if transactional_id in self._open:
            self._decide(transactional_id, outcome)

    def _decide(self, transactional_id: str, outcome: Outcome) -> None:
        transaction = self._open.pop(transactional_id)
        transaction.outcome = outcome
        for place in dict.fromkeys(place for place, _ in transaction.records):
            self._logs[place].mark(transaction)
        for group in transaction.offsets:
            self._groups[group].decide(transaction)
        self.history.append(transaction)
