"""The pairs of a line of logfmt, compiled: ``ts=… level=info msg="…" key=value``."""

from typing import Final

from detector.compiled import compiled
from detector.decoders.log_text_fields import (
    ESCAPED,
    FLAGS,
    LEVEL_START,
    LEVEL_STOP,
    SERVICE_START,
    SERVICE_STOP,
    START,
    STOP,
    TIME,
    TRACE_START,
    TRACE_STOP,
    Row,
)
from detector.decoders.log_text_marks import IS_BLANK
from detector.decoders.log_times import Bytes, is_digit, is_letter, packed, packed_word
from detector.decoders.log_times_layouts import after_time

KEY_BYTES_MAX: Final = 24
_EQUALS: Final = ord("=")
_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_MARKS: Final = (ord("_"), ord("."), ord("-"))

_MSG, _MESSAGE = packed("msg"), packed("message")
_LEVEL, _LVL, _SEVERITY = packed("level"), packed("lvl"), packed("severity")
_TS, _TIME, _T, _TIMESTAMP = packed("ts"), packed("time"), packed("t"), packed("timestamp")
_SERVICE_NAME, _SERVICE, _APP, _COMPONENT = packed("servicename"), packed("service"), packed("app"), packed("component")
_TRACE_ID = packed("traceid")
"""Keys without their marks and case: ``trace_id``, ``traceID`` and ``trace.id`` are one."""

_HAS_MESSAGE, _HAS_LEVEL, _HAS_TIME, _HAS_TRACE = 1, 2, 4, 8


@compiled
def _key_end(text: Bytes, at: int, stop: int) -> int:
    while at < stop and (is_letter(text, at, stop) or is_digit(text, at, stop) or text[at] in _MARKS):
        at += 1
    return at


@compiled
def begins_with_pair(text: Bytes, at: int, stop: int) -> bool:
    """Whether the line begins with ``key=``."""
    end = _key_end(text, at, stop)
    return end > at and end < stop and text[end] == _EQUALS and is_letter(text, at, stop)


@compiled
def logfmt_pairs(text: Bytes, start: int, stop: int, stamp_ms: int, offset_ms: int, latest_ms: int, fields: Row) -> int:  # noqa: C901, PLR0912, PLR0915  # one function: a call that hands arrays on takes as long as ten bytes
    """How much the line says of what is looked for, 0 where it has nothing of it; ``fields`` gain that.

    Of two pairs with one key the first counts; a service that is called so goes before an app and a component.
    """
    found, rank, at = 0, 0, start
    while at < stop:
        while at < stop and IS_BLANK[text[at]]:
            at += 1
        key = at
        at = _key_end(text, at, stop)
        key_end = at
        if at >= stop or text[at] != _EQUALS:
            while at < stop and not IS_BLANK[text[at]]:
                at += 1
            continue
        at += 1
        escaped = False
        value = at
        if at < stop and text[at] == _QUOTE:
            value = at = at + 1
            while at < stop:
                byte = text[at]
                if byte == _QUOTE:
                    break
                if byte == _BACKSLASH:
                    escaped = True
                    at += 1
                at += 1
            at = min(at, stop)
            value_end = at
            at = min(at + 1, stop)
        else:
            while at < stop and not IS_BLANK[text[at]]:
                at += 1
            value_end = at
        if key_end - key > KEY_BYTES_MAX:
            continue
        name = packed_word(text, key, key_end)
        if name in (_MSG, _MESSAGE):
            if not found & _HAS_MESSAGE:
                found |= _HAS_MESSAGE
                fields[START], fields[STOP] = value, value_end
                fields[FLAGS] |= ESCAPED if escaped else 0
        elif name in (_LEVEL, _LVL, _SEVERITY):
            if not found & _HAS_LEVEL:
                found |= _HAS_LEVEL
                fields[LEVEL_START], fields[LEVEL_STOP] = value, value_end
        elif name in (_TS, _TIME, _TIMESTAMP, _T):
            end, time_ms = after_time(text, value, value_end, stamp_ms, offset_ms, latest_ms)
            if not found & _HAS_TIME and end == value_end and end > value:
                found |= _HAS_TIME
                fields[TIME] = time_ms
        elif name == _TRACE_ID:
            if not found & _HAS_TRACE:
                found |= _HAS_TRACE
                fields[TRACE_START], fields[TRACE_STOP] = value, value_end
        elif value_end > value:
            own_rank = 0
            if name in (_SERVICE, _SERVICE_NAME):
                own_rank = 3
            elif name == _APP:
                own_rank = 2
            elif name == _COMPONENT:
                own_rank = 1
            if own_rank > rank:
                rank = own_rank
                fields[SERVICE_START], fields[SERVICE_STOP] = value, value_end
    return found
