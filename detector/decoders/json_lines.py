"""Records of one JSON object each become typed points, a whole batch in one parser call where that is safe.

Joining n records with newlines is safe under three conditions: each begins with ``{`` and ends with ``}``, and the
parser finds n values. JSON forbids a raw newline inside a string, and ``}`` directly before ``{`` inside any value, so
no value crosses from one record into the next, and each record holds exactly one. Otherwise the batch is cut into small
chunks, and a chunk that fails is decoded record by record, by the same parser with the same type.
"""

import json
import sys
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Final, NamedTuple, cast

import msgspec
import numpy as np

from detector.batches import IntArray, RejectReason

CHUNK_RECORDS: Final = 32
"""Records tried together once a batch has failed: with 1 % bad records three chunks in four pass at full speed."""
DETAIL_CHARACTERS_MAX: Final = 200

Fault = tuple[RejectReason, str]
_Item = tuple[Any, bytes]

_OPEN, _CLOSE = b"{}"
_BROKEN: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Points(NamedTuple):
    """Typed points, the record of each (ascending) and its JSON text; the first fault of each record that has one."""

    rows: IntArray
    points: list[Any]
    texts: Sequence[bytes]
    faults: dict[int, Fault]
    in_pieces: bool


def brief(detail: str) -> str:
    """A detail short enough for a reject."""
    return detail if len(detail) <= DETAIL_CHARACTERS_MAX else detail[: DETAIL_CHARACTERS_MAX - 3] + "..."


def look_like_objects(records: Sequence[bytes]) -> bool:
    """Whether each record begins with ``{`` and ends with ``}``."""
    try:
        return {record[0] for record in records} == {_OPEN} and {record[-1] for record in records} == {_CLOSE}
    except IndexError:
        return False


class ObjectParser:
    """Parse records that are objects of one type, or arrays of such objects.

    ``kind`` is the msgspec type; ``bytes_max`` of one record. A bad item of an array is a fault of its record, its
    neighbours are kept. What careless producers write is mended where the strict parser refuses a record: bytes that
    are not UTF-8, bare control characters in strings, NaN and Infinity, halves of surrogate pairs.
    """

    def __init__(self, kind: Any, bytes_max: int = sys.maxsize) -> None:
        self._bytes_max = bytes_max
        self._one: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

    def parse(self, records: Sequence[bytes | None]) -> Points:
        """All points of ``records``; the same whatever other records stand beside one."""
        if records and (records[0] or b"")[-1:].isspace():
            records = [record and record.rstrip() for record in records]
        points = self._together(records, self._decode_batch)
        if points is not None:
            texts = cast("Sequence[bytes]", records)
            return Points(np.arange(len(points), dtype=np.int64), points, texts, {}, in_pieces=False)
        rows: list[int] = []
        found: list[_Item] = []
        faults: dict[int, Fault] = {}
        for start in range(0, len(records), CHUNK_RECORDS):
            chunk = records[start : start + CHUNK_RECORDS]
            together = self._together(chunk, self._decode_chunk) if len(records) > CHUNK_RECORDS else None
            if together is not None:
                rows.extend(range(start, start + len(chunk)))
                found.extend(zip(together, cast("Sequence[bytes]", chunk), strict=True))
                continue
            for row, record in enumerate(chunk, start):
                items, fault = self._alone(record)
                rows.extend([row] * len(items))
                found.extend(items)
                if fault is not None:
                    faults[row] = fault
        every, each = [point for point, _ in found], [text for _, text in found]
        return Points(np.array(rows, dtype=np.int64), every, each, faults, in_pieces=len(records) > 0)

    def _together(
        self, records: Sequence[bytes | None], decode: Callable[[bytes, Sequence[bytes]], list[Any]]
    ) -> list[Any] | None:
        """One point per record, or None unless it is certain that point i is record i."""
        whole = cast("Sequence[bytes]", records)
        try:
            joined = b"\n".join(whole)
        except TypeError:
            return None
        if not look_like_objects(whole) or self._any_too_large(joined, whole):
            return None
        try:
            points = decode(joined, whole)
        except _BROKEN:
            return None
        return points if len(points) == len(records) else None

    def _decode_chunk(self, joined: bytes, _records: Sequence[bytes]) -> list[Any]:
        points: list[Any] = self._one.decode_lines(joined)
        return points

    def _decode_batch(self, joined: bytes, records: Sequence[bytes]) -> list[Any]:
        """One point per line of a whole batch; raises what the parser raises. A subclass may know a faster type."""
        return self._decode_chunk(joined, records)

    def _any_too_large(self, joined: bytes, records: Sequence[bytes]) -> bool:
        return len(joined) > self._bytes_max and max(map(len, records)) > self._bytes_max

    def _alone(self, record: bytes | None) -> tuple[list[_Item], Fault | None]:
        """Points of one record and the first fault in it."""
        if not record or not record.strip():
            return [], ("empty", "the record has no value")
        if len(record) > self._bytes_max:
            return [], ("too_large", f"{len(record)} bytes, {self._bytes_max} allowed")
        if record.lstrip()[:1] != b"[":
            return self._object(record)
        try:
            items = _ITEMS.decode(record)
        except _BROKEN as error:
            return self._mended(record, error)
        found: list[_Item] = []
        first: Fault | None = None if items else ("empty", "the array has no objects")
        for item in items:
            more, fault = self._object(bytes(item))
            found.extend(more)
            first = first or fault
        return found, first

    def _object(self, text: bytes) -> tuple[list[_Item], Fault | None]:
        try:
            return [(self._one.decode(text), text)], None
        except _BROKEN as error:
            return self._mended(text, error)

    def _mended(self, text: bytes, error: Exception) -> tuple[list[_Item], Fault | None]:
        """What a lenient parser makes of ``text``, which the strict one refused with ``error``."""
        if isinstance(error, msgspec.ValidationError) and "out of range" not in str(error):
            return [], ("wrong_type", brief(str(error)))
        try:
            lenient = json.loads(text.decode("utf-8", "replace"), strict=False, parse_constant=str, parse_float=_finite)
            items = lenient if isinstance(lenient, list) else [lenient]
            texts = [json.dumps(item, ensure_ascii=False).encode("utf-8", "replace") for item in items]
            return [(self._one.decode(one), one) for one in texts], None
        except msgspec.ValidationError as invalid:
            return [], ("wrong_type", brief(str(invalid)))
        except (ValueError, RecursionError, msgspec.MsgspecError):
            return [], ("invalid_json", brief(str(error)))


def _finite(text: str) -> float | str:
    number = float(text)
    return number if isfinite(number) else text
