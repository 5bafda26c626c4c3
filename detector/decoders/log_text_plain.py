"""The header of a line of plain text, compiled: its time, wherever loggers put that, and klog's letter.

Level and logger stay in the line, since they tell templates apart; a level or an address before the time stays, too.
"""

from typing import Final

from detector.compiled import compiled
from detector.decoders.log_severity import ERROR, FATAL, INFO, WARNING
from detector.decoders.log_text_fields import HEAD_START, HEAD_STOP, SEVERITY, START, TIME, Row
from detector.decoders.log_text_marks import IS_BLANK, level_of
from detector.decoders.log_times import (
    BRACKET,
    BRACKET_END,
    COLON,
    COMMA,
    SLASH,
    SPACE,
    Bytes,
    after_clock,
    is_digit,
    is_letter,
    nearest_year_ms,
    number,
)
from detector.decoders.log_times_layouts import after_time

PREFIX_BYTES_MAX: Final = 256
"""Bytes before the time of an access log: names or addresses of client and user."""
PREFIX_BLANKS_MAX: Final = 5
LEVEL_BYTES_MAX: Final = 16
_BAR: Final = ord("|")
_DIVIDER: Final = ord(";")
_KLOG: Final = (ord("I"), ord("W"), ord("E"), ord("F"))


@compiled
def behind(text: Bytes, at: int, stop: int) -> int:
    """Where text goes on behind a time: a bracket, a mark and blanks are left out."""
    if at < stop and text[at] in (BRACKET_END, COLON, COMMA, _BAR, _DIVIDER):
        at += 1
    while at < stop and IS_BLANK[text[at]]:
        at += 1
    return at


@compiled
def plain_header(
    text: Bytes, start: int, stop: int, stamp_ms: int, offset_ms: int, latest_ms: int, fields: Row
) -> bool:
    """Whether the line has a time; ``fields`` gain that, and where the message begins."""
    at = start + 1 if text[start] == BRACKET else start
    end, time_ms = after_time(text, at, stop, stamp_ms, offset_ms, latest_ms)
    if end > at:
        fields[TIME] = time_ms
        fields[START] = behind(text, end, stop)
        return True
    if not is_letter(text, start, stop):
        return _later(text, start, stop, stamp_ms, offset_ms, latest_ms, fields)
    if is_digit(text, start + 1, stop) and _klog(text, start, stop, stamp_ms, offset_ms, fields):
        return True
    return _later(text, start, stop, stamp_ms, offset_ms, latest_ms, fields)


@compiled
def _klog(text: Bytes, start: int, stop: int, stamp_ms: int, offset_ms: int, fields: Row) -> bool:
    """``I0102 15:04:05.000000``. Source: glog's and klog's line format."""
    first = text[start]
    month, day = number(text, start + 1, 2, stop), number(text, start + 3, 2, stop)
    if first not in _KLOG or month < 0 or day < 0 or start + 5 >= stop or text[start + 5] != SPACE:
        return False
    end, clock_ms = after_clock(text, start + 6, stop)
    time_ms = nearest_year_ms(month, day, clock_ms, stamp_ms, offset_ms) if clock_ms >= 0 else -1
    if time_ms == -1:
        return False
    if first == _KLOG[0]:
        fields[SEVERITY] = INFO
    elif first == _KLOG[1]:
        fields[SEVERITY] = WARNING
    else:
        fields[SEVERITY] = ERROR if first == _KLOG[2] else FATAL
    fields[TIME] = time_ms
    fields[START] = behind(text, end, stop)
    return True


@compiled
def _later(text: Bytes, start: int, stop: int, stamp_ms: int, offset_ms: int, latest_ms: int, fields: Row) -> bool:  # noqa: C901  # two places, each with its conditions
    """A time behind a level, or in the brackets of an access log."""
    word = start + 1 if text[start] == BRACKET else start
    end = word
    while end < stop and is_letter(text, end, stop) and end - word < LEVEL_BYTES_MAX:
        end += 1
    if end > word and end < stop and level_of(text, word, end) > 0:
        at = behind(text, end, stop)
        if at > end and at < stop and text[at] == BRACKET:
            at += 1
        if at > end and at < stop and is_digit(text, at, stop):
            behind_time, time_ms = after_time(text, at, stop, stamp_ms, offset_ms, latest_ms)
            if behind_time > at:
                return _put(text, start, at, behind_time, stop, time_ms, fields)
    blanks = 0
    for place in range(start + 1, min(stop - 4, start + PREFIX_BYTES_MAX)):
        if text[place] == SPACE:
            blanks += 1
            if blanks > PREFIX_BLANKS_MAX:
                return False
        elif text[place] == BRACKET and text[place - 1] == SPACE and text[place + 3] == SLASH:
            behind_time, time_ms = after_time(text, place + 1, stop, stamp_ms, offset_ms, latest_ms)
            if behind_time > place + 1:
                return _put(text, start, place + 1, behind_time, stop, time_ms, fields)
    return False


@compiled
def _put(text: Bytes, start: int, at: int, behind_time: int, stop: int, time_ms: int, fields: Row) -> bool:
    """Keep what stands before the time at ``at``, without the bracket in which that stands."""
    fields[TIME] = time_ms
    fields[HEAD_START] = start
    fields[HEAD_STOP] = at - 1 if text[at - 1] == BRACKET else at
    fields[START] = behind(text, behind_time, stop)
    return True
