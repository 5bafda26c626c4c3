"""Learners alone: time per sample and bytes per series, the compiled default against river's detectors.

``python -m benchmarks.learners [--quick] [--data DIR]``. Batched columns in, columns out; series in random order, one
sample of each series per round, a minute apart, best of several passes; the compiled ones after 60 rounds. Processor
time of the thread, so that other work on the machine counts little. "bare" is river's own ``score_one`` and
``learn_one`` on one object; "ratios" are those times as multiples of the default learner's at 10,000 series. Bytes:
the record of the compiled learner; for river the pickled length of one series' objects, measured in the run. ``--data``
adds a table over labelled series: gzip CSV files of ``timestamp,value,label`` with epoch seconds.
"""

import argparse
import gzip
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.report_line import show
from detector.batches import FloatArray, IntArray, ScoreColumns
from detector.learners import (
    AutoLearner,
    CountDetector,
    CountLearner,
    EnvelopeDetector,
    EnvelopeLearner,
    Learner,
    ResidualDetector,
    ResidualLearner,
    RiverLearner,
    RiverSpec,
)
from detector.learners.counts import STATE as COUNTS_STATE
from detector.learners.envelope_state import STATE as ENVELOPE_STATE
from detector.learners.residual import STATE
from detector.learners.river_spec import build_detector

BATCH: Final = 10_000
PASSES: Final = 3
WARM: Final = 60
RATIO_SERIES: Final = 10_000
HOLT: Final = {"river": "river.time_series.HoltWinters", "params": {"alpha": 0.3, "beta": 0.1}}
SCALED: Final[tuple[tuple[str, dict[str, Any]], ...]] = (("river.preprocessing.MinMaxScaler", {}),)
RIVER: Final = {
    "GaussianScorer": RiverSpec("river.anomaly.GaussianScorer", features=()),
    "StandardAbsoluteDeviation": RiverSpec("river.anomaly.StandardAbsoluteDeviation", features=()),
    "HalfSpaceTrees": RiverSpec("river.anomaly.HalfSpaceTrees", steps=SCALED),
    "OneClassSVM": RiverSpec("river.anomaly.OneClassSVM", steps=SCALED),
    "PAD(HoltWinters)": RiverSpec("river.anomaly.PredictiveAnomalyDetection", {"predictive_model": HOLT}, features=()),
    "LocalOutlierFactor": RiverSpec("river.anomaly.LocalOutlierFactor", features=("value", "diff_1"), steps=SCALED),
}


@dataclass(frozen=True, slots=True)
class Speed:
    """One line of the result."""

    learner: str
    series: int
    microseconds: float
    bytes_per_series: int


def rounds(series: int, samples: int, first: int) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
    """Batches of at least ``samples`` rows in all: every round holds one sample of each series, in random order.

    ``first`` is how many rounds there were before.
    """
    rng = np.random.default_rng(1)
    for index in range(first, first - (-samples // series)):
        order = rng.permutation(series)
        values = 100.0 + rng.normal(size=series)
        for start in range(0, series, BATCH):
            part = order[start : start + BATCH]
            yield part, np.full(len(part), index * 60_000, dtype=np.int64), values[start : start + BATCH]


def gathered(series: int, samples: int, first: int) -> list[tuple[IntArray, IntArray, FloatArray]]:
    """The batches of :func:`rounds`, joined where they are small: many rounds of few series make one batch."""
    parts = list(rounds(series, samples, first))
    width = max(1, BATCH // min(series, BATCH))
    groups = [parts[start : start + width] for start in range(0, len(parts), width)]
    return [
        (
            np.concatenate([slots for slots, _, _ in group]),
            np.concatenate([times for _, times, _ in group]),
            np.concatenate([values for _, _, values in group]),
        )
        for group in groups
    ]


def timed(learner: Learner, series: int, samples: int, warm: int = 0) -> float:
    """Microseconds of processor time per sample of the fastest pass, after ``warm`` rounds.

    The learner goes on learning from pass to pass.
    """
    learner.reserve(series)
    for slots, times_ms, values in rounds(series, series * warm, 0):
        learner.score(slots, times_ms, values, ScoreColumns.empty(len(slots)))
    batches = gathered(series, samples, warm)
    outs = [ScoreColumns.empty(len(slots)) for slots, _, _ in batches]
    rows = sum(len(slots) for slots, _, _ in batches)
    best = float("inf")
    for _ in range(PASSES):
        began = time.thread_time()
        for (slots, times_ms, values), out in zip(batches, outs, strict=True):
            learner.score(slots, times_ms, values, out)
        best = min(best, time.thread_time() - began)
    return best / rows * 1e6


def bare(model: Any, samples: int, *, supervised: bool) -> float:
    """Microseconds per ``score_one`` and ``learn_one`` of one object with one feature."""
    values = (100.0 + np.random.default_rng(1).normal(size=samples)).tolist()
    for value in values[:WARM]:
        model.learn_one({"value": value}, value) if supervised else model.learn_one({"value": value})
    began = time.thread_time()
    for value in values:
        features = {"value": value}
        if supervised:
            model.score_one(features, value)
            model.learn_one(features, value)
        else:
            model.score_one(features)
            model.learn_one(features)
    return (time.thread_time() - began) / samples * 1e6


def compiled_rows(counts: Sequence[int], samples: int, tick: Callable[[str], None]) -> Iterator[Speed]:
    """The compiled learners at several numbers of series."""
    compiled: tuple[tuple[str, Callable[[], Learner], Callable[[], Any], int], ...] = (
        ("envelope", EnvelopeLearner, EnvelopeDetector, ENVELOPE_STATE.itemsize),
        ("counts", CountLearner, CountDetector, COUNTS_STATE.itemsize),
        ("residual", ResidualLearner, ResidualDetector, STATE.itemsize),
    )
    timed(AutoLearner(), 1, 100)
    for count in counts:
        tick(f"auto, {count:,} series")
        learner = AutoLearner()
        microseconds = timed(learner, count, max(samples, count * 3), 2 * WARM)  # by then each has learnt what it is
        yield Speed("auto", count, microseconds, learner.state_bytes() // count)
    for name, make, estimator, size in compiled:
        timed(make(), 1, 100)
        for count in counts:
            tick(f"{name}, {count:,} series")
            yield Speed(name, count, timed(make(), count, max(samples, count * 3), WARM), size)
        tick(f"{name}, bare")
        detector = estimator()
        yield Speed(f"{name}, bare", 1, bare(detector, samples // 20, supervised=True), len(pickle.dumps(detector)))


def river_rows(counts: Sequence[int], samples: int, tick: Callable[[str], None]) -> Iterator[Speed]:
    """River's detectors behind the same columns, and bare."""
    for name, spec in RIVER.items():
        few = samples // 20 if name == "LocalOutlierFactor" else samples
        for count in counts:
            tick(f"river {name}, {count:,} series")
            learner = RiverLearner(spec)
            microseconds = timed(learner, count, few)
            yield Speed(f"river {name}", count, microseconds, learner.state_bytes() // count)
        tick(f"river {name}, bare")
        model = build_detector(spec)
        microseconds = bare(model, few, supervised=not spec.features)
        yield Speed(f"river {name}, bare", 1, microseconds, len(pickle.dumps(model)))


def ratios(speeds: Sequence[Speed]) -> dict[str, float]:
    """How many times the time of the default learner at ``RATIO_SERIES`` each of river's detectors takes, bare."""
    ours = next(s.microseconds for s in speeds if s.learner == "envelope" and s.series == RATIO_SERIES)
    theirs = [s for s in speeds if s.learner.startswith("river") and s.learner.endswith("bare")]
    return {s.learner.removeprefix("river ").removesuffix(", bare"): round(s.microseconds / ours, 1) for s in theirs}


def labelled(folder: Path, rows_max: int, tick: Callable[[str], None]) -> list[dict[str, object]]:
    """False points per 1,000 and labelled ranges hit, at deviation 1.0, with no setting changed."""
    makers: dict[str, Callable[[], Learner]] = {"envelope": EnvelopeLearner, "residual": ResidualLearner}
    for name in ("GaussianScorer", "StandardAbsoluteDeviation", "OneClassSVM", "PAD(HoltWinters)"):
        makers[f"river {name}"] = lambda spec=RIVER[name]: RiverLearner(spec)  # type: ignore[misc]  # binds the spec
    totals = {name: np.zeros(4) for name in makers}
    for path in sorted(folder.glob("*.csv.gz")):
        tick(path.name)
        with gzip.open(path, "rt") as lines:
            table = np.genfromtxt(lines, delimiter=",", skip_header=1, max_rows=rows_max)
        table = table[np.isfinite(table[:, 1])]
        for name, make in makers.items():
            totals[name] += judged(make(), table)
    return [
        {
            "learner": name,
            "false_per_1000": round(1000.0 * false / max(normal, 1.0), 3),
            "events_hit": int(hit),
            "events": int(events),
        }
        for name, (false, normal, hit, events) in totals.items()
    ]


def judged(learner: Learner, table: FloatArray) -> FloatArray:
    """False points, normal points, labelled ranges with a point outside the band, labelled ranges."""
    learner.reserve(1)
    size = len(table)
    out = ScoreColumns.empty(size)
    times_ms = table[:, 0].astype(np.int64) * 1000
    learner.score(np.zeros(size, dtype=np.int64), times_ms, np.ascontiguousarray(table[:, 1]), out)
    outside = out.deviation > 1.0
    anomalous = table[:, 2] > 0
    starts = np.flatnonzero(anomalous & ~np.r_[False, anomalous[:-1]])
    ends = np.flatnonzero(anomalous & ~np.r_[anomalous[1:], False])
    hit = sum(bool(outside[start : end + 1].any()) for start, end in zip(starts, ends, strict=True))
    return np.array([float((outside & ~anomalous).sum()), float((~anomalous).sum()), float(hit), float(len(starts))])


def main() -> None:
    """Run the benchmark and print its tables and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="smaller runs, a few seconds")
    parser.add_argument("--data", type=Path, help="folder of labelled series (timestamp,value,label in gzip CSV)")
    arguments = parser.parse_args()
    ours = (1, 10_000, 20_000) if arguments.quick else (1, 10_000, 100_000, 500_000)
    theirs = (1, 20) if arguments.quick else (1, 100)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("learners", total=None)

        def tick(text: str) -> None:
            progress.update(task, description=text, advance=1)

        speeds = list(compiled_rows(ours, 100_000 if arguments.quick else 1_000_000, tick))
        speeds += river_rows(theirs, 2_000 if arguments.quick else 20_000, tick)
        quality = labelled(arguments.data, 2_000 if arguments.quick else 20_000, tick) if arguments.data else []
    result: dict[str, object] = {
        "benchmark": "learners",
        "bytes": "compiled: state record; river: pickled length of one series' objects",
        "speed": [
            {
                "learner": speed.learner,
                "series": speed.series,
                "us_per_sample": round(speed.microseconds, 4),
                "bytes_per_series": speed.bytes_per_series,
            }
            for speed in speeds
        ],
        "quality": quality,
    }
    result["ratios"] = ratios(speeds)
    rows = [[s.learner, f"{s.series:,}", f"{s.microseconds:.3f}", f"{s.bytes_per_series:,}"] for s in speeds]
    if quality:
        table = Table(*quality[0], title="Labelled series, at deviation 1.0", title_justify="left")
        for line in quality:
            table.add_row(*map(str, line.values()))
        Console(width=120).print(table)
    show("Learners: score, then learn", ("learner", "series", "µs per sample", "bytes per series"), rows, result)


if __name__ == "__main__":
    main()
