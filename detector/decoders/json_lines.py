"""Records of one JSON object each become typed points, a whole batch in one parser call where that is safe.

Joining records with newlines is safe under three conditions, checked on the joined bytes: it is n lines, each beginning
with ``{`` and ending with ``}``, and the parser finds n values. JSON forbids a raw newline inside a string, and ``}``
directly before ``{`` inside any value, so no value crosses a line and each line holds exactly one. Otherwise the batch
is cut into small chunks, and a chunk that fails is decoded record by record, by the same parser with the same type.
"""

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any, Final, NamedTuple, cast

import msgspec
import numpy as np

from detector.batches import IntArray, RejectReason

CHUNK_RECORDS: Final = 32
"""Records tried together once a batch has failed: with 1 % bad records three chunks in four pass at full speed."""
DETAIL_CHARACTERS_MAX: Final = 200

Fault = tuple[RejectReason, str]

_NEWLINE, _OPEN, _CLOSE = b"\n{}"
_BROKEN: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Points(NamedTuple):
    """Typed points and the record of each, ascending; the first fault of each record that has one."""

    rows: IntArray
    points: list[Any]
    faults: dict[int, Fault]
    in_pieces: bool


def brief(detail: str) -> str:
    """A detail short enough for a reject."""
    return detail if len(detail) <= DETAIL_CHARACTERS_MAX else detail[: DETAIL_CHARACTERS_MAX - 3] + "..."


def lines_are_objects(joined: bytes, count: int) -> bool:
    """Whether ``joined`` is ``count`` lines, each beginning with ``{`` and ending with ``}``."""
    codes = np.frombuffer(joined, dtype=np.uint8)
    if not len(codes) or codes[0] != _OPEN or codes[-1] != _CLOSE:
        return False
    ends = np.flatnonzero(codes == _NEWLINE)
    if len(ends) != count - 1:
        return False
    return bool((codes[ends - 1] == _CLOSE).all() and (codes[ends + 1] == _OPEN).all())


class ObjectParser:
    """Parse records that are objects of one type, or arrays of such objects.

    ``kind`` is the msgspec type; ``bytes_max`` of one record. A bad item of an array is a fault of its record, its
    neighbours are kept. What careless producers write is mended where the strict parser refuses a record: bytes that
    are not UTF-8, bare control characters in strings, NaN and Infinity, halves of surrogate pairs.
    """

    def __init__(self, kind: Any, bytes_max: int) -> None:
        self._kind = kind
        self._bytes_max = bytes_max
        self._one: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        self._one_or_many: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind | list[kind])

    def parse(self, records: Sequence[bytes | None]) -> Points:
        """All points of ``records``; the same whatever other records stand beside one."""
        if records and (records[0] or b"")[-1:].isspace():
            records = [record and record.rstrip() for record in records]
        points = self._together(records)
        if points is not None:
            return Points(np.arange(len(points), dtype=np.int64), points, {}, in_pieces=False)
        rows: list[int] = []
        found: list[Any] = []
        faults: dict[int, Fault] = {}
        for start in range(0, len(records), CHUNK_RECORDS):
            chunk = records[start : start + CHUNK_RECORDS]
            together = self._together(chunk) if len(records) > CHUNK_RECORDS else None
            if together is not None:
                rows.extend(range(start, start + len(chunk)))
                found.extend(together)
                continue
            for row, record in enumerate(chunk, start):
                points, fault = self._alone(record)
                rows.extend([row] * len(points))
                found.extend(points)
                if fault is not None:
                    faults[row] = fault
        return Points(np.array(rows, dtype=np.int64), found, faults, in_pieces=len(records) > 0)

    def _together(self, records: Sequence[bytes | None]) -> list[Any] | None:
        """One point per record, or None unless it is certain that point i is record i."""
        try:
            joined = b"\n".join(cast("Sequence[bytes]", records))
        except TypeError:
            return None
        if not records or not lines_are_objects(joined, len(records)) or self._any_too_large(joined, records):
            return None
        try:
            points: list[Any] = self._one.decode_lines(joined)
        except _BROKEN:
            return None
        return points if len(points) == len(records) else None

    def _any_too_large(self, joined: bytes, records: Sequence[bytes | None]) -> bool:
        return len(joined) > self._bytes_max and max(map(len, cast("Sequence[bytes]", records))) > self._bytes_max

    def _alone(self, record: bytes | None) -> tuple[list[Any], Fault | None]:
        """Points of one record and the first fault in it."""
        if not record or not record.strip():
            return [], ("empty", "the record has no value")
        if len(record) > self._bytes_max:
            return [], ("too_large", f"{len(record)} bytes, {self._bytes_max} allowed")
        try:
            parsed = self._one_or_many.decode(record)
        except _BROKEN as error:
            return self._items(record) if record.lstrip()[:1] == b"[" else self._mended(record, error)
        points = parsed if isinstance(parsed, list) else [parsed]
        return points, None if points else ("empty", "the array has no objects")

    def _items(self, record: bytes) -> tuple[list[Any], Fault | None]:
        """The good items of an array, and the first fault of the others."""
        try:
            items = _ITEMS.decode(record)
        except _BROKEN as error:
            return self._mended(record, error)
        points: list[Any] = []
        first: Fault | None = None
        for item in items:
            try:
                points.append(self._one.decode(item))
            except _BROKEN as error:
                found, fault = self._mended(bytes(item), error)
                points.extend(found)
                first = first or fault
        return points, first

    def _mended(self, record: bytes, error: Exception) -> tuple[list[Any], Fault | None]:
        """What a lenient parser makes of ``record``, which the strict one refused with ``error``."""
        if isinstance(error, msgspec.ValidationError) and "out of range" not in str(error):
            return [], ("wrong_type", brief(str(error)))
        refused: Fault = ("invalid_json", brief(str(error)))
        try:
            text = record.decode("utf-8", "replace")
            lenient = json.loads(text, strict=False, parse_constant=str, parse_float=_finite)
            parsed = self._one_or_many.decode(json.dumps(lenient, ensure_ascii=False).encode("utf-8", "replace"))
        except msgspec.ValidationError as invalid:
            return [], ("wrong_type", brief(str(invalid)))
        except (ValueError, RecursionError, msgspec.MsgspecError):
            return [], refused
        points = parsed if isinstance(parsed, list) else [parsed]
        return points, None if points else ("empty", "the array has no objects")


def _finite(text: str) -> float | str:
    number = float(text)
    return number if isfinite(number) else text
