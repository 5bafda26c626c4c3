"""What an operator may expect of the default learner under the default policy: seeded streams with a known answer."""

import numpy as np
import pytest

from benchmarks.scenarios import DAY, judged, minute_of, noise, opened
from detector.batches import FloatArray, Transition

WEEK_ROWS = 7 * 288


def told(values: FloatArray, interval_s: int = 60) -> list[Transition]:
    """Transitions of the default learner and policy."""
    return judged(values, interval_s=interval_s)


def days(transitions: list[Transition]) -> list[int]:
    """The day of each opening, from 0 on."""
    return [minute_of(it) // DAY for it in opened(transitions)]


class TestNewSeries:
    def test_noise_opens_nothing_from_the_first_score_on(self) -> None:
        assert opened(told(noise(300, 3, 200))) == []

    def test_the_band_is_wider_while_the_sizes_are_uncertain(self) -> None:
        heavy = 100.0 + np.random.default_rng(5).standard_t(5, size=(120, 300))
        assert len(opened(told(heavy))) <= 1


class TestJobs:
    @pytest.mark.parametrize("height", [30.0, -30.0, 200.0])
    @pytest.mark.parametrize("begin", [120, 170])
    def test_a_daily_job_of_20_minutes_opens_nothing_from_its_third_day_on(self, begin: int, height: float) -> None:
        values = noise(8 * DAY, 4)
        for day in range(8):
            values[day * DAY + begin : day * DAY + begin + 20] += height
        assert set(days(told(values))) == {0, 1}

    def test_a_job_that_goes_much_further_than_usual_is_told(self) -> None:
        values = noise(8 * DAY, 4)
        for day in range(8):
            values[day * DAY + 120 : day * DAY + 140] += 30.0 if day < 7 else 300.0
        assert days(told(values))[-1] == 7

    def test_the_hours_beside_a_job_are_watched(self) -> None:
        values = noise(8 * DAY, 4)
        for day in range(8):
            values[day * DAY + 120 : day * DAY + 140] += 30.0
        values[7 * DAY + 200 : 7 * DAY + 220] += 30.0
        assert days(told(values))[-1] == 7

    @pytest.mark.parametrize("rows", [4, 12])
    def test_a_weekly_job_opens_nothing_from_its_third_week_on(self, rows: int) -> None:
        values = noise(5 * WEEK_ROWS, 4)
        for week in range(5):
            values[week * WEEK_ROWS + 600 : week * WEEK_ROWS + 600 + rows] += 30.0
        weeks = [day // 7 for day in days(told(values, interval_s=300))]
        assert weeks == [0, 1]


class TestSquareWave:
    @pytest.mark.parametrize("half_period", range(1, 9))
    def test_an_hour_of_it_is_one_episode_that_flaps(self, half_period: int) -> None:
        values = noise(3 * DAY, 8)
        hour = slice(2 * DAY + 100, 2 * DAY + 160)
        values[hour] += np.where(np.arange(60) // half_period % 2 == 0, 12.0, 0.0)[:, np.newaxis]
        found = told(values)
        assert len(opened(found)) == 1
        assert sum(it.state == "closed" for it in found) <= 1
        assert any(it.flapping for it in found)


class TestFlatLines:
    def test_a_lively_series_that_stops_is_stuck(self) -> None:
        values = noise(2 * DAY, 10)
        values[DAY:] = values[DAY]
        assert [it.kind for it in opened(told(values))] == ["metric.stuck"]

    def test_a_constant_opens_nothing_until_it_steps(self) -> None:
        values = np.full((2 * DAY, 1), 5.0)
        assert opened(told(values)) == []
        values[DAY:] = 8.0
        kinds = [it.kind for it in opened(told(values))]
        assert kinds == ["metric.spike", "metric.level_shift"]


class TestIncidents:
    @pytest.mark.parametrize("height", [-200.0, -12.0, 12.0, 20.0, 30.0, 1000.0])
    def test_six_hours_of_it_are_found_both_times_and_their_end_is_no_news(self, height: float) -> None:
        values = noise(6 * DAY, 11)
        for day in (2.4, 4.4):
            values[int(day * DAY) : int(day * DAY) + 360] += height
        found = told(values)
        assert days(found) == [2, 4]
        assert all(it.end_reason == "recovered" for it in found if it.state == "closed")

    @pytest.mark.parametrize("height", [-200.0, -30.0, 30.0, 200.0])
    def test_a_level_that_has_come_to_stay_is_said_once(self, height: float) -> None:
        values = noise(6 * DAY, 12)
        values[3 * DAY :] += height
        found = told(values)
        assert [it.kind for it in opened(found)] == [
            "metric.spike" if height > 0 else "metric.dip",
            "metric.level_shift",
        ]
        assert [it.end_reason for it in found if it.state == "closed"] == ["accepted", "accepted"]

    def test_one_on_top_of_a_daily_curve_is_one_episode(self) -> None:
        minutes = np.arange(11 * DAY)
        values = noise(len(minutes), 13) + 30.0 * np.sin(minutes * (2.0 * np.pi / DAY))[:, np.newaxis]
        values[int(9.4 * DAY) : int(9.4 * DAY) + 360] += 60.0
        assert [day for day in days(told(values)) if day > 0] == [9]
