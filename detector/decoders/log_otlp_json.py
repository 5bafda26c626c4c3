"""OpenTelemetry's logs in JSON: an ``ExportLogsServiceRequest`` per record, of many resources and lines.

Source: opentelemetry.io, OTLP specification, JSON Protobuf Encoding: camelCase names, 64-bit integers as text or
number, enums as numbers, ids in hex, unknown fields ignored.
"""

import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from detector.batches import IntArray, RecordBatch, SeriesKey
from detector.decoders.json_lines import Fault, ObjectParser
from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_json_leaves import joined, lines_of
from detector.decoders.log_lines import LineColumns
from detector.decoders.log_otlp import EXCEPTION_TRACE, hex_traces, plain_attributes, plain_value
from detector.decoders.log_requests import RequestsLogDecoder
from detector.decoders.log_service import EvidenceMemo, key_or_none, parsed, resource_labels
from detector.decoders.log_severity import SeverityMemo
from detector.decoders.time_columns import column_ms

EXCEPTION_BYTES: Final = b'"exception.stacktrace"'
"""Attributes are looked at only in requests that hold these bytes, and parsed only where they do themselves."""
NO_TEXT: Final = msgspec.Raw(b"")


class _LogRecord(msgspec.Struct, rename="camel", gc=False):
    time_unix_nano: Any = None
    observed_time_unix_nano: Any = None
    severity_number: Any = None
    severity_text: Any = None
    body: Any = None
    attributes: msgspec.Raw = NO_TEXT
    trace_id: Any = None
    event_name: Any = None


class _ScopeLogs(msgspec.Struct, rename="camel", gc=False):
    log_records: list[_LogRecord] | None = None


class _ResourceLogs(msgspec.Struct, rename="camel", gc=False):
    resource: msgspec.Raw = NO_TEXT
    scope_logs: list[_ScopeLogs] | None = None
    instrumentation_library_logs: list[_ScopeLogs] | None = None


class _Request(msgspec.Struct, rename="camel", gc=False):
    resource_logs: list[_ResourceLogs] | None = None


class OtlpJsonLines:
    """Lines of export requests in JSON."""

    def __init__(self, bytes_max: int = sys.maxsize) -> None:
        self._parser = ObjectParser(_Request, bytes_max)
        self._services = EvidenceMemo(_service)
        self._severities = SeverityMemo("otel")

    def lines(self, rows: IntArray, records: Sequence[bytes | None], faults: dict[int, Fault]) -> LineColumns:
        """Lines of ``records``, which are those of ``rows``; ``faults`` gains one for each bad record."""
        at, requests, texts, own_faults, _ = self._parser.parse(records)
        for place, fault in own_faults.items():
            faults.setdefault(int(rows[place]), fault)
        found: list[_LogRecord] = []
        counts: list[int] = []
        groups: list[tuple[int, SeriesKey | None]] = []
        traced: list[int] = []
        for row, request, text in zip(rows[at].tolist(), requests, texts, strict=True):
            began = len(found)
            for resource in request.resource_logs or ():
                key = self._services.of(("resource",), (bytes(resource.resource),))
                for scope in resource.scope_logs or resource.instrumentation_library_logs or ():
                    found.extend(scope.log_records or ())
                    counts.append(len(scope.log_records or ()))
                    groups.append((row, key))
            if EXCEPTION_BYTES in text:
                traced.extend(range(began, len(found)))
        each = np.repeat(np.array([row for row, _ in groups], dtype=np.int64), np.array(counts, dtype=np.int64))
        keys = [key for (_, key), count in zip(groups, counts, strict=True) for _ in range(count)]
        return self._columns(each, keys, found, traced, faults)

    def _columns(
        self,
        rows: IntArray,
        keys: list[SeriesKey | None],
        found: list[_LogRecord],
        traced: Sequence[int],
        faults: dict[int, Fault],
    ) -> LineColumns:
        """Lines of log records; those at ``traced`` may have a stack trace among their attributes."""
        messages = _messages(found)
        traces = hex_traces([one.trace_id for one in found])
        numbers = [one.severity_number or one.severity_text for one in found]
        columns = LineColumns(
            rows=rows,
            lines=_with_stacks(found, traced, lines_of(messages)),
            times_ms=_times_ms(found),
            severities=self._severities.column(numbers),
            keys=keys,
            traces=traces if any(traces) else None,
        )
        if None not in messages:
            return columns
        for row, message in zip(rows.tolist(), messages, strict=True):
            if message is None:
                faults.setdefault(row, ("missing_field", "a log record has no body"))
        kept = [place for place, message in enumerate(messages) if message is not None]
        return columns.taken(np.array(kept, dtype=np.int64))


class OtlpJsonLogDecoder(RequestsLogDecoder):
    """Decode export requests in JSON."""

    name = "otlp_json"

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits) -> None:
        super().__init__(paths, limits)
        self._lines = OtlpJsonLines(limits.record_bytes_max)

    def _found(self, batch: RecordBatch, faults: dict[int, Fault]) -> LineColumns:
        return self._lines.lines(np.arange(len(batch), dtype=np.int64), batch.values, faults)


def _service(_names: Sequence[str], row: Sequence[bytes | None]) -> SeriesKey | None:
    resource = parsed(row[0])
    attributes = resource.get("attributes") if isinstance(resource, dict) else None
    return key_or_none(resource_labels(plain_attributes(attributes)))


def _messages(found: Sequence[_LogRecord]) -> list[Any]:
    """The message of each record, None where it has none."""
    try:
        messages = [one.body["stringValue"] for one in found]
    except (TypeError, KeyError):
        return list(map(_message, found))
    return messages if set(map(type, messages)) == {str} else list(map(_message, found))


def _message(found: _LogRecord) -> Any:
    body = found.body
    if type(body) is dict and type(body.get("stringValue")) is str:
        return body["stringValue"]
    message = plain_value(body)
    return found.event_name or None if message is None else message


def _times_ms(found: Sequence[_LogRecord]) -> IntArray:
    times = column_ms([one.time_unix_nano for one in found], 0)
    untold = np.flatnonzero(times < 0)
    if len(untold):
        times[untold] = column_ms([found[place].observed_time_unix_nano for place in untold.tolist()], 0)
    return times


def _with_stacks(found: Sequence[_LogRecord], places: Sequence[int], lines: list[bytes]) -> list[bytes]:
    for place in places:
        raw = bytes(found[place].attributes)
        if EXCEPTION_BYTES in raw:
            trace = plain_attributes(parsed(raw)).get(EXCEPTION_TRACE)
            lines[place] = joined(lines[place], trace)
    return lines
