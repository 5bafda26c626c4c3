r"""Masks: which parts of a token are values, beyond the numbers that its normal form has lost already.

Every pattern reads tokens of a normal form: bytes without blanks, in which ``\x01`` (``<*>`` in the examples) stands
for a value and a 0 for kept digits. A token is masked once and remembered, so these may be as rich as they like.
"""

import re
from typing import Final, NamedTuple

from detector.templates.letters import WILD

W: Final = bytes((WILD,))
_WORD: Final = rb"\w\x80-\xff\x01"
"""What names are made of: letters, digits, underscores, and values."""


class Mask(NamedTuple):
    """One pattern: what it finds becomes a value. ``needs`` is a byte without which it cannot match."""

    name: str
    meaning: str
    pattern: re.Pattern[bytes]
    needs: bytes
    example: str
    masked: str


def _mask(name: str, meaning: str, pattern: bytes, needs: bytes, example: str, masked: str) -> Mask:
    return Mask(name, meaning, re.compile(pattern.replace(rb"\W_", _WORD)), needs, example, masked)


MASKS: Final = (
    _mask(
        "url",
        "A scheme, and everything up to a quote, a bracket or a comma.",
        rb"[A-Za-z][A-Za-z0-9+.\-]*://[^\s,;\"'<>\])}]+",
        b"/",
        'url="https://shop.example/cart?item=<*>",',
        'url="<*>",',
    ),
    _mask(
        "path",
        "Two directories or more, from a slash on that no name stands before.",
        rb"(?<![\W_.\\/])(?:/[\W_.\-+@%~$#*]+){2,}/?",
        b"/",
        "file=/var/log/app/<*>.log",
        "file=<*>",
    ),
    _mask(
        "windows path",
        "Directories with backslashes, with or without a drive.",
        rb"(?<![\W_/])(?:[A-Za-z]:)?(?:\\[\W_.\-+@%~$]+){2,}",
        b"\\",
        r"opened C:\Users\ann\notes.txt",
        "opened <*>",
    ),
    _mask(
        "e-mail address",
        "A name, an at sign, and a host with a dot.",
        rb"(?<![\W_.])[\W_.+\-]+@[\W_\-]+(?:\.[\W_\-]+)+",
        b"@",
        "from=<ann.lee@mail.example>",
        "from=<<*>>",
    ),
    _mask(
        "host and port",
        "A name with dots, and a number behind a colon.",
        rb"(?<![\W_.\-])(?:[A-Za-z][\w\-]*\.)+[A-Za-z][\w\-]*:\x01(?![\W_])",
        b":",
        "proxy.corp.example:<*>",
        "<*>",
    ),
    _mask(
        "host",
        "A name with dots under a common top-level domain, and no call of a method.",
        rb"(?<![\W_.\-@])(?:[\W_\-]+\.)+"
        rb"(?:com|net|org|edu|gov|io|cn|hk|de|uk|jp|fr|local|localdomain|internal|svc)(?![\W_.\-(])",
        b".",
        "for ns.example.com,",
        "for <*>,",
    ),
)
"""In the order in which they are applied."""

DATE_WORD: Final = Mask(
    "weekday or month",
    "The three letters of a weekday or a month, alone in their token.",
    re.compile(
        rb"(?<![^(\[\"'])(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)(?![^,)\]\"'])"
    ),
    b"",
    "[Mon",
    "[<*>",
)
_DATE_WORD_MAX: Final = 6

JOINED: Final = Mask(
    "joined values",
    "Values with nothing or one mark between them are one value.",
    re.compile(rb"\x01(?:[.:/@_\-#+]?\x01)+"),
    W,
    "<*>:<*>",
    "<*>",
)

_MARKS: Final = re.compile(rb"[/\\@:.]")


def masked(token: bytes) -> bytes:
    """The token with every value in it replaced by ``WILD``."""
    if len(token) <= _DATE_WORD_MAX:
        token = DATE_WORD.pattern.sub(W, token)
    if _MARKS.search(token) is not None:
        for mask in MASKS:
            if mask.needs in token:
                token = mask.pattern.sub(W, token)
    if token.count(W) > 1:
        token = JOINED.pattern.sub(W, token)
    return token
