"""Timers fire where the watermark reaches a grid point: close by silence, and no data."""

import math
from dataclasses import replace

import numpy as np
import pytest

from detector.batches import Transition
from detector.episodes import EpisodeJudge, NoData, Policy
from detector.errors import UsageError
from tests.unit.episodes_feed import MINUTE_MS, START_MS, Row, facts, feed, minutes, new_judge

BAD = [2.0] * 3
HOUR_MS = 60 * MINUTE_MS
GRID_MS = MINUTE_MS
FIRST_POINT_MS = START_MS - START_MS % GRID_MS
WATCHED = Policy("watched", open_points=3, open_window=5, no_data=NoData(intervals=3.0, min_s=120.0))


def others(start_ms: int, stop_ms: int, *, slot: int = 1, step_ms: int = MINUTE_MS) -> list[Row]:
    """Calm rows of another series, which move the watermark."""
    return [Row(time_ms, 0.0, 0.0, slot=slot) for time_ms in range(start_ms, stop_ms, step_ms)]


def in_time(*parts: list[Row]) -> list[Row]:
    return sorted((row for part in parts for row in part), key=lambda row: row.time_ms)


def point_after(time_ms: int) -> int:
    """The first grid point past a time."""
    return time_ms - time_ms % GRID_MS + GRID_MS


def told(transitions: list[Transition]) -> list[tuple[str, str, int]]:
    return [(t.kind, t.end_reason or t.state, t.slot) for t in transitions]


class TestCloseBySilence:
    def test_an_open_episode_closes_at_the_first_grid_point_past_an_hour(self) -> None:
        rows = in_time(minutes(BAD), others(START_MS + 1, START_MS + 3 * HOUR_MS))
        opened, closed = feed(new_judge(slots=2), rows)
        last_ms = START_MS + 2 * MINUTE_MS
        assert told([opened, closed]) == [("metric.spike", "opened", 0), ("metric.spike", "silent", 0)]
        assert closed.time_ms == point_after(last_ms + HOUR_MS)
        assert closed.ended_ms == closed.last_sample_ms == last_ms
        assert (closed.sequence, closed.points, closed.anomalous_points) == (2, 3, 3)
        assert rows[closed.row].time_ms == next(row.time_ms for row in rows if row.time_ms >= closed.time_ms)
        assert rows[closed.row].slot == 1
        assert all(math.isnan(number) for number in (closed.observed, closed.score, closed.deviation, closed.upper))
        assert closed.recent_values.tolist() == BAD

    def test_exactly_the_limit_is_not_yet_silence(self) -> None:
        bad = [Row(FIRST_POINT_MS + index * MINUTE_MS, 2.0, 2.0) for index in range(3)]
        last_ms = bad[-1].time_ms
        at_the_limit = [*bad, Row(last_ms + HOUR_MS, 0.0, 0.0, slot=1)]
        assert told(feed(new_judge(slots=2), at_the_limit)) == [("metric.spike", "opened", 0)]
        past_it = [*bad, Row(last_ms + HOUR_MS + GRID_MS, 0.0, 0.0, slot=1)]
        assert told(feed(new_judge(slots=2), past_it))[1:] == [("metric.spike", "silent", 0)]

    def test_the_row_that_reaches_the_point_is_judged_after_the_timers(self) -> None:
        back = minutes(BAD, start_ms=START_MS + 5 * HOUR_MS)
        transitions = feed(new_judge(), minutes(BAD) + back)
        assert [(t.state, t.row) for t in transitions] == [("opened", 2), ("closed", 3), ("opened", 5)]
        closed, again = transitions[1:]
        assert closed.samples_seen == 3
        assert closed.time_ms == point_after(back[0].time_ms) - GRID_MS
        assert again.started_ms == back[0].time_ms
        assert again.points == 3, "rows from before the silence must not count"

    def test_many_grid_points_at_once_are_one(self) -> None:
        rows = [*minutes(BAD), *others(START_MS + 50 * HOUR_MS, START_MS + 51 * HOUR_MS)]
        assert [t.state for t in feed(new_judge(slots=2), rows)] == ["opened", "closed"]

    def test_it_cools_down_from_its_last_sample(self) -> None:
        policy = Policy("p", open_points=3, open_window=5, cooldown_s=3600.0)
        back_ms = START_MS + HOUR_MS + 5 * MINUTE_MS
        rows = in_time(minutes(BAD), others(START_MS + 1, back_ms), minutes(BAD, start_ms=back_ms))
        transitions = feed(new_judge(policy, slots=2), rows)
        assert [t.state for t in transitions] == ["opened", "closed", "opened"]
        assert transitions[2].time_ms == back_ms + 2 * MINUTE_MS

    def test_a_slow_series_may_miss_two_samples(self) -> None:
        hourly = [Row(START_MS + index * HOUR_MS, 0.0, 0.0) for index in range(9)]
        bad = [Row(START_MS + (9 + index) * HOUR_MS, 2.0, 2.0) for index in range(3)]
        stop_ms = bad[-1].time_ms + 3 * HOUR_MS
        calm = others(START_MS + 1, stop_ms)
        assert told(feed(new_judge(slots=2), in_time(hourly, bad, calm))) == [("metric.spike", "opened", 0)]
        later = others(stop_ms + 1, stop_ms + HOUR_MS)
        closed = feed(new_judge(slots=2), in_time(hourly, bad, calm, later))[1]
        assert (closed.end_reason, closed.time_ms) == ("silent", point_after(stop_ms))

    def test_zero_means_never(self) -> None:
        rows = [*minutes(BAD), *others(START_MS + HOUR_MS, START_MS + 100 * HOUR_MS, step_ms=HOUR_MS)]
        assert told(feed(new_judge(Policy("p", open_points=3, open_window=5, silence_close_s=0.0), slots=2), rows)) == [
            ("metric.spike", "opened", 0)
        ]

    def test_both_directions_close(self) -> None:
        rows = [*minutes([*BAD, -2.0, -2.0, -2.0]), *others(START_MS + 9 * HOUR_MS, START_MS + 10 * HOUR_MS)]
        assert told(feed(new_judge(slots=2), rows))[2:] == [("metric.spike", "silent", 0), ("metric.dip", "silent", 0)]

    def test_a_series_that_goes_on_is_left_alone(self) -> None:
        policy = Policy("p", open_points=3, open_window=5, silence_close_s=300.0, update_interval_s=1e6)
        rows = in_time(minutes([2.0] * 300), others(START_MS + 1, START_MS + 5 * HOUR_MS))
        assert told(feed(new_judge(policy, slots=2), rows)) == [("metric.spike", "opened", 0)]

    def test_rows_without_a_score_are_samples_too(self) -> None:
        unscored = [replace_deviation(row, math.nan) for row in minutes([0.0] * 200, start_ms=START_MS + 180_000)]
        rows = in_time(minutes(BAD), unscored, others(START_MS + 1, START_MS + 3 * HOUR_MS))
        assert told(feed(new_judge(slots=2), rows)) == [("metric.spike", "opened", 0)]

    def test_a_small_output_buffer_loses_nothing(self) -> None:
        bad = [Row(row.time_ms, 2.0, 2.0, slot=slot) for row in minutes(BAD) for slot in range(50)]
        rows = [*bad, Row(START_MS + 2 * HOUR_MS, 0.0, 0.0, slot=50)]
        whole = feed(new_judge(slots=51), rows)
        assert told(whole)[50:] == [("metric.spike", "silent", slot) for slot in range(50)]
        small = feed(new_judge(slots=51, output_rows=7), rows)
        assert list(map(facts, small)) == list(map(facts, whole))


def replace_deviation(row: Row, deviation: float) -> Row:
    return row._replace(deviation=deviation)


class TestNoData:
    def regular(self, count: int = 30) -> list[Row]:
        return minutes([0.5] * count)

    def test_a_series_that_drops_to_nothing_is_told_two_intervals_after_the_drop(self) -> None:
        prompt = Policy("prompt", no_data=NoData(intervals=2.0, min_s=0.0))
        for count in (30, 31, 47):
            rows = in_time(self.regular(count), others(START_MS + 1, START_MS + HOUR_MS))
            (opened,) = feed(new_judge(prompt, slots=2), rows)
            dropped_ms = START_MS + count * MINUTE_MS
            assert (opened.kind, opened.started_ms) == ("metric.no_data", dropped_ms - MINUTE_MS)
            assert dropped_ms + MINUTE_MS < opened.time_ms <= dropped_ms + 2 * MINUTE_MS

    def test_silence_of_a_regular_series_is_an_episode_until_its_next_sample(self) -> None:
        rows = in_time(
            self.regular(),
            others(START_MS + 1, START_MS + HOUR_MS),
            [Row(START_MS + HOUR_MS, 0.75, 0.75)],
        )
        opened, closed = feed(new_judge(WATCHED, slots=2), rows)
        last_ms = START_MS + 29 * MINUTE_MS
        assert told([opened, closed]) == [("metric.no_data", "opened", 0), ("metric.no_data", "resumed", 0)]
        assert opened.time_ms == opened.detected_ms == point_after(last_ms + 3 * MINUTE_MS)
        assert opened.started_ms == opened.last_sample_ms == closed.last_sample_ms == last_ms
        assert (opened.sequence, closed.sequence, opened.episode_number) == (1, 2, 1)
        assert math.isnan(opened.observed)
        assert opened.gap_ms == opened.interval_ms == MINUTE_MS
        assert opened.severity == closed.severity == "error"
        assert rows[opened.row].slot == 1
        assert rows[closed.row] == Row(START_MS + HOUR_MS, 0.75, 0.75)
        assert closed.time_ms == closed.ended_ms == START_MS + HOUR_MS
        assert closed.observed == 0.75
        assert closed.recent_values[-1] == 0.5, "what was seen before the silence"
        assert closed.samples_seen == 30

    def test_off_by_default(self) -> None:
        rows = in_time(self.regular(), others(START_MS + 1, START_MS + 9 * HOUR_MS))
        assert feed(new_judge(slots=2), rows) == []

    def test_ten_samples_are_needed(self) -> None:
        for count, kinds in ((9, []), (10, ["metric.no_data"])):
            rows = in_time(self.regular(count), others(START_MS + 1, START_MS + 2 * HOUR_MS))
            assert [t.kind for t in feed(new_judge(WATCHED, slots=2), rows) if t.slot == 0] == kinds

    def test_the_least_silence_counts_for_fast_series(self) -> None:
        fast = [Row(START_MS + 1000 * second, 0.5, 0.5) for second in range(60)]
        rows = in_time(fast, others(START_MS + 1, START_MS + HOUR_MS))
        opened = feed(new_judge(WATCHED, slots=2), rows)[0]
        assert opened.time_ms == point_after(fast[-1].time_ms + 120_000)

    def test_a_series_that_sends_in_bursts_is_not_silent_between_them(self) -> None:
        bursts = [Row(START_MS + 600_000 * turn + 1000 * s, 0.5, 0.5) for turn in range(60) for s in range(5)]
        rows = in_time(bursts, others(START_MS + 1, START_MS + 10 * HOUR_MS + 20 * MINUTE_MS))
        assert [t for t in feed(new_judge(WATCHED, slots=2), rows) if t.slot == 0] == []

    def test_one_outage_does_not_become_the_rhythm(self) -> None:
        first_stop_ms = START_MS + 30 * MINUTE_MS
        again_ms = first_stop_ms + 10 * HOUR_MS
        again = minutes([0.5] * 30, start_ms=again_ms)
        rows = in_time(self.regular(), again, others(START_MS + 1, again_ms + 10 * HOUR_MS))
        transitions = [t for t in feed(new_judge(WATCHED, slots=2), rows) if t.slot == 0]
        assert [t.end_reason or t.state for t in transitions] == ["opened", "resumed", "opened"]
        silent_ms = transitions[2].time_ms - again[-1].time_ms
        assert silent_ms <= 2 * 3 * MINUTE_MS + GRID_MS
        assert [t.episode_number for t in transitions] == [1, 1, 2]

    def test_silence_of_the_whole_partition_says_nothing_about_a_series(self) -> None:
        before = in_time(self.regular(), others(START_MS + 1, START_MS + 30 * MINUTE_MS))
        after_ms = START_MS + 9 * HOUR_MS
        back = in_time(minutes([0.5] * 30, start_ms=after_ms + 59_000), others(after_ms, after_ms + 30 * MINUTE_MS))
        assert feed(new_judge(WATCHED, slots=2), [*before, *back]) == []

    def test_but_a_series_that_stays_silent_after_it_is_told(self) -> None:
        before = in_time(self.regular(), others(START_MS + 1, START_MS + 30 * MINUTE_MS))
        after_ms = START_MS + 9 * HOUR_MS
        transitions = feed(new_judge(WATCHED, slots=2), [*before, *others(after_ms, after_ms + HOUR_MS)])
        assert told(transitions) == [("metric.no_data", "opened", 0)]
        excused_ms = point_after(after_ms) - GRID_MS
        assert transitions[0].time_ms == point_after(excused_ms + 3 * MINUTE_MS)
        assert transitions[0].started_ms == START_MS + 29 * MINUTE_MS

    def test_gaps_that_the_whole_partition_usually_has_excuse_nothing(self) -> None:
        """Two hourly series in turns: every row skips grid points, and still one of them can be missed."""
        one = [Row(START_MS + index * HOUR_MS, 0.5, 0.5) for index in range(12)]
        other = others(START_MS + HOUR_MS // 2, START_MS + 24 * HOUR_MS, step_ms=HOUR_MS)
        transitions = feed(new_judge(WATCHED, slots=2), in_time(one, other))
        assert told(transitions) == [("metric.no_data", "opened", 0)]

    def test_a_spike_and_no_data_are_open_side_by_side(self) -> None:
        rows = in_time(
            minutes([*[0.0] * 20, *BAD]),
            others(START_MS + 1, START_MS + 3 * HOUR_MS),
        )
        transitions = feed(new_judge(WATCHED, slots=2), rows)
        assert told(transitions) == [
            ("metric.spike", "opened", 0),
            ("metric.no_data", "opened", 0),
            ("metric.spike", "silent", 0),
        ]

    def test_resuming_comes_before_what_the_sample_says(self) -> None:
        policy = replace(WATCHED, open_points=1, open_window=1)
        rows = in_time(self.regular(), others(START_MS + 1, START_MS + HOUR_MS), [Row(START_MS + HOUR_MS, 9.0, 9.0)])
        resumed, spike = [t for t in feed(new_judge(policy, slots=2), rows) if t.time_ms == START_MS + HOUR_MS]
        assert told([resumed, spike]) == [("metric.no_data", "resumed", 0), ("metric.spike", "opened", 0)]
        assert resumed.row == spike.row
        assert math.isnan(resumed.score)

    def test_a_series_that_is_behind_the_watermark_resumes_with_its_own_time(self) -> None:
        rows = [*self.regular(), *others(START_MS + 30 * MINUTE_MS, START_MS + 2 * HOUR_MS)]
        late = Row(START_MS + 30 * MINUTE_MS, 0.5, 0.5)
        opened, resumed = feed(new_judge(WATCHED, slots=2), [*rows, late])
        assert resumed.ended_ms == resumed.time_ms == late.time_ms < opened.time_ms

    @pytest.mark.parametrize("reason", ["evicted", "expired"])
    def test_a_series_that_leaves_closes_it(self, reason: str) -> None:
        judge = new_judge(WATCHED, slots=2)
        rows = in_time(self.regular(), others(START_MS + 1, START_MS + HOUR_MS))
        (opened,) = feed(judge, rows)
        assert judge.open_count() == 1
        time_ms = START_MS if reason == "evicted" else START_MS + HOUR_MS
        (closed,) = judge.evict(np.array([0]), 7, time_ms, reason)  # type: ignore[arg-type]  # one of two
        assert (closed.kind, closed.state, closed.end_reason) == ("metric.no_data", "closed", reason)
        assert (closed.row, closed.sequence, closed.started_ms) == (7, 2, opened.started_ms)
        assert closed.ended_ms == max(time_ms, opened.detected_ms)
        assert judge.open_count() == 0
        judge.open_slot(0, 0)
        assert feed(judge, others(START_MS + HOUR_MS, START_MS + 3 * HOUR_MS)) == []

    @pytest.mark.parametrize(
        ("no_data", "words"),
        [
            (NoData(intervals=0.5), r"no_data\.intervals must be between 1 and 10000, not 0\.5"),
            (NoData(intervals=math.nan), r"no_data\.intervals must be"),
            (NoData(min_s=-1.0), r"no_data\.min_s must be"),
            (NoData(severity="bad"), r"no_data\.severity must be one of"),  # type: ignore[arg-type]
        ],
    )
    def test_values_that_make_no_sense_are_refused(self, no_data: NoData, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            Policy("p", open_points=3, open_window=5, no_data=no_data)


class TestGrid:
    def test_its_width_is_a_parameter(self) -> None:
        judge = EpisodeJudge([Policy("p", open_points=3, open_window=5)], timer_interval_ms=HOUR_MS)
        judge.reserve(2)
        for slot in (0, 1):
            judge.open_slot(slot, 0)
        rows = in_time(minutes(BAD), others(START_MS + 1, START_MS + 5 * HOUR_MS))
        closed = feed(judge, rows)[1]
        assert closed.time_ms % HOUR_MS == 0
        assert HOUR_MS < closed.time_ms - (START_MS + 2 * MINUTE_MS) <= 2 * HOUR_MS

    def test_nothing_fires_while_the_watermark_stands_still(self) -> None:
        lagging = [Row(START_MS - 9 * HOUR_MS + row.time_ms - START_MS, 2.0, 2.0) for row in minutes(BAD)]
        rows = [*others(START_MS, START_MS + 1), *lagging, Row(START_MS - 8 * HOUR_MS, 0.0, 0.0, slot=2)]
        judge = new_judge(slots=3)
        assert told(feed(judge, rows)) == [("metric.spike", "opened", 0)]
        assert judge.watermark_ms == START_MS
        assert told(feed(judge, others(START_MS + 1, START_MS + 2 * MINUTE_MS))) == [("metric.spike", "silent", 0)]
