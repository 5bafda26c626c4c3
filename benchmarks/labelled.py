"""Labelled series: how well the shipped default ranks them, and what its default policy opens, beside other detectors.

``python -m benchmarks.labelled --data DIR [--peers] [--jobs N] [--rows N] [--plot FILE]``. DIR holds CSV files, plain
or gzip, of ``timestamp,value,label``, epoch seconds. ``--peers`` adds the slow detectors; ``--rows`` ends every series
early, ours as well, so that they finish. Per series: average precision (AP) and the volume under the precision-recall
surface (VUS-PR, buffers of 0 to 20 samples), averaged over the series with labels. Over all series at one threshold,
the best: F1 of events, where an alarm (flagged samples no more than 10 apart) is right if it touches a labelled range
widened by 5 samples; nothing is adjusted. The default policy is judged by the episodes that ``detector replay`` opens.

Source of VUS-PR: Paparrizos et al. (2022), "Volume Under the Surface", PVLDB 15(11).
"""

import argparse
import gzip
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.bars import draw
from benchmarks.peers import chosen, scored
from benchmarks.replayed import Episode, replayed
from benchmarks.report_line import note, show
from detector.batches import BoolArray, FloatArray, IntArray

TITLE: Final = "Labelled series"
OURS: Final = "detector, default"
HELD_OURS: Final = "detector, peak-held"
BUFFER_MAX: Final = 20
BUFFER_STEP: Final = 5
GAP_SAMPLES: Final = 10
TOLERANCE_SAMPLES: Final = 5
SKIPPED_ROWS: Final = 300
THRESHOLDS: Final = 60
HELD: Final = 0.5 ** (1.0 / 6.0)


@dataclass(frozen=True, slots=True)
class Labelled:
    """One series: n rows with finite values; ``rows`` are their places in the file."""

    name: str
    path: Path
    rows: IntArray
    times_s: IntArray
    values: FloatArray
    labels: BoolArray

    @property
    def skipped(self) -> int:
        """Rows at the beginning that count for nothing."""
        return min(SKIPPED_ROWS, len(self.values) // 5)

    @property
    def interval_s(self) -> int:
        """Usual time between rows."""
        return int(np.median(np.diff(self.times_s)))


def load(folder: Path) -> list[Labelled]:
    """Read every ``*.csv`` and ``*.csv.gz`` of ``folder``."""
    found = []
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*.csv.gz")]):
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            table = np.genfromtxt(lines, delimiter=",", skip_header=1)
        rows = np.flatnonzero(np.isfinite(table[:, 1]))
        times_s, values, labels = table[rows].T[:3]
        found.append(Labelled(path.name, path, rows, times_s.astype(np.int64), values, labels > 0))
    return found


def ranges(flags: BoolArray) -> list[tuple[int, int]]:
    """First and last row of every run of true flags."""
    edges = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def average_precision(scores: FloatArray, labels: BoolArray) -> float:
    """Area under the precision-recall curve; rows of one score are taken together."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0.0, [True])
    true = np.cumsum(labels[order])[last]
    precision = true / (np.flatnonzero(last) + 1)
    return float(np.sum(np.diff(true, prepend=0) * precision) / labels.sum())


def softened(labels: BoolArray, buffer: int) -> FloatArray:
    """Labels as weights: 1 in a range, falling towards 0 over half a buffer on each side."""
    weights = labels.astype(np.float64)
    for start, end in ranges(labels):
        for distance in range(1, buffer // 2 + 1):
            weight = math.sqrt(1.0 - distance / buffer)
            for row in (start - distance, end + distance):
                if 0 <= row < len(weights):
                    weights[row] = max(weights[row], weight)
    return weights


def range_precision(scores: FloatArray, labels: BoolArray, buffer: int) -> float:
    """Area under the range-based precision-recall curve for one buffer."""
    weights = softened(labels, buffer)
    number = np.zeros(len(labels), dtype=np.int64)
    for index, (start, end) in enumerate(ranges(weights > 0.0)):
        number[start : end + 1] = index + 1
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0.0, [True])
    weight, found = weights[order], number[order]
    first = np.zeros(len(order))
    inside = np.flatnonzero(found)
    _, places = np.unique(found[inside], return_index=True)
    first[inside[places]] = 1.0
    true = np.cumsum(weight)[last]
    extra = np.cumsum(np.where(labels[order], 0.0, weight))[last]
    existence = np.cumsum(first)[last] / len(places)
    recall = np.minimum(true / (labels.sum() + extra / 2.0), 1.0) * existence
    precision = true / (np.flatnonzero(last) + 1)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def vus_pr(scores: FloatArray, labels: BoolArray) -> float:
    """Mean of :func:`range_precision` over buffers."""
    return float(np.mean([range_precision(scores, labels, width) for width in range(0, BUFFER_MAX + 1, BUFFER_STEP)]))


def widened(labels: BoolArray) -> list[tuple[int, int]]:
    """Labelled ranges, wider by the tolerance; those that then touch are one."""
    reach = np.ones(2 * TOLERANCE_SAMPLES + 1)
    return ranges(np.convolve(labels, reach, mode="same") > 0.0)


def alarms(flags: BoolArray) -> list[tuple[int, int]]:
    """Runs of flagged rows, joined where no more than ``GAP_SAMPLES`` lie between their rows."""
    joined: list[tuple[int, int]] = []
    for start, end in ranges(flags):
        if joined and start - joined[-1][1] <= GAP_SAMPLES:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined


def event_counts(scores: FloatArray, labels: BoolArray, threshold: float) -> IntArray:
    """Alarms, right alarms, events, events found."""
    flags = scores >= threshold
    events = widened(labels)
    inside = np.zeros(len(labels), dtype=np.bool_)
    for start, end in events:
        inside[start : end + 1] = True
    raised = alarms(flags)
    right = sum(bool((flags & inside)[start : end + 1].any()) for start, end in raised)
    hit = sum(bool(flags[start : end + 1].any()) for start, end in events)
    return np.array([len(raised), right, len(events), hit])


def f1(counts: IntArray) -> tuple[float, float, float]:
    """F1, precision and recall of :func:`event_counts`."""
    raised, right, events, hit = counts.tolist()
    precision, recall = right / max(raised, 1), hit / max(events, 1)
    return 2.0 * precision * recall / max(precision + recall, 1e-9), precision, recall


def ranked(series: Sequence[Labelled], scores: Mapping[str, FloatArray]) -> dict[str, float]:
    """AP, VUS-PR and the best event F1 of one detector."""
    parts = [(np.nan_to_num(scores[s.name][s.skipped :]), s.labels[s.skipped :]) for s in series]
    labelled = [(found, labels) for found, labels in parts if labels.any()]
    everything = np.concatenate([found for found, _ in parts])
    quantiles = np.unique(np.quantile(everything, 1.0 - np.logspace(-5.3, -1.0, THRESHOLDS)))
    candidates = [threshold for threshold in quantiles.tolist() if threshold > everything.min()]
    best = max(
        (
            f1(np.sum([event_counts(found, labels, threshold) for found, labels in parts], axis=0))
            for threshold in candidates
        ),
        default=(0.0, 0.0, 0.0),
    )
    return {
        "ap": float(np.mean([average_precision(*part) for part in labelled])),
        "vus_pr": float(np.mean([vus_pr(*part) for part in labelled])),
        "event_f1": best[0],
        "event_precision": best[1],
        "event_recall": best[2],
    }


def judged(series: Sequence[Labelled], episodes: Mapping[str, Sequence[Episode]]) -> dict[str, float]:
    """What the default policy opens: precision, recall, delay in samples, false episodes per 1,000 samples."""
    opened = right = events = hit = rows = 0
    delays: list[float] = []
    for s in series:
        slack_s = TOLERANCE_SAMPLES * s.interval_s
        spans = [(int(s.times_s[a]), int(s.times_s[b])) for a, b in ranges(s.labels)]
        told = episodes[s.name]
        opened, events, rows = opened + len(told), events + len(spans), rows + len(s.values)
        right += sum(any(a - slack_s <= e.ended_s and e.started_s <= b + slack_s for a, b in spans) for e in told)
        for start_s, end_s in spans:
            late = [e.detected_s for e in told if e.started_s <= end_s + slack_s and e.ended_s >= start_s - slack_s]
            if late:
                hit += 1
                delays.append((min(late) - start_s) / s.interval_s)
    return {
        "default_precision": right / max(opened, 1),
        "default_recall": hit / max(events, 1),
        "default_delay_samples": float(np.median(delays)) if delays else math.nan,
        "default_false_per_1000": 1000.0 * (opened - right) / max(rows, 1),
        "episodes": float(opened),
        "events": float(events),
    }


def held(scores: FloatArray) -> FloatArray:
    """Peak-held: a score stays, fading by half in 6 samples. Ranks ranges better, marks onsets no worse."""
    kept = np.empty(len(scores))
    peak = 0.0
    for row, score in enumerate(np.nan_to_num(scores).tolist()):
        peak = max(score, peak * HELD)
        kept[row] = peak
    return kept


def shortened(series: Sequence[Labelled], rows_max: int) -> list[Labelled]:
    """The first ``rows_max`` rows of each; those that then hold one label at least and one row without."""
    short = [
        replace(
            s,
            rows=s.rows[:rows_max],
            times_s=s.times_s[:rows_max],
            values=s.values[:rows_max],
            labels=s.labels[:rows_max],
        )
        for s in series
    ]
    return [s for s in short if s.labels[s.skipped :].any() and not s.labels.all()]


def measure(series: Sequence[Labelled], *, slow: bool, jobs: int, rows_max: int | None, plot: Path | None) -> None:
    """Rank, judge and compare; prints the table and the JSON."""
    note("replaying")
    answers = replayed({s.name: s.path for s in series})
    policy = judged(series, {name: answer.episodes for name, answer in answers.items()})
    if rows_max is not None:
        series = shortened(series, rows_max)
    deviation = {s.name: answers[s.name].deviation[s.rows] for s in series}
    results = {
        OURS: ranked(series, deviation),
        HELD_OURS: ranked(series, {name: held(scores) for name, scores in deviation.items()}),
    }
    values = {s.name: s.values for s in series}
    for peer in chosen(slow=slow):
        results[peer.name] = ranked(series, scored(peer, values, jobs))
    columns = tuple(results[OURS])
    rows = [[name, *(f"{found[column]:.3f}" for column in columns)] for name, found in results.items()]
    shown = {name: {column: round(value, 4) for column, value in found.items()} for name, found in results.items()}
    result = {
        "benchmark": "labelled",
        **shown.pop(OURS),
        **{name: round(value, 4) for name, value in policy.items()},
        "rows_max": rows_max,
        "peak_held": shown.pop(HELD_OURS),
        "peers": shown,
    }
    show(TITLE, ("detector", *columns), rows, result)
    if plot is not None:
        draw(plot, TITLE, results, columns[:3])


def main() -> int:
    """Run the benchmark; 2 for a folder without labelled series."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of *.csv or *.csv.gz with timestamp,value,label"
    )
    parser.add_argument("--peers", action="store_true", help="slow detectors, too: hours")
    parser.add_argument("--jobs", type=int, default=1, help="processes for the other detectors")
    parser.add_argument("--rows", type=int, help="rank the first rows of each series only")
    parser.add_argument("--plot", type=Path, help="picture of the table (PNG or SVG)")
    arguments = parser.parse_args()
    series = load(arguments.data)
    if not series:
        note(f"{arguments.data}: no *.csv or *.csv.gz in it")
        return 2
    measure(series, slow=arguments.peers, jobs=arguments.jobs, rows_max=arguments.rows, plot=arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
