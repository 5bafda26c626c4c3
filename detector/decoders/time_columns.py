"""Columns of times as log records write them: epoch numbers, RFC 3339 text, objects of seconds and nanoseconds.

What a single value means is ``values.time_ms``; here whole columns are read at once, with the same answers. Texts that
are epoch numbers or RFC 3339 are read by a compiled pass, whatever else there is one by one.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np

from detector.batches import IntArray
from detector.compiled import compiled
from detector.decoders import values as scalars
from detector.decoders.log_times import (
    COLON,
    DASH,
    DAY_MS,
    FAR_MS,
    LETTER_T,
    LETTER_Z,
    LOWER,
    MINUTE_MS,
    PLUS,
    SPACE,
    Bytes,
    after_clock,
    day_of,
    is_digit,
    number,
)
from detector.decoders.values import MICROSECONDS_BELOW, MILLISECONDS_BELOW, SECONDS_BELOW

UNREADABLE: Final = -1
"""Stands for a value that is no time."""
EARLIEST_MS: Final = 10**11
"""March 1973: what lies before is a duration or a clock that was never set, not the time of a log line."""

CLOCK_CHARACTERS: Final = 19
"""``yyyy-mm-ddThh:mm:ss``."""
FRACTION_DIGITS_MAX: Final = 12
EPOCH_DIGITS_MAX: Final = 19
"""Of nanoseconds in int64, which begin with a 9 only at the very end of its range."""
SIX: Final = ord("6")
NINE: Final = ord("9")


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
    """A column of texts, or None where they are not ASCII."""
    joined = "".join(texts)
    if not joined.isascii():
        return None
    stops = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    column = np.empty(len(texts), dtype=np.int64)
    texts_ms(np.frombuffer(joined.encode("ascii"), dtype=np.uint8), stops, utc_offset_ms, column)
    for place in np.flatnonzero(column == UNREADABLE).tolist():
        column[place] = value_ms(texts[place], utc_offset_ms)
    return column


@compiled
def texts_ms(text: Bytes, stops: IntArray, utc_offset_ms: int, column: IntArray) -> None:
    """Fill ``column`` with the times of the texts that end at ``stops``, -1 for what is neither epoch nor RFC 3339."""
    start = 0
    for row in range(len(stops)):
        stop, digits = stops[row], 0
        while is_digit(text, start + digits, stop):
            digits += 1
        if start + digits == stop:
            column[row] = _epoch_ms(text, start, stop)
        else:
            column[row] = _time_ms(text, start, stop, utc_offset_ms)
        start = stop


@compiled
def _epoch_ms(text: Bytes, start: int, stop: int) -> int:
    """What digits say, in the unit of their size; -1 where there are none, or nearly too many for nanoseconds."""
    digits = stop - start
    if digits == 0 or digits > EPOCH_DIGITS_MAX or (digits == EPOCH_DIGITS_MAX and text[start] == NINE):
        return UNREADABLE
    value = number(text, start, digits, stop)
    if value < SECONDS_BELOW:
        return value * 1000
    if value < MILLISECONDS_BELOW:
        return value
    return value // 1000 if value < MICROSECONDS_BELOW else value // 1_000_000


@compiled
def _time_ms(text: Bytes, start: int, stop: int, utc_offset_ms: int) -> int:
    """One time of the layout ``values.RFC3339``; -1 where it has another, or none of the years that we know days of."""
    if stop - start < CLOCK_CHARACTERS or text[start + 4] != DASH or text[start + 7] != DASH:
        return UNREADABLE
    if text[start + 10] != SPACE and text[start + 10] | LOWER != LETTER_T:
        return UNREADABLE
    year, month, day = number(text, start, 4, stop), number(text, start + 5, 2, stop), number(text, start + 8, 2, stop)
    days = day_of(year, month, day)
    end, clock_ms = after_clock(text, start + 11, stop)
    if days < 0 or clock_ms < 0 or end - start > CLOCK_CHARACTERS + 1 + FRACTION_DIGITS_MAX:
        return UNREADABLE
    if text[start + 17] == SIX:
        return UNREADABLE  # a leap second is not in Unix time
    return max(days * DAY_MS + clock_ms - _zone_ms(text, end, stop, utc_offset_ms), UNREADABLE)


@compiled
def _zone_ms(text: Bytes, at: int, stop: int, utc_offset_ms: int) -> int:
    """How far the zone that ends a time is ahead of UTC: none, ``Z``, ``+01:00``, ``+0100``; far where it is bad."""
    if at == stop:
        return utc_offset_ms
    if at + 1 == stop:
        return 0 if text[at] | LOWER == LETTER_Z else FAR_MS
    colon = 1 if at + 3 < stop and text[at + 3] == COLON else 0
    hours, minutes = number(text, at + 1, 2, stop), number(text, at + 3 + colon, 2, stop)
    if at + 5 + colon != stop or not (0 <= hours < 24 and 0 <= minutes < 60):  # noqa: PLR2004  # calendar
        return FAR_MS
    ahead_ms = (hours * 60 + minutes) * MINUTE_MS
    if text[at] == PLUS:
        return ahead_ms
    return -ahead_ms if text[at] == DASH else FAR_MS
