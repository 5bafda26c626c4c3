"""What is read at the start of a line besides its time: levels, and whether it goes on with the line before; compiled.

All formats mark their lines by this one rule: text as it is scanned, messages out of JSON or protobuf a batch at once.

The rule of what goes on is that of ``detector.templates.messages.continues``, which is of another room; a test holds
the two equal.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import IntArray
from detector.compiled import compiled
from detector.decoders.log_severity import SYSLOG, WORDS
from detector.decoders.log_times import COLON, LETTERS_MAX, SPACE, TAB, Bytes, is_digit, is_letter, packed, packed_word
from detector.log_batches import BEGINS, CONTINUES, ENDS_TRACEBACK, SeverityArray

_LEVELS: Final = [
    (packed(word), severity) for word, severity in WORDS.items() if word.isalpha() and len(word) <= LETTERS_MAX
]
_LEVEL_WORDS: Final = np.array([word for word, _ in _LEVELS], np.int64)
_LEVEL_CLASSES: Final = np.array([severity for _, severity in _LEVELS], np.int64)
SYSLOG_CLASSES: Final = np.array(SYSLOG, np.int64)


def _bytes(text: bytes) -> Bytes:
    return np.frombuffer(text, np.uint8)


_CALL: Final = _bytes(b"at ")
_CAUSE: Final = _bytes(b"Caused by")
_TRACEBACK: Final = _bytes(b"Traceback")
_CAUSED: Final = _bytes(b"Caused by: ")
_IN_THREAD: Final = _bytes(b'Exception in thread "')
_IN_THREAD_END: Final = _bytes(b'" ')
_UNHANDLED: Final = _bytes(b"Unhandled exception. ")
_UNCAUGHT: Final = _bytes(b"Uncaught ")
_EXCEPTION: Final = _bytes(b"Exception")
_ERROR: Final = _bytes(b"Error")
_WARNING: Final = _bytes(b"Warning")
_EXIT: Final = _bytes(b"Exit")
_INTERRUPT: Final = _bytes(b"Interrupt")
_THROWABLE: Final = _bytes(b"Throwable")
_FAILURE: Final = _bytes(b"Failure")
_NEWLINE: Final = ord("\n")
_QUOTE: Final = ord('"')
_DOT: Final = ord(".")
_BACKSLASH: Final = ord("\\")
_DOLLAR: Final = ord("$")
_UNDERSCORE: Final = ord("_")


def _table(members: bytes) -> NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(members)] = True
    return table


IS_BLANK: Final = _table(b" \t\r\x00")
"""What is left out at the ends of lines; some senders of syslog end messages with a NUL."""
_IS_SPACE: Final = _table(b" \t\n\r\f\v")
"""What ``\\s`` matches in bytes."""


@compiled
def starts_with(text: Bytes, at: int, stop: int, word: Bytes) -> bool:
    """Whether ``text[at:stop]`` starts with ``word``."""
    if at + len(word) > stop:
        return False
    for place in range(len(word)):  # noqa: SIM110  # a kernel has no generators
        if text[at + place] != word[place]:
            return False
    return True


@compiled
def level_of(text: Bytes, at: int, stop: int) -> int:
    """The class of severity that a word names, 0 where it is no level."""
    if at >= stop or not is_letter(text, at, stop):
        return 0
    value = packed_word(text, at, stop)
    for place in range(len(_LEVEL_WORDS)):
        if _LEVEL_WORDS[place] == value:
            return int(_LEVEL_CLASSES[place])
    return 0


@compiled
def begins_traceback(text: Bytes, at: int, stop: int) -> bool:
    """Whether a traceback of Python begins."""
    return starts_with(text, at, stop, _TRACEBACK)


@compiled
def goes_on(text: Bytes, at: int, stop: int) -> bool:
    """Whether the line goes on with the one before: it begins with a blank, a call, a cause or a traceback."""
    if at >= stop:
        return False
    first = text[at]
    if first in (SPACE, TAB):
        return True
    if first == _CALL[0]:
        return starts_with(text, at, stop, _CALL)
    if first == _CAUSE[0]:
        return starts_with(text, at, stop, _CAUSE)
    return bool(first == _TRACEBACK[0]) and starts_with(text, at, stop, _TRACEBACK)


@compiled
def names_exception(text: Bytes, at: int, stop: int) -> bool:
    """Whether the line begins with the class of an exception, alone or before a colon."""
    if _is_class(text, at, stop):
        return True
    if starts_with(text, at, stop, _CAUSED):
        return _is_class(text, at + len(_CAUSED), stop)
    if starts_with(text, at, stop, _UNHANDLED):
        return _is_class(text, at + len(_UNHANDLED), stop)
    if starts_with(text, at, stop, _UNCAUGHT):
        return _is_class(text, at + len(_UNCAUGHT), stop)
    if starts_with(text, at, stop, _IN_THREAD):
        place = at + len(_IN_THREAD)
        while place < stop and text[place] != _QUOTE:
            place += 1
        return starts_with(text, place, stop, _IN_THREAD_END) and _is_class(text, place + len(_IN_THREAD_END), stop)
    return False


@compiled
def mark(text: Bytes, ends: IntArray, parts: SeverityArray) -> None:
    """Fill ``parts`` with those of messages that end in ``text`` at ``ends``. One of several lines begins."""
    at = 0
    for line in range(len(ends)):
        stop = ends[line]
        part = BEGINS
        if goes_on(text, at, stop):
            part = CONTINUES
        elif names_exception(text, at, stop):
            part = ENDS_TRACEBACK
        if part != BEGINS:
            for place in range(at, stop):
                if text[place] == _NEWLINE:
                    part = BEGINS
                    break
        parts[line] = part
        at = stop


@compiled
def _is_class(text: Bytes, at: int, stop: int) -> bool:  # noqa: C901  # a scanner of one pass
    """Names with dots or backslashes between them, of which the last is a capitalised one of an exception."""
    name, place = at, at
    while place < stop:
        byte = text[place]
        if byte in (_DOT, _BACKSLASH):
            if place == name:
                return False
            name = place + 1
        elif is_digit(text, place, stop):
            if place == name:
                return False
        elif not is_letter(text, place, stop) and byte not in (_UNDERSCORE, _DOLLAR):
            break
        place += 1
    if place == name or not ord("A") <= text[name] <= ord("Z"):
        return False
    if place < stop and text[place] != COLON:
        for after in range(place, stop):
            if not _IS_SPACE[text[after]]:
                return False
    name += 1
    return (
        _ends_with(text, name, place, _EXCEPTION)
        or _ends_with(text, name, place, _ERROR)
        or _ends_with(text, name, place, _WARNING)
        or _ends_with(text, name, place, _EXIT)
        or _ends_with(text, name, place, _INTERRUPT)
        or _ends_with(text, name, place, _THROWABLE)
        or _ends_with(text, name, place, _FAILURE)
    )


@compiled
def _ends_with(text: Bytes, at: int, stop: int, word: Bytes) -> bool:
    return stop - len(word) >= at and starts_with(text, stop - len(word), stop, word)
