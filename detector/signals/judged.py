"""The pass over the templates of a window: what stands out, by what was known before it."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray
from detector.compiled import compiled
from detector.signals import counts as ct
from detector.signals.novelty import rarity
from detector.signals.records import CLASSES, LEVELS, ROLL_WINDOWS
from detector.signals.shares import CELL_MIN, REST_MIN, REST_SPREAD, cell_spread, g_term, share_digits, share_expected
from detector.signals.tails import none_digits

LN_10: Final = math.log(10.0)
GONE_DIGITS: Final = 3.0
"""A template has vanished where so long a silence had at most this probability."""

UP: Final = 0
DOWN: Final = 1
SHARE_UP: Final = 2
SHARE_DOWN: Final = 3
MEAN: Final = 4
VARIANCE: Final = 5
SHARE_MEAN: Final = 6
SHARE_VARIANCE: Final = 7
MIX: Final = 8
JUDGED: Final = 9
"""Columns of what is found out about each template: digits, what was expected, its part of G."""

FREEDOM: Final = 0
G: Final = 1
GONE: Final = 2
GONE_NOW: Final = 3
LOOKED_AT: Final = 4
MOST_UP: Final = 5
MOST_DOWN: Final = 6
MOST_SHARE_UP: Final = 7
MOST_SHARE_DOWN: Final = 8
RARITY: Final = 9
OVER: Final = 10
"""By class: lines of templates beyond what they may have by chance; the last of them that of all lines."""
MOST_OF: Final = OVER + CLASSES + 1
"""By class, and of all: the digits of its template that stands out most; then how many templates it has."""
SIZE_OF: Final = MOST_OF + CLASSES + 1
FOUND: Final = SIZE_OF + CLASSES + 1
"""What the pass adds up."""


@compiled
def judge_templates(
    rows: NDArray[np.void],
    lines_by_row: NDArray[np.uint32],
    classes_by_row: NDArray[np.int8],
    service: np.void,
    whole: np.void,
    lines: float,
    warm_up: int,
    judged: FloatArray,
    present: FloatArray,
    found: FloatArray,
) -> None:
    """Digits of every template's count and share, what they add to G, and the rest that the signals need."""
    season, season_mean = float(service["season"]), float(service["season_mean"])
    recent_lines = float(service["decayed"])
    all_slow, slow_windows = ct.slow_mean(whole), float(whole["slow_windows"])
    own_lines = own_mean = 0.0
    for i in range(len(rows)):
        row = rows[i]
        x = float(lines_by_row[i])
        judged[i, :] = 0.0
        if row["total"] == 0 and x == 0.0:
            continue
        mean, variance = ct.expected(row, season, season_mean)
        up, down = ct.digits(x, mean, variance)
        explain(found, int(classes_by_row[i]), x, mean, variance, up)
        if row["total"] == 0:
            continue
        share_mean, share_variance = share_expected(row, lines, recent_lines, all_slow)
        judged[i, MEAN], judged[i, VARIANCE] = mean, variance
        judged[i, SHARE_MEAN], judged[i, SHARE_VARIANCE] = share_mean, share_variance
        if slow_windows > 0.0:
            presence = float(row["presence"]) * float(row["slow_windows"]) / slow_windows
            k = rarity(presence)
            present[k] += presence
            if x > 0.0 and k > found[RARITY]:
                found[RARITY] = k
        cell = lines * float(row["decayed"]) / recent_lines if recent_lines > 0.0 else 0.0
        if cell >= CELL_MIN:
            judged[i, MIX] = g_term(x, cell, cell_spread(row, cell))
            found[G] += judged[i, MIX]
            found[FREEDOM] += 1.0
            own_lines += x
            own_mean += cell
        if row["windows"] < warm_up:
            continue
        found[LOOKED_AT] += 1.0
        judged[i, UP], judged[i, DOWN] = up, down
        found[MOST_UP], found[MOST_DOWN] = max(found[MOST_UP], up), max(found[MOST_DOWN], down)
        up, down = share_digits(x, lines, share_mean, share_variance)
        judged[i, SHARE_UP], judged[i, SHARE_DOWN] = up, down
        found[MOST_SHARE_UP] = max(found[MOST_SHARE_UP], up)
        found[MOST_SHARE_DOWN] = max(found[MOST_SHARE_DOWN], down)
        silent = float(row["silent"]) + 1.0
        if x == 0.0 and silent <= ROLL_WINDOWS and silent * none_digits(mean, variance) >= GONE_DIGITS:
            found[GONE] += 1.0
            if silent <= 2.0:  # noqa: PLR2004 - this window or the one before
                found[GONE_NOW] += 1.0
    rest = max(lines - own_mean, REST_MIN)
    found[G] += g_term(max(lines - own_lines, 0.0), rest, REST_SPREAD)


@compiled
def explain(found: FloatArray, severity: int, x: float, mean: float, variance: float, up: float) -> None:
    """How far one template alone explains that its class, and the service, has many lines."""
    limit = mean + ct.PREFILTER_LINES + ct.PREFILTER_SDS * math.sqrt(variance)
    for k in range(CLASSES + 1):
        if k != severity and k != CLASSES:  # noqa: PLR1714 - a tuple of two types is none to the compiler
            continue
        found[OVER + k] += max(x - limit, 0.0)
        found[MOST_OF + k] = max(found[MOST_OF + k], up)
        found[SIZE_OF + k] += 1.0


@compiled
def explained(found: FloatArray, k: int, x: float, digits: float, mean: float, variance: float) -> float:
    """The digits of a sum of templates: at most those of what is left without clumps, and of the largest clump.

    Lines in clumps have a longer tail than a sum of their variance: one clump is as improbable as its template says.
    """
    if digits == 0.0:
        return 0.0
    smooth, _ = ct.digits(max(math.floor(x - found[OVER + k]), 0.0), mean, variance)
    most = found[MOST_OF + k] - math.log(max(found[SIZE_OF + k], 1.0)) / LN_10
    return float(min(digits, smooth + max(most, 0.0)))


@compiled
def count_new(
    rows: NDArray[np.void],
    lines_by_row: NDArray[np.uint32],
    classes_by_row: NDArray[np.int8],
    new: FloatArray,
    once: FloatArray,
) -> None:
    """New templates and those seen in one window only, by level."""
    for i in range(1, len(rows)):
        row = rows[i]
        first = row["total"] == 0 and lines_by_row[i] > 0
        if not first and row["active"] != 1.0:
            continue
        severity = int(classes_by_row[i]) if first else int(row["severity"])
        for level in range(LEVELS):
            if level == 0 or severity >= level + 2:
                if first:
                    new[level] += 1.0
                else:
                    once[level] += 1.0
