"""The count learner: exact tails, few false alarms, what it learns and what it does not."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from detector.batches import FloatArray, ScoreColumns
from detector.learners import CountLearner
from detector.learners.count_tails import EDGE_DIGITS, approximate, exact, tails
from detector.learners.counts import STATE
from tests.contracts.learner_cases import MINUTE_MS, START_MS

DIGEST = """
import hashlib
import numpy as np
from detector.batches import ScoreColumns
from detector.learners import CountLearner

rng = np.random.default_rng(11)
size = 800
slots = rng.integers(0, 6, size)
times_ms = np.cumsum(rng.integers(1, 400_000, size))
means = np.array([0.0, 0.2, 2.0, 15.0, 300.0, 1e9])[slots]
values = rng.poisson(means).astype(float) * (1.0 + 30.0 * (rng.random(size) < 0.02)) + 0.25 * (slots == 2)
values[::97] = -3.0
learner = CountLearner()
learner.reserve(6)
out = ScoreColumns.empty(size)
learner.score(slots, times_ms, values, out)
digest = hashlib.sha256(learner._state.tobytes())
for column in out.columns():
    digest.update(column.tobytes())
print(digest.hexdigest())
"""


def score(values: FloatArray, learner: CountLearner | None = None, start_ms: int = START_MS) -> ScoreColumns:
    """One series, a sample each minute."""
    learner = learner or CountLearner()
    learner.reserve(1)
    size = len(values)
    out = ScoreColumns.empty(size)
    learner.score(np.zeros(size, dtype=np.int64), start_ms + np.arange(size) * MINUTE_MS, values, out)
    return out


def poisson(mean: float, size: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).poisson(mean, size).astype(np.float64)


def by_definition(x: int, mean: float, phi: float) -> float:
    """Digits of the tail, term by term from the gamma function."""
    r = 1.0 / phi
    odds = math.log(r / (r + mean)), math.log(mean / (r + mean))
    terms = [
        math.exp(math.lgamma(k + r) - math.lgamma(k + 1) - math.lgamma(r) + r * odds[0] + k * odds[1])
        for k in range(400)
    ]
    return -math.log10(math.fsum(terms[x:]) if x >= mean else math.fsum(terms[: x + 1]))


class TestTails:
    @pytest.mark.parametrize(("mean", "phi"), [(0.2, 0.1), (1.0, 0.02), (5.0, 0.3), (15.0, 0.1), (20.0, 0.001)])
    def test_are_exact_for_small_means(self, mean: float, phi: float) -> None:
        for x in range(60):
            assert exact(float(x), mean, phi)[0] == pytest.approx(by_definition(x, mean, phi), rel=1e-6, abs=1e-9)

    def test_of_large_means_are_near(self) -> None:
        for x in (20, 30, 60, 80):
            assert approximate(float(x), 40.0, 0.01)[0] == pytest.approx(by_definition(x, 40.0, 0.01), rel=0.2, abs=0.4)

    @pytest.mark.parametrize("mean", [0.001, 0.2, 3.0, 19.0, 21.0, 1e4, 1e90])
    @pytest.mark.parametrize("phi", [0.001, 0.1, 10.0])
    def test_reach_the_edge_where_the_band_ends(self, mean: float, phi: float) -> None:
        _, lower, upper = tails(mean, mean, phi)
        assert lower <= mean <= upper
        if upper > mean:
            assert tails(upper, mean, phi)[0] == pytest.approx(EDGE_DIGITS, rel=1e-4)
        if lower > 0.0:
            assert tails(lower, mean, phi)[0] == pytest.approx(EDGE_DIGITS, rel=1e-4)

    @pytest.mark.parametrize("mean", [0.2, 19.0, 50.0])
    def test_never_tie(self, mean: float) -> None:
        digits = [tails(mean + 10.0**power, mean, 0.05)[0] for power in range(101)]
        assert (np.diff(digits) > 0.0).all()


class TestWhatItNotices:
    @pytest.mark.parametrize("mean", [0.2, 1.0, 5.0, 40.0])
    def test_poisson_noise_is_outside_about_as_often_as_the_edge_says(self, mean: float) -> None:
        out = score(poisson(mean, 40_000))
        assert (out.deviation > 1.0).mean() < 2.0 * 10.0**-EDGE_DIGITS

    @pytest.mark.parametrize(("mean", "count"), [(0.2, 6.0), (1.0, 10.0), (5.0, 25.0)])
    def test_a_burst_is_outside(self, mean: float, count: float) -> None:
        out = score(np.append(poisson(mean, 3000), count))
        assert out.deviation[-1] > 1.5

    def test_a_drop_to_nothing_of_a_busy_series_is_outside(self) -> None:
        assert score(np.append(poisson(15.0, 3000), 0.0)).deviation[-1] > 1.0

    def test_overdispersed_counts_have_a_wider_band(self) -> None:
        rng = np.random.default_rng(1)
        wide = rng.poisson(rng.gamma(2.0, 2.5, 20_000)).astype(np.float64)
        assert (score(wide).deviation > 1.0).mean() < 0.004
        assert score(wide).upper[-1] > 1.4 * score(poisson(5.0, 20_000)).upper[-1]

    def test_a_negative_value_is_always_outside(self) -> None:
        assert score(np.append(np.zeros(100), -1e-9)).deviation[-1] > 1.0


class TestWhatItLearns:
    def test_the_hours_of_the_day(self) -> None:
        minutes = np.arange(10 * 1440)
        rates = np.where(minutes // 60 % 24 < 12, 0.3, 4.0)
        out = score(np.random.default_rng(3).poisson(rates).astype(np.float64), start_ms=0)
        last_day = slice(9 * 1440, None)
        assert np.abs(out.expected[last_day] / rates[last_day] - 1.0).mean() < 0.35

    def test_six_hours_of_a_surge_do_not_become_normal(self) -> None:
        values = poisson(2.0, 6000)
        values[3000:3360] += poisson(30.0, 360, 1)
        out = score(values)
        assert out.expected[3360] < 3.0
        assert (out.deviation[3000:3360] > 1.0).all()
        assert (out.deviation[3360:] > 1.0).mean() < 0.01

    def test_a_lasting_level_is_accepted_after_a_day(self) -> None:
        values = poisson(2.0, 9000)
        values[3000:] += poisson(20.0, 6000, 1)
        out = score(values)
        assert (out.deviation[3000:4400] > 1.0).mean() > 0.9
        assert (out.deviation[8000:] > 1.0).mean() < 0.02

    def test_a_series_takes_less_than_400_bytes(self) -> None:
        assert STATE.itemsize == 380

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
