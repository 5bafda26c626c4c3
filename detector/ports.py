"""What the worker needs from the outside world, as protocols.

``io`` implements them for Kafka, for files and in memory; the worker and the tests see only these. One contract test
runs against every implementation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from detector.batches import RecordBatch
from detector.state import Pointer


class TopicPartition(NamedTuple):
    """A topic's partition: the unit of ownership."""

    topic: str
    partition: int


class Message(NamedTuple):
    """One outgoing message; without a ``partition`` its key decides where it goes."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None


class Receipt(NamedTuple):
    """What became of one message: its ``offset``, or None with the broker's words in ``reason``."""

    offset: int | None
    reason: str = ""


ReceiptListener = Callable[[Receipt], None]
GroupMember = bytes
"""What a broker knows a member of a group by at one moment; only the source and the sink of one kind understand it."""


class Committed(NamedTuple):
    """A committed next offset and the text beside it. ``offset`` is -1 where nothing was committed."""

    offset: int
    metadata: str = ""


NOT_COMMITTED: Final = Committed(-1)


class OffsetRange(NamedTuple):
    """What a broker keeps of a partition: the first offset, and the one that its next record will have."""

    begin: int
    end: int


class History(NamedTuple):
    """Records of a partition that are there to learn from: offsets ``begin`` to before ``end``.

    ``end`` lies right behind the last of them, where the partition goes on; without any both are where its next record
    will be. ``begin_ms`` is the broker timestamp of the first, or the time now where there is none or it has none.
    """

    begin: int
    end: int
    begin_ms: int


class RecordedBatch(NamedTuple):
    """Records of files as if they came from a partition; ``share``, 0 to 1, of the files' bytes are read."""

    records: RecordBatch
    share: float


class AssignmentListener(Protocol):
    """Told by a source, inside ``fetch`` or ``close``, which partitions came and went."""

    def assigned(self, partitions: Mapping[TopicPartition, Committed | None]) -> None:
        """Partitions that this process owns from here on, and what the group has committed for each.

        None where a source that may leave the question open got no answer: then the listener must gate the partition,
        and ask before it is opened.

        Each is read from its committed offset; only where nothing was committed the source's own rules say from where.
        ``gate`` may be called in here: then no record of the partition comes before it is opened.
        """

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Partitions that will be taken away when this call returns; committing them is still allowed inside it."""

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Partitions that already belong to somebody else: drop their state, do no I/O."""

    def out_of_range(self, partition: TopicPartition, offset: int) -> None:
        """``offset`` was to be read next, and the broker does not keep it: retention, a truncation, a new topic.

        The source never goes on elsewhere by itself; the partition is gated until it is opened at an offset. Records
        before ``offset`` may still come with the fetch that tells this.
        """


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

    def bounds(self, partition: TopicPartition) -> OffsetRange:
        """What the broker keeps at this moment. Raises ``StateUnavailableError`` without an answer."""

    def history(self, partition: TopicPartition, age_ms: int | None) -> History:
        """What there is to learn from: records whose broker timestamps are at most so old (None: all that is kept).

        May wait, and on any thread. Raises ``StateUnavailableError`` without an answer.
        """

    def records(self, partition: TopicPartition, stretch: OffsetRange, records_max: int) -> Iterator[RecordBatch]:
        """Committed records of ``stretch`` in batches, beside what :meth:`fetch` gives; the partition may be gated.

        Reading may wait, and on any thread. Raises ``StateUnavailableError`` without an answer, and where the beginning
        is not kept.
        """

    def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit next offsets, waiting for the broker's answer. Raises ``StopWorkerError`` where it cannot be known."""

    def committed(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        """What the group has committed, once no transaction about it is open; may wait, and on any thread.

        Raises ``StateUnavailableError`` without an answer.
        """

    def member(self) -> GroupMember:
        """Who we are to the group at this moment. Raises ``TransactionAbortedError`` while we are nobody."""

    def lags(self) -> Mapping[TopicPartition, int]:
        """Records behind the end of each owned partition, as last heard from the broker; absent where unknown."""

    def close(self) -> None:
        """Leave the group (``revoked`` is called for what is owned) and release every resource."""


class Files(Protocol):
    """Recorded streams."""

    def batches(self, place: TopicPartition, until_ms: int) -> Iterator[RecordedBatch]:
        """Every record as one of ``place``; samples at or after ``until_ms``, epoch milliseconds, are to be rejected.

        Raises ``UsageError`` where a file cannot be read.
        """


class Sink(Protocol):
    """Where messages go."""

    def send(self, message: Message, on_receipt: ReceiptListener | None = None) -> None:
        """Hand over one message without waiting. Raises ``DeliveryFailedError`` once any earlier one has failed.

        With ``on_receipt`` (called inside a later call of the sink) its failure is the caller's business alone.
        """

    def pending(self) -> int:
        """Messages handed over and not yet acknowledged by the broker."""

    def poll(self, timeout_s: float) -> None:
        """Serve delivery reports for at most ``timeout_s``; raises ``DeliveryFailedError`` on a reported failure."""

    def flush(self, timeout_s: float) -> None:
        """Wait until nothing is pending; raises ``DeliveryFailedError`` after ``timeout_s`` or when one has failed."""

    def close(self) -> None:
        """Release every resource; does not wait for what is pending (flush first)."""


class TransactionalSink(Sink, Protocol):
    """A sink whose messages are seen together with the offsets that they came from, or never.

    The first message after :meth:`begin` or :meth:`commit` opens a transaction. Every call but ``begin``, ``abort`` and
    ``close`` raises ``TransactionAbortedError`` once the open one cannot be committed any more, also for a message with
    a receipt; then ``abort`` and ``begin`` come next.
    """

    def begin(self, timeout_s: float) -> bool:
        """Make ready for messages, ending whatever an earlier life left open; false without an answer in time.

        Raises ``StopWorkerError`` where the brokers refuse, or cannot keep what a transaction promises.
        """

    def commit(self, offsets: Mapping[TopicPartition, Committed], member: GroupMember) -> None:
        """Commit everything sent since the last time, with ``offsets`` of the group that ``member`` belongs to.

        Raises ``TransactionAbortedError`` when nothing of it was committed, and ``OutcomeUnknownError`` when no answer
        came.
        """

    def abort(self) -> None:
        """Give up everything sent since the last commit; waits a moment, and fails never."""


class SnapshotStore(Protocol):
    """Where snapshots of partitions' states lie. Every call but ``messages`` may wait.

    A snapshot's chunks are kept under the parity of its generation: writing one never harms the one before it.
    """

    def prepare(self, partition: TopicPartition) -> str:
        """Id of the cluster. Raises ``StopWorkerError`` with the remedy where ``partition`` has no room here."""

    def messages(self, partition: TopicPartition, pointer: Pointer, chunks: Sequence[bytes]) -> Sequence[Message]:
        """What has to be sent, in this order, to write a snapshot; receipts then tell ``pointer`` its place."""

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
