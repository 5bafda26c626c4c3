"""What the envelope learner keeps of a series, and how a sample changes it.

Levels are float32, relative to ``base``, which follows where they move far away. All is computed in float64 and rounded
once, on the store.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.compiled import compiled
from detector.learners.envelope_band import CHANNELS, PEAK_SHARE, Four


def _gain(half_life: float) -> float:
    """The gain of an exponentially weighted mean whose weights halve every ``half_life`` samples."""
    return float(1.0 - 0.5 ** (1.0 / half_life))


WARM_UP_SAMPLES: Final = 30
"""Samples without a score: the usual size of Gaussian noise is then known within about 13 %, 1 / sqrt(2 * 30)."""
CLIP: Final = 5.0
"""Usual sizes beyond which a residual teaches no more."""
GAP_INTERVALS: Final = 10.0
"""After more than so many usual intervals the previous sample says nothing about the next."""

_FAST: Final = _gain(20)
_MIDDLE: Final = _gain(100)
_SLOW: Final = _gain(300)
_SLOWEST: Final = _gain(3000)
_PROFILE: Final = _gain(20)  # samples in one bin
_SIZE: Final = _gain(2000)
_SMOOTH: Final = _gain(5)
_RECENT: Final = _gain(30)
_BOUND: Final = _gain(20_000)
_MIDPOINT: Final = 0.01
_PEAK_KEPT: Final = 0.5 ** (1.0 / 20_000.0)  # without fading, one corrupt value would blind a series for ever
_LOG_SEVERITY_MAX: Final = math.log(21.0)
_SEVERITY_SHARE: Final = 0.25
_NOVELTY_UNIT: Final = 0.03
_BOUND_ABSOLUTE: Final = 1e-12
_BOUND_RELATIVE: Final = 1e-9
_INTERVAL: Final = 0.1
_INTERVAL_GROWTH_MAX: Final = 2.0
_BASE_SIZES_MAX: Final = 1024.0  # float32 then resolves an eight thousandth of the usual size
_FEATURES: Final = 7
HOURS: Final = 24
WEEK: Final = 168
_COUNT_MAX: Final = 255
_RECENT_FEATURE: Final = 6

STATE: Final = np.dtype(
    [
        ("samples", np.int64),
        ("last_ms", np.int64),
        ("base", np.float64),
        ("interval_ms", np.float32),
        ("fast", np.float32),
        ("middle", np.float32),
        ("slow", np.float32),
        ("slowest", np.float32),
        ("previous", np.float32),
        ("smooth", np.float32),
        ("recent", np.float32),
        ("record", np.float32),
        ("away", np.int32),
        ("home_fast", np.float32),
        ("home_slow", np.float32),
        ("home_profile", np.float32),
        ("size", np.float32, (CHANNELS,)),
        ("peak", np.float32, (CHANNELS,)),
        ("low", np.float32, (_FEATURES,)),
        ("high", np.float32, (_FEATURES,)),
        ("mid", np.float32, (_FEATURES,)),
        ("day", np.float32, (HOURS,)),
        ("week", np.float32, (WEEK,)),
        ("day_counts", np.uint8, (HOURS,)),
        ("week_counts", np.uint8, (WEEK,)),
        ("home_hour", np.uint8),
    ],
)
"""One series. All zeros is a new one. ``size`` holds roots, so that squares of large residuals need no range."""


@compiled
def _stored(value: float) -> float:
    """``value`` as it will be read back from the state."""
    return float(np.float64(np.float32(value)))


@compiled
def loaded(value: np.float32) -> float:
    """A number of the state, to compute with."""
    return float(np.float64(value))


@compiled
def learn_sizes(record: np.void, x: float, seen: int, levels: Four, sizes: Four) -> float:
    """Move usual sizes and peaks towards this sample's residuals; returns the largest quotient of the first three."""
    gain = max(_SIZE, 1.0 / (seen + 1))
    largest = 0.0
    for j in range(CHANNELS):
        distance = abs(x - levels[j])
        peak = max(loaded(record["peak"][j]), distance)
        usual = sizes[j] + PEAK_SHARE * peak
        if math.isinf(usual):
            distance = 0.0
            peak = loaded(record["peak"][j])
        quotient = distance / usual
        if seen >= WARM_UP_SAMPLES:
            if j < CHANNELS - 1:
                largest = max(largest, quotient)
            distance = min(distance, CLIP * usual)
        size = loaded(record["size"][j])
        record["size"][j] = math.sqrt(size * size + (distance * distance - size * size) * gain)
        record["peak"][j] = peak * _PEAK_KEPT
    return largest


@compiled
def _learn_bin(means: NDArray[np.float32], counts: NDArray[np.uint8], place: int, residual: float) -> None:
    """Move one bin of a profile towards ``residual``."""
    count = min(int(counts[place]) + 1, _COUNT_MAX)
    mean = loaded(means[place])
    counts[place] = count
    means[place] = mean + (residual - mean) * max(_PROFILE, 1.0 / count)


@compiled
def learn_profiles(record: np.void, bins: tuple[int, int], r300: float, rs: float) -> None:
    """Move the hour of day towards the residual of the slow level, the hour of week towards what the day leaves."""
    _learn_bin(record["day"], record["day_counts"], bins[0], r300)
    _learn_bin(record["week"], record["week_counts"], bins[1], rs)


@compiled
def _follow(record: np.void, feature: int, y: float, seen: int, origin: float) -> float:
    """How far ``y`` leaves the bounds of its feature, in logarithms of their width; the bounds then take it in.

    ``origin`` is where 0 lies: a width below a billionth of the bounds themselves is rounding.
    """
    value = _stored(y)
    if seen == 0 or (feature == _RECENT_FEATURE and seen <= WARM_UP_SAMPLES):
        record["low"][feature] = value
        record["high"][feature] = value
        record["mid"][feature] = value
        return 0.0
    low = loaded(record["low"][feature])
    high = loaded(record["high"][feature])
    beyond = max(value - high, low - value)
    novelty = 0.0
    if beyond > 0.0 and seen >= WARM_UP_SAMPLES:
        width = high - low + _BOUND_ABSOLUTE + _BOUND_RELATIVE * (abs(origin + high) + abs(origin + low))
        novelty = math.log1p(beyond / width / _NOVELTY_UNIT)
    mid = loaded(record["mid"][feature])
    mid += (value - mid) * max(_MIDPOINT, 1.0 / (seen + 1))
    record["mid"][feature] = mid
    record["high"][feature] = max(high - (high - mid) * _BOUND, value)
    record["low"][feature] = min(low + (mid - low) * _BOUND, value)
    return novelty


@compiled
def move_base(record: np.void) -> None:
    """Let the base be the fast level, once that lies so far away that float32 would round what is usual."""
    shift = loaded(record["fast"])
    if abs(shift) <= _BASE_SIZES_MAX * loaded(record["size"][0]):
        return
    record["base"] = float(record["base"]) + shift
    record["fast"] = 0.0
    record["middle"] = loaded(record["middle"]) - shift
    record["slow"] = loaded(record["slow"]) - shift
    record["slowest"] = loaded(record["slowest"]) - shift
    record["previous"] = loaded(record["previous"]) - shift
    record["home_fast"] = loaded(record["home_fast"]) - shift
    record["home_slow"] = loaded(record["home_slow"]) - shift
    record["low"][0] = loaded(record["low"][0]) - shift
    record["high"][0] = loaded(record["high"][0]) - shift
    record["mid"][0] = loaded(record["mid"][0]) - shift


@compiled
def expect(record: np.void, level: float, day_bin: int) -> None:
    """Let every level lie where ``level`` is expected; sizes and profiles stay, the way home is forgotten."""
    shift = level - float(record["base"])
    record["base"] = level
    record["fast"] = 0.0
    record["middle"] = 0.0
    record["slow"] = -shrunk(record["day"], record["day_counts"], day_bin)
    record["slowest"] = 0.0
    record["previous"] = 0.0
    record["away"] = 0
    record["low"][0] = loaded(record["low"][0]) - shift
    record["high"][0] = loaded(record["high"][0]) - shift
    record["mid"][0] = loaded(record["mid"][0]) - shift


@compiled
def is_gap(record: np.void, time_ms: int, seen: int) -> bool:
    """Whether the sample comes after a gap; learns the usual interval."""
    if seen == 0:
        record["last_ms"] = time_ms
        return False
    passed = max(float(time_ms - int(record["last_ms"])), 0.0)
    record["last_ms"] = time_ms
    usual = loaded(record["interval_ms"])
    if usual == 0.0:
        record["interval_ms"] = passed
        return False
    record["interval_ms"] = usual + (min(passed, _INTERVAL_GROWTH_MAX * usual) - usual) * _INTERVAL
    return passed > GAP_INTERVALS * usual


@compiled
def learn(record: np.void, x: float, seen: int, rs: float, rw: float, largest: float) -> float:
    """Move levels and bounds towards this sample; returns its raw novelty."""
    gain_min = 1.0 / (seen + 1)
    r100 = x - loaded(record["middle"])
    r300 = x - loaded(record["slow"])
    log_severity = min(math.log1p(largest), _LOG_SEVERITY_MAX)
    recent = loaded(record["recent"])
    recent += (log_severity - recent) * _RECENT
    fast = loaded(record["fast"])
    fast += (x - fast) * max(_FAST, gain_min)
    slow = loaded(record["slow"]) + r300 * max(_SLOW, gain_min)
    slowest = loaded(record["slowest"])
    smooth = loaded(record["smooth"])
    smooth += (rs - smooth) * max(_SMOOTH, gain_min)
    record["recent"] = recent
    record["fast"] = fast
    record["middle"] = loaded(record["middle"]) + r100 * max(_MIDDLE, gain_min)
    record["slow"] = slow
    record["slowest"] = slowest + (x - slowest) * max(_SLOWEST, gain_min)
    record["smooth"] = smooth
    record["previous"] = x
    novelty = _follow(record, 0, x, seen, float(record["base"]))
    novelty += _follow(record, 1, r100, seen, 0.0)
    novelty += _follow(record, 2, rs, seen, 0.0)
    novelty += _follow(record, 3, rw, seen, 0.0)
    novelty += _follow(record, 4, smooth, seen, 0.0)
    novelty += _follow(record, 5, fast - slow, seen, 0.0)
    novelty += _follow(record, 6, recent, seen, 0.0)
    return novelty + _SEVERITY_SHARE * log_severity


@compiled
def shrunk(means: NDArray[np.float32], counts: NDArray[np.uint8], place: int) -> float:
    """A bin of a profile, nearer to 0 the fewer samples it has seen."""
    count = float(counts[place])
    return loaded(means[place]) * (count / (count + 1.0))
