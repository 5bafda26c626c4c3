"""The envelope learner: what it notices, what it gets used to, what is new to it, and what cannot break it."""

import os
import subprocess
import sys
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from detector.batches import FloatArray, IntArray, ScoreColumns
from detector.episodes import DEFAULT_POLICY, EpisodeJudge
from detector.learners import UTC_OFFSETS, EnvelopeLearner, UtcOffsets
from detector.learners.envelope_home import GUARD_MS
from detector.learners.envelope_state import STATE, WARM_UP_SAMPLES
from detector.settings import zone_changes
from tests.contracts.learner_cases import MINUTE_MS, START_MS

DIGEST = """
import hashlib
import numpy as np
from detector.batches import ScoreColumns
from detector.learners import EnvelopeLearner

rng = np.random.default_rng(11)
size = 1500
slots = rng.integers(0, 8, size)
times_ms = np.cumsum(rng.integers(1, 400_000, size)) + (np.arange(size) > 900) * 90_000_000
scale = np.array([1.0, 1e-300, 1e300, 1e12, 0.0, 1e-5, -3.0, 1e150])[slots]
values = scale * (1.0 + 0.1 * rng.normal(size=size)) + (rng.random(size) < 0.02) * scale * 50.0
values += scale * ((np.arange(size) > 700) & (np.arange(size) < 1000)) * 20.0
learner = EnvelopeLearner()
learner.reserve(8)
out = ScoreColumns.empty(size)
learner.score(slots, times_ms, values, out)
digest = hashlib.sha256(learner._state.tobytes())
for column in out.columns():
    digest.update(column.tobytes())
print(digest.hexdigest())
"""

DAY = 1440
NOVEL = 2.07
"""The best threshold of novelty on the Numenta benchmark."""


def zone(name: str) -> UtcOffsets:
    """The offsets of a zone as wiring gives them."""
    changes_ms, offsets_ms = zone_changes(name)
    return UtcOffsets(np.array(changes_ms, dtype=np.int64), np.array(offsets_ms, dtype=np.int64))


def scored(
    values: FloatArray, times_ms: IntArray | None = None, learner: EnvelopeLearner | None = None
) -> ScoreColumns:
    """One series, a sample each minute unless told otherwise."""
    learner = learner or EnvelopeLearner()
    learner.reserve(1)
    size = len(values)
    out = ScoreColumns.empty(size)
    moments = START_MS + np.arange(size) * MINUTE_MS if times_ms is None else times_ms
    learner.score(np.zeros(size, dtype=np.int64), moments, values, out)
    return out


def opened(values: FloatArray, out: ScoreColumns, step_ms: int = MINUTE_MS) -> list[tuple[str, int]]:
    """Kind and row of every episode that the default policy opens."""
    judge = EpisodeJudge([DEFAULT_POLICY])
    judge.reserve(1)
    judge.open_slot(0, 0)
    size = len(values)
    rows = np.arange(size)
    transitions = judge.judge(
        rows, np.zeros(size, dtype=np.int64), START_MS + rows * step_ms, values, out, lambda _: None
    )
    return [(step.kind, step.row) for step in transitions if step.state == "opened"]


def noise(size: int, seed: int = 0) -> FloatArray:
    """Gaussian noise around 100."""
    return 100.0 + np.random.default_rng(seed).normal(size=size)


class TestWhatItNotices:
    def test_gaussian_noise_opens_nothing(self) -> None:
        values = noise(100_000)
        out = scored(values)
        assert opened(values, out) == []
        assert int((out.deviation > 1.0).sum()) <= 10

    @pytest.mark.parametrize("jump", [-12.0, 12.0])
    def test_a_value_twelve_sigma_away_is_outside(self, jump: float) -> None:
        values = noise(1000)
        values[700] += jump
        out = scored(values)
        assert out.deviation[700] > 1.5
        assert out.score[700] > 60.0
        assert (out.deviation[702:] < 1.0).all()

    def test_a_constant_series_never_deviates(self) -> None:
        out = scored(np.full(500, 0.1))
        assert (out.deviation[WARM_UP_SAMPLES:] == 0.0).all()
        assert (out.novelty[WARM_UP_SAMPLES:] == 0.0).all()
        assert (out.lower[WARM_UP_SAMPLES:] <= 0.1).all()

    @pytest.mark.parametrize("step", [1e-9, 1.0, 1e12])
    def test_any_step_of_a_constant_series_deviates(self, step: float) -> None:
        assert scored(np.append(np.full(200, 5.0), 5.0 + step)).deviation[-1] > 10.0

    def test_steps_of_a_constant_series_are_ranked_by_size(self) -> None:
        scores = [scored(np.append(np.zeros(100), 10.0**power)).score[-1] for power in range(-120, 301, 20)]
        assert (np.diff(scores) > 0.0).all()

    def test_rounding_noise_of_a_constant_is_not_an_anomaly(self) -> None:
        for level in (0.1, 1e12):
            values = np.full(500, level)
            values[300:] += np.spacing(level)
            assert (scored(values).deviation[WARM_UP_SAMPLES:] < 1.0).all()

    def test_small_changes_of_a_series_near_1e12_are_seen(self) -> None:
        values = 1e12 + noise(3000)
        values[2900] += 50.0
        out = scored(values)
        assert out.deviation[2900] > 3.0
        assert (out.deviation[WARM_UP_SAMPLES:2900] < 1.0).all()

    def test_a_first_value_far_from_the_others_costs_no_precision_later(self) -> None:
        values = 1e5 + noise(100_000)
        values[0] = 0.0
        values[99_900] += 50.0
        out = scored(values)
        assert out.deviation[99_900] > 1.0
        assert (out.deviation[50_000:99_900] < 1.0).all()

    def test_an_hour_that_is_unlike_itself_is_seen_within_the_range_of_the_day(self) -> None:
        minutes = np.arange(14 * DAY)
        values = noise(len(minutes)) + 30.0 * np.sin(minutes * (2.0 * np.pi / DAY))
        low = 13 * DAY + DAY * 3 // 4
        values[low : low + 5] += 20.0
        out = scored(values)
        assert out.deviation[low] > 1.0
        assert values[low] < values[: 2 * DAY].max()
        before = opened(values[:low], ScoreColumns(*(column[:low] for column in out.columns())))
        assert [row for _, row in before if row > 2 * DAY] == []


class TestWhatItGetsUsedTo:
    @pytest.mark.parametrize("shift", [20.0, 100.0, 1e4, 1e9, -1e9])
    def test_a_lasting_shift_stays_outside_for_a_day_and_is_accepted_within_another(self, shift: float) -> None:
        values = noise(4500 + 3 * DAY)
        values[4500:] += shift
        out = scored(values)
        day = slice(4500, 4500 + GUARD_MS // MINUTE_MS // 2)
        assert (out.deviation[day] > 1.0).all()
        assert (out.deviation[4500 + 2 * DAY :] < 1.0).all()
        assert abs(out.expected[-1] - values[4500:].mean()) < max(10.0, 1e-3 * abs(shift))

    def test_a_level_that_is_told_is_normal_at_once(self) -> None:
        values = noise(6000)
        values[4500:] += 100.0
        learner = EnvelopeLearner()
        scored(values[:5000], learner=learner)
        learner.rebaseline(np.zeros(1, dtype=np.int64), np.array([START_MS + 5000 * MINUTE_MS]), np.array([200.0]))
        after = scored(values[5000:], START_MS + np.arange(5000, 6000) * MINUTE_MS, learner)
        assert (after.deviation < 1.0).all()

    @pytest.mark.parametrize("begin", [300, 330])
    @pytest.mark.parametrize("shift", [40.0, 400.0])
    def test_the_return_from_ten_minutes_of_a_young_series_opens_nothing(self, begin: int, shift: float) -> None:
        values = noise(400)
        values[begin : begin + 10] += shift
        out = scored(values, np.arange(400) * MINUTE_MS)
        assert opened(values, out) == [("metric.spike", begin + 1)]

    @pytest.mark.parametrize("shift", [-40.0, 12.0, 40.0, 100.0])
    @pytest.mark.parametrize("minutes", [1, 5])
    def test_the_return_from_an_incident_of_six_hours_opens_nothing(self, minutes: int, shift: float) -> None:
        length, begin = 360 // minutes, 4 * DAY // minutes
        values = noise(begin + length + 1200 // minutes)
        values[begin : begin + length] += shift
        out = scored(values, START_MS + np.arange(len(values)) * minutes * MINUTE_MS)
        kinds = opened(values, out, minutes * MINUTE_MS)
        assert {kind for kind, _ in kinds} == {"metric.spike" if shift > 0 else "metric.dip"}
        assert kinds[0][1] == begin + DEFAULT_POLICY.open_points - 1
        assert kinds[-1][1] < begin + length

    def test_the_same_incident_again_is_noticed_again(self) -> None:
        values = noise(6 * DAY)
        for begin in (3 * DAY, 4 * DAY + 777):
            values[begin : begin + 60] += 60.0
        rows = [row for _, row in opened(values, scored(values))]
        assert any(3 * DAY <= row < 3 * DAY + 5 for row in rows)
        assert any(4 * DAY + 777 <= row < 4 * DAY + 782 for row in rows)

    def test_one_corrupt_value_does_not_blind_a_series_for_ever(self) -> None:
        values = noise(1_000_000)
        values[1000] = 1e9
        values[999_999] += 100.0
        out = scored(values)
        assert out.deviation[1000] > 100.0
        assert out.deviation[999_999] > 1.0

    def test_a_daily_rhythm_is_learnt(self) -> None:
        minutes = np.arange(14 * DAY)
        values = noise(len(minutes)) + 30.0 * ((minutes % DAY) // 720)
        out = scored(values, minutes * MINUTE_MS)
        mornings = np.flatnonzero(minutes % DAY == 720)
        assert out.deviation[mornings[0]] > 1.0
        assert out.deviation[mornings[-1]] < out.deviation[mornings[0]] * 0.6

    def test_after_a_gap_the_previous_sample_says_nothing(self) -> None:
        values = noise(3000) + np.linspace(0.0, 60.0, 3000)
        times_ms = START_MS + np.arange(3000) * MINUTE_MS
        times_ms[2000:] += 3 * 3_600_000
        values[2000:] += 6.0
        with_gap = scored(values, times_ms)
        without = scored(values, START_MS + np.arange(3000) * MINUTE_MS)
        assert with_gap.deviation[2000] < without.deviation[2000]


class TestNovelty:
    def test_a_new_series_is_not_news_by_itself(self) -> None:
        out = scored(noise(200))
        assert (out.novelty[WARM_UP_SAMPLES:] == 0.0).all()

    def test_something_new_is_told_once(self) -> None:
        values = noise(5000)
        values[4000:4200] += 30.0
        out = scored(values)
        assert out.novelty[4000] > 10.0
        assert int((out.novelty[4001:4100] > 0.0).sum()) == 0

    def test_noise_is_seldom_new(self) -> None:
        novelty = scored(noise(100_000)).novelty
        assert int((novelty > NOVEL).sum()) < 100


class TestTimeZones:
    @pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York"])
    @pytest.mark.parametrize("month", ["2025-03", "2025-10"])
    def test_a_switch_of_daylight_saving_opens_nothing(self, name: str, month: str) -> None:
        start_ms = int(np.datetime64(f"{month}-01", "ms").astype(np.int64))
        times_ms = start_ms + np.arange(45 * 288) * 5 * MINUTE_MS
        offsets = zone(name)
        local_h = np.array([(t + offsets.at(int(t))) / 3_600_000.0 for t in times_ms])
        values = noise(len(times_ms)) + np.where((local_h % 24 > 8) & (local_h % 24 < 18), 60.0, 0.0)
        out = scored(values, times_ms, EnvelopeLearner(offsets))
        assert [row for _, row in opened(values, out, 5 * MINUTE_MS) if row > 288] == []

    @pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "UTC"])
    def test_the_table_says_what_the_zone_database_says(self, name: str) -> None:
        offsets = zone(name)
        for time_s in range(0, 4_000_000_000, 3_456_789):
            aware = np.datetime64(time_s, "s").astype(object).replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo(name))
            assert offsets.at(time_s * 1000) == aware.utcoffset().total_seconds() * 1000

    def test_the_kernel_finds_the_offset_in_either_direction_of_time(self) -> None:
        offsets = UtcOffsets(np.array([10 * MINUTE_MS, 20 * MINUTE_MS]), np.array([0, 3_600_000, 7_200_000]))
        learner = EnvelopeLearner(offsets)
        learner.reserve(3)
        out = ScoreColumns.empty(3)
        learner.score(np.arange(3), np.array([5, 25, 15]) * MINUTE_MS, np.zeros(3), out)
        assert learner._state["hour"].tolist() == [0, 2, 1]
        assert UTC_OFFSETS.at(0) == 0


class TestWhatCannotBreakIt:
    @pytest.mark.parametrize("unit", [5e-324, 1e-300, 1e-9, 1e12, 1e300, 1.7e308])
    def test_extreme_units_give_finite_answers(self, unit: float) -> None:
        out = scored(np.clip(noise(400) / 100.0, 0.9, 1.0) * unit)
        for column in out.columns():
            assert np.isfinite(column[WARM_UP_SAMPLES:]).all()

    def test_swings_over_the_whole_range_give_finite_answers(self) -> None:
        out = scored(np.tile([1.7e308, -1.7e308, 0.0, 5e-324], 100))
        assert np.isfinite(out.upper[WARM_UP_SAMPLES:]).all()
        assert (out.score[WARM_UP_SAMPLES:] < 100.0).all()

    @pytest.mark.parametrize("size", [31, 60, 500, 3000])
    def test_the_band_is_the_one_that_scored(self, size: int) -> None:
        values = noise(size)
        reached = scored(values)
        for bound in (reached.lower[-1], reached.upper[-1]):
            at_edge = scored(np.append(values[:-1], bound))
            assert at_edge.deviation[-1] == pytest.approx(1.0, rel=1e-12)

    def test_a_series_takes_less_than_1200_bytes(self) -> None:
        assert STATE.itemsize == 1175

    def test_compiled_and_plain_python_give_the_same_bits(self) -> None:
        digests = {
            subprocess.run(  # noqa: S603  # this interpreter, with the program above
                [sys.executable, "-W", "error", "-c", DIGEST],
                env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for disabled in ("0", "1")
        }
        assert len(digests) == 1
        assert len(digests.pop().strip()) == 64
