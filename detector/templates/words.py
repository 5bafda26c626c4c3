"""Words of a line: where they end, which part of them is a value, and what is written for them.

Compiled leaf functions of :mod:`detector.templates.normal`; ``text[start:stop]`` is a line, or a word of it.
"""

from typing import Final

from detector.compiled import compiled
from detector.templates.letters import (
    BACKSLASH,
    BLANK,
    BRACKET,
    CLASS,
    COLON,
    DIGIT,
    ENDS_URL,
    ESCAPE,
    IS_HEX,
    IS_PATH,
    IS_SEPARATOR,
    IS_SIGN,
    JOINER,
    JOINS_VALUES,
    LOWER,
    SLASH,
    WILD,
    ZERO,
    Bytes,
)

DIGITS_MIN: Final = 3
RUNS_MIN: Final = 3
"""So many digits, or runs of digits, make a word of letters and digits a value."""
SHORT_WORD: Final = 2
"""A letter and a digit (``L2``) are no value, though half of it is digits."""
HEX_WORD_MIN: Final = 6
HEX_GROUP_MAX: Final = 4
PATH_NAMES_MIN: Final = 2
HEX_COLONS: Final = (3, 7)
FINAL_BYTES: Final = (0x40, 0x7E)
"""The last byte of a terminal's control sequence lies between these. Source: ECMA-48, 5.4."""


@compiled
def ends_with(text: Bytes, start: int, stop: int, word: Bytes) -> bool:
    """Whether ``text[start:stop]`` ends with ``word``, which is lower case, in upper or lower case."""
    first = stop - len(word)
    if first < start:
        return False
    for place in range(len(word)):
        byte = int(text[first + place])
        if byte != word[place] and byte + LOWER != word[place]:
            return False
    return True


@compiled
def after_escape(text: Bytes, at: int, stop: int) -> int:
    """Where the terminal's control sequence (``ESC [ … letter``) that begins at ``at`` has ended; ``at`` if none."""
    if at + 1 >= stop or text[at] != ESCAPE or text[at + 1] != BRACKET:
        return at
    place = at + 2
    while place < stop and not FINAL_BYTES[0] <= text[place] <= FINAL_BYTES[1]:
        place += 1
    return min(place + 1, stop)


@compiled
def is_sign(text: Bytes, start: int, at: int, stop: int) -> bool:
    """Whether the byte is the sign of the number behind it, and no hyphen of the word before it."""
    if not IS_SIGN[text[at]] or at + 1 >= stop or CLASS[text[at + 1]] != DIGIT:
        return False
    return at == start or CLASS[text[at - 1]] < DIGIT


@compiled
def after_hex_groups(text: Bytes, at: int, stop: int) -> int:
    """Where groups of hexadecimal digits with colons between them have ended; ``at`` if there are too few."""
    place, group, colons, digits = at, 0, 0, 0
    while place < stop:
        byte = text[place]
        if IS_HEX[byte]:
            group += 1
            digits += CLASS[byte] == DIGIT
            if group > HEX_GROUP_MAX:
                return at
        elif byte == COLON and colons < HEX_COLONS[1] and place + 1 < stop:
            follows = text[place + 1]
            if not IS_HEX[follows] and (follows != COLON or group == 0):
                break
            group = 0
            colons += 1
        else:
            break
        place += 1
    if colons < HEX_COLONS[0] or digits == 0 or (place < stop and CLASS[text[place]] >= DIGIT):
        return at
    return place


@compiled
def after_path(text: Bytes, start: int, at: int, stop: int) -> int:
    """Where the path that begins with the slash at ``at`` has ended; ``at`` where there is none, or one name only."""
    if at > start and (CLASS[text[at - 1]] >= JOINER or text[at - 1] == SLASH or text[at - 1] == BACKSLASH):
        return at
    place, names = at, 0
    while place + 1 < stop and text[place] == SLASH and IS_PATH[text[place + 1]]:
        place += 1
        while place < stop and IS_PATH[text[place]]:
            place += 1
        names += 1
    if names < PATH_NAMES_MIN:
        return at
    return place + 1 if place < stop and text[place] == SLASH else place


@compiled
def after_url(text: Bytes, at: int, stop: int) -> int:
    """Where the URL whose scheme has ended before ``at`` has ended; ``at`` if no ``://`` and name follow."""
    if at + 3 >= stop or text[at] != COLON or text[at + 1] != SLASH or text[at + 2] != SLASH:
        return at
    place = at + 3
    while place < stop and CLASS[text[place]] != BLANK and not ENDS_URL[text[place]]:
        place += 1
    return place if place > at + 3 else at


@compiled
def value_start(text: Bytes, start: int, stop: int) -> int:
    """Where in a word that begins with a letter and has digits the value begins; ``stop`` if the digits are kept.

    The part before the one with the first digit is no value, unless it has several parts itself, as names of hosts do.
    """
    digits, runs, first, part = 0, 0, stop, start
    word, hexadecimal, word_digits, hex_word = start, True, 0, False
    for place in range(start, stop):
        byte = text[place]
        if IS_SEPARATOR[byte]:
            hex_word = hex_word or (hexadecimal and word_digits > 0 and place - word >= HEX_WORD_MIN)
            word, hexadecimal, word_digits = place + 1, True, 0
            if first == stop:
                part = place + 1
            continue
        hexadecimal = hexadecimal and bool(IS_HEX[byte])
        if CLASS[byte] == DIGIT:
            digits += 1
            word_digits += 1
            if CLASS[text[place - 1]] != DIGIT:
                runs += 1
            first = min(first, place)
    hex_word = hex_word or (hexadecimal and word_digits > 0 and stop - word >= HEX_WORD_MIN)
    number_last = word_digits == stop - word
    half = 2 * digits >= stop - start > SHORT_WORD
    if not (digits >= DIGITS_MIN or runs >= RUNS_MIN or half or hex_word or number_last):
        return stop
    for place in range(start, part - 1):
        if IS_SEPARATOR[text[place]] and not IS_SEPARATOR[text[place + 1]]:
            return start
    return part


@compiled
def put_wild(out: Bytes, begin: int, at: int) -> int:
    """Write a value behind ``out[begin:at]``, as one with the value before it; gives the new end."""
    if at > begin and out[at - 1] == WILD:
        return at
    if at > begin + 1 and out[at - 2] == WILD and JOINS_VALUES[out[at - 1]]:
        return at - 1
    out[at] = WILD
    return at + 1


@compiled
def put_kept(text: Bytes, start: int, stop: int, literal: bool, out: Bytes, at: int) -> int:  # noqa: FBT001
    """Write a word with kept digits: a 0 for each run, or with ``literal`` as it is; gives the new end."""
    for place in range(start, stop):
        if literal or CLASS[text[place]] != DIGIT:
            out[at] = text[place]
            at += 1
        elif CLASS[text[place - 1]] != DIGIT:
            out[at] = ZERO
            at += 1
    return at


@compiled
def put_prefix(text: Bytes, start: int, stop: int, out: Bytes, at: int) -> int:
    """Write what stands before a value, with the first of its last separators only; gives the new end."""
    while stop - start > 1 and IS_SEPARATOR[text[stop - 1]] and IS_SEPARATOR[text[stop - 2]]:
        stop -= 1
    for place in range(start, stop):
        out[at] = text[place]
        at += 1
    return at
