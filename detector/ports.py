"""What the worker needs from the outside world, as protocols.

``io`` implements them for Kafka, for files and in memory; the worker and the tests see only these. One contract test
runs against every implementation.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from detector.batches import RecordBatch
from detector.state import Pointer


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


class Committed(NamedTuple):
    """A committed next offset and the text beside it. ``offset`` is -1 where nothing was committed."""

    offset: int
    metadata: str = ""


NOT_COMMITTED: Final = Committed(-1)


class AssignmentListener(Protocol):
    """Told by a source, inside ``fetch`` or ``close``, which partitions came and went."""

    def assigned(self, partitions: Mapping[TopicPartition, Committed]) -> None:
        """Partitions that this process owns from here on, and what the group has committed for each.

        Each is read from its committed offset, or from where the source's own rules say. ``gate`` may be called in
        here: then no record of the partition comes before it is opened.
        """

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

    def gate(self, partitions: Sequence[TopicPartition]) -> None:
        """Return no records of these owned partitions until each is opened; the others go on."""

    def open(self, partition: TopicPartition, offset: int | None) -> None:
        """End a :meth:`gate`, reading from ``offset`` on (None: from where it stood).

        Raises ``StateUnavailableError`` when that cannot be done at this moment; the gate stays.
        """

    def begins(self, partition: TopicPartition) -> int:
        """First offset that the broker still keeps. Raises ``StateUnavailableError`` without an answer."""

    def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
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


class SnapshotStore(Protocol):
    """Where snapshots of partitions' states lie. Every call may wait; ``write`` has a thread of its own.

    A snapshot's chunks are kept under the parity of its generation: writing one never harms the one before it.
    """

    def prepare(self, partition: TopicPartition) -> str:
        """Id of the cluster. Raises ``StopWorkerError`` with the remedy where ``partition`` has no room here."""

    def write(self, partition: TopicPartition, pointer: Pointer, chunks: Sequence[bytes]) -> Pointer:
        """Write a snapshot and give ``pointer`` with its place in it, once all of it is acknowledged in one run.

        Raises ``SnapshotNotWrittenError``; then what was written of it is never found.
        """

    def read(self, partition: TopicPartition, pointer: Pointer) -> bytes:
        """Give the snapshot, with size and checksum as the pointer says.

        Raises ``SnapshotRefusedError`` where it is not there or harmed, and ``StateUnavailableError`` without an
        answer.
        """

    def scan(self, partition: TopicPartition) -> Sequence[Pointer]:
        """Every complete snapshot of ``partition``, the newest state first. Raises ``StateUnavailableError``."""

    def close(self) -> None:
        """Let calls that wait end soon; release every resource."""


class Clock(Protocol):
    """The two times that a worker may know."""

    def monotonic_s(self) -> float:
        """Seconds for measuring durations."""

    def wall_ms(self) -> int:
        """Epoch milliseconds, for telemetry only."""
