"""The compiled default: how far a sample lies from four levels at once, and how new what it shows is.

One plain function, :func:`step`, is the whole algorithm; the batch kernel and the river estimator both call it. With x
the sample, a(h) = 1 - 0.5^(1/h) the gain of half-life h and k the samples seen (a mean's gain is max(a(h), 1/k)):

1. Four residuals: x less a fast level, less a slower one with a profile by hour of day, less the previous sample, less
   a very slow level. Each is divided by its usual size, the root of its EW mean square and a share of its largest.
2. severity = root of the sum of the four squares; deviation = severity / EDGE, with 1.0 at the edge of the band. What
   a sample teaches a usual size is clipped, so that an incident does not become the new normal, and for a while a
   series may return to where it was before it left its band.
3. Seven features (value, residuals, trend, recent severity) each have running bounds. How far they are left, in
   logarithms of the bounds' width, is the raw novelty; it counts where it exceeds the fading largest one before.

severity^2 is a sum of parabolas in x: expected is where it is least, the bounds are where the deviation is 1, so the
band that a person sees is the one that scored. Where the levels disagree by more than the edge no value is usual; the
bounds then meet at the expected value. Constants: docs/decisions/0011-envelope-learner.md.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray, IntArray, ScoreColumns
from detector.columns import Columns, PartialCopy, RecordsCopy, grown, put_fields
from detector.compiled import compiled
from detector.learners.envelope_band import Four, band, severity_squared
from detector.learners.envelope_state import (
    HOURS,
    STATE,
    WARM_UP_SAMPLES,
    WEEK,
    expect,
    is_gap,
    learn,
    learn_profiles,
    learn_sizes,
    loaded,
    move_base,
    shrunk,
)
from detector.learners.residual import open_ended

EDGE: Final = 8.4
"""Severity at the edge of the band; Gaussian noise has about 2, and reaches 9 once in 100,000 samples."""
AWAY_SAMPLES_MIN: Final = 5
"""A shorter excursion moves the levels too little for its end to matter; a longer one teaches the profiles nothing."""
AWAY_SAMPLES_MAX: Final = 1440
"""For so long a series that has left its band may return to where it was: a day of minutes."""
VALUE_MAX: Final = 1e300
"""Values are taken no larger than this, so that differences and bands stay finite in float64."""
LEARNT_MAX: Final = 1e37
"""Distance from the base that is learnt; float32 ends at 3.4e38."""
ABSOLUTE_FLOOR: Final = 1e-12
"""Residuals below this count for nothing: keeps the division defined for constant series."""
RELATIVE_FLOOR: Final = 1e-13
"""Rounding noise of a value, relative to it: 450 times float64's epsilon."""
_RECORD_KEPT: Final = 0.5 ** (1.0 / 60.0)
_RECORD_FIRST: Final = 32.0  # of a new series everything is new: only what stands out from that counts at first
_HOUR_MS: Final = 3_600_000

Step = tuple[float, float, float, float, float, float]
"""score, deviation, novelty, expected, lower, upper."""


@compiled
def _judged(value: float, x: float, base: float, levels: Four, sizes: Four, peaks: Four) -> Step:
    """The answer without its novelty; ``x`` is ``value`` less ``base``, within what can be learnt."""
    severity = math.sqrt(severity_squared(x, levels, sizes, peaks))
    centre, down, up = band(EDGE, levels, sizes, peaks)
    expected = base + centre
    half_width = max(up if value > expected else down, ABSOLUTE_FLOOR)
    deviation = open_ended(severity / EDGE, abs(value - expected), half_width)
    score = 100.0 * deviation / (1.0 + deviation)
    return score, deviation, math.nan, expected, base + (centre - down), base + (centre + up)


@compiled
def _or_at_home(
    record: np.void,
    answer: Step,
    value: float,
    x: float,
    base: float,
    levels: Four,
    sizes: Four,
    peaks: Four,
    hour: int,
) -> Step:
    """``answer``, or the smaller deviation from where the series was before it left its band: an end is no incident.

    That home is kept when a sample leaves the band, and forgotten when neither answer does any more or after
    ``AWAY_SAMPLES_MAX``. Its hour counts as it was then, since the profile learns from the first samples outside. The
    levels learn whatever comes.
    """
    away = int(record["away"])
    slow = loaded(record["slow"])
    if away == 0:
        if answer[1] > 1.0:
            record["away"] = 1
            record["home_fast"] = levels[0]
            record["home_slow"] = slow
            record["home_profile"] = levels[1] - slow
            record["home_hour"] = hour
        return answer
    fast = loaded(record["home_fast"])
    profile = loaded(record["home_profile"]) if int(record["home_hour"]) == hour else levels[1] - slow
    home = (fast, loaded(record["home_slow"]) + profile, fast, levels[3])
    at_home = _judged(value, x, base, home, sizes, peaks)
    over = away >= AWAY_SAMPLES_MAX or max(answer[1], at_home[1]) <= 1.0
    record["away"] = 0 if over else away + 1
    return at_home if away >= AWAY_SAMPLES_MIN and at_home[1] < answer[1] else answer


@compiled
def step(record: np.void, time_ms: int, value: float, offset_ms: int) -> Step:
    """Score one sample against ``record``, then learn it; ``record`` (one :data:`STATE`) is changed in place.

    ``time_ms`` is epoch milliseconds, ``offset_ms`` what the zone of the profiles is ahead of UTC then; ``value`` is
    finite. Returns (score, deviation, novelty, expected, lower, upper), all NaN for the first ``WARM_UP_SAMPLES``.
    """
    value = min(max(float(value), -VALUE_MAX), VALUE_MAX)
    hour = (int(time_ms) + int(offset_ms)) // _HOUR_MS
    bins = (int(hour % HOURS), int(hour % WEEK))
    seen = int(record["samples"])
    if seen == 0:
        record["base"] = value
    record["samples"] = seen + 1
    gap = is_gap(record, int(time_ms), seen)
    base = float(record["base"])
    x = min(max(value - base, -LEARNT_MAX), LEARNT_MAX)

    seasonal = loaded(record["slow"]) + shrunk(record["day"], record["day_counts"], bins[0])
    fast = loaded(record["fast"])
    levels = (fast, seasonal, loaded(record["previous"]), loaded(record["slowest"]))
    floor = ABSOLUTE_FLOOR + RELATIVE_FLOOR * abs(base + fast)
    sizes = (
        loaded(record["size"][0]) + floor,
        loaded(record["size"][1]) + floor,
        math.inf if gap else loaded(record["size"][2]) + floor,
        loaded(record["size"][3]) + floor,
    )
    answer = (math.nan, math.nan, math.nan, math.nan, math.nan, math.nan)
    warm = seen >= WARM_UP_SAMPLES
    if warm:
        peaks = (
            loaded(record["peak"][0]),
            loaded(record["peak"][1]),
            loaded(record["peak"][2]),
            loaded(record["peak"][3]),
        )
        answer = _judged(value, x, base, levels, sizes, peaks)
        answer = _or_at_home(record, answer, value, x, base, levels, sizes, peaks, bins[0])
    largest = learn_sizes(record, x, seen, levels, sizes)
    rs = x - seasonal
    rw = rs - shrunk(record["week"], record["week_counts"], bins[1])
    if not (answer[1] > 1.0 and int(record["away"]) > AWAY_SAMPLES_MIN):
        learn_profiles(record, bins, x - loaded(record["slow"]), rs)
    raw = learn(record, x, seen, rs, rw, largest)
    fading = loaded(record["record"]) * _RECORD_KEPT
    if seen == WARM_UP_SAMPLES:
        fading = _RECORD_FIRST
    record["record"] = max(raw, fading)
    move_base(record)
    if not warm:
        return answer
    novelty = raw if raw > fading else 0.0
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
    expect(record, min(max(float(level), -VALUE_MAX), VALUE_MAX), int(hour % HOURS))


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


class EnvelopeLearner:
    """The compiled default: severity against four levels, novelty against seven running bounds; 1,153 bytes a series.

    ``timezone`` is the zone whose hours of day and week the profiles follow. State depends on it: it stands in the
    configuration hash by its name.
    """

    name = "envelope"
    version = 1
    warm_up_samples = WARM_UP_SAMPLES

    def __init__(self, timezone: UtcOffsets = UTC_OFFSETS) -> None:
        assert len(timezone.offsets_ms) == len(timezone.changes_ms) + 1
        self._zone = timezone
        self._state = np.zeros(0, dtype=STATE)

    def reserve(self, capacity: int) -> None:
        """Make room for the slots 0 to ``capacity`` - 1, keeping what was learnt."""
        if capacity > len(self._state):
            self._state = grown(self._state, capacity, np.zeros(1, dtype=STATE))

    def score(self, slots: IntArray, times_ms: IntArray, values: FloatArray, out: ScoreColumns) -> int:
        """Score, then learn, in row order. Never meets an exception, so the answer is always 0."""
        assert len(slots) == len(times_ms) == len(values) == len(out)
        assert len(slots) == 0 or 0 <= int(slots.min()) <= int(slots.max()) < len(self._state)
        _score_rows(self._state, slots, times_ms, values, *self._zone, *out.columns())
        return 0

    def reset(self, slots: IntArray) -> None:
        """Forget: these slots are new series again."""
        self._state[slots] = np.zeros((), dtype=STATE)

    def rebaseline(self, slots: IntArray, times_ms: IntArray, levels: FloatArray) -> None:
        """Move all levels; usual sizes and profiles stay."""
        assert len(slots) == len(times_ms) == len(levels)
        for slot, time_ms, level in zip(slots.tolist(), times_ms.tolist(), levels.tolist(), strict=True):
            rebaseline(self._state[slot], time_ms, level, self._zone.at(time_ms))

    def samples_seen(self, slot: int) -> int:
        """How many samples the slot's series has been given since it was new."""
        return int(self._state["samples"][slot])

    def state_bytes(self) -> int:
        """Bytes of the state array, reserved rows included."""
        return self._state.nbytes

    def begin_copy(self, slots: IntArray) -> PartialCopy:
        """One column per field of the record."""
        return RecordsCopy(lambda: self._state, slots)

    def restore(self, slots: IntArray, columns: Columns) -> None:
        """Take the records of these slots from their fields."""
        put_fields(self._state, slots, columns)
