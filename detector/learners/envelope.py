"""The compiled default: how far a sample lies from four levels at once, and how new what it shows is.

One plain function, :func:`step`, is the whole algorithm; the batch kernel and the river estimator both call it. With x
the sample, a(h) = 1 - 0.5^(1/h) the gain of half-life h and k the samples seen (a mean's gain is max(a(h), 1/k)):

1. Four residuals: x less a fast level, less a slower one with a profile by hour of day, less the previous sample, less
   a very slow level. Each is divided by its usual size, the root of its EW mean square and a share of its largest.
2. severity = root of the sum of the four squares; deviation = severity / EDGE, with 1.0 at the edge of the band. The
   edge is further out while few samples tell the sizes. What a sample teaches a size is clipped.
3. A series that has left its band is judged by where it was before (:mod:`~detector.learners.envelope_home`). Where it
   leaves it in the same quarter of an hour day after day, or week after week, the edge is further out on that side
   (:mod:`~detector.learners.envelope_hours`).
4. Seven features (value, residuals, trend, recent severity) each have running bounds. How far they are left, in
   logarithms of the bounds' width, is the raw novelty; it counts where it exceeds the fading largest one before.

severity^2 is one parabola in x: expected is where it is least, the bounds are where the deviation is 1, so the band
that a person sees is the one that scored. Where the levels disagree by more than the edge no value is usual; the
bounds then meet at the expected value. Constants: docs/decisions/0011-envelope-learner.md.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray, IntArray, ScoreColumns
from detector.compiled import compiled
from detector.learners.envelope_band import PEAK_SHARE, Four, Parabola, half_width, parabola, severity, uncertainty
from detector.learners.envelope_bounds import features, leave_bounds, told_once
from detector.learners.envelope_home import (
    OUT_SAMPLES,
    UNGUARDED,
    come_home,
    go_or_return,
    home_levels,
    home_weights,
    phase,
)
from detector.learners.envelope_hours import (
    JOB_DEVIATION_MIN,
    allowed_now,
    enter_hour,
    neighbour_profile,
    note_excursion,
)
from detector.learners.envelope_state import (
    CLIP,
    COUNT_MAX,
    LEARNT_MAX,
    PROFILE_CLIP,
    SIZE,
    STATE,
    WARM_UP_SAMPLES,
    expect,
    is_gap,
    learn_levels,
    learn_profiles,
    learn_sizes,
    loaded,
    move_base,
    shrunk,
)
from detector.learners.record_learner import RecordLearner
from detector.learners.residual import open_ended

EDGE: Final = 8.4
"""Severity at the edge of the band; Gaussian noise has about 2, and reaches 9 once in 100,000 samples."""
VALUE_MAX: Final = 1e300
"""Values are taken no larger than this, so that differences and bands stay finite in float64."""
ABSOLUTE_FLOOR: Final = 1e-12
"""Residuals below this count for nothing: keeps the division defined for constant series."""
RELATIVE_FLOOR: Final = 1e-13
"""Rounding noise of a value, relative to it: 450 times float64's epsilon."""
DEVIATION_MAX: Final = 240.0
"""What deviations approach before their logarithm is added: leaves the score room for differences."""
EXCURSION_MAX: Final = 1e6
"""A larger deviation is noted as this."""
_HOUR_MS: Final = 3_600_000
_QUARTER_MS: Final = 900_000
_QUARTERS: Final = 4
_OUTER_QUARTERS: Final = (0, _QUARTERS - 1)

Step = tuple[float, float, float, float, float, float]
"""score, deviation, novelty, expected, lower, upper."""


@compiled
def _judged(value: float, x: float, base: float, edge: float, allowed: float, agreement: Parabola) -> Step:
    """The answer, with the deviation before any allowance in the place of the novelty.

    ``x`` is ``value`` less ``base``, within what can be learnt; ``allowed`` is how many edges out a job may go, below 0
    for down. The deviation is bounded, since a series without noise has no measure for it; the logarithm of the
    residual keeps the order of what is left.
    """
    edge_up = edge * max(allowed, 1.0)
    edge_down = edge * max(-allowed, 1.0)
    up = half_width(edge_up, agreement)
    down = up if edge_up == edge_down else half_width(edge_down, agreement)
    centre = agreement.centre
    expected = base + centre
    above = x > centre
    found = severity(x, agreement)
    deviation = found / (edge_up if above else edge_down)
    if deviation > 1.0:
        bounded = deviation / (1.0 + (deviation - 1.0) / DEVIATION_MAX)
        reach = max(up if above else down, ABSOLUTE_FLOOR)
        deviation = open_ended(bounded, max(abs(value - expected), reach), reach)
    score = 100.0 * deviation / (1.0 + deviation)
    return score, deviation, found / edge, expected, base + (centre - down), base + (centre + up)


@compiled
def _or_beside(
    record: np.void,
    answer: Step,
    value: float,
    x: float,
    base: float,
    edge: float,
    allowed: float,
    levels: Four,
    weights: Four,
    profile: float,
    hour: int,
    quarter: int,
) -> Step:
    """``answer``, or by the profile of the hour beside, where the sample is inside its band by that one only."""
    if answer[2] <= 1.0 or quarter not in _OUTER_QUARTERS:
        return answer
    beside = levels[1] - profile + neighbour_profile(record, hour, quarter)
    other = _judged(value, x, base, edge, allowed, parabola((levels[0], beside, levels[2], levels[3]), weights))
    return other if other[2] <= 1.0 else answer


@compiled
def _sizes(record: np.void, gap: bool, floor: float) -> Four:  # noqa: FBT001 - a kernel's flag
    """The usual sizes of the residuals; infinite for that of the previous sample after a gap."""
    return (
        loaded(record["size"][0]) + floor,
        loaded(record["size"][1]) + floor,
        math.inf if gap else loaded(record["size"][2]) + floor,
        loaded(record["size"][3]) + floor,
    )


@compiled
def _shares(record: np.void, sizes: Four) -> Four:
    """The reciprocals of the usual residuals."""
    return (
        1.0 / (sizes[0] + PEAK_SHARE * loaded(record["peak"][0])),
        1.0 / (sizes[1] + PEAK_SHARE * loaded(record["peak"][1])),
        1.0 / (sizes[2] + PEAK_SHARE * loaded(record["peak"][2])),
        1.0 / (sizes[3] + PEAK_SHARE * loaded(record["peak"][3])),
    )


@compiled
def _learn(record: np.void, x: float, seen: int, profile: float, week: float, quotient: float) -> float:
    """Move levels and bounds towards a sample; returns its novelty.

    ``profile`` is what its hour of day adds, ``week`` what its hour of the week adds to that, as before the sample.
    """
    gain_min = 1.0 / (seen + 1)
    r100 = x - loaded(record["middle"])
    rs = x - (loaded(record["slow"]) + profile)
    rw = rs - week
    learn_levels(record, x, gain_min)
    beyond = leave_bounds(record, features(record, x, r100, rs, rw, quotient, gain_min), seen, gain_min)
    return told_once(record, beyond, quotient, seen)


@compiled
def _warm_up(record: np.void, x: float, seen: int, levels: Four, sizes: Four, profile: float, week: float) -> None:
    """Learn a sample that has no score: in full."""
    learn_sizes(record, x, 1.0 / (seen + 1), math.inf, levels, sizes, (1.0, 1.0, 1.0, 1.0))
    slow = loaded(record["slow"])
    _learn(record, x, seen, profile, week, 0.0)
    learn_profiles(record, x - slow, x - levels[1], math.inf)
    move_base(record)


@compiled
def step(record: np.void, time_ms: int, value: float, offset_ms: int) -> Step:
    """Score one sample against ``record``, then learn it; ``record`` (one :data:`STATE`) is changed in place.

    ``time_ms`` is epoch milliseconds, ``offset_ms`` what the zone of the profiles is ahead of UTC then; ``value`` is
    finite. Returns (score, deviation, novelty, expected, lower, upper), all NaN for the first ``WARM_UP_SAMPLES``.
    """
    value = min(max(float(value), -VALUE_MAX), VALUE_MAX)
    local_ms = int(time_ms) + int(offset_ms)
    hour = local_ms // _HOUR_MS
    seen = int(record["samples"])
    if seen == 0:
        record["base"] = value
    if seen == 0 or hour != int(record["hour"]):
        enter_hour(record, hour, seen)
    record["samples"] = seen + 1
    record["hour_samples"] = min(int(record["hour_samples"]) + 1, COUNT_MAX)
    gap = is_gap(record, int(time_ms), seen)
    base = float(record["base"])
    x = min(max(value - base, -LEARNT_MAX), LEARNT_MAX)

    fast = loaded(record["fast"])
    profile = shrunk(loaded(record["day_mean"]), int(record["day_count"]))
    week = shrunk(loaded(record["week_mean"]), int(record["week_count"]))
    previous = loaded(record["previous"])
    levels = (fast, loaded(record["slow"]) + profile, previous, loaded(record["slowest"]))
    sizes = _sizes(record, gap, ABSOLUTE_FLOOR + RELATIVE_FLOOR * abs(base + fast))
    if seen < WARM_UP_SAMPLES:
        _warm_up(record, x, seen, levels, sizes, profile, week)
        return math.nan, math.nan, math.nan, math.nan, math.nan, math.nan

    shares = _shares(record, sizes)
    quotient = max(abs(x - levels[0]) * shares[0], abs(x - levels[1]) * shares[1], abs(x - levels[2]) * shares[2])
    away = phase(record, int(time_ms), hour)
    weights = shares
    if 0 < away < UNGUARDED:
        levels = home_levels(record, profile, previous if away <= OUT_SAMPLES else loaded(record["home_fast"]))
        weights = home_weights(record, shares, away, hour)
    edge = EDGE * uncertainty(seen)
    quarter = int(local_ms // _QUARTER_MS % _QUARTERS)
    allowed = allowed_now(record, quarter)
    answer = _judged(value, x, base, edge, allowed, parabola(levels, weights))
    answer = _or_beside(record, answer, value, x, base, edge, allowed, levels, weights, profile, hour, quarter)
    outside = answer[2] > 1.0
    if answer[2] > JOB_DEVIATION_MIN:
        note_excursion(record, quarter, math.copysign(min(answer[2], EXCURSION_MAX), value - answer[3]), allowed)
    gain_min = 1.0 / (seen + 1)
    # A job is no return before its quarter ends, even where the profile has half learnt it.
    held = outside or (allowed != 0.0 and answer[2] > JOB_DEVIATION_MIN and away > 0 and int(record["is_job"]) != 0)
    if not held or (allowed == 0.0 and (away <= OUT_SAMPLES or away == UNGUARDED)):
        learn_profiles(
            record, x - (levels[1] - profile), x - levels[1], PROFILE_CLIP / shares[1] if outside else math.inf
        )
        learn_sizes(record, x, max(SIZE, gain_min), CLIP, levels, sizes, weights)
    over = (held or away > 0) and go_or_return(
        record, x, int(time_ms), hour, away, held, allowed != 0.0, edge, profile, shares, gain_min
    )
    novelty = _learn(record, x, seen, profile, week, quotient)
    if over:
        come_home(record, hour, edge, max(SIZE, gain_min))
    if int(record["away"]) in (0, UNGUARDED):
        move_base(record)
    return answer[0], answer[1], novelty, answer[3], answer[4], answer[5]


@compiled
def _score_rows(
    state: NDArray[np.void],
    rows: IntArray,
    times_ms: IntArray,
    values: FloatArray,
    changes_ms: IntArray,
    offsets_ms: IntArray,
    score: FloatArray,
    deviation: FloatArray,
    novelty: FloatArray,
    expected: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
) -> None:
    """Take the samples in order; each touches its own row of ``state`` only.

    Zone: ``offsets_ms[i + 1]`` holds from ``changes_ms[i]`` on. The search goes on from the sample before, since times
    in a batch lie close together; where it begins does not matter.
    """
    zone = 0
    for i in range(len(rows)):
        while zone < len(changes_ms) and times_ms[i] >= changes_ms[zone]:
            zone += 1
        while zone > 0 and times_ms[i] < changes_ms[zone - 1]:
            zone -= 1
        result = step(state[rows[i]], times_ms[i], values[i], offsets_ms[zone])
        score[i] = result[0]
        deviation[i] = result[1]
        novelty[i] = result[2]
        expected[i] = result[3]
        lower[i] = result[4]
        upper[i] = result[5]


@compiled
def rebaseline(record: np.void, time_ms: int, level: float, offset_ms: int) -> None:
    """Expect ``level`` at ``time_ms``; usual sizes, profiles and what was ever seen stay."""
    hour = (int(time_ms) + int(offset_ms)) // _HOUR_MS
    seen = int(record["samples"])
    if seen > 0 and hour != int(record["hour"]):
        enter_hour(record, hour, seen)
    expect(record, min(max(float(level), -VALUE_MAX), VALUE_MAX))


class UtcOffsets(NamedTuple):
    """What a time zone is ahead of UTC: ``offsets_ms[i + 1]`` from the epoch time ``changes_ms[i]`` on.

    int64[n] ascending and int64[n + 1]; ``offsets_ms[0]`` holds before the first change.
    """

    changes_ms: IntArray
    offsets_ms: IntArray

    def at(self, time_ms: int) -> int:
        """The offset in ms at an epoch time in ms."""
        return int(self.offsets_ms[np.searchsorted(self.changes_ms, time_ms, side="right")])


UTC_OFFSETS: Final = UtcOffsets(np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64))


class EnvelopeLearner(RecordLearner):
    """The compiled default: severity against four levels, novelty against seven running bounds.

    ``timezone`` is the zone whose hours of day and week the profiles follow. State depends on it: it stands in the
    configuration hash by its name.
    """

    name = "envelope"
    version = 1
    warm_up_samples = WARM_UP_SAMPLES

    def __init__(self, timezone: UtcOffsets = UTC_OFFSETS) -> None:
        assert len(timezone.offsets_ms) == len(timezone.changes_ms) + 1
        self._zone = timezone
        super().__init__(STATE)

    def score(self, slots: IntArray, times_ms: IntArray, values: FloatArray, out: ScoreColumns) -> int:
        """Score, then learn, in row order. Never meets an exception, so the answer is always 0."""
        assert len(slots) == len(times_ms) == len(values) == len(out)
        assert len(slots) == 0 or 0 <= int(slots.min()) <= int(slots.max()) < len(self._state)
        _score_rows(self._state, slots, times_ms, values, *self._zone, *out.columns())
        return 0

    def rebaseline(self, slots: IntArray, times_ms: IntArray, levels: FloatArray) -> None:
        """Move all levels; usual sizes and profiles stay."""
        assert len(slots) == len(times_ms) == len(levels)
        for slot, time_ms, level in zip(slots.tolist(), times_ms.tolist(), levels.tolist(), strict=True):
            rebaseline(self._state[slot], time_ms, level, self._zone.at(time_ms))
