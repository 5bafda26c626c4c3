"""Which format a record has, from its first bytes, compiled."""

from typing import Final

import numpy as np

from detector.batches import IntArray
from detector.compiled import compiled
from detector.decoders.log_text_cri import cri_header
from detector.decoders.log_text_fields import FIELDS, SERVICE_START, SERVICE_STOP
from detector.decoders.log_text_logfmt import begins_with_pair, logfmt_pairs
from detector.decoders.log_text_marks import IS_BLANK
from detector.decoders.log_text_scan import NEWLINE
from detector.decoders.log_text_syslog import syslog_header
from detector.decoders.log_times import Bytes, is_digit, is_letter

AS_PLAIN, AS_JSON, AS_OTLP, AS_SYSLOG, AS_CRI, AS_LOGFMT = range(6)
FAMILIES: Final = ("plain", "json", "otlp_proto", "syslog", "cri", "logfmt")
_BRACE: Final = ord("{")
_BRACKET: Final = ord("[")
_LESS: Final = ord("<")
_FIELD_ONE: Final = 0x0A
"""Key of field 1 of type LEN in protobuf, with which every export request begins; a line feed as text."""


@compiled
def guess(text: Bytes, starts: IntArray, ends: IntArray, unused_ms: int, latest_ms: int, families: Bytes) -> None:
    """Fill ``families`` with what each of the records between ``starts`` and ``ends`` looks like.

    Times are looked for, not used: ``unused_ms`` stands for what a record would tell, ``latest_ms`` is far off. Both
    are arguments, so that Numba compiles the parsers of headers for numbers, and not once more for these.
    """
    fields = np.zeros(FIELDS, np.int64)
    for row in range(len(ends)):
        families[row] = _family(text, starts[row], ends[row], unused_ms, latest_ms, fields)


@compiled
def _family(text: Bytes, start: int, stop: int, unused_ms: int, latest_ms: int, fields: IntArray) -> int:  # noqa: C901, PLR0911  # one question after the other
    if start < stop and text[start] == _FIELD_ONE:
        return AS_OTLP
    at = start
    while at < stop and (IS_BLANK[text[at]] or text[at] == NEWLINE):
        at += 1
    if at == stop:
        return AS_PLAIN
    first = text[at]
    if first == _BRACE:
        return AS_JSON
    if first == _BRACKET:
        after = at + 1
        while after < stop and (IS_BLANK[text[after]] or text[after] == NEWLINE):
            after += 1
        return AS_JSON if after < stop and text[after] == _BRACE else AS_PLAIN
    if at > start:
        return AS_PLAIN  # a line that goes on with another
    end = at
    while end < stop and text[end] != NEWLINE:
        end += 1
    if first == _LESS:
        return AS_SYSLOG if syslog_header(text, at, end, unused_ms, unused_ms, latest_ms, fields) else AS_PLAIN
    if is_digit(text, at, end):
        if cri_header(text, at, end, unused_ms, unused_ms, latest_ms, fields):
            return AS_CRI
        return _syslog(text, at, end, unused_ms, latest_ms, fields)
    if begins_with_pair(text, at, end) and logfmt_pairs(text, at, end, unused_ms, unused_ms, latest_ms, fields):
        return AS_LOGFMT
    return _syslog(text, at, end, unused_ms, latest_ms, fields) if is_letter(text, at, end) else AS_PLAIN


@compiled
def _syslog(text: Bytes, at: int, stop: int, unused_ms: int, latest_ms: int, fields: IntArray) -> int:
    """Syslog without a priority needs a tag."""
    fields[SERVICE_START] = fields[SERVICE_STOP] = 0
    found = syslog_header(text, at, stop, unused_ms, unused_ms, latest_ms, fields)
    return AS_SYSLOG if found and fields[SERVICE_STOP] > fields[SERVICE_START] else AS_PLAIN
