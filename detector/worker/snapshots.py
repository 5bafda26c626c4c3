"""Snapshots of the partitions' states, taken while records flow.

1. A partition is due every ``interval_s``, if it has processed anything since its last snapshot.
2. The loop copies its columns; one thread beside it encodes them and writes the chunks.
3. When all chunks are acknowledged the pointer to them goes with the next commit.
4. Only when that commit is confirmed may the next snapshot begin: it takes the place of the one before, and the pointer
   that the broker holds always names a snapshot that is whole.
"""

import zlib
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

from detector.columns import Deferred
from detector.errors import SnapshotNotWrittenError
from detector.ports import Clock, SnapshotStore, TopicPartition
from detector.state import Pointer, SnapshotHeader, chunks_of, encode
from detector.worker.assignments import Assignments, OwnedPartition
from detector.worker.limits import StateLimits
from detector.worker.observer import WorkerObserver
from detector.worker.restores import pointer_is_committed


class _Job(NamedTuple):
    partition: OwnedPartition
    writing: Future[Pointer]
    began_s: float


def write(
    store: SnapshotStore,
    place: TopicPartition,
    header: SnapshotHeader,
    columns: Deferred,
    generation: int,
) -> Pointer:
    """Encode and write one snapshot; runs beside the loop. Raises ``SnapshotNotWrittenError``."""
    data = encode(header, columns)
    chunks = chunks_of(data)
    pointer = Pointer(
        first_offset=0,
        chunk_count=len(chunks),
        size_bytes=len(data),
        crc=zlib.crc32(data),
        offset=header.offset,
        generation=generation,
        config_hash=header.config_hash,
        cluster=header.cluster,
    )
    return store.write(place, pointer, chunks)


class SnapshotTaker:
    """Takes snapshots, one at a time; called once per turn of the loop."""

    def __init__(
        self,
        *,
        store: SnapshotStore,
        executor: Executor,
        assignments: Assignments,
        limits: StateLimits,
        clock: Clock,
        observer: WorkerObserver,
    ) -> None:
        self._store = store
        self._executor = executor
        self._assignments = assignments
        self._limits = limits
        self._clock = clock
        self._observer = observer
        self._job: _Job | None = None

    def turn(self) -> None:
        """End the snapshot that is written, or begin the next that is due."""
        if self._job is not None:
            if self._job.writing.done():
                self._end(0)
            return
        moment_s = self._clock.monotonic_s()
        for partition in self._assignments.all():
            if moment_s >= partition.snapshot_due_s and self._may_begin(partition):
                self._begin(partition)
                return

    def finish(self, places: Sequence[TopicPartition], deadline_s: float) -> None:
        """Take a last snapshot of each, as far as there is time; one that is being written is a partition's last."""
        for partition in map(self._assignments.at, places):
            if self._job is None or self._job.partition is not partition:
                if self._time_left_s(deadline_s) <= 0 or not self._may_begin(partition):
                    continue
                if self._job is not None and not self._end(self._time_left_s(deadline_s)):
                    return
                self._begin(partition)
            if not self._end(self._time_left_s(deadline_s)):
                return

    def _time_left_s(self, deadline_s: float) -> float:
        return max(0.0, deadline_s - self._clock.monotonic_s())

    def _may_begin(self, partition: OwnedPartition) -> bool:
        if not partition.live or partition.processed is None or not pointer_is_committed(partition):
            return False
        assert partition.pointer is not None, "what is committed is there"
        return partition.processed != partition.pointer.offset

    def _begin(self, partition: OwnedPartition) -> None:
        assert partition.processed is not None
        assert partition.pointer is not None
        began_s = self._clock.monotonic_s()
        partition.snapshot_due_s = began_s + self._limits.interval_s
        header, columns = partition.pipeline.snapshot(offset=partition.processed, cluster=partition.cluster)
        generation = partition.pointer.generation + 1
        writing = self._executor.submit(write, self._store, partition.place, header, columns, generation)
        self._job = _Job(partition, writing, began_s)

    def _end(self, timeout_s: float) -> bool:
        """Take the outcome of what is written; false if there is none in time."""
        assert self._job is not None
        partition, writing, began_s = self._job
        try:
            pointer = writing.result(timeout_s)
        except TimeoutError:
            return False
        except SnapshotNotWrittenError as error:
            self._observer.snapshot_failed(partition.place, str(error))
        else:
            seconds = self._clock.monotonic_s() - began_s
            self._observer.snapshot_written(partition.place, pointer.size_bytes, seconds)
            if self._assignments.holds(partition):
                partition.pointer = pointer
        self._job = None
        return True
