"""The compiled kernel against a slow model that keeps every row and reads like the policy's documentation."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.batches import Transition
from detector.episodes import Policy
from tests.unit.episodes_feed import START_MS, Row, facts, feed, minutes, new_judge

LEVELS = ("warning", "error", "critical")


@dataclass
class Scored:
    """A row that the learner scored, as one lane sees it."""

    row: Row
    anomalous: bool

    @property
    def score(self) -> float:
        return 100.0 * self.row.deviation / (1.0 + self.row.deviation)


@dataclass
class Episode:
    """What is known of an open episode."""

    number: int
    rows: list[Scored]
    detected_ms: int
    peak: Scored
    level: int
    emitted_ms: int
    flapping: bool
    after_opening: list[Scored] = field(default_factory=list)
    sequence: int = 0


class Lane:
    """Watches one direction of one series."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.rows: list[Scored] = []
        self.triggered = False
        self.cool_until_ms = -math.inf
        self.candidate: Scored | None = None
        self.episode: Episode | None = None
        self.episodes = 0

    def step(self, row: Row, *, anomalous: bool) -> str | None:
        scored = Scored(row, anomalous)
        self.rows.append(scored)
        return self._watch(scored) if self.episode is None else self._follow(scored, self.episode)

    def _watch(self, scored: Scored) -> str | None:
        policy, now_ms = self.policy, scored.row.time_ms
        window = self.rows[-policy.open_window :]
        bad = [other for other in window if other.anomalous]
        fresh = len(bad) >= policy.open_points and not self.triggered
        self.triggered = len(bad) >= policy.open_points
        if not scored.anomalous:
            return None
        slid_out = self.candidate is None or all(other is not self.candidate for other in window)
        if slid_out or (self.candidate is not None and scored.row.deviation > self.candidate.row.deviation):
            self.candidate = scored
        if now_ms < self.cool_until_ms:
            if fresh:
                self.cool_until_ms = now_ms + policy.cooldown_s * 1000
            return None
        if not self.triggered:
            return None
        first = next(index for index, other in enumerate(window) if other.anomalous)
        assert self.candidate is not None
        self.episodes += 1
        flapping = self._changes() >= policy.flap_crossings
        level = self._level(self.candidate.score)
        self.episode = Episode(self.episodes, window[first:], now_ms, self.candidate, level, now_ms, flapping)
        return "opened"

    def _follow(self, scored: Scored, episode: Episode) -> str | None:
        policy, now_ms = self.policy, scored.row.time_ms
        episode.rows.append(scored)
        episode.after_opening.append(scored)
        if scored.anomalous and scored.row.deviation > episode.peak.row.deviation:
            episode.peak = scored
        due = now_ms - episode.emitted_ms >= policy.update_interval_s * 1000
        if not episode.flapping and self._changes() >= policy.flap_crossings:
            episode.flapping = due = True
        level = self._level(episode.peak.score)
        if level > episode.level:
            episode.level, due = level, True
        normal = sum(not other.anomalous for other in episode.after_opening[-policy.close_window :])
        calm = not episode.flapping or self._changes() < policy.flap_crossings / 2
        if not scored.anomalous and normal >= policy.close_points and calm:
            return "closed"
        return "updated" if due else None

    def close(self, now_ms: int) -> None:
        self.episode = None
        self.rows = []
        self.triggered = False
        self.cool_until_ms = now_ms + self.policy.cooldown_s * 1000

    def _changes(self) -> int:
        flags = [False] * self.policy.flap_window + [scored.anomalous for scored in self.rows]
        recent = flags[-self.policy.flap_window :]
        return sum(before != after for before, after in pairwise(recent))

    def _level(self, score: float) -> int:
        return (score >= self.policy.severity_error_score) + (score >= self.policy.severity_critical_score)


class Model:
    """One series."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.lanes = (Lane(policy), Lane(policy))
        self.values: list[float] = []
        self.last_ms: int | None = None
        self.interval_ms = math.nan
        self.gaps_ms: list[float] = []
        self.times_ms: list[int] = []
        self.usual_run_ms = 0.0
        self.changes = 0
        self.gap_ms = 0.0

    def _learn_run(self, row: Row) -> None:
        """Called before the row's value and gap are noted, which closes the run of equal values before it."""
        if self.values and row.observed != self.values[-1]:
            run = next((i for i in range(len(self.values) - 1, 0, -1) if self.values[i - 1] != self.values[-1]), 0)
            began_ms = self.times_ms[run]
            lasted = float(self.times_ms[-1] - began_ms)
            if self.changes >= 200:
                lasted = min(lasted, max(4.0 * self.usual_run_ms, 10.0 * self.gap_ms))
            kept = self.usual_run_ms * max(0.0, 1.0 - float(row.time_ms - began_ms) / 1_209_600_000)
            self.usual_run_ms = max(kept, lasted)
            self.changes = min(self.changes + 1, 200)
        self.times_ms.append(row.time_ms)

    def step(self, index: int, row: Row) -> list[Transition]:
        self._learn_run(row)
        self.values.append(row.observed)
        if self.last_ms is not None:
            interval = float(row.time_ms - self.last_ms)
            counted = interval if len(self.gaps_ms) < 9 else min(interval, 2.0 * self.gap_ms)
            self.gap_ms = max(counted, self.gap_ms * 0.99)
            self.gaps_ms.append(interval)
            if math.isnan(self.interval_ms):
                self.interval_ms = interval
            else:
                self.interval_ms += 0.1 * (min(interval, 2.0 * self.interval_ms) - self.interval_ms)
        self.last_ms = row.time_ms
        if math.isnan(row.deviation):
            return []
        side = self._side(row)
        transitions = []
        for lane, machine in enumerate(self.lanes):
            state = machine.step(row, anomalous=side == lane)
            if state is not None:
                transitions.append(self._transition(index, row, lane, state))
        return transitions

    def _side(self, row: Row) -> int | None:
        policy = self.policy
        if row.deviation < policy.deviation_min:
            return None
        if math.isnan(row.expected):
            return 0 if policy.direction != "down" and abs(row.observed) >= policy.volume_min else None
        distance = abs(row.observed - row.expected)
        gates = (
            distance >= policy.abs_min,
            distance >= policy.rel_min * abs(row.expected),
            max(abs(row.observed), abs(row.expected)) >= policy.volume_min,
        )
        if not all(gates) or row.observed == row.expected:
            return None
        side = 0 if row.observed > row.expected else 1
        return side if policy.direction in {"both", ("up", "down")[side]} else None

    def _transition(self, index: int, row: Row, lane: int, state: str) -> Transition:
        machine = self.lanes[lane]
        episode = machine.episode
        assert episode is not None
        episode.sequence += 1
        episode.emitted_ms = row.time_ms
        bad = [scored for scored in episode.rows if scored.anomalous]
        if state == "closed":
            machine.close(row.time_ms)
        return Transition(
            row=index,
            slot=row.slot,
            policy=0,
            state=state,  # type: ignore[arg-type]  # the model speaks plain strings
            kind="metric.dip" if lane else "metric.spike",
            sequence=episode.sequence,
            episode_number=episode.number,
            time_ms=row.time_ms,
            started_ms=episode.rows[0].row.time_ms,
            detected_ms=episode.detected_ms,
            ended_ms=bad[-1].row.time_ms if state == "closed" else None,
            points=len(episode.rows),
            anomalous_points=len(bad),
            interval_ms=self.interval_ms,
            gap_ms=self.gap_ms,
            last_sample_ms=row.time_ms,
            observed=row.observed,
            expected=row.expected,
            lower=row.expected - 1.0,
            upper=row.expected + 1.0,
            score=100.0 * row.deviation / (1.0 + row.deviation),
            deviation=row.deviation,
            novelty=math.nan,
            peak_score=episode.peak.score,
            peak_deviation=episode.peak.row.deviation,
            peak_observed=episode.peak.row.observed,
            peak_expected=episode.peak.row.expected,
            peak_time_ms=episode.peak.row.time_ms,
            severity=LEVELS[episode.level],  # type: ignore[arg-type]  # likewise
            flapping=episode.flapping,
            end_reason="recovered" if state == "closed" else None,
            recent_values=np.array(self.values[-16:]),
            samples_seen=len(self.values),
            usual_run_ms=self.usual_run_ms,
        )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    open_window = draw(st.integers(1, 16))
    close_window = draw(st.integers(1, 12))
    error = draw(st.sampled_from([0.0, 60.0, 75.0]))
    return Policy(
        name="drawn",
        stuck=None,
        direction=draw(st.sampled_from(["both", "both", "up", "down"])),
        deviation_min=draw(st.sampled_from([0.5, 1.0, 2.0])),
        abs_min=draw(st.sampled_from([0.0, 1.5])),
        rel_min=draw(st.sampled_from([0.0, 0.0, 0.5])),
        volume_min=draw(st.sampled_from([0.0, 0.0, 2.0])),
        open_points=draw(st.integers(1, min(open_window, 4))),
        open_window=open_window,
        close_points=draw(st.integers(1, close_window)),
        close_window=close_window,
        cooldown_s=draw(st.sampled_from([0.0, 60.0, 240.0, 1200.0])),
        flap_crossings=draw(st.integers(2, 6)),
        flap_window=draw(st.sampled_from([2, 8, 12, 20, 48, 64])),
        update_interval_s=draw(st.sampled_from([0.0, 120.0, 600.0])),
        severity_error_score=error,
        severity_critical_score=draw(st.sampled_from([error, 90.0])),
    )


@st.composite
def series(draw: st.DrawFn) -> list[Row]:
    """Runs of calm and bad rows, so that episodes open, flap and close; some rows without a score, some gaps."""
    rows = []
    time_ms = START_MS
    for _ in range(draw(st.integers(1, 30))):
        distance = draw(st.sampled_from([0.3, 0.0, 0.3, 4.0, 1.7, 1.0, -1.7, -15.0]))
        expected = draw(st.sampled_from([0.0, 0.0, 3.0, math.nan]))
        for _ in range(draw(st.integers(1, 8))):
            time_ms += draw(st.sampled_from([60_000, 60_000, 60_000, 15_000, 900_000]))
            known = 0.0 if math.isnan(expected) else expected
            warming_up = draw(st.integers(0, 19)) == 0
            rows.append(Row(time_ms, known + distance, math.nan if warming_up else abs(distance), expected))
    return rows


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(policy=policies(), rows=series())
def test_kernel_and_model_tell_the_same_story(policy: Policy, rows: list[Row]) -> None:
    model = Model(policy)
    expected = [facts(transition) for index, row in enumerate(rows) for transition in model.step(index, row)]
    actual = [facts(transition) for transition in feed(new_judge(policy), rows)]
    assert expected == actual


def test_the_same_over_long_flapping_series_that_reach_every_state() -> None:
    seen: set[tuple[str, bool]] = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        policy = Policy(
            name="flappy",
            stuck=None,
            open_points=2,
            open_window=int(rng.integers(2, 6)),
            close_points=3,
            close_window=int(rng.integers(3, 8)),
            cooldown_s=float(rng.choice([0.0, 300.0])),
            flap_crossings=int(rng.integers(2, 6)),
            flap_window=int(rng.integers(6, 30)),
        )
        runs = rng.integers(1, 7, size=40)
        values = np.repeat(rng.choice([0.2, 3.0, -3.0], size=len(runs), p=[0.5, 0.4, 0.1]), runs)
        rows = minutes([*values.tolist(), *[0.0] * 40])
        model = Model(policy)
        expected = [transition for index, row in enumerate(rows) for transition in model.step(index, row)]
        actual = feed(new_judge(policy), rows)
        assert [facts(transition) for transition in expected] == [facts(transition) for transition in actual]
        seen.update((transition.state, transition.flapping) for transition in actual)
    assert seen == {(state, flapping) for state in ("opened", "updated", "closed") for flapping in (False, True)}
