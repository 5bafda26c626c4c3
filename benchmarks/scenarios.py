"""What must hold for an operator: seeded streams with a known answer, through learners and episodes.

``python -m benchmarks.scenarios [--quick]``. Each line is one promise with what was found; ends with 3 if one is
broken. Values go straight into a partition's learners and its judge, driven as the pipeline drives them. The learner
is ``auto`` for 1 and ``residual`` for the others; what the default one does not hold of 8 and 11 stands in
docs/decisions/0013-typed-episodes.md.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from benchmarks.report_line import note, show
from detector.batches import FloatArray, IntArray, ScoreColumns, Transition
from detector.episodes import EpisodeJudge, Policy, PolicyBook
from detector.learners import AutoLearner, Learner, LearnerBank, ResidualLearner

BROKEN: Final = 3
MINUTE_S: Final = 60
DAY: Final = 1_440
"""Minutes."""
START_MS: Final = 1_750_032_000_000 // 86_400_000 * 86_400_000
BATCH: Final = 100_000


class Found(NamedTuple):
    """What a scenario found: whether its promise holds, and the numbers behind it."""

    holds: bool
    numbers: str


def judged(
    values: FloatArray, *, learner: Learner | None = None, interval_s: int = MINUTE_S, policy: Policy | None = None
) -> list[Transition]:
    """Transitions of ``values`` float64[samples, series], sampled together every ``interval_s``."""
    size, series = values.shape
    bank = LearnerBank([learner or ResidualLearner()])
    judge = EpisodeJudge(PolicyBook([policy] if policy else []).policies)
    judge.reserve(series)
    for slot in range(series):
        judge.open_slot(slot, 0)
        bank.open(slot, 0)
    transitions: list[Transition] = []
    rows_per_batch = max(1, BATCH // series)
    for start in range(0, size, rows_per_batch):
        part = values[start : start + rows_per_batch]
        times_ms = START_MS + (start + np.arange(len(part), dtype=np.int64)) * interval_s * 1_000
        slots = np.tile(np.arange(series, dtype=np.int64), len(part))
        transitions += _batch(bank, judge, slots, np.repeat(times_ms, series), part.reshape(-1))
    return transitions


def _batch(
    bank: LearnerBank, judge: EpisodeJudge, slots: IntArray, times_ms: IntArray, values: FloatArray
) -> list[Transition]:
    transitions: list[Transition] = []
    begin = 0
    while begin < len(slots):
        part = slice(begin, judge.next_shift(slots, times_ms, begin))
        scores = ScoreColumns.empty(part.stop - begin)
        bank.score(slots[part], times_ms[part], values[part], scores)
        rows = np.arange(part.start, part.stop, dtype=np.int64)
        found = judge.judge(rows, slots[part], times_ms[part], values[part], scores)
        for shift in found:
            if shift.kind == "metric.level_shift" and shift.state == "opened":
                where = np.array([shift.slot]), np.array([shift.time_ms])
                bank.rebaseline(*where, np.array([shift.new_level]))
        transitions += found
        begin = part.stop
    return transitions


def opened(transitions: Sequence[Transition], kind: str = "") -> list[Transition]:
    """Those that open, of one kind if it is named."""
    return [it for it in transitions if it.state == "opened" and kind in it.kind]


def minute_of(transition: Transition) -> int:
    """Minutes since the start of a scenario."""
    return (transition.time_ms - START_MS) // 60_000


def noise(samples: int, seed: int, series: int = 1) -> FloatArray:
    """Gaussian noise around 100."""
    return 100.0 + np.random.default_rng(seed).normal(size=(samples, series))


def low_means(series: int, rng: np.random.Generator) -> FloatArray:
    """Means from 0.2 to 5, evenly by their logarithm."""
    return np.exp(rng.uniform(np.log(0.2), np.log(5.0), series))


def daily(minutes: int, series: int, rng: np.random.Generator) -> FloatArray:
    """Factors of a daily curve from 0.2 to 1.8, float64[minutes, series], with its top at any time of the day."""
    phases = np.arange(minutes)[:, np.newaxis] / DAY + rng.random(series)
    return 1.0 + 0.8 * np.sin(2.0 * np.pi * phases)


def low_counts(*, quick: bool, curve: bool = False) -> Found:
    """1: Poisson counts of mean 0.2 to 5, a sample each minute: at most one opened episode per 1,000 series and day."""
    series, days = (200, 7) if quick else (1_000, 14)
    rng = np.random.default_rng(1)
    means = low_means(series, rng) * (daily(days * DAY, series, rng) if curve else np.ones((days * DAY, 1)))
    values = rng.poisson(means).astype(np.float64)
    count = len(opened(judged(values, learner=AutoLearner())))
    rate = count / (series / 1_000) / days
    return Found(rate <= 1.0, f"{count} opened, {rate:.2f} per 1,000 series and day")


def daily_counts(*, quick: bool) -> Found:
    """1a: the same with a daily curve from a fifth of the mean to 1.8 times."""
    return low_counts(quick=quick, curve=True)


def count_surge(*, quick: bool) -> Found:
    """1b: of surges to ten times a mean of 0.5 to 5, ten minutes long, nine in ten are found at least."""
    series, day = (100 if quick else 500), 2 * DAY
    rng = np.random.default_rng(2)
    means = np.exp(rng.uniform(np.log(0.5), np.log(5.0), series))
    values = rng.poisson(means, (day + 60, series)).astype(np.float64)
    values[day : day + 10] = rng.poisson(10.0 * means, (10, series))
    found = {it.slot for it in opened(judged(values, learner=AutoLearner()), "spike") if day <= minute_of(it)}
    share = len(found) / series
    return Found(share >= SURGES_MIN, f"{share:.1%} of {series} surges")


SURGES_MIN: Final = 0.9


def cold_start(*, quick: bool) -> Found:
    """2: a new series is scored within 30 points and opens nothing before, whatever its first points are."""
    series = 50 if quick else 500
    rng = np.random.default_rng(3)
    values = noise(300, 3, series)
    values[:25] += rng.choice([0.0, 50.0, -80.0], size=(25, series), p=[0.9, 0.05, 0.05])
    early = [it for it in opened(judged(values)) if minute_of(it) < ResidualLearner.warm_up_samples]
    late = len(opened(judged(noise(300, 3, series))))
    ready = ResidualLearner.warm_up_samples <= READY_SAMPLES
    return Found(ready and not early and late == 0, f"{len(early)} opened before ready, {late} on plain noise")


READY_SAMPLES: Final = 30


def square_wave(*, quick: bool) -> Found:
    """8: a value that swings over the band's edge for an hour opens once, closes once at most, and is told to flap."""
    half_periods = (3,) if quick else (1, 2, 3, 4, 5, 6, 7, 8)
    bad = []
    for half_period in half_periods:
        values = noise(3 * DAY, 8)
        hour = slice(2 * DAY + 100, 2 * DAY + 160)
        values[hour] += np.where(np.arange(60) // half_period % 2 == 0, 12.0, 0.0)[:, np.newaxis]
        told = judged(values)
        closed = [it for it in told if it.state == "closed"]
        if len(opened(told)) != 1 or len(closed) > 1 or not any(it.flapping for it in told):
            bad.append(half_period)
    return Found(not bad, f"{len(half_periods)} half-periods, not so: {bad or 'none'}")


def stuck(*, quick: bool) -> Found:
    """10: lively, then flat opens ``metric.stuck`` within 35 minutes; a constant series never does."""
    del quick
    flat = noise(2 * DAY, 10)
    flat[DAY:] = flat[DAY]
    lively = opened(judged(flat), "stuck")
    constant = np.full((2 * DAY, 1), 5.0)
    calm = opened(judged(constant))
    constant[DAY:] = 8.0
    step = opened(judged(constant))
    rare = np.where(np.arange(14 * DAY) // 700 % 2 == 0, 5.0, 6.0)[:, np.newaxis]
    rested = opened(judged(rare), "stuck")
    holds = len(lively) == 1 and minute_of(lively[0]) - DAY <= STUCK_MINUTES and not calm and not rested
    holds = holds and [it.kind for it in step][:1] == ["metric.spike"]
    after = minute_of(lively[0]) - DAY if lively else -1
    return Found(holds, f"flat: {len(lively)} after {after} min; constant: {len(calm)}; step: {len(step)}")


STUCK_MINUTES: Final = 35


def incident(*, quick: bool) -> Found:
    """11a: an incident of six hours, again two days later: found twice, and neither return opens anything."""
    bad = []
    for height in (-30.0, 200.0) if quick else (-200.0, -30.0, -12.0, 12.0, 30.0, 200.0):
        values = noise(6 * DAY, 11)
        for day in (2.4, 4.4):
            values[int(day * DAY) : int(day * DAY) + 360] += height
        minutes = [minute_of(it) for it in opened(judged(values))]
        if [minute // DAY for minute in minutes] != [2, 4]:
            bad.append(height)
    return Found(not bad, f"not so for heights {bad or 'none'}")


def new_level(*, quick: bool) -> Found:
    """11b: a level that has come to stay is said once, and is normal from then on."""
    bad = []
    for height in (30.0,) if quick else (-200.0, -30.0, 30.0, 200.0):
        values = noise(7 * DAY, 12)
        values[3 * DAY :] += height
        told = judged(values)
        shifts = opened(told, "level_shift")
        ends = [it.end_reason for it in told if it.state == "closed"]
        if len(opened(told)) != 2 or len(shifts) != 1 or ends != ["accepted", "accepted"]:  # with its spike
            bad.append(height)
    return Found(not bad, f"not so for heights {bad or 'none'}")


class Scenario(NamedTuple):
    """A promise and what tries it."""

    name: str
    run: Callable[..., Found]


SCENARIOS: Final = (
    Scenario("1 low counts", low_counts),
    Scenario("1a low counts by day", daily_counts),
    Scenario("1b surges of low counts", count_surge),
    Scenario("2 cold start", cold_start),
    Scenario("8 square wave", square_wave),
    Scenario("10 flat lines", stuck),
    Scenario("11a incident, twice", incident),
    Scenario("11b new level", new_level),
)


def main() -> int:
    """Run all, print the table and the JSON; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="smaller runs, under a minute")
    arguments = parser.parse_args()
    rows, result = [], {}
    for scenario in SCENARIOS:
        note(f"scenario {scenario.name}")
        found = scenario.run(quick=arguments.quick)
        rows.append([scenario.name, "holds" if found.holds else "BROKEN", found.numbers])
        result[scenario.name] = {"holds": found.holds, "found": found.numbers}
    broken = sum(row[1] == "BROKEN" for row in rows)
    show(
        "Scenarios", ("scenario", "", "found"), rows, {"benchmark": "scenarios", "broken": broken, "scenarios": result}
    )
    return BROKEN if broken else 0


if __name__ == "__main__":
    sys.exit(main())
