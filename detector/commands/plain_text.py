"""Text that came with the data, made safe to show: names, labels and sentences are written by whoever sends records."""

import unicodedata
from typing import Final

HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that are not seen but act: controls, direction overrides, joiners, surrogates, separators."""


def plain(text: str) -> str:
    r"""Write what acts instead of being seen as an escape, so that no terminal or page is steered by a label.

    >>> plain("up\x1b[2J")
    'up\\x1b[2J'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(character) if unicodedata.category(character) in HIDDEN else character for character in text)


def _escape(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode() if character >= "\x80" else f"\\x{ord(character):02x}"
