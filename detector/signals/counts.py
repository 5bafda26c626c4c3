"""How many lines of a template a window should have, and how far off it is.

The expected m is the mean of the last 50 windows together with half an event spread by the mean of three days, so that
what comes once a day is expected a little at any time. The variance is the largest of what the last windows and the
last days show, scaled to m by its square where m rests on many lines, and linearly (lines come in clumps of a usual
size) where it rests on few; and .02 m + .001 m^2 more. A young template is taken to come in clumps. x has the negative
binomial's exact tail, looked at only beyond two standard deviations.

Sources: docs/decisions/0018-log-signals.md for the constants; Farrington et al. (1996), Journal of the Royal
Statistical Society A 159, for thresholds of overdispersed counts.
"""

import math
from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.signals.tails import lower_digits, upper_digits

GAIN: Final = 0.02
SLOW_GAIN: Final = 1.0 / 4_320
PRIOR_EVENTS: Final = 0.5
"""Worth of the slow mean."""
CLUMP_PRIOR: Final = 5.0
CLUMP_WINDOWS: Final = 5.0
"""Lines of something seen in few windows come three at a time: so much more than a mean is the variance, and after so
many windows with lines half as much."""
EVENTS_HALF: Final = 200.0
"""With so many events remembered a variance is halfway between linear and square."""
LEAST_LINEAR: Final = 0.02
LEAST_SQUARE: Final = 0.001
PREFILTER_SDS: Final = 2.0
PREFILTER_LINES: Final = 0.5
SEASONAL_GAIN: Final = 0.9
"""The seasonal mean is believed once its errors are smaller by this much."""
CLUMPS_KNOWN: Final = 200.0
"""Windows after which half of what they showed about clumps is believed: an incident is not to be one of a young
series."""
CLUMPS_CLIPPED: Final = 400.0
"""Variances: no clump counts for more."""
CLIPPED_SQUARES: Final = 16.0
"""Variances: while learning is slowed, a deviation counts as no larger."""
MEAN_MIN: Final = 1e-6


@compiled
def clumped(active: float) -> float:
    """Variance in means, beyond 1, of something seen in so many windows."""
    return CLUMP_PRIOR * CLUMP_WINDOWS / (CLUMP_WINDOWS + active)


@compiled
def spread_of(mean: float, events: float, square: float, linear: float, active: float) -> float:
    """The variance around ``mean``, which rests on so many ``events``.

    What was seen beyond that of a Poisson count: ``square`` in squared means, ``linear`` in means.
    """
    by_square = events / (events + EVENTS_HALF)
    over = by_square * square * mean * mean + (1.0 - by_square) * linear * mean
    return mean * (1.0 + LEAST_LINEAR + clumped(active)) + over + LEAST_SQUARE * mean * mean


@compiled
def slow_mean(row: np.void) -> float:
    """Lines per window over days, half an event at least."""
    return max(float(row["slow_mean"]), PRIOR_EVENTS * SLOW_GAIN / max(float(row["slow_windows"]), SLOW_GAIN))


@compiled
def clump_of(row: np.void, slow: float) -> float:
    """Variance in means, beyond 1, over days; believed as far as the history is long."""
    known = float(row["slow_windows"]) / (float(row["slow_windows"]) + CLUMPS_KNOWN * SLOW_GAIN)
    return known * max(float(row["clumps"]), 0.0) / slow


@compiled
def is_seasonal(row: np.void) -> bool:
    """Whether the service's seasons have foretold this series better than its own last windows."""
    return float(row["seasonal_error"]) < SEASONAL_GAIN * float(row["error"])


@compiled
def expected(row: np.void, season: float, season_mean: float) -> tuple[float, float]:
    """Mean and variance of the lines in a window whose seasonal factor is ``season``."""
    seasonal = is_seasonal(row)
    fast = float(row["seasonal_mean"]) * season if seasonal else float(row["mean"])
    usual = float(row["seasonal_mean"]) * season_mean if seasonal else float(row["mean"])
    windows = float(row["weight"]) / GAIN
    slow = slow_mean(row)
    mean = max((windows * fast + PRIOR_EVENTS) / (windows + PRIOR_EVENTS / slow), MEAN_MIN)
    excess = (float(row["seasonal_variance"]) if seasonal else float(row["variance"])) - usual
    square = excess / (usual * usual) if usual > MEAN_MIN and excess > 0.0 else 0.0
    if float(row["square"]) > 0.0:
        square = max(square, float(row["excess"]) / float(row["square"]))
    return mean, spread_of(mean, windows * fast, square, clump_of(row, slow), float(row["active"]))


@compiled
def digits(x: float, mean: float, variance: float) -> tuple[float, float]:
    """-log10 P(X >= x) and P(X <= x), 0 for what is within two standard deviations or so."""
    off = abs(x - mean) - PREFILTER_LINES
    if off <= 0.0 or off * off <= PREFILTER_SDS * PREFILTER_SDS * variance:
        return 0.0, 0.0
    if x > mean:
        return upper_digits(x, mean, variance), 0.0
    return 0.0, lower_digits(x, mean, variance)


@compiled
def learn(row: np.void, x: float, mean: float, variance: float, season: float, speed: float, weight: float) -> None:
    """Take in a window with x lines of which ``mean`` and ``variance`` were expected.

    ``weight`` is below 1 while learning is slowed; ``speed`` is above 1 where what comes is the new normal.
    """
    limit = math.inf if weight == 1.0 else CLIPPED_SQUARES * variance
    gain = min(GAIN * weight * speed, 1.0)
    remembered = (1.0 - gain) * float(row["weight"]) + gain
    row["weight"] = remembered
    step = gain / remembered
    off = x - float(row["mean"])
    row["mean"] += step * off
    row["variance"] = (1.0 - step) * (float(row["variance"]) + step * min(off * off, limit))
    season_off = x - float(row["seasonal_mean"]) * season
    row["seasonal_mean"] += step * season_off / season
    row["seasonal_variance"] = (1.0 - step) * (
        float(row["seasonal_variance"]) + step * min(season_off * season_off, limit)
    )
    slow_gain = SLOW_GAIN * weight
    slow_remembered = (1.0 - slow_gain) * float(row["slow_weight"]) + slow_gain
    row["slow_weight"] = slow_remembered
    slow_step = slow_gain / slow_remembered
    deviation = (x - mean) * (x - mean)
    row["excess"] += slow_step * (min(deviation, limit) - mean - float(row["excess"]))
    row["square"] += slow_step * (mean * mean - float(row["square"]))
    present = 1.0 if x > 0.0 else 0.0
    slow_remembered = (1.0 - SLOW_GAIN) * float(row["slow_windows"]) + SLOW_GAIN
    row["slow_windows"] = slow_remembered
    slow_step = SLOW_GAIN / slow_remembered
    limit = CLUMPS_CLIPPED * variance
    row["error"] += slow_step * (min(off * off, limit) / (mean + 1.0) - float(row["error"]))
    row["seasonal_error"] += slow_step * (
        min(season_off * season_off, limit) / (mean + 1.0) - float(row["seasonal_error"])
    )
    row["slow_mean"] += slow_step * (x - float(row["slow_mean"]))
    row["clumps"] += slow_step * (min(deviation, limit) - mean - float(row["clumps"]))
    row["presence"] += slow_step * (present - float(row["presence"]))
    row["active"] += present
    row["windows"] += 1
