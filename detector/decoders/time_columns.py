"""Columns of times as log records write them: epoch numbers, RFC 3339 text, objects of seconds and nanoseconds.

What a single value means is ``values.time_ms``; here whole columns are read at once, with the same answers. RFC 3339
texts are read as a matrix of characters, one row per text and all texts of one length together.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from detector.batches import BoolArray, IntArray
from detector.decoders import values as scalars

UNREADABLE: Final = -1
"""Stands for a value that is no time."""
EARLIEST_MS: Final = 10**11
"""March 1973: what lies before is a duration or a clock that was never set, not the time of a log line."""
LENGTHS_MAX: Final = 24
"""Distinct lengths of text in a column that are worth a matrix each; RFC 3339 has 19 to 35 characters."""

CLOCK_CHARACTERS: Final = 19
"""``yyyy-mm-ddThh:mm:ss``."""
FRACTION_DIGITS_MAX: Final = 12
MONTH_DAYS: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)
ZERO, NINE = ord("0"), ord("9")

Codes = NDArray[np.uint8]


def column_ms(values: Sequence[Any], utc_offset_ms: int) -> IntArray:
    """Epoch milliseconds of each value, int64; ``UNREADABLE`` where it is no time after ``EARLIEST_MS``.

    ``utc_offset_ms`` is taken off texts without a zone.
    """
    types = set(map(type, values))
    column: IntArray | None = None
    if types == {str}:
        column = _texts_ms(cast("Sequence[str]", values), utc_offset_ms)
    elif types in ({int}, {float}):
        column = scalars.times_ms(list(values), types)
    if column is None:
        column = np.fromiter((value_ms(value, utc_offset_ms) for value in values), np.int64, len(values))
    column[column < EARLIEST_MS] = UNREADABLE
    return column


def value_ms(value: object, utc_offset_ms: int) -> int:
    """:func:`column_ms` of one value."""
    if isinstance(value, dict):
        return _object_ms(value)
    found = scalars.time_ms(value)
    if found is None:
        return UNREADABLE
    if utc_offset_ms and isinstance(value, str):
        matched = scalars.RFC3339.fullmatch(value)
        found -= utc_offset_ms if matched is not None and matched[4] is None else 0
    return found if found >= EARLIEST_MS else UNREADABLE


def _object_ms(value: dict[Any, Any]) -> int:
    """``{"epochSecond", "nanoOfSecond"}`` of log4j2, ``{"seconds", "nanos"}`` of Google, ``{"$date"}`` of MongoDB."""
    inner = value.get("$date")
    if isinstance(inner, str | int):
        return value_ms(inner, 0)
    seconds = value.get("epochSecond", value.get("seconds"))
    nanos = value.get("nanoOfSecond", value.get("nanos", 0))
    if type(seconds) is not int or type(nanos) is not int:
        return UNREADABLE
    found = seconds * 1000 + nanos // 1_000_000
    return found if EARLIEST_MS <= found < scalars.TIME_END // 1_000_000 else UNREADABLE


def _texts_ms(texts: Sequence[str], utc_offset_ms: int) -> IntArray | None:
    """A column of texts, or None where they are too various to be read together."""
    joined = "".join(texts)
    if not joined.isascii():
        return None
    if joined.isdecimal() and all(texts):
        return scalars.times_ms(list(map(int, texts)), {int})
    codes = np.frombuffer(joined.encode("ascii"), dtype=np.uint8)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    distinct = np.unique(lengths)
    if len(distinct) > LENGTHS_MAX:
        return None
    column = np.full(len(texts), UNREADABLE, dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    for length in distinct.tolist():
        at = np.flatnonzero(lengths == length)
        if length < CLOCK_CHARACTERS:
            found, good = np.zeros(len(at), dtype=np.int64), np.zeros(len(at), dtype=np.bool_)
        else:
            found, good = _matrix_ms(codes[starts[at, None] + np.arange(length)].T, utc_offset_ms)
        for place in np.flatnonzero(~good).tolist():
            found[place] = value_ms(texts[at[place]], utc_offset_ms)
        column[at] = found
    return column


def _matrix_ms(rows: Codes, utc_offset_ms: int) -> tuple[IntArray, BoolArray]:
    """Times of texts of one length, ``rows[i]`` their i-th characters, and which of them were read.

    Whatever has another layout than the first text is left to the rule for one value.
    """
    rows = np.ascontiguousarray(rows)
    length = len(rows)
    zone = _zone_characters(bytes(rows[:, 0]))
    fraction = length - CLOCK_CHARACTERS - zone
    good = _are_digits(rows, (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18))
    good &= (rows[4] == ord("-")) & (rows[7] == ord("-")) & (rows[13] == ord(":")) & (rows[16] == ord(":"))
    good &= (rows[10] == ord("T")) | (rows[10] == ord(" ")) | (rows[10] == ord("t"))
    if fraction:
        if not 1 < fraction <= FRACTION_DIGITS_MAX + 1:
            return np.zeros(len(good), dtype=np.int64), np.zeros(len(good), dtype=np.bool_)
        good &= (rows[CLOCK_CHARACTERS] == ord(".")) | (rows[CLOCK_CHARACTERS] == ord(","))
        good &= _are_digits(rows, range(CLOCK_CHARACTERS + 1, CLOCK_CHARACTERS + fraction))
    digits = rows.astype(np.int64) - ZERO
    minutes, in_range = _clock_minutes(digits)
    good &= in_range
    found = minutes * 60_000 + _number(digits, 17, 18) * 1000
    good &= digits[17] <= 5  # noqa: PLR2004  # a leap second is not in Unix time
    for place in range(min(fraction - 1, 3)):
        found += digits[CLOCK_CHARACTERS + 1 + place] * (100, 10, 1)[place]
    offset, zoned = _offset_ms(rows, digits, zone, utc_offset_ms)
    found -= offset
    good &= zoned & (found >= 0) & (found < scalars.TIME_END // 1_000_000)
    return found, good


def _clock_minutes(digits: IntArray) -> tuple[IntArray, BoolArray]:
    """Minutes since the epoch, and whether month, day, hour and minute are any."""
    year, month, day = _number(digits, 0, 1, 2, 3), _number(digits, 5, 6), _number(digits, 8, 9)
    hour, minute = _number(digits, 11, 12), _number(digits, 14, 15)
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    in_range = (month >= 1) & (month <= 12) & (hour < 24) & (minute < 60) & (year >= 1)  # noqa: PLR2004  # calendar
    days_in_month = MONTH_DAYS[np.where(in_range, month, 1)] + (leap & (month == 2))  # noqa: PLR2004  # February
    in_range &= (day >= 1) & (day <= days_in_month)
    march_year = year - (month <= 2)  # noqa: PLR2004  # years that begin in March end with the leap day
    march_month = (month + 9) % 12
    days = 365 * march_year + march_year // 4 - march_year // 100 + march_year // 400
    days += (153 * march_month + 2) // 5 + day - 719_469
    return (days * 24 + hour) * 60 + minute, in_range


def _zone_characters(text: bytes) -> int:
    """How many characters at the end of ``text`` are its zone."""
    if text[-1:] in {b"Z", b"z"}:
        return 1
    for characters in (6, 5):
        if len(text) >= CLOCK_CHARACTERS + characters and text[-characters : len(text) - characters + 1] in {
            b"+",
            b"-",
        }:
            return characters
    return 0


def _offset_ms(rows: Codes, digits: IntArray, zone: int, utc_offset_ms: int) -> tuple[IntArray, BoolArray]:
    """What local time is ahead of UTC, and whether the zone is one."""
    count = rows.shape[1]
    if zone == 0:
        return np.full(count, utc_offset_ms, dtype=np.int64), np.ones(count, dtype=np.bool_)
    if zone == 1:
        return np.zeros(count, dtype=np.int64), (rows[-1] == ord("Z")) | (rows[-1] == ord("z"))
    end = len(rows)
    good = _are_digits(rows, (end - 1, end - 2, end - zone + 1, end - zone + 2))
    good &= (rows[-zone] == ord("+")) | (rows[-zone] == ord("-"))
    if zone == 6:  # noqa: PLR2004  # with a colon
        good &= rows[-3] == ord(":")
    hours, minutes = _number(digits, end - zone + 1, end - zone + 2), _number(digits, end - 2, end - 1)
    good &= (hours < 24) & (minutes < 60)  # noqa: PLR2004  # calendar
    return np.where(rows[-zone] == ord("-"), -1, 1) * (hours * 60 + minutes) * 60_000, good


def _are_digits(rows: Codes, places: Sequence[int]) -> BoolArray:
    part = rows[list(places)]
    return cast("BoolArray", ((part >= ZERO) & (part <= NINE)).all(axis=0))


def _number(digits: IntArray, *places: int) -> IntArray:
    found: IntArray = digits[places[0]].copy()
    for place in places[1:]:
        found = found * 10 + digits[place]
    return found
