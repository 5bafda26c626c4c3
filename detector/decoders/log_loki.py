"""Loki's push requests in JSON: streams of labels, each with lines and their times.

Source: Grafana Loki, HTTP API, ``POST /loki/api/v1/push``: ``streams[].stream`` are labels, ``streams[].values`` rows
of nanoseconds as text, the line and, where there is any, structured metadata.
"""

import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from detector.batches import IntArray, RecordBatch, SeriesKey
from detector.decoders.json_lines import Fault, ObjectParser
from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_lines import LineColumns, encoded, trace_of
from detector.decoders.log_requests import RequestsLogDecoder
from detector.decoders.log_service import EvidenceMemo, key_or_none, parsed, stream_labels
from detector.decoders.log_severity import SeverityMemo
from detector.decoders.time_columns import column_ms
from detector.log_batches import SeverityArray

LEVELS: Final = ("level", "detected_level", "severity", "severity_text", "log_level", "lvl")
TRACES: Final = ("trace_id", "traceID", "traceId")
ROW_MIN, ROW_MAX = 2, 3
"""Entries of a row: time, line, perhaps metadata."""
NO_TEXT: Final = msgspec.Raw(b"")

Stream = tuple[SeriesKey | None, Any]
"""What a stream's labels tell: its service and its level."""


class _Stream(msgspec.Struct, gc=False):
    stream: msgspec.Raw = NO_TEXT
    values: list[list[Any]] | None = None


class _Push(msgspec.Struct, gc=False):
    streams: list[_Stream] | None = None


class LokiLines:
    """Lines of push requests."""

    def __init__(self, bytes_max: int = sys.maxsize) -> None:
        self._parser = ObjectParser(_Push, bytes_max)
        self._streams = EvidenceMemo(_stream)
        self._severities = SeverityMemo()

    def lines(self, rows: IntArray, records: Sequence[bytes | None], faults: dict[int, Fault]) -> LineColumns:
        """Lines of ``records``, which are those of ``rows``; ``faults`` gains one for each bad record."""
        at, pushes, _, own_faults, _ = self._parser.parse(records)
        for place, fault in own_faults.items():
            faults.setdefault(int(rows[place]), fault)
        each: list[int] = []
        entries: list[list[Any]] = []
        keys: list[SeriesKey | None] = []
        levels: list[Any] = []
        for row, push in zip(rows[at].tolist(), pushes, strict=True):
            for stream in push.streams or ():
                key, level = self._streams.of(("stream",), (bytes(stream.stream),))
                good = [
                    entry
                    for entry in stream.values or ()
                    if ROW_MIN <= len(entry) <= ROW_MAX and isinstance(entry[1], str)
                ]
                if len(good) < len(stream.values or ()):
                    faults.setdefault(row, ("wrong_type", "an entry of a stream is not [time, line]"))
                entries.extend(good)
                each.extend([row] * len(good))
                keys.extend([key] * len(good))
                levels.extend([level] * len(good))
        return self._columns(np.array(each, dtype=np.int64), entries, keys, levels)

    def _columns(
        self, rows: IntArray, entries: list[list[Any]], keys: list[SeriesKey | None], levels: list[Any]
    ) -> LineColumns:
        traces: list[str | None] = [None] * len(entries)
        for place, entry in enumerate(entries):
            if len(entry) == ROW_MAX and isinstance(entry[2], dict) and entry[2]:
                levels[place] = _first(entry[2], LEVELS) or levels[place]
                traces[place] = trace_of(_first(entry[2], TRACES))
        severities: SeverityArray = self._severities.column(levels)
        return LineColumns(
            rows=rows,
            lines=encoded([entry[1] for entry in entries]),
            times_ms=column_ms([entry[0] for entry in entries], 0),
            severities=severities,
            keys=keys,
            traces=traces if any(traces) else None,
        )


class LokiLogDecoder(RequestsLogDecoder):
    """Decode Loki's push requests."""

    name = "loki"

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits) -> None:
        super().__init__(paths, limits)
        self._lines = LokiLines(limits.record_bytes_max)

    def _found(self, batch: RecordBatch, faults: dict[int, Fault]) -> LineColumns:
        return self._lines.lines(np.arange(len(batch), dtype=np.int64), batch.values, faults)


def _first(fields: dict[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name)), None)


def _stream(_names: Sequence[str], row: Sequence[bytes | None]) -> Stream:
    labels = parsed(row[0])
    if not isinstance(labels, dict):
        return None, None
    return key_or_none(stream_labels(labels)), _first(labels, LEVELS)
