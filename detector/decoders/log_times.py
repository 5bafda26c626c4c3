"""What times in lines of text are made of: numbers, names, clocks, zones and the calendar, compiled.

``text[at:stop]`` is what is left of a line, uint8. A parser gives where its part has ended and what it says; an end of
``at`` means that there is none.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.compiled import compiled

Bytes = NDArray[np.uint8]

NONE: Final = -1
UNPLACED: Final = -2
DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000
ZERO: Final = ord("0")
SPACE: Final = ord(" ")
TAB: Final = ord("\t")
COLON: Final = ord(":")
DOT: Final = ord(".")
COMMA: Final = ord(",")
DASH: Final = ord("-")
SLASH: Final = ord("/")
PLUS: Final = ord("+")
BRACKET: Final = ord("[")
BRACKET_END: Final = ord("]")
LOWER: Final = 0x20
CASELESS: Final = 31
"""The bits of a letter that do not depend on its case."""
LETTERS_MAX: Final = 12
"""Of a word as a number, so that it has 60 bits."""
LETTER_T: Final = ord("t")
LETTER_Z: Final = ord("z")

YEARS: Final = (1970, 2261)
"""Whole years within int64 nanoseconds."""
LEAP_YEAR: Final = 2000
ZONE_HOURS_MAX: Final = 14
FAR_MS: Final = 2**62

MONTH_DAYS: Final = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)


def packed(word: str) -> int:
    """The letters of a word as one number, five bits each and without their case; see :func:`packed_word`."""
    value = 0
    for letter in word.upper():
        value = value << 5 | (ord(letter) & CASELESS)
    return value


_ZONES: Final = np.array([packed("utc"), packed("gmt")])
_NAME_LETTERS: Final = 3
_MONTH_FEBRUARY: Final = 2
CLOCK_BYTES: Final = 8


@compiled
def is_digit(text: Bytes, at: int, stop: int) -> bool:
    """Whether there is a digit."""
    return at < stop and ZERO <= text[at] <= ZERO + 9


@compiled
def is_letter(text: Bytes, at: int, stop: int) -> bool:
    """Whether there is an ASCII letter."""
    return at < stop and ord("a") <= (text[at] | LOWER) <= ord("z")


@compiled
def number(text: Bytes, at: int, count: int, stop: int) -> int:
    """What ``count`` digits say, -1 where there are fewer."""
    if at + count > stop:
        return NONE
    value = 0
    for place in range(at, at + count):
        digit = int(text[place]) - ZERO
        if digit < 0 or digit > 9:  # noqa: PLR2004  # the last digit
            return NONE
        value = value * 10 + digit
    return value


@compiled
def packed_word(text: Bytes, at: int, stop: int) -> int:
    """``text[at:stop]`` without what is no letter as :func:`packed` gives it; 0 where it has more than 12 letters."""
    value, letters = 0, 0
    for place in range(at, stop):
        if is_letter(text, place, stop):
            value = value << 5 | (int(text[place]) & CASELESS)
            letters += 1
            if letters > LETTERS_MAX:
                return 0
    return value


@compiled
def name_at(text: Bytes, at: int, stop: int, names: NDArray[np.int64]) -> int:
    """The place of the name of three letters among ``names``, -1 where it is none of them."""
    if at + _NAME_LETTERS > stop or not is_letter(text, at, stop):
        return NONE
    if not (is_letter(text, at + 1, stop) and is_letter(text, at + 2, stop)):
        return NONE
    value = packed_word(text, at, at + _NAME_LETTERS)
    for place in range(len(names)):
        if names[place] == value:
            return place
    return NONE


@compiled
def day_of(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date, -1 where it is none from 1970 to 2261.

    Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", ``days_from_civil``.
    """
    if not (YEARS[0] <= year <= YEARS[1] and 1 <= month <= len(MONTH_DAYS) and 1 <= day <= MONTH_DAYS[month - 1]):
        return NONE
    if month == _MONTH_FEBRUARY and day == MONTH_DAYS[1] and (year % 4 or (year % 100 == 0 and year % 400)):
        return NONE
    shifted = year - 1 if month <= _MONTH_FEBRUARY else year
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month - 3 if month > _MONTH_FEBRUARY else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@compiled
def year_of(days: int) -> int:
    """The year of a day; the same source, ``civil_from_days``."""
    shifted = days + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return year + era * 400 + (1 if (5 * of_year + 2) // 153 >= 10 else 0)  # noqa: PLR2004  # January, counted from March


@compiled
def after_clock(text: Bytes, at: int, stop: int) -> tuple[int, int]:
    """``hh:mm:ss`` with a fraction behind a dot or a comma; milliseconds of the day, finer digits left out."""
    if at + CLOCK_BYTES > stop or text[at + 2] != COLON or text[at + 5] != COLON:
        return at, NONE
    hour, minute, second = number(text, at, 2, stop), number(text, at + 3, 2, stop), number(text, at + 6, 2, stop)
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60):  # noqa: PLR2004  # 60: leap seconds
        return at, NONE
    return after_fraction(text, at, at + CLOCK_BYTES, stop, ((hour * 60 + minute) * 60 + second) * 1000)


@compiled
def after_fraction(text: Bytes, at: int, end: int, stop: int, whole_ms: int) -> tuple[int, int]:
    """The fraction at ``end`` of seconds that began at ``at``; no time where more digits follow without a mark."""
    if is_digit(text, end, stop):
        return at, NONE
    if end < stop and (text[end] == DOT or text[end] == COMMA) and is_digit(text, end + 1, stop):
        scale = 100
        end += 1
        while is_digit(text, end, stop):
            whole_ms += (int(text[end]) - ZERO) * scale
            scale //= 10
            end += 1
    return end, whole_ms


@compiled
def after_bare_clock(text: Bytes, at: int, stop: int) -> tuple[int, int]:
    """``hhmmss``, or with colons."""
    if at + 2 < stop and text[at + 2] == COLON:
        return after_clock(text, at, stop)
    hour, minute, second = number(text, at, 2, stop), number(text, at + 2, 2, stop), number(text, at + 4, 2, stop)
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60):  # noqa: PLR2004  # 60: leap seconds
        return at, NONE
    return after_fraction(text, at, at + 6, stop, ((hour * 60 + minute) * 60 + second) * 1000)


@compiled
def after_zone(text: Bytes, at: int, stop: int, offset_ms: int) -> tuple[int, int]:
    """``Z``, ``+01:00``, ``-0500``, ``+00``, `` +0000``, `` UTC``: its end and how far it is ahead of UTC.

    Where there is none, ``at`` and ``offset_ms``. Behind a blank a sign needs four digits, or is part of the message.
    """
    if at >= stop:
        return at, offset_ms
    if text[at] | LOWER == LETTER_Z and not is_letter(text, at + 1, stop) and not is_digit(text, at + 1, stop):
        return at + 1, 0
    place = at + 1 if text[at] == SPACE else at
    if place < stop and (text[place] == PLUS or text[place] == DASH):
        hour, end = number(text, place + 1, 2, stop), place + 3
        colon = 1 if end < stop and text[end] == COLON else 0
        minute = number(text, end + colon, 2, stop)
        if minute >= 0:
            end += 2 + colon
        elif colon == 0 and place == at:
            minute = 0
        if 0 <= hour <= ZONE_HOURS_MAX and 0 <= minute < 60 and minute % 15 == 0 and not is_digit(text, end, stop):  # noqa: PLR2004  # minutes
            ahead_ms = (hour * 60 + minute) * MINUTE_MS
            if end < stop and text[end] == SPACE and name_at(text, end + 1, stop, _ZONES) >= 0:
                end += 4
            return end, ahead_ms if text[place] == PLUS else -ahead_ms
        return at, offset_ms
    if name_at(text, place, stop, _ZONES) >= 0 and not is_letter(text, place + 3, stop):
        return place + 3, 0
    return at, offset_ms


@compiled
def dated(text: Bytes, at: int, end: int, stop: int, day: int, clock_ms: int, offset_ms: int) -> tuple[int, int]:
    """The time of a day and a clock, with the zone at ``end``; none before 1970."""
    end, ahead_ms = after_zone(text, end, stop, offset_ms)
    time_ms = day * DAY_MS + clock_ms - ahead_ms
    return (end, time_ms) if time_ms >= 0 else (at, NONE)


@compiled
def nearest_year_ms(month: int, day: int, clock_ms: int, stamp_ms: int, offset_ms: int) -> int:
    """The time of a date without its year: that next to ``stamp_ms``, the earlier of two that are as near."""
    if day_of(LEAP_YEAR, month, day) < 0:
        return NONE
    if stamp_ms < 0:
        return UNPLACED
    year = year_of((stamp_ms + offset_ms) // DAY_MS)
    best = NONE
    for candidate in range(year - 1, year + 2):
        days = day_of(candidate, month, day)
        time_ms = days * DAY_MS + clock_ms - offset_ms
        if days >= 0 and time_ms >= 0 and (best < 0 or abs(time_ms - stamp_ms) < abs(best - stamp_ms)):
            best = time_ms
    return best


@compiled
def nearest_day_ms(clock_ms: int, stamp_ms: int, offset_ms: int) -> int:
    """The time of a clock without its date."""
    if stamp_ms < 0:
        return UNPLACED
    time_ms = (stamp_ms + offset_ms) // DAY_MS * DAY_MS + clock_ms - offset_ms
    if time_ms - stamp_ms > DAY_MS // 2:
        return time_ms - DAY_MS
    return time_ms + DAY_MS if stamp_ms - time_ms > DAY_MS // 2 else time_ms
