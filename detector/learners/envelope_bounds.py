"""The bounds of the envelope learner: between what seven features of a series have run, and how far they are left.

A bound is pushed out at once and comes back towards the middle slowly, by half in 20,000 samples. Novelty counts in
logarithms of the bounds' width, so that it has no unit and a series needs none.
"""

import math
from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.learners.envelope_state import FEATURES, WARM_UP_SAMPLES, loaded, stored

_SMOOTH: Final = 1.0 - 0.5 ** (1.0 / 5.0)
_RECENT: Final = 1.0 - 0.5 ** (1.0 / 30.0)
_BOUND: Final = 1.0 - 0.5 ** (1.0 / 20_000.0)
_MIDPOINT: Final = 0.01
_UNIT: Final = 0.03
_ABSOLUTE: Final = 1e-12
_RELATIVE: Final = 1e-9  # a width below a billionth of the bounds themselves is rounding
_QUOTIENT_MAX: Final = 20.0
_LOG_QUOTIENT_MAX: Final = math.log(1.0 + _QUOTIENT_MAX)
_SEVERITY_SHARE: Final = 0.25
_RECENT_FEATURE: Final = 6
_RECORD_KEPT: Final = 0.5 ** (1.0 / 60.0)
_RECORD_FIRST: Final = 32.0  # of a new series everything is new: only what stands out from that counts at first

Features = tuple[float, float, float, float, float, float, float]
"""Value, residuals of the middle and seasonal level and of the week, trend of the second, trend, recent severity."""


@compiled
def features(
    record: np.void, x: float, r100: float, rs: float, rw: float, quotient: float, gain_min: float
) -> Features:
    """The features of a sample as they will be read back; ``quotient`` is its largest residual in usual sizes.

    The levels have learnt the sample; ``r100``, ``rs`` and ``rw`` are residuals from before.
    """
    smooth = loaded(record["smooth"])
    smooth += (rs - smooth) * max(_SMOOTH, gain_min)
    record["smooth"] = smooth
    recent = loaded(record["recent"])
    recent += (log_severity(quotient) - recent) * _RECENT
    record["recent"] = recent
    trend = loaded(record["fast"]) - loaded(record["slow"])
    return stored(x), stored(r100), stored(rs), stored(rw), stored(smooth), stored(trend), stored(recent)


@compiled
def log_severity(quotient: float) -> float:
    """The logarithm of 1 + ``quotient``, which counts up to 20."""
    return _LOG_QUOTIENT_MAX if quotient >= _QUOTIENT_MAX else math.log1p(quotient)


@compiled
def _beyond(record: np.void, values: Features) -> float:
    """The sum of how far the features leave their bounds, in logarithms of their width."""
    novelty = 0.0
    for j in range(FEATURES):
        low = loaded(record["low"][j])
        high = loaded(record["high"][j])
        beyond = max(values[j] - high, low - values[j])
        if beyond > 0.0:
            origin = float(record["base"]) if j == 0 else 0.0
            width = high - low + _ABSOLUTE + _RELATIVE * (abs(origin + high) + abs(origin + low))
            novelty += math.log1p(beyond / width / _UNIT)
    return novelty


@compiled
def leave_bounds(record: np.void, values: Features, seen: int, gain_min: float) -> float:
    """How far the features leave their bounds; the bounds then take them in. 0 while warming up."""
    if seen == 0:
        for j in range(FEATURES):
            record["low"][j] = values[j]
            record["high"][j] = values[j]
            record["mid"][j] = values[j]
        return 0.0
    if seen <= WARM_UP_SAMPLES:
        record["low"][_RECENT_FEATURE] = values[_RECENT_FEATURE]
        record["high"][_RECENT_FEATURE] = values[_RECENT_FEATURE]
        record["mid"][_RECENT_FEATURE] = values[_RECENT_FEATURE]
    outermost = 0.0
    for j in range(FEATURES):
        outermost = max(outermost, values[j] - loaded(record["high"][j]), loaded(record["low"][j]) - values[j])
    novelty = _beyond(record, values) if outermost > 0.0 and seen >= WARM_UP_SAMPLES else 0.0
    share = max(_MIDPOINT, gain_min)
    for j in range(FEATURES):
        low = loaded(record["low"][j])
        high = loaded(record["high"][j])
        mid = loaded(record["mid"][j])
        mid += (values[j] - mid) * share
        record["mid"][j] = mid
        record["high"][j] = max(high - (high - mid) * _BOUND, values[j])
        record["low"][j] = min(low + (mid - low) * _BOUND, values[j])
    return novelty


@compiled
def told_once(record: np.void, beyond: float, quotient: float, seen: int) -> float:
    """The novelty of a sample: its raw one where that exceeds the fading largest one before, else 0."""
    raw = beyond + _SEVERITY_SHARE * log_severity(quotient)
    fading = _RECORD_FIRST if seen == WARM_UP_SAMPLES else loaded(record["record"]) * _RECORD_KEPT
    record["record"] = max(raw, fading)
    return raw if raw > fading else 0.0
