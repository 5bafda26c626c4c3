"""What is new to a series of counts: five features, each with running bounds, as the envelope learner has seven.

With x the count, y = 2 sqrt(x + 3/8) has a variance near 1 whatever the mean is, so that bounds of a quiet series and
of a busy one are left by the same steps. The features are y, y less a slow level, that smoothed, a fast level less the
slow one, and recent deviations. How far the bounds are left, in logarithms of their width, is the raw novelty; it
counts where it exceeds the fading largest one before. Whole numbers lie apart: a width is at least half a usual step.

Source of the transformation: Anscombe (1948), "The transformation of Poisson, binomial and negative-binomial data",
Biometrika 35. Constants and what they cost: docs/decisions/0014-auto-per-series.md.
"""

import math
from typing import Final

import numpy as np

from detector.compiled import compiled

FEATURES: Final = 5
_RECENT_FEATURE: Final = 4

COUNT_MAX: Final = 1e30
"""Counts are taken no larger than this here: float32 then holds their roots and all differences of these."""
RECORD_FIRST: Final = 32.0
"""Of a new series everything is new: only what stands out from that counts at first."""
_SEEN_MAX: Final = 1_000_000
_UNIT: Final = 0.03
_WIDTH_MIN: Final = 0.5
_RECENT_WIDTH_MIN: Final = 0.05
_DEVIATION_MAX: Final = 20.0
_DEVIATION_SHARE: Final = 0.25
_RECORD_KEPT: Final = 0.5 ** (1.0 / 60.0)
_MIDPOINT: Final = 0.01


def _gain(half_life: float) -> float:
    """The gain of an exponentially weighted mean whose weights halve every ``half_life`` samples."""
    return float(1.0 - 0.5 ** (1.0 / half_life))


_FAST: Final = _gain(20)
_SLOW: Final = _gain(300)
_SMOOTH: Final = _gain(5)
_RECENT: Final = _gain(30)
_BOUND: Final = _gain(20_000)

FIELDS: Final = (
    ("known", np.int32),  # samples that the bounds have seen
    ("fast", np.float32),
    ("slow", np.float32),
    ("smooth", np.float32),
    ("recent", np.float32),
    ("record", np.float32),
    ("low", np.float32, (FEATURES,)),
    ("high", np.float32, (FEATURES,)),
    ("mid", np.float32, (FEATURES,)),
)
"""What is kept of a series, 84 bytes. All zeros is a new one."""


@compiled
def _root(value: float) -> float:
    """Twice the root of the count, with its variance made even."""
    return 2.0 * math.sqrt(min(max(value, 0.0), COUNT_MAX) + 0.375)


@compiled
def _follow(record: np.void, feature: int, y: float, known: int, calm: int) -> float:
    """How far ``y`` leaves the bounds of its feature, in logarithms of their width; the bounds then take it in.

    For the first ``calm`` samples nothing is told. The bounds of recent deviations begin with the last of these.
    """
    value = float(np.float64(np.float32(y)))
    if known == 0 or (feature == _RECENT_FEATURE and known <= calm):
        record["low"][feature] = value
        record["high"][feature] = value
        record["mid"][feature] = value
        return 0.0
    low = float(np.float64(record["low"][feature]))
    high = float(np.float64(record["high"][feature]))
    beyond = max(value - high, low - value)
    told = 0.0
    if beyond > 0.0 and known >= calm:
        least = _RECENT_WIDTH_MIN if feature == _RECENT_FEATURE else _WIDTH_MIN
        told = math.log1p(beyond / (high - low + least) / _UNIT)
    mid = float(np.float64(record["mid"][feature]))
    mid += (value - mid) * max(_MIDPOINT, 1.0 / (known + 1))
    record["mid"][feature] = mid
    record["high"][feature] = max(high - (high - mid) * _BOUND, value)
    record["low"][feature] = min(low + (mid - low) * _BOUND, value)
    return told


@compiled
def novelty(record: np.void, value: float, deviation: float, calm: int) -> float:
    """The novelty of ``value``, 0 or more; ``record`` (with :data:`FIELDS`) then knows it.

    ``deviation`` is NaN where the sample has none. For the first ``calm`` samples nothing is new.
    """
    known = int(record["known"])
    gain_min = 1.0 / (known + 1)
    y = _root(value)
    fast = float(np.float64(record["fast"]))
    slow = float(np.float64(record["slow"]))
    smooth = float(np.float64(record["smooth"]))
    recent = float(np.float64(record["recent"]))
    residual = y - slow
    fast += (y - fast) * max(_FAST, gain_min)
    slow += residual * max(_SLOW, gain_min)
    smooth += (residual - smooth) * max(_SMOOTH, gain_min)
    strength = 0.0 if math.isnan(deviation) else math.log1p(min(deviation, _DEVIATION_MAX))
    recent += (strength - recent) * _RECENT
    record["fast"] = fast
    record["slow"] = slow
    record["smooth"] = smooth
    record["recent"] = recent
    record["known"] = min(known + 1, _SEEN_MAX)
    raw = _follow(record, 0, y, known, calm)
    raw += _follow(record, 1, residual, known, calm)
    raw += _follow(record, 2, smooth, known, calm)
    raw += _follow(record, 3, fast - slow, known, calm)
    raw += _follow(record, _RECENT_FEATURE, recent, known, calm)
    raw += _DEVIATION_SHARE * strength
    fading = RECORD_FIRST if known <= calm else float(np.float64(record["record"])) * _RECORD_KEPT
    record["record"] = max(raw, fading)
    return raw if known >= calm and raw > fading else 0.0


@compiled
def expect(record: np.void, level: float) -> None:
    """Let ``level`` be nothing new: the levels lie there, and the bounds of the value hold it."""
    y = float(np.float64(np.float32(_root(level))))
    record["fast"] = y
    record["slow"] = y
    record["smooth"] = 0.0
    record["low"][0] = min(float(np.float64(record["low"][0])), y)
    record["high"][0] = max(float(np.float64(record["high"][0])), y)
