"""The compiled learner: how far a sample lies from a blend of two levels and a daily profile.

One plain function, :func:`step`, is the whole algorithm; the batch kernel and the river estimator both call it. With x
the sample, a(h) = 1 - 0.5^(1/h) the gain of half-life h and k the samples seen (a mean's gain is max(a(h), 1/k)):

1. seasonal = slow level + profile[hour of day], shrunk by n/(n+1); expected = the blend of it and the fast level, each
   weighted by the inverse square of its recent absolute error (Bates and Granger, 1969).
2. r = x - expected; deviation = abs(r) / (EDGE * (scale + PEAK_SHARE * max(peak, abs(r)) + floor)), with scale the
   root of the EW mean of r^2 and peak the slowly fading largest abs(r).
3. Every update takes x no further out than the edge of the band, so that a spike does not become the new normal.
4. From the sixth sample outside in a run of them on, levels and scale learn nothing for up to a day, and the profile
   little: an incident stays outside and its end is normal. Meanwhile the band widens by the way that the slow level
   usually goes in an hour. A run ends with ten samples inside, of which the levels take the mean where that way is
   long. A series younger than a day has no such guard, nor a run older than one: a shift of any size is then accepted
   within some 250 samples.

The share of the peak keeps that quotient below 1 / (EDGE * PEAK_SHARE) = 167, so that score = 100 d / (1 + d) has room
for differences; what lies beyond the edge grows with the logarithm as well (:func:`open_ended`), so that nothing ties.
State is float64 throughout: levels near 1e12 keep their digits and no unit has to be carried along.

Source: smoothed level and seasonal index after Holt (1957) and Winters (1960), updates clipped at the band after
Gelper, Fried and Croux (2010), "Robust forecasting with exponential and Holt-Winters smoothing", Journal of
Forecasting 29; constants were chosen on labelled operations data (docs/decisions/0006-residual-learner.md).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray, IntArray, ScoreColumns
from detector.compiled import compiled
from detector.learners.record_learner import RecordLearner


def _gain(half_life: float) -> float:
    """The gain of an exponentially weighted mean whose weights halve every ``half_life`` samples."""
    return float(1.0 - 0.5 ** (1.0 / half_life))


WARM_UP_SAMPLES: Final = 30
"""Samples without a score: the scale of Gaussian noise is then known within about 13 %, 1 / sqrt(2 * 30)."""
EDGE: Final = 6.0
"""Scales between the expectation and the edge of the band. In one sweep over 30 labelled series 4, 5, 6 and 7 gave 2.5,
0.8, 0.3 and 0.2 false points per 1,000 at an event recall of .98, .95, .93 and .87."""
PEAK_SHARE: Final = 1e-3
"""Part of the largest residual that counts as noise: bounds the deviation and widens the band of spiky series."""
RELATIVE_FLOOR: Final = 1e-13
"""Rounding noise of a level, relative to it: 450 times float64's epsilon, one part in ten of a unit at 1e12."""
ABSOLUTE_FLOOR: Final = 1e-305
"""Keeps the division defined for constant series; far below any residual that is not itself rounding noise."""
GUARD_SAMPLES: Final = 5
"""Samples outside that are learnt (clipped) before an incident is taken for one: spikes belong to a series' noise."""
CALM_SAMPLES: Final = 10
"""Samples inside after which an incident is over."""
GUARD_MS: Final = 86_400_000
"""A series that is younger than this may be anything, and an incident that is older is no incident."""
GUARDED_SHARE: Final = 0.25
"""Part of its gain with which the profile learns from an incident that is sampled once a minute or less often."""
GUARDED_INTERVAL_MS: Final = 60_000.0
DRIFT_SHARE: Final = 1.5
"""The steepest hour of a daily curve goes this much further than the mean one: pi / 2 for a sine."""
VALUE_MAX: Final = 1e300
"""Values are taken no larger than this, so that differences and bands stay finite in float64."""

_SLOW: Final = _gain(100)
_FAST: Final = _gain(20)
_SCALE: Final = _gain(1000)  # 200, 500, 2000 ranked labelled points at AP .24, .26, .27: short ones forget spikes
_PROFILE: Final = _gain(20)  # samples in one hour of the day
_DRIFT: Final = _gain(24)  # hours
_ERROR: Final = _gain(100)
_PEAK_KEPT: Final = 1.0 - _gain(2000)  # without fading, one corrupt value would blind a series for ever
_OPEN_SHARE: Final = 1e-3  # 1,000 times as far out adds 0.7 %; the widest range of float64 doubles the deviation
_HOURS: Final = 24
_COUNT_MAX: Final = 255
_HOUR_MS: Final = 3_600_000

STATE: Final = np.dtype(
    [
        ("samples", np.int64),
        ("slow", np.float64),
        ("fast", np.float64),
        ("scale", np.float64),
        ("peak", np.float64),
        ("slow_error", np.float64),
        ("fast_error", np.float64),
        ("profile", np.float64, (_HOURS,)),
        ("counts", np.uint8, (_HOURS,)),
        ("first_ms", np.int64),
        ("outside_ms", np.int64),  # when the run of samples outside began
        ("outside", np.uint32),  # how many there are in it, as far as counts; beyond GUARD_SAMPLES it is guarded
        ("calm", np.uint32),  # samples inside since the last of them
        ("hour", np.int64),  # since the epoch, of the last sample that was learnt
        ("hour_level", np.float64),  # slow level when that hour began
        ("drift", np.float64),  # how far it usually goes in an hour
    ],
)
"""One series: 320 bytes. All zeros is a new series."""

UNKNOWN_MS: Final = int(np.iinfo(np.int64).max)
LATER_FIELDS: Final = {
    "first_ms": 0,
    "outside_ms": 0,
    "outside": 0,
    "calm": 0,
    "hour": 0,
    "hour_level": 0.0,
    "drift": 0.0,
}
"""Fields that older snapshots lack: the age of such a series counts from its next sample."""

Step = tuple[float, float, float, float, float, float]
"""score, deviation, novelty, expected, lower, upper."""


@compiled
def _blend(slow: float, fast: float, slow_error: float, fast_error: float) -> float:
    """The mean of two forecasts, weighted by the inverse squares of their errors; ``slow`` while neither has erred."""
    largest = max(slow_error, fast_error)
    if largest == 0.0:
        return slow
    slow_part = slow_error / largest
    fast_part = fast_error / largest
    slow_part *= slow_part
    fast_part *= fast_part
    return (slow * fast_part + fast * slow_part) / (slow_part + fast_part)


@compiled
def _half_width(noise: float, peak: float) -> float:
    """The residual whose deviation is 1: the fixed point of w = EDGE * (noise + PEAK_SHARE * max(peak, w))."""
    width = EDGE * (noise + PEAK_SHARE * peak)
    if width > peak:
        width = EDGE * noise / (1.0 - EDGE * PEAK_SHARE)
    return width


@compiled
def open_ended(quotient: float, residual: float, edge: float) -> float:
    """The deviation of a ``residual`` whose bounded ``quotient`` may tie; ``edge`` is a residual near the edge.

    1.0 stays 1.0. A series without noise has the same quotient for every residual; the logarithm keeps their order. A
    difference of logarithms, because the ratio of the two may leave float64's range.
    """
    if quotient <= 1.0:
        return quotient
    return 1.0 + (quotient - 1.0) * (1.0 + _OPEN_SHARE * max(math.log(residual) - math.log(edge), 0.0))


@compiled
def _root_mean_square(scale: float, residual: float, gain: float) -> float:
    """Follow a root mean square without squaring anything large or small: 1e300 and 1e-300 both survive."""
    largest = max(scale, residual)
    if largest == 0.0:
        return 0.0
    old = scale / largest
    new = residual / largest
    return largest * math.sqrt(old * old + (new * new - old * old) * gain)


@compiled
def _learn(record: np.void, hour: int, seen: int, value: float, seasonal: float) -> None:
    """Move levels, profile and their errors towards ``value``, which the caller has clipped to the band."""
    gain_min = 1.0 / (seen + 1)
    slow = float(record["slow"])
    fast = float(record["fast"])
    error_gain = max(_ERROR, gain_min)
    slow_error = float(record["slow_error"])
    fast_error = float(record["fast_error"])
    record["slow_error"] = slow_error + (abs(value - seasonal) - slow_error) * error_gain
    record["fast_error"] = fast_error + (abs(value - fast) - fast_error) * error_gain
    record["fast"] = fast + (value - fast) * max(_FAST, gain_min)
    residual = value - slow
    record["slow"] = slow + residual * max(_SLOW, gain_min)
    count = min(int(record["counts"][hour]) + 1, _COUNT_MAX)
    profile = float(record["profile"][hour])
    record["counts"][hour] = count
    record["profile"][hour] = profile + (residual - profile) * max(_PROFILE, 1.0 / count)


@compiled
def _is_guarded(record: np.void, time_ms: int, outside: bool) -> bool:  # noqa: FBT001 - a kernel's flag
    """Note whether a sample lies outside, and tell whether it is to be kept from levels and scale."""
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
    old_enough = time_ms - int(record["first_ms"]) >= GUARD_MS
    run = min(run + 1, GUARD_SAMPLES + 1 if old_enough else GUARD_SAMPLES)
    record["outside"] = run
    return run > GUARD_SAMPLES and time_ms - int(record["outside_ms"]) < GUARD_MS


@compiled
def _learn_season(record: np.void, time_ms: int, hour: int, value: float) -> None:
    """Move the profile alone, slowly, towards ``value``, which the caller has clipped to the band."""
    profile = float(record["profile"][hour])
    residual = value - float(record["slow"])
    interval_ms = float(time_ms - int(record["first_ms"])) / float(record["samples"])
    gain = GUARDED_SHARE * _PROFILE * min(1.0, interval_ms / GUARDED_INTERVAL_MS)
    record["profile"][hour] = profile + (residual - profile) * gain


@compiled
def _learn_drift(record: np.void, time_ms: int) -> None:
    """At the first sample of an hour, note how far the slow level went per hour since the last such sample."""
    hour = time_ms // _HOUR_MS
    last = int(record["hour"])
    if hour <= last:
        return
    slow = float(record["slow"])
    if last > 0:
        hours = float(hour - last)
        known = float(hour) - float(int(record["first_ms"]) // _HOUR_MS)
        drift = float(record["drift"])
        gone = abs(slow / hours - float(record["hour_level"]) / hours)
        record["drift"] = drift + (gone - drift) * max(_DRIFT, 1.0 / max(known, 1.0))
    record["hour"] = hour
    record["hour_level"] = slow


@compiled
def _leeway(record: np.void, time_ms: int) -> float:
    """How much wider the band is, in units of EDGE, since the levels have not been learnt since the run began."""
    if int(record["outside"]) <= GUARD_SAMPLES:
        return 0.0
    hours = float(time_ms - int(record["outside_ms"])) / _HOUR_MS
    return DRIFT_SHARE * float(record["drift"]) * min(hours, _HOURS) / EDGE


@compiled
def _find_again(record: np.void, value: float, seasonal: float) -> None:
    """Let the levels be the mean of the samples inside since the last one outside."""
    share = 1.0 / float(record["calm"])
    fast = float(record["fast"])
    record["fast"] = fast + (value - fast) * share
    record["slow"] = float(record["slow"]) + (value - seasonal) * share


@compiled
def step(record: np.void, time_ms: int, value: float) -> Step:
    """Score one sample against ``record``, then learn it; ``record`` (one :data:`STATE`) is changed in place.

    ``time_ms`` is epoch milliseconds, of which only the hour of day in UTC counts; ``value`` is finite. Returns
    (score, deviation, novelty, expected, lower, upper), all NaN for the first ``WARM_UP_SAMPLES``; novelty always is.
    """
    value = min(max(float(value), -VALUE_MAX), VALUE_MAX)
    hour = (int(time_ms) // _HOUR_MS) % _HOURS
    seen = int(record["samples"])
    if seen == 0 or int(record["first_ms"]) == UNKNOWN_MS:
        record["first_ms"] = time_ms
    if seen == 0:
        record["slow"] = value
        record["fast"] = value
    count = float(record["counts"][hour])
    seasonal = float(record["slow"]) + float(record["profile"][hour]) * (count / (count + 1.0))
    expected = _blend(seasonal, float(record["fast"]), float(record["slow_error"]), float(record["fast_error"]))

    scale = float(record["scale"])
    peak = float(record["peak"])
    leeway = _leeway(record, int(time_ms))
    noise = scale + RELATIVE_FLOOR * abs(expected) + ABSOLUTE_FLOOR + leeway
    residual = abs(value - expected)
    quotient = residual / (EDGE * (noise + PEAK_SHARE * max(peak, residual)))
    width = _half_width(noise, peak)
    deviation = open_ended(quotient, residual, width)

    warm = seen >= WARM_UP_SAMPLES
    learnt = value
    clipped = residual
    if warm and deviation > 1.0:
        clipped = width
        learnt = expected + math.copysign(width, value - expected)
    record["samples"] = seen + 1
    record["peak"] = max(peak, residual) * _PEAK_KEPT
    if warm and _is_guarded(record, int(time_ms), deviation > 1.0):
        _learn_season(record, int(time_ms), hour, learnt)
    elif leeway > scale:
        _find_again(record, learnt, seasonal)
    else:
        _learn_drift(record, int(time_ms))
        record["scale"] = _root_mean_square(scale, clipped, max(_SCALE, 1.0 / (seen + 1)))
        _learn(record, hour, seen, learnt, seasonal)
    if not warm:
        return math.nan, math.nan, math.nan, math.nan, math.nan, math.nan
    score = 100.0 * deviation / (1.0 + deviation)
    return score, deviation, math.nan, expected, expected - width, expected + width


@compiled
def rebaseline(record: np.void, time_ms: int, level: float) -> None:
    """Expect ``level`` at ``time_ms``; noise, season and age stay, the peak and the incident so far are forgotten."""
    level = min(max(float(level), -VALUE_MAX), VALUE_MAX)
    hour = (int(time_ms) // _HOUR_MS) % _HOURS
    count = float(record["counts"][hour])
    record["slow"] = level - float(record["profile"][hour]) * (count / (count + 1.0))
    record["fast"] = level
    record["hour_level"] = record["slow"]
    record["peak"] = 0.0
    record["outside"] = 0


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


class ResidualLearner(RecordLearner):
    """The compiled default: a robust residual against two levels and a daily profile, 320 bytes per series."""

    name = "residual"
    version = 2
    warm_up_samples = WARM_UP_SAMPLES

    def __init__(self) -> None:
        super().__init__(STATE, LATER_FIELDS)

    def score(self, slots: IntArray, times_ms: IntArray, values: FloatArray, out: ScoreColumns) -> int:
        """Score, then learn, in row order. Never meets an exception, so the answer is always 0."""
        assert len(slots) == len(times_ms) == len(values) == len(out)
        assert len(slots) == 0 or 0 <= int(slots.min()) <= int(slots.max()) < len(self._state)
        _score_rows(self._state, slots, times_ms, values, *out.columns())
        return 0

    def rebaseline(self, slots: IntArray, times_ms: IntArray, levels: FloatArray) -> None:
        """Move both levels; profile and scale stay."""
        assert len(slots) == len(times_ms) == len(levels)
        _rebaseline_rows(self._state, slots, times_ms, levels)
