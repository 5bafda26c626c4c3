"""Tails of counts and of chi-squared sums in digits, -log10 p: exact for the negative binomial, to 300 digits.

X with mean m and variance v > m is the negative binomial with r = m^2 / (v - m) and p = m / v, and
P(X >= x) = I_{1-p}(x, r), P(X <= x) = I_p(r, x + 1) with I the regularised incomplete beta function. Its continued
fraction is taken by Lentz's method, its logarithm directly, so that no digit is lost far out. Only ``exp`` and ``log``
are used: other functions differ in bits between compilers.

Sources: Abramowitz and Stegun, "Handbook of Mathematical Functions", 6.1.40 (Stirling's series), 26.5.8 (incomplete
beta), 26.2.14 (normal tail), 26.4.17 (Wilson and Hilferty's cube root).
"""

import math
from typing import Final

from detector.compiled import compiled

DIGITS_MAX: Final = 300.0
SPREAD_MIN: Final = 1.0 + 1e-6
"""Least variance, in means."""
_LN_10: Final = math.log(10.0)
_HALF_LN_TAU: Final = 0.5 * math.log(2.0 * math.pi)
_STIRLING_MIN: Final = 8.0
_STEPS_MAX: Final = 500
_STEP_MIN: Final = 1e-13
_TINY: Final = 1e-290
_MILLS_DEPTH: Final = 40
_NEAR_Z: Final = 2.5
"""Up to here the series of the normal distribution, beyond it the continued fraction of its tail."""


@compiled
def ln_gamma(x: float) -> float:
    """Ln of the gamma function of x > 0, within 1e-12."""
    shift = 1.0
    while x < _STIRLING_MIN:
        shift *= x
        x += 1.0
    inverse = 1.0 / x
    square = inverse * inverse
    series = 1.0 / 1260.0 - square * (1.0 / 1680.0 - square * (1.0 / 1188.0 - square * 691.0 / 360360.0))
    series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * series))
    return (x - 0.5) * math.log(x) - x + _HALF_LN_TAU + series - math.log(shift)


@compiled
def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, for x < (a + 1) / (a + b + 2)."""
    c = 1.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    h = d
    m = 1.0
    while m < _STEPS_MAX:
        even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        d = 1.0 + even * d
        c = 1.0 + even / c
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = c if abs(c) > _TINY else _TINY
        h *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        d = 1.0 + odd * d
        c = 1.0 + odd / c
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = c if abs(c) > _TINY else _TINY
        h *= d * c
        if abs(d * c - 1.0) < _STEP_MIN:
            break
        m += 1.0
    return h


@compiled
def beta_digits(a: float, b: float, x: float, y: float) -> float:
    """-log10 of I_x(a, b), given y = 1 - x without loss; a, b, x, y > 0."""
    front = a * math.log(x) + b * math.log(y) - ln_gamma(a) - ln_gamma(b) + ln_gamma(a + b)
    if x < (a + 1.0) / (a + b + 2.0):
        ln_p = front + math.log(_fraction(a, b, x) / a)
    else:
        rest = math.exp(front) * _fraction(b, a, y) / b
        ln_p = math.log(max(1.0 - rest, 1e-16))
    return min(max(-ln_p / _LN_10, 0.0), DIGITS_MAX)


@compiled
def upper_digits(x: float, mean: float, variance: float) -> float:
    """-log10 P(X >= x) of a whole x; mean > 0."""
    if x <= 0.0:
        return 0.0
    spread = max(variance / mean, SPREAD_MIN)
    r = mean / (spread - 1.0)
    return beta_digits(x, r, (spread - 1.0) / spread, 1.0 / spread)


@compiled
def lower_digits(x: float, mean: float, variance: float) -> float:
    """-log10 P(X <= x) of a whole x; mean > 0."""
    spread = max(variance / mean, SPREAD_MIN)
    r = mean / (spread - 1.0)
    if x <= 0.0:
        return min(r * math.log(spread) / _LN_10, DIGITS_MAX)
    return beta_digits(r, x + 1.0, 1.0 / spread, (spread - 1.0) / spread)


@compiled
def none_digits(mean: float, variance: float) -> float:
    """-log10 P(X = 0); mean > 0."""
    spread = max(variance / mean, SPREAD_MIN)
    return mean / (spread - 1.0) * math.log(spread) / _LN_10


@compiled
def normal_digits(z: float) -> float:
    """-log10 P(Z >= z) of a standard normal Z; 0 below 0."""
    if z <= 0.0:
        return 0.0
    ln_density = -0.5 * z * z - _HALF_LN_TAU
    if z < _NEAR_Z:
        term = z
        total = z
        odd = 3.0
        while term > _STEP_MIN * total:
            term *= z * z / odd
            total += term
            odd += 2.0
        return -math.log(0.5 - math.exp(ln_density) * total) / _LN_10
    mills = 0.0
    for k in range(_MILLS_DEPTH, 0, -1):
        mills = k / (z + mills)
    return min((math.log(z + mills) - ln_density) / _LN_10, DIGITS_MAX)


@compiled
def studentised(z: float, freedom: float) -> float:
    """The normal deviate that is about as improbable as z is of Student's distribution.

    Source: Wallace (1959), "Bounds on normal approximations to Student's and the chi-square distributions", Annals of
    Mathematical Statistics 30.
    """
    return math.sqrt(freedom * math.log1p(z * z / freedom))


@compiled
def gamma_digits(ratio: float, freedom: float, known: float) -> float:
    """-log10 P(Y >= ratio * freedom) of a chi-squared Y with so many degrees of freedom, which need not be whole.

    Its scale is estimated from ``known`` values, so the tail is that of Student's distribution.
    """
    if ratio <= 1.0:
        return 0.0
    ninth = 2.0 / (9.0 * freedom)
    cube_root = math.exp(math.log(ratio) / 3.0)
    if ninth == 0.0:
        return 0.0
    root = math.exp(0.5 * math.log(ninth))
    z = (cube_root - 1.0 + ninth) / root
    return normal_digits(studentised(z, known)) if z > 0.0 else 0.0


@compiled
def some_digits(mean: float) -> float:
    """-log10 P(N > 0) of a Poisson N: what is seen at all although so little was expected."""
    if mean <= 0.0:
        return DIGITS_MAX
    seen = mean if mean < 1e-8 else 1.0 - math.exp(-mean)  # noqa: PLR2004 - there the exponential has no digit left
    return -math.log(seen) / _LN_10
