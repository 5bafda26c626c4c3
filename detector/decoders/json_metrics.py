r"""Generic JSON metrics: one sample per record, an array of samples, or one series with columns of points.

The common case goes through one parser call for a whole batch, where that is safe; :mod:`detector.decoders.json_lines`
says when. Otherwise the batch is cut into small chunks, and a chunk that fails is decoded record by record, by the same
parser with the same types.
"""

import json
from collections.abc import Sequence
from itertools import compress
from math import isfinite
from operator import itemgetter
from typing import Any, Final, cast

import msgspec
import numpy as np

from detector.batches import (
    TIMESTAMP_UNKNOWN,
    BoolArray,
    FloatArray,
    IntArray,
    RecordBatch,
    Reject,
    RejectReason,
    SampleBatch,
    SeriesKey,
)
from detector.decoders import values as scalars
from detector.decoders.decoder import DecoderLimits, LabelFault, NamedLabels
from detector.decoders.json_lines import look_like_objects
from detector.decoders.json_paths import ABSENT, LEAVES, JsonPaths, PathTypes

CHUNK_RECORDS: Final = 32
"""Records tried together once a batch has failed: with 1 % bad records three chunks in four pass at full speed."""

DETAIL_CHARACTERS_MAX: Final = 200

ANYTHING: Final = msgspec.json.Decoder(msgspec.Raw)
ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])

Fault = tuple[RejectReason, str]
LabelTypes = dict[str, str | int | float | bool | None] | None


class JsonMetricsDecoder:
    """Decode JSON metrics at configurable paths.

    Layouts, told apart by what stands at the paths: an object with a scalar time and value; an array of such objects;
    an object whose time and value are equally long lists. A bad item of an array or list is rejected, its neighbours
    are kept.
    """

    name = "json"

    def __init__(self, paths: JsonPaths, limits: DecoderLimits) -> None:
        self._paths = paths
        self._limits = limits
        self._types = PathTypes(paths)
        self._typed = msgspec.json.Decoder(self._types.typed)
        self._typed_any = msgspec.json.Decoder(self._types.typed | list[self._types.typed])  # type: ignore[name-defined]  # a run-time type
        self._loose = msgspec.json.Decoder(self._types.loose)
        self._label_decoder = msgspec.json.Decoder(LabelTypes)

    def decode(self, batch: RecordBatch) -> SampleBatch:
        """All samples and rejects of ``batch``; the same whichever way the stream was cut."""
        points = self._parse_lines(batch.values)
        faults: dict[int, Fault] = {}
        in_pieces = points is None
        if points is None:
            rows, points = self._parse_chunks(batch.values, faults)
        else:
            rows = np.arange(len(points), dtype=np.int64)
        return self._columns(batch, rows, points, faults, in_pieces=in_pieces)

    def labels(self, key: SeriesKey) -> NamedLabels | LabelFault:
        """Name and labels of a key; numbers and booleans become text, null labels are left out."""
        name, raw = key
        try:
            parsed = self._label_decoder.decode(raw)
        except msgspec.ValidationError as error:
            return LabelFault("wrong_type", _brief(f"labels: {error}"))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return LabelFault("invalid_json", _brief(f"labels: {error}"))
        labels = {label: _text(value) for label, value in (parsed or {}).items() if value is not None}
        if len(labels) > self._limits.labels_max:
            return LabelFault("too_many_labels", f"{len(labels)} labels, {self._limits.labels_max} allowed")
        return NamedLabels(name, labels)

    # -- bytes to points --

    def _parse_lines(self, records: Sequence[bytes | None]) -> list[Any] | None:
        """One typed point per record, or None unless it is certain that point i is record i."""
        whole = cast("Sequence[bytes]", records)
        try:
            joined = b"\n".join(whole)
        except TypeError:
            return None
        if not look_like_objects(whole) or self._any_too_large(joined, whole):
            return None
        try:
            points: list[Any] = self._typed.decode_lines(joined)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return points if len(points) == len(records) else None

    def _any_too_large(self, joined: bytes, records: Sequence[bytes]) -> bool:
        limit = self._limits.record_bytes_max
        return len(joined) > limit and max(map(len, records)) > limit

    def _parse_chunks(self, records: Sequence[bytes | None], faults: dict[int, Fault]) -> tuple[IntArray, list[Any]]:
        """Points of a batch with something unusual in it, and their rows; ``faults`` gains one per bad record."""
        rows: list[int] = []
        points: list[Any] = []
        for start in range(0, len(records), CHUNK_RECORDS):
            chunk = records[start : start + CHUNK_RECORDS]
            parsed = self._parse_lines(chunk) if len(records) > CHUNK_RECORDS else None
            if parsed is not None:
                rows.extend(range(start, start + len(chunk)))
                points.extend(parsed)
                continue
            for row, record in enumerate(chunk, start):
                found, fault = self._parse_record(record)
                rows.extend([row] * len(found))
                points.extend(found)
                if fault is not None:
                    faults[row] = fault
        return np.array(rows, dtype=np.int64), points

    def _parse_record(self, record: bytes | None) -> tuple[list[Any], Fault | None]:
        """Points of one record and the first fault in it."""
        if not record or not record.strip():
            return [], ("empty", "the record has no value")
        if len(record) > self._limits.record_bytes_max:
            return [], ("too_large", f"{len(record)} bytes, {self._limits.record_bytes_max} allowed")
        try:
            parsed = self._typed_any.decode(record)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._salvage(record)
        points = parsed if isinstance(parsed, list) else [parsed]
        return points, None if points else ("empty", "the array has no samples")

    def _salvage(self, record: bytes) -> tuple[list[Any], Fault | None]:
        """Whatever is usable of a record that the typed parser refused, and why it refused."""
        try:
            items = ARRAY.decode(record) if record.lstrip()[:1] == b"[" else [ANYTHING.decode(record)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._salvage_constants(record, error)
        points: list[Any] = []
        first: Fault | None = None
        for item in items:
            try:
                points.append(self._typed.decode(item))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                found, fault = self._salvage_item(item)
                points.extend(found)
                first = first or fault
        return points, first

    def _salvage_constants(self, record: bytes, error: Exception) -> tuple[list[Any], Fault]:
        """Python writes NaN and Infinity, which JSON does not have: such a value is not finite, not garbage."""
        broken: Fault = ("invalid_json", _brief(str(error)))
        if b"NaN" not in record and b"Infinity" not in record:
            return [], broken
        try:
            quoted = msgspec.json.encode(json.loads(record, parse_constant=str))
        except (ValueError, RecursionError, msgspec.MsgspecError):
            return [], broken
        points, fault = self._parse_record(quoted)
        return points, fault or ("not_finite", "NaN and Infinity are not JSON")

    def _salvage_item(self, item: Any) -> tuple[list[Any], Fault | None]:
        """One object that is not a good point: a column with some bad entries, or the reason why it is none at all."""
        try:
            loose = self._loose.decode(item)
        except (msgspec.ValidationError, UnicodeDecodeError) as error:
            return [], ("wrong_type", _brief(str(error)))
        except (msgspec.DecodeError, RecursionError) as error:
            return [], ("invalid_json", _brief(str(error)))
        raw = {leaf: getter(loose) for leaf, getter in self._types.leaf_getters.items()}
        if raw["name"] is ABSENT and self._paths.name_default is not None:
            raw["name"] = msgspec.Raw(msgspec.json.encode(self._paths.name_default))
        for leaf in ("name", "time", "value"):
            if raw[leaf] is ABSENT or bytes(raw[leaf]) == b"null":
                return [], ("missing_field", f"{leaf} is missing at {getattr(self._paths, leaf)!r}")
        return self._salvage_columns(raw)

    def _salvage_columns(self, raw: dict[str, msgspec.Raw]) -> tuple[list[Any], Fault | None]:
        parts: dict[str, Any] = {}
        for leaf in ("name", "time", "value"):
            try:
                parts[leaf] = msgspec.json.decode(raw[leaf])
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                out_of_range = "out of range" in str(error)
                return [], ("not_finite" if out_of_range else "invalid_json", _brief(f"{leaf}: {error}"))
        if not isinstance(parts["name"], str):
            return [], ("wrong_type", _brief(f"name {parts['name']!r} is not a string"))
        times, values = parts["time"], parts["value"]
        if not (isinstance(times, list) and isinstance(values, list)):
            part = "time" if scalars.time_ms(times) is None else "value"
            return [], scalars.scalar_fault(part, parts[part])
        labels = raw["labels"] if raw["labels"] is not ABSENT else msgspec.Raw(b"{}")
        return [_LoosePoint(parts["name"], labels, times, values)], None

    # -- points to columns --

    def _columns(
        self, batch: RecordBatch, rows: IntArray, points: list[Any], faults: dict[int, Fault], *, in_pieces: bool
    ) -> SampleBatch:
        keys, raw_times, raw_values = self._leaves(points)
        time_types, value_types = set(map(type, raw_times)), set(map(type, raw_values))
        if list in time_types or list in value_types:
            rows, keys, raw_times, raw_values = _expand(rows, keys, raw_times, raw_values, faults)
            time_types, value_types = set(map(type, raw_times)), set(map(type, raw_values))
        late_faults: list[tuple[int, Fault]] = []
        keep = np.ones(len(rows), dtype=np.bool_)
        times = _times(raw_times, time_types, rows, keep, late_faults)
        values = _values(raw_values, value_types, rows, keep, late_faults)
        self._refuse_future(batch, rows, times, keep, late_faults)
        for row, fault in late_faults:
            faults.setdefault(row, fault)
        if not keep.all():
            rows, times, values = rows[keep], times[keep], values[keep]
            keys = list(compress(keys, keep.tolist()))
        rejects = [Reject(row, int(batch.offsets[row]), *faults[row]) for row in sorted(faults)]
        return SampleBatch(rows, keys, times, values, rejects, in_pieces)

    def _leaves(self, points: list[Any]) -> tuple[list[SeriesKey], list[Any], list[Any]]:
        """Series keys, times and values of the points, as Python lists."""
        if self._types.is_flat:
            return (
                [(point.name, bytes(point.labels)) for point in points],
                [point.time for point in points],
                [point.value for point in points],
            )
        names, labels, times, values = (_leaf_column(points, leaf, self._types.leaf_getters[leaf]) for leaf in LEAVES)
        return list(zip(names, map(bytes, labels), strict=True)), times, values

    def _refuse_future(
        self, batch: RecordBatch, rows: IntArray, times: IntArray, keep: BoolArray, faults: list[tuple[int, Fault]]
    ) -> None:
        stamps = batch.timestamps_ms if len(rows) == len(batch) else batch.timestamps_ms[rows]
        ahead = (times > stamps + self._limits.ahead_max_ms) & (stamps != TIMESTAMP_UNKNOWN) & keep
        if not ahead.any():
            return
        for index in np.flatnonzero(ahead).tolist():
            seconds = (int(times[index]) - int(stamps[index])) / 1000
            allowed = self._limits.ahead_max_ms / 1000
            detail = f"time is {seconds:.0f} s after the record's timestamp, {allowed:.0f} s allowed"
            faults.append((int(rows[index]), ("too_far_ahead", detail)))
        keep &= ~ahead


class _LoosePoint:
    """A columnar point with bad entries in its lists, shaped like the typed point it could not be."""

    __slots__ = ("labels", "name", "time", "value")

    def __init__(self, name: str, labels: msgspec.Raw, time: list[Any], value: list[Any]) -> None:
        self.name = name
        self.labels = labels
        self.time = time
        self.value = value


def _leaf_column(points: list[Any], leaf: str, getter: Any) -> list[Any]:
    return [getattr(point, leaf) if type(point) is _LoosePoint else getter(point) for point in points]


def _expand(
    rows: IntArray, keys: list[SeriesKey], times: list[Any], values: list[Any], faults: dict[int, Fault]
) -> tuple[IntArray, list[SeriesKey], list[Any], list[Any]]:
    """Columnar points become one entry per point; everything else stays one entry."""
    out: list[tuple[int, SeriesKey, Any, Any]] = []
    for row, key, time, value in zip(rows.tolist(), keys, times, values, strict=True):
        if not isinstance(time, list) and not isinstance(value, list):
            out.append((row, key, time, value))
        elif not (isinstance(time, list) and isinstance(value, list)) or len(time) != len(value):
            faults.setdefault(row, ("wrong_type", "time and value must both be lists of one length"))
        elif not time:
            faults.setdefault(row, ("empty", "the columns have no points"))
        else:
            out.extend((row, key, *pair) for pair in zip(time, value, strict=True))
    columns = [list(map(itemgetter(place), out)) for place in range(4)]
    return np.array(columns[0], dtype=np.int64), columns[1], columns[2], columns[3]


def _times(
    raw: list[Any], types: set[type], rows: IntArray, keep: BoolArray, faults: list[tuple[int, Fault]]
) -> IntArray:
    column = scalars.times_ms(raw, types)
    if column is not None:
        return column
    column = np.zeros(len(raw), dtype=np.int64)
    for index, (row, value) in enumerate(zip(rows.tolist(), raw, strict=True)):
        parsed = scalars.time_ms(value)
        if parsed is None:
            keep[index] = False
            faults.append((row, scalars.scalar_fault("time", value)))
        else:
            column[index] = parsed
    return column


def _values(
    raw: list[Any], types: set[type], rows: IntArray, keep: BoolArray, faults: list[tuple[int, Fault]]
) -> FloatArray:
    column = scalars.numbers(raw, types)
    if column is not None and bool(np.isfinite(column).all()):
        return column
    column = np.zeros(len(raw), dtype=np.float64)
    for index, (row, value) in enumerate(zip(rows.tolist(), raw, strict=True)):
        parsed = scalars.number(value)
        if parsed is None or not isfinite(parsed):
            keep[index] = False
            not_finite: Fault = ("not_finite", _brief(f"value {value!r} is not finite"))
            faults.append((row, scalars.scalar_fault("value", value) if parsed is None else not_finite))
        else:
            column[index] = parsed
    return column


def _text(value: str | float | bool) -> str:  # noqa: FBT001  # a JSON boolean, not a switch
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _brief(detail: str) -> str:
    return detail if len(detail) <= DETAIL_CHARACTERS_MAX else detail[: DETAIL_CHARACTERS_MAX - 3] + "..."
