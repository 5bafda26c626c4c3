"""Where a series was before it left its band: an incident does not become normal, and its end is none.

::

    at home ──▶ out: 1 to 5 samples outside ──▶ guarded ──▶ unguarded
       ▲               │                            │            │
       └───────────────┴── 3 samples inside in a row ┴────────────┘

From the first sample outside on, the levels of before it (home) are what the next ones are judged by. Up to five of
them a sample is also compared with the previous one, since spikes belong to a series' noise. From the sixth on, or
when it has been back in between, the series is guarded: usual sizes and profiles learn nothing from outside. After a
day, or a fifth of the age of a younger series, home is forgotten; the levels that have followed all the time judge.
"""

import math
from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.learners.envelope_band import Four, Parabola, parabola, severity
from detector.learners.envelope_state import HOURS, STEP_SAMPLES, learn_home, loaded

GUARD_MS: Final = 86_400_000
"""An incident that is older is no incident."""
GUARD_AGE_PARTS: Final = 5.0
"""A young series may be anything: a series of 30 hours guards its home for the six hours of an incident."""
OUT_SAMPLES: Final = 5
"""A shorter excursion moves the levels too little for its end to matter."""
GUARDED: Final = OUT_SAMPLES + 1
UNGUARDED: Final = OUT_SAMPLES + 2
CALM_SAMPLES: Final = 3
"""Samples inside after which an excursion is over. Two are too few for a value that swings around the edge; 10 made
the Numenta benchmark lose a point."""
YOUNG_HOURS: Final = 2 * HOURS
"""A younger series has not come back to each of its hours: what its day does is not in its profile yet."""
_HOUR_MS: Final = 3_600_000.0


@compiled
def phase(record: np.void, time_ms: int, hour: int) -> int:
    """How many samples outside there have been, up to ``GUARDED``, 0 at home; ``UNGUARDED`` once home is forgotten."""
    away = int(record["away"])
    if away in (0, UNGUARDED):
        return away
    passed_ms = float(time_ms - int(record["away_ms"]))
    age_ms = float(hour - int(record["first_hour"])) * _HOUR_MS
    if passed_ms >= GUARD_MS or passed_ms * GUARD_AGE_PARTS >= age_ms:
        away = UNGUARDED
        record["away"] = away
    return away


@compiled
def home_levels(record: np.void, profile: float, previous: float) -> Four:
    """The levels of before, with what this hour usually adds."""
    seasonal = loaded(record["home_slow"]) + profile
    return loaded(record["home_fast"]), seasonal, previous, loaded(record["home_slowest"])


@compiled
def home_weights(record: np.void, shares: Four, away: int, hour: int) -> Four:
    """The reciprocals of the usual residuals at home.

    Once guarded, the fast level and the one beside it count in the hour of leaving only: they do not know where a day
    goes.
    """
    if away <= OUT_SAMPLES or int(hour % HOURS) == int(record["home_hour"]):
        return shares
    return 0.0, shares[1], 0.0, shares[3]


@compiled
def _leave(record: np.void, time_ms: int, hour: int, is_job: bool) -> None:  # noqa: FBT001 - a kernel's flag
    """Keep the levels as home."""
    record["away"] = 1
    record["away_ms"] = time_ms
    record["calm"] = 0
    record["been_back"] = 0
    record["is_job"] = 1 if is_job else 0
    record["home_hour"] = int(hour % HOURS)
    record["home_fast"] = record["fast"]
    record["home_slow"] = record["slow"]
    record["home_slowest"] = record["slowest"]


@compiled
def _swings(record: np.void, x: float, edge: float, at_home: Parabola) -> bool:
    """Whether the series, out for a few samples, is out again after it was back; ``at_home`` is by home alone."""
    if severity(x, at_home) <= edge:
        record["been_back"] = 1
        return False
    return int(record["been_back"]) != 0


@compiled
def go_or_return(
    record: np.void,
    x: float,
    time_ms: int,
    hour: int,
    away: int,
    outside: bool,  # noqa: FBT001 - a kernel's flag
    is_job: bool,  # noqa: FBT001 - a kernel's flag
    edge: float,
    profile: float,
    shares: Four,
    gain_min: float,
) -> bool:
    """Note whether a sample lies outside, before the levels learn it; returns whether it ends an excursion.

    What lies inside teaches home.
    """
    if away == 0:
        if outside:
            _leave(record, time_ms, hour, is_job)
        return False
    if 0 < away <= OUT_SAMPLES:
        at_home = parabola(home_levels(record, profile, loaded(record["home_fast"])), shares)
        if _swings(record, x, edge, at_home):
            away = OUT_SAMPLES
    if outside:
        record["calm"] = 0
        record["away"] = min(away + 1, GUARDED) if away < UNGUARDED else UNGUARDED
        return False
    if away < UNGUARDED:
        learn_home(record, x, gain_min)
    record["away"] = away
    record["calm"] = int(record["calm"]) + 1
    if int(record["calm"]) < CALM_SAMPLES:
        return False
    record["away"] = 0
    return away < UNGUARDED


@compiled
def come_home(record: np.void, hour: int, edge: float, gain: float) -> None:
    """Let the levels be those of before the excursion; the fast one, in another hour, where the series has come to.

    Where a young series goes by its hours it has not shown yet. Its way since it left, up to the edge, then teaches the
    fast level's size what it would have, had that level followed: the squares of the residuals of one step.
    """
    if int(hour % HOURS) == int(record["home_hour"]):
        record["fast"] = record["home_fast"]
    else:
        if hour - int(record["first_hour"]) < YOUNG_HOURS:
            size = loaded(record["size"][0])
            way = min(abs(loaded(record["previous"]) - loaded(record["home_fast"])), edge * size)
            record["size"][0] = math.sqrt(size * size + way * way * STEP_SAMPLES * gain)
        record["fast"] = record["previous"]
    record["slow"] = record["home_slow"]
    record["slowest"] = record["home_slowest"]
