"""What a restore would do now, and what a reset would lead to: decided by the restore's own code, nothing changed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from detector.errors import SnapshotRefusedError
from detector.ports import Committed, OffsetRange, SnapshotStore, TopicPartition
from detector.state import Pointer, Snapshot, check_origin, empty_pointer, format_pointer, parse_pointer
from detector.worker.gaps import gap_at
from detector.worker.restores import chosen, shortened

Kind = Literal["restore", "found", "empty", "lost", "first"]
RIVER_LENGTHS = ".river.lengths"


@dataclass(frozen=True, slots=True)
class Judging:
    """When a state is usable: hash of the settings by input topic, and whether objects of river are read."""

    hash_of: Callable[[str], str]
    river_objects: bool


class _Judge:
    """Takes a snapshot as a pipeline does, as far as it may be refused, and keeps nothing of it."""

    def __init__(self, place: TopicPartition, judging: Judging) -> None:
        self._place = place
        self._judging = judging

    @property
    def config_hash(self) -> str:
        """Of the settings in force."""
        return self._judging.hash_of(self._place.topic)

    def restore(self, snapshot: Snapshot, *, cluster: str) -> int:
        """Check where it is from and what it holds."""
        topic, partition = self._place
        check_origin(snapshot.header, config_hash=self.config_hash, cluster=cluster, topic=topic, partition=partition)
        rivers = [column for name, column in snapshot.columns.items() if name.endswith(RIVER_LENGTHS)]
        if not self._judging.river_objects and any(column.any() for column in rivers):
            raise SnapshotRefusedError("the snapshot holds objects of river, and state.river_objects is false")
        return snapshot.header.offset


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a worker that is assigned the partition now would do.

    ``restore``: from the state that the pointer names; ``found``: from another snapshot, found by a search; ``empty``:
    from the empty state; ``lost``: learn anew, or stop, as ``state.on_state_loss`` says; ``first``: nothing was
    committed. It reads from ``offset`` on (-1: as ``kafka.auto_offset_reset`` or ``state.bootstrap`` says) and is
    silent for ``replay`` records.
    """

    kind: Kind
    offset: int
    replay: int
    reason: str
    pointer: Pointer | None
    cluster: str


def outlook(
    store: SnapshotStore, place: TopicPartition, committed: Committed, bounds: OffsetRange, judging: Judging
) -> Outlook:
    """Decide as a restore does, reading the snapshot that it would read.

    Raises ``StateUnavailableError`` and ``StopWorkerError`` as a restore does.
    """
    loaded = chosen(store, lambda each: _Judge(each, judging), place, committed)
    pointer, loss = loaded.pointer, loaded.loss
    if committed.offset < 0:
        reason = loss or "nothing is committed: kafka.auto_offset_reset decides, or state.bootstrap"
        return Outlook("first" if loss is None else "lost", -1, 0, reason, None, loaded.cluster)
    if pointer is not None:
        pointer = shortened(pointer, committed.offset, bounds)
    gap = gap_at(committed.offset if pointer is None else pointer.offset, committed.offset, bounds)
    if gap is not None:
        loss = gap.reason
    if pointer is None or loss is not None:
        offset = committed.offset if gap is None else gap.start
        return Outlook("lost", offset, 0, loss or "", None, loaded.cluster)
    replay = max(0, committed.offset - pointer.offset)
    if pointer.is_empty:
        return Outlook("empty", pointer.offset, replay, "", pointer, loaded.cluster)
    if pointer == parse_pointer(committed.metadata):
        return Outlook("restore", pointer.offset, replay, "", pointer, loaded.cluster)
    named = parse_pointer(committed.metadata)
    reason = "no pointer beside the committed offset" if named is None else "the pointer's snapshot cannot be used"
    return Outlook("found", pointer.offset, replay, reason, pointer, loaded.cluster)


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """What a reset of one partition would commit; nothing where ``refusal`` says why it must not be done.

    A worker would then read from ``pointer.offset`` on and say nothing about the first ``replay`` records.
    """

    place: TopicPartition
    current: Committed
    target: int
    pointer: Pointer | None
    replay: int
    refusal: str | None

    @property
    def wanted(self) -> Committed:
        """The target with its pointer."""
        assert self.pointer is not None, "a plan that is refused is not carried out"
        return Committed(self.target, format_pointer(self.pointer))


def plan_reset(
    store: SnapshotStore,
    place: TopicPartition,
    current: Committed,
    target: int,
    kept: OffsetRange,
    judging: Judging,
    *,
    forget: bool,
) -> ResetPlan:
    """Find the newest state from which the input can be replayed up to ``target``; with ``forget`` the empty one.

    ``kept``: first offset and end of the input. The state is the one that a restore would choose if the committed
    offset were ``target``, and is read and checked like one.
    """
    begins, ends = kept
    if not begins <= target <= ends:
        return ResetPlan(place, current, target, None, 0, f"offset {target} is not within {begins} to {ends}")
    if forget:
        named = parse_pointer(current.metadata)
        generation = 0 if named is None else named.generation  # the next snapshot then harms none that is in use
        pointer = empty_pointer(
            target, generation=generation, config_hash=judging.hash_of(place.topic), cluster=store.prepare(place)
        )
        return ResetPlan(place, current, target, pointer, 0, None)
    found = outlook(store, place, Committed(target, current.metadata), kept, judging)
    if found.pointer is None:
        refusal = f"its models would be lost ({found.reason}); --forget begins with none"
        return ResetPlan(place, current, target, None, 0, refusal)
    return ResetPlan(place, current, target, found.pointer, found.replay, None)
