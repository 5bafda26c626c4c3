"""Tails of counts, against sums of their terms in whole digits."""

import math
from fractions import Fraction

import pytest

from detector.signals import tails


def exact_upper(x: int, mean: float, variance: float) -> float:
    """-log10 P(X >= x) of a negative binomial, by the sum of the terms."""
    r = mean * mean / (variance - mean)
    p = mean / variance
    terms = (
        math.exp(math.lgamma(k + r) - math.lgamma(r) - math.lgamma(k + 1) + r * math.log(p) + k * math.log1p(-p))
        for k in range(x, x + 6_000)
    )
    return -math.log10(math.fsum(terms))


class TestNegativeBinomial:
    @pytest.mark.parametrize(
        ("x", "mean", "variance"), [(1, 0.01, 0.05), (12, 2.0, 3.0), (40, 0.5, 4.0), (300, 150.0, 900.0), (5, 5.0, 5.1)]
    )
    def test_upper_tail_is_the_sum_of_its_terms(self, x: int, mean: float, variance: float) -> None:
        assert tails.upper_digits(x, mean, variance) == pytest.approx(exact_upper(x, mean, variance), rel=1e-9)

    @pytest.mark.parametrize(("x", "mean", "variance"), [(0, 20.0, 22.0), (3, 20.0, 60.0), (80, 150.0, 900.0)])
    def test_both_tails_share_out_all_probability(self, x: int, mean: float, variance: float) -> None:
        lower = 10.0 ** -tails.lower_digits(x, mean, variance)
        upper = 10.0 ** -tails.upper_digits(x + 1, mean, variance)
        assert lower + upper == pytest.approx(1.0, abs=1e-12)

    def test_nothing_at_all_is_a_power(self) -> None:
        # Poisson with mean 10: exp(-10) is 4.34 digits
        assert tails.none_digits(10.0, 10.00001) == pytest.approx(10.0 / math.log(10.0), rel=1e-5)
        assert tails.lower_digits(0.0, 8.0, 12.0) == pytest.approx(tails.none_digits(8.0, 12.0))

    def test_no_digit_is_lost_far_out(self) -> None:
        assert tails.upper_digits(2_000.0, 1.0, 1.02) == tails.DIGITS_MAX
        assert 100.0 < tails.upper_digits(100.0, 1.0, 1.02) < 160.0


class TestOtherTails:
    def test_gamma_of_whole_numbers_is_a_factorial(self) -> None:
        assert tails.ln_gamma(11.0) == pytest.approx(math.log(math.factorial(10)), rel=1e-14)
        assert tails.ln_gamma(0.5) == pytest.approx(0.5 * math.log(math.pi), rel=1e-13)

    @pytest.mark.parametrize("z", [0.1, 1.0, 2.49, 2.51, 6.0, 12.0])
    def test_normal_tail(self, z: float) -> None:
        assert tails.normal_digits(z) == pytest.approx(-math.log10(0.5 * math.erfc(z / math.sqrt(2.0))), rel=1e-9)

    def test_chi_squared_of_two_degrees_is_exponential(self) -> None:
        # known from very many values, it is exp(-x / 2)
        for x in (4.0, 10.0, 20.0):
            assert tails.gamma_digits(x / 2.0, 2.0, 1e12) == pytest.approx(x / 2.0 / math.log(10.0), rel=0.06)

    def test_what_is_known_from_few_values_is_less_sure(self) -> None:
        assert tails.gamma_digits(3.0, 10.0, 20.0) < tails.gamma_digits(3.0, 10.0, 1e9)

    def test_something_seen_at_all(self) -> None:
        assert tails.some_digits(1e-12) == pytest.approx(12.0)
        assert tails.some_digits(math.log(2.0)) == pytest.approx(-math.log10(float(Fraction(1, 2))))
