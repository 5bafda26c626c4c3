"""Normal forms: lines without their numbers and identifiers, one compiled pass over the bytes.

What a line's normal form is depends on its bytes alone, so lines with one normal form always share a template, and a
table of normal forms can stand for all later levels. ``RULES`` has an example of every rule.

A word is a run of letters, digits and underscores, with single dots and hyphens between them. Its digits are *kept*
where they rather belong to a name, ``eth0``: the normal form has a 0 for each run of them.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from detector.batches import IntArray
from detector.compiled import WORD_BYTES, compiled, load_word, ones, store_word, trailing_zeros
from detector.templates.letters import (
    BLANK,
    CLASS,
    COLON,
    COMMA,
    CONTROL,
    DIGIT,
    IS_SIGN,
    JOINER,
    JOINS_VALUES,
    LOWER,
    SLASH,
    SPACE,
    STATUS_BASE,
    UNKNOWN,
    WILD,
    ZERO,
    Bytes,
    Words,
)
from detector.templates.words import (
    HEX_GROUP_MAX,
    after_escape,
    after_hex_groups,
    after_path,
    after_url,
    ends_with,
    is_sign,
    put_kept,
    put_prefix,
    put_wild,
    value_start,
)

CUT: Final = 1
"""Flag of a line of which only the beginning was looked at."""
KEPT: Final = 2
"""Flag of a line with kept digits."""
LOOSE: Final = 4
"""Flag of a line that may have less to say than tokens: see :func:`detector.templates.tokens.collapsed`."""

_QUANTITY: Final = (ord("<"), ord("("))
"""What may stand before a quantity that is said in other words."""
_STATUS_DIGITS: Final = 3
_STATUS_CLASSES: Final = (ord("2"), ord("5"))
_STATUS_GAP_MAX: Final = 4
"""Bytes between a word and its status, as in ``"code": "404"``."""
_STATUS_WORD: Final = np.frombuffer(b"status", np.uint8)
_CODE_WORD: Final = np.frombuffer(b"code", np.uint8)
_HTTP: Final = np.frombuffer(b"http/", np.uint8)
_HASH_START: Final = np.uint64(0xCBF29CE484222325)
_SHIFTS: Final = (np.uint64(13), np.uint64(7), np.uint64(17))
"""Source: Marsaglia (2003), "Xorshift RNGs", Journal of Statistical Software 8(14)."""


def _each(value: int) -> np.uint64:
    """A word of eight bytes with this value."""
    return np.uint64(int.from_bytes(bytes((value,)) * WORD_BYTES, "little"))


_ALL: Final = _each(0xFF)
_HIGH: Final = _each(0x80)
_SMALL: Final = _each(LOWER)
_UNDERSCORES: Final = _each(ord("_"))
_FROM_A: Final = _each(0x80 - ord("a"))
_PAST_Z: Final = _each(0x80 - ord("z") - 1)
_FROM_0: Final = _each(0x80 - ord("0"))
_PAST_9: Final = _each(0x80 - ord("9") - 1)
"""What brings bytes of at least ``0`` and of more than ``9`` to 128 and above, for bytes below 128."""


class Rule(NamedTuple):
    """What happens to some words; in ``normal`` a value is ``<*>`` and the class of a status ``4xx``."""

    meaning: str
    example: str
    normal: str


RULES: Final = (
    Rule(
        "A scheme, and everything up to a blank, quote, comma or bracket, is a value.",
        "by s3://a/b?c=d, e",
        "by <*>, e",
    ),
    Rule("So are two directories or more, from a slash on that no name stands before.", "in=/var/log/x.log", "in=<*>"),
    Rule("What begins with a digit is a value, with its sign and its unit.", "took -1.5e3 or 15ms", "took <*> or <*>"),
    Rule("Values joined by a mark are one value.", "to 10.0.0.7:8080, 1/2", "to <*>, <*>"),
    Rule("A comma between two digits is part of the number.", "at 17:41:44,747", "at <*>"),
    Rule(
        "Hexadecimal groups with three colons or more between them are a value.", "fe80::1:2ab, a4:5e:c0:f1", "<*>, <*>"
    ),
    Rule("A number behind a dot, a hyphen or an underscore is a value.", "blk_-38865 core.7", "blk_<*> core.<*>"),
    Rule(
        "So is all behind the first word, where there are three digits or runs of digits.", "web-7d9c5-xkz", "web-<*>"
    ),
    Rule("Where several words come before it, all of them are the value: a host.", "db-east-07 is up", "<*> is up"),
    Rule("A word with six hexadecimal digits is a value.", "trace deadbee1", "trace <*>"),
    Rule("A word of which half are digits is a value, but for a letter and a digit.", "p95 of L2", "<*> of L0"),
    Rule("Other digits are kept.", "eth0 jk2_init", "eth0 jk0_init"),
    Rule("A status next to such a word keeps its class.", 'status=404 "code": 503', 'status=4xx "code": 5xx'),
    Rule("So does one behind an HTTP version.", 'HTTP/1.1" 200 512', 'HTTP/<*>" 2xx <*>'),
    Rule("Values in a row are one.", "rows 1 2 3 of 0x1 7", "rows <*> of <*>"),
    Rule("Blanks are one space, at the ends none.", "  a \t b ", "a b"),
    Rule("Colours of terminals are left out.", "\x1b[31mred\x1b[0m", "red"),
    Rule("Other control bytes are unknown.", "a\x07b", "a?b"),
)


class Normal(NamedTuple):
    """Normal forms of n lines, each from a multiple of eight bytes on and followed by zeros up to the next.

    ``text`` uint8[], ``words`` the same as uint64[]; ``starts`` and ``sizes`` int64[n], in bytes; ``hashes`` uint64[n];
    ``flags`` uint8[n], ``CUT``, ``KEPT`` and ``LOOSE``.
    """

    text: Bytes
    words: Words
    starts: IntArray
    sizes: IntArray
    hashes: Words
    flags: Bytes

    def form(self, row: int) -> bytes:
        """Normal form of one line."""
        return self.text[self.starts[row] : self.starts[row] + self.sizes[row]].tobytes()


def normal_forms(lines: Sequence[bytes], line_bytes: int, tokens: int, *, literal: bool = False) -> Normal:
    """Normal forms of ``lines``; of each at most its first ``line_bytes`` bytes and ``tokens`` tokens.

    With ``literal``, kept digits stay as they are in the line; everything else is the same.
    """
    count = len(lines)
    buffer = np.frombuffer(b"".join((*lines, bytes(WORD_BYTES))), np.uint8)
    ends = np.cumsum(np.fromiter(map(len, lines), np.int64, count))
    words = np.empty(len(buffer) // WORD_BYTES + count + 2, np.uint64)
    starts, sizes = np.empty(count, np.int64), np.empty(count, np.int64)
    hashes, flags = np.empty(count, np.uint64), np.empty(count, np.uint8)
    out = words.view(np.uint8)
    _normalise(buffer, ends, line_bytes, tokens, literal, out, words, starts, sizes, hashes, flags)
    return Normal(out, words, starts, sizes, hashes, flags)


@compiled
def _letters(eight: np.uint64) -> np.uint64:
    """The highest bit of each of eight bytes that is a letter.

    Source: Lamport (1975), "Multiple byte processing with full-word instructions", Communications of the ACM 18(8).
    """
    seven = eight & ~_HIGH
    small = (eight | _SMALL) & ~_HIGH
    ranged = (small + _FROM_A) & ~(small + _PAST_Z)
    other = ~((seven ^ _UNDERSCORES) + ~_HIGH)
    return (eight | ranged | other) & _HIGH


@compiled
def _digits(eight: np.uint64) -> np.uint64:
    """The highest bit of each of eight bytes that is a digit."""
    seven = eight & ~_HIGH
    return (seven + _FROM_0) & ~(seven + _PAST_9) & ~eight & _HIGH


@compiled
def _has_more(text: Bytes, at: int, stop: int) -> bool:
    """Whether anything but blanks follows."""
    while at < stop and CLASS[text[at]] == BLANK:
        at += 1
    return at < stop


@compiled
def _after_value(out: Bytes, begin: int, at: int) -> tuple[int, int]:
    """The end of ``out[begin:at]``, whose last token ends with a value, and ``LOOSE`` or 0.

    Without that token, if it is nothing but a value, as is the one before.
    """
    start = at - 1
    while start > begin and out[start - 1] != SPACE:
        start -= 1
    size = at - start
    if size == len(_QUANTITY) and (out[start] == _QUANTITY[0] or out[start] == _QUANTITY[1]):
        return at, LOOSE
    before = start - 1 - size
    if before < begin or (before > begin and out[before - 1] != SPACE):
        return at, 0
    for place in range(size):
        if out[before + place] != out[start + place]:
            return at, 0
    return (start - 1, 0) if size == 1 else (at, LOOSE)


@compiled
def _names_status(out: Bytes, start: int, stop: int) -> bool:
    """Whether a status may follow ``out[start:stop]``, or HTTP's version, where ``start`` is below zero."""
    return start < 0 or ends_with(out, start, stop, _STATUS_WORD) or ends_with(out, start, stop, _CODE_WORD)


@compiled
def _put_mixed(text: Bytes, start: int, stop: int, literal: bool, out: Bytes, begin: int, at: int) -> tuple[int, int]:  # noqa: FBT001
    """Write a word of letters and digits behind ``out[begin:at]``; gives the new end and flags."""
    value = value_start(text, start, stop)
    if value == stop:
        return put_kept(text, start, stop, literal, out, at), KEPT
    return put_wild(out, begin, put_prefix(text, start, value, out, at)), 0


@compiled
def _line(text: Bytes, start: int, stop: int, tokens: int, literal: bool, out: Bytes, begin: int) -> tuple[int, int]:  # noqa: FBT001, C901, PLR0912, PLR0915
    """Write the normal form of ``text[start:stop]`` from ``out[begin]`` on; gives its end and the line's flags.

    Words are read and written eight bytes at a time, so up to seven bytes behind a word are written, too: what follows
    is written over them. One function, since a call that hands arrays on takes as long as a word: only rare words are
    left to others.
    """
    at, place, spaces, flags = begin, start, 0, 0
    said, said_at = 0, -1  # where in ``out`` the word before began and ended; it began at -1 if it was HTTP's version
    while place < stop:
        byte = text[place]
        kind = CLASS[byte]
        if kind >= DIGIT:
            word, word_at, digits, number = place, at, 0, kind == DIGIT
            while True:
                eight = load_word(text, place)
                figures = _digits(eight)
                rest = ~(_letters(eight) | figures) & _HIGH
                if place + WORD_BYTES > stop:
                    rest |= _HIGH << np.uint64(8 * (stop - place))
                store_word(out, at, eight)
                if rest == 0:
                    digits += ones(figures)
                    at += WORD_BYTES
                    place += WORD_BYTES
                    if place < stop:
                        byte = text[place]
                        kind = CLASS[byte]
                        if kind >= DIGIT:
                            continue
                else:
                    first = trailing_zeros(rest)
                    digits += ones(figures & ~(_ALL << np.uint64(first)))
                    at += first >> 3
                    place += first >> 3
                    if place < stop:
                        byte = text[place]
                        kind = CLASS[byte]
                if place + 1 >= stop:
                    break
                before, behind = CLASS[text[place - 1]], CLASS[text[place + 1]]
                if kind == JOINER:
                    if before < DIGIT or behind < DIGIT:
                        break
                elif not number or byte != COMMA or before != DIGIT or behind != DIGIT:
                    break
                out[at] = byte
                at += 1
                place += 1
            if byte == COLON and place - word <= HEX_GROUP_MAX and place < stop:
                behind_groups = after_hex_groups(text, word, stop)
                if behind_groups > word:
                    at = put_wild(out, begin, word_at)
                    place = behind_groups
                    said_at = -1
                    continue
            if byte == COLON and place < stop:
                behind_url = after_url(text, place, stop)
                if behind_url > place:
                    at = put_wild(out, begin, word_at)
                    place = behind_url
                    said_at = -1
                    continue
            if digits == 0:
                said, said_at = word_at, at
                continue
            if not number:
                at, found = _put_mixed(text, word, place, literal, out, begin, word_at)
                flags |= found
                said_at = -1
                continue
            if (
                digits == _STATUS_DIGITS == place - word
                and _STATUS_CLASSES[0] <= text[word] <= _STATUS_CLASSES[1]
                and said_at >= max(word_at - _STATUS_GAP_MAX, 0)
                and _names_status(out, said, said_at)
            ):
                out[word_at] = STATUS_BASE + text[word] - ZERO
                at = word_at + 1
                said_at = -1
                continue
            at = word_at
            http = at > begin and out[at - 1] == SLASH and ends_with(out, begin, at, _HTTP)
            if at > begin and out[at - 1] == WILD:
                pass
            elif at > begin + 1 and out[at - 2] == WILD and JOINS_VALUES[out[at - 1]]:
                at -= 1
            else:
                out[at] = WILD
                at += 1
            said, said_at = -1, at if http else -1
        elif kind == BLANK:
            if at > begin and out[at - 1] != SPACE:
                if out[at - 1] == WILD or out[at - 1] == COMMA:
                    at, found = _after_value(out, begin, at)
                    flags |= found
                spaces += 1
                if spaces == tokens:
                    flags |= CUT if _has_more(text, place, stop) else 0
                    break
                out[at] = SPACE
                at += 1
            place += 1
        elif byte == SLASH:
            behind_path = after_path(text, start, place, stop)
            if behind_path > place:
                at = put_wild(out, begin, at)
                said_at = -1
            else:
                out[at] = byte
                at += 1
            place = max(behind_path, place + 1)
        elif kind == CONTROL:
            next_place = after_escape(text, place, stop)
            if next_place == place:
                out[at] = UNKNOWN
                at += 1
                next_place += 1
            place = next_place
        elif IS_SIGN[byte] and is_sign(text, start, place, stop):
            place += 1
        else:
            out[at] = byte
            at += 1
            place += 1
    if at > begin and out[at - 1] == SPACE:
        at -= 1
    elif at > begin and (out[at - 1] == WILD or out[at - 1] == COMMA):
        at, found = _after_value(out, begin, at)
        flags |= found
    return at, flags


@compiled
def _normalise(
    text: Bytes,
    ends: IntArray,
    line_bytes: int,
    tokens: int,
    literal: bool,  # noqa: FBT001
    out: Bytes,
    words: Words,
    starts: IntArray,
    sizes: IntArray,
    hashes: Words,
    flags: Bytes,
) -> None:
    """Fill ``out``, which ``words`` is another view of, and the columns, for the lines that end at ``ends``.

    ``text`` and ``out`` have ``WORD_BYTES`` bytes more than their lines need.
    """
    start, at = 0, 0
    for row in range(len(ends)):
        begin, stop = at, min(ends[row], start + line_bytes)
        at, found = _line(text, start, stop, tokens, literal, out, begin)
        flags[row] = found | (CUT if stop < ends[row] else 0)
        starts[row] = begin
        sizes[row] = at - begin
        while at % WORD_BYTES:
            out[at] = 0
            at += 1
        digest = _HASH_START
        for place in range(begin // WORD_BYTES, at // WORD_BYTES):
            digest ^= words[place]
            digest ^= digest << _SHIFTS[0]
            digest ^= digest >> _SHIFTS[1]
            digest ^= digest << _SHIFTS[2]
        hashes[row] = digest
        start = ends[row]
