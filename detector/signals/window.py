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
    HELD_MAX,
    HIGH,
    HIGH_OF_ERRORS,
    SLOWED,
    learn_series,
    learn_templates,
    renew_shares,
)
from detector.signals.novelty import RARITIES, new_per_line, rare_digits
from detector.signals.rates import faded, learn_rate, rate_digits, rate_spread, usual_share
from detector.signals.records import CLASSES, LEVELS, ROLL_WINDOWS
from detector.signals.seasons import HOUR_MS, end_hour, factor_at, learn_season
from detector.signals.shares import MIX_LINES_MIN, learn_mix, mix_digits

NEW_WINDOWS: Final = 3
"""Windows before new templates say anything."""
WARNING: Final = 3
"""The first class of severity whose surge is a signal."""
MANY_MIN: Final = 4.0
MANY_SHARE: Final = 0.05
"""New templates in a change of format: at least so many, and so large a part of those in use."""
GONE_SHARE: Final = 0.25
"""Of the new ones as many have vanished."""
MIX_WARM_UP: Final = 3
"""One part in so many of the warm-up passes before G is learnt, and as many windows of it are needed."""
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
    service: np.void,
    level: np.void,
    lines: float,
    out: FloatArray,
    found: FloatArray,
    up: float,
    errors: float,
) -> float:
    """-log10 P of so many new templates within the windows of a deploy, where they take the place of others; else 0.

    They do where a quarter as many have vanished meanwhile, or the service's lines are about as before (``up`` 0),
    while errors do not surge and most of what is new is none (``errors``). What has begun goes on while templates come
    or go.
    """
    total, rate = 0.0, math.inf
    for k in range(ROLL_WINDOWS):
        total += float(service["roll_new"][k])
        rate = min(rate, float(service["roll_rate"][k]))
    now = out[NEW_COUNT] >= MANY_MIN or found[jd.GONE_NOW] >= MANY_MIN
    if not now or total < max(MANY_MIN, MANY_SHARE * found[jd.LOOKED_AT]) or out[SEVERITY] > HIGH:
        return 0.0
    replaced = found[jd.GONE] >= GONE_SHARE * total or up == 0.0
    if service["changing"] == 0 and (not replaced or 2.0 * errors > out[NEW_COUNT]):
        return 0.0
    mean = max(rate * lines * ROLL_WINDOWS, ct.MEAN_MIN)
    return rate_digits(level, total, mean)


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
    ready = service["windows"] >= warm_up
    turn_season(rows, service, whole, window_ms + offset_ms, length_ms)
    season, place = float(service["season"]), int(service["place"])
    present, found = np.zeros(RARITIES), np.zeros(jd.FOUND)
    new, once, new_means = np.zeros(LEVELS), np.zeros(LEVELS), np.zeros(LEVELS)
    out[:] = 0.0
    jd.judge_templates(rows, lines_by_row, classes_by_row, service, whole, lines, warm_up, judged, present, found)
    jd.count_new(rows, lines_by_row, classes_by_row, new, once)
    mean, variance = ct.expected(whole, season, float(service["season_mean"]))
    up, down = ct.digits(lines, mean, variance)
    up = jd.explained(found, CLASSES, lines, up, mean, variance)
    out[LINES_MEAN], out[NEW_COUNT], out[GONE_COUNT], out[RARITY] = mean, new[0], found[jd.GONE], found[jd.RARITY]
    _judge_rates(service, rates, lines, lines_by_class, new, once, new_means, found, out, ready)
    if ready:
        _judge_rows(service, whole, lines, warm_up, new[0], new_means[0], present, found, out, up, down)
    _learn_roll(service, new[0], new_means[0] / max(lines, 1.0))
    if ready:
        out[FORMAT_CHANGE] = format_digits(service, rates[CLASSES], lines, out, found, up, new[LEVELS - 1])
        out[COMBINED] = combined_digits(out)
        for k in (RARE, SEVERITY, MIX, SHARE_UP, SHARE_DOWN):
            out[SCORE] += min(out[k], SCORE_PART_MAX)
    pace = _pace(service, out)
    changing = bool(service["changing"] > 0)
    decayed = learn_templates(rows, lines_by_row, classes_by_row, judged, window_ms, season, place, pace, changing)
    learn_series(whole, lines, mean, variance, max(up, down), season, place, changing)
    _learn_service(service, rates, lines, lines_by_class, new, new_means, out, pace)
    if changing:
        service["decayed"] = decayed
    if _mixed(lines, found) and MIX_WARM_UP * service["windows"] >= warm_up:
        learn_mix(service, found[jd.G], found[jd.FREEDOM], lines, min(pace, 1.0))
    if service["held"] >= HELD_MAX:
        _renew_service(rows, service, whole)
    learn_season(service, lines, window_ms + offset_ms)
    service["place"] = (place + 1) % RECENT_WINDOWS
    service["windows"] += 1


@compiled
def _mixed(lines: float, found: FloatArray) -> bool:
    """Whether there are enough lines to tell a mix."""
    return bool(lines >= MIX_LINES_MIN and found[jd.FREEDOM] > 0.0)


@compiled
def _judge_rates(
    service: np.void,
    rates: NDArray[np.void],
    lines: float,
    lines_by_class: IntArray,
    new: FloatArray,
    once: FloatArray,
    new_means: FloatArray,
    found: FloatArray,
    out: FloatArray,
    ready: bool,  # noqa: FBT001 - compiled functions take what they take by place
) -> None:
    """Severities and new templates; what was expected of them is needed for learning, too."""
    recent, ever = float(service["decayed"]), float(service["lines"])
    for k in range(CLASSES):
        mean = max(lines * usual_share(rates[k], recent, ever), ct.MEAN_MIN)
        out[CLASS_MEANS + k] = mean
        if ready and k >= WARNING:
            x = float(lines_by_class[k])
            digits = jd.explained(found, k, x, rate_digits(rates[k], x, mean), mean, rate_spread(rates[k], mean))
            out[SEVERITY] = max(out[SEVERITY], of_many(digits, float(CLASSES - WARNING)))
    most = 0.0
    for k in range(LEVELS):
        rate = rates[CLASSES + k]
        new_means[k] = max(lines * new_per_line(rate, once[k], recent, ever), ct.MEAN_MIN)
        most = max(most, rate_digits(rate, new[k], new_means[k]))
    if service["windows"] >= NEW_WINDOWS and lines > 0.0:
        out[NEW] = of_many(most, float(LEVELS))


@compiled
def _judge_rows(
    service: np.void,
    whole: np.void,
    lines: float,
    warm_up: int,
    new: float,
    new_mean: float,
    present: FloatArray,
    found: FloatArray,
    out: FloatArray,
    up: float,
    down: float,
) -> None:
    """What the pass over the templates found, as signals; ``up`` and ``down`` digits of all lines."""
    looked_at = found[jd.LOOKED_AT]
    out[COUNT_UP] = of_many(max(found[jd.MOST_UP], up), looked_at + 1.0)
    out[COUNT_DOWN] = of_many(max(found[jd.MOST_DOWN], down), looked_at + 1.0)
    out[SHARE_UP] = of_many(found[jd.MOST_SHARE_UP], looked_at)
    out[SHARE_DOWN] = of_many(found[jd.MOST_SHARE_DOWN], looked_at)
    if _mixed(lines, found) and MIX_WARM_UP * service["mix_windows"] >= warm_up:
        out[MIX] = mix_digits(service, found[jd.G], found[jd.FREEDOM], lines)
    if lines > 0.0 and (found[jd.RARITY] > 0.0 or new > 0.0):
        rarest = RARITIES if new > 0.0 else int(found[jd.RARITY])
        out[RARE] = rare_digits(present, rarest, new_mean, lines / ct.slow_mean(whole))


@compiled
def _renew_service(rows: NDArray[np.void], service: np.void, whole: np.void) -> None:
    """What has stood out for so long is what is usual."""
    renew_shares(rows)
    service["held"] = 0
    service["decayed"] = 0.0
    for k in range(RECENT_WINDOWS):
        service["decayed"] += float(whole["recent"][k])


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
        return 1.0
    high = max(out[MIX], out[SHARE_UP], out[SHARE_DOWN])
    if high > HIGH or max(out[SEVERITY], out[NEW]) > HIGH_OF_ERRORS:
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
        if service["windows"] >= NEW_WINDOWS:
            learn_rate(rates[CLASSES + k], new[k], new_means[k], 1.0, weight)
    service["decayed"] = faded(float(service["decayed"]), lines, pace)
    service["lines"] += np.int64(lines)
    gain = ct.GAIN * weight
    service["season_mean"] += gain * (float(service["season"]) - float(service["season_mean"]))
