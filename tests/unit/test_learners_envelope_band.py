"""The band of the envelope learner: laws of the parabola, and how sure it is of its sizes."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.learners.envelope_band import Four, half_width, parabola, severity, uncertainty

EDGE = 8.4
levels = st.tuples(*[st.floats(-1e3, 1e3)] * 4)
shares = st.tuples(*[st.floats(1e-3, 1e3)] * 4)
units = st.sampled_from([1e-200, 1e-9, 1.0, 1e9, 1e30])


@given(levels, shares, st.floats(-1e3, 1e3))
def test_severity_is_the_root_of_the_sum_of_squares(levels: Four, shares: Four, x: float) -> None:
    agreement = parabola(levels, shares)
    parts = [(x - level) * share for level, share in zip(levels, shares, strict=True)]
    assert severity(x, agreement) == pytest.approx(math.hypot(*parts), rel=1e-6, abs=1e-6)


@given(levels, shares)
def test_a_bound_lies_on_the_edge(levels: Four, shares: Four) -> None:
    agreement = parabola(levels, shares)
    half = half_width(EDGE, agreement)
    rounding = 1e-9 + 4e-13 * agreement.share  # of levels of 1,000
    for bound in (agreement.centre - half, agreement.centre + half):
        if half > 0.0:
            assert severity(bound, agreement) == pytest.approx(EDGE, rel=1e-9, abs=rounding)
        else:
            assert severity(bound, agreement) >= EDGE * (1.0 - 1e-12)


@given(levels, shares, st.floats(0.0, 1e3), st.floats(1e-3, 1e3))
def test_severity_grows_with_the_distance_from_the_best_agreement(
    levels: Four, shares: Four, near: float, further: float
) -> None:
    agreement = parabola(levels, shares)
    for side in (-1.0, 1.0):
        inner = severity(agreement.centre + side * near, agreement)
        outer = severity(agreement.centre + side * (near + further), agreement)
        assert inner <= outer


@given(levels, shares, units)
def test_a_unit_changes_the_band_by_its_size_only(levels: Four, shares: Four, unit: float) -> None:
    a, b, c, d = levels
    e, f, g, h = shares
    one = parabola(levels, shares)
    other = parabola((a * unit, b * unit, c * unit, d * unit), (e / unit, f / unit, g / unit, h / unit))
    assert half_width(1e5, other) == pytest.approx(unit * half_width(1e5, one), rel=1e-6)


def test_a_level_without_an_opinion_has_no_influence() -> None:
    assert parabola((1.0, 2.0, 1e30, 4.0), (1.0, 1.0, 0.0, 1.0)).centre == pytest.approx(7.0 / 3.0)


class TestUncertainty:
    def test_it_is_the_quantile_of_a_size_from_so_many_samples(self) -> None:
        # 1 / sqrt(q / k) with q the 1 % quantile of chi-squared: 14.953 for 30 degrees of freedom, 70.065 for 100
        assert uncertainty(30) == pytest.approx(math.sqrt(30.0 / 14.953), rel=3e-3)
        assert uncertainty(100) == pytest.approx(math.sqrt(100.0 / 70.065), rel=1e-3)

    def test_it_fades_with_every_sample(self) -> None:
        factors = [uncertainty(samples) for samples in range(30, 30_000)]
        assert all(a >= b for a, b in itertools.pairwise(factors))
        assert factors[-1] == 1.0
