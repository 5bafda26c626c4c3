"""Keys to slots, bounded, with least-recently-seen eviction and expiry by event time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.batches import BoolArray, IntArray, SeriesIdentity, SeriesKey
from detector.columns import Columns, PartialCopy, taken
from detector.errors import SnapshotRefusedError
from detector.series.order import NEVER_MS, next_expiry
from detector.series.stored import PART_SERIES, canonical_of, fingerprint_number, join, pack, split, unpack

NO_SLOT: Final = -1
"""Slot of a sample whose key stands for no usable series."""

EVICTED_SHARE: Final = 64
"""A full table gives up one series in 64 at once (at least one): choosing victims costs a pass over the table."""

CAPACITY_START: Final = 256

LOOKAHEAD_KEYS: Final = 256
"""Keys looked up at once after an eviction: the next may come within a few rows and void what was looked up."""

ALWAYS_MS: Final = int(np.iinfo(np.int64).max)
"""A time after all times."""


class Fault(NamedTuple):
    """A sample whose labels could not be used: its position, and the decoder's word on why."""

    position: int
    cause: Any


@dataclass(slots=True)
class Routed:
    """What :meth:`SeriesTable.route` did: how far it got, which slots are new and whose, which positions are faulty.

    ``full`` says that the key at ``stop`` needs a slot and none is left.
    """

    stop: int
    created: list[int] = field(default_factory=list)
    identities: list[SeriesIdentity] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    full: bool = False


class SeriesTable:
    """Series of one partition.

    ``limit`` series at most; ``aliases_max`` raw keys at most (one series may be written in several ways: order of
    labels, white space). ``last_ms`` int64[capacity] is the last accepted event time per slot, kept by
    ``series.order.admit``. Identities are kept packed (:mod:`detector.series.stored`) and found by their fingerprint's
    64 bits; a second series with the same ones is found by its canonical text. Series not seen for longer than
    ``idle_expiry_ms`` are :meth:`idle`; 0 means never.
    """

    def __init__(self, limit: int, aliases_max: int, idle_expiry_ms: int = 0) -> None:
        assert limit > 0
        assert aliases_max > 0
        assert idle_expiry_ms >= 0
        self._limit: Final = limit
        self._aliases_max: Final = aliases_max
        self._slots_by_key: dict[SeriesKey, int] = {}
        self._slots_by_fingerprint: dict[int, int] = {}
        self._namesakes: dict[str, int] = {}
        self._keys_by_slot: list[list[SeriesKey] | None] = []
        self._packed: list[bytes | None] = []
        self._free: list[int] = []
        self.last_ms: IntArray = np.full(min(CAPACITY_START, limit), NEVER_MS, dtype=np.int64)
        self._live: BoolArray = np.zeros(len(self.last_ms), dtype=np.bool_)
        self._fingerprints: NDArray[np.uint64] = np.zeros(len(self.last_ms), dtype=np.uint64)
        self._aliases_cleared_count = 0
        self._idle_expiry_ms: Final = idle_expiry_ms
        self._oldest_ms = ALWAYS_MS
        self._excused_ms = NEVER_MS

    def __len__(self) -> int:
        return len(self._slots_by_fingerprint) + len(self._namesakes)

    @property
    def capacity(self) -> int:
        """Slots that exist so far; grows by doubling up to the limit."""
        return len(self.last_ms)

    @property
    def expires(self) -> bool:
        """Whether idle series are to be forgotten."""
        return self._idle_expiry_ms > 0

    @property
    def limit(self) -> int:
        """Series that may exist at once."""
        return self._limit

    def identity(self, slot: int) -> SeriesIdentity:
        """Identity of a live slot, made anew by each call."""
        return unpack(self.packed_at(slot))

    def route(
        self,
        keys: Sequence[SeriesKey],
        start: int,
        slots: IntArray,
        resolve: Callable[[SeriesKey], SeriesIdentity | Any],
        limit: int | None = None,
    ) -> Routed:
        """Fill ``slots[start:stop]``, stopping before a key that needs a slot in a full table, or to look no further.

        ``limit`` is a position before which to stop in any case. ``resolve`` parses a key on first sight and answers an
        identity or a fault, which is handed back as it is. The caller scores the rows up to ``stop``, then evicts
        :meth:`victims` and goes on from there: so an eviction sees exactly the times of the rows before it, wherever a
        batch was cut.
        """
        end = len(keys) if limit is None else limit
        if start:
            end = min(end, start + LOOKAHEAD_KEYS)
        ahead = keys if end - start == len(keys) else keys[start:end]
        stop = start + len(ahead)
        found = list(map(self._slots_by_key.get, ahead))
        if None not in found:
            slots[start:stop] = np.fromiter(found, np.int64, len(found))
            return Routed(stop)
        routed = Routed(stop)
        for position, slot in enumerate(found, start):
            known = slot if slot is not None else self._admit(keys[position], position, routed, resolve)
            if known is None:
                routed.stop = position
                routed.full = True
                break
            slots[position] = known
        return routed

    def victims(self) -> IntArray:
        """The live slots seen longest ago, ascending; one in ``EVICTED_SHARE``, at least one (ties: lowest slot)."""
        live = np.flatnonzero(self._live)
        times = self.last_ms[live]
        count = max(1, self._limit // EVICTED_SHARE)
        oldest_kept = np.partition(times, count - 1)[count - 1]
        older = live[times < oldest_kept]
        tied = live[times == oldest_kept][: count - len(older)]
        return np.sort(np.concatenate((older, tied)))

    def next_expiry(self, times_ms: IntArray, start: int, first: int, watermark_ms: int, grid_ms: int) -> int:
        """Position from ``first`` on of a row that may make some series expire; ``len(times_ms)`` if there is none.

        That is a row which may make the watermark, ``watermark_ms`` before the row ``start``, reach a multiple of
        ``grid_ms`` at which some series is :meth:`idle`. One compiled pass over the times, and mostly the only one.
        """
        if not self._idle_expiry_ms:
            return len(times_ms)
        bound_ms = max(self._oldest_ms, self._excused_ms)
        stop, oldest_ms = next_expiry(times_ms, start, first, watermark_ms, bound_ms, grid_ms, self._idle_expiry_ms)
        self._oldest_ms = int(oldest_ms)
        return int(stop)

    def knows(self, key: SeriesKey) -> bool:
        """Whether this spelling has led to a live series."""
        return key in self._slots_by_key

    def idle(self, point_ms: int, watermark_ms: int) -> IntArray:
        """Live slots not seen for longer than the expiry at ``point_ms``, ascending; the watermark comes from before.

        When the whole partition was silent for so long, that says nothing about any series: none is idle, and idleness
        counts anew from this point.
        """
        live = np.flatnonzero(self._live)
        if len(live) and point_ms - watermark_ms > self._idle_expiry_ms:
            self._excused_ms = point_ms
        times = np.maximum(self.last_ms[live], self._excused_ms)
        idle = point_ms - times > self._idle_expiry_ms
        self._oldest_ms = int(times[~idle].min(initial=ALWAYS_MS))
        return live[idle]

    def evict(self, slots: IntArray) -> None:
        """Forget the series of ``slots`` and every key that led to them; the slots may be used again."""
        for slot, fingerprint in zip(slots.tolist(), self._fingerprints[slots].tolist(), strict=True):
            if self._slots_by_fingerprint.get(fingerprint) == slot:
                del self._slots_by_fingerprint[fingerprint]
            else:
                del self._namesakes[canonical_of(self.packed_at(slot))]
            self._packed[slot] = None
            for key in self._keys_by_slot[slot] or ():
                del self._slots_by_key[key]
            self._keys_by_slot[slot] = None
        self.last_ms[slots] = NEVER_MS
        self._live[slots] = False
        self._free.extend(sorted(slots.tolist(), reverse=True))

    def live_slots(self) -> IntArray:
        """Slots in use, ascending."""
        return np.flatnonzero(self._live)

    def begin_copy(self, slots: IntArray) -> PartialCopy:
        """Begin a copy of these slots, all that are live: times, identities, and the free slots and the excuse of now.

        Aliases are left out: they are found again.
        """
        return _SeriesCopy(self, slots, np.array(self._free, dtype=np.int64), np.array([self._excused_ms]))

    def restore(self, columns: Columns) -> IntArray:
        """Fill a new table from a copy's columns; returns the live slots. Raises ``SnapshotRefusedError``.

        Snapshots from before series expired have no excuse.
        """
        assert not self._packed, "only a new table is restored"
        slots, free = _numbers(columns, "slots"), _numbers(columns, "free")
        times = taken(columns, "last_ms", np.dtype(np.int64), slots.shape)
        if "excused_ms" in columns:
            self._excused_ms = int(taken(columns, "excused_ms", np.dtype(np.int64), (1,))[0])
        size = len(slots) + len(free)
        if size > self._limit or not np.array_equal(np.sort(np.concatenate((slots, free))), np.arange(size)):
            raise SnapshotRefusedError(f"the snapshot's {size} slots do not fit a table of {self._limit} series")
        identities = columns.get("identities")
        if identities is None:
            raise SnapshotRefusedError("the snapshot lacks the column identities")
        packed, fingerprints = split(identities, len(slots))
        self._packed = [None] * size
        self._keys_by_slot = [None] * size
        self._grow_to(size)
        for slot, each in zip(slots.tolist(), packed, strict=True):
            self._packed[slot] = each
        self._fingerprints[slots] = fingerprints
        self._find_by(slots, fingerprints)
        self.last_ms[slots] = times
        self._live[slots] = True
        self._oldest_ms = int(times.min(initial=ALWAYS_MS))
        self._free = free.tolist()
        return slots

    def _find_by(self, slots: IntArray, fingerprints: NDArray[np.uint64]) -> None:
        """Let these fingerprints lead to these slots, part by part: other threads get their turn in between."""
        for start in range(0, len(slots), PART_SERIES):
            part = slice(start, start + PART_SERIES)
            self._slots_by_fingerprint.update(zip(fingerprints[part].tolist(), slots[part].tolist(), strict=True))
        if len(self._slots_by_fingerprint) == len(slots):
            return
        self._slots_by_fingerprint.clear()
        for slot, fingerprint in zip(slots.tolist(), fingerprints.tolist(), strict=True):
            self._lead(fingerprint, canonical_of(self.packed_at(slot)), slot)

    def _lead(self, fingerprint: int, canonical: str, slot: int) -> None:
        """Let a series be found: by its fingerprint, or, where another one has it already, by its text."""
        if self._slots_by_fingerprint.setdefault(fingerprint, slot) != slot:
            self._namesakes[canonical] = slot

    def _found(self, fingerprint: int, canonical: str) -> int | None:
        """Slot of the series with this identity, if it has one."""
        slot = self._slots_by_fingerprint.get(fingerprint)
        if slot is not None and canonical_of(self.packed_at(slot)) == canonical:
            return slot
        return self._namesakes.get(canonical)

    def packed_at(self, slot: int) -> bytes:
        """Identity of a live slot as it is kept."""
        packed = self._packed[slot]
        assert packed is not None
        return packed

    def take_aliases_cleared(self) -> int:
        """How often the alias table was emptied since the last call."""
        count, self._aliases_cleared_count = self._aliases_cleared_count, 0
        return count

    def _admit(
        self, key: SeriesKey, position: int, routed: Routed, resolve: Callable[[SeriesKey], SeriesIdentity | Any]
    ) -> int | None:
        """Slot of a key that was not known when the batch began, or None where the table is full."""
        slot = self._slots_by_key.get(key)
        if slot is not None:
            return slot
        identity = resolve(key)
        if not isinstance(identity, SeriesIdentity):
            routed.faults.append(Fault(position, identity))
            return NO_SLOT
        fingerprint = fingerprint_number(identity)
        slot = self._found(fingerprint, identity.canonical)
        if slot is None:
            if len(self) >= self._limit:
                return None
            slot = self._create(identity, fingerprint)
            routed.created.append(slot)
            routed.identities.append(identity)
        self._remember(key, slot)
        return slot

    def _create(self, identity: SeriesIdentity, fingerprint: int) -> int:
        slot = self._free.pop() if self._free else len(self._packed)
        if slot == len(self._packed):
            self._packed.append(None)
            self._keys_by_slot.append(None)
            self._grow_to(slot + 1)
        self._packed[slot] = pack(identity)
        self._live[slot] = True
        self._fingerprints[slot] = fingerprint
        self._lead(fingerprint, identity.canonical, slot)
        return slot

    def _grow_to(self, size: int) -> None:
        if size <= self.capacity:
            return
        grown = np.full(min(max(size, 2 * self.capacity), self._limit), NEVER_MS, dtype=np.int64)
        grown[: self.capacity] = self.last_ms
        self.last_ms = grown
        more = len(grown) - len(self._live)
        self._live = np.concatenate((self._live, np.zeros(more, dtype=np.bool_)))
        self._fingerprints = np.concatenate((self._fingerprints, np.zeros(more, dtype=np.uint64)))

    def _remember(self, key: SeriesKey, slot: int) -> None:
        """Add an alias. A full alias table is emptied: it only saves parsing, and what is in use is back at once."""
        if len(self._slots_by_key) >= self._aliases_max:
            self._slots_by_key.clear()
            self._keys_by_slot = [None] * len(self._packed)
            self._aliases_cleared_count += 1
        self._slots_by_key[key] = slot
        keys = self._keys_by_slot[slot]
        if keys is None:
            self._keys_by_slot[slot] = [key]
        else:
            keys.append(key)


class _SeriesCopy:
    """Times and packed identities of a table's ``slots``; identities come in pieces, put in order at the end."""

    def __init__(self, table: SeriesTable, slots: IntArray, free: IntArray, excused_ms: IntArray) -> None:
        self._table = table
        self._slots = slots
        self._free = free
        self._excused_ms = excused_ms
        self._times = np.empty(len(slots), dtype=np.int64)
        self._pieces: list[tuple[IntArray, list[bytes]]] = []

    def take(self, positions: IntArray) -> None:
        """Copy the times and note the identities, which never change while their series lives."""
        slots = self._slots[positions]
        self._times[positions] = self._table.last_ms[slots]
        self._pieces.append((positions, list(map(self._table.packed_at, slots.tolist()))))

    def columns(self) -> Columns:
        """Slots, times and identities in the order of the slots; free slots in the order in which they were freed."""
        packed = np.empty(len(self._slots), dtype=np.object_)
        for positions, piece in self._pieces:
            packed[positions] = piece
        identities = join(packed.tolist())
        return {
            "slots": self._slots,
            "last_ms": self._times,
            "identities": identities,
            "free": self._free,
            "excused_ms": self._excused_ms,
        }


def _numbers(columns: Columns, name: str) -> IntArray:
    """A column of any number of slots."""
    column = columns.get(name)
    if column is None or column.dtype != np.int64 or column.ndim != 1:
        raise SnapshotRefusedError(f"the snapshot's column {name} cannot be read")
    return column
