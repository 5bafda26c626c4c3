"""Times as they stand in lines of text: compiled parsers of the common layouts.

``text[at:stop]`` is what is left of a line, uint8. A parser gives where the time has ended and its epoch milliseconds;
an end of ``at`` means that there is none. Local times are ``offset_ms`` ahead of UTC; those without a year or a date
get the one that puts them nearest to ``stamp_ms``, and are ``UNPLACED`` where that is negative.
"""

from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.decoders.log_times import (
    BRACKET_END,
    CLOCK_BYTES,
    COLON,
    COMMA,
    DASH,
    DAY_MS,
    DOT,
    LETTER_T,
    LOWER,
    NONE,
    SLASH,
    SPACE,
    TAB,
    UNPLACED,
    ZERO,
    Bytes,
    after_bare_clock,
    after_clock,
    after_fraction,
    after_zone,
    dated,
    day_of,
    is_digit,
    is_letter,
    name_at,
    nearest_day_ms,
    nearest_year_ms,
    number,
    packed,
)

CENTURY_YEARS_MAX: Final = 69
"""A year of two digits up to this one is of this century, as in POSIX ``strptime``; others are none from 1970 on."""
EPOCH_DIGITS: Final = (10, 13, 16, 19)
"""Seconds, milliseconds, microseconds and nanoseconds from September 2001 to the year 2286."""
EPOCH_END_MS: Final = 4_102_444_800_000
"""2100: a larger number at the start of a line counts something else."""
_MONTHS: Final = np.array(
    [packed(name) for name in ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]]
)
_WEEKDAYS: Final = np.array([packed(name) for name in ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]])
_DATE_BYTES: Final = 10


@compiled
def after_iso(text: Bytes, at: int, stop: int, offset_ms: int) -> tuple[int, int]:
    """``yyyy-mm-dd hh:mm:ss``, with ``/`` or ``.`` and with ``T``. Source: RFC 3339, 5.6, and what loggers write."""
    if at + _DATE_BYTES + 1 + CLOCK_BYTES > stop:
        return at, NONE
    mark, between = text[at + 4], text[at + _DATE_BYTES]
    if (mark not in (DASH, SLASH, DOT)) or text[at + 7] != mark:
        return at, NONE
    if between != SPACE and between | LOWER != LETTER_T:
        return at, NONE
    day = day_of(number(text, at, 4, stop), number(text, at + 5, 2, stop), number(text, at + 8, 2, stop))
    end, clock_ms = after_clock(text, at + _DATE_BYTES + 1, stop)
    if day < 0 or clock_ms < 0:
        return at, NONE
    return dated(text, at, end, stop, day, clock_ms, offset_ms)


@compiled
def _after_named_month(text: Bytes, at: int, stop: int, offset_ms: int) -> tuple[int, int]:
    """``dd/Mon/yyyy:hh:mm:ss +zone``, also with hyphens or blanks."""
    mark, month = text[at + 2], name_at(text, at + 3, stop, _MONTHS) + 1
    if month == 0 or at + 20 > stop or text[at + 6] != mark or (text[at + 11] != COLON and text[at + 11] != SPACE):
        return at, NONE
    day = day_of(number(text, at + 7, 4, stop), month, number(text, at, 2, stop))
    end, clock_ms = after_clock(text, at + 12, stop)
    if day < 0 or clock_ms < 0:
        return at, NONE
    return dated(text, at, end, stop, day, clock_ms, offset_ms)


@compiled
def _after_compact(text: Bytes, at: int, digits: int, stop: int, offset_ms: int) -> tuple[int, int]:
    """``yymmdd hhmmss`` and ``yyyymmddThhmmss``, also with colons."""
    end = at + digits
    if end >= stop or (text[end] != SPACE and text[end] | LOWER != LETTER_T and text[end] != DASH):
        return at, NONE
    year = number(text, at, digits - 4, stop)
    if year <= CENTURY_YEARS_MAX:
        year += 2000
    day = day_of(year, number(text, end - 4, 2, stop), number(text, end - 2, 2, stop))
    end, clock_ms = after_bare_clock(text, end + 1, stop)
    if day < 0 or clock_ms < 0:
        return at, NONE
    return dated(text, at, end, stop, day, clock_ms, offset_ms)


@compiled
def _after_short_year(text: Bytes, at: int, stop: int, offset_ms: int) -> tuple[int, int]:
    """``yy/mm/dd hh:mm:ss``."""
    if at + 17 > stop or text[at + 5] != SLASH or text[at + 8] != SPACE:
        return at, NONE
    year = number(text, at, 2, stop)
    if year < 0 or year > CENTURY_YEARS_MAX:
        return at, NONE
    day = day_of(2000 + year, number(text, at + 3, 2, stop), number(text, at + 6, 2, stop))
    end, clock_ms = after_clock(text, at + 9, stop)
    if day < 0 or clock_ms < 0:
        return at, NONE
    return dated(text, at, end, stop, day, clock_ms, offset_ms)


@compiled
def _after_epoch(text: Bytes, at: int, digits: int, stop: int, latest_ms: int) -> tuple[int, int]:
    """Seconds since 1970 with a fraction, or whole milliseconds, microseconds, nanoseconds; none past ``latest_ms``."""
    value, end = number(text, at, digits, stop), at + digits
    if digits == EPOCH_DIGITS[0]:
        end, value = after_fraction(text, at, end, stop, value * 1000)
    elif digits == EPOCH_DIGITS[2]:
        value //= 1000
    elif digits == EPOCH_DIGITS[3]:
        value //= 1_000_000
    bounded = end >= stop or text[end] in (SPACE, TAB, BRACKET_END, COLON, COMMA, ord("|"))
    if not bounded or text[at] == ZERO or value > min(latest_ms, EPOCH_END_MS):
        return at, NONE
    return end, value


@compiled
def _after_digits(text: Bytes, at: int, stop: int, stamp_ms: int, offset_ms: int, latest_ms: int) -> tuple[int, int]:  # noqa: PLR0911  # one layout after the other
    """A time that begins with a digit; how many there are tells the layout."""
    digits = 1
    while is_digit(text, at + digits, stop) and digits <= EPOCH_DIGITS[3]:
        digits += 1
    if digits == 4:  # noqa: PLR2004  # a year
        return after_iso(text, at, stop, offset_ms)
    if digits == 2 and at + 3 < stop:  # noqa: PLR2004  # a day, a short year or an hour
        mark = text[at + 2]
        if mark == COLON:
            end, clock_ms = after_clock(text, at, stop)
            if clock_ms < 0 or (end < stop and text[end] not in (SPACE, TAB, BRACKET_END, ord("|"))):
                return at, NONE
            time_ms = nearest_day_ms(clock_ms, stamp_ms, offset_ms)
            return (end, time_ms) if time_ms != NONE else (at, NONE)
        if mark == SLASH and is_digit(text, at + 3, stop):
            return _after_short_year(text, at, stop, offset_ms)
        if mark in (SLASH, DASH, SPACE):
            return _after_named_month(text, at, stop, offset_ms)
        return at, NONE
    if digits in (6, 8):
        return _after_compact(text, at, digits, stop, offset_ms)
    if digits in EPOCH_DIGITS:
        return _after_epoch(text, at, digits, stop, latest_ms)
    return at, NONE


@compiled
def _after_letters(text: Bytes, at: int, stop: int, stamp_ms: int, offset_ms: int) -> tuple[int, int]:  # noqa: C901  # part by part, each may be missing
    """``Mmm dd hh:mm:ss``, with a year before or behind the clock, with a weekday; ``Www, dd Mon yyyy hh:mm:ss``."""
    place = at
    weekday = name_at(text, at, stop, _WEEKDAYS) >= 0
    if weekday:
        place += 4 if at + 3 < stop and text[at + 3] == COMMA else 3
        if place >= stop or text[place] != SPACE:
            return at, NONE
        place += 1
        if number(text, place, 2, stop) >= 0 and place + 2 < stop:
            end, time_ms = _after_named_month(text, place, stop, offset_ms)
            return (end, time_ms) if end > place else (at, NONE)
    month = name_at(text, place, stop, _MONTHS) + 1
    if month == 0 or place + 4 > stop or text[place + 3] != SPACE:
        return at, NONE
    place += 5 if place + 4 < stop and text[place + 4] == SPACE else 4
    width = 2 if is_digit(text, place + 1, stop) else 1
    day = number(text, place, width, stop)
    place += width
    if place < stop and text[place] == COMMA:
        place += 1
    if place >= stop or text[place] != SPACE:
        return at, NONE
    year = number(text, place + 1, 4, stop)
    if year >= 0:
        place += 5
    end, clock_ms = after_clock(text, place + 1, stop)
    if clock_ms < 0:
        return at, NONE
    end, ahead_ms = after_zone(text, end, stop, offset_ms)
    if year < 0 and weekday and end < stop and text[end] == SPACE and not is_digit(text, end + 5, stop):
        year = number(text, end + 1, 4, stop)
        end = end + 5 if year >= 0 else end
    if year < 0:
        time_ms = nearest_year_ms(month, day, clock_ms, stamp_ms, ahead_ms)
    else:
        days = day_of(year, month, day)
        time_ms = days * DAY_MS + clock_ms - ahead_ms if days >= 0 else NONE
    return (end, time_ms) if time_ms >= 0 or time_ms == UNPLACED else (at, NONE)


@compiled
def after_time(text: Bytes, at: int, stop: int, stamp_ms: int, offset_ms: int, latest_ms: int) -> tuple[int, int]:
    """A time in any of the layouts. Numbers that would be an epoch time past ``latest_ms`` are none."""
    if is_digit(text, at, stop):
        return _after_digits(text, at, stop, stamp_ms, offset_ms, latest_ms)
    if is_letter(text, at, stop):
        return _after_letters(text, at, stop, stamp_ms, offset_ms)
    return at, NONE
