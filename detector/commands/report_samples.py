"""What a report keeps of the samples: per series some hundred columns of least and largest value, and a few counts.

A column is a stretch of event time, ``width_ms`` long. The width is the smallest power of two with which a series has
no more than ``columns_max`` columns that hold anything, so that memory is bounded whatever comes, and no spike is lost:
the extremes of a wide column are those of its samples. All series together may have :data:`TOTAL_COLUMNS_MAX`; beyond
it ``columns_max`` is halved for everyone. Samples are folded in by fixed numbers of them, so that batches do not
matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import BoolArray, FloatArray, IntArray, ScoredBatch

COLUMNS_MAX: Final = 720
"""Columns of one series: as many as a plot is wide on most screens."""
COLUMNS_MIN: Final = 16
"""Never fewer, however many series there are."""
TOTAL_COLUMNS_MAX: Final = 2_000_000
"""Columns of all series together, 48 bytes each."""
SERIES_MAX: Final = 100_000
"""Series of which columns are kept; samples of others are counted."""
FOLD_SAMPLES: Final = 131_072
"""Samples collected before they are folded into columns."""
FIELDS: Final = 5
"""Least value, largest value, then the last expected, lower and upper of a column."""
LEAST, LARGEST, EXPECTED, LOWER, UPPER = range(FIELDS)

SeriesName = tuple[str, str]
"""Topic and canonical identity: two files may hold series of one name."""


@dataclass(slots=True)
class Trace:
    """One series: ``starts_ms`` int64[k] ascending, the begin of each column; ``numbers`` float64[k, FIELDS].

    ``anomalous`` counts the samples outside their band; ``first_ms`` and ``last_ms`` are times of samples.
    """

    width_ms: int = 1
    starts_ms: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    numbers: FloatArray = field(default_factory=lambda: np.empty((0, FIELDS)))
    samples: int = 0
    scored: int = 0
    anomalous: int = 0
    first_ms: int = 0
    last_ms: int = 0

    def fold(self, times_ms: IntArray, numbers: FloatArray, columns_max: int) -> None:
        """Take samples in; a time may lie before others of the series, if it was forgotten in between."""
        first, last = int(times_ms.min()), int(times_ms.max())
        self.first_ms, self.last_ms = (
            (min(first, self.first_ms), max(last, self.last_ms)) if len(self.starts_ms) else (first, last)
        )
        self.starts_ms = np.concatenate([self.starts_ms, times_ms])
        self.numbers = np.concatenate([self.numbers, numbers])
        self._merge(columns_max)

    def narrow(self, columns_max: int) -> None:
        """Have no more than ``columns_max`` columns from here on."""
        if len(self.starts_ms) > columns_max:
            self._merge(columns_max)

    def _merge(self, columns_max: int) -> None:
        starts = self.starts_ms - self.starts_ms % self.width_ms
        while len(columns := np.unique(starts)) > columns_max:
            self.width_ms *= 2
            starts = starts - starts % self.width_ms
        order = np.argsort(starts, kind="stable")
        numbers = self.numbers[order]
        begins = np.searchsorted(starts[order], columns)
        ends = np.append(begins[1:], len(starts)) - 1
        merged = numbers[ends]
        merged[:, LEAST] = np.minimum.reduceat(numbers[:, LEAST], begins)
        merged[:, LARGEST] = np.maximum.reduceat(numbers[:, LARGEST], begins)
        self.starts_ms, self.numbers = columns, merged


class Traces:
    """The traces of all series of a replay. The limits are parameters for tests."""

    def __init__(
        self,
        *,
        columns_max: int = COLUMNS_MAX,
        total_columns_max: int = TOTAL_COLUMNS_MAX,
        series_max: int = SERIES_MAX,
        fold_samples: int = FOLD_SAMPLES,
    ) -> None:
        self.columns_max = columns_max
        self.untraced_samples = 0
        self._total_columns_max = total_columns_max
        self._series_max = series_max
        self._fold_samples = fold_samples
        self._numbers_of: dict[SeriesName, int] = {}
        self._traces: list[Trace] = []
        self._series: IntArray = np.empty(fold_samples, np.int64)
        self._times_ms: IntArray = np.empty(fold_samples, np.int64)
        self._columns: FloatArray = np.empty((fold_samples, FIELDS))
        self._scored: BoolArray = np.empty(fold_samples, np.bool_)
        self._anomalous: BoolArray = np.empty(fold_samples, np.bool_)
        self._filled = 0

    def add(self, topic: str, scored: ScoredBatch) -> None:
        """Take the accepted samples of one batch."""
        series = self._number(topic, scored.series)
        taken = scored.accepted & (series >= 0)
        self.untraced_samples += int(scored.accepted.sum()) - int(taken.sum())
        scores, rows = scored.scores, np.flatnonzero(taken)
        with np.errstate(invalid="ignore"):
            anomalous = scores.deviation >= 1.0
        known = ~np.isnan(scores.score)
        numbers = np.column_stack([scored.values, scored.values, scores.expected, scores.lower, scores.upper])
        while len(rows):
            part, rows = np.split(rows, [self._fold_samples - self._filled])
            into = slice(self._filled, self._filled + len(part))
            self._series[into] = series[part]
            self._times_ms[into] = scored.times_ms[part]
            self._columns[into] = numbers[part]
            self._scored[into] = known[part]
            self._anomalous[into] = anomalous[part]
            self._filled += len(part)
            if self._filled == self._fold_samples:
                self._fold()

    def finish(self) -> dict[SeriesName, Trace]:
        """Fold what is left; give the series in the order in which they came."""
        self._fold()
        return {name: self._traces[number] for name, number in self._numbers_of.items()}

    def _number(self, topic: str, series: Sequence[str]) -> IntArray:
        """Number each sample's series; -1 where there is no room, and for samples without a usable series."""
        found: dict[str, int] = {"": -1}
        for name in dict.fromkeys(series):
            if name and (topic, name) not in self._numbers_of and len(self._traces) < self._series_max:
                self._numbers_of[topic, name] = len(self._traces)
                self._traces.append(Trace())
            found[name] = self._numbers_of.get((topic, name), -1)
        return np.fromiter(map(found.__getitem__, series), np.int64, len(series))

    def _fold(self) -> None:
        if not self._filled:
            return
        filled = slice(0, self._filled)
        series, numbers = self._series[filled], self._columns[filled]
        self._count(series, self._scored[filled], self._anomalous[filled])
        order = np.argsort(series, kind="stable")
        present, begins = np.unique(series[order], return_index=True)
        for number, rows in zip(present.tolist(), np.split(order, begins[1:]), strict=True):
            self._traces[number].fold(self._times_ms[rows], numbers[rows], self.columns_max)
        self._filled = 0
        while self.columns_max > COLUMNS_MIN and self._held() > self._total_columns_max:
            self.columns_max = max(COLUMNS_MIN, self.columns_max // 2)
            for trace in self._traces:
                trace.narrow(self.columns_max)

    def _held(self) -> int:
        return sum(len(trace.starts_ms) for trace in self._traces)

    def _count(self, series: IntArray, scored: BoolArray, anomalous: BoolArray) -> None:
        size = len(self._traces)
        counts: list[NDArray[np.int64]] = [
            np.bincount(part, minlength=size) for part in (series, series[scored], series[anomalous])
        ]
        for number in np.flatnonzero(counts[0]).tolist():
            trace = self._traces[number]
            trace.samples += int(counts[0][number])
            trace.scored += int(counts[1][number])
            trace.anomalous += int(counts[2][number])
