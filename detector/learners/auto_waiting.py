"""Series that have no learner yet: their first samples, and what those say.

The rule is one plain function, :func:`choice`. What counts events gives whole numbers, few on average, and draws each
anew: half the mean square of successive differences is then about the mean (for Poisson counts exactly, in the long
run, for bursts and other mixtures more), where a gauge that keeps its value has much less. A total only rises.

Source: von Neumann, Kent, Bellinson, Hart (1941), "The mean square successive difference", Annals of Mathematical
Statistics 12; constants and what they cost: docs/decisions/0014-auto-per-series.md.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import BoolArray, FloatArray, IntArray
from detector.columns import Columns, fields_of, grown
from detector.compiled import compiled
from detector.learners.auto_hints import NOT_COUNTS
from detector.learners.auto_peers import PEERS_SAMPLES, PRIOR_NUMBERS, SCATTER, SIZE, completed
from detector.learners.count_tails import WHOLE_MIN
from detector.learners.counts import WARM_UP_SAMPLES as COUNTS_WARM_UP
from detector.learners.envelope_state import WARM_UP_SAMPLES as ENVELOPE_WARM_UP

SAMPLES: Final = max(COUNTS_WARM_UP, ENVELOPE_WARM_UP)
"""Samples that the choice rests on: whatever is chosen has then seen its warm-up."""
MEAN_MAX: Final = 10.0
"""Largest mean of a low count; from 10 on a Gaussian band is no worse."""
SCATTER_MIN: Final = 0.25
"""Half the mean square successive difference, over the mean: one Poisson series in 10,000 has less."""
TOTAL_RISE_MIN: Final = 2.0
"""What never falls and has risen by so much before its last sample is a running total."""

WAITING: Final = 0
LOW_COUNTS: Final = 1
BY_HINT: Final = 2
DEFAULT: Final = 3
NOT_WHOLE: Final = 4
CHOICES: Final = ("warm_up", "low_counts", "unit", "default", "not_whole")
"""What stands in events as ``model.chosen``, by number: not yet; like low counts; by name or unit; unlike low counts;
like low counts at first, until a value was negative or no whole number."""

CAPACITY_MIN: Final = 64
RECORD: Final = np.dtype(
    [
        ("samples", np.int64),
        ("times_ms", np.int64, (SAMPLES,)),
        ("values", np.float64, (SAMPLES,)),
        ("prior", np.float64, (PRIOR_NUMBERS,)),
    ]
)
"""The first samples of one series, and what it took over from its peers: 520 bytes."""
assert len(SCATTER) == SAMPLES - PEERS_SAMPLES


@compiled
def is_count(value: float) -> bool:
    """Whether a finite value is whole and not negative."""
    return value >= WHOLE_MIN or (value >= 0.0 and value == float(math.floor(value)))


@compiled
def choice(values: FloatArray, hint: int) -> int:
    """What the first values, float64[n] with n > 1, and the hint say: ``LOW_COUNTS``, ``BY_HINT`` or ``DEFAULT``."""
    if hint == NOT_COUNTS:
        return BY_HINT
    total = 0.0
    squares = 0.0
    falls = 0
    count = len(values)
    for i in range(count):
        value = float(values[i])
        if not is_count(value):
            return DEFAULT
        total += value
        if i > 0:
            step = value - float(values[i - 1])
            squares += step * step
            falls += step < 0.0
    if total == 0.0:
        return LOW_COUNTS
    mean = total / count
    first = float(values[0])
    rising = falls == 0 and float(values[count - 1]) >= first + TOTAL_RISE_MIN and float(values[count - 2]) > first
    scatter = squares / (2.0 * (count - 1)) / mean
    return LOW_COUNTS if mean <= MEAN_MAX and scatter >= SCATTER_MIN and not rising else DEFAULT


@compiled
def _collect(
    records: NDArray[np.void], rows: IntArray, times_ms: IntArray, values: FloatArray, taken: NDArray[np.bool_]
) -> None:
    """Append each sample to its row of ``records`` and say so in ``taken``; a full row takes no more.

    A row with a prior is filled up as soon as it has ``PEERS_SAMPLES`` that fit it; otherwise it loses the prior.
    """
    for i in range(len(rows)):
        record = records[rows[i]]
        seen = int(record["samples"])
        taken[i] = seen < SAMPLES
        if seen < SAMPLES:
            record["times_ms"][seen] = times_ms[i]
            record["values"][seen] = values[i]
            seen += 1
            prior = record["prior"]
            if seen == PEERS_SAMPLES and float(prior[SIZE]) > 0.0:
                if completed(record["times_ms"], record["values"], prior):
                    seen = SAMPLES
                else:
                    prior[SIZE] = 0.0
            record["samples"] = seen


@compiled
def _choices(records: NDArray[np.void], rows: IntArray, hints: NDArray[np.uint8], chosen: NDArray[np.uint8]) -> None:
    """The choice of each of these full rows."""
    for i in range(len(rows)):
        record = records[rows[i]]
        if float(record["prior"][SIZE]) > 0.0:
            chosen[i] = BY_HINT if hints[i] == NOT_COUNTS else DEFAULT  # as its peers are
        else:
            chosen[i] = choice(record["values"], int(hints[i]))


class Waiting:
    """The rows of series without a learner: always the first ones of the array, which shrinks with them."""

    def __init__(self) -> None:
        self._records = np.zeros(0, dtype=RECORD)
        self._slots = np.zeros(0, dtype=np.int64)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def records(self) -> NDArray[np.void]:
        """The rows; another array after the next change."""
        return self._records

    def nbytes(self) -> int:
        """Bytes that are held."""
        return self._records.nbytes + self._slots.nbytes

    def add(self, slots: IntArray) -> IntArray:
        """New rows for these slots, without samples and without a prior."""
        rows = np.arange(self._size, self._size + len(slots))
        self._size += len(slots)
        if self._size > len(self._slots):
            self._resize(max(CAPACITY_MIN, 2 * len(self._slots), self._size))
        self._records[rows] = np.zeros((), dtype=RECORD)
        self._slots[rows] = slots
        return rows

    def remove(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Give these rows up; returns the slots whose rows have moved, and where to."""
        kept = self._size - len(rows)
        gone = np.zeros(self._size, dtype=np.bool_)
        gone[rows] = True
        holes = np.flatnonzero(gone[:kept])
        movers = kept + np.flatnonzero(~gone[kept:])
        self._records[holes] = self._records[movers]
        self._slots[holes] = self._slots[movers]
        self._size = kept
        moved = self._slots[holes]
        if len(self._slots) > max(CAPACITY_MIN, 4 * kept):
            self._resize(max(CAPACITY_MIN, 2 * kept))
        return moved, holes

    def collect(self, rows: IntArray, times_ms: IntArray, values: FloatArray) -> BoolArray:
        """Take the samples in order; tells which ones found room."""
        taken = np.zeros(len(rows), dtype=np.bool_)
        _collect(self._records, rows, times_ms, values, taken)
        return taken

    def full(self, rows: IntArray) -> IntArray:
        """Those of these rows that wait for nothing any more, each once."""
        return np.unique(rows[self._records["samples"][rows] == SAMPLES])

    def choices(self, rows: IntArray, hints: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What each of these full rows has shown."""
        chosen = np.zeros(len(rows), dtype=np.uint8)
        _choices(self._records, rows, hints, chosen)
        return chosen

    def slots(self, rows: IntArray) -> IntArray:
        """Whose rows these are."""
        return self._slots[rows]

    def _resize(self, capacity: int) -> None:
        self._records = grown(self._records[: self._size], capacity, np.zeros(1, dtype=RECORD))
        slots = np.zeros(capacity, dtype=np.int64)
        slots[: min(self._size, len(self._slots))] = self._slots[: self._size]
        self._slots = slots


class WaitingCopy:
    """A copy of the records behind ``slots``, which have no learner; ``rows`` are those of all slots as they are now.

    The rows of waiting series move, so they are looked up when a position is taken.
    """

    def __init__(self, waiting: Waiting, slots: IntArray, rows: Callable[[], IntArray]) -> None:
        self._waiting = waiting
        self._slots = slots
        self._rows = rows
        self._records = np.zeros(len(slots), dtype=RECORD)

    def take(self, positions: NDArray[Any]) -> None:
        """Copy the records of these positions; a series that had no sample yet has no row, and its record is blank."""
        rows = self._rows()[self._slots[positions]]
        there = rows >= 0
        self._records[positions[there]] = self._waiting.records[rows[there]]

    def columns(self) -> Columns:
        """One column per field."""
        return fields_of(self._records)
