"""Each template's share of the service's lines, and how far the whole mix is from the usual one.

A load that swings moves all templates alike, so shares tell a fault from a busy hour. The mix is judged by a G-test
against the decayed shares, templates with less than one expected line together. Real mixes scatter more than a
multinomial, and lines come in clumps: each cell counts by the deviance of the negative binomial that its own share has
shown. What is left is taken out by how G usually is: over its degrees of freedom and 1 + slope * n, as n lines have
shown it to grow, it has the gamma distribution with the mean and variance of the last windows.

Sources: Sokal and Rohlf, "Biometry" (G-test); Satterthwaite (1946), Biometrics Bulletin 2 (degrees of freedom by two
moments); Wilson and Hilferty (1931), PNAS 17.
"""

import math
from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.signals.counts import PRIOR_EVENTS, clump_of, digits, slow_mean, spread_of
from detector.signals.rates import RATE_GAIN
from detector.signals.tails import gamma_digits

CELL_MIN: Final = 1.0
"""Lines expected of a template that is a cell of its own."""
CELL_SPREAD_MIN: Final = 0.02
REST_MIN: Final = 0.5
REST_SPREAD: Final = 6.0
"""What comes rarely comes in clumps."""
MIX_LINES_MIN: Final = 10
MIX_GAIN: Final = 0.01
MIX_KNOWN: Final = 40.0
"""Windows that G is known from, as Student counts them: it is learnt from twice as many that resemble one another."""
MIX_PRIOR_WINDOWS: Final = 10.0
MIX_PRIOR_SPREAD: Final = 2.0
"""Before much is known, G scatters twice as much as it would for a multinomial."""
MEAN_MIN: Final = 1e-6


@compiled
def share_expected(row: np.void, lines: float, recent_lines: float, all_slow: float) -> tuple[float, float]:
    """Mean and variance of a template's lines among so many of its service."""
    slow = slow_mean(row)
    events = float(row["decayed"])
    share = (events + PRIOR_EVENTS) / (recent_lines + PRIOR_EVENTS * max(all_slow / slow, 1.0))
    mean = max(min(share, 1.0) * lines, MEAN_MIN)
    excess = max(float(row["share_excess"]), 0.0)
    square = excess / float(row["share_square"]) if float(row["share_square"]) > 0.0 else 0.0
    return mean, spread_of(mean, events, square, clump_of(row, slow), float(row["active"])) + mean * mean / (
        events + 1.0
    )


@compiled
def share_digits(x: float, lines: float, mean: float, variance: float) -> tuple[float, float]:
    """-log10 P of a share as large, and as small.

    Where it is more than half of the lines the rest is judged, too: whichever has the longer tail counts.
    """
    up, down = digits(x, mean, variance)
    if 2.0 * mean <= lines:
        return up, down
    rest_up, rest_down = digits(lines - x, max(lines - mean, MEAN_MIN), variance)
    return min(up, rest_down), min(down, rest_up)


@compiled
def cell_spread(row: np.void, mean: float) -> float:
    """Variance of a cell in means: what its share has shown, and what is not known about it."""
    square = max(float(row["share_excess"]), 0.0) / float(row["share_square"]) if row["share_square"] > 0.0 else 0.0
    return 1.0 + CELL_SPREAD_MIN + mean * (square + 1.0 / (float(row["decayed"]) + 1.0))


@compiled
def learn_share(row: np.void, x: float, mean: float, limit: float) -> None:
    """Take in how far off a share was; squares count up to ``limit``."""
    step = max(RATE_GAIN, 1.0 / (float(row["windows"]) + 1.0))
    off = x - mean
    row["share_excess"] += step * (min(off * off, limit) - mean - float(row["share_excess"]))
    row["share_square"] += step * (mean * mean - float(row["share_square"]))


@compiled
def g_term(x: float, mean: float, spread: float) -> float:
    """What a cell adds to G: the deviance, 0 at least, of a negative binomial with variance ``spread * mean``."""
    r = mean / (spread - 1.0)
    own = x * math.log(x / mean) if x > 0.0 else 0.0
    return max(2.0 * (own - (x + r) * math.log((x + r) / (mean + r))), 0.0)


@compiled
def mix_digits(service: np.void, g: float, freedom: float, lines: float) -> float:
    """-log10 P of so large a G in a window with so many lines."""
    usual = max(float(service["mix_mean"]), 0.2)
    ratio = g / (freedom * (1.0 + max(float(service["mix_slope"]), 0.0) * lines)) / usual
    windows = float(service["mix_weight"]) / MIX_GAIN
    variance = max(float(service["mix_square"]) / (usual * usual) - 1.0, 0.0)
    prior = MIX_PRIOR_SPREAD * 2.0 / freedom
    variance = (windows * variance + MIX_PRIOR_WINDOWS * prior) / (windows + MIX_PRIOR_WINDOWS)
    return gamma_digits(ratio, min(2.0 / max(variance, 2.0 / freedom), freedom), MIX_KNOWN)


@compiled
def learn_mix(service: np.void, g: float, freedom: float, lines: float, weight: float) -> None:
    """Take in how large G was."""
    gain = MIX_GAIN * weight
    remembered = (1.0 - gain) * float(service["mix_weight"]) + gain
    service["mix_weight"] = remembered
    step = gain / remembered
    own = g / freedom
    ratio = own / (1.0 + max(float(service["mix_slope"]), 0.0) * lines)
    service["mix_slope"] += step * ((own - 1.0) / lines - float(service["mix_slope"]))
    service["mix_mean"] += step * (ratio - float(service["mix_mean"]))
    service["mix_square"] += step * (ratio * ratio - float(service["mix_square"]))
    service["mix_windows"] += 1
