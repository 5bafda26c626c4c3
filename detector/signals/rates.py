"""Rates among lines: classes of severity, and new templates; what is expected follows the number of lines."""

import math
from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.signals.counts import CLIPPED_SQUARES, CLUMPS_CLIPPED, CLUMPS_KNOWN, GAIN, PRIOR_EVENTS, digits, spread_of

RATE_GAIN: Final = 0.005
"""Of the spread: 200 windows."""
CLUMPS_GAIN: Final = 0.001
MEAN_MIN: Final = 1e-6


@compiled
def faded(decayed: float, x: float, pace: float) -> float:
    """The decayed sum after a window with x; ``pace`` is in gains, and leaves the scale as it is."""
    return (1.0 - GAIN * pace) * decayed + pace * x


@compiled
def rate_spread(rate: np.void, mean: float) -> float:
    """The variance around a mean of events, by what the last windows have shown."""
    events = float(rate["decayed"])
    square = max(float(rate["excess"]), 0.0) / float(rate["square"]) if float(rate["square"]) > 0.0 else 0.0
    linear = max(float(rate["clumps"]), 0.0) / float(rate["mean"]) if float(rate["mean"]) > MEAN_MIN else 0.0
    linear *= float(rate["windows"]) / (float(rate["windows"]) + CLUMPS_KNOWN * CLUMPS_GAIN)
    unsure = mean * mean / (events + 1.0)
    return spread_of(mean, events, square, linear, float(rate["active"])) + unsure


@compiled
def usual_share(rate: np.void, recent_lines: float, all_lines: float) -> float:
    """Share of the lines that are such events: of the last windows, with half an event spread by that of all time."""
    slow = (float(rate["total"]) + PRIOR_EVENTS) / (all_lines + 1.0)
    return (float(rate["decayed"]) + PRIOR_EVENTS) / (recent_lines + PRIOR_EVENTS / slow)


@compiled
def rate_digits(rate: np.void, events: float, mean: float) -> float:
    """-log10 P of so many events or more, where ``mean`` were expected."""
    up, _ = digits(events, mean, rate_spread(rate, mean))
    return up


@compiled
def learn_rate(rate: np.void, events: float, mean: float, speed: float, weight: float) -> None:
    """Take in the events of a window; ``speed`` and ``weight`` as those of :func:`detector.signals.counts.learn`."""
    variance = rate_spread(rate, mean)
    limit = math.inf if weight == 1.0 else CLIPPED_SQUARES * variance
    rate["decayed"] = faded(float(rate["decayed"]), events, speed * weight)
    rate["total"] += events
    gain = RATE_GAIN * weight
    remembered = (1.0 - gain) * float(rate["weight"]) + gain
    rate["weight"] = remembered
    step = gain / remembered
    off = (events - mean) * (events - mean)
    rate["excess"] += step * (min(off, limit) - mean - float(rate["excess"]))
    rate["square"] += step * (mean * mean - float(rate["square"]))
    remembered = (1.0 - CLUMPS_GAIN) * float(rate["windows"]) + CLUMPS_GAIN
    rate["windows"] = remembered
    step = CLUMPS_GAIN / remembered
    rate["mean"] += step * (mean - float(rate["mean"]))
    rate["clumps"] += step * (min(off, CLUMPS_CLIPPED * variance) - mean - float(rate["clumps"]))
    rate["active"] += 1.0 if events > 0.0 else 0.0
