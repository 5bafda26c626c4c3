"""Keys to slots, bounded, with least-recently-seen eviction and expiry by event time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from detector.batches import BoolArray, IntArray, SeriesIdentity, SeriesKey
from detector.columns import Columns, Deferred, taken
from detector.errors import SnapshotRefusedError
from detector.series.order import NEVER_MS, next_expiry

NO_SLOT: Final = -1
"""Slot of a sample whose key stands for no usable series."""

EVICTED_SHARE: Final = 64
"""A full table gives up one series in 64 at once (at least one): choosing victims costs a pass over the table."""

CAPACITY_START: Final = 256

LOOKAHEAD_KEYS: Final = 256
"""Keys looked up at once after an eviction: the next may come within a few rows and void what was looked up."""

ALWAYS_MS: Final = int(np.iinfo(np.int64).max)
"""A time after all times."""


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """A series identity as a snapshot keeps it: a JSON array of five."""

    name: str
    labels: dict[str, str]
    canonical: str
    fingerprint: str
    unit: str | None


def _stored(identity: SeriesIdentity) -> tuple[str, Mapping[str, str], str, str, str | None]:
    return identity.name, identity.labels, identity.canonical, identity.fingerprint, identity.unit


class Fault(NamedTuple):
    """A sample whose labels could not be used: its position, and the decoder's word on why."""

    position: int
    cause: Any


@dataclass(slots=True)
class Routed:
    """What :meth:`SeriesTable.route` did: how far it got, which slots are new, which positions are faulty.

    ``full`` says that the key at ``stop`` needs a slot and none is left.
    """

    stop: int
    created: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    full: bool = False


class SeriesTable:
    """Series of one partition.

    ``limit`` series at most; ``aliases_max`` raw keys at most (one series may be written in several ways: order of
    labels, white space). ``last_ms`` int64[capacity] is the last accepted event time per slot, kept by
    ``series.order.admit``. Series not seen for longer than ``idle_expiry_ms`` are :meth:`idle`; 0 means never.
    """

    def __init__(self, limit: int, aliases_max: int, idle_expiry_ms: int = 0) -> None:
        assert limit > 0
        assert aliases_max > 0
        assert idle_expiry_ms >= 0
        self._limit: Final = limit
        self._aliases_max: Final = aliases_max
        self._slots_by_key: dict[SeriesKey, int] = {}
        self._slots_by_text: dict[str, int] = {}
        self._keys_by_slot: list[list[SeriesKey]] = []
        self._identities: list[SeriesIdentity | None] = []
        self._free: list[int] = []
        self.last_ms: IntArray = np.full(min(CAPACITY_START, limit), NEVER_MS, dtype=np.int64)
        self._live: BoolArray = np.zeros(len(self.last_ms), dtype=np.bool_)
        self._aliases_cleared_count = 0
        self._idle_expiry_ms: Final = idle_expiry_ms
        self._oldest_ms = ALWAYS_MS
        self._excused_ms = NEVER_MS

    def __len__(self) -> int:
        return len(self._slots_by_text)

    @property
    def capacity(self) -> int:
        """Slots that exist so far; grows by doubling up to the limit."""
        return len(self.last_ms)

    @property
    def limit(self) -> int:
        """Series that may exist at once."""
        return self._limit

    def identity(self, slot: int) -> SeriesIdentity:
        """Identity of a live slot."""
        identity = self._identities[slot]
        assert identity is not None
        return identity

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
        for slot in slots.tolist():
            del self._slots_by_text[self.identity(slot).canonical]
            self._identities[slot] = None
            for key in self._keys_by_slot[slot]:
                del self._slots_by_key[key]
            self._keys_by_slot[slot].clear()
        self.last_ms[slots] = NEVER_MS
        self._live[slots] = False
        self._free.extend(sorted(slots.tolist(), reverse=True))

    def live_slots(self) -> IntArray:
        """Slots in use, ascending."""
        return np.flatnonzero(self._live)

    def columns(self) -> Deferred:
        """All but the aliases, which are found again: live slots and their times, identities, free slots, excuse."""
        slots = self.live_slots()
        times, free = self.last_ms[slots], np.array(self._free, dtype=np.int64)
        excused = np.array([self._excused_ms], dtype=np.int64)
        identities = [self._identities[slot] for slot in slots.tolist()]

        def laid_out() -> Columns:
            stored = msgspec.json.encode([_stored(identity) for identity in identities if identity is not None])
            return {
                "slots": slots,
                "last_ms": times,
                "identities": np.frombuffer(stored, np.uint8),
                "free": free,
                "excused_ms": excused,
            }

        return laid_out

    def restore(self, columns: Columns) -> IntArray:
        """Fill a new table from :meth:`columns`; returns the live slots. Raises ``SnapshotRefusedError``.

        Snapshots from before series expired have no excuse.
        """
        assert not self._identities, "only a new table is restored"
        try:
            stored = msgspec.json.decode(columns["identities"].tobytes(), type=list[_Stored])
        except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SnapshotRefusedError(f"the snapshot's series cannot be read: {error}") from error
        slots = taken(columns, "slots", np.dtype(np.int64), (len(stored),))
        times = taken(columns, "last_ms", np.dtype(np.int64), (len(stored),))
        free = columns.get("free")
        if free is None or free.dtype != np.int64 or free.ndim != 1:
            raise SnapshotRefusedError("the snapshot's free slots cannot be read")
        if "excused_ms" in columns:
            self._excused_ms = int(taken(columns, "excused_ms", np.dtype(np.int64), (1,))[0])
        size = len(slots) + len(free)
        if size > self._limit or not np.array_equal(np.sort(np.concatenate((slots, free))), np.arange(size)):
            raise SnapshotRefusedError(f"the snapshot's {size} slots do not fit a table of {self._limit} series")
        self._identities = [None] * size
        self._keys_by_slot = [[] for _ in range(size)]
        self._grow_to(size)
        for slot, entry in zip(slots.tolist(), stored, strict=True):
            self._identities[slot] = SeriesIdentity(*msgspec.structs.astuple(entry))
            self._slots_by_text[entry.canonical] = slot
        self.last_ms[slots] = times
        self._live[slots] = True
        self._oldest_ms = int(times.min(initial=ALWAYS_MS))
        self._free = free.tolist()
        return slots

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
        slot = self._slots_by_text.get(identity.canonical)
        if slot is None:
            if len(self._slots_by_text) >= self._limit:
                return None
            slot = self._create(identity)
            routed.created.append(slot)
        self._remember(key, slot)
        return slot

    def _create(self, identity: SeriesIdentity) -> int:
        slot = self._free.pop() if self._free else len(self._identities)
        if slot == len(self._identities):
            self._identities.append(None)
            self._keys_by_slot.append([])
            self._grow_to(slot + 1)
        self._identities[slot] = identity
        self._live[slot] = True
        self._slots_by_text[identity.canonical] = slot
        return slot

    def _grow_to(self, size: int) -> None:
        if size <= self.capacity:
            return
        grown = np.full(min(max(size, 2 * self.capacity), self._limit), NEVER_MS, dtype=np.int64)
        grown[: self.capacity] = self.last_ms
        self.last_ms = grown
        self._live = np.concatenate((self._live, np.zeros(len(grown) - len(self._live), dtype=np.bool_)))

    def _remember(self, key: SeriesKey, slot: int) -> None:
        """Add an alias. A full alias table is emptied: it only saves parsing, and what is in use is back at once."""
        if len(self._slots_by_key) >= self._aliases_max:
            self._slots_by_key.clear()
            for keys in self._keys_by_slot:
                keys.clear()
            self._aliases_cleared_count += 1
        self._slots_by_key[key] = slot
        self._keys_by_slot[slot].append(key)
