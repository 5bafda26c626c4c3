"""One closed window of one service: judged by what was known before it, then learnt."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray, IntArray
from detector.compiled import compiled
from detector.log_batches import RECENT_WINDOWS
from detector.signals import counts as ct
from detector.signals import judged as jd
from detector.signals.learning import (
    CHANGING_SPEED,
    HELD_MAX,
    HIGH,
    SLOWED,
    learn_series,
    learn_templates,
    renew_shares,
)
from detector.signals.novelty import RARITIES, new_per_line, rare_digits
from detector.signals.rates import faded, learn_rate, rate_digits, usual_share
from detector.signals.records import CLASSES, LEVELS, ROLL_WINDOWS
from detector.signals.seasons import HOUR_MS, end_hour, factor_at
from detector.signals.shares import MIX_LINES_MIN, learn_mix, mix_digits, slow_mean

NEW_WINDOWS: Final = 3
"""Windows before new templates say anything."""
WARNING: Final = 3
"""The first class of severity whose surge is a signal."""
MANY_MIN: Final = 3.0
MANY_SHARE: Final = 0.1
"""New templates in a change of format: at least so many, and so large a part of those in use."""
GONE_SHARE: Final = 0.25
"""Of the new ones as many have vanished; or else known templates lack half as many lines as the new ones have."""
MISSING_SHARE: Final = 0.5
SCORE_PART_MAX: Final = 8.0
_LN_10: Final = math.log(10.0)

COUNT_UP: Final = 0
COUNT_DOWN: Final = 1
MIX: Final = 2
SEVERITY: Final = 3
RARE: Final = 4
NEW: Final = 5
SHARE_UP: Final = 6
SHARE_DOWN: Final = 7
FORMAT_CHANGE: Final = 8
SIGNAL_COUNT: Final = 9
LINES_MEAN: Final = 9
COMBINED: Final = 10
SCORE: Final = 11
NEW_COUNT: Final = 12
GONE_COUNT: Final = 13
RARITY: Final = 14
CLASS_MEANS: Final = 15
OUT: Final = CLASS_MEANS + CLASSES
"""What is found out about a window: the signals, and these."""


@compiled
def of_many(digits: float, count: float) -> float:
    """The digits of the largest of ``count`` by Bonferroni's inequality."""
    return max(digits - math.log(max(count, 1.0)) / _LN_10, 0.0)


@compiled
def combined_digits(out: FloatArray) -> float:
    """All signals as one: the harmonic mean of their p, which stays valid however they depend on one another.

    Source: Wilson (2019), "The harmonic mean p-value for combining dependent tests", PNAS 116.
    """
    most = 0.0
    for k in range(SIGNAL_COUNT):
        most = max(most, out[k])
    total = 0.0
    for k in range(SIGNAL_COUNT):
        total += math.exp((out[k] - most) * _LN_10)
    return max(most + math.log(total / SIGNAL_COUNT) / _LN_10, 0.0)


@compiled
def turn_season(rows: NDArray[np.void], service: np.void, whole: np.void, local_ms: int, window_ms: int) -> None:
    """Set the factor of the window; where another hour is known now, means by the factor stay what they stand for."""
    season = factor_at(service, local_ms)
    before = season
    if end_hour(service, local_ms // HOUR_MS, float(HOUR_MS) / window_ms):
        season = factor_at(service, local_ms)
        ratio = before / season
        whole["seasonal_mean"] *= ratio
        for i in range(len(rows)):
            rows[i]["seasonal_mean"] *= ratio
        service["season_mean"] /= ratio
    service["season"] = season


@compiled
def format_digits(
    service: np.void, lines: float, out: FloatArray, found: FloatArray, in_use: float, missing: float, news: float
) -> float:
    """-log10 P of so many new templates within the windows of a deploy, where they take the place of others; else 0.

    They do where a quarter as many have vanished meanwhile, or where known templates lack at least half as many
    lines (``missing``) as the new ones have (``news``), while neither the service's lines nor its errors surge.
    """
    total, rate = 0.0, math.inf
    for k in range(ROLL_WINDOWS):
        total += float(service["roll_new"][k])
        rate = min(rate, float(service["roll_rate"][k]))
    now = out[NEW_COUNT] >= MANY_MIN or found[jd.GONE_NOW] >= MANY_MIN
    if not now or total < max(MANY_MIN, MANY_SHARE * in_use) or out[SEVERITY] > HIGH:
        return 0.0
    replaced = found[jd.GONE] >= GONE_SHARE * total or (news > 0.0 and missing >= MISSING_SHARE * news)
    if not replaced and service["changing"] == 0:
        return 0.0
    mean = max(rate * lines * ROLL_WINDOWS, ct.MEAN_MIN)
    up, _ = ct.digits(total, mean, ct.spread_of(mean, 0.0, 0.0, 0.0, 0.0))
    return up


@compiled
def close_window(
    rows: NDArray[np.void],
    lines_by_row: NDArray[np.uint32],
    classes_by_row: NDArray[np.int8],
    lines_by_class: IntArray,
    line_count: int,
    services: NDArray[np.void],
    rates: NDArray[np.void],
    wholes: NDArray[np.void],
    judged: FloatArray,
    out: FloatArray,
    window_ms: int,
    offset_ms: int,
    length_ms: int,
    warm_up: int,
) -> None:
    """Judge a window into ``out`` and ``judged``, then learn it.

    ``rows`` SERIES[r] of the templates by number, ``lines_by_row`` uint32[r], ``classes_by_row`` int8[r] their largest
    severity, ``lines_by_class`` int64[6]; ``services`` SERVICE[1], ``rates`` RATE[6 + 3] of the classes and of new
    templates, ``wholes`` SERIES[1] of all lines; ``judged`` float64[r, JUDGED]; ``out`` float64[OUT].
    """
    service, whole = services[0], wholes[0]
    lines = float(line_count)
    seen = int(service["windows"])
    turn_season(rows, service, whole, window_ms + offset_ms, length_ms)
    season = float(service["season"])
    present = np.zeros(RARITIES)
    found = np.zeros(jd.FOUND)
    new, once, new_means = np.zeros(LEVELS), np.zeros(LEVELS), np.zeros(LEVELS)
    out[:] = 0.0
    jd.judge_templates(rows, lines_by_row, service, whole, lines, warm_up, judged, present, found)
    news = jd.count_new(rows, lines_by_row, classes_by_row, new, once)
    mean, variance = ct.expected(whole, season, float(service["season_mean"]))
    up, down = ct.digits(lines, mean, variance)
    ready = seen >= warm_up
    recent, ever = float(service["decayed"]), float(service["lines"])
    out[LINES_MEAN], out[NEW_COUNT], out[GONE_COUNT], out[RARITY] = mean, new[0], found[jd.GONE], found[jd.RARITY]
    for k in range(CLASSES):
        out[CLASS_MEANS + k] = lines * usual_share(rates[k], recent, ever)
        if ready and k >= WARNING:
            digits = rate_digits(rates[k], float(lines_by_class[k]), max(out[CLASS_MEANS + k], ct.MEAN_MIN))
            out[SEVERITY] = max(out[SEVERITY], of_many(digits, float(CLASSES - WARNING)))
    most_new = 0.0
    for k in range(LEVELS):
        rate = rates[CLASSES + k]
        new_means[k] = max(lines * new_per_line(rate, once[k], recent, ever), ct.MEAN_MIN)
        most_new = max(most_new, rate_digits(rate, new[k], new_means[k]))
    if seen >= NEW_WINDOWS and lines > 0.0:
        out[NEW] = of_many(most_new, float(LEVELS))
    freedom = found[jd.FREEDOM]
    mixed = lines >= MIX_LINES_MIN and freedom > 0.0
    if ready:
        looked = found[jd.LOOKED_AT]
        out[COUNT_UP] = of_many(max(found[jd.MOST_UP], up), looked + 1.0)
        out[COUNT_DOWN] = of_many(max(found[jd.MOST_DOWN], down), looked + 1.0)
        out[SHARE_UP] = of_many(found[jd.MOST_SHARE_UP], looked)
        out[SHARE_DOWN] = of_many(found[jd.MOST_SHARE_DOWN], looked)
        if mixed and 3 * service["mix_windows"] >= warm_up:
            out[MIX] = mix_digits(service, found[jd.G], freedom, lines)
        if lines > 0.0 and (found[jd.RARITY] > 0.0 or new[0] > 0.0):
            rarest = RARITIES if new[0] > 0.0 else int(found[jd.RARITY])
            out[RARE] = rare_digits(present, rarest, new_means[0], lines / slow_mean(whole))
    _learn_roll(service, new[0], new_means[0] / max(lines, 1.0))
    if ready:
        out[FORMAT_CHANGE] = format_digits(service, lines, out, found, looked, mean - (lines - news), news)
        out[COMBINED] = combined_digits(out)
        for k in (RARE, SEVERITY, MIX, SHARE_UP, SHARE_DOWN):
            out[SCORE] += min(out[k], SCORE_PART_MAX)
    pace = _pace(service, out)
    changing = bool(service["changing"] > 0)
    place = int(service["place"])
    learn_templates(rows, lines_by_row, classes_by_row, judged, window_ms, season, place, pace, changing)
    learn_series(whole, lines, mean, variance, max(up, down), season, place, changing)
    _learn_service(service, rates, lines, lines_by_class, new, new_means, out, pace)
    if mixed and 3 * seen >= warm_up:
        learn_mix(service, found[jd.G], freedom, lines, min(pace, 1.0))
    if service["held"] >= HELD_MAX:
        renew_shares(rows)
        service["held"] = 0
        service["decayed"] = 0.0
        for k in range(RECENT_WINDOWS):
            service["decayed"] += float(whole["recent"][k])
    service["hour_sum"] += min(lines, mean + HIGH * math.sqrt(variance)) if ready else lines
    service["hour_windows"] += 1
    service["place"] = (place + 1) % RECENT_WINDOWS
    service["windows"] += 1


@compiled
def _learn_roll(service: np.void, new: float, rate: float) -> None:
    """The windows within which a deploy rolls: this one last."""
    for k in range(ROLL_WINDOWS - 1):
        service["roll_new"][k] = service["roll_new"][k + 1]
        service["roll_rate"][k] = service["roll_rate"][k + 1]
    service["roll_new"][ROLL_WINDOWS - 1] = new
    service["roll_rate"][ROLL_WINDOWS - 1] = rate


@compiled
def _pace(service: np.void, out: FloatArray) -> float:
    """How fast the service's shares and rates are learnt from this window, in gains."""
    if out[FORMAT_CHANGE] > HIGH:
        service["changing"] = ROLL_WINDOWS
    elif service["changing"] > 0:
        service["changing"] -= 1
    if service["changing"] > 0:
        return CHANGING_SPEED
    high = max(max(out[MIX], out[SEVERITY]), max(out[SHARE_UP], out[SHARE_DOWN]), out[NEW])
    if high > HIGH:
        service["held"] += 1
        return SLOWED
    if service["held"] > 0:
        service["held"] -= 1
    return 1.0


@compiled
def _learn_service(
    service: np.void,
    rates: NDArray[np.void],
    lines: float,
    lines_by_class: IntArray,
    new: FloatArray,
    new_means: FloatArray,
    out: FloatArray,
    pace: float,
) -> None:
    """Take in the rates, and how many lines there were."""
    weight, speed = min(pace, 1.0), max(pace, 1.0)
    for k in range(CLASSES):
        learn_rate(rates[k], float(lines_by_class[k]), max(out[CLASS_MEANS + k], ct.MEAN_MIN), speed, weight)
    for k in range(LEVELS):
        learn_rate(rates[CLASSES + k], new[k], new_means[k], 1.0, weight)
    service["decayed"] = faded(float(service["decayed"]), lines, pace)
    service["lines"] += np.int64(lines)
    gain = ct.GAIN * weight
    service["season_mean"] += gain * (float(service["season"]) - float(service["season_mean"]))
