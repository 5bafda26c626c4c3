"""Log records that are JSON objects, or arrays of them, of any producer: one decoder, a profile of places per format.

The profile ``json`` knows the places of all formats, and OpenTelemetry's and Loki's messages of many lines; a named one
only its own, which is faster and takes nothing for a message that is none.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from detector.batches import IntArray, RecordBatch, SeriesKey
from detector.decoders.decoder import LabelFault, NamedLabels
from detector.decoders.json_lines import Fault, ObjectParser
from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_json_fields import Profile
from detector.decoders.log_json_leaves import Leaves, with_paths
from detector.decoders.log_json_nested import NestedJson
from detector.decoders.log_json_profiles import JSON, PROFILES
from detector.decoders.log_lines import LineColumns, log_batch, merged
from detector.decoders.log_loki import LokiLines
from detector.decoders.log_otlp_json import OtlpJsonLines
from detector.decoders.log_service import default_key, labels_of
from detector.log_batches import LogBatch

OTLP_FIELD: Final = "resourceLogs"
LOKI_FIELD: Final = "streams"
MARKERS: Final = (
    ("MESSAGE", "journald"),
    ("short_message", "gelf"),
    ("source_type", "vector"),
    ("ecs", "ecs"),
    ("ecs\\.version", "ecs"),
    ("log", "fluentbit"),
)
"""A field whose presence tells a format, by precedence; only for the counts."""


class JsonLogDecoder:
    """Decode log records in JSON by a profile of places."""

    def __init__(self, profile: Profile, paths: LogPaths, limits: LogDecoderLimits) -> None:
        self.name = profile.name
        self._paths = paths
        self._limits = limits
        self._is_universal = profile is JSON
        known = with_paths(profile, paths)
        raw = (OTLP_FIELD, LOKI_FIELD, "source_type", "ecs", "ecs\\.version") if self._is_universal else ()
        self._leaves = Leaves(known, paths.utc_offset_ms, raw)
        self._parser = ObjectParser(self._leaves.fields.kind, limits.record_bytes_max)
        self._nested = NestedJson(paths, limits)
        self._otlp = OtlpJsonLines(limits)
        self._loki = LokiLines(limits)
        self._missing = f"no message at {' or '.join(known.messages[:3])}"

    def decode(self, batch: RecordBatch) -> LogBatch:
        """All lines and rejects of ``batch``; the same whichever way the stream was cut."""
        rows, points, faults, in_pieces = self._parser.parse(batch.values)
        parts: list[LineColumns] = []
        formats: Counter[str] = Counter()
        if self._is_universal:
            rows, points = self._without_batches(rows, points, faults, parts, formats)
        rows, points, messages = self._with_messages(rows, points, faults)
        self._count(rows, points, formats)
        parts.append(self._lines(rows, points, messages, faults))
        columns = merged(parts)
        self._nested.open(columns)
        default = default_key(self._paths.service_default, batch.topic)
        return log_batch(batch, columns, faults, self._limits, default, formats, in_pieces=in_pieces)

    def labels(self, key: SeriesKey) -> NamedLabels | LabelFault:
        """Labels of the service behind a key."""
        return labels_of(key)

    def _lines(
        self, rows: IntArray, points: Sequence[Any], messages: Sequence[Any], faults: dict[int, Fault]
    ) -> LineColumns:
        columns = self._leaves.columns(rows, points, messages)
        unreadable = self._leaves.unreadable(points, columns.times_ms)
        if not unreadable:
            return columns
        for place, fault in unreadable.items():
            faults.setdefault(int(rows[place]), fault)
        return columns.taken(np.setdiff1d(np.arange(len(rows)), list(unreadable)))

    def _with_messages(
        self, rows: IntArray, points: list[Any], faults: dict[int, Fault]
    ) -> tuple[IntArray, list[Any], list[Any]]:
        """The points that have a message; each record of another has a fault."""
        messages = self._leaves.messages(points)
        if None not in messages:
            return rows, points, messages
        for row, message in zip(rows.tolist(), messages, strict=True):
            if message is None:
                faults.setdefault(row, ("missing_field", self._missing))
        kept = [place for place, message in enumerate(messages) if message is not None]
        return rows[kept], [points[place] for place in kept], [messages[place] for place in kept]

    def _without_batches(
        self,
        rows: IntArray,
        points: list[Any],
        faults: dict[int, Fault],
        parts: list[LineColumns],
        formats: Counter[str],
    ) -> tuple[IntArray, list[Any]]:
        """The points that are one line each; those that hold many become ``parts``."""
        readers = ((OTLP_FIELD, self._otlp.lines, "otlp_json"), (LOKI_FIELD, self._loki.lines, "loki"))
        for field, read, name in readers:
            raws = self._leaves.fields.column(points, field)
            if raws.count(None) == len(raws):
                continue
            places = [place for place, raw in enumerate(raws) if raw is not None]
            records = [b'{"%b":%b}' % (field.encode(), bytes(raws[place])) for place in places]
            parts.append(read(rows[places], records, faults))
            formats[name] += len(set(rows[places].tolist()))
            rest = [place for place, raw in enumerate(raws) if raw is None]
            rows, points = rows[rest], [points[place] for place in rest]
        return rows, points

    def _count(self, rows: IntArray, points: Sequence[Any], formats: Counter[str]) -> None:
        """Count records by format, those of several objects by their first."""
        if not len(rows):
            return
        firsts = np.flatnonzero(np.diff(rows, prepend=-1))
        if len(firsts) < len(points):
            points = [points[place] for place in firsts.tolist()]
        if not self._is_universal:
            formats[self.name] += len(points)
            return
        for field, name in MARKERS:
            if not points:
                return
            values = self._leaves.fields.column(points, field)
            absent = values.count(None)
            if absent < len(values):
                formats[name] += len(values) - absent
                points = [point for point, value in zip(points, values, strict=True) if value is None]
        if points:
            formats[self.name] += len(points)


def json_decoder(name: str) -> Callable[[LogPaths, LogDecoderLimits], JsonLogDecoder]:
    """The decoder of one profile, for the registry."""
    profile = PROFILES[name]
    return lambda paths, limits: JsonLogDecoder(profile, paths, limits)
