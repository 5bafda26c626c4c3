"""Rows for the judge, and its transitions as comparable text."""

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np

from detector.batches import ScoreColumns, Transition
from detector.episodes import Drift, EpisodeJudge, LevelShift, NoData, Policy, PolicyBook

MINUTE_MS = 60_000
START_MS = 1_700_000_000_000
THREE_OF_FIVE = Policy("default", open_points=3, open_window=5)


class Row(NamedTuple):
    """One scored sample; ``deviation`` NaN means that the learner is warming up."""

    time_ms: int
    observed: float
    deviation: float
    expected: float = 0.0
    slot: int = 0


def minutes(observed: Iterable[float], *, slot: int = 0, start_ms: int = START_MS) -> list[Row]:
    """One row per minute, expected 0 and a band from -1 to 1, so that the deviation is the distance from 0."""
    return [
        Row(start_ms + index * MINUTE_MS, value, abs(value), slot=slot)
        for index, value in enumerate(map(float, observed))
    ]


def new_judge(policy: Policy | None = None, *, slots: int = 1, output_rows: int = 64) -> EpisodeJudge:
    """A judge with ``slots`` open series under one policy."""
    judge = EpisodeJudge(PolicyBook([policy or THREE_OF_FIVE]).policies, output_rows=output_rows)
    judge.reserve(slots)
    for slot in range(slots):
        judge.open_slot(slot, 0)
    return judge


def scores_of(rows: Sequence[Row]) -> ScoreColumns:
    """The columns that a learner with a band of one around the expected value would give."""
    columns = ScoreColumns.empty(len(rows))
    columns.deviation[:] = [row.deviation for row in rows]
    columns.score[:] = 100.0 * columns.deviation / (1.0 + columns.deviation)
    columns.expected[:] = [row.expected for row in rows]
    columns.lower[:] = columns.expected - 1.0
    columns.upper[:] = columns.expected + 1.0
    return columns


def feed(judge: EpisodeJudge, rows: Sequence[Row], first_row: int = 0) -> list[Transition]:
    """Judge ``rows`` in one call."""
    return judge.judge(
        np.arange(first_row, first_row + len(rows), dtype=np.int64),
        np.array([row.slot for row in rows], dtype=np.int64),
        np.array([row.time_ms for row in rows], dtype=np.int64),
        np.array([row.observed for row in rows], dtype=np.float64),
        scores_of(rows),
    )


def judge_minutes(observed: Iterable[float], policy: Policy | None = None) -> list[Transition]:
    """Transitions of one series with one value per minute."""
    return feed(new_judge(policy), minutes(observed))


def states(transitions: Iterable[Transition]) -> list[str]:
    """The states alone."""
    return [transition.state for transition in transitions]


def facts(transition: Transition) -> dict[str, str]:
    """Every field as text, bit for bit, with NaN equal to NaN."""
    values = {field.name: getattr(transition, field.name) for field in fields(transition)}
    values["recent_values"] = values["recent_values"].tolist()
    return {name: repr(value) for name, value in values.items()}


def random_rows(seed: int, size: int, slots: int) -> list[Row]:
    """Rows of several series with calm and bad stretches in both directions, warm-up rows and gaps in time."""
    rng = np.random.default_rng(seed)
    times = [START_MS] * slots
    levels = [0.0] * slots
    rows = []
    for _ in range(size):
        slot = int(rng.integers(slots))
        times[slot] += int(rng.choice([15_000, 60_000, 61_234, 900_000], p=[0.2, 0.6, 0.15, 0.05]))
        if rng.random() < 0.15:
            levels[slot] = float(rng.choice([0.0, 0.0, 1.2, -1.2, 5.0, -12.0]))
        observed = levels[slot] + float(rng.normal(0.0, 0.4))
        deviation = float("nan") if rng.random() < 0.05 else abs(observed)
        rows.append(Row(times[slot], observed, deviation, slot=slot))
    return rows


def restless_rows() -> list[Row]:
    """Noise that grows for two hours, and then moves to a level inside of the band."""
    values = np.random.default_rng(2).normal(0.0, 0.1, 1_200)
    values[500:620] *= 10.0
    values[900:] += 0.7
    return minutes(values.tolist())


LIVELY = Policy(
    name="lively",
    open_points=2,
    open_window=4,
    close_points=3,
    close_window=5,
    cooldown_s=120.0,
    silence_close_s=0.0,
)
"""A policy under which random rows make many transitions, and no timer does."""


def main() -> None:
    """Print a digest of the transitions of random rows: run with and without the compiler, it must be the same."""
    rows = random_rows(seed=11, size=3_000, slots=7)
    watched = replace(LIVELY, silence_close_s=900.0, no_data=NoData(intervals=1.0, min_s=60.0))
    restless = Policy("restless", level_shift=LevelShift(after_s=7_200.0), drift=Drift())
    transitions = feed(new_judge(LIVELY, slots=7), rows) + feed(new_judge(watched, slots=7), rows)
    transitions += feed(new_judge(restless), restless_rows())
    text = "\n".join(str(facts(transition)) for transition in transitions)
    sys.stdout.write(f"{len(transitions)} {hashlib.sha256(text.encode()).hexdigest()}\n")


if __name__ == "__main__":
    main()
