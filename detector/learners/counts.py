"""The count learner: how unlikely a count is, by the tails of a negative binomial distribution.

For series of few events per interval (0.2 to 5), for which a band of Gaussian widths is wrong on both sides of the
mean. One plain function, :func:`step`, is the whole algorithm; the batch kernel and the river estimator both call it.
With x the count, n samples remembered at most (an EW mean of half-life h remembers 2 h / ln 2) and k samples seen:

1. m = level + w * (hour mean - level), with an EW mean for each hour of the day, and w = e / (e + PRIOR_EVENTS) for the
   e events on which that hour rests. Half an event more than were seen is added (Jeffreys' prior).
2. phi = the EW mean of (x - m)^2 - m, over that of m^2, and at least PHI_MIN + PHI_SHARE / m; and 1 / e more for the e
   events on which m rests: the predictive distribution of a mean known from so many is wider by that much.
3. X is negative binomial with mean m and variance m + phi m^2. With D(x) = -log10 P(X >= x) above m and
   -log10 P(X <= x) below, linear between whole counts, deviation = D / EDGE_DIGITS. The sums are exact up to
   a mean of EXACT_MAX; beyond it Anscombe's transformation makes X nearly normal. A negative value is always outside.
4. Whatever lies outside is learnt no further out than the edge and with a tenth of its weight; from the sixth one of a
   run on not at all, for up to a day. A series younger than a day has no such guard beyond 30 samples.
5. novelty: five features of the count's root with running bounds, which :mod:`detector.learners.count_novelty` keeps.

Beyond 300 digits D grows with the logarithm, so that nothing ties. State is float64, that of the novelty float32.

Sources: Farrington et al. (1996), "A statistical algorithm for the early detection of outbreaks", Journal of the Royal
Statistical Society A 159, for thresholds of overdispersed counts; Anscombe (1948), "The transformation of Poisson,
binomial and negative-binomial data", Biometrika 35; constants: docs/decisions/0012-count-learner.md.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray, IntArray, ScoreColumns
from detector.compiled import compiled
from detector.learners.count_novelty import FIELDS, expect, novelty
from detector.learners.count_tails import EDGE_DIGITS, tails
from detector.learners.record_learner import RecordLearner


def _gain(half_life: float) -> float:
    """The gain of an exponentially weighted mean whose weights halve every ``half_life`` samples."""
    return float(1.0 - 0.5 ** (1.0 / half_life))


WARM_UP_SAMPLES: Final = 30
PRIOR_EVENTS: Final = 30.0
"""An hour's own mean and the level weigh the same when that hour has seen so many events."""
PHI_MIN: Final = 0.001
PHI_SHARE: Final = 0.02
PHI_MAX: Final = 10.0
MEAN_MIN: Final = 1e-3
VALUE_MAX: Final = 1e100
"""Values are taken no larger than this, so that squares stay finite."""
OUTSIDE_MIN: Final = 1.0 + 1e-9
"""Least deviation of a value that is outside by less than rounding shows."""
GUARD_SAMPLES: Final = 5
YOUNG_GUARD_SAMPLES: Final = 30
CALM_SAMPLES: Final = 10
GUARD_MS: Final = 86_400_000
GUARDED_WEIGHT: Final = 0.1

_LEVEL: Final = _gain(500)
_HOUR: Final = _gain(300)  # samples in one hour of the day
_NOISE: Final = _gain(1000)
_LEVEL_SAMPLES: Final = 2.0 / _LEVEL
_HOUR_SAMPLES: Final = 2.0 / _HOUR
_HOURS: Final = 24
_COUNT_MAX: Final = 65_535
_HOUR_MS: Final = 3_600_000

STATE: Final = np.dtype(
    [
        ("samples", np.int64),
        ("level", np.float64),
        ("excess", np.float64),  # EW mean of (x - m)^2 - m
        ("square", np.float64),  # EW mean of m^2
        ("first_ms", np.int64),
        ("outside_ms", np.int64),  # when the run of samples outside began
        ("outside", np.uint32),  # how many there are in it; 0: there is none
        ("calm", np.uint32),  # samples inside since the last of them
        ("hour_mean", np.float64, (_HOURS,)),
        ("hour_samples", np.uint16, (_HOURS,)),
        *FIELDS,
    ],
)
"""One series: 380 bytes. All zeros is a new series."""
_LATER: Final = dict.fromkeys((field[0] for field in FIELDS), 0.0)
"""Snapshots of version 1 know nothing of novelty: to their series everything is new once more."""

Step = tuple[float, float, float, float, float, float]
"""score, deviation, novelty, expected, lower, upper."""


@compiled
def _is_guarded(record: np.void, time_ms: int, outside: bool) -> bool:  # noqa: FBT001 - a kernel's flag
    """Note whether a sample lies outside, and tell whether it is not to be learnt at all."""
    run = int(record["outside"])
    if not outside:
        if run > 0:
            calm = int(record["calm"]) + 1
            record["calm"] = calm
            if calm >= CALM_SAMPLES:
                record["outside"] = 0
        return False
    if run == 0:
        record["outside_ms"] = time_ms
    record["calm"] = 0
    run = min(run + 1, YOUNG_GUARD_SAMPLES + 1)
    record["outside"] = run
    if time_ms - int(record["first_ms"]) < GUARD_MS:
        return False
    return run > GUARD_SAMPLES and time_ms - int(record["outside_ms"]) < GUARD_MS


@compiled
def _weight(record: np.void, time_ms: int, outside: bool) -> float:  # noqa: FBT001 - a kernel's flag
    """With which part of its gain a sample is learnt."""
    if _is_guarded(record, time_ms, outside):
        return 0.0
    run = int(record["outside"])
    if not outside or run > YOUNG_GUARD_SAMPLES:
        return 1.0
    return GUARDED_WEIGHT


@compiled
def predicted(record: np.void, hour: int) -> tuple[float, float]:
    """Mean and phi of the next sample in this hour of the day, were it normal."""
    seen = float(record["samples"])
    level = float(record["level"])
    samples = float(record["hour_samples"][hour])
    events = min(samples, _HOUR_SAMPLES) * level
    own = events / (events + PRIOR_EVENTS)
    known = max(min(seen, _LEVEL_SAMPLES), 1.0)
    mean = level + own * (float(record["hour_mean"][hour]) - level) + 0.5 / known
    mean = max(mean, MEAN_MIN)
    square = float(record["square"])
    phi = float(record["excess"]) / square if square > 0.0 else 0.0
    phi = max(phi, PHI_MIN + PHI_SHARE / mean)
    # An hour's mean rests on fewer events than the level's: what each contributes is as uncertain as its own events.
    rested = 1.0 / (known * level + 0.5)
    if own > 0.0:
        rested = (1.0 - own) * rested + own * own / events
    return mean, min(phi + rested, PHI_MAX)


@compiled
def _learn(record: np.void, hour: int, value: float, mean: float, weight: float) -> None:
    """Move the means and the variance towards ``value``, which the caller has clipped to the band."""
    seen = int(record["samples"])
    level = float(record["level"])
    record["level"] = level + (value - level) * weight * max(_LEVEL, 1.0 / (seen + 1))
    count = min(int(record["hour_samples"][hour]) + 1, _COUNT_MAX)
    own = float(record["hour_mean"][hour])
    record["hour_samples"][hour] = count
    record["hour_mean"][hour] = own + (value - own) * (1.0 if count == 1 else weight * max(_HOUR, 1.0 / count))
    gain = weight * max(_NOISE, 1.0 / (seen + 1))
    excess = float(record["excess"])
    square = float(record["square"])
    distance = value - mean
    record["excess"] = excess + (distance * distance - mean - excess) * gain
    record["square"] = square + (mean * mean - square) * gain


@compiled
def step(record: np.void, time_ms: int, value: float) -> Step:
    """Score one sample against ``record``, then learn it; ``record`` (one :data:`STATE`) is changed in place.

    ``time_ms`` is epoch milliseconds, ``value`` is finite. Returns (score, deviation, novelty, expected, lower,
    upper), all NaN for the first ``WARM_UP_SAMPLES``.
    """
    value = min(max(float(value), -VALUE_MAX), VALUE_MAX)
    time_ms = int(time_ms)
    hour = (time_ms // _HOUR_MS) % _HOURS
    seen = int(record["samples"])
    if seen == 0:
        record["first_ms"] = time_ms
    mean, phi = predicted(record, hour)
    if seen < WARM_UP_SAMPLES:
        _learn(record, hour, max(value, 0.0), mean, 1.0)
        novelty(record, value, math.nan, WARM_UP_SAMPLES)
        record["samples"] = seen + 1
        return math.nan, math.nan, math.nan, math.nan, math.nan, math.nan
    digits, lower, upper = tails(value, mean, phi)
    deviation = digits / EDGE_DIGITS
    if value < 0.0:
        deviation = max(deviation, 1.0) + math.log1p(-value)
    outside = value < lower or value > upper
    deviation = max(deviation, OUTSIDE_MIN) if outside else min(deviation, 1.0)
    weight = _weight(record, time_ms, outside)
    if weight > 0.0:
        _learn(record, hour, min(max(value, lower), upper), mean, weight)
    record["samples"] = seen + 1
    score = 100.0 * deviation / (1.0 + deviation)
    return score, deviation, novelty(record, value, deviation, WARM_UP_SAMPLES), mean, lower, upper


@compiled
def rebaseline(record: np.void, time_ms: int, level: float) -> None:
    """Expect ``level`` at ``time_ms``, 0 at least: all means move by the same factor, or begin with it."""
    level = min(max(float(level), 0.0), VALUE_MAX)
    mean, _ = predicted(record, (int(time_ms) // _HOUR_MS) % _HOURS)
    if float(record["level"]) * min(float(record["samples"]), _LEVEL_SAMPLES) < PRIOR_EVENTS:
        record["level"] = level
        for hour in range(_HOURS):
            record["hour_mean"][hour] = level
    else:
        factor = level / mean
        record["level"] = float(record["level"]) * factor
        for hour in range(_HOURS):
            record["hour_mean"][hour] = float(record["hour_mean"][hour]) * factor
    record["outside"] = 0
    expect(record, level)


@compiled
def _rebaseline_rows(state: NDArray[np.void], rows: IntArray, times_ms: IntArray, levels: FloatArray) -> None:
    """Each touches its own row of ``state`` only."""
    for i in range(len(rows)):
        rebaseline(state[rows[i]], times_ms[i], levels[i])


@compiled
def _score_rows(
    state: NDArray[np.void],
    rows: IntArray,
    times_ms: IntArray,
    values: FloatArray,
    score: FloatArray,
    deviation: FloatArray,
    novelty: FloatArray,
    expected: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
) -> None:
    """Take the samples in order; each touches its own row of ``state`` only."""
    for i in range(len(rows)):
        result = step(state[rows[i]], times_ms[i], values[i])
        score[i] = result[0]
        deviation[i] = result[1]
        novelty[i] = result[2]
        expected[i] = result[3]
        lower[i] = result[4]
        upper[i] = result[5]


class CountLearner(RecordLearner):
    """Compiled, for low counts: the tails of a negative binomial with a mean per hour of the day."""

    name = "counts"
    version = 2
    warm_up_samples = WARM_UP_SAMPLES

    def __init__(self) -> None:
        super().__init__(STATE, _LATER)

    def score(self, slots: IntArray, times_ms: IntArray, values: FloatArray, out: ScoreColumns) -> int:
        """Score, then learn, in row order. Never meets an exception, so the answer is always 0."""
        assert len(slots) == len(times_ms) == len(values) == len(out)
        assert len(slots) == 0 or 0 <= int(slots.min()) <= int(slots.max()) < len(self._state)
        _score_rows(self._state, slots, times_ms, values, *out.columns())
        return 0

    def rebaseline(self, slots: IntArray, times_ms: IntArray, levels: FloatArray) -> None:
        """Move all means; the shape of the day stays."""
        assert len(slots) == len(times_ms) == len(levels)
        _rebaseline_rows(self._state, slots, times_ms, levels)
