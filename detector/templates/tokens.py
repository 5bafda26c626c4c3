"""Tokens of a template: how they are compared, generalised and shown.

A token is bytes without blanks. In it ``WILD`` stands for any value, a byte from ``STATUS_BASE`` on for a class of
status, and digits are *kept* ones: they are shown, and count for nothing where tokens are compared. ``VARIED`` stands
for kept digits that were seen to vary. :func:`comparable` gives the token with a 0 for each of these.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

from detector.templates.letters import STATUS_BASE, VARIED, WILD

W: Final = bytes((WILD,))
V: Final = bytes((VARIED,))
SHOWN: Final = b"<*>"
WORD_MAX: Final = 64

_KEPT: Final = re.compile(rb"\d+|\x02")
_RUNS: Final = re.compile(rb"\d+")
_STATUS: Final = re.compile(rb"[\x10-\x19]")
_FOR_PEOPLE: Final = (
    (W, SHOWN),
    (V, SHOWN),
    *((bytes((STATUS_BASE + first,)), b"%dxx" % first) for first in range(2, 6)),
)
_MANY_SHOWN: Final = re.compile(rb"<\*>(?:<\*>)+")
_HEAD: Final = re.compile(rb"[^=\x01]*[A-Za-z_\])]=|[\w.\-]+[:(\[](?=[^\s])")
_LETTERS: Final = re.compile(rb"[A-Za-z\x80-\xff]+")
_LISTED: Final = re.compile(rb"[(\[]?[A-Za-z_\x80-\xff][^=:\d]*\x01,?")
"""One of the names of a list: ``blk_<*>``."""
_LESS: Final = b"<\x01"
_QUANTITIES: Final = frozenset((_LESS, b"(\x01"))
_UNIT: Final = re.compile(rb"(bytes|[kKMGTP]?i?[Bb]|ns|us|ms|s|secs?|seconds|mins?|minutes|h|hours)(\)?)([,;.:]?)")
_EDGE: Final = b"()[]{}<>\"',;:.=!?*"
_OPENING: Final = b"([{\"'"
_CLOSING: Final = b",;:)]}>\"'."

HINTS: Final = frozenset(
    b"user users for from by to named name id host at in on file with of client node job task service addr address"
    b" process command path url key".split()
)
"""Words behind which a name stands."""


def comparable(token: bytes) -> bytes:
    """The token with a 0 for each run of kept digits, seen to vary or not."""
    return _KEPT.sub(b"0", token)


def varied(token: bytes) -> bytes:
    """The token with all its kept digits seen to vary."""
    return _RUNS.sub(V, token)


def shown(tokens: Iterable[bytes]) -> bytes:
    """The template's text: ``<*>`` for values, ``4xx`` for a class of status."""
    text = b" ".join(tokens)
    for mark, written in _FOR_PEOPLE:
        text = text.replace(mark, written)
    return _MANY_SHOWN.sub(SHOWN, text)


def stable_id(tokens: Iterable[bytes]) -> int:
    """64-bit BLAKE2b of the text of comparable tokens, as a number."""
    return int.from_bytes(hashlib.blake2b(shown(tokens), digest_size=8).digest())


def has_digits(token: bytes) -> bool:
    """Whether the token has kept digits that were not seen to vary."""
    return _RUNS.search(token) is not None


def is_word(token: bytes) -> bool:
    """Whether the token is a word of letters, perhaps with marks around it, that a leaf may be named after."""
    return len(token) <= WORD_MAX and _LETTERS.fullmatch(token.strip(_EDGE)) is not None


def collapsed(tokens: Sequence[bytes]) -> list[bytes]:
    """The tokens with one where several values stand in a row, or several names with the same beginning.

    A quantity that is said again in parentheses, ``2048 bytes (2 KB)``, is left out, and ``<1 sec`` is a value.
    """
    kept: list[bytes] = []
    skipped = False
    for place, token in enumerate(tokens):
        if skipped:
            skipped = False
        elif kept and token == kept[-1] and (token == W or _LISTED.fullmatch(token) is not None):
            continue
        elif token in _QUANTITIES and place + 1 < len(tokens) and (unit := _UNIT.fullmatch(tokens[place + 1])):
            if (token == _LESS) == (not unit[2]):
                skipped = True
                if token == _LESS:
                    kept.append(W + unit[3])
                elif kept:
                    kept[-1] += unit[3]
            else:
                kept.append(token)
        else:
            kept.append(token)
    return kept


def covers(pattern: bytes, token: bytes) -> bool:
    """Whether a template's token, comparable, stands for ``token``: the same, any, or any between its two ends."""
    if pattern in {token, W}:
        return True
    head, wild, tail = pattern.partition(W)
    if not wild or W in tail:
        return False
    return len(token) >= len(head) + len(tail) and token.startswith(head) and token.endswith(tail)


def joined(pattern: bytes, token: bytes) -> bytes:
    """The most specific token that covers both: a common ``key=`` or ``name(`` stays, as do quotes and brackets."""
    if pattern == token:
        return pattern
    same_end = pattern[-1:] == token[-1:]
    head = _HEAD.match(pattern)
    if head is not None and token.startswith(head[0]):
        return head[0] + W + (pattern[-1:] if same_end and pattern[-1:] in _CLOSING else b"")
    start = pattern[:1] if pattern[:1] == token[:1] and pattern[:1] in _OPENING else b""
    end = (
        pattern[-1:]
        if same_end and pattern[-1:] in _CLOSING and len(min(pattern, token, key=len)) > len(start)
        else b""
    )
    return start + W + end


def common_key(pattern: bytes, token: bytes) -> bytes:
    """The ``key=`` that both begin with, or nothing."""
    head = _HEAD.match(pattern)
    return head[0] if head is not None and head[0].endswith(b"=") and token.startswith(head[0]) else b""


def is_value(token: bytes) -> bool:
    """Whether the token looks like a value: anything but a word of letters, quoted or not, or a class of status."""
    return (
        _STATUS.search(token) is None
        and _LETTERS.fullmatch(token.replace(W, b"").strip(_EDGE).replace(b"_", b"").replace(b"-", b"")) is None
    )


def is_unit(token: bytes) -> bool:
    """Whether the token is a unit of size or time, which changes with the size of the number before it."""
    return _UNIT.fullmatch(token) is not None


def is_shouted(token: bytes) -> bool:
    """Whether the token is in capitals only, as names of states are, or is a state itself: a class of status."""
    return _STATUS.search(token) is not None or token.strip(_EDGE).isupper()


def hints(token: bytes) -> bool:
    """Whether a name stands behind this word."""
    return token.strip(_EDGE).lower() in HINTS
