"""The two ways in which messages and offsets go out together.

At least once: first delivered, then committed; a crash in between makes some messages come twice. Exactly once: both in
one transaction, which is seen whole or not at all.
"""

from collections.abc import Mapping
from typing import Protocol

from detector.ports import Committed, Sink, Source, TopicPartition, TransactionalSink


class Delivery(Protocol):
    """What the loop needs to know of the difference."""

    sink: Sink
    transactional: bool
    """Whether what was sent can be given up, and must be before the state it came from is."""

    def ready(self, timeout_s: float) -> bool:
        """Whether messages may be sent; may wait."""

    def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit ``offsets``; all messages that came of what lies before them are acknowledged."""

    def abort(self) -> None:
        """Give up everything sent since the last commit."""


class AtLeastOnce:
    """Offsets are committed by the source, after the fact."""

    transactional = False

    def __init__(self, source: Source, sink: Sink) -> None:
        self.sink: Sink = sink
        self._source = source

    def ready(self, timeout_s: float) -> bool:
        """Messages may always be sent."""
        del timeout_s
        return True

    def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit through the group. Raises ``CommitPostponedError`` and ``StopWorkerError``."""
        self._source.commit(offsets)

    def abort(self) -> None:
        """Nothing that was sent can be taken back."""


class ExactlyOnce:
    """Offsets are committed by the sink, with the messages."""

    transactional = True

    def __init__(self, source: Source, sink: TransactionalSink) -> None:
        self.sink: Sink = sink
        self._source = source
        self._transactions = sink

    def ready(self, timeout_s: float) -> bool:
        """Whether there is a producer that the brokers know."""
        return self._transactions.begin(timeout_s)

    def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit as who we are to the group right now. Raises ``TransactionAbortedError`` and ``StopWorkerError``."""
        self._transactions.commit(offsets, self._source.member())

    def abort(self) -> None:
        """Abort the transaction."""
        self._transactions.abort()
