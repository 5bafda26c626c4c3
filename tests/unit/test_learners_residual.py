"""The compiled residual learner: what it notices, what it gets used to, and what cannot break it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from detector.batches import FloatArray, ScoreColumns
from detector.learners import ResidualLearner
from detector.learners.residual import STATE, WARM_UP_SAMPLES
from tests.contracts.learner_cases import MINUTE_MS, START_MS

DIGEST = """
import hashlib
import numpy as np
from detector.batches import ScoreColumns
from detector.learners import ResidualLearner

rng = np.random.default_rng(11)
size = 1500
slots = rng.integers(0, 8, size)
times_ms = np.cumsum(rng.integers(1, 400_000, size))
scale = np.array([1.0, 1e-300, 1e300, 1e12, 0.0, 1e-5, -3.0, 1e150])[slots]
values = scale * (1.0 + 0.1 * rng.normal(size=size)) + (rng.random(size) < 0.02) * scale * 50.0
learner = ResidualLearner()
learner.reserve(8)
out = ScoreColumns.empty(size)
learner.score(slots, times_ms, values, out)
digest = hashlib.sha256(learner._state.tobytes())
for column in out.columns():
    digest.update(column.tobytes())
print(digest.hexdigest())
"""


def score(values: FloatArray, learner: ResidualLearner | None = None, start_ms: int = START_MS) -> ScoreColumns:
    """One series, a sample each minute."""
    learner = learner or ResidualLearner()
    learner.reserve(1)
    size = len(values)
    out = ScoreColumns.empty(size)
    learner.score(np.zeros(size, dtype=np.int64), start_ms + np.arange(size) * MINUTE_MS, values, out)
    return out


def noise(size: int, seed: int = 0) -> FloatArray:
    """Gaussian noise around 100."""
    return 100.0 + np.random.default_rng(seed).normal(size=size)


class TestWhatItNotices:
    def test_gaussian_noise_stays_inside_the_band(self) -> None:
        assert int((score(noise(20_000)).deviation > 1.0).sum()) == 0

    @pytest.mark.parametrize("jump", [-12.0, 12.0])
    def test_a_value_twelve_sigma_away_is_outside(self, jump: float) -> None:
        values = noise(1000)
        values[700] += jump
        out = score(values)
        assert out.deviation[700] > 1.5
        assert out.score[700] > 60.0
        assert (out.deviation[701:] < 1.0).all()

    def test_a_constant_series_never_deviates(self) -> None:
        out = score(np.full(500, 0.1))
        assert (out.deviation[WARM_UP_SAMPLES:] == 0.0).all()
        assert (out.lower[WARM_UP_SAMPLES:] <= 0.1).all()

    @pytest.mark.parametrize("step", [1e-9, 1.0, 1e12])
    def test_any_step_of_a_constant_series_deviates(self, step: float) -> None:
        out = score(np.append(np.full(200, 5.0), 5.0 + step))
        assert out.deviation[-1] > 10.0

    def test_steps_of_a_constant_series_are_ranked_by_size(self) -> None:
        scores = [score(np.append(np.zeros(100), 10.0**power)).score[-1] for power in range(-300, 301, 20)]
        assert (np.diff(scores) > 0.0).all()

    def test_rounding_noise_of_a_large_constant_is_not_an_anomaly(self) -> None:
        values = np.full(500, 0.1)
        values[300:] += np.spacing(0.1)
        assert (score(values).deviation[WARM_UP_SAMPLES:] < 1.0).all()

    def test_small_changes_of_a_series_near_1e12_are_still_seen(self) -> None:
        values = 1e12 + noise(1000)
        values[800] += 50.0
        assert score(values).deviation[800] > 5.0


class TestWhatItGetsUsedTo:
    @pytest.mark.parametrize("shift", [10.0, 100.0, 1e4, 1e9, -1e9])
    def test_a_lasting_shift_of_a_young_series_is_accepted_within_300_samples(self, shift: float) -> None:
        values = noise(2400)
        values[1000:] += shift
        out = score(values)
        assert out.deviation[1000] > 1.0
        assert (out.deviation[1300:] < 1.0).all()
        assert abs(out.expected[2399] - values[1000:].mean()) < max(10.0, 1e-5 * abs(shift))

    @pytest.mark.parametrize("shift", [100.0, 1e4, -1e9])
    def test_a_lasting_shift_of_an_older_one_stays_outside_for_a_day(self, shift: float) -> None:
        values = noise(5000)
        values[1500:] += shift
        out = score(values)
        assert (np.abs(out.deviation[1500:2900]) > 1.0).all()
        assert (out.deviation[1500 + 1440 + 300 :] < 1.0).all()

    @pytest.mark.parametrize("height", [-200.0, 12.0, 200.0])
    def test_six_hours_do_not_become_normal_and_their_end_is(self, height: float) -> None:
        values = noise(4000)
        values[2000:2360] += height
        out = score(values)
        assert (out.deviation[2000:2360] > 1.0).mean() > 0.9
        assert (out.deviation[2360:] < 1.0).all()

    def test_a_new_level_is_expected_at_once_when_told(self) -> None:
        learner = ResidualLearner()
        score(noise(2000), learner)
        learner.rebaseline(np.array([0]), np.array([START_MS + 2000 * MINUTE_MS]), np.array([500.0]))
        out = score(400.0 + noise(100, 1), learner, START_MS + 2000 * MINUTE_MS)
        assert (out.deviation < 1.0).all()
        assert (out.upper - out.lower < 20.0).all()

    def test_an_incident_of_40_samples_stays_outside_until_its_end(self) -> None:
        values = noise(3000)
        values[1500:1540] += 40.0
        out = score(values)
        assert (out.deviation[1500:1540] > 1.0).all()
        assert int((out.deviation[1540:] > 1.0).sum()) <= 10

    def test_one_corrupt_value_does_not_blind_a_series_for_ever(self) -> None:
        values = noise(60_000)
        values[1000] = 1e9
        values[59_999] += 100.0
        out = score(values)
        assert out.deviation[1000] > 100.0
        assert out.deviation[59_999] > 1.0

    def test_a_daily_rhythm_is_learnt(self) -> None:
        minutes = np.arange(14 * 1440)
        values = noise(len(minutes)) + 30.0 * ((minutes % 1440) // 720)
        out = score(values, start_ms=0)
        mornings = np.flatnonzero(minutes % 1440 == 720)
        assert out.deviation[mornings[0]] > 1.0
        assert out.deviation[mornings[-1]] < out.deviation[mornings[0]] / 2.0

    def test_only_the_hour_of_day_matters_of_a_time(self) -> None:
        values = noise(3000)
        day_ms = 86_400_000
        one, other = score(values), score(values, start_ms=START_MS - 30_000 * day_ms)
        assert one.score.tobytes() == other.score.tobytes()


class TestWhatCannotBreakIt:
    @pytest.mark.parametrize("unit", [5e-324, 1e-300, 1e-9, 1e12, 1e300, 1.7e308])
    def test_extreme_units_give_finite_answers(self, unit: float) -> None:
        out = score(np.clip(noise(400) / 100.0, 0.9, 1.0) * unit)
        for column in (out.score, out.deviation, out.expected, out.lower, out.upper):
            assert np.isfinite(column[WARM_UP_SAMPLES:]).all()

    def test_swings_over_the_whole_range_give_finite_answers(self) -> None:
        values = np.tile([1.7e308, -1.7e308, 0.0, 5e-324], 100)
        out = score(values)
        assert np.isfinite(out.upper[WARM_UP_SAMPLES:]).all()
        assert (out.score[WARM_UP_SAMPLES:] < 100.0).all()

    def test_the_band_is_the_one_that_scored(self) -> None:
        values = noise(500)
        reached = score(values)
        for bound in (reached.lower[-1], reached.upper[-1]):
            at_edge = score(np.append(values[:-1], bound))
            assert at_edge.deviation[-1] == pytest.approx(1.0, rel=1e-12)

    def test_a_series_takes_less_than_600_bytes(self) -> None:
        assert STATE.itemsize == 320

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
