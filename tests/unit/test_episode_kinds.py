"""Typed episodes: novelty opens at one row, a level that stays is said once, a standstill is an episode."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import Transition
from detector.encoders.event import Topology
from detector.encoders.examples import IDENTITY, SHIFTED, STUCK
from detector.encoders.wording import reasons_for, summarise
from detector.episodes import LevelShift, Policy, Stuck
from detector.errors import UsageError
from tests.pipelines import pipeline
from tests.streams import cuts, record
from tests.unit.episodes_feed import (
    MINUTE_MS,
    START_MS,
    Row,
    feed,
    judge_minutes,
    minutes,
    new_judge,
    scores_of,
    states,
)
from tests.unit.test_encoders import BARE

NOVEL = Policy("novel", novelty_min=2.0)
SHIFTING = Policy("shifting", level_shift=LevelShift(after_s=3_600.0, points=12))
STANDING = Policy("standing", stuck=Stuck(runs=5.0, min_s=1_800.0, points=20))


def judged_with_novelty(novelty: float, observed: float = 1.5, policy: Policy = NOVEL) -> list[Transition]:
    """Ten calm rows, then one of this novelty."""
    rows = minutes([*[0.0] * 10, observed])
    columns = scores_of(rows)
    columns.novelty[-1] = novelty
    at = np.arange(len(rows))
    times = np.array([row.time_ms for row in rows])
    values = np.array([row.observed for row in rows])
    return new_judge(policy).judge(at, np.zeros(len(rows), np.int64), times, values, columns)


class TestNovelty:
    def test_opens_at_one_row_and_is_a_reason_with_its_weight(self) -> None:
        (opened,) = judged_with_novelty(2.0)
        assert (opened.state, opened.kind, opened.points, opened.peak_novelty) == ("opened", "metric.spike", 1, 2.0)
        reasons = reasons_for(opened)
        assert sum(reason.weight for reason in reasons) == pytest.approx(1.0, abs=1e-9)
        assert next(reason.weight for reason in reasons if reason.code == "novel") > 0.2

    def test_stays_a_reason_of_later_events(self) -> None:
        (opened,) = judged_with_novelty(3.0)
        later = replace(opened, state="updated", novelty=float("nan"))
        assert any(reason.code == "novel" and "3" in reason.text for reason in reasons_for(later))

    @pytest.mark.parametrize(
        ("novelty", "observed", "policy"),
        [
            (1.99, 1.5, NOVEL),
            (float("nan"), 1.5, NOVEL),
            (9.0, 0.99, NOVEL),
            (9.0, 1.5, Policy("off")),
            (9.0, 1.5, replace(NOVEL, direction="down")),
            (9.0, 1.5, replace(NOVEL, abs_min=2.0)),
            (9.0, 1.5, replace(NOVEL, volume_min=2.0)),
        ],
    )
    def test_opens_nothing_below_a_gate(self, novelty: float, observed: float, policy: Policy) -> None:
        assert judged_with_novelty(novelty, observed, policy) == []

    def test_counts_from_the_edge_of_the_band_whatever_deviation_the_policy_asks(self) -> None:
        assert states(judged_with_novelty(2.5, 1.0, replace(NOVEL, deviation_min=5.0))) == ["opened"]

    @pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
    def test_a_threshold_is_a_number_above_0(self, value: float) -> None:
        with pytest.raises(UsageError, match="novelty_min"):
            Policy("bad", novelty_min=value)


def shifted(values: Sequence[float], policy: Policy = SHIFTING) -> list[Transition]:
    """Without the updates."""
    told = judge_minutes([*[0.0] * 20, *values], policy)
    return [transition for transition in told if transition.state != "updated"]


class TestNewLevel:
    def test_ends_the_episode_and_is_said_once(self) -> None:
        told = shifted([4.0 + 0.1 * (row % 3) for row in range(64)])
        assert [(it.kind, it.state, it.end_reason) for it in told] == [
            ("metric.spike", "opened", None),
            ("metric.spike", "closed", "accepted"),
            ("metric.level_shift", "opened", None),
            ("metric.level_shift", "closed", "accepted"),
        ]
        shift = told[2]
        assert shift.new_level == pytest.approx(4.1, abs=0.05)
        assert (shift.sequence, told[3].sequence, shift.episode_number) == (1, 2, 1)
        assert shift.started_ms == told[0].started_ms == START_MS + 20 * MINUTE_MS
        assert shift.detected_ms - told[0].detected_ms == 60 * MINUTE_MS

    def test_what_is_on_its_way_back_is_none(self) -> None:
        assert len(shifted([4.0] * 62)) == 4
        assert states(shifted([4.0] * 61 + [1.6])) == ["opened"]

    def test_of_a_dip_goes_down(self) -> None:
        assert "moved down" in summarise(shifted([-4.0] * 64)[2], BARE, nowhere())

    @pytest.mark.parametrize(
        "values",
        [
            [4.0] * 55,
            [2.0 + 10.0 * (row % 2) for row in range(64)],
            [4.0 if row % 4 else 0.0 for row in range(64)],
        ],
        ids=["too short", "too wide", "comes and goes"],
    )
    def test_is_not_what_has_not_settled(self, values: list[float]) -> None:
        assert all(it.kind != "metric.level_shift" for it in shifted(values))

    def test_is_judged_again_later_where_it_settles_late(self) -> None:
        told = shifted([*[2.0 + 10.0 * (row % 2) for row in range(62)], *[7.0] * 60])
        kinds = [it.kind for it in told if it.state == "opened"]
        assert kinds[:2] == ["metric.spike", "metric.level_shift"]

    def test_can_be_switched_off(self) -> None:
        assert states(shifted([4.0] * 64, Policy("off", level_shift=None))) == ["opened"]

    def test_may_come_only_at_the_row_before_a_cut(self) -> None:
        judge, rows = new_judge(SHIFTING), minutes([*[0.0] * 20, *[4.0] * 100])
        slots, times = np.zeros(len(rows), np.int64), np.array([row.time_ms for row in rows])
        start = 0
        while start < len(rows):
            stop = judge.next_shift(slots, times, start)
            told = feed(judge, rows[start:stop], start)
            assert all(it.row == stop - 1 for it in told if it.kind == "metric.level_shift")
            start = stop

    def test_the_learner_is_told_in_any_cut_of_the_stream(self) -> None:
        policy = Policy("quick", level_shift=LevelShift(after_s=1_200.0, points=5))
        whole = typed_events(policy, [])
        assert sum(b"level_shift" in event for event in whole) == 2
        for sizes in ([1] * 700, [13] * 60, [333, 100]):
            assert typed_events(policy, sizes) == whole


def nowhere() -> Topology:
    """Nothing is known of where the series belongs."""
    return Topology(None, None, None, None)


def typed_events(policy: Policy, sizes: list[int]) -> list[bytes]:
    """Events of one series that moves to a new level for good, then stands still."""
    values = [
        record("m", 1_750_000_000 + 60 * turn, 10.0 + (turn * 7 % 5) * (turn < 560) + (50.0 if turn > 400 else 0.0), {})
        for turn in range(700)
    ]
    subject = pipeline(policies=[policy])
    return [event.value for batch in cuts(values, sizes) for event in subject.process(batch).events]


def standing(values: Sequence[float], policy: Policy = STANDING) -> list[Transition]:
    """Rows inside the band."""
    rows = [Row(START_MS + index * MINUTE_MS, value, 0.0) for index, value in enumerate(values)]
    return feed(new_judge(policy), rows)


LIVELY = [float(row % 7) for row in range(250)]


class TestStandstill:
    def test_of_a_lively_series_opens_and_its_next_change_closes(self) -> None:
        opened, closed = standing([*LIVELY, *[3.5] * 40, 1.0])
        assert (opened.kind, opened.state, opened.severity) == ("metric.stuck", "opened", "warning")
        assert opened.started_ms == START_MS + 250 * MINUTE_MS
        assert opened.time_ms == opened.started_ms + 30 * MINUTE_MS
        assert (closed.state, closed.end_reason, closed.sequence) == ("closed", "recovered", 2)
        assert closed.ended_ms == START_MS + 290 * MINUTE_MS

    def test_of_a_constant_series_is_its_nature(self) -> None:
        assert standing([5.0] * 3000) == []

    def test_of_a_constant_series_with_an_hour_of_trouble_is_so_still(self) -> None:
        assert standing([*[0.0] * 500, *LIVELY[:60], *[0.0] * 500]) == []

    def test_no_longer_than_usual_is_none(self) -> None:
        resting = [float(row) if row % 100 > 60 else 0.0 for row in range(3000)]
        assert standing([*resting, *[0.0] * 250]) == []
        assert states(standing([*resting, *[0.0] * 400])) == ["opened"]

    def test_without_samples_closes_by_silence(self) -> None:
        judge = new_judge(STANDING, slots=2)
        rows = [Row(START_MS + index * MINUTE_MS, value, 0.0) for index, value in enumerate([*LIVELY, *[3.5] * 40])]
        others = [Row(START_MS + index * MINUTE_MS, 1.0, 0.0, slot=1) for index in range(290, 460)]
        told = feed(judge, [*rows, *others])
        assert [(it.state, it.end_reason) for it in told] == [("opened", None), ("closed", "silent")]
        assert told[1].ended_ms == rows[-1].time_ms
        assert judge.open_count() == 0

    @pytest.mark.parametrize("reason", ["evicted", "expired"])
    def test_ends_with_its_series(self, reason: str) -> None:
        judge = new_judge(STANDING)
        rows = [Row(START_MS + index * MINUTE_MS, value, 0.0) for index, value in enumerate([*LIVELY, *[3.5] * 40])]
        feed(judge, rows)
        now = rows[-1].time_ms + MINUTE_MS
        (closed,) = judge.evict(np.array([0]), 0, now, "evicted" if reason == "evicted" else "expired")
        assert (closed.kind, closed.end_reason) == ("metric.stuck", reason)
        assert judge.open_count() == 0

    def test_can_be_switched_off(self) -> None:
        assert standing([*LIVELY, *[3.5] * 400], Policy("off", stuck=None)) == []

    @settings(max_examples=30, deadline=None, derandomize=True)
    @given(cut=st.integers(1, 290))
    def test_any_cut_tells_the_same(self, cut: int) -> None:
        values = [*LIVELY, *[3.5] * 40, 1.0]
        rows = [Row(START_MS + index * MINUTE_MS, value, 0.0) for index, value in enumerate(values)]
        judge = new_judge(STANDING)
        told = feed(judge, rows[:cut]) + feed(judge, rows[cut:], cut)
        assert [(it.state, it.time_ms) for it in told] == [(it.state, it.time_ms) for it in standing(values)]


class TestWords:
    def test_a_new_level_is_told_with_both_levels(self) -> None:
        text = summarise(SHIFTED, IDENTITY, nowhere())
        assert "moved up to a new level of 1.8 s, where 0.31 s was expected; steady for 8 h 2 min" in text
        assert [reason.code for reason in reasons_for(SHIFTED)] == ["settled"]

    def test_a_standstill_is_told_with_what_is_usual(self) -> None:
        text = summarise(STUCK, IDENTITY, nowhere())
        assert "has not changed for 30 min (usually at most 2 min); last value 0.31 s, 31 equal samples" in text
        assert [reason.code for reason in reasons_for(STUCK)] == ["unchanged"]

    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            ("recovered", "moves again"),
            ("silent", "fell silent"),
            ("expired", "was forgotten"),
            ("evicted", "stopped following"),
        ],
    )
    def test_the_end_of_a_standstill_says_why(self, reason: str, words: str) -> None:
        closed = replace(STUCK, state="closed", ended_ms=STUCK.time_ms, end_reason=reason)  # type: ignore[arg-type] # drawn
        assert words in summarise(closed, IDENTITY, nowhere())


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (LevelShift(after_s=0.0), "level_shift.after_s"),
        (LevelShift(after_s=1e6), "level_shift.after_s"),
        (LevelShift(points=1), "level_shift.points"),
        (Stuck(runs=0.5), "stuck.runs"),
        (Stuck(min_s=-1.0), "stuck.min_s"),
        (Stuck(points=1), "stuck.points"),
        (Stuck(severity="bad"), "stuck.severity"),  # type: ignore[arg-type] # on purpose
    ],
)
def test_values_that_make_no_sense_are_named(kind: LevelShift | Stuck, field: str) -> None:
    with pytest.raises(UsageError, match=field):
        Policy("bad", level_shift=kind) if isinstance(kind, LevelShift) else Policy("bad", stuck=kind)
