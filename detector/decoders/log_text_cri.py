"""The header of a line as Kubernetes' container runtimes write it, compiled: ``TIME stdout|stderr F|P MESSAGE``.

Source: the Container Runtime Interface's log format, kubernetes/design-proposals-archive, "CRI: Dockerless ... Log
Path". A line with ``P`` is a piece: the next of its stream goes on with it.
"""

from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.decoders.log_text_fields import (
    FLAGS,
    HEAD_START,
    HEAD_STOP,
    JSON,
    PART,
    SERVICE_START,
    SERVICE_STOP,
    START,
    STDERR,
    STOP,
    TIME,
    Row,
)
from detector.decoders.log_text_logfmt import begins_with_pair, logfmt_pairs
from detector.decoders.log_text_marks import goes_on, names_exception, starts_with
from detector.decoders.log_text_plain import plain_header
from detector.decoders.log_times import COLON, SPACE, Bytes
from detector.decoders.log_times_layouts import after_time
from detector.log_batches import BEGINS, CONTINUES, ENDS_TRACEBACK, PARTIAL, WHOLE

_STDOUT: Final = np.frombuffer(b" stdout ", np.uint8)
_STDERR: Final = np.frombuffer(b" stderr ", np.uint8)
_FULL: Final = ord("F")
_PIECE: Final = ord("P")
_BRACE: Final = ord("{")
_BRACE_END: Final = ord("}")
_LETTER_T: Final = ord("T")
_T_AT: Final = 10


@compiled
def cri_header(text: Bytes, start: int, stop: int, stamp_ms: int, offset_ms: int, latest_ms: int, fields: Row) -> bool:  # noqa: PLR0911  # part by part, each may be missing
    """Whether the line has a runtime's header; ``fields`` gain its time and what the message within tells."""
    if start + _T_AT >= stop or text[start + _T_AT] != _LETTER_T:
        return False
    end, time_ms = after_time(text, start, stop, stamp_ms, offset_ms, latest_ms)
    if end == start:
        return False
    if starts_with(text, end, stop, _STDERR):
        fields[FLAGS] |= STDERR
    elif not starts_with(text, end, stop, _STDOUT):
        return False
    tag = end + len(_STDOUT)
    if tag >= stop or (text[tag] != _FULL and text[tag] != _PIECE):
        return False
    at = tag + 1
    if at < stop and text[at] == COLON:
        while at < stop and text[at] != SPACE:
            at += 1
    if at < stop and text[at] != SPACE:
        return False
    at = min(at + 1, stop)
    fields[TIME], fields[START], fields[STOP] = time_ms, at, stop
    if text[tag] == _PIECE:
        fields[PART] = PARTIAL
        return True
    fields[PART] = _message(text, at, stop, stamp_ms, offset_ms, latest_ms, fields)
    fields[TIME] = time_ms  # the runtime's, not one that the message has
    return True


@compiled
def _message(text: Bytes, at: int, stop: int, stamp_ms: int, offset_ms: int, latest_ms: int, fields: Row) -> int:
    """Look at a message; gives its part."""
    if at >= stop:
        return BEGINS
    if text[at] == _BRACE and text[stop - 1] == _BRACE_END:
        fields[FLAGS] |= JSON
        return WHOLE
    if goes_on(text, at, stop):
        return CONTINUES
    if begins_with_pair(text, at, stop):
        if logfmt_pairs(text, at, stop, stamp_ms, offset_ms, latest_ms, fields):
            return WHOLE
        fields[SERVICE_START] = fields[SERVICE_STOP] = 0
    elif plain_header(text, at, stop, stamp_ms, offset_ms, latest_ms, fields):
        return BEGINS
    fields[HEAD_START] = fields[HEAD_STOP] = 0
    return ENDS_TRACEBACK if names_exception(text, at, stop) else BEGINS
