"""What must hold for an operator: seeded streams with a known answer, through the shipped default.

``python -m benchmarks.scenarios [--quick]``. Each line is one promise with what was found; ends with 3 if one is
broken. Values go straight into a partition's learners and its judge, driven as the pipeline drives them. Unless a line
says otherwise, the model is what ``auto`` stands for and the policy is the default one.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import orjson

from benchmarks.report_line import note, show
from detector.batches import TIMESTAMP_UNKNOWN, FloatArray, IntArray, RecordBatch, ScoreColumns, Transition
from detector.commands.replay import ReplayFiles, replay_files
from detector.episodes import EpisodeJudge, NoData, Policy, PolicyBook
from detector.learners import LearnerBank
from detector.ports import TopicPartition
from detector.settings import Settings
from detector.wiring import PipelineFactory
from detector.wiring_models import AUTO_MODEL, learner_factory

BROKEN: Final = 3
MINUTE_S: Final = 60
DAY: Final = 1_440
"""Minutes."""
FIVE_MINUTES_S: Final = 300
WEEK: Final = 2_016
"""Times five minutes."""
START_MS: Final = 1_750_032_000_000 // 86_400_000 * 86_400_000
BATCH: Final = 100_000
READY_SAMPLES: Final = 30
NOISE_RATE_MAX: Final = 1.0
"""Opened episodes per 1,000 series and day on noise alone."""


class Found(NamedTuple):
    """What a scenario found: whether its promise holds, and the numbers behind it."""

    holds: bool
    numbers: str


def judged(
    values: FloatArray,
    *,
    interval_s: int = MINUTE_S,
    start_ms: int = START_MS,
    policy: Policy | None = None,
    timezone: str | None = None,
) -> list[Transition]:
    """Transitions of ``values`` float64[samples, series], sampled together every ``interval_s``; NaN is no sample."""
    size, series = values.shape
    model = AUTO_MODEL if timezone is None else "zoned"
    settings = Settings.model_validate(
        {"models": {} if timezone is None else {model: {"auto": {"timezone": timezone}}}}
    )
    bank = LearnerBank([learner_factory(model, settings)()])
    judge = EpisodeJudge(PolicyBook([policy] if policy else []).policies)
    judge.reserve(series)
    for slot in range(series):
        judge.open_slot(slot, 0)
        bank.open(slot, 0)
    transitions: list[Transition] = []
    rows_per_batch = max(1, BATCH // series)
    for start in range(0, size, rows_per_batch):
        part = values[start : start + rows_per_batch]
        times_ms = start_ms + (start + np.arange(len(part), dtype=np.int64)) * interval_s * 1_000
        slots = np.tile(np.arange(series, dtype=np.int64), len(part))
        there = np.flatnonzero(np.isfinite(part.reshape(-1)))
        transitions += _batch(bank, judge, slots[there], np.repeat(times_ms, series)[there], part.reshape(-1)[there])
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


def on_noise(values: FloatArray, days: int) -> Found:
    """How often anything opens where there is nothing."""
    count = len(opened(judged(values)))
    rate = count / (values.shape[1] / 1_000) / days
    return Found(rate <= NOISE_RATE_MAX, f"{count} opened, {rate:.2f} per 1,000 series and day")


def low_counts(*, quick: bool) -> Found:
    """1: Poisson counts of mean 0.2 to 5, a sample each minute: at most one opened episode per 1,000 series and day."""
    series, days = (200, 7) if quick else (1_000, 14)
    rng = np.random.default_rng(1)
    means = np.exp(rng.uniform(np.log(0.2), np.log(5.0), series))
    return on_noise(rng.poisson(means, (days * DAY, series)).astype(np.float64), days)


def seasonal_counts(*, quick: bool) -> Found:
    """1: the same with a daily curve from a fifth of the mean to 1.8 times, its top at any time of the day."""
    series, days = (200, 7) if quick else (1_000, 14)
    rng = np.random.default_rng(4)
    means = np.exp(rng.uniform(np.log(0.2), np.log(5.0), series))
    phases = np.arange(days * DAY)[:, np.newaxis] / DAY + rng.random(series)
    curve = 1.0 + 0.8 * np.sin(2.0 * np.pi * phases)
    return on_noise(rng.poisson(curve * means).astype(np.float64), days)


def count_surge(*, quick: bool) -> Found:
    """1: of surges to ten times a mean of 0.5 to 5, ten minutes long, nine in ten are found at least."""
    series, day = (100 if quick else 500), 2 * DAY
    rng = np.random.default_rng(2)
    means = np.exp(rng.uniform(np.log(0.5), np.log(5.0), series))
    values = rng.poisson(means, (day + 60, series)).astype(np.float64)
    values[day : day + 10] = rng.poisson(10.0 * means, (10, series))
    found = {it.slot for it in opened(judged(values), "spike") if day <= minute_of(it)}
    share = len(found) / series
    return Found(share >= SURGES_MIN, f"{share:.1%} of {series} surges")


SURGES_MIN: Final = 0.9


def gaussian_noise(*, quick: bool) -> Found:
    """1: Gaussian noise around a level opens next to nothing, from the first sample on."""
    series, days = (100, 2) if quick else (1_000, 7)
    return on_noise(noise(days * DAY, 5, series), days)


def cold_start(*, quick: bool) -> Found:
    """2: a new series is scored within 30 points and opens nothing before, whatever its first points are."""
    series = 50 if quick else 500
    rng = np.random.default_rng(3)
    values = noise(300, 3, series)
    values[:25] += rng.choice([0.0, 50.0, -80.0], size=(25, series), p=[0.9, 0.05, 0.05])
    early = [it for it in opened(judged(values)) if minute_of(it) < READY_SAMPLES]
    plain = noise(300, 3, series)
    late = len(opened(judged(plain)))
    plain[40:44] += 40.0
    found = {it.slot for it in opened(judged(plain), "spike") if 40 <= minute_of(it) <= 44}
    share = len(found) / series
    told = f"{len(early)} opened before ready, {late} on plain noise; {share:.1%} of incidents at sample 40"
    return Found(not early and late == 0 and share >= EARLY_MIN, told)


EARLY_MIN: Final = 0.95


def daily_job(*, quick: bool) -> Found:
    """4: a job of every night, 20 minutes or 3 hours long, opens nothing from day 3 on."""
    days = 5 if quick else 10
    values = noise(days * DAY, 6, 6)
    for series, (start, minutes) in enumerate([(120, 20), (150, 20), (175, 20), (65, 180), (120, 180), (200, 180)]):
        for day in range(days):
            begin = day * DAY + start
            values[begin : begin + minutes, series] += 30.0
    late = [it for it in opened(judged(values)) if minute_of(it) >= 3 * DAY]
    return Found(not late, f"{len(late)} opened from day 3 on, 6 series, {days} days")


def weekly_job(*, quick: bool) -> Found:
    """4: a job of two hours every Sunday opens nothing from week 3 on; a sample every five minutes."""
    weeks = 5 if quick else 8
    values = noise(weeks * WEEK, 7, 3)
    for series, start in enumerate((60, 500, 1_950)):
        for week in range(weeks):
            begin = week * WEEK + start
            values[begin : begin + 24, series] += 30.0
    late = [it for it in opened(judged(values, interval_s=FIVE_MINUTES_S)) if minute_of(it) >= 3 * 7 * DAY]
    return Found(not late, f"{len(late)} opened from week 3 on, 3 series, {weeks} weeks")


SWITCHES: Final = (
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC), 1, 2),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC), 2, 1),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC), -5, -4),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC), -4, -5),
)
"""Zone, moment, hours ahead of UTC before and after."""


def daylight_saving(*, quick: bool) -> Found:
    """5: a daily curve of 30 sigma in local time; the switch opens nothing in the week after it, the zone being set."""
    days_before, days_after = (10, 3) if quick else (21, 7)
    told = []
    for zone, moment, before_h, after_h in SWITCHES:
        switch_ms = int(moment.timestamp()) * 1_000
        start_ms = switch_ms - days_before * 86_400_000
        times_ms = start_ms + np.arange((days_before + days_after) * DAY, dtype=np.int64) * 60_000
        local_h = times_ms / 3_600_000 + np.where(times_ms < switch_ms, before_h, after_h)
        curve = 30.0 * np.sin((local_h % 24.0) * (2.0 * np.pi / 24.0))
        values = noise(len(times_ms), 9) + curve[:, np.newaxis]
        told += [it for it in opened(judged(values, start_ms=start_ms, timezone=zone)) if it.time_ms >= switch_ms]
    return Found(not told, f"{len(told)} opened after {len(SWITCHES)} switches")


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


def drop_to_nothing(*, quick: bool) -> Found:
    """9: a series that stops is told two intervals later at most, with ``no_data: {intervals: 2, min_s: 0}``."""
    series = 10 if quick else 200
    values = noise(DAY, 14, series + 1)
    stops = 600 + np.arange(series)
    for slot, stop in enumerate(stops.tolist()):
        values[stop:, slot] = np.nan
    policy = Policy("silence", no_data=NoData(intervals=2.0, min_s=0.0))
    told = opened(judged(values, policy=policy), "no_data")
    delays = [minute_of(it) - (int(stops[it.slot]) - 1) for it in told]
    holds = len(told) == series and max(delays) <= SILENT_INTERVALS
    return Found(holds, f"{len(told)} of {series} told, {max(delays, default=-1)} min after the last sample at most")


SILENT_INTERVALS: Final = 3
"""The last sample, the missing one, and two intervals after the drop."""


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
    """11: an incident of six hours, again two days later: found twice, and neither return opens anything."""
    bad = []
    for height in (-30.0, 200.0) if quick else (-200.0, -30.0, -12.0, 12.0, 20.0, 30.0, 200.0, 1_000.0):
        values = noise(6 * DAY, 11)
        for day in (2.4, 4.4):
            values[int(day * DAY) : int(day * DAY) + 360] += height
        minutes = [minute_of(it) for it in opened(judged(values))]
        if [minute // DAY for minute in minutes] != [2, 4]:
            bad.append(height)
    return Found(not bad, f"not so for heights {bad or 'none'}")


def new_level(*, quick: bool) -> Found:
    """11: a level that has come to stay is said once, and is normal from then on."""
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


def scatter(*, quick: bool) -> Found:
    """12: noise four times as large for two hours is one ``metric.variance``, and plain noise is none."""
    seeds = 5 if quick else 20
    values = np.concatenate([noise(3 * DAY, seed) for seed in range(seeds)], axis=1)
    wide = slice(2 * DAY, 2 * DAY + 120)
    values[wide] = 100.0 + (values[wide] - 100.0) * 4.0
    told = opened(judged(values))
    found = [it.slot for it in told if it.kind == "metric.variance" and 0 <= minute_of(it) - 2 * DAY < 120]
    calm = len(opened(judged(noise(3 * DAY, 99, 20 if quick else 1_000)), "variance"))
    begun = len([it for it in told if it.kind != "metric.variance"])
    holds = sorted(found) == list(range(seeds)) and calm == 0
    return Found(holds, f"{len(set(found))} of {seeds} said once, after {begun} spikes and dips; plain noise: {calm}")


def late_points(*, quick: bool) -> Found:
    """17: one point in twenty up to three minutes late: the same episodes as in order, to the minute of their start."""
    series, days = (5, 1) if quick else (20, 3)
    values = noise(days * DAY, 13, series)
    rng = np.random.default_rng(13)
    for slot in range(series):
        begin = int(rng.integers(600, days * DAY - 60))
        values[begin : begin + 20, slot] += 40.0
    late_min = np.where(rng.random(values.shape) < LATE_SHARE, rng.integers(1, 4, values.shape), 0)
    ordered = _replayed(values, np.zeros(values.shape, dtype=np.int64))
    shuffled = _replayed(values, late_min)
    same = {key: abs(start - shuffled.get(key, 10**12)) <= LATE_START_S for key, start in ordered.items()}
    holds = len(ordered) == series and len(shuffled) == len(ordered) and all(same.values())
    return Found(holds, f"{len(ordered)} in order, {len(shuffled)} with late points, {sum(same.values())} the same")


LATE_SHARE: Final = 0.05
LATE_START_S: Final = 120


def _replayed(values: FloatArray, late_min: IntArray) -> dict[tuple[str, str], int]:
    """Start in epoch seconds of the episodes that ``detector replay`` opens, by kind and series."""
    rows, slots = np.nonzero(np.isfinite(values))
    order = np.argsort(rows + late_min[rows, slots], kind="stable")
    lines = [
        orjson.dumps(
            {
                "name": "m",
                "labels": {"slot": str(slots[at])},
                "time": START_MS + int(rows[at]) * 60_000,
                "value": float(values[rows[at], slots[at]]),
            }
        )
        for at in order.tolist()
    ]
    with tempfile.TemporaryDirectory() as folder:
        source, events = Path(folder) / "samples.jsonl", Path(folder) / "events.jsonl"
        source.write_bytes(b"\n".join(lines))
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            replay_files(Settings(), [source], ReplayFiles(events=events, scores=None))
        told = [orjson.loads(line)["data"] for line in events.read_bytes().splitlines()]
    return {
        (event["kind"], event["series"]["labels"]["slot"]): int(datetime.fromisoformat(event["started_at"]).timestamp())
        for event in told
        if event["state"] == "opened"
    }


def new_pods(*, quick: bool) -> Found:
    """16: 30 pods are replaced: nothing opens but for every third new one, whose value is 2.5 times as high at once.

    Nine in ten of those are found, although they begin and end within 28 samples of a new series.
    """
    found = wanted = false = 0
    for seed in range(1 if quick else 10):
        for name, level, scatter, curve in POD_METRICS:
            told = _opened_pods(seed, name, level, scatter, curve)
            wanted += len(BAD_PODS)
            found += len(told & BAD_PODS)
            false += len(told - BAD_PODS)
    return Found(found >= PODS_MIN * wanted and not false, f"{found} of {wanted} found, {false} false")


PODS: Final = 30
PODS_REPLACED: Final = 360
BAD_PODS: Final = frozenset(range(0, PODS, 3))
PODS_MIN: Final = 0.9
POD_METRICS: Final = (("cpu_millicores", 100.0, 3.0, 0.3), ("memory", 5e8, 2e6, 0.0), ("queue", 40.0, 3.0, 0.3))
"""Name, level, scatter, and height of the daily curve as a share of the level."""


def _opened_pods(seed: int, name: str, level: float, scatter: float, curve: float) -> set[int]:
    """Which of 30 new pods opened an episode, each once; those of before open none, or count as -1."""
    rng = np.random.default_rng(seed)
    pipeline = PipelineFactory(Settings(), records="plain")(TopicPartition("pods", 0))
    lines = []
    for minute in range(PODS_REPLACED + 60):
        age = minute - PODS_REPLACED
        for pod in range(PODS):
            value = float(level * (1.0 + curve * np.sin(minute / 229.0)) + scatter * rng.normal())
            begin = 10 + 7 * pod % 14
            if pod in BAD_PODS and begin <= age < begin + 5:
                value *= 2.5
            labels = {"service": "shop", "pod": f"{'new' if age >= 0 else 'old'}-{pod}"}
            lines.append(
                orjson.dumps({"name": name, "labels": labels, "time": START_MS + minute * 60_000, "value": value})
            )
    offsets = np.arange(len(lines), dtype=np.int64)
    output = pipeline.process(RecordBatch("pods", 0, offsets, np.full(len(lines), TIMESTAMP_UNKNOWN), lines))
    told = [orjson.loads(event.value)["data"] for event in output.events]
    pods = [event["series"]["labels"]["pod"].split("-") for event in told if event["state"] == "opened"]
    return {int(pod) if life == "new" else -1 for life, pod in pods}


class Scenario(NamedTuple):
    """A promise and what tries it."""

    name: str
    run: Callable[..., Found]


SCENARIOS: Final = (
    Scenario("1 low counts", low_counts),
    Scenario("1 seasonal counts", seasonal_counts),
    Scenario("1 surges of low counts", count_surge),
    Scenario("1 Gaussian noise", gaussian_noise),
    Scenario("2 cold start", cold_start),
    Scenario("4 daily job", daily_job),
    Scenario("4 weekly job", weekly_job),
    Scenario("5 daylight saving", daylight_saving),
    Scenario("8 square wave", square_wave),
    Scenario("9 drop to nothing", drop_to_nothing),
    Scenario("10 flat lines", stuck),
    Scenario("11 incident, twice", incident),
    Scenario("11 new level", new_level),
    Scenario("12 scatter", scatter),
    Scenario("16 new pods", new_pods),
    Scenario("17 late points", late_points),
)


def main() -> int:
    """Run all, or those whose name contains a word, and print the table and the JSON; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="smaller runs, about a minute")
    parser.add_argument("--only", default="", help="part of the names of the scenarios to run")
    arguments = parser.parse_args()
    rows, result = [], {}
    for scenario in SCENARIOS:
        if arguments.only not in scenario.name:
            continue
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
