"""OpenTelemetry's logs in protobuf: an ``ExportLogsServiceRequest`` per record, what the Collector sends by default.

Source: opentelemetry-proto, collector/logs/v1/logs_service.proto.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from detector.batches import RecordBatch, SeriesKey
from detector.decoders.json_lines import Fault, brief
from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_json_leaves import joined, lines_of
from detector.decoders.log_lines import LineColumns
from detector.decoders.log_otlp import DEPTH_MAX, EXCEPTION_TRACE
from detector.decoders.log_requests import RequestsLogDecoder
from detector.decoders.log_service import EvidenceMemo, key_or_none, resource_labels
from detector.decoders.log_severity import SeverityMemo
from detector.decoders.time_columns import column_ms

EXCEPTION_BYTES: Final = EXCEPTION_TRACE.encode()
"""Attributes of lines are looked at only in requests that hold these bytes."""
_TEXT: Final = attrgetter("body.string_value")
_TRACE_ID: Final = attrgetter("trace_id")


class OtlpProtoLogDecoder(RequestsLogDecoder):
    """Decode export requests in protobuf."""

    name = "otlp_proto"

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits) -> None:
        super().__init__(paths, limits)
        self._services = EvidenceMemo(_service)
        self._severities = SeverityMemo("otel")

    def _found(self, batch: RecordBatch, faults: dict[int, Fault]) -> LineColumns:
        rows: list[int] = []
        keys: list[SeriesKey | None] = []
        found: list[Any] = []
        traced: list[int] = []
        for row, value in enumerate(batch.values):
            request = self._request(row, value, faults)
            if request is None:
                continue
            began = len(found)
            for group in request.resource_logs:
                key = self._services.of(("resource",), (group.resource.SerializeToString(deterministic=True),))
                for scope in group.scope_logs:
                    count = len(scope.log_records)
                    found.extend(scope.log_records)
                    rows.extend([row] * count)
                    keys.extend([key] * count)
            if EXCEPTION_BYTES in (value or b""):
                traced.extend(range(began, len(found)))
        return self._columns(np.array(rows, dtype=np.int64), keys, found, traced, faults)

    def _request(self, row: int, value: bytes | None, faults: dict[int, Fault]) -> Any:
        """The request in one record, or None and a fault."""
        if not value:
            faults[row] = ("empty", "the record has no value")
        elif len(value) > self._limits.record_bytes_max:
            faults[row] = ("too_large", f"{len(value)} bytes, {self._limits.record_bytes_max} allowed")
        else:
            try:
                request = ExportLogsServiceRequest.FromString(value)
            except DecodeError as error:
                faults[row] = ("malformed", brief(str(error)))
                return None
            if request.resource_logs:
                return request
            faults[row] = ("malformed", "no ExportLogsServiceRequest: it has no resource logs")
        return None

    def _columns(
        self,
        rows: Any,
        keys: list[SeriesKey | None],
        found: Sequence[Any],
        traced: Sequence[int],
        faults: dict[int, Fault],
    ) -> LineColumns:
        """Lines of log records; those at ``traced`` may have a stack trace among their attributes."""
        messages: list[Any] = list(map(_TEXT, found))
        if not all(messages):
            messages = [text or _other_message(one) for text, one in zip(messages, found, strict=True)]
        lines = lines_of(messages)
        for place in traced:
            for attribute in found[place].attributes:
                if attribute.key == EXCEPTION_TRACE:
                    lines[place] = joined(lines[place], attribute.value.string_value)
        traces = [trace.hex() if trace.strip(b"\0") else None for trace in map(_TRACE_ID, found)]
        columns = LineColumns(
            rows=rows,
            lines=lines,
            times_ms=column_ms([one.time_unix_nano or one.observed_time_unix_nano for one in found], 0),
            severities=self._severities.column([one.severity_number or one.severity_text for one in found]),
            keys=keys,
            traces=traces if any(traces) else None,
        )
        if None not in messages:
            return columns
        for place, message in enumerate(messages):
            if message is None:
                faults.setdefault(int(rows[place]), ("missing_field", "a log record has no body"))
        kept = [place for place, message in enumerate(messages) if message is not None]
        return columns.taken(np.array(kept, dtype=np.int64))


def _service(_names: Sequence[str], row: Sequence[bytes | None]) -> SeriesKey | None:
    resource = Resource.FromString(row[0] or b"")
    return key_or_none(resource_labels({one.key: _value(one.value) for one in resource.attributes}))


def _other_message(found: Any) -> Any:
    """The message of a record whose body is not text: its value, or the name of the event that it stands for."""
    message = _value(found.body)
    return found.event_name or None if message is None else message


def _value(value: Any, depth: int = 0) -> Any:
    """What an ``AnyValue`` stands for; None where it is empty."""
    kind = value.WhichOneof("value")
    if kind is None or depth > DEPTH_MAX:
        return None
    inner = getattr(value, kind)
    if kind == "bytes_value":
        return inner.decode("utf-8", "replace")
    if kind == "array_value":
        return [_value(one, depth + 1) for one in inner.values]
    if kind == "kvlist_value":
        return {one.key: _value(one.value, depth + 1) for one in inner.values}
    return inner
