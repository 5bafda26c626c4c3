"""The band of the envelope learner: severity as a function of the value, and where it reaches the edge.

severity^2 = sum of ((x - c) / s)^2 over four levels c, each with its usual residual s = size + PEAK_SHARE * peak, all
known before x is: one parabola, least at sum(c / s^2) / sum(1 / s^2). What scores a value and what draws the bounds
are the same three numbers, so a value on a bound lies on the edge by construction.
"""

import math
from typing import Final, NamedTuple

from detector.compiled import compiled

CHANNELS: Final = 4
PEAK_SHARE: Final = 1e-3
"""Part of the largest residual before that counts as usual: widens the band of spiky series."""

Four = tuple[float, float, float, float]
"""One number per level: the fast one, the seasonal one, the previous sample, the slowest."""


class Parabola(NamedTuple):
    """Severity^2 = ``least`` + ``weight`` * ((x - ``centre``) * ``share``)^2; ``share`` keeps units out of squares."""

    centre: float
    least: float
    weight: float
    share: float


_QUANTILE: Final = 2.326
"""One size in a hundred is underestimated by more: the 99 % quantile of a Gaussian."""
_KNOWN_SAMPLES: Final = 20_000
"""From so many samples on a size is known within 1.2 % by that quantile, which is let be."""


@compiled
def parabola(levels: Four, shares: Four) -> Parabola:
    """Severity^2 as a function of the value; ``shares`` are the reciprocals of the usual residuals, 0 for no opinion.

    Distances count from the first level, so that a common part of all levels costs no digits.
    """
    share = max(shares[0], shares[1], shares[2], shares[3])
    unit = 1.0 / share
    first = shares[0] * unit
    second = shares[1] * unit
    third = shares[2] * unit
    fourth = shares[3] * unit
    first *= first
    second *= second
    third *= third
    fourth *= fourth
    weight = (first + second) + (third + fourth)
    seasonal = levels[1] - levels[0]
    previous = levels[2] - levels[0]
    slowest = levels[3] - levels[0]
    offset = (second * seasonal + third * previous + fourth * slowest) / weight
    centre = levels[0] + offset
    offset *= share
    seasonal = seasonal * share - offset
    previous = previous * share - offset
    slowest = slowest * share - offset
    least = first * offset * offset + second * seasonal * seasonal
    least += third * previous * previous + fourth * slowest * slowest
    return Parabola(centre, least, weight, share)


@compiled
def severity(x: float, agreement: Parabola) -> float:
    """The root of the sum of the squares of the four residuals in usual sizes."""
    distance = (x - agreement.centre) * agreement.share
    return math.sqrt(agreement.least + agreement.weight * distance * distance)


@compiled
def half_width(edge: float, agreement: Parabola) -> float:
    """How far from the best agreement the severity is ``edge``; 0 where the levels disagree by more than that."""
    left = edge * edge - agreement.least
    return math.sqrt(left / agreement.weight) / agreement.share if left > 0.0 else 0.0


@compiled
def uncertainty(samples: int) -> float:
    """How much larger a size may be than it looks after so many samples, 1 or more: the edge is as much further out.

    size^2 * k / sigma^2 has a chi-squared distribution with k degrees of freedom. Source of its quantile: Wilson and
    Hilferty (1931), "The distribution of chi-square", PNAS 17.
    """
    if samples >= _KNOWN_SAMPLES:
        return 1.0
    spread = 2.0 / (9.0 * samples)
    root = 1.0 - spread - _QUANTILE * math.sqrt(spread)
    return 1.0 / (root * math.sqrt(root))
