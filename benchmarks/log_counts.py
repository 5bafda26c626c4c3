"""False alarms and detections of the signals of log streams, on generated counts; seeded.

``python -m benchmarks.log_counts [--series N] [--windows N] [--services N] [--deploys N]``. Three parts:

- count score: diurnal series (log-normal base rates of .005 to 5,000 lines per window, negative binomial, three in ten
  Poisson), beside Poisson's tail and a Gaussian z of the same means and variances: share of calm windows with two-sided
  p < 1e-6, bursts and drops found at that p, nanoseconds per series and window of our score;
- calm services: windows with any signal above 8, combined above 6, 4, 3 and 2, and episodes that the default policy
  opens, per 1e6 windows, by lines per window;
- deploys that reword 200 messages at once or over up to five windows: how often ``format_change`` says so, in the first
  window and at all, and how many windows stay loud.
"""

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincc, log_ndtr  # type: ignore[import-untyped]  # scipy has no stubs

from benchmarks.log_services import VOLUMES, counts_of, played, service
from benchmarks.report_line import note, show
from detector.compiled import compiled
from detector.episodes import DEFAULT_LOG_POLICY, LogJudge
from detector.log_batches import SIGNALS, WindowFindings
from detector.signals import SignalLimits, counts
from detector.signals.records import SERIES

SEED: Final = 7
NOMINAL: Final = 6.0
WARM_UP: Final = 30
SETTLED: Final = 400
INJECTED_WINDOWS: Final = 3
INJECTIONS_PER_SERIES: Final = 0.75
CALM, BURST, SMALL_BURST, DROP = range(4)
NAMES: Final = ("count score", "Poisson tail", "Gaussian z")


def streams(series: int, windows: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Counts int64[windows, series] and what was done to them."""
    source = np.random.default_rng(SEED)
    base = np.clip(np.exp(source.normal(1.0, 2.0, series)), 0.005, 5_000.0)
    spread = np.where(source.random(series) < 0.3, 0.0, np.exp(source.normal(-2.5, 1.0, series)))
    swing, phase = source.uniform(0.0, 0.6, series), source.uniform(0.0, 2.0 * np.pi, series)
    found = np.empty((windows, series), np.int64)
    for k in range(windows):
        means = base * (1.0 + swing * np.sin(2.0 * np.pi * k / 1_440 + phase))
        known = np.maximum(spread, 1e-9)
        found[k] = source.poisson(np.where(spread > 0.0, source.gamma(1.0 / known, known * means), means))
    done = np.zeros((windows, series), np.int8)
    for _ in range(int(series * INJECTIONS_PER_SERIES)):
        column, row = int(source.integers(series)), int(source.integers(SETTLED, windows - INJECTED_WINDOWS - 2))
        kind = int(source.integers(1, 4))
        if done[row - 10 : row + 10, column].any() or (kind == DROP and base[column] <= 20.0):
            continue
        mean = {BURST: 10.0 * base[column] + 5.0, SMALL_BURST: 3.0 * base[column] + 5.0, DROP: 0.05 * base[column]}[
            kind
        ]
        found[row : row + INJECTED_WINDOWS, column] = source.poisson(mean, INJECTED_WINDOWS)
        done[row : row + INJECTED_WINDOWS, column] = kind
    return found, done


@compiled
def _scores(
    found: NDArray[np.int64],
    rows: NDArray[np.void],
    digits: NDArray[np.float64],
    means: NDArray[np.float64],
    variances: NDArray[np.float64],
) -> None:
    """Digits of every count; the plain means and variances of the same memory, for the others."""
    for k in range(found.shape[0]):
        for i in range(found.shape[1]):
            row = rows[i]
            x = float(found[k, i])
            means[k, i], variances[k, i] = row["mean"], row["variance"]
            mean, variance = counts.expected(row, 1.0, 1.0)
            up, down = counts.digits(x, mean, variance)
            most = max(up, down)
            digits[k, i] = most if k >= WARM_UP else 0.0
            counts.learn(row, x, mean, variance, 1.0, 1.0, 0.1 if most > 3.0 else 1.0)


def count_score(series: int, windows: int) -> dict[str, dict[str, float]]:
    """Part one."""
    found, done = streams(series, windows)
    digits, means, variances = (np.zeros(found.shape) for _ in range(3))
    _scores(found[:40], np.zeros(series, SERIES), digits, means, variances)
    began_s = time.process_time()
    _scores(found, np.zeros(series, SERIES), digits, means, variances)
    spent_s = time.process_time() - began_s
    two = math.log10(2.0)
    means = np.maximum(means, 1e-3)
    with np.errstate(divide="ignore"):
        poisson = -np.log10(np.minimum(gammainc(np.maximum(found, 1e-9), means), gammaincc(found + 1.0, means))) - two
        poisson = np.where(found > 0, poisson, -np.log10(gammaincc(found + 1.0, means)) - two)
    z = np.abs(found - means) / np.sqrt(np.maximum(variances, 0.25))
    gaussian = -(log_ndtr(-z) + math.log(2.0)) / math.log(10.0)
    result = {}
    for name, scores in zip(NAMES, (digits - two, poisson, gaussian), strict=True):
        high = scores > NOMINAL
        young = slice(WARM_UP, SETTLED)
        result[name] = {
            "false_alarms": float(high[SETTLED:][done[SETTLED:] == CALM].mean()),
            "false_alarms_young": float(high[young].mean()),
            "burst_x10": float(high[done == BURST].mean()),
            "burst_x3": float(high[done == SMALL_BURST].mean()),
            "drop": float(high[done == DROP].mean()),
        }
    result[NAMES[0]]["ns"] = spent_s * 1e9 / found.size
    return result


def calm(services: int, windows: int) -> tuple[dict[str, dict[str, float]], float]:
    """Part two: rates per 1e6 windows by volume, and microseconds per window with all its lines."""
    result: dict[str, dict[str, float]] = {}
    spent_s, all_windows = 0.0, 0
    for volume in VOLUMES:
        source = np.random.default_rng(SEED + int(volume[0]))
        hits: dict[str, int] = defaultdict(int)
        judged = 0
        for _ in range(services):
            each = service(source, volume, int(source.integers(5, 301)))
            lines = counts_of(source, each, windows)
            began_s = time.process_time()
            found = list(played(lines, each.severities, SignalLimits()))
            spent_s += time.process_time() - began_s
            all_windows += windows
            hits["episodes"] += opened(found)
            for one in found[WARM_UP:]:
                judged += 1
                for level in (2.0, 3.0, 4.0, 6.0):
                    hits[f"combined > {level:.0f}"] += one.combined > level
                hits["any > 8"] += max(one.signals) > 8.0
                for name, digits in zip(SIGNALS, one.signals, strict=True):
                    hits[f"{name} > 6"] += digits > NOMINAL
        name = f"{volume[0]:.0f} to {volume[1]:.0f}"
        note(f"calm services of {name} lines")
        result[name] = {key: count / judged * 1e6 for key, count in hits.items()}
    return result, spent_s / all_windows * 1e6


def opened(found: Sequence[WindowFindings]) -> int:
    """Episodes that the default policy opens."""
    judge = LogJudge([DEFAULT_LOG_POLICY])
    judge.open_slot(0, 0)
    steps = (judge.judge(0, one, SignalLimits().window_ms, lambda _: ((), ())) for one in found)
    return sum(each.state == "opened" for transitions in steps for each in transitions)


def deploys(count: int) -> dict[str, dict[str, float]]:
    """Part three: per number of windows that a deploy takes."""
    result = {}
    for roll in (1, 2, 3, 5):
        source = np.random.default_rng(SEED + roll)
        first = ever = loud = 0
        for _ in range(count):
            each = service(source, (300.0, 3_000.0), 250)
            before = counts_of(source, each, 400)
            after = np.zeros_like(before)
            for k in range(roll):
                at = slice(300 + k, 301 + k if k < roll - 1 else None)
                after[at, :200] = source.binomial(before[at, :200], (k + 1) / roll)
            lines = np.concatenate((before, after), axis=1)
            lines[:, :200] -= after[:, :200]
            severities = np.concatenate((each.severities, each.severities))
            found = list(played(lines, severities, SignalLimits()))
            format_change = [one.signals[SIGNALS.index("format_change")] for one in found[300 : 300 + roll + 1]]
            first += format_change[0] > NOMINAL
            ever += max(format_change) > NOMINAL
            loud += sum(one.combined > NOMINAL for one in found[300:])
        result[f"{roll} windows"] = {"first": first / count, "at all": ever / count, "loud windows": loud / count}
    return result


def main() -> None:
    """Run all parts, print their tables and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", type=int, default=2_000)
    parser.add_argument("--windows", type=int, default=2_000)
    parser.add_argument("--services", type=int, default=80, help="calm services of each volume")
    parser.add_argument("--deploys", type=int, default=40, help="of each length")
    sizes = parser.parse_args()
    scored = count_score(sizes.series, sizes.windows)
    quiet, window_us = calm(sizes.services, 3_000)
    reworded = deploys(sizes.deploys)
    rows = [
        [f"{part}: {name}", key, f"{value:.3g}"]
        for part, found in (("count", scored), ("calm", quiet), ("deploy", reworded))
        for name, values in found.items()
        for key, value in values.items()
    ]
    summary = {
        "benchmark": "log_counts",
        "count": scored,
        "calm_per_million": quiet,
        "deploys": reworded,
        "us_per_window": round(window_us, 1),
    }
    show("Signals of log streams", ("part", "measure", "value"), rows, summary)


if __name__ == "__main__":
    main()
