"""What ``auto`` stands for: each series gets the learner that fits what it shows.

The first samples of a series are kept. Then :func:`detector.learners.auto_waiting.choice` says whether they look like
low counts: those go to the count learner, all others to the envelope learner, which is given the kept samples in their
order, so that it is as if it had seen them. A series of counts with a value that no count can have is one no more: from
that sample on it is a new series of the envelope learner.

The choice is a function of the series' own samples and of its hint, which is one of its identity. A series that begins
when its peers are known (:mod:`detector.learners.auto_peers`) takes over how they scatter, and is chosen for sooner.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray, IntArray, ScoreColumns
from detector.columns import Columns, PartialCopy, prefixed, put_fields, taken, under
from detector.compiled import compiled
from detector.errors import SnapshotRefusedError, UsageError
from detector.learners.auto_hints import HINTS, NO_HINT
from detector.learners.auto_peers import (
    MATURE_SAMPLES,
    NO_GROUP,
    PEERS_SAMPLES,
    SIZE,
    PeerTable,
    put_together,
)
from detector.learners.auto_waiting import (
    CHOICES,
    DEFAULT,
    LOW_COUNTS,
    NOT_WHOLE,
    RECORD,
    SAMPLES,
    WAITING,
    Waiting,
    WaitingCopy,
    is_count,
)
from detector.learners.counts import CountLearner
from detector.learners.envelope import UTC_OFFSETS, EnvelopeLearner, UtcOffsets
from detector.learners.rows import PartsCopy, Rows

ENVELOPE: Final = 1
COUNTS: Final = 2
_DONE: Final = 3
_LATER: Final = 4
_OWNERS: Final = np.full(len(CHOICES), ENVELOPE, dtype=np.uint8)
"""Who has a series, by its choice: nobody (0), :data:`ENVELOPE` or :data:`COUNTS`."""
_OWNERS[WAITING] = WAITING
_OWNERS[LOW_COUNTS] = COUNTS
_NO_ROW: Final = -1
PEERS_TOLD: Final = 2 * SAMPLES
"""Up to this sample of a series with peers its scores are said to rest on them."""
PEER_GROUPS: Final = 50_000
PEER_GROUPS_MAX: Final = 1_000_000
_HANDED_OVER: Final = 1_024
"""Series whose kept samples are learnt at once: 2.5 MB of columns."""


@compiled
def _survey(chosen: NDArray[np.uint8], owner_of: NDArray[np.uint8], slots: IntArray, owners: NDArray[np.uint8]) -> int:
    """Fill in who has each sample's slot; returns the least of them, which is ``WAITING`` where some have nobody."""
    least = _DONE
    for i in range(len(slots)):
        owner = int(owner_of[chosen[slots[i]]])
        owners[i] = owner
        least = min(least, owner)
    return least


@compiled
def _holds_no_count(owners: NDArray[np.uint8], values: FloatArray) -> bool:
    """Whether a series of counts has a value that is none."""
    for i in range(len(owners)):  # noqa: SIM110 - a kernel
        if owners[i] == COUNTS and not is_count(float(values[i])):
            return True
    return False


class Scorer(NamedTuple):
    """What scores a series: name and version of the learner, and why that one.

    ``chosen`` is ``policy`` where a policy names the learner, else one of :data:`CHOICES`. ``peers`` says whether the
    score rests on what its peers have shown.
    """

    name: str
    version: int
    chosen: str
    peers: bool


class AutoLearner:
    """Counts or envelope, by what each series shows; 23 bytes a series beside those of the learner it has.

    ``timezone`` is the one of the envelope learner's profiles. ``peer_groups`` is how many groups of peers are known at
    most; with 0 none are, and every series begins alone.
    """

    name = "auto"
    version = 1
    warm_up_samples = SAMPLES

    def __init__(self, timezone: UtcOffsets = UTC_OFFSETS, peer_groups: int = PEER_GROUPS) -> None:
        if type(peer_groups) is not int or not 0 <= peer_groups <= PEER_GROUPS_MAX:
            raise UsageError(f"peer_groups should be a whole number from 0 to {PEER_GROUPS_MAX:,}, not {peer_groups!r}")
        self._peer_groups = peer_groups
        self._peers = PeerTable()
        self._waiting = Waiting()
        self._envelope = EnvelopeLearner(timezone)
        self._parts = {ENVELOPE: Rows(self._envelope), COUNTS: Rows(CountLearner())}
        self._groups = np.zeros(0, dtype=np.uint64)
        self._by_peers = np.zeros(0, dtype=np.bool_)  # whose warm-up was filled up
        self._chosen = np.zeros(0, dtype=np.uint8)
        self._hints = np.zeros(0, dtype=np.uint8)
        self._rows = np.zeros(0, dtype=np.int64)
        self._left_at = np.zeros(0, dtype=np.uint32)  # which sample was no count, from 1 on; 0: none

    def reserve(self, capacity: int) -> None:
        """Make room for the slots 0 to ``capacity`` - 1, keeping what was learnt."""
        more = capacity - len(self._chosen)
        if more > 0:
            self._chosen = np.concatenate((self._chosen, np.full(more, WAITING, dtype=np.uint8)))
            self._hints = np.concatenate((self._hints, np.full(more, NO_HINT, dtype=np.uint8)))
            self._rows = np.concatenate((self._rows, np.full(more, _NO_ROW, dtype=np.int64)))
            self._left_at = np.concatenate((self._left_at, np.zeros(more, dtype=np.uint32)))
            self._groups = np.concatenate((self._groups, np.full(more, NO_GROUP, dtype=np.uint64)))
            self._by_peers = np.concatenate((self._by_peers, np.zeros(more, dtype=np.bool_)))

    def begin(self, slot: int, hint: int, group: int = NO_GROUP) -> None:
        """Note what a new series is: its :func:`hint_of` and its :func:`group_of`, whose prior it takes over now."""
        assert self._rows[slot] == _NO_ROW
        self._hints[slot] = hint
        self._groups[slot] = group
        prior = self._peers.prior_of(group)
        if prior[SIZE] > 0.0:
            (row,) = self._waiting.add(np.array([slot]))
            self._rows[slot] = row
            self._waiting.records["prior"][row] = prior

    @property
    def meets_peers(self) -> bool:
        """Whether :meth:`meet` is to be called at each full hour of event time."""
        return self._peer_groups > 0

    def meet(self) -> int:
        """Put together what groups of peers have shown; returns how many groups there was no room for."""
        mine = np.flatnonzero((_OWNERS[self._chosen] == ENVELOPE) & (self._groups != NO_GROUP))
        state, rows = self._envelope._state, self._rows[mine]  # noqa: SLF001 - one room, and no copy of everything
        mature = state["samples"][rows] >= MATURE_SAMPLES
        rows = rows[mature]
        self._peers = put_together(
            self._groups[mine[mature]],
            state["size"][rows, 0].astype(np.float64),
            state["base"][rows] + state["fast"][rows],
            self._peer_groups,
        )
        return self._peers.left_out

    def score(self, slots: IntArray, times_ms: IntArray, values: FloatArray, out: ScoreColumns) -> int:
        """Score, then learn, in row order. Never meets an exception, so the answer is always 0."""
        assert len(slots) == len(times_ms) == len(values) == len(out)
        assert len(slots) == 0 or 0 <= int(slots.min()) <= int(slots.max()) < len(self._chosen)
        owners = np.empty(len(slots), dtype=np.uint8)
        if _survey(self._chosen, _OWNERS, slots, owners) == WAITING:
            self._collect(owners, slots, times_ms, values, out)
        leaving = self._find_not_counts(owners, slots, values)
        self._score_part(COUNTS, owners, slots, times_ms, values, out)
        if len(leaving):
            self._left_at[leaving] = [self.samples_seen(slot) + 1 for slot in leaving.tolist()]
            self._give_up(leaving)
            self._chosen[leaving] = NOT_WHOLE
            self._rows[leaving] = self._parts[ENVELOPE].take_many(len(leaving))
            owners[owners == _LATER] = ENVELOPE
        self._score_part(ENVELOPE, owners, slots, times_ms, values, out)
        return 0

    def _score_part(
        self,
        owner: int,
        owners: NDArray[np.uint8],
        slots: IntArray,
        times_ms: IntArray,
        values: FloatArray,
        out: ScoreColumns,
    ) -> None:
        """Let one of the two score its own samples; nothing is gathered where all of a batch are."""
        own = np.flatnonzero(owners == owner)
        part = self._parts[owner]
        if len(own) == len(slots):
            part.learner.score(self._rows[slots], times_ms, values, out)
        elif len(own):
            part.score(own, self._rows[slots], times_ms, values, out)

    def _collect(
        self, owners: NDArray[np.uint8], slots: IntArray, times_ms: IntArray, values: FloatArray, out: ScoreColumns
    ) -> None:
        """Keep the samples of series without a learner, and choose one for those that have enough.

        ``owners`` of kept samples become ``_DONE``, of those after a choice what was chosen.
        """
        own = np.flatnonzero(owners == WAITING)
        whose = slots[own]
        new = np.unique(whose[self._rows[whose] == _NO_ROW])
        self._rows[new] = self._waiting.add(new)
        kept = self._waiting.collect(self._rows[whose], times_ms[own], values[own])
        for column in out.columns():
            column[own[kept]] = np.nan
        full = self._waiting.full(self._rows[whose])
        if len(full):
            self._hand_over(full)
        owners[own] = np.where(kept, _DONE, _OWNERS[self._chosen[whose]])

    def _hand_over(self, rows: IntArray) -> None:
        """Choose for these waiting rows' series, and let the chosen learn what was kept."""
        slots = self._waiting.slots(rows)
        self._by_peers[slots] = self._waiting.records["prior"][rows, SIZE] > 0.0
        chosen = self._waiting.choices(rows, self._hints[slots])
        for owner, part in self._parts.items():
            own = np.flatnonzero(_OWNERS[chosen] == owner)
            given = part.take_many(len(own))
            for start in range(0, len(own), _HANDED_OVER):
                some = slice(start, start + _HANDED_OVER)
                records = self._waiting.records[rows[own[some]]]
                part.learner.score(
                    np.repeat(given[some], SAMPLES),
                    records["times_ms"].reshape(-1),
                    records["values"].reshape(-1),
                    ScoreColumns.empty(len(records) * SAMPLES),
                )
            self._rows[slots[own]] = given
        self._chosen[slots] = chosen
        self._close_gaps(rows)

    def _close_gaps(self, rows: IntArray) -> None:
        """Free these waiting rows, whose slots have others or none by now."""
        moved, places = self._waiting.remove(rows)
        self._rows[moved] = places

    def _find_not_counts(self, owners: NDArray[np.uint8], slots: IntArray, values: FloatArray) -> IntArray:
        """Slots of counts with a value that is none; ``owners`` of their samples from that one on become ``_LATER``."""
        if not _holds_no_count(owners, values):
            return slots[:0]
        counted = owners == COUNTS
        wrong = np.flatnonzero(counted & ((values < 0.0) | (values != np.floor(values))))
        leaving, firsts = np.unique(slots[wrong], return_index=True)
        places = np.minimum(np.searchsorted(leaving, slots), len(leaving) - 1)
        after = np.arange(len(slots)) >= wrong[firsts][places]
        owners[counted & after & (leaving[places] == slots)] = _LATER
        return leaving

    def _give_up(self, slots: IntArray) -> None:
        """Free the rows of these slots, whoever has them; a slot without samples has none."""
        owners = _OWNERS[self._chosen[slots]]
        for owner, part in self._parts.items():
            own = slots[owners == owner]
            if len(own):
                part.give_back(self._rows[own])
        waiting = self._rows[slots[owners == WAITING]]
        self._rows[slots] = _NO_ROW
        if len(waiting):
            self._close_gaps(waiting[waiting != _NO_ROW])

    def reset(self, slots: IntArray) -> None:
        """Forget: these slots are new series again, without a hint."""
        self._give_up(slots)
        self._chosen[slots] = WAITING
        self._hints[slots] = NO_HINT
        self._left_at[slots] = 0
        self._groups[slots] = NO_GROUP
        self._by_peers[slots] = False

    def rebaseline(self, slots: IntArray, times_ms: IntArray, levels: FloatArray) -> None:
        """Tell those that have the slots; a series without a learner has no level to move."""
        assert len(slots) == len(times_ms) == len(levels)
        owners = _OWNERS[self._chosen[slots]]
        for owner, part in self._parts.items():
            own = owners == owner
            if own.any():
                part.learner.rebaseline(self._rows[slots[own]], times_ms[own], levels[own])

    def scorer_of(self, slot: int, samples: int) -> Scorer:
        """Who scored the sample with this number of the slot's series, from 1 on, and why; this learner while it waits.

        A batch is scored as a whole, so that more may have been chosen since than that sample had seen.
        """
        chosen = int(self._chosen[slot])
        if samples < int(self._left_at[slot]):
            chosen = LOW_COUNTS
        by_peers = bool(self._by_peers[slot])
        if samples < (PEERS_SAMPLES if by_peers else SAMPLES):
            chosen = WAITING
        learner = self if chosen == WAITING else self._parts[int(_OWNERS[chosen])].learner
        return Scorer(
            learner.name, learner.version, CHOICES[chosen], by_peers and PEERS_SAMPLES < samples <= PEERS_TOLD
        )

    def samples_seen(self, slot: int) -> int:
        """How many samples the slot's series has been given since it was new."""
        row, owner = int(self._rows[slot]), int(_OWNERS[self._chosen[slot]])
        if owner != WAITING:
            made_up = SAMPLES - PEERS_SAMPLES if self._by_peers[slot] else 0
            return self._parts[owner].learner.samples_seen(row) + max(int(self._left_at[slot]) - 1, 0) - made_up
        return 0 if row == _NO_ROW else int(self._waiting.records["samples"][row])

    def state_bytes(self) -> int:
        """Bytes of both learners, of the samples kept and of who has which slot, reserved rows included."""
        arrays = (self._chosen, self._hints, self._rows, self._left_at, self._groups, self._by_peers)
        routing = sum(array.nbytes for array in arrays) + self._peers.nbytes()
        return sum(part.learner.state_bytes() for part in self._parts.values()) + self._waiting.nbytes() + routing

    def begin_copy(self, slots: IntArray) -> PartialCopy:
        """What was chosen for each slot, its hint, the samples kept (part 0) and the records of both learners."""
        chosen, rows = self._chosen[slots], self._rows[slots]
        owners = _OWNERS[chosen]
        parts = [part.learner.begin_copy(rows[owners == owner]) for owner, part in self._parts.items()]
        waiting = WaitingCopy(self._waiting, slots[owners == WAITING], lambda: self._rows)
        routing: dict[str, NDArray[Any]] = {
            "chosen": chosen,
            "hint": self._hints[slots],
            "left_at": self._left_at[slots].astype(np.int64),
            "group": self._groups[slots],
            "by_peers": self._by_peers[slots],
            **prefixed("peers", self._peers.columns()),
        }
        return _AutoCopy(routing, PartsCopy(owners, (waiting, *parts)))

    def restore(self, slots: IntArray, columns: Columns) -> None:
        """Take the state of a copy; that of an envelope learner, which ``auto`` once stood for, stays with it."""
        if "chosen" not in columns:
            self._chosen[slots] = DEFAULT
            self._restore_part(ENVELOPE, slots, columns)
            return
        chosen = taken(columns, "chosen", np.dtype(np.uint8), slots.shape)
        hints = taken(columns, "hint", np.dtype(np.uint8), slots.shape)
        if (chosen >= len(CHOICES)).any() or (hints >= HINTS).any():
            raise SnapshotRefusedError("the snapshot holds a choice of learner that this version does not know")
        self._chosen[slots] = chosen
        self._hints[slots] = hints
        self._left_at[slots] = taken(columns, "left_at", np.dtype(np.int64), slots.shape)
        self._groups[slots] = taken(columns, "group", np.dtype(np.uint64), slots.shape)
        self._by_peers[slots] = taken(columns, "by_peers", np.dtype(np.bool_), slots.shape)
        self._peers = PeerTable.restored(under("peers", columns))
        owners = _OWNERS[chosen]
        for owner in self._parts:
            self._restore_part(owner, slots[owners == owner], under(str(owner), columns))
        self._restore_waiting(slots[owners == WAITING], under(str(WAITING), columns))

    def _restore_part(self, owner: int, slots: IntArray, columns: Columns) -> None:
        part = self._parts[owner]
        rows = part.take_many(len(slots))
        self._rows[slots] = rows
        part.learner.restore(rows, columns)

    def _restore_waiting(self, slots: IntArray, columns: Columns) -> None:
        records = np.zeros(len(slots), dtype=RECORD)
        put_fields(records, np.arange(len(slots)), columns)
        samples = records["samples"]
        if ((samples < 0) | (samples >= SAMPLES)).any():
            raise SnapshotRefusedError(f"the snapshot's series without a learner have more than {SAMPLES - 1} samples")
        begun = (samples > 0) | (records["prior"][:, SIZE] > 0.0)
        rows = self._waiting.add(slots[begun])
        self._waiting.records[rows] = records[begun]
        self._rows[slots[begun]] = rows


class _AutoCopy:
    """What was chosen for whom, copied at once, and the parts' own copies."""

    def __init__(self, routing: Columns, parts: PartsCopy) -> None:
        self._routing = routing
        self._parts = parts

    def take(self, positions: NDArray[Any]) -> None:
        """Let each part copy its own ones of these positions."""
        self._parts.take(positions)

    def columns(self) -> Columns:
        """The routing, and the columns of part k under ``k.``."""
        return {**self._routing, **self._parts.columns()}
