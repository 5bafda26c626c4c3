"""Getting a partition's models back: pointer, snapshot, replay, live; or a loss, said aloud.

1. A partition comes gated: none of its records is read.
2. Beside the loop: the snapshot that the committed pointer names is fetched, checked and restored into a new pipeline;
   if that fails, the newest one in the state topic whose offset is not past the committed one.
3. On the loop: the input is opened at the snapshot's offset S. Up to the committed offset C records go through the
   models and nothing is sent, since everything before C was delivered. From C on the partition is live.
4. Without a usable snapshot, or when the input does not hold the records from S on, the state is lost:
   ``on_state_loss`` decides.
5. Where nothing is committed the partition begins as the source says, or is bootstrapped first
   (:mod:`detector.worker.bootstraps`).

One partition at a time; the others flow meanwhile. Brokers without an answer are asked again, never taken for a loss.
"""

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from detector.batches import Event
from detector.errors import SnapshotRefusedError, StateUnavailableError, StopWorkerError
from detector.ports import Clock, Committed, History, OffsetRange, SnapshotStore, Source, TopicPartition
from detector.state import Pointer, Snapshot, decode, empty_pointer, format_pointer, parse_pointer
from detector.worker.assignments import (
    Assignments,
    OwnedPartition,
    PartitionState,
    PipelineFactory,
    ProcessingPipeline,
)
from detector.worker.bootstraps import Bootstrap, Bootstraps
from detector.worker.gaps import Gap, gap_at, records_lost, stop_if_told
from detector.worker.limits import StateLimits
from detector.worker.observer import WorkerObserver

GOLDEN_RATIO: Final = 0.618_033_988_749_895
"""Multiples of it, less their whole part, spread evenly however many there are."""


class Restorable(Protocol):
    """What can be given a state."""

    @property
    def config_hash(self) -> str:
        """Under which a state is learnt and holds."""

    def restore(self, snapshot: Snapshot, *, cluster: str) -> int:
        """Become what the snapshot says; raises ``SnapshotRefusedError``."""


P = TypeVar("P", bound=Restorable)


class Loaded(NamedTuple, Generic[P]):
    """A pipeline with the state that ``pointer`` names; without a pointer it is empty, and ``loss`` may say why.

    ``history`` is what a partition without a commit is to learn from first, where that was asked for.
    """

    committed: Committed
    cluster: str
    pipeline: P
    pointer: Pointer | None
    loss: str | None
    history: History | None = None


def load(
    source: Source,
    store: SnapshotStore,
    pipeline_factory: PipelineFactory,
    place: TopicPartition,
    known: Committed | None,
    bootstrap: Bootstrap | None = None,
) -> Loaded[ProcessingPipeline]:
    """Fetch and restore what can be had; runs beside the loop. What is committed is asked for unless ``known``.

    Raises ``StateUnavailableError`` when the brokers do not answer and ``StopWorkerError`` when the state topic cannot
    hold this partition.
    """
    committed = source.committed([place])[place] if known is None else known
    loaded = chosen(store, pipeline_factory, place, committed)
    if committed.offset >= 0 or bootstrap is None:
        return loaded
    return loaded._replace(history=source.history(place, bootstrap.age_ms))


def chosen(
    store: SnapshotStore, factory: Callable[[TopicPartition], P], place: TopicPartition, committed: Committed
) -> Loaded[P]:
    """Fetch and restore the state that belongs to what is committed. Raises as :func:`load` does."""
    cluster = store.prepare(place)
    fresh = factory(place)
    if committed.offset < 0:
        found = store.scan(place)
        loss = f"nothing is committed, but {len(found)} snapshots are kept: the group's offsets have expired"
        return Loaded(committed, cluster, fresh, None, loss if found else None)
    reasons: list[str] = []
    for pointer in _candidates(store, place, committed, cluster, fresh.config_hash, reasons):
        if pointer.is_empty:
            return Loaded(committed, cluster, fresh, pointer, None)
        pipeline = factory(place)
        try:
            with _collector_paused():
                offset = pipeline.restore(decode(store.read(place, pointer)), cluster=cluster)
        except SnapshotRefusedError as error:
            reasons.append(str(error))
            continue
        if offset == pointer.offset:
            return Loaded(committed, cluster, pipeline, pointer, None)
        reasons.append(f"the snapshot is of offset {offset}, its pointer of {pointer.offset}")
    return Loaded(committed, cluster, fresh, None, "; ".join(reasons))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A restore makes millions of objects and no garbage; the collector would walk all of them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _candidates(
    store: SnapshotStore,
    place: TopicPartition,
    committed: Committed,
    cluster: str,
    config_hash: str,
    reasons: list[str],
) -> Iterator[Pointer]:
    """The committed pointer, then whatever lies in the state topic; why each other one was left out goes to reasons."""
    named = parse_pointer(committed.metadata)
    if named is None:
        reasons.append("no pointer beside the committed offset")
    else:
        refusal = refusal_of(named, committed.offset, cluster, config_hash)
        if refusal is None:
            yield named
        else:
            reasons.append(refusal)
    found = [pointer for pointer in store.scan(place) if pointer != named]
    usable = [pointer for pointer in found if refusal_of(pointer, committed.offset, cluster, config_hash) is None]
    reasons.append(f"{len(usable)} of {len(found)} other snapshots in the state topic fit")
    yield from usable


def refusal_of(pointer: Pointer, committed_offset: int, cluster: str, config_hash: str) -> str | None:
    """Why ``pointer`` cannot be used; the empty state is the same under all settings."""
    if pointer.cluster != cluster:
        return f"the pointer is of other cluster: {pointer.cluster}, not {cluster}"
    if pointer.config_hash != config_hash and not pointer.is_empty:
        return f"the pointer is of other settings: {pointer.config_hash}, not {config_hash}"
    if pointer.offset > committed_offset:
        return f"the pointer is of offset {pointer.offset}, past the committed {committed_offset}"
    return None


def shortened(pointer: Pointer, committed_offset: int, bounds: OffsetRange) -> Pointer:
    """The same, or a bootstrap that begins later: what retention has taken of its beginning is not missed."""
    if not pointer.untold:
        return pointer
    return msgspec.structs.replace(pointer, offset=max(pointer.offset, min(bounds.begin, committed_offset)))


class Restorer:
    """Restores what is RESTORING, one partition at a time; called once per turn of the loop."""

    def __init__(
        self,
        *,
        source: Source,
        store: SnapshotStore,
        executor: Executor,
        assignments: Assignments,
        limits: StateLimits,
        clock: Clock,
        observer: WorkerObserver,
        bootstrap: Bootstrap | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._bootstraps = Bootstraps(
            bootstrap=bootstrap,
            source=source,
            executor=executor,
            assignments=assignments,
            limits=limits,
            clock=clock,
            observer=observer,
        )
        self._source = source
        self._store = store
        self._executor = executor
        self._assignments = assignments
        self._limits = limits
        self._clock = clock
        self._observer = observer
        self._job: tuple[OwnedPartition, Future[Loaded[ProcessingPipeline]], float] | None = None
        self._retry_s = clock.monotonic_s()

    def turn(self) -> None:
        """Begin the next restore, or end the one whose snapshot has come. Raises ``StopWorkerError``.

        What is bootstrapped goes on beside that; raises ``UsageError`` where its files cannot be read.
        """
        self._bootstraps.turn()
        if self._job is None:
            self._begin()
            return
        partition, loading, began_s = self._job
        if not self._assignments.holds(partition):
            self._job = None  # taken away meanwhile; what was loaded is nobody's
            return
        if not loading.done() or self._clock.monotonic_s() < self._retry_s:
            return
        try:
            self._end(partition, loading.result(0), began_s)
        except StateUnavailableError as error:
            self._observer.restore_postponed(partition.place, str(error))
            self._retry_s = self._clock.monotonic_s() + self._limits.retry_s
            if loading.exception(0) is None:
                return  # the snapshot is there; only the input gave no answer
        self._job = None

    def take_untold(self) -> list[Event]:
        """Events that partitions have to send before they go live, with the next commit."""
        return self._bootstraps.take_untold()

    def go_back(self) -> None:
        """Nothing sent since the last commit will be seen."""
        self._bootstraps.go_back()

    def _begin(self) -> None:
        moment_s = self._clock.monotonic_s()
        if moment_s < self._retry_s:
            return
        waiting = (each for each in self._assignments.all() if each.state is PartitionState.RESTORING)
        partition = next(waiting, None)
        if partition is None:
            return
        factory: Callable[[TopicPartition], ProcessingPipeline] = self._assignments.pipeline_factory
        source, store, committed = self._source, self._store, partition.committed
        loading = self._executor.submit(load, source, store, factory, partition.place, committed, self._bootstrap)
        self._job = (partition, loading, moment_s)

    def _end(self, partition: OwnedPartition, loaded: Loaded[ProcessingPipeline], began_s: float) -> None:
        """Open the input where the state ends. What may fail comes first; then the partition changes."""
        place, committed = partition.place, loaded.committed
        if committed.offset < 0 and partition.was_committed:
            raise StopWorkerError(f"the group has forgotten its offset of {place.topic}[{place.partition}]")
        loaded, gap = self._placed(place, loaded)
        loss = loaded.loss if gap is None else gap.reason
        if loss is not None:
            stop_if_told(place, loss, gap, self._limits.on_state_loss, self._observer)
            loaded = self._anew(place, loaded, gap)
        if loaded.history is not None:
            self._say_lost(place, loss, gap)
            self._bootstraps.begin(partition, loaded.history, loaded.cluster)
            return
        pointer = loaded.pointer
        if pointer is not None and pointer.untold:
            self._bootstraps.resume(partition, committed, self._with_files(place, pointer))
            return
        self._source.open(place, partition.skipped_from if pointer is None else pointer.offset)
        self._say_lost(place, loss, gap)
        partition.pipeline, partition.pointer, partition.cluster = loaded.pipeline, pointer, loaded.cluster
        partition.committed, partition.replay_until = committed, committed.offset
        partition.snapshot_due_s = self._clock.monotonic_s() + self._limits.interval_s * _stagger(place)
        if pointer is None:
            self._assignments.move(partition, PartitionState.LIVE)
            return
        replays = loss is None and pointer.offset < committed.offset
        partition.processed = committed.offset if loss is None else pointer.offset
        self._assignments.move(partition, PartitionState.REPLAYING if replays else PartitionState.LIVE)
        if loss is None:
            seconds = self._clock.monotonic_s() - began_s
            self._observer.restored(place, seconds, pointer.offset, committed.offset)
            for left_out in loaded.pipeline.take_left_out():
                self._observer.models_left_out(place, left_out)

    def _placed(self, place: TopicPartition, loaded: Loaded[P]) -> tuple[Loaded[P], Gap | None]:
        """The same with what the input lacks."""
        committed, pointer = loaded.committed.offset, loaded.pointer
        if committed < 0:
            return loaded, None
        bounds = self._source.bounds(place)
        if pointer is not None:
            pointer = shortened(pointer, committed, bounds)
            loaded = loaded._replace(pointer=pointer)
        return loaded, gap_at(committed if pointer is None else pointer.offset, committed, bounds)

    def _anew(
        self, place: TopicPartition, loaded: Loaded[ProcessingPipeline], gap: Gap | None
    ) -> Loaded[ProcessingPipeline]:
        """The empty state in place of one that is lost."""
        if loaded.committed.offset < 0:
            return loaded
        pipeline = loaded.pipeline if gap is None else self._assignments.pipeline_factory(place)
        start = loaded.committed.offset if gap is None else gap.start
        pointer = empty_pointer(start, generation=0, config_hash=pipeline.config_hash, cluster=loaded.cluster)
        return loaded._replace(pipeline=pipeline, pointer=pointer)

    def _with_files(self, place: TopicPartition, pointer: Pointer) -> Pointer:
        """The same; where its files are not to be had any more that is said, and the partition's records are left."""
        if pointer.files_until_ms is None or self._bootstraps.has_files:
            return pointer
        reason = "its bootstrap from files was cut short, and state.bootstrap names none now"
        stop_if_told(place, reason, None, self._limits.on_state_loss, self._observer)
        self._say_lost(place, reason, None)
        return pointer.bootstrapping()

    def _say_lost(self, place: TopicPartition, loss: str | None, gap: Gap | None) -> None:
        if loss is not None:
            self._observer.state_lost(place, loss, records_lost(gap))


def _stagger(place: TopicPartition) -> float:
    """Share of the interval before the first snapshot, so that those of many partitions do not coincide."""
    return (place.partition + 1) * GOLDEN_RATIO % 1.0


def begin_at(partition: OwnedPartition, offset: int) -> None:
    """Note where a partition without any commit began: its first commit says that the state before was empty."""
    partition.pointer = empty_pointer(
        offset, generation=0, config_hash=partition.pipeline.config_hash, cluster=partition.cluster
    )


def pointer_is_committed(partition: OwnedPartition) -> bool:
    """Whether the broker is known to hold the pointer: only then may a snapshot take the place of an older one."""
    pointer, committed = partition.pointer, partition.committed
    return pointer is not None and committed is not None and committed.metadata == format_pointer(pointer)
