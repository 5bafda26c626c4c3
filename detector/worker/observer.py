"""What the worker tells about itself: facts once per batch, commit or rebalance, never per record.

Telemetry implements :class:`WorkerObserver`; the worker knows no metric names. An observer must not raise and not
block.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from detector.batches import LeftOut, Output
from detector.ports import TopicPartition


class Pipeline(Protocol):
    """What the worker needs of a partition's pipeline; ``detector.pipeline.PartitionPipeline`` is the real one."""

    @property
    def watermark_ms(self) -> int:
        """Largest accepted event time, epoch milliseconds; -1 before the first."""

    @property
    def series_count(self) -> int:
        """Series with live state."""

    @property
    def open_episodes(self) -> int:
        """Episodes opened and not yet closed."""

    def state_bytes(self) -> int:
        """Bytes of state, as allocated."""


class BatchReport(NamedTuple):
    """One processed batch of one partition.

    ``oldest_timestamp_ms`` and ``newest_timestamp_ms`` are broker timestamps of its records (``TIMESTAMP_UNKNOWN``
    where there are none); ``processed_ms`` is the wall clock when its messages had been handed to the sink, so that
    ``processed_ms - oldest_timestamp_ms`` is the longest delay from record to event. ``fetch_seconds`` is the wait of
    the fetch that brought it, given to the first batch of each fetch only.
    """

    partition: TopicPartition
    output: Output
    pipeline: Pipeline
    fetch_seconds: float
    process_seconds: float
    oldest_timestamp_ms: int
    newest_timestamp_ms: int
    processed_ms: int


BootstrapStage = Literal["files", "topic"]


class BootstrapReport(NamedTuple):
    """One stage of a partition's bootstrap, at its end.

    ``rejected`` records by reason; ``opened`` and ``updated``: events about episodes that are open at its end, which
    are sent. ``seconds`` since its beginning.
    """

    stage: BootstrapStage
    records: int
    rejected: Mapping[str, int]
    opened: int
    updated: int
    seconds: float


class WorkerObserver(Protocol):
    """Told by the worker, on its own thread, right after each fact."""

    def batch_processed(self, report: BatchReport) -> None:
        """A batch went through its pipeline and its messages were handed to the sink."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """These partitions are owned from here on."""

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """These were handed over in order: delivered and committed as far as the deadline allowed."""

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """These belong to somebody else already; what was not committed is read again there."""

    def committed(self, seconds: float) -> None:
        """The offsets of everything delivered were committed, in ``seconds``."""

    def commit_postponed(self, reason: str) -> None:
        """A commit got no usable answer; the next one covers the same records."""

    def transaction_aborted(self, reason: str, partitions: int) -> None:
        """Nothing sent since the last commit will be seen; so many partitions are restored to it."""

    def lags_measured(self, lags: Mapping[TopicPartition, int]) -> None:
        """Records behind the end of each partition, about once per commit interval; absent where unknown."""

    def snapshot_written(self, partition: TopicPartition, size_bytes: int, seconds: float) -> None:
        """A snapshot lies in the state topic; its pointer goes with the next commit."""

    def snapshot_failed(self, partition: TopicPartition, reason: str) -> None:
        """A snapshot was given up; the one before it stays in force."""

    def restored(self, partition: TopicPartition, seconds: float, offset: int, replay_until: int) -> None:
        """A partition has its models of ``offset`` and is read from there; up to ``replay_until`` nothing is sent."""

    def models_left_out(self, partition: TopicPartition, left_out: LeftOut) -> None:
        """A snapshot or a restore had to leave models out; where they are not in memory, their series begin anew."""

    def restore_postponed(self, partition: TopicPartition, reason: str) -> None:
        """A restore got no answer from the brokers; it is tried again."""

    def replayed(self, partition: TopicPartition, records: int) -> None:
        """So many records, whose events were delivered before, went through the models again."""

    def bootstrap_begun(self, partition: TopicPartition, stage: BootstrapStage, begin: int, end: int) -> None:
        """A partition without a commit learns without a word: from files, or from its offsets ``begin`` to ``end``."""

    def bootstrap_advanced(self, partition: TopicPartition, stage: BootstrapStage, records: int, share: float) -> None:
        """So many more records were learnt; of the stage ``share``, 0 to 1, is done."""

    def bootstrap_ended(self, partition: TopicPartition, report: BootstrapReport) -> None:
        """A stage is done; after the stage ``topic`` the partition is live."""

    def state_lost(self, partition: TopicPartition, reason: str, records_lost: int) -> None:
        """The partition begins to learn anew, or the worker stops; so many records are gone unread."""

    def held(self) -> None:
        """Partitions were paused: the sink has not acknowledged enough for ``hold_after_s``."""

    def released(self) -> None:
        """The hold ended; partitions are read again."""

    def stopped(self, reason: str) -> None:
        """The loop has ended; nothing follows."""


class NullObserver:
    """Listens to nothing."""

    def batch_processed(self, report: BatchReport) -> None:
        """Ignore."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Ignore."""

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Ignore."""

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Ignore."""

    def committed(self, seconds: float) -> None:
        """Ignore."""

    def commit_postponed(self, reason: str) -> None:
        """Ignore."""

    def transaction_aborted(self, reason: str, partitions: int) -> None:
        """Ignore."""

    def lags_measured(self, lags: Mapping[TopicPartition, int]) -> None:
        """Ignore."""

    def snapshot_written(self, partition: TopicPartition, size_bytes: int, seconds: float) -> None:
        """Ignore."""

    def snapshot_failed(self, partition: TopicPartition, reason: str) -> None:
        """Ignore."""

    def restored(self, partition: TopicPartition, seconds: float, offset: int, replay_until: int) -> None:
        """Ignore."""

    def models_left_out(self, partition: TopicPartition, left_out: LeftOut) -> None:
        """Ignore."""

    def restore_postponed(self, partition: TopicPartition, reason: str) -> None:
        """Ignore."""

    def replayed(self, partition: TopicPartition, records: int) -> None:
        """Ignore."""

    def bootstrap_begun(self, partition: TopicPartition, stage: BootstrapStage, begin: int, end: int) -> None:
        """Ignore."""

    def bootstrap_advanced(self, partition: TopicPartition, stage: BootstrapStage, records: int, share: float) -> None:
        """Ignore."""

    def bootstrap_ended(self, partition: TopicPartition, report: BootstrapReport) -> None:
        """Ignore."""

    def state_lost(self, partition: TopicPartition, reason: str, records_lost: int) -> None:
        """Ignore."""

    def held(self) -> None:
        """Ignore."""

    def released(self) -> None:
        """Ignore."""

    def stopped(self, reason: str) -> None:
        """Ignore."""
