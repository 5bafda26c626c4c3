"""Scalars of a sample: numbers and times as they are written on real topics.

Each rule exists twice, once for one value and once for a column, and a property test holds the two equal: columns are
what makes the common case fast, the single rule is what tells a reject's reason.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from detector.batches import FloatArray, IntArray, RejectReason

NUMBER: Final = re.compile(
    r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
"""A string that is taken for a number; Prometheus adapters write values as strings, with NaN and +Inf."""

RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,12}))?(Z|z|[+-]\d\d:?\d\d)?", re.ASCII)
"""RFC 3339 section 5.6, with the blank and the missing offset (then UTC) that loggers write."""

SECONDS_BELOW: Final = 10**11
MILLISECONDS_BELOW: Final = 10**14
MICROSECONDS_BELOW: Final = 10**17
"""Epoch units by magnitude: 1e11 seconds is the year 5138, 1e14 ms and 1e17 microseconds likewise, 1e11 ms is 1973."""
TIME_END: Final = 2**63
"""Nanoseconds of the year 2262, where int64 ends."""

SHOWN_CHARACTERS_MAX: Final = 60
"""Of a bad value in a reject's detail."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)


def number(value: object) -> float | None:
    """A finite or non-finite float, or None where ``value`` is no number (``True`` is none)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return value
    try:
        if isinstance(value, int):
            return float(value)
        if isinstance(value, str) and NUMBER.fullmatch(value):
            return float(value)
    except OverflowError:
        return math.inf
    return None


def numbers(values: list[object], types: set[type]) -> FloatArray | None:
    """``number`` over a column whose ``types`` are int and float, all in range; None where that does not hold."""
    if not types <= {int, float}:
        return None
    try:
        return np.fromiter(values, np.float64, len(values))
    except OverflowError:
        return None


def time_ms(value: object) -> int | None:
    """Epoch milliseconds (rounded down from finer units), or None where ``value`` is no time from 1970 to 2262."""
    if isinstance(value, str):
        return _text_ms(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return _whole_ms(value) if 0 <= value < TIME_END else None
    if isinstance(value, float):
        return _fraction_ms(value) if 0 <= value < TIME_END else None
    return None


def times_ms(values: list[object], types: set[type]) -> IntArray | None:
    """``time_ms`` over a column that is empty or of one of its types, all readable; None where that does not hold."""
    if not values:
        return np.empty(0, dtype=np.int64)
    if types == {int}:
        return _whole_column_ms(values)
    if types == {str}:
        return _text_column_ms(values)
    if types == {float}:
        return _fraction_column_ms(values)
    return None


def scalar_fault(part: str, value: object) -> tuple[RejectReason, str]:
    """Reason and detail for a value that ``number`` or ``time_ms`` refused."""
    shown = repr(value)
    shown = shown if len(shown) <= SHOWN_CHARACTERS_MAX else shown[:SHOWN_CHARACTERS_MAX] + "..."
    if part == "time":
        return "time_unreadable", f"time {shown} is neither RFC 3339 nor epoch s, ms, us or ns"
    return "wrong_type", f"value {shown} is not a number"


def _whole_ms(value: int) -> int:
    if value < SECONDS_BELOW:
        return value * 1000
    if value < MILLISECONDS_BELOW:
        return value
    return value // 1000 if value < MICROSECONDS_BELOW else value // 1_000_000


def _fraction_ms(value: float) -> int:
    if value < SECONDS_BELOW:
        return math.floor(value * 1000.0 + 0.5)
    if value < MILLISECONDS_BELOW:
        return math.floor(value)
    return math.floor(value / 1000.0 if value < MICROSECONDS_BELOW else value / 1_000_000.0)


def _text_ms(text: str) -> int | None:
    found = RFC3339.fullmatch(text)
    if found is None:
        parsed = number(text)
        if parsed is None or not 0 <= parsed < TIME_END:
            return None
        return _whole_ms(int(text.lstrip("0") or "0")) if text.isdecimal() else _fraction_ms(parsed)
    day, clock, fraction, offset = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if offset in {None, 'Z', 'z'} else offset}")
        past = (moment - EPOCH) // MILLISECOND
    except (ValueError, OverflowError):
        return None
    milliseconds = past + int(((fraction or "") + "000")[:3])
    return milliseconds if 0 <= milliseconds < TIME_END // 1_000_000 else None


def _whole_column_ms(values: list[object]) -> IntArray | None:
    try:
        column = np.fromiter(values, np.int64, len(values))
    except OverflowError:
        return None
    low, high = int(column.min()), int(column.max())
    if low < 0:
        return None
    if low >= SECONDS_BELOW and high < MILLISECONDS_BELOW:
        return column
    if high < SECONDS_BELOW:
        return column * 1000
    return np.where(
        column < SECONDS_BELOW,
        np.minimum(column, SECONDS_BELOW) * 1000,
        np.where(
            column < MILLISECONDS_BELOW,
            column,
            np.where(column < MICROSECONDS_BELOW, column // 1000, column // 1_000_000),
        ),
    )


def _fraction_column_ms(values: list[object]) -> IntArray | None:
    column = np.fromiter(values, np.float64, len(values))
    high = column.max()
    if not (column.min() >= 0 and high < TIME_END):
        return None
    if high < SECONDS_BELOW:
        return np.floor(column * 1000.0 + 0.5).astype(np.int64)
    scaled = np.where(
        column < SECONDS_BELOW,
        column * 1000.0 + 0.5,
        np.where(
            column < MILLISECONDS_BELOW,
            column,
            np.where(column < MICROSECONDS_BELOW, column / 1000.0, column / 1_000_000.0),
        ),
    )
    return np.floor(scaled).astype(np.int64)


def _text_column_ms(values: list[object]) -> IntArray | None:
    """Scrapes share their time, so each distinct text is parsed once."""
    parsed = {text: time_ms(text) for text in set(values)}
    if None in parsed.values():
        return None
    return np.fromiter(map(parsed.__getitem__, values), np.int64, len(values))
