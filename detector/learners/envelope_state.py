"""What the envelope learner keeps of a series, and how a sample changes it.

Levels are float32, relative to ``base``, which follows where they move far away. All is computed in float64 and rounded
once, on the store. What every sample touches comes first; the bins of the profiles are touched once an hour.
"""

import math
from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.learners.envelope_band import CHANNELS, PEAK_SHARE, Four


def _gain(half_life: float) -> float:
    """The gain of an exponentially weighted mean whose weights halve every ``half_life`` samples."""
    return float(1.0 - 0.5 ** (1.0 / half_life))


WARM_UP_SAMPLES: Final = 30
"""Samples without a score: the usual size of Gaussian noise is then known within about 13 %, 1 / sqrt(2 * 30)."""
CLIP: Final = 5.0
"""Usual sizes beyond which a residual teaches no more."""
PROFILE_CLIP: Final = 20.0
"""Usual sizes of what lies outside that the profiles learn. 5 cost the Numenta benchmark a point; without a limit an
incident comes back as an anomaly of the same hour of the next day."""
GAP_INTERVALS: Final = 10.0
"""After more than so many usual intervals the previous sample says nothing about the next."""

SIZE: Final = _gain(2000)
_FAST: Final = _gain(20)
STEP_SAMPLES: Final = 1.0 / (1.0 - (1.0 - _FAST) ** 2)
"""Squares of the residuals of a step, until the fast level has followed, as a multiple of the step's own: 14.9."""
_MIDDLE: Final = _gain(100)
_SLOW: Final = _gain(300)
_SLOWEST: Final = _gain(3000)
_PROFILE: Final = _gain(20)  # samples in one bin
_PROFILE_SAMPLES: Final = 30  # from here on 1 / n is smaller than that
_LIMITED_GAIN_MAX: Final = 0.1
_PEAK_KEPT: Final = 0.5 ** (1.0 / 20_000.0)  # without fading, one corrupt value would blind a series for ever
_INTERVAL: Final = 0.1
_INTERVAL_GROWTH_MAX: Final = 2.0
_BASE_SIZES_MAX: Final = 1024.0  # float32 then resolves an eight thousandth of the usual size
LEARNT_MAX: Final = 1e37
"""Distance from the base that is learnt; float32 ends at 3.4e38."""
FEATURES: Final = 7
HOURS: Final = 24
WEEK: Final = 168
COUNT_MAX: Final = 255

STATE: Final = np.dtype(
    [
        ("samples", np.int64),
        ("last_ms", np.int64),
        ("base", np.float64),
        ("hour", np.int64),  # since the epoch, in the zone of the profiles
        ("first_hour", np.int64),
        ("away_ms", np.int64),  # when the series left its band
        ("interval_ms", np.float32),
        ("fast", np.float32),
        ("middle", np.float32),
        ("slow", np.float32),
        ("slowest", np.float32),
        ("previous", np.float32),
        ("smooth", np.float32),
        ("recent", np.float32),
        ("record", np.float32),
        ("day_mean", np.float32),  # of this hour; put back into its bin where the hour ends
        ("week_mean", np.float32),
        ("excursion", np.float32),  # largest deviation of this hour, below 0 for down
        ("allowed", np.float32),  # deviation that the jobs of this hour may reach, below 0 for down
        ("home_fast", np.float32),
        ("home_slow", np.float32),
        ("home_slowest", np.float32),
        ("size", np.float32, (CHANNELS,)),
        ("peak", np.float32, (CHANNELS,)),
        ("low", np.float32, (FEATURES,)),
        ("high", np.float32, (FEATURES,)),
        ("mid", np.float32, (FEATURES,)),
        ("hour_samples", np.uint8),  # in this hour
        ("day_count", np.uint8),
        ("week_count", np.uint8),
        ("outside_quarters", np.uint8),  # of this hour; a bit each
        ("allowed_quarters", np.uint8),
        ("continued_quarters", np.uint8),  # those in which a job that is running may go on
        ("away", np.uint8),
        ("calm", np.uint8),
        ("been_back", np.uint8),
        ("is_job", np.uint8),
        ("home_hour", np.uint8),
        ("day", np.float32, (HOURS,)),
        ("week", np.float32, (WEEK,)),
        ("jobs", np.uint8, (WEEK,)),
    ],
)
"""One series. All zeros is a new one. ``size`` holds roots, so that squares of large residuals need no range."""


@compiled
def stored(value: float) -> float:
    """``value`` as it will be read back from the state."""
    return float(np.float64(np.float32(value)))


@compiled
def loaded(value: np.float32) -> float:
    """A number of the state, to compute with."""
    return float(np.float64(value))


@compiled
def learn_sizes(record: np.void, x: float, gain: float, clip: float, levels: Four, sizes: Four, weights: Four) -> None:
    """Move usual sizes and peaks towards this sample's residuals, taken no larger than ``clip`` usual ones.

    ``sizes`` are those with their floors; a level without weight, or after a gap, teaches nothing.
    """
    for j in range(CHANNELS):
        if weights[j] > 0.0 and not math.isinf(sizes[j]):
            distance = abs(x - levels[j])
            peak = max(loaded(record["peak"][j]), distance)
            distance = min(distance, clip * (sizes[j] + PEAK_SHARE * peak))
            size = loaded(record["size"][j])
            square = size * size
            record["size"][j] = math.sqrt(square + (distance * distance - square) * gain)
            record["peak"][j] = peak * _PEAK_KEPT


@compiled
def shrunk(mean: float, count: int) -> float:
    """A bin of a profile, nearer to 0 the fewer samples it has seen."""
    number = float(count)
    return mean * (number / (number + 1.0))


@compiled
def _bin_gain(count: int, limit: float) -> float:
    """The gain of a bin with its ``count``-th sample: limited samples do not decide for a bin that knows little."""
    if count >= _PROFILE_SAMPLES:
        return _PROFILE
    gain = 1.0 / count
    return min(gain, _LIMITED_GAIN_MAX) if limit < math.inf else gain


@compiled
def learn_profiles(record: np.void, r300: float, rs: float, limit: float) -> None:
    """Move the hour of day towards the residual of the slow level, the hour of week towards what the day leaves.

    Both are taken no larger than ``limit``.
    """
    count = min(int(record["day_count"]) + 1, COUNT_MAX)
    mean = loaded(record["day_mean"])
    record["day_mean"] = mean + (min(max(r300, -limit), limit) - mean) * _bin_gain(count, limit)
    record["day_count"] = count
    count = min(int(record["week_count"]) + 1, COUNT_MAX)
    mean = loaded(record["week_mean"])
    record["week_mean"] = mean + (min(max(rs, -limit), limit) - mean) * _bin_gain(count, limit)
    record["week_count"] = count


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
def learn_levels(record: np.void, x: float, gain_min: float) -> None:
    """Move the levels towards this sample."""
    fast = loaded(record["fast"])
    middle = loaded(record["middle"])
    slow = loaded(record["slow"])
    slowest = loaded(record["slowest"])
    record["fast"] = fast + (x - fast) * max(_FAST, gain_min)
    record["middle"] = middle + (x - middle) * max(_MIDDLE, gain_min)
    record["slow"] = slow + (x - slow) * max(_SLOW, gain_min)
    record["slowest"] = slowest + (x - slowest) * max(_SLOWEST, gain_min)
    record["previous"] = x


@compiled
def learn_home(record: np.void, x: float, gain_min: float) -> None:
    """Move the levels of before an excursion towards this sample, which lies among them."""
    fast = loaded(record["home_fast"])
    slow = loaded(record["home_slow"])
    slowest = loaded(record["home_slowest"])
    record["home_fast"] = fast + (x - fast) * max(_FAST, gain_min)
    record["home_slow"] = slow + (x - slow) * max(_SLOW, gain_min)
    record["home_slowest"] = slowest + (x - slowest) * max(_SLOWEST, gain_min)


@compiled
def _shift_levels(record: np.void, shift: float) -> None:
    """Let everything that counts from the base stay where it is while the base goes up by ``shift``."""
    record["fast"] = loaded(record["fast"]) - shift
    record["middle"] = loaded(record["middle"]) - shift
    record["slow"] = loaded(record["slow"]) - shift
    record["slowest"] = loaded(record["slowest"]) - shift
    record["previous"] = loaded(record["previous"]) - shift
    for bounds in (record["low"], record["high"], record["mid"]):
        bounds[0] = loaded(bounds[0]) - shift


@compiled
def move_base(record: np.void) -> None:
    """Let the base be the fast level, once that lies so far away that float32 would round what is usual."""
    shift = loaded(record["fast"])
    if abs(shift) > _BASE_SIZES_MAX * loaded(record["size"][0]):
        record["base"] = float(record["base"]) + shift
        _shift_levels(record, shift)


@compiled
def expect(record: np.void, level: float) -> None:
    """Let every level lie where ``level`` is expected; sizes and profiles stay, the way home is forgotten."""
    _shift_levels(record, min(max(level - float(record["base"]), -LEARNT_MAX), LEARNT_MAX))
    record["base"] = level
    record["fast"] = 0.0
    record["middle"] = 0.0
    record["slow"] = -shrunk(loaded(record["day_mean"]), int(record["day_count"]))
    record["slowest"] = 0.0
    record["previous"] = 0.0
    record["away"] = 0
