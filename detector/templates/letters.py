"""Bytes of lines and of templates: their classes, and what stands for values in normal forms."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]

WILD: Final = 0x01
"""Stands for any value."""
VARIED: Final = 0x02
"""Stands for a run of kept digits that was seen to vary; only in templates, never in normal forms."""
STATUS_BASE: Final = 0x10
"""``STATUS_BASE + 4`` stands for a status of 400 to 499."""

SPACE: Final = ord(" ")
ZERO: Final = ord("0")
COMMA: Final = ord(",")
COLON: Final = ord(":")
SLASH: Final = ord("/")
BACKSLASH: Final = ord("\\")
UNKNOWN: Final = ord("?")
"""Written for control bytes, so that none is taken for one of the marks above."""
ESCAPE: Final = 0x1B
BRACKET: Final = ord("[")
LOWER: Final = 0x20
"""What makes a capital letter a small one."""

OTHER: Final = 0
BLANK: Final = 1
CONTROL: Final = 2
JOINER: Final = 3
DIGIT: Final = 4
LETTER: Final = 5
"""Classes of bytes: digits and letters, from ``DIGIT`` on, make words, and joiners between two of them."""


def _classes() -> Bytes:
    table = np.full(256, OTHER, np.uint8)
    table[:32] = table[127] = CONTROL
    table[[9, 10, 11, 12, 13, SPACE]] = BLANK
    table[48:58] = DIGIT
    table[65:91] = table[97:123] = table[128:] = LETTER
    table[ord("_")] = LETTER
    table[[ord("."), ord("-")]] = JOINER
    return table


def _members(members: bytes) -> NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(members)] = True
    return table


CLASS: Final = _classes()
"""Of every byte; from 128 on they are letters of some alphabet."""
IS_HEX: Final = _members(b"0123456789abcdefABCDEF")
IS_SEPARATOR: Final = _members(b"._-")
"""Between the parts of a word."""
IS_PATH: Final = (CLASS >= JOINER) | _members(b"+@%~$#*")
"""What names of files are made of."""
ENDS_URL: Final = _members(b",;\"'<>])}")
IS_SIGN: Final = _members(b"+-")
JOINS_VALUES: Final = _members(b".:/@_-#+")
"""What may stand between two values that are one."""
