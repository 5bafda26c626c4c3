"""What the worker needs from the outside world, as protocols.

``io`` implements them for Kafka, for files and in memory; the worker and the tests see only these. One contract test
runs against every implementation.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from detector.batches import RecordBatch


class TopicPartition(NamedTuple):
    """A topic's partition: the unit of ownership."""

    topic: str
    partition: int


class Message(NamedTuple):
    """One outgoing message."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class AssignmentListener(Protocol):
    """Told by a source, inside ``fetch`` or ``close``, which partitions came and went."""

    def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        """Partitions that this process owns from here on, and the offset each is read from (-1: not known yet)."""

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Partitions that will be taken away when this call returns; committing them is still allowed inside it."""

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Partitions that already belong to somebody else: drop their state, do no I/O."""


class Source(Protocol):
    """Where records come from."""

    def subscribe(self, listener: AssignmentListener) -> None:
        """Begin; assignments reach ``listener`` during later calls of :meth:`fetch`."""

    def fetch(self, records_max: int, timeout_s: float) -> Sequence[RecordBatch]:
        """At most ``records_max`` records, in one batch per partition; empty when none came in ``timeout_s``."""

    def hold(self) -> None:
        """Keep the membership alive while the caller can take no records: partitions pause, the group is served."""

    def release(self) -> None:
        """End a :meth:`hold`: partitions are read again from where they stood."""

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit next offsets, waiting for the broker's answer. Raises ``StopWorkerError`` where it cannot be known."""

    def lags(self) -> Mapping[TopicPartition, int]:
        """Records behind the end of each owned partition, as last heard from the broker; absent where unknown."""

    def close(self) -> None:
        """Leave the group (``revoked`` is called for what is owned) and release every resource."""


class Sink(Protocol):
    """Where messages go."""

    def send(self, message: Message) -> None:
        """Hand over one message without waiting. Raises ``DeliveryFailedError`` once any earlier one has failed."""

    def pending(self) -> int:
        """Messages handed over and not yet acknowledged by the broker."""

    def poll(self, timeout_s: float) -> None:
        """Serve delivery reports for at most ``timeout_s``; raises ``DeliveryFailedError`` on a reported failure."""

    def flush(self, timeout_s: float) -> None:
        """Wait until nothing is pending; raises ``DeliveryFailedError`` after ``timeout_s`` or when one has failed."""

    def close(self) -> None:
        """Release every resource; does not wait for what is pending (flush first)."""


class Clock(Protocol):
    """The two times that a worker may know."""

    def monotonic_s(self) -> float:
        """Seconds for measuring durations."""

    def wall_ms(self) -> int:
        """Epoch milliseconds, for telemetry only."""
