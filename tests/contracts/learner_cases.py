"""Learners and streams that every law of a learner is tried on."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from detector.batches import FloatArray, IntArray, ScoreColumns
from detector.learners import LEARNERS, Learner, LearnerBank, RiverSpec

MINUTE_MS: Final = 60_000
START_MS: Final = 1_700_000_000_000

_SCALER: Final[tuple[tuple[str, dict[str, Any]], ...]] = (("river.preprocessing.MinMaxScaler", {}),)
RIVER_SPECS: Final[dict[str, RiverSpec]] = {
    "gaussian": RiverSpec("river.anomaly.GaussianScorer", {"grace_period": 10}, features=()),
    "absolute_deviation": RiverSpec("river.anomaly.StandardAbsoluteDeviation", features=()),
    "half_space_trees": RiverSpec(
        "river.anomaly.HalfSpaceTrees",
        {"n_trees": 3, "height": 4, "window_size": 40},
        features=("value", "diff_1"),
        steps=_SCALER,
    ),
    "one_class_svm": RiverSpec("river.anomaly.OneClassSVM", {"nu": 0.1}, steps=_SCALER),
    "loda": RiverSpec("river.anomaly.LODA", {"n_random_cuts": 5}, features=("value", "lag_2")),
    "local_outlier_factor": RiverSpec(
        "river.anomaly.LocalOutlierFactor",
        {
            "n_neighbors": 3,
            "engine": {"river": "river.neighbors.LazySearch", "params": {"window_size": 15}},
        },
        features=("value",),
    ),
    "forecast": RiverSpec(
        "river.anomaly.PredictiveAnomalyDetection",
        {"predictive_model": {"river": "river.time_series.HoltWinters", "params": {"alpha": 0.3, "beta": 0.1}}},
        features=(),
    ),
    "quantile_filter": RiverSpec(
        "river.anomaly.QuantileFilter",
        {"q": 0.99, "anomaly_detector": {"river": "river.anomaly.OneClassSVM", "params": {"nu": 0.2}}},
    ),
    "threshold_filter": RiverSpec(
        "river.anomaly.ThresholdFilter",
        {"threshold": 0.999, "anomaly_detector": {"river": "river.anomaly.GaussianScorer"}},
        features=(),
    ),
}

CASES: Final[dict[str, tuple[str, tuple[Any, ...]]]] = {
    "auto": ("auto", ()),
    "counts": ("counts", ()),
    "envelope": ("envelope", ()),
    "residual": ("residual", ()),
    **{f"river-{name}": ("river", (spec,)) for name, spec in RIVER_SPECS.items()},
}
"""Case name -> (name in the registry, arguments of the factory)."""

OUTLIER_CASES: Final = (
    "envelope",
    "auto",
    "counts",
    "residual",
    "river-gaussian",
    "river-absolute_deviation",
    "river-local_outlier_factor",
    "river-forecast",
    "river-threshold_filter",
)
"""Learners of single values. The others rank regions or directions and need not notice one far value early."""


def new_learner(case: str, capacity: int = 8) -> Learner:
    """A learner of this case with room for ``capacity`` slots."""
    name, arguments = CASES[case]
    learner = LEARNERS[name](*arguments)
    learner.reserve(capacity)
    return learner


class Stream:
    """Three series, interleaved in a seeded random order: rows of (slot, time, value)."""

    def __init__(self, size: int, seed: int = 7, slots: Sequence[int] = (0, 1, 2)) -> None:
        rng = np.random.default_rng(seed)
        owners = rng.integers(0, len(slots), size)
        self.slots: IntArray = np.asarray(slots, dtype=np.int64)[owners]
        self.times_ms: IntArray = START_MS + np.arange(size, dtype=np.int64) * MINUTE_MS
        noise = rng.normal(0.0, 1.0, size) + (rng.random(size) < 0.01) * 30.0
        daily = 5.0 * np.sin(np.arange(size) / 228.0)
        self.values: FloatArray = np.array([100.0, 1e-3, 1e9])[owners] * (1.0 + 0.01 * (daily + noise))

    def __len__(self) -> int:
        return len(self.slots)

    def only(self, slot: int) -> "Stream":
        """The rows of one series."""
        part = Stream(0)
        keep = self.slots == slot
        part.slots, part.times_ms, part.values = self.slots[keep], self.times_ms[keep], self.values[keep]
        return part


def run(
    learner: Learner | LearnerBank,
    stream: Stream,
    cuts: Sequence[int] = (),
    between: Callable[[int], None] = lambda _row: None,
) -> ScoreColumns:
    """Score a stream cut at these rows, calling ``between`` at each; the columns start out poisoned."""
    columns = [np.full(len(stream), 7.5) for _ in range(6)]
    edges = [0, *sorted(cuts), len(stream)]
    for start, stop in itertools.pairwise(edges):
        between(start)
        part = slice(start, stop)
        learner.score(
            stream.slots[part],
            stream.times_ms[part],
            stream.values[part],
            ScoreColumns(*(column[part] for column in columns)),
        )
    return ScoreColumns(*columns)


def bits(columns: ScoreColumns, keep: Any = slice(None)) -> list[bytes]:
    """Every column of these rows, byte for byte."""
    return [column[keep].tobytes() for column in columns.columns()]
