"""What an hour brings and leaves: its bins of the profiles, and the jobs that usually run in it.

A job is an excursion in the same quarters of an hour on two days in a row, or two weeks in a row; from the third time
on it is expected. One byte for each hour of the week remembers the last one: bits 0 to 3 the quarters in which the
series was outside, bits 4 and 5 how far as an index of :data:`HEIGHTS`, bit 6 that it was below, bit 7 that one of
these quarters was outside on the same side in the week before, too.
"""

from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.learners.envelope_state import COUNT_MAX, HOURS, WEEK, loaded, shrunk

HEIGHTS: Final = (2.5, 7.5, 30.0, 1000.0)
"""How far a job may go, in deviations."""
HEIGHT_SHARE: Final = 0.8
"""Jobs come within so much of the next height: what goes further needs the one after it."""
JOB_DEVIATION_MIN: Final = 0.5
"""So far out a job that is known is still the same one."""
_QUARTERS: Final = 15
_LAST_QUARTER: Final = 8
_HEIGHT: Final = 4
_HEIGHT_MASK: Final = 3
_DOWN: Final = 64
_AGAIN: Final = 128


@compiled
def _coded(excursion: float, quarters: int, before: int) -> int:
    """The byte of an hour whose largest deviation, below 0 for down, was ``excursion``; ``before`` is last week's."""
    if quarters == 0:
        return 0
    code = quarters
    for height in HEIGHTS[:-1]:
        if abs(excursion) > HEIGHT_SHARE * height:
            code += 1 << _HEIGHT
    if excursion < 0.0:
        code |= _DOWN
    if (before & quarters & _QUARTERS) != 0 and (before & _DOWN) == (code & _DOWN):
        code |= _AGAIN
    return code


@compiled
def _height(code: int) -> float:
    """How far the job of a byte may go."""
    return HEIGHTS[(code >> _HEIGHT) & _HEIGHT_MASK]


@compiled
def _allow_jobs(record: np.void, hour: int) -> None:
    """Note in which quarters of ``hour`` jobs are expected, how far they may go, and where a running one may go on.

    A running job may go on where it did yesterday, and into the first quarter.
    """
    week = int(record["jobs"][int(hour % WEEK)])
    yesterday = int(record["jobs"][int((hour - HOURS) % WEEK)])
    before = int(record["jobs"][int((hour - 2 * HOURS) % WEEK)])
    quarters = 0
    height = 0.0
    side = yesterday & _DOWN
    if (week & _AGAIN) != 0:
        quarters = week & _QUARTERS
        height = _height(week)
        side = week & _DOWN
    daily = yesterday & before & _QUARTERS
    if daily != 0 and (yesterday & _DOWN) == (before & _DOWN):
        quarters = daily | (quarters if side == (yesterday & _DOWN) else 0)
        height = max(height, min(_height(yesterday), _height(before)))
        side = yesterday & _DOWN
    continued = 0
    last = loaded(record["allowed"])
    was_allowed = int(record["allowed_quarters"]) | int(record["continued_quarters"])
    running = int(record["is_job"]) != 0 and int(record["away"]) > 0 and (was_allowed & _LAST_QUARTER) != 0
    if (yesterday & _QUARTERS) != 0 and side == (yesterday & _DOWN):
        continued = yesterday & _QUARTERS
        height = max(height, _height(yesterday))
    if running and (height == 0.0 or (side != 0) == (last < 0.0)):
        continued |= 1
        height = max(height, abs(last))
        side = _DOWN if last < 0.0 else 0
    record["allowed"] = -height if side != 0 else height
    record["allowed_quarters"] = quarters
    record["continued_quarters"] = continued


@compiled
def enter_hour(record: np.void, hour: int, seen: int) -> None:
    """Put back what the last hour has learnt and take what is known of this one; ``hour`` counts from the epoch.

    How many samples a bin has seen follows from the age of the series and the samples of the last hour. The fast level
    from before an excursion goes on with the profile.
    """
    if seen == 0:
        record["first_hour"] = hour
    else:
        last = int(record["hour"])
        place = int(last % WEEK)
        record["day"][int(last % HOURS)] = record["day_mean"]
        record["week"][place] = record["week_mean"]
        record["jobs"][place] = _coded(
            loaded(record["excursion"]), int(record["outside_quarters"]), int(record["jobs"][place])
        )
    before = shrunk(loaded(record["day_mean"]), int(record["day_count"]))
    age = max(hour - int(record["first_hour"]), 0)
    usual = int(record["hour_samples"])
    record["hour"] = hour
    record["hour_samples"] = 0
    record["day_count"] = min(age // HOURS * usual, COUNT_MAX)
    record["week_count"] = min(age // WEEK * usual, COUNT_MAX)
    record["day_mean"] = record["day"][int(hour % HOURS)]
    record["week_mean"] = record["week"][int(hour % WEEK)]
    after = shrunk(loaded(record["day_mean"]), int(record["day_count"]))
    record["home_fast"] = loaded(record["home_fast"]) + (after - before)
    record["excursion"] = 0.0
    record["outside_quarters"] = 0
    if int(record["away"]) == 0:
        record["is_job"] = 0
    _allow_jobs(record, hour)


@compiled
def neighbour_profile(record: np.void, hour: int, quarter: int) -> float:
    """What the hour beside adds to the level: the one before in the first quarter of an hour, else the one after.

    What a day usually does at five past does not keep to the hours of the clock. Bins that no sample has reached are 0.
    """
    beside = hour - 1 if quarter == 0 else hour + 1
    return shrunk(loaded(record["day"][int(beside % HOURS)]), int(record["day_count"]))


@compiled
def allowed_now(record: np.void, quarter: int) -> float:
    """How far a job may go in this quarter of the hour, in deviations and below 0 for down; 0 without any."""
    quarters = int(record["allowed_quarters"])
    if int(record["is_job"]) != 0:
        quarters |= int(record["continued_quarters"])
    return loaded(record["allowed"]) if (quarters >> quarter) & 1 != 0 else 0.0


@compiled
def note_excursion(record: np.void, quarter: int, excursion: float, allowed: float) -> None:
    """Note a sample that may be a job's: its deviation before any allowance, below 0 for down.

    That is one outside the band, or half outside where a job on that side is expected, whose samples widen the band.
    """
    if abs(excursion) <= (JOB_DEVIATION_MIN if allowed * excursion > 0.0 else 1.0):
        return
    record["outside_quarters"] = int(record["outside_quarters"]) | (1 << quarter)
    if abs(excursion) > abs(loaded(record["excursion"])):
        record["excursion"] = excursion
