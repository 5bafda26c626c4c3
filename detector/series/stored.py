"""Identities of series as bytes: how the table keeps them and how a snapshot stores them.

A JSON array of five per series, ``["name",{"label":"value"},"canonical","fingerprint","unit" or null]``. As Python
objects an identity takes some 900 bytes, as bytes 250; it is needed as objects for new series and for events only. The
identities of a snapshot are one JSON array of these. Its text is cut into series without being parsed, by a scanner
that knows the one layout that :func:`join` writes, and checks it; JSON in any other layout is parsed and laid out anew.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.batches import IntArray, SeriesIdentity
from detector.compiled import compiled
from detector.errors import SnapshotRefusedError

PART_SERIES: Final = 16_384
"""Series cut out at once: other threads get their turn in between."""

Bytes = NDArray[np.uint8]

_WRONG: Final = -1
_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_COMMA: Final = ord(",")
_COLON: Final = ord(":")
_ARRAY: Final = (ord("["), ord("]"))
_OBJECT: Final = (ord("{"), ord("}"))
_SPACE: Final = ord(" ")
_ESCAPED: Final = tuple(b'"\\/bfnrt')
_ESCAPED_CODE: Final = ord("u")
_ZERO: Final = ord("0")
_NINE: Final = ord("9")
_A: Final = ord("a")
_F: Final = ord("f")
_NULL: Final = tuple(b"null")
_DIGITS: Final = 16
"""Hexadecimal digits of a fingerprint."""
_HALF_DIGITS: Final = 8


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    name: str
    labels: dict[str, str]
    canonical: str
    fingerprint: str
    unit: str | None


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Stored)
_list_decoder: Final = msgspec.json.Decoder(list[_Stored])


def pack(identity: SeriesIdentity) -> bytes:
    """The identity as its JSON array."""
    return _encoder.encode(
        (identity.name, identity.labels, identity.canonical, identity.fingerprint, identity.unit),
    )


def unpack(packed: bytes) -> SeriesIdentity:
    """The identity that was packed."""
    stored = _decoder.decode(packed)
    return SeriesIdentity(stored.name, stored.labels, stored.canonical, stored.fingerprint, stored.unit)


def canonical_of(packed: bytes) -> str:
    """The canonical text alone."""
    return _decoder.decode(packed).canonical


def fingerprint_number(identity: SeriesIdentity) -> int:
    """The fingerprint's 64 bits as a number."""
    return int(identity.fingerprint, 16)


def join(packed: Sequence[bytes]) -> Bytes:
    """One JSON array of all identities, uint8[bytes]."""
    if not packed:
        return np.frombuffer(b"[]", np.uint8)
    parts = list(packed)
    parts[0] = b"[" + parts[0]
    parts[-1] += b"]"
    return np.frombuffer(b",".join(parts), np.uint8)


def split(text: NDArray[Any], count: int) -> tuple[list[bytes], NDArray[np.uint64]]:
    """Undo :func:`join`: ``count`` packed identities, and the fingerprints' 64 bits as uint64[count].

    Raises ``SnapshotRefusedError`` for anything but the JSON of so many identities.
    """
    if text.dtype != np.uint8 or text.ndim != 1:
        raise SnapshotRefusedError("the snapshot's series are not text")
    starts, stops = np.zeros(count, np.int64), np.zeros(count, np.int64)
    halves = np.zeros((count, 2), np.int64)
    if not _scan(text, starts, stops, halves):
        text = _laid_out_anew(text)
        if not _scan(text, starts, stops, halves):
            raise SnapshotRefusedError(f"the snapshot does not name {count} series with their fingerprints")
    packed: list[bytes] = []
    for first in range(0, count, PART_SERIES):
        begin, end = starts[first : first + PART_SERIES], stops[first : first + PART_SERIES]
        packed += _cut(text[begin[0] : end[-1]].tobytes(), begin - begin[0], end - begin[0])
    numbers = halves.astype(np.uint64)
    return packed, (numbers[:, 0] << np.uint64(32)) | numbers[:, 1]


def _cut(part: bytes, starts: IntArray, stops: IntArray) -> list[bytes]:
    if not part.isascii():
        try:
            part.decode()
        except UnicodeDecodeError as error:
            raise SnapshotRefusedError(f"the snapshot's series cannot be read: {error}") from error
    return [part[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]


def _laid_out_anew(text: Bytes) -> Bytes:
    """JSON with white space or other escapes, in the layout of :func:`join`."""
    try:
        stored = _list_decoder.decode(text.tobytes())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotRefusedError(f"the snapshot's series cannot be read: {error}") from error
    return join([_encoder.encode(entry) for entry in stored])


@compiled
def _at(text: Bytes, at: int) -> int:
    """The byte at ``at``, or 0, which no JSON text holds, past the end."""
    return int(text[at]) if 0 <= at < len(text) else 0


@compiled
def _hex_digit(byte: int) -> int:
    """What a lower-case hexadecimal digit stands for."""
    if _ZERO <= byte <= _NINE:
        return byte - _ZERO
    return byte - _A + 10 if _A <= byte <= _F else _WRONG


@compiled
def _after_escape(text: Bytes, at: int) -> int:
    """Where the escape whose backslash stands at ``at`` has ended."""
    escaped = _at(text, at + 1)
    if escaped in _ESCAPED:
        return at + 2
    # Control characters only: msgspec writes all others as they are.
    known = escaped == _ESCAPED_CODE and _at(text, at + 2) == _ZERO and _at(text, at + 3) == _ZERO
    if known and _hex_digit(_at(text, at + 4)) >= 0 and _hex_digit(_at(text, at + 5)) >= 0:
        return at + 6
    return _WRONG


@compiled
def _after_string(text: Bytes, at: int) -> int:
    """Where the string that begins at ``at`` has ended."""
    if _at(text, at) != _QUOTE:
        return _WRONG
    at += 1
    while 0 <= at < len(text):
        byte = int(text[at])
        if byte == _QUOTE:
            return at + 1
        if byte < _SPACE:
            return _WRONG
        at = _after_escape(text, at) if byte == _BACKSLASH else at + 1
    return _WRONG


@compiled
def _after(text: Bytes, at: int, byte: int) -> int:
    """The next place if ``byte`` stands at ``at``, which may be wrong already."""
    return at + 1 if at >= 0 and _at(text, at) == byte else _WRONG


@compiled
def _after_labels(text: Bytes, at: int) -> int:
    """Where the object of strings that begins at ``at`` has ended."""
    at = _after(text, at, _OBJECT[0])
    if at >= 0 and _at(text, at) == _OBJECT[1]:
        return at + 1
    while at >= 0:
        at = _after(text, _after_string(text, at), _COLON)
        if at < 0:
            break
        at = _after_string(text, at)
        if at < 0 or _at(text, at) != _COMMA:
            return _after(text, at, _OBJECT[1])
        at += 1
    return _WRONG


@compiled
def _after_unit(text: Bytes, at: int) -> int:
    """Where the string or null that begins at ``at`` has ended."""
    if _at(text, at) == _QUOTE:
        return _after_string(text, at)
    for byte in _NULL:
        at = _after(text, at, byte)
    return at


@compiled
def _fingerprint_half(text: Bytes, at: int) -> int:
    """Eight hexadecimal digits from ``at`` on as a number."""
    number = 0
    for place in range(at, at + _HALF_DIGITS):
        digit = _hex_digit(_at(text, place))
        if digit < 0:
            return _WRONG
        number = 16 * number + digit
    return number


@compiled
def _after_identity(text: Bytes, at: int, halves: IntArray) -> int:
    """Where the identity that begins at ``at`` has ended; ``halves`` int64[2] takes its fingerprint."""
    at = _after(text, at, _ARRAY[0])
    if at >= 0:
        at = _after(text, _after_string(text, at), _COMMA)
    if at >= 0:
        at = _after(text, _after_labels(text, at), _COMMA)
    if at >= 0:
        at = _after(text, _after_string(text, at), _COMMA)
    at = _after(text, at, _QUOTE)
    if at < 0:
        return _WRONG
    halves[0] = _fingerprint_half(text, at)
    halves[1] = _fingerprint_half(text, at + _HALF_DIGITS)
    if halves[0] < 0 or halves[1] < 0:
        return _WRONG
    at = _after(text, _after(text, at + _DIGITS, _QUOTE), _COMMA)
    return _after(text, _after_unit(text, at), _ARRAY[1]) if at >= 0 else _WRONG


@compiled
def _scan(text: Bytes, starts: IntArray, stops: IntArray, halves: IntArray) -> bool:
    """Find where each identity begins and ends; false unless ``text`` is their array in the one layout."""
    at = _after(text, 0, _ARRAY[0])
    for index in range(len(starts)):
        if index:
            at = _after(text, at, _COMMA)
        if at < 0:
            return False
        starts[index] = at
        at = _after_identity(text, at, halves[index])
        stops[index] = at
    return _after(text, at, _ARRAY[1]) == len(text)
