"""The header of a syslog message, compiled: RFC 5424, RFC 3164 with and without its priority, RFC 6587's length."""

from typing import Final

from detector.compiled import compiled
from detector.decoders.log_text_fields import SERVICE_START, SERVICE_STOP, SEVERITY, START, TIME, Row
from detector.decoders.log_text_marks import SYSLOG_CLASSES
from detector.decoders.log_times import BRACKET, BRACKET_END, COLON, DASH, SPACE, Bytes, is_digit, is_letter, number
from detector.decoders.log_times_layouts import after_time

PRIORITY_MAX: Final = 191
PRIORITY_DIGITS_MAX: Final = 3
LENGTH_DIGITS_MAX: Final = 7
TAG_BYTES_MAX: Final = 128
_LESS: Final = ord("<")
_GREATER: Final = ord(">")
_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_PARENTHESIS: Final = ord("(")
_MARK: Final = (0xEF, 0xBB, 0xBF)


@compiled
def syslog_header(
    text: Bytes, start: int, stop: int, stamp_ms: int, offset_ms: int, latest_ms: int, fields: Row
) -> bool:
    """Whether a message of syslog begins; ``fields`` gain its time, severity, service and where its text begins."""
    at = start
    while is_digit(text, at, stop) and at - start < LENGTH_DIGITS_MAX:
        at += 1
    at = at + 1 if start < at < stop - 1 and text[at] == SPACE and text[at + 1] == _LESS else start
    behind_priority = _after_priority(text, at, stop, fields)
    if behind_priority > at:
        at = behind_priority
        version = at + 1 if is_digit(text, at + 1, stop) else at
        versioned = is_digit(text, at, stop) and version + 2 < stop and text[version + 1] == SPACE
        if versioned and (text[version + 2] == DASH or is_digit(text, version + 2, stop)):
            return _structured(text, version + 2, stop, stamp_ms, offset_ms, latest_ms, fields)
    return _classic(text, at, stop, stamp_ms, offset_ms, latest_ms, at > start, fields)


@compiled
def _after_priority(text: Bytes, at: int, stop: int, fields: Row) -> int:
    """``<PRI>``: severity is its last three bits."""
    digits = 0
    while is_digit(text, at + 1 + digits, stop) and digits <= PRIORITY_DIGITS_MAX:
        digits += 1
    end = at + 1 + digits
    if at >= stop or text[at] != _LESS or not 0 < digits <= PRIORITY_DIGITS_MAX or end >= stop or text[end] != _GREATER:
        return at
    priority = number(text, at + 1, digits, stop)
    if priority > PRIORITY_MAX:
        return at
    fields[SEVERITY] = SYSLOG_CLASSES[priority & 7]
    return end + 1


@compiled
def _token_end(text: Bytes, at: int, stop: int) -> int:
    while at < stop and text[at] != SPACE:
        at += 1
    return at


@compiled
def _structured(text: Bytes, start: int, stop: int, stamp_ms: int, offset_ms: int, latest_ms: int, fields: Row) -> bool:  # noqa: C901  # part by part, each may be missing
    """``TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG]``, ``-`` for what is not there (RFC 5424, 6)."""
    at = _token_end(text, start, stop)
    if text[start] != DASH or at != start + 1:
        end, time_ms = after_time(text, start, at, stamp_ms, offset_ms, latest_ms)
        if end != at:
            return False
        fields[TIME] = time_ms
    at = _token_end(text, at + 1, stop)
    name = at + 1
    at = _token_end(text, name, stop)
    if at - name > 1 or (at > name and text[name] != DASH):
        fields[SERVICE_START], fields[SERVICE_STOP] = name, at
    at = _token_end(text, at + 1, stop)
    at = _token_end(text, at + 1, stop) + 1
    if at >= stop:
        return False
    quoted, element = False, False
    while at < stop and (element or text[at] == BRACKET or text[at] != SPACE):
        byte = text[at]
        if quoted and byte == _BACKSLASH:
            at += 1
        elif byte == _QUOTE:
            quoted = element and not quoted
        elif not quoted and byte == BRACKET:
            element = True
        elif not quoted and byte == BRACKET_END:
            element = False
        at += 1
    if element:
        return False
    at = min(at + 1, stop)
    if at + 2 < stop and text[at] == _MARK[0] and text[at + 1] == _MARK[1] and text[at + 2] == _MARK[2]:
        at += 3
    fields[START] = at
    return True


@compiled
def _classic(
    text: Bytes,
    start: int,
    stop: int,
    stamp_ms: int,
    offset_ms: int,
    latest_ms: int,
    with_priority: bool,  # noqa: FBT001
    fields: Row,
) -> bool:
    """``Mmm dd hh:mm:ss host tag[pid]: text``, the time also as ISO 8601; behind a priority all may be missing."""
    end, time_ms = after_time(text, start, stop, stamp_ms, offset_ms, latest_ms)
    if end > start:
        fields[TIME] = time_ms
        end = end + 1 if end < stop and text[end] == COLON else end
        if end < stop and text[end] != SPACE:
            return with_priority and _untagged(start, fields)
        end = min(end + 1, stop)
    elif not with_priority:
        return False
    tagged = _after_tag(text, end, stop, fields)
    if tagged == end and time_ms != -1:
        host_end = _token_end(text, end, stop)
        end = min(host_end + 1, stop) if host_end > end else end
        tagged = _after_tag(text, end, stop, fields)
    if tagged == end and not with_priority:
        return False
    fields[START] = tagged
    return True


@compiled
def _untagged(start: int, fields: Row) -> bool:
    """What follows the priority is no header: all of it is the message."""
    fields[TIME] = -1
    fields[START] = start
    return True


@compiled
def _after_tag(text: Bytes, at: int, stop: int, fields: Row) -> int:
    """Behind ``tag:`` or ``tag[pid]:`` and the blank; ``at`` if there is none. ``fields`` gain the tag as service."""
    end, name_end = at, -1
    while end < stop and text[end] != SPACE and end - at < TAG_BYTES_MAX:
        if name_end < 0 and (text[end] == BRACKET or text[end] == _PARENTHESIS or text[end] == COLON):
            name_end = end
        if text[end] == COLON and (end + 1 == stop or text[end + 1] == SPACE):
            if name_end == at or not _has_letter(text, at, name_end):
                return at
            fields[SERVICE_START], fields[SERVICE_STOP] = at, name_end
            return min(end + 2, stop)
        end += 1
    return at


@compiled
def _has_letter(text: Bytes, at: int, stop: int) -> bool:
    for place in range(at, stop):  # noqa: SIM110  # a kernel has no generators
        if is_letter(text, place, stop):
            return True
    return False
