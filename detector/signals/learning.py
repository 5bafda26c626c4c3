"""The second pass over the templates of a window: learning.

Learning is slowed to a tenth where something stands out: for a series by its own count, for shares and rates by the
service's signals. What stands out for ``HELD_MAX`` windows is the new normal: the last windows take the place of what
was remembered. A change of format is learnt at once.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray
from detector.compiled import compiled
from detector.log_batches import RECENT_WINDOWS
from detector.signals import counts as ct
from detector.signals.judged import DOWN, MEAN, SHARE_DOWN, SHARE_MEAN, SHARE_UP, SHARE_VARIANCE, UP, VARIANCE
from detector.signals.rates import faded
from detector.signals.shares import learn_share

HIGH: Final = 3.0
"""Digits from which learning is slowed."""
HIGH_OF_ERRORS: Final = 1.5
"""The same of severities and of new templates: what is new among errors says little at first, and must not be learnt
before the next windows have said the same."""
SLOWED: Final = 0.1
HELD_MAX: Final = 30
REPLACED_SPEED: Final = 30.0
"""A change of format: gain .6 for templates that are new or whose lines stand out meanwhile."""


@compiled
def renew(row: np.void, season: float) -> None:
    """The last windows are what is usual."""
    mean = 0.0
    for k in range(RECENT_WINDOWS):
        mean += float(row["recent"][k])
    mean /= RECENT_WINDOWS
    square = 0.0
    for k in range(RECENT_WINDOWS):
        off = float(row["recent"][k]) - mean
        square += off * off
    row["mean"] = mean
    row["variance"] = square / RECENT_WINDOWS
    row["seasonal_mean"] = mean / season
    row["seasonal_variance"] = square / RECENT_WINDOWS
    row["weight"] = RECENT_WINDOWS * ct.GAIN / (1.0 + RECENT_WINDOWS * ct.GAIN)
    row["held"] = 0


@compiled
def learn_series(
    row: np.void,
    x: float,
    mean: float,
    variance: float,
    digits: float,
    season: float,
    place: int,
    changing: bool,  # noqa: FBT001 - compiled functions take what they take by place
) -> None:
    """Take in one series' window; ``digits`` say how far off it was."""
    weight = speed = 1.0
    if digits > HIGH and changing:
        speed = REPLACED_SPEED
    elif digits > HIGH:
        weight = SLOWED
        row["held"] += 1
    elif row["held"] > 0:
        row["held"] -= 1
    row["recent"][place] = np.uint32(x)
    row["total"] += np.int64(x)
    row["silent"] = row["silent"] + 1 if x == 0.0 else 0
    ct.learn(row, x, mean, variance, season, speed, weight)
    if row["held"] >= HELD_MAX:
        renew(row, season)


@compiled
def off_most(judged: FloatArray, i: int) -> float:
    """The most that a template's count or share stands out by."""
    return float(max(judged[i, UP], judged[i, DOWN], judged[i, SHARE_UP], judged[i, SHARE_DOWN]))


@compiled
def learn_templates(
    rows: NDArray[np.void],
    lines_by_row: NDArray[np.uint32],
    classes_by_row: NDArray[np.int8],
    judged: FloatArray,
    window_ms: int,
    season: float,
    place: int,
    pace: float,
    changing: bool,  # noqa: FBT001 - compiled functions take what they take by place
) -> float:
    """Take in every template's window; ``pace`` is that of the service's shares. Gives the sum of decayed lines."""
    weight = min(pace, 1.0)
    decayed = 0.0
    for i in range(len(rows)):
        row = rows[i]
        x = float(lines_by_row[i])
        own_pace = pace
        if changing and (row["total"] == 0 or off_most(judged, i) > HIGH):
            own_pace = REPLACED_SPEED
        if row["total"] == 0:
            if x == 0.0:
                continue
            row["first_ms"] = window_ms
        else:
            limit = np.inf if weight == 1.0 else ct.CLIPPED_SQUARES * judged[i, SHARE_VARIANCE]
            learn_share(row, x, judged[i, SHARE_MEAN], limit)
        if x > 0.0:
            row["severity"] = classes_by_row[i]
        digits = max(judged[i, UP], judged[i, DOWN])
        learn_series(row, x, judged[i, MEAN], judged[i, VARIANCE], digits, season, place, changing)
        row["decayed"] = faded(float(row["decayed"]), x, own_pace)
        decayed += float(row["decayed"])
    return decayed


@compiled
def renew_shares(rows: NDArray[np.void]) -> None:
    """The last windows' shares are what is usual."""
    for i in range(len(rows)):
        row = rows[i]
        if row["total"] == 0:
            continue
        lines = 0.0
        for k in range(RECENT_WINDOWS):
            lines += float(row["recent"][k])
        row["decayed"] = lines
