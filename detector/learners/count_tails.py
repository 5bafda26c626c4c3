"""Tails of the negative binomial distribution with mean m and variance m + phi m^2, in digits: D = -log10 p.

D(x) is that of P(X >= x) from the mean on and of P(X <= x) below it, linear between whole counts. Exact sums for small
means; for others Anscombe's transformation, under which X is nearly normal. Beyond 300 digits D grows with the
logarithm, so that nothing ties. Only ``exp`` and ``log`` are used: other functions differ in bits between compilers.
"""

import math
from typing import Final

from detector.compiled import compiled

EDGE_DIGITS: Final = 3.5
"""Deviation 1.0 is a tail probability of 10^-3.5, one sample in 3,200 on either side at most."""
EXACT_MAX: Final = 20.0
EXACT_SPREAD_MAX: Final = 3.0
"""Exact sums up to this variance, in means: they stay short."""
STEPS_MAX: Final = 1_000
"""Terms of an exact sum; a count beyond them is improbable enough not to be summed."""
TERM_MIN: Final = 1e-280
TERM_SHARE: Final = 1e-17
"""A term that adds no more than this part ends a sum."""
WHOLE_MIN: Final = 2.0**53
"""From here on every float64 is whole."""
ROUNDING: Final = 1e-15
"""Of 1 minus a sum."""
DIGITS_MAX: Final = 300.0
_LN_10: Final = math.log(10.0)
_HALF_PI_ROOT: Final = math.sqrt(math.pi / 2.0)


@compiled
def normal_digits(z: float) -> float:
    """-log10 P(abs(Z) >= z) of a standard normal Z, by Mills' ratio; within 0.13 for any z, closer for larger ones."""
    return (0.5 * z * z + math.log1p(z * _HALF_PI_ROOT)) / _LN_10


def _edge_z() -> float:
    """The z of ``EDGE_DIGITS``, by bisection."""
    low, high = 0.0, 40.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if normal_digits(middle) < EDGE_DIGITS else (low, middle)
    return low


EDGE_Z: Final = _edge_z()


@compiled
def bounded(digits: float) -> float:
    """Strictly monotone, the same up to ``DIGITS_MAX`` and logarithmic beyond."""
    return digits if digits <= DIGITS_MAX else DIGITS_MAX + math.log1p(digits - DIGITS_MAX)


@compiled
def _stabilised(x: float, phi: float) -> float:
    """Anscombe's transformation: of variance 1, nearly, for a negative binomial x."""
    y = math.sqrt(phi * (max(x, 0.0) + 0.375))
    return 2.0 * math.log(y + math.sqrt(y * y + 1.0)) / math.sqrt(phi)


@compiled
def _unstabilised(t: float, phi: float) -> float:
    """The x whose transform is t, 0 at least."""
    grown_by = math.exp(0.5 * t * math.sqrt(phi))
    y = 0.5 * (grown_by - 1.0 / grown_by)
    return max(y * y / phi - 0.375, 0.0)


@compiled
def approximate(x: float, mean: float, phi: float) -> tuple[float, float, float]:
    """Digits of x, lower and upper edge of a large mean."""
    middle = _stabilised(mean, phi)
    lower = min(_unstabilised(max(middle - EDGE_Z, 0.0), phi), mean)
    upper = max(_unstabilised(middle + EDGE_Z, phi), mean)
    return bounded(normal_digits(abs(_stabilised(x, phi) - middle))), lower, upper


@compiled
def _upper_digits(count: float, r: float, q: float, none: float) -> float:
    """-log10 P(X >= count) of a whole count, given P(X = 0): the terms follow from one another, the largest first."""
    term = none
    k = 0.0
    while k < count and k < STEPS_MAX and term > TERM_MIN:
        term *= (k + r) / (k + 1.0) * q
        k += 1.0
    total = term
    at = k
    while term > total * TERM_SHARE and at < k + STEPS_MAX:
        term *= (at + r) / (at + 1.0) * q
        at += 1.0
        total += term
    return -math.log(max(total, TERM_MIN)) / _LN_10 + math.log1p((count - k) / (k + 1.0))


@compiled
def _lower_digits(count: float, r: float, q: float, none: float) -> float:
    """-log10 P(X <= count) of a whole count, given P(X = 0)."""
    term = none
    total = term
    k = 0.0
    while k < count:
        term *= (k + r) / (k + 1.0) * q
        total += term
        k += 1.0
    return -math.log(min(total, 1.0)) / _LN_10


@compiled
def _edges(r: float, q: float, none: float) -> tuple[float, float]:
    """Where the digits, linear between whole counts, reach ``EDGE_DIGITS``: lower, 0 at least, and upper."""
    below = 0.0  # P(X < k)
    term = none
    k = 0.0
    lower = 0.0
    digits_below = math.inf  # of P(X <= k - 1)
    digits_above = 0.0  # of P(X >= k)
    while k < STEPS_MAX:
        below += term
        digits = -math.log(min(below, 1.0)) / _LN_10
        if digits <= EDGE_DIGITS < digits_below and k > 0.0:
            lower = k - 1.0 + (digits_below - EDGE_DIGITS) / (digits_below - digits)
        digits_below = digits
        above = -math.log(max(1.0 - below, ROUNDING)) / _LN_10
        if above > EDGE_DIGITS:
            return lower, k + (EDGE_DIGITS - digits_above) / (above - digits_above)
        digits_above = above
        term *= (k + r) / (k + 1.0) * q
        k += 1.0
    return lower, k


@compiled
def exact(x: float, mean: float, phi: float) -> tuple[float, float, float]:
    """Digits of x, lower and upper edge of a small mean."""
    r = 1.0 / phi
    q = mean * phi / (1.0 + mean * phi)
    none = math.exp(-r * math.log1p(mean * phi))  # P(X = 0)
    lower, upper = _edges(r, q, none)
    whole = max(x, 0.0)
    if whole < WHOLE_MIN:
        whole = float(math.floor(whole))
    share = max(x, 0.0) - whole
    if x < mean:
        left = _lower_digits(whole, r, q, none)
        right = _lower_digits(whole + 1.0, r, q, none) if share > 0.0 else left
    else:
        left = _upper_digits(whole, r, q, none)
        right = _upper_digits(whole + 1.0, r, q, none) if share > 0.0 else left
    return bounded(left + (right - left) * share), min(lower, mean), max(upper, mean)


@compiled
def tails(x: float, mean: float, phi: float) -> tuple[float, float, float]:
    """Digits of x, and the lower (0 at least) and upper edge, at which D is ``EDGE_DIGITS``; x, m, phi finite."""
    if mean <= EXACT_MAX and 1.0 + phi * mean <= EXACT_SPREAD_MAX:
        return exact(x, mean, phi)
    return approximate(x, mean, phi)
