"""One compiled pass over the bytes of a batch: where its lines lie, and what their headers say.

A record may hold several lines. A line goes on with the one before where ``goes_on`` says so, where it ends a traceback
of Python, and where it has no header while the record's first line has one: then the record is one message. A record of
one line of plain text, without a header and a time of its broker, goes on as well: so lines of files are read, in which
headers bring the times, and what has none belongs to the line before.
"""

from typing import Final

import numpy as np

from detector.batches import IntArray
from detector.compiled import compiled
from detector.decoders.log_text_cri import cri_header
from detector.decoders.log_text_fields import (
    AHEAD,
    CRI,
    EMPTY,
    FIELDS,
    FLAGS,
    GOOD,
    LONG,
    MALFORMED,
    PART,
    PLAIN,
    RECORD,
    START,
    STOP,
    SYSLOG,
    TIME,
    UNTIMED,
    YEARLESS,
    Row,
    Table,
)
from detector.decoders.log_text_logfmt import logfmt_pairs
from detector.decoders.log_text_marks import IS_BLANK, begins_traceback, goes_on, names_exception
from detector.decoders.log_text_plain import plain_header
from detector.decoders.log_text_syslog import syslog_header
from detector.decoders.log_times import FAR_MS, NONE, UNPLACED, Bytes
from detector.log_batches import BEGINS, CONTINUES, ENDS_TRACEBACK, PARTIAL, WHOLE

NEWLINE: Final = ord("\n")
_ESCAPE: Final = 0x1B
_BRACKET: Final = ord("[")
_PARAMETERS: Final = (0x20, 0x3F)
_FINAL: Final = (0x40, 0x7E)


@compiled
def without_colours(text: Bytes, ends: IntArray, out: Bytes, out_ends: IntArray) -> int:
    """Write the text without control sequences (``ESC [ … letter``); gives its size. Source: ECMA-48, 5.4."""
    at, place = 0, 0
    for row in range(len(ends)):
        stop = ends[row]
        while place < stop:
            if text[place] == _ESCAPE and place + 1 < stop and text[place + 1] == _BRACKET:
                end = place + 2
                while end < stop and _PARAMETERS[0] <= text[end] <= _PARAMETERS[1]:
                    end += 1
                if end < stop and _FINAL[0] <= text[end] <= _FINAL[1]:
                    place = end + 1
                    continue
            out[at] = text[place]
            at += 1
            place += 1
        out_ends[row] = at
    return at


@compiled
def _header(
    text: Bytes, at: int, stop: int, shape: int, stamp_ms: int, offset_ms: int, latest_ms: int, fields: Row
) -> bool:
    """Whether the line has a header of this format; ``fields``, which are blank, gain what it says."""
    for place in range(FIELDS):
        fields[place] = 0
    fields[TIME], fields[START], fields[STOP], fields[PART] = NONE, at, stop, WHOLE
    if shape == PLAIN:
        found = plain_header(text, at, stop, stamp_ms, offset_ms, latest_ms, fields)
        fields[PART] = BEGINS
        return found
    if shape == SYSLOG:
        return syslog_header(text, at, stop, stamp_ms, offset_ms, latest_ms, fields)
    if shape == CRI:
        return cri_header(text, at, stop, stamp_ms, offset_ms, latest_ms, fields)
    return logfmt_pairs(text, at, stop, stamp_ms, offset_ms, latest_ms, fields) > 0


@compiled
def _timed(fields: Row, stamp_ms: int, latest_ms: int) -> int:
    """Give a line without a time that of its record; what is wrong with the time, or ``GOOD``."""
    if fields[TIME] == UNPLACED:
        return YEARLESS
    if fields[TIME] > latest_ms:
        return AHEAD
    if fields[TIME] == NONE:
        if stamp_ms < 0 and fields[PART] != CONTINUES and fields[PART] != ENDS_TRACEBACK:
            return UNTIMED
        fields[TIME] = stamp_ms
    return GOOD


@compiled
def scan(  # noqa: C901, PLR0912, PLR0915  # one function: a call that hands arrays on takes as long as ten bytes
    text: Bytes,
    starts: IntArray,
    ends: IntArray,
    newlines: IntArray,
    stamps_ms: IntArray,
    shape: int,
    offset_ms: int,
    ahead_max_ms: int,
    table: Table,
    faults: IntArray,
    details: IntArray,
) -> int:
    """Fill ``table`` with the lines of the records between ``starts`` and ``ends``; gives their number.

    ``newlines`` are the places of all line feeds in ``text``, which NumPy finds faster than a loop that stops at each.
    ``faults`` has ``GOOD`` for the records to be looked at and gains the first fault of each, ``details`` by how many
    milliseconds its time is ahead. Lines without any time that go on with others keep -1: what they go on with has one.
    """
    count, newline = 0, 0
    for row in range(len(ends)):
        stop, stamp_ms = ends[row], stamps_ms[row]
        if faults[row] != GOOD:
            continue
        latest_ms = stamp_ms + ahead_max_ms if stamp_ms >= 0 else FAR_MS
        first, current, seen = count, -1, False
        headed, in_traceback = False, False
        at = starts[row]
        while at < stop:
            while newline < len(newlines) and newlines[newline] < at:
                newline += 1
            behind = newlines[newline] if newline < len(newlines) and newlines[newline] < stop else stop
            end = behind
            while end > at and IS_BLANK[text[end - 1]]:
                end -= 1
            if end == at:
                at = behind + 1
                continue
            found = False
            continues = shape != SYSLOG and goes_on(text, at, end)
            if not (continues and shape == PLAIN):
                found = _header(text, at, end, shape, stamp_ms, offset_ms, latest_ms, table[count])
            else:
                table[count, :] = 0
                table[count, RECORD], table[count, START], table[count, STOP] = row, at, end
                table[count, TIME], table[count, PART] = NONE, CONTINUES
            if found and table[count, PART] == PARTIAL and end < behind:  # the blanks stand within a line
                table[count, START] += table[count, START] == end
                table[count, STOP] = behind
            ends_traceback = not found and in_traceback and names_exception(text, at, end)
            if seen and not found and (headed or continues or ends_traceback):
                if current >= 0:
                    table[current, STOP] = end
                    table[current, FLAGS] |= LONG
                in_traceback = (in_traceback or begins_traceback(text, at, end)) and not ends_traceback
                at = behind + 1
                continue
            if not found and shape in (SYSLOG, CRI):
                faults[row] = MALFORMED
                break
            headed = headed or (found and not seen)
            seen = True
            if not found and shape == PLAIN and not continues:
                if stamp_ms < 0 and at == starts[row] and behind + 1 >= stop:
                    table[count, PART] = CONTINUES
                elif names_exception(text, at, end):
                    table[count, PART] = ENDS_TRACEBACK
            in_traceback = begins_traceback(text, table[count, START], end)
            table[count, RECORD] = row
            fault = _timed(table[count], stamp_ms, latest_ms)
            if fault == GOOD:
                current = count
                count += 1
            else:
                current = -1
                if faults[row] == GOOD:
                    faults[row] = fault
                    details[row] = table[count, TIME] - stamp_ms
            at = behind + 1
        if count == first and faults[row] == GOOD:
            faults[row] = EMPTY
    return count


def table_of(lines_max: int) -> Table:
    """An empty table for so many lines and the one being looked at."""
    return np.empty((lines_max + 1, FIELDS), np.int64)
