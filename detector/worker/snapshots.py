"""Snapshots of the partitions' states, taken while records flow.

1. A partition is due every ``interval_s``, if it has processed anything since its last snapshot.
2. The loop copies its columns, a slice per turn; one thread beside it encodes them and cuts chunks.
3. The loop hands the chunks to the sink, a few at a time, between the events; in transactions they are part of them.
4. When all chunks are acknowledged the pointer to them goes with the next commit.
5. Only when that commit is confirmed may the next snapshot begin: it takes the place of the one before, and the pointer
   that the broker holds always names a snapshot that is whole.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Final, NamedTuple

from detector.columns import Deferred
from detector.ports import Clock, Message, Receipt, Sink, SnapshotStore, TopicPartition
from detector.state import CHUNK_BYTES_MAX, Pointer, SnapshotHeader, chunks_of, encode
from detector.worker.assignments import Assignments, OwnedPartition, StateSlices
from detector.worker.bootstraps import waits_for_snapshot
from detector.worker.limits import StateLimits
from detector.worker.observer import WorkerObserver
from detector.worker.restores import pointer_is_committed

WINDOW_CHUNKS: Final = 16
"""Chunks on their way at once: 8 MiB of the client's queue, and as much memory as a commit may have to wait for."""

FINISH_POLL_S: Final = 0.05
"""One wait for receipts; they end it early."""


class LaidOut(NamedTuple):
    """A snapshot that is encoded: a pointer that lacks its place, and what has to be sent."""

    pointer: Pointer
    messages: Sequence[Message]


def lay_out(
    store: SnapshotStore,
    place: TopicPartition,
    header: SnapshotHeader,
    columns: Deferred,
    generation: int,
    chunk_bytes_max: int = CHUNK_BYTES_MAX,
) -> LaidOut:
    """Encode one snapshot and cut it; runs beside the loop."""
    data = encode(header, columns)
    chunks = chunks_of(data, chunk_bytes_max)
    pointer = Pointer(
        first_offset=0,
        last_offset=0,
        chunk_count=len(chunks),
        size_bytes=len(data),
        crc=zlib.crc32(data),
        offset=header.offset,
        generation=generation,
        config_hash=header.config_hash,
        cluster=header.cluster,
    )
    return LaidOut(pointer, store.messages(place, pointer, chunks))


class _Job:
    """One snapshot on its way: copied, then encoded by ``encode``, then sent."""

    def __init__(
        self,
        partition: OwnedPartition,
        copy: StateSlices,
        encode: Callable[[], Future[LaidOut]],
        began_s: float,
    ) -> None:
        self.partition = partition
        self.began_s = began_s
        self.failure: str | None = None
        self._copy: StateSlices | None = copy
        self._encode = encode
        self._encoding: Future[LaidOut] | None = None
        self._laid_out: LaidOut | None = None
        self._unsent: Iterator[Message] = iter(())
        self._on_its_way = 0
        self._offsets: list[int] = []

    def copied(self) -> bool:
        """Copy one more slice, unless all is copied; then the encoding begins."""
        if self._encoding is None and self._copy is not None and self._copy.advance():
            self._copy, self._encoding = None, self._encode()
        return self._encoding is not None

    def encoded(self, timeout_s: float) -> bool:
        """Whether there is something to send; waits for it."""
        assert self._encoding is not None, "copied first"
        if self._laid_out is None:
            try:
                self._laid_out = self._encoding.result(timeout_s)
            except TimeoutError:
                return False
            self._unsent = iter(self._laid_out.messages)
        return True

    def send(self, sink: Sink) -> None:
        """Hand over as much as the window has room for."""
        while self._on_its_way < WINDOW_CHUNKS and self.failure is None:
            message = next(self._unsent, None)
            if message is None:
                return
            self._on_its_way += 1
            sink.send(message, self._receive)

    def done(self) -> Pointer | None:
        """Give the pointer once every chunk is acknowledged."""
        if self._laid_out is None or len(self._offsets) < self._laid_out.pointer.chunk_count:
            return None
        return self._laid_out.pointer.at(min(self._offsets), max(self._offsets))

    def _receive(self, receipt: Receipt) -> None:
        self._on_its_way -= 1
        if receipt.offset is None:
            self.failure = self.failure or receipt.reason
        else:
            self._offsets.append(receipt.offset)


class SnapshotTaker:
    """Takes snapshots, one at a time; called once per turn of the loop."""

    def __init__(
        self,
        *,
        store: SnapshotStore,
        sink: Sink,
        executor: Executor,
        assignments: Assignments,
        limits: StateLimits,
        clock: Clock,
        observer: WorkerObserver,
    ) -> None:
        self._store = store
        self._sink = sink
        self._executor = executor
        self._assignments = assignments
        self._limits = limits
        self._clock = clock
        self._observer = observer
        self._job: _Job | None = None

    def turn(self) -> None:
        """Go on with the snapshot that is under way, or begin the next that is due."""
        if self._job is not None:
            self._go_on(self._job, 0)
            return
        moment_s = self._clock.monotonic_s()
        for partition in self._assignments.all():
            if moment_s >= partition.snapshot_due_s and self._may_begin(partition):
                self._begin(partition)
                return

    def finish(self, places: Sequence[TopicPartition], deadline_s: float) -> None:
        """Take a snapshot of each, as far as there is time; one under way is its partition's only one in this call."""
        if self._job is not None:
            self._finish_job(deadline_s)
        for partition in map(self._assignments.at, places):
            if self._job is not None or self._time_left_s(deadline_s) <= 0:
                return
            if self._may_begin(partition):
                self._begin(partition)
                self._finish_job(deadline_s)

    def drop(self, reason: str) -> None:
        """Give up what is under way: a part of it was given up with its transaction."""
        if self._job is not None:
            self._observer.snapshot_failed(self._job.partition.place, reason)
            self._job = None

    def _finish_job(self, deadline_s: float) -> None:
        while self._job is not None and self._time_left_s(deadline_s) > 0:
            self._go_on(self._job, self._time_left_s(deadline_s))
            if self._job is not None and self._job.copied():
                self._sink.poll(min(FINISH_POLL_S, self._time_left_s(deadline_s)))

    def _time_left_s(self, deadline_s: float) -> float:
        return max(0.0, deadline_s - self._clock.monotonic_s())

    def _may_begin(self, partition: OwnedPartition) -> bool:
        if waits_for_snapshot(partition):
            return True
        if not partition.live or partition.processed is None or not pointer_is_committed(partition):
            return False
        assert partition.pointer is not None, "what is committed is there"
        return partition.processed != partition.pointer.offset

    def _begin(self, partition: OwnedPartition) -> None:
        assert partition.processed is not None
        assert partition.pointer is not None
        began_s = self._clock.monotonic_s()
        partition.snapshot_due_s = began_s + self._limits.interval_s
        copy = partition.pipeline.begin_snapshot(offset=partition.processed, cluster=partition.cluster)
        for left_out in partition.pipeline.take_left_out():
            self._observer.models_left_out(partition.place, left_out)
        generation = partition.pointer.generation + 1
        laying_out = partial(
            lay_out, self._store, partition.place, copy.header, copy.columns, generation, self._limits.chunk_bytes_max
        )
        self._job = _Job(partition, copy, partial(self._executor.submit, laying_out), began_s)

    def _go_on(self, job: _Job, timeout_s: float) -> None:
        """Send what there is room for; end the snapshot when all of it is acknowledged, or some of it never will be."""
        if not self._assignments.holds(job.partition):
            self._job = None  # taken away meanwhile; what was written of it is found by nobody
            return
        if not job.copied() or not job.encoded(timeout_s):
            return
        job.send(self._sink)
        pointer = job.done()
        if job.failure is not None:
            self._observer.snapshot_failed(job.partition.place, job.failure)
        elif pointer is not None:
            seconds = self._clock.monotonic_s() - job.began_s
            self._observer.snapshot_written(job.partition.place, pointer.size_bytes, seconds)
            job.partition.pointer = pointer
        else:
            return
        self._job = None
