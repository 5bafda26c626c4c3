"""Drifts: found where river's ADWIN finds them; they let levels be told earlier, and inside of the band."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import ADWIN

from detector.batches import FloatArray, Transition
from detector.encoders.examples import IDENTITY
from detector.encoders.wording import direction_of, reasons_for, summarise
from detector.episodes import Drift, LevelShift, Policy
from detector.episodes.drift import BUCKETS_MAX, DRIFT_DTYPE, LEVELS, step_window
from detector.errors import UsageError
from detector.learners import EnvelopeLearner, Learner, ResidualLearner
from detector.pipeline import PartitionPipeline
from detector.state import decode, encode
from tests.pipelines import pipeline
from tests.streams import batch_of, cuts, record
from tests.unit.episodes_feed import START_MS, feed, judge_minutes, minutes, new_judge
from tests.unit.test_episode_kinds import nowhere

SLOW = LevelShift(after_s=28_800.0)
POLICY = Policy("drifting", level_shift=SLOW, drift=Drift())


def detections(values: Sequence[float], delta: float = 0.002) -> list[int]:
    """Rows at which our window finds a drift."""
    window = np.zeros(1, DRIFT_DTYPE)[0]
    return [row for row, value in enumerate(values) if not np.isnan(step_window(window, value, delta)[0])]


def of_river(values: Sequence[float], delta: float = 0.002) -> list[int]:
    """Rows at which river's does."""
    adwin: Any = ADWIN(delta=delta)  # type: ignore[no-untyped-call] # river has no types here
    found = []
    for row, value in enumerate(values):
        adwin.update(value)
        if adwin.drift_detected:
            found.append(row)
    return found


def moving(seed: int, size: int = 6_000) -> FloatArray:
    """Noise whose mean moves now and then, of one of three natures."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=size)
    for start in rng.integers(0, size, 5):
        values[start:] += rng.normal(0.0, 1.5)
    shapes: tuple[Callable[[FloatArray], FloatArray], ...] = (
        lambda raw: raw,
        lambda raw: (raw > 0.0).astype(np.float64),
        lambda raw: raw * 1e4,
    )
    return shapes[seed % len(shapes)](values)


class TestWindow:
    @pytest.mark.parametrize("seed", range(12))
    def test_finds_what_river_finds_at_the_same_rows(self, seed: int) -> None:
        values = moving(seed).tolist()
        found = of_river(values)
        assert found
        assert detections(values) == found

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(
        levels=st.lists(st.tuples(st.integers(1, 400), st.floats(-5.0, 5.0)), min_size=1, max_size=5),
        seed=st.integers(0, 1_000),
        delta=st.sampled_from([1e-6, 0.002, 0.2]),
    )
    def test_finds_what_river_finds_in_any_steps(
        self, levels: list[tuple[int, float]], seed: int, delta: float
    ) -> None:
        rng = np.random.default_rng(seed)
        values = np.concatenate([rng.normal(level, 1.0, size) for size, level in levels]).tolist()
        assert detections(values, delta) == of_river(values, delta)

    def test_of_constant_values_never_finds_anything(self) -> None:
        assert detections([3.25] * 3_000) == []

    def test_full_forgets_the_oldest_and_goes_on(self) -> None:
        window = np.zeros(1, DRIFT_DTYPE)[0]
        rng = np.random.default_rng(1)
        room = (BUCKETS_MAX + 1) * ((1 << LEVELS) - 1)
        for value in rng.normal(size=room + 8_000).tolist():
            step_window(window, value, 1e-12)
        assert room / 2 < int(window["width"]) <= room
        assert float(window["squares"]) / int(window["width"]) == pytest.approx(1.0, abs=0.05)
        found = [value for value in rng.normal(2.0, 1.0, 200).tolist() if step_window(window, value, 1e-12)[1] > 1.0]
        assert found


class TestEarlyLevel:
    def test_is_told_after_a_quarter_of_the_time(self) -> None:
        values = [*noise(600), *noise(600, 5.0)]
        (early,) = shifts(judge_minutes(values, POLICY))
        (late,) = shifts(judge_minutes(values, replace(POLICY, drift=None)))
        assert early.time_ms - START_MS == pytest.approx(600 * 60_000 + 7_200_000, abs=180_000)
        assert late.time_ms - START_MS == pytest.approx(600 * 60_000 + 28_800_000, abs=180_000)

    def test_needs_what_a_level_needs(self) -> None:
        values = noise(1_200)
        values[600:] += np.where(np.arange(600) % 2 == 0, 2.0, 9.0)
        assert shifts(judge_minutes(values, POLICY)) == []


class TestLevelInsideTheBand:
    @pytest.mark.parametrize("height", [0.7, -0.7])
    def test_is_told_once_with_both_levels(self, height: float) -> None:
        told = judge_minutes([*noise(800), *noise(1_400, height)], POLICY)
        assert [(it.kind, it.state, it.end_reason) for it in told] == [
            ("metric.level_shift", "opened", None),
            ("metric.level_shift", "closed", "accepted"),
        ]
        shift = told[0]
        assert shift.old_level == pytest.approx(0.0, abs=0.2)
        assert shift.new_level == pytest.approx(height, abs=0.15)
        assert direction_of(shift) == ("up" if height > 0 else "down")
        assert 7_200_000 <= shift.time_ms - shift.started_ms <= 7_400_000
        text = summarise(shift, IDENTITY, nowhere())
        assert "inside its band, from" in text
        assert [(reason.code, reason.weight) for reason in reasons_for(shift)] == [("settled", 1.0)]

    @pytest.mark.parametrize(
        "tail",
        [[*[0.7] * 100, *[0.0] * 1_300], [0.1] * 1_400],
        ids=["goes back", "too small"],
    )
    def test_is_not_what_does_not_stay(self, tail: list[float]) -> None:
        assert shifts(judge_minutes([*noise(800), *(np.array(tail) + noise(1_400))], POLICY)) == []

    @pytest.mark.parametrize("policy", [replace(POLICY, drift=None), replace(POLICY, level_shift=None)])
    def test_needs_both_sections(self, policy: Policy) -> None:
        assert judge_minutes([*noise(800), *noise(1_400, 0.7)], policy) == []

    def test_is_told_only_at_the_row_before_a_cut(self) -> None:
        judge, rows = new_judge(POLICY), minutes([*noise(800), *noise(1_400, 0.7)])
        slots, times = np.zeros(len(rows), np.int64), np.array([row.time_ms for row in rows])
        start, told = 0, []
        while start < len(rows):
            stop = judge.next_shift(slots, times, start)
            found = feed(judge, rows[start:stop], start)
            assert all(it.row == stop - 1 for it in found if it.kind == "metric.level_shift")
            told += found
            start = stop
        assert len(shifts(told)) == 1
        assert judge.take_drifts() >= 1
        assert judge.take_drifts() == 0


def noise(size: int, level: float = 0.0, seed: int = 3) -> FloatArray:
    """A tenth of a band, around ``level``."""
    values: FloatArray = level + np.random.default_rng(seed).normal(0.0, 0.1, size)
    return values


def shifts(transitions: Sequence[Transition]) -> list[Transition]:
    """New levels that open."""
    return [it for it in transitions if it.kind == "metric.level_shift" and it.state == "opened"]


def of_learner(learner: Learner, policy: Policy = POLICY) -> PartitionPipeline:
    """A pipeline that looks for drifts."""
    return pipeline(policies=[policy], learners=[learner])


def shifted_stream(height: float = 4.0) -> list[bytes]:
    """Two series of noise; one moves by ``height`` sigma for good."""
    rng = np.random.default_rng(5)
    values = []
    for turn in range(2_300):
        for name in ("a", "b"):
            level = height if name == "a" and turn >= 1_500 else 0.0
            values.append(record("m", 1_750_000_000 + 60 * turn, 100.0 + level + rng.normal(), {"id": name}))
    return values


class TestThroughThePipeline:
    @pytest.mark.parametrize(("learner", "height"), [(EnvelopeLearner, 4.0), (ResidualLearner, 6.0)])
    def test_any_cut_and_any_restart_give_the_same_events(
        self, learner: type[EnvelopeLearner | ResidualLearner], height: float
    ) -> None:
        values = shifted_stream(height)
        whole = of_learner(learner()).process(batch_of(values))
        events = [json.loads(event.value)["data"] for event in whole.events]
        assert [(it["kind"], it["state"]) for it in events if "level" in it["kind"]] == [
            ("metric.level_shift", "opened"),
            ("metric.level_shift", "closed"),
        ]
        assert whole.counts.drifts >= 1
        assert all(it["peak"] is None and sum(r["weight"] for r in it["reasons"]) == 1.0 for it in events)
        for sizes in ([1_700] * 3, [997] * 5, [3_231, 64]):
            subject = of_learner(learner())
            told = [event for batch in cuts(values, sizes) for event in subject.process(batch).events]
            assert told == list(whole.events)
        for at in (3_010, 3_333):
            first = of_learner(learner())
            told = list(first.process(batch_of(values[:at])).events)
            snapshot = decode(encode(*first.snapshot(offset=at, cluster="c")))
            assert (snapshot.columns["episodes.drift.width"] > 0).all()
            second = of_learner(learner())
            second.restore(snapshot, cluster="c")
            told += second.process(batch_of(values[at:], first_offset=at)).events
            assert told == list(whole.events)

    def test_without_a_policy_that_asks_no_state_is_kept(self) -> None:
        plain, asking = (of_learner(ResidualLearner(), policy) for policy in (Policy("plain"), POLICY))
        for subject in (plain, asking):
            subject.process(batch_of(shifted_stream()[:10]))
        held = asking.state_bytes() - plain.state_bytes()
        assert held >= 2 * DRIFT_DTYPE.itemsize
        assert held % DRIFT_DTYPE.itemsize == 0
        columns = decode(encode(*plain.snapshot(offset=10, cluster="c"))).columns
        assert not [name for name in columns if name.startswith("episodes.drift")]


@pytest.mark.parametrize("delta", [0.0, 0.6, -1.0, float("nan")])
def test_a_significance_that_makes_no_sense_is_named(delta: float) -> None:
    with pytest.raises(UsageError, match=r"drift\.delta"):
        Policy("bad", drift=Drift(delta))
