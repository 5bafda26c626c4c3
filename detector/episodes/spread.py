"""Variance: values that scatter much further than they usually do, on both sides of what is expected.

Measured in deviations with the sign of their side, which a learner has scaled by the series' usual noise: the mean
distance of the last rows (``spread``) against the root mean square of the last weeks (``usual_square``), and the mean
with its sign (``lean``), which tells a scatter from a level. A usual size by squares and not by distances, because a
series that bursts now and then has large squares, and its bursts are its nature.

An open episode is one cause, hence one episode: it ends the spike or dip that its first rows opened, and while it lasts
only what stands out from the scatter is anomalous.
"""

import math
from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.episodes.records import CLOSED, DOWN, LANES, NOTHING, OPENED, UP

SPREAD_RATE: Final = 0.05
"""Weight of a new row in the spread: about twenty rows of memory."""

LEAN_RATE: Final = 0.025
"""Weight of a new row in the lean, which is the mean of what mostly cancels and needs twice as many."""

USUAL_RATE: Final = 0.0005
"""Weight of a new row in the usual spread: about two thousand rows of memory."""

FIRST_ROWS: Final = 30
"""So many rows are taken as they are, since there is nothing yet to limit them by."""

ROWS_MIN: Final = 300
"""Rows before a spread is judged: what is usual is not known earlier."""

ROW_MAX: Final = 8.0
"""One row counts as at most this many usual spreads, so that a lone outlier is no scatter."""

ROW_OPEN_MAX: Final = 3.0
"""And in an open episode this many spreads, so that the spread follows a wide scatter but no new level."""

LEARNT_MAX: Final = 20.0
"""A row teaches the usual spread no more than this many of it."""

LEARNT_OPEN_MAX: Final = 3.0
"""And no more than this many while an episode is open: what goes on is usual after a day or two of minutes."""

LEAN_MAX: Final = 0.3
"""Part of the spread that the lean may be: beyond, the values have moved to one side."""

LEAN_OVER_MIN: Final = 0.5
"""Part of it from which an open scatter is over: what is there now is a level."""

SPREAD_MIN: Final = 0.3
"""Bands: a smaller mean distance is no matter, however calm the series was before."""

CALM_SHARE: Final = 0.6
"""An episode is over when the spread has stayed below this part of what opened it."""

FADING_SHARE: Final = 0.7
"""Part of its largest: a spread that has come down to less only remembers what is over, and opens nothing."""

FALLEN_SHARE: Final = 0.5
"""Part of its largest: a smaller spread has fallen."""

OUTLIER_SPREADS: Final = 5.0
"""In an open scatter a row is anomalous from so many mean distances on, four standard deviations of Gaussian noise."""

SWING_RATIO: Final = 1.3
"""In usual spreads: from here on the values scatter more than they should."""

MEAN_OF_ROOT: Final = 0.7978845608028654
"""Mean distance of Gaussian noise in its standard deviations: the square root of 2 / pi."""

ZERO: Final = np.uint64(0)

ROWS_COUNTED_MAX: Final = 65_535
"""What the counters hold."""


@compiled
def usual_spread(series: np.void) -> float:
    """Mean distance that the series' rows usually have, in bands."""
    return MEAN_OF_ROOT * math.sqrt(float(series["usual_square"]))


@compiled
def learn_spread(series: np.void, signed: float) -> None:
    """Follow the spread, the lean and the usual spread by one row's deviation with its sign."""
    rows = min(int(series["spread_rows"]) + 1, ROWS_COUNTED_MAX)
    series["spread_rows"] = rows
    usual = usual_spread(series)
    spread = float(series["spread"])
    taken = signed
    learnt = abs(signed)
    if rows > FIRST_ROWS and usual > 0.0:
        quiet = series["variance"] == 0 and series["open"][UP] == 0 and series["open"][DOWN] == 0
        limit = ROW_MAX * usual if series["variance"] == 0 else max(ROW_MAX * usual, ROW_OPEN_MAX * spread)
        taken = min(max(signed, -limit), limit)
        learnt = min(learnt, (LEARNT_MAX if quiet else LEARNT_OPEN_MAX) * usual)
    lean = float(series["lean"])
    square = float(series["usual_square"])
    series["spread"] = spread + (abs(taken) - spread) * max(SPREAD_RATE, 1.0 / rows)
    series["lean"] = lean + (taken - lean) * max(LEAN_RATE, 1.0 / rows)
    series["usual_square"] = square + (learnt * learnt - square) * max(USUAL_RATE, 1.0 / rows)


@compiled
def is_wide(series: np.void, policy: np.void) -> bool:
    """Whether the newest rows, already learnt, scatter widely and on both sides.

    Beside an open episode both sides means outside of the band on the other one, too: what swings between its episode
    and normal is flapping.
    """
    for lane in range(LANES):
        if series["open"][lane] != 0 and series["history"][UP + DOWN - lane] == ZERO:
            return False
    spread = float(series["spread"])
    wide = spread >= SPREAD_MIN and spread >= float(policy["spread_ratio"]) * usual_spread(series)
    return wide and abs(float(series["lean"])) <= LEAN_MAX * spread


@compiled
def step_spread(series: np.void, policy: np.void, time_ms: int, signed: float) -> int:
    """Learn one scored row and move the episode on; returns ``OPENED``, ``CLOSED`` or ``NOTHING``."""
    learn_spread(series, signed)
    spread = float(series["spread"])
    count = int(series["wide_rows"])
    if series["variance"] == 0:
        if int(series["spread_rows"]) <= ROWS_MIN or not is_wide(series, policy):
            series["wide_rows"] = 0
            return NOTHING
        if count == 0:
            series["variance_started_ms"] = time_ms
            series["variance_usual"] = usual_spread(series)
            series["variance_peak"] = 0.0
        series["wide_rows"] = min(count + 1, ROWS_COUNTED_MAX)
        series["variance_peak"] = max(float(series["variance_peak"]), spread)
        fading = spread < FADING_SHARE * float(series["variance_peak"])
        if count + 1 < int(policy["spread_points"]) or fading:
            return NOTHING
        series["variance_points"] = count + 1
        series["variance_last_ms"] = time_ms
        series["wide_rows"] = 0
        return OPENED
    series["variance_points"] = int(series["variance_points"]) + 1
    series["variance_peak"] = max(float(series["variance_peak"]), spread)
    least = CALM_SHARE * float(policy["spread_ratio"]) * usual_spread(series)
    level = abs(float(series["lean"])) >= LEAN_OVER_MIN * spread
    if spread >= max(least, CALM_SHARE * SPREAD_MIN) and not level:
        series["wide_rows"] = 0
        series["variance_last_ms"] = time_ms
        return NOTHING
    series["wide_rows"] = count + 1
    return CLOSED if count + 1 >= int(policy["spread_points"]) else NOTHING


@compiled
def is_usual_now(series: np.void, policy: np.void) -> bool:
    """Whether a spread that is calm now is so because the usual one has grown to it, and not because it fell."""
    spread = float(series["spread"])
    still_wide = spread >= CALM_SHARE * float(policy["spread_ratio"]) * float(series["variance_usual"])
    return still_wide and spread >= FALLEN_SHARE * float(series["variance_peak"])


@compiled
def outlier_min(series: np.void) -> float:
    """Deviation from which a row stands out from an open scatter; 0 where none is open."""
    return OUTLIER_SPREADS * float(series["spread"]) if series["variance"] != 0 else 0.0


@compiled
def is_swing(series: np.void, policy: np.void, other: int, deviation: float) -> bool:
    """Whether a row of one lane belongs to the open episode of the ``other`` one.

    So it is while the rows scatter more than usual and this one does not stand out from them.
    """
    if series["open"][other] == 0 or policy["spread_ratio"] == 0.0 or int(series["spread_rows"]) <= ROWS_MIN:
        return False
    spread = float(series["spread"])
    return spread >= SWING_RATIO * usual_spread(series) and deviation < OUTLIER_SPREADS * spread
