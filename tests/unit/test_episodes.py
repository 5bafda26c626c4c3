"""Episodes open, go on, flap, close and cool down as their policy says."""

import math
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from detector.batches import Transition
from detector.episodes import EpisodeJudge, Policy
from tests.unit.episodes_feed import (
    LIVELY,
    MINUTE_MS,
    START_MS,
    Row,
    facts,
    feed,
    judge_minutes,
    minutes,
    new_judge,
    random_rows,
    states,
)

CALM = [0.0] * 12
BAD = [2.0] * 3


class TestOpening:
    def test_three_of_five_anomalous_rows_open_at_the_third(self) -> None:
        opened = judge_minutes([0.0, 0.0, 2.0, 0.0, 3.0, 0.0, 2.5])
        assert states(opened) == ["opened"]
        assert opened[0].row == 6
        assert opened[0].kind == "metric.spike"
        assert opened[0].started_ms == START_MS + 2 * MINUTE_MS
        assert opened[0].detected_ms == opened[0].time_ms == START_MS + 6 * MINUTE_MS
        assert (opened[0].points, opened[0].anomalous_points) == (5, 3)
        assert (opened[0].sequence, opened[0].episode_number) == (1, 1)

    def test_two_of_five_open_nothing(self) -> None:
        assert judge_minutes([2.0, 0.0, 0.0, 2.0, 0.0] * 20) == []

    def test_the_peak_is_looked_for_in_the_whole_window(self) -> None:
        opened = judge_minutes([0.0, 7.0, 2.0, 3.0])[0]
        assert (opened.peak_deviation, opened.peak_observed) == (7.0, 7.0)
        assert opened.peak_time_ms == START_MS + MINUTE_MS
        assert opened.peak_score == 100.0 * 7.0 / 8.0
        assert opened.severity == "error"
        assert opened.observed == 3.0

    def test_rows_of_the_warm_up_count_for_nothing(self) -> None:
        learning = [Row(row.time_ms, 50.0, math.nan) for row in minutes([0.0] * 10)]
        assert feed(new_judge(), learning) == []
        bad = minutes(BAD, start_ms=START_MS + 10 * MINUTE_MS)
        opened = feed(new_judge(), [bad[0], *learning[1:3], *bad[1:]])
        assert [transition.points for transition in opened] == [3]

    def test_a_dip_and_a_spike_are_episodes_of_their_own(self) -> None:
        opened = judge_minutes([*BAD, -2.0, -2.0, -2.0])
        assert [(transition.state, transition.kind) for transition in opened] == [
            ("opened", "metric.spike"),
            ("opened", "metric.dip"),
        ]


class TestGates:
    @pytest.mark.parametrize(
        ("policy", "opens"),
        [
            (Policy("p", open_points=3, open_window=5), ["metric.spike", "metric.dip"]),
            (Policy("p", open_points=3, open_window=5, direction="up"), ["metric.spike"]),
            (Policy("p", open_points=3, open_window=5, direction="down"), ["metric.dip"]),
            (Policy("p", open_points=3, open_window=5, deviation_min=2.0), ["metric.spike", "metric.dip"]),
            (Policy("p", open_points=3, open_window=5, deviation_min=2.5), []),
            (Policy("p", open_points=3, open_window=5, abs_min=2.0), ["metric.spike", "metric.dip"]),
            (Policy("p", open_points=3, open_window=5, abs_min=2.1), []),
            (Policy("p", open_points=3, open_window=5, rel_min=0.2), ["metric.spike", "metric.dip"]),
            (Policy("p", open_points=3, open_window=5, rel_min=0.21), []),
            (Policy("p", open_points=3, open_window=5, volume_min=12.0), ["metric.spike"]),
            (Policy("p", open_points=3, open_window=5, volume_min=12.5), []),
        ],
    )
    def test_each_gate_holds_rows_back(self, policy: Policy, opens: list[str]) -> None:
        rows = [Row(row.time_ms, 10.0 + row.observed, 2.0, 10.0) for row in minutes([2.0] * 5 + [-2.0] * 5)]
        assert [t.kind for t in feed(new_judge(policy), rows) if t.state == "opened"] == opens

    def test_without_an_expected_value_rows_are_spikes_and_distance_gates_do_not_apply(self) -> None:
        rows = [Row(row.time_ms, -3.0, 3.0, math.nan) for row in minutes(BAD)]
        assert [
            t.kind for t in feed(new_judge(Policy("p", open_points=3, open_window=5, abs_min=99.0, rel_min=99.0)), rows)
        ] == ["metric.spike"]
        assert feed(new_judge(Policy("p", open_points=3, open_window=5, volume_min=3.5)), rows) == []
        assert feed(new_judge(Policy("p", open_points=3, open_window=5, direction="down")), rows) == []

    def test_a_value_equal_to_the_expected_one_is_never_anomalous(self) -> None:
        rows = [Row(row.time_ms, 0.0, 5.0) for row in minutes([0.0] * 10)]
        assert feed(new_judge(), rows) == []


class TestFollowing:
    def test_updates_come_in_event_time(self) -> None:
        transitions = judge_minutes([2.0] * 14, Policy("p", open_points=3, open_window=5, update_interval_s=300.0))
        assert states(transitions) == ["opened", "updated", "updated"]
        assert [transition.row for transition in transitions] == [2, 7, 12]

    def test_a_rise_of_severity_is_told_at_once_and_a_fall_is_not(self) -> None:
        transitions = judge_minutes([*BAD, 4.0, 3.5, 12.0, 2.0])
        assert [(t.state, t.severity, t.row) for t in transitions] == [
            ("opened", "warning", 2),
            ("updated", "error", 3),
            ("updated", "critical", 5),
        ]

    def test_recent_values_are_the_last_sixteen_with_the_newest_last(self) -> None:
        values = [*np.linspace(0.1, 0.9, 15).tolist(), *BAD]
        opened = judge_minutes(values)[0]
        assert opened.recent_values.tolist() == values[-16:]
        assert opened.samples_seen == 18
        assert judge_minutes(BAD)[0].recent_values.tolist() == BAD

    def test_one_gap_does_not_become_the_interval(self) -> None:
        steps = [MINUTE_MS] * 20 + [10 * 3_600_000] + [MINUTE_MS] * 3
        times = START_MS + np.cumsum(steps)
        values = [0.0] * 21 + BAD
        rows = [Row(int(time), value, value) for time, value in zip(times, values, strict=True)]
        assert MINUTE_MS < feed(new_judge(), rows)[0].interval_ms < 1.1 * MINUTE_MS


class TestClosing:
    def test_nine_normal_rows_close_and_the_end_is_the_last_anomalous_row(self) -> None:
        closed = judge_minutes([*BAD, *CALM])[-1]
        assert closed.state == "closed"
        assert closed.row == 11
        assert closed.ended_ms == START_MS + 2 * MINUTE_MS
        assert closed.end_reason == "recovered"
        assert (closed.points, closed.anomalous_points) == (12, 3)

    def test_one_straggler_among_ten_rows_does_not_keep_an_episode_open(self) -> None:
        closed = judge_minutes([*BAD, *[0.0] * 5, 2.0, *[0.0] * 4])[-1]
        assert (closed.state, closed.row) == ("closed", 12)

    def test_normal_rows_before_the_opening_do_not_close(self) -> None:
        policy = Policy("p", open_points=1, open_window=1, close_points=2, close_window=5)
        assert states(judge_minutes([0.0, 0.0, 0.0, 2.0, 0.0], policy)) == ["opened"]

    def test_rows_of_one_episode_do_not_open_the_next(self) -> None:
        policy = Policy("p", open_points=3, open_window=5, close_points=1, close_window=1, cooldown_s=0.0)
        assert states(judge_minutes([*BAD, 0.0, 2.0, 2.0], policy)) == ["opened", "closed"]

    def test_the_next_episode_has_the_next_number_and_a_new_sequence(self) -> None:
        policy = Policy("p", open_points=3, open_window=5, cooldown_s=0.0)
        transitions = [t for t in judge_minutes([*BAD, *CALM] * 3, policy) if t.state == "opened"]
        assert [(t.episode_number, t.sequence) for t in transitions] == [(1, 1), (2, 1), (3, 1)]


class TestCoolingDown:
    def test_a_trigger_inside_the_cool_down_opens_nothing(self) -> None:
        assert states(judge_minutes([*BAD, *[0.0] * 9, *BAD, *[0.0] * 60])) == ["opened", "updated", "closed"]

    def test_each_fresh_trigger_starts_the_cool_down_again(self) -> None:
        burst = [2.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        transitions = judge_minutes([*BAD, *[0.0] * 9, *burst * 10])
        assert [t.state for t in transitions if t.state != "updated"] == ["opened", "closed"]

    def test_an_anomaly_that_lasts_opens_when_the_cool_down_is_over(self) -> None:
        opened = [t for t in judge_minutes([*BAD, *[0.0] * 9, *[2.0] * 20]) if t.state == "opened"]
        # Closed at row 11, fresh trigger at row 14, ten minutes from there.
        assert [t.row for t in opened] == [2, 24]
        assert opened[1].started_ms == START_MS + 20 * MINUTE_MS
        assert opened[1].peak_time_ms >= opened[1].started_ms


class TestFlapping:
    @pytest.mark.parametrize("half_period", [1, 2, 3, 4, 5, 6, 7, 8])
    @pytest.mark.parametrize("phase", [0, 1])
    @pytest.mark.parametrize("side", [1.0, -1.0])
    def test_an_hour_at_the_edge_is_one_episode_that_flaps(self, half_period: int, phase: int, side: float) -> None:
        wave = [side * (1.05 if (row // half_period + phase) % 2 else 0.95) for row in range(60)]
        transitions = judge_minutes([*[0.0] * 30, *wave, *[0.0] * 180])
        kinds = states(transitions)
        assert kinds.count("opened") == 1
        assert kinds.count("closed") == 1
        assert transitions[-1].state == "closed"
        assert transitions[-1].flapping
        flips = [before.flapping != after.flapping for before, after in pairwise(transitions)]
        assert sum(flips) + transitions[0].flapping == 1

    def test_six_hours_at_the_edge_are_still_one_episode(self) -> None:
        wave = [1.1 if row // 5 % 2 else 0.9 for row in range(360)]
        assert states(judge_minutes(wave)).count("opened") == 1

    def test_the_start_of_flapping_is_told_at_once(self) -> None:
        wave = [1.1 if row % 2 else 0.9 for row in range(12)]
        transitions = judge_minutes(
            wave, Policy("p", open_points=3, open_window=5, update_interval_s=86_400.0, flap_crossings=9)
        )
        assert [(t.state, t.flapping, t.row) for t in transitions] == [("opened", False, 5), ("updated", True, 9)]

    def test_a_steady_anomaly_does_not_flap(self) -> None:
        assert not any(t.flapping for t in judge_minutes([*CALM, *[3.0] * 60, *CALM]))


class TestSlots:
    def test_evicted_series_close_what_is_open_and_are_forgotten(self) -> None:
        judge = new_judge(slots=3)
        feed(judge, [*minutes(BAD, slot=1), *minutes([-5.0] * 3, slot=2)])
        assert judge.open_count() == 2
        closed = judge.evict(np.array([0, 1]), row=9, time_ms=START_MS + 99 * MINUTE_MS)
        assert [(t.state, t.slot, t.row, t.end_reason, t.sequence) for t in closed] == [("closed", 1, 9, "evicted", 2)]
        assert closed[0].time_ms == START_MS + 99 * MINUTE_MS
        assert closed[0].ended_ms == START_MS + 2 * MINUTE_MS
        assert closed[0].observed == 2.0
        assert math.isnan(closed[0].score)
        assert judge.open_count() == 1
        assert judge.evict(np.array([1]), row=10, time_ms=START_MS) == []

    def test_a_slot_used_again_is_a_new_series(self) -> None:
        judge = new_judge()
        first = feed(judge, minutes([*BAD, *CALM, 2.0, 2.0]))
        judge.evict(np.array([0]), row=0, time_ms=0)
        judge.open_slot(0, 0)
        again = feed(judge, minutes([*BAD, *CALM, 2.0, 2.0]))
        assert [facts(t) for t in first] == [facts(t) for t in again]

    def test_reserving_more_keeps_what_is_known(self) -> None:
        judge = new_judge()
        bytes_of_one = judge.state_bytes()
        feed(judge, minutes(BAD[:2]))
        judge.reserve(1000)
        judge.reserve(10)
        assert judge.state_bytes() == 1000 * bytes_of_one
        judge.open_slot(999, 0)
        assert states(feed(judge, minutes(BAD[2:], start_ms=START_MS + 2 * MINUTE_MS))) == ["opened"]

    def test_each_slot_follows_its_own_policy(self) -> None:
        judge = EpisodeJudge([Policy("strict", deviation_min=5.0), Policy("eager", open_points=1, open_window=1)])
        judge.reserve(2)
        judge.open_slot(0, 0)
        judge.open_slot(1, 1)
        opened = feed(judge, [*minutes(BAD, slot=0), *minutes([2.0], slot=1)])
        assert [(t.slot, t.policy) for t in opened] == [(1, 1)]


class TestLaws:
    @pytest.mark.parametrize("seed", range(4))
    def test_any_cut_into_batches_gives_the_same_transitions(self, seed: int) -> None:
        rows = random_rows(seed, 1_500, slots=5)
        whole = [facts(t) for t in feed(new_judge(LIVELY, slots=5), rows)]
        rng = np.random.default_rng(seed)
        cuts = [0, *sorted(rng.integers(0, len(rows), 40).tolist()), len(rows)]
        judge = new_judge(LIVELY, slots=5, output_rows=7)
        parts = [
            facts(transition)
            for start, stop in pairwise(cuts)
            for transition in feed(judge, rows[start:stop], first_row=start)
        ]
        assert len(whole) > 100
        assert whole == parts

    def test_a_full_output_buffer_loses_nothing(self) -> None:
        policy = Policy("p", open_points=3, open_window=5, update_interval_s=0.0, level_shift=None)
        rows = minutes([3.0] * 500)
        assert len(feed(new_judge(policy, output_rows=7), rows)) == 498

    def test_a_series_does_not_depend_on_its_neighbours(self) -> None:
        rows = random_rows(5, 2_000, slots=6)
        mixed = feed(new_judge(LIVELY, slots=6), rows)
        for slot in range(6):
            own = [row for row in rows if row.slot == slot]
            alone = feed(new_judge(LIVELY, slots=6), own)
            assert [facts(replace(t, row=0)) for t in alone] == [
                facts(replace(t, row=0)) for t in mixed if t.slot == slot
            ]

    @pytest.mark.parametrize("seed", range(4))
    def test_the_life_of_every_episode_is_in_order(self, seed: int) -> None:
        judge = new_judge(LIVELY, slots=4)
        transitions = feed(judge, random_rows(seed, 3_000, slots=4))
        assert states(transitions).count("closed") > 20
        lives: dict[tuple[int, str], list[Transition]] = defaultdict(list)
        for transition in transitions:
            lives[transition.slot, transition.kind].append(transition)
        still_open = sum(assert_life(life) for life in lives.values())
        assert judge.open_count() == still_open

    def test_compiled_and_plain_python_give_the_same_bits(self) -> None:
        digests = [
            subprocess.run(
                [sys.executable, "-m", "tests.unit.episodes_feed"],
                env={**os.environ, "NUMBA_DISABLE_JIT": flag},
                capture_output=True,
                check=True,
                text=True,
            ).stdout
            for flag in ("0", "1")
        ]
        assert digests[0] == digests[1]
        assert int(digests[0].split()[0]) > 300


def assert_life(life: list[Transition]) -> bool:
    """Check the transitions of one series and kind; returns whether an episode is left open."""
    is_open, episode, sequence = False, 0, 0
    for transition in life:
        assert (transition.state == "opened") != is_open
        episode, sequence = (episode + 1, 1) if transition.state == "opened" else (episode, sequence + 1)
        assert (transition.episode_number, transition.sequence) == (episode, sequence)
        assert transition.started_ms <= transition.peak_time_ms <= transition.time_ms
        assert transition.started_ms <= transition.detected_ms <= transition.time_ms
        assert 1 <= transition.anomalous_points <= transition.points
        assert (transition.ended_ms is None) == (transition.end_reason is None) == (transition.state != "closed")
        is_open = transition.state != "closed"
    return is_open
