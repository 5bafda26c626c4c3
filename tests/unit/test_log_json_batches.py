"""Log records that hold many lines: OpenTelemetry's export requests in JSON and protobuf, Loki's pushes."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from detector.decoders.decoder import NamedLabels
from detector.decoders.log_decoder import LogDecoder, LogDecoderLimits, LogPaths
from detector.decoders.log_otlp import hex_trace, hex_traces
from detector.decoders.log_registry import LOG_DECODERS
from detector.decoders.log_severity import DEBUG, ERROR, FATAL, INFO, UNKNOWN, WARNING
from detector.log_batches import BEGINS, CONTINUES, ENDS_TRACEBACK, WHOLE, LogBatch
from tests.streams import batch_of

NOON_MS = 1_795_305_600_000
NOON_NS = NOON_MS * 1_000_000
STAMP_MS = NOON_MS + 5_000
TRACE = "5b8efff798038103d269b633813fc60c"
Record = dict[str, Any]

DECODERS = {
    name: LOG_DECODERS[name](LogPaths(), LogDecoderLimits()) for name in ("json", "otlp_json", "otlp_proto", "loki")
}


def decoded(name: str, *values: object) -> LogBatch:
    records = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    return DECODERS[name].decode(batch_of(records, timestamp_ms=STAMP_MS))


def labels(batch: LogBatch, place: int = 0) -> dict[str, str]:
    decoder: LogDecoder = DECODERS["json"]
    found = decoder.labels(batch.keys[place])
    assert isinstance(found, NamedLabels)
    return dict(found.labels)


def request(*records: Record, **attributes: str) -> dict[str, Any]:
    pairs = [{"key": key.replace("_", "."), "value": {"stringValue": value}} for key, value in attributes.items()]
    return {"resourceLogs": [{"resource": {"attributes": pairs}, "scopeLogs": [{"logRecords": list(records)}]}]}


def record(text: str = "a", **fields: object) -> Record:
    return {"timeUnixNano": str(NOON_NS), "body": {"stringValue": text}, **fields}


LINES = ("a", "\tat a.B.c(B.java:1)", "KeyError: 1", "")
PARTS = [BEGINS, CONTINUES, ENDS_TRACEBACK, BEGINS]


class TestParts:
    def test_are_told_of_each_line_of_a_request(self) -> None:
        resource = request(*(record(line) for line in LINES), service_name="x")
        assert decoded("otlp_json", resource).parts.tolist() == PARTS
        assert decoded("json", resource, push(*([str(NOON_NS), line] for line in LINES))).parts.tolist() == PARTS * 2
        assert decoded("otlp_proto", proto(*({"body": line} for line in LINES[:3]))).parts.tolist() == PARTS[:3]
        assert decoded("loki", push(*([str(NOON_NS), line] for line in LINES), app="x")).parts.tolist() == PARTS

    def test_lines_with_a_severity_are_whole(self) -> None:
        severe = [record(line, severityNumber=9) for line in LINES]
        assert decoded("otlp_json", request(*severe)).parts.tolist() == [WHOLE] * 4
        told = [{"body": line, "severity_number": 17} for line in LINES[:3]]
        assert decoded("otlp_proto", proto(*told)).parts.tolist() == [WHOLE] * 3
        pushed = push(*([str(NOON_NS), line] for line in LINES), app="x", level="error")
        assert decoded("loki", pushed).parts.tolist() == [WHOLE] * 4


@pytest.mark.parametrize("name", ["otlp_json", "json"])
class TestOtlpJson:
    def test_one_request_is_many_lines_of_many_services(self, name: str) -> None:
        first, second = request(record("a"), record("b"), service_name="x"), request(record("c"), service_name="y")
        batch = decoded(name, {"resourceLogs": first["resourceLogs"] + second["resourceLogs"]}, second)
        assert batch.lines == [b"a", b"b", b"c", b"c"]
        assert batch.rows.tolist() == [0, 0, 0, 1]
        assert [labels(batch, place)["service.name"] for place in range(4)] == ["x", "x", "y", "y"]
        assert batch.formats == {"otlp_json": 2}

    def test_integers_are_text_or_numbers(self, name: str) -> None:
        times: list[object] = [str(NOON_NS + 7_000_000), NOON_NS + 7_000_000]
        records = [record(timeUnixNano=time, severityNumber=level) for time in times for level in (17, "17")]
        batch = decoded(name, request(*records))
        assert batch.times_ms.tolist() == [NOON_MS + 7] * 4
        assert batch.severities.tolist() == [ERROR] * 4

    @pytest.mark.parametrize("zero", [0, "0", None, ""])
    def test_a_time_of_zero_is_the_observed_one_or_the_brokers(self, name: str, zero: object) -> None:
        observed = record(timeUnixNano=zero, observedTimeUnixNano=str(NOON_NS))
        assert decoded(name, request(observed, record(timeUnixNano=zero))).times_ms.tolist() == [NOON_MS, STAMP_MS]

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"severityNumber": 9}, INFO),
            ({"severityNumber": 1, "severityText": "ERROR"}, DEBUG),
            ({"severityNumber": 0, "severityText": "ERROR"}, ERROR),
            ({"severityNumber": 21}, FATAL),
            ({"severityNumber": "SEVERITY_NUMBER_WARN2"}, WARNING),
            ({}, UNKNOWN),
        ],
    )
    def test_severity_is_the_number_else_the_text(self, name: str, fields: Record, expected: int) -> None:
        assert decoded(name, request(record(**fields))).severities.tolist() == [expected]

    @pytest.mark.parametrize(
        ("body", "line"),
        [
            ({"intValue": "7"}, b"7"),
            ({"doubleValue": 1.5}, b"1.5"),
            ({"boolValue": True}, b"true"),
            ({"bytesValue": base64.b64encode(b"raw").decode()}, b"raw"),
            ({"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "x"}]}}, b'[1,"x"]'),
            ({"kvlistValue": {"values": [{"key": "k", "value": {"intValue": "7"}}]}}, b'{"k":7}'),
            ({"kvlistValue": {"values": [{"key": "message", "value": {"stringValue": "m"}}]}}, b"m"),
            ({"stringValue": '{"msg":"inner","level":"warn"}'}, b"inner"),
            ({"stringValue": ""}, b""),
        ],
    )
    def test_a_body_is_any_value(self, name: str, body: Record, line: bytes) -> None:
        assert decoded(name, request(record(body=body))).lines == [line]

    def test_a_line_without_a_body_is_a_fault_and_its_neighbours_stay(self, name: str) -> None:
        named = {"timeUnixNano": str(NOON_NS), "eventName": "session.start"}
        batch = decoded(name, request(record("a"), record(body={}), record(body=None), named))
        assert batch.lines == [b"a", b"session.start"]
        assert [(reject.row, reject.reason) for reject in batch.rejects] == [(0, "missing_field")]

    def test_a_trace_is_hex_or_base64_and_zeros_are_none(self, name: str) -> None:
        ids = [TRACE, TRACE.upper(), base64.b64encode(bytes.fromhex(TRACE)).decode(), "0" * 32, "", "short", 5]
        batch = decoded(name, request(*(record(traceId=one) for one in ids)))
        assert batch.traces == [TRACE, TRACE, TRACE, None, None, None, None]

    def test_the_stack_trace_among_the_attributes_comes_behind(self, name: str) -> None:
        attributes = [{"key": "exception.stacktrace", "value": {"stringValue": "E\n at b"}}]
        assert decoded(name, request(record("a", attributes=attributes), record("b"))).lines == [b"a\nE\n at b", b"b"]

    def test_the_resource_tells_the_service_and_never_the_pod(self, name: str) -> None:
        told = {
            "service_name": "x",
            "service_namespace": "shop",
            "deployment_environment": "prod",
            "k8s_namespace_name": "n",
            "k8s_pod_name": "p-1",
            "service_instance_id": "7",
            "host_name": "h",
        }
        assert labels(decoded(name, request(record(), **told))) == {
            "service.name": "x",
            "service.namespace": "shop",
            "deployment.environment.name": "prod",
            "k8s.namespace.name": "n",
        }
        assert labels(decoded(name, request(record(), k8s_deployment_name="d", host_name="h"))) == {"service.name": "d"}
        assert labels(decoded(name, request(record(), host_name="h"))) == {"host.name": "h"}
        assert labels(decoded(name, request(record()))) == {"service.name": "metrics"}

    def test_no_lines_and_wrong_shapes_are_refused(self, name: str) -> None:
        batch = decoded(name, {"resourceLogs": []}, request(), {"resourceLogs": 5}, request(record("a")))
        reasons = [(reject.row, reject.reason) for reject in batch.rejects]
        assert reasons == [(0, "empty"), (1, "empty"), (2, "wrong_type")]
        assert batch.lines == [b"a"]


def proto(*records: Record, **attributes: str) -> bytes:
    message = ExportLogsServiceRequest()
    group = message.resource_logs.add()
    for key, value in attributes.items():
        group.resource.attributes.add(key=key.replace("_", ".")).value.string_value = value
    scope = group.scope_logs.add()
    for fields in records:
        body = fields.pop("body", "a")
        one = scope.log_records.add(**{"time_unix_nano": NOON_NS, **fields})
        if body is not None:
            one.body.string_value = body
    serialized: bytes = message.SerializeToString()
    return serialized


class TestOtlpProto:
    def test_many_lines_of_a_service(self) -> None:
        lines = (
            {"body": "a", "severity_number": 17},
            {"body": "b", "severity_text": "warn", "trace_id": bytes.fromhex(TRACE)},
        )
        batch = decoded("otlp_proto", proto(*lines, service_name="x"), proto({"body": "c"}))
        assert batch.lines == [b"a", b"b", b"c"]
        assert batch.rows.tolist() == [0, 0, 1]
        assert batch.severities.tolist() == [ERROR, WARNING, UNKNOWN]
        assert batch.traces == [None, TRACE, None]
        assert batch.times_ms.tolist() == [NOON_MS] * 3
        assert [labels(batch, place)["service.name"] for place in range(3)] == ["x", "x", "metrics"]
        assert batch.formats == {"otlp_proto": 2}

    def test_a_time_of_zero_is_the_observed_one_or_the_brokers(self) -> None:
        observed = {"time_unix_nano": 0, "observed_time_unix_nano": NOON_NS}
        assert decoded("otlp_proto", proto(observed, {"time_unix_nano": 0})).times_ms.tolist() == [NOON_MS, STAMP_MS]

    def test_a_body_is_any_value(self) -> None:
        message = ExportLogsServiceRequest()
        scope = message.resource_logs.add().scope_logs.add()
        scope.log_records.add().body.int_value = 7
        scope.log_records.add().body.bytes_value = b"raw\xff"
        scope.log_records.add().body.bool_value = False
        scope.log_records.add().body.array_value.values.add().double_value = 1.5
        pairs = scope.log_records.add().body.kvlist_value.values
        pairs.add(key="message").value.string_value = "m"
        pairs.add(key="level").value.string_value = "error"
        scope.log_records.add(event_name="session.start")
        batch = decoded("otlp_proto", message.SerializeToString())
        assert batch.lines == [b"7", "raw\ufffd".encode(), b"false", b"[1.5]", b"m", b"session.start"]
        assert batch.severities.tolist() == [0, 0, 0, 0, ERROR, 0]

    def test_an_empty_text_is_a_message_and_no_body_is_a_fault(self) -> None:
        batch = decoded("otlp_proto", proto({"body": ""}, {"body": None}, {"body": "b"}))
        assert batch.lines == [b"", b"b"]
        assert [(reject.row, reject.reason) for reject in batch.rejects] == [(0, "missing_field")]

    def test_the_stack_trace_among_the_attributes_comes_behind(self) -> None:
        message = ExportLogsServiceRequest.FromString(proto({"body": "a"}, {"body": "b"}))
        found = message.resource_logs[0].scope_logs[0].log_records[1]
        found.attributes.add(key="exception.stacktrace").value.string_value = "E\n at b"
        assert decoded("otlp_proto", message.SerializeToString()).lines == [b"a", b"b\nE\n at b"]

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (b"\x0a\xff", "malformed"),
            (b"{}", "malformed"),
            (b"hello", "malformed"),
            (b"", "empty"),
            (b"\x0a\x00", "empty"),
        ],
    )
    def test_garbage_is_malformed(self, value: bytes, reason: str) -> None:
        batch = decoded("otlp_proto", value, proto({"body": "a"}))
        assert [(reject.row, reject.reason) for reject in batch.rejects] == [(0, reason)]
        assert batch.lines == [b"a"]

    def test_json_and_protobuf_agree(self) -> None:
        told = {"service_name": "x", "k8s_namespace_name": "n"}
        ours = decoded("otlp_json", request(record("a", severityNumber=13, traceId=TRACE), **told))
        theirs = decoded("otlp_proto", proto({"severity_number": 13, "trace_id": bytes.fromhex(TRACE)}, **told))
        assert (ours.lines, ours.keys, ours.traces) == (theirs.lines, theirs.keys, theirs.traces)
        assert (ours.times_ms.tolist(), ours.severities.tolist()) == (
            theirs.times_ms.tolist(),
            theirs.severities.tolist(),
        )


def push(*values: object, **stream: str) -> dict[str, Any]:
    return {"streams": [{"stream": stream, "values": list(values)}]}


@pytest.mark.parametrize("name", ["loki", "json"])
class TestLoki:
    def test_streams_are_services_and_rows_are_lines(self, name: str) -> None:
        first = push(
            [str(NOON_NS), "a"], [str(NOON_NS + 10**6), "b\n"], app="x", level="warn", pod="p-1", namespace="n"
        )
        second = push([str(NOON_NS), "c"], service_name="y", detected_level="error")
        batch = decoded(name, {"streams": first["streams"] + second["streams"]})
        assert batch.lines == [b"a", b"b", b"c"]
        assert batch.times_ms.tolist() == [NOON_MS, NOON_MS + 1, NOON_MS]
        assert batch.severities.tolist() == [WARNING, WARNING, ERROR]
        assert labels(batch, 0) == {"service.name": "x", "k8s.namespace.name": "n"}
        assert labels(batch, 2) == {"service.name": "y"}
        assert batch.formats == {"loki": 1}

    def test_structured_metadata_stands_before_the_labels(self, name: str) -> None:
        metadata = {"detected_level": "fatal", "trace_id": TRACE}
        batch = decoded(name, push([str(NOON_NS), "a", metadata], [str(NOON_NS), "b", {}], app="x", level="info"))
        assert batch.severities.tolist() == [FATAL, INFO]
        assert batch.traces == [TRACE, None]

    def test_a_line_that_is_an_object_is_opened(self, name: str) -> None:
        batch = decoded(name, push([str(NOON_NS), '{"msg":"a","level":"error"}'], app="x"))
        assert (batch.lines, batch.severities.tolist()) == ([b"a"], [ERROR])

    def test_a_bad_row_is_a_fault_and_its_neighbours_stay(self, name: str) -> None:
        batch = decoded(name, push([str(NOON_NS)], [str(NOON_NS), 5], [str(NOON_NS), "a"], app="x"))
        assert batch.lines == [b"a"]
        assert [(reject.row, reject.reason) for reject in batch.rejects] == [(0, "wrong_type")]

    def test_an_unreadable_time_is_the_brokers(self, name: str) -> None:
        assert decoded(name, push(["soon", "a"], app="x")).times_ms.tolist() == [STAMP_MS]

    def test_empty_and_wrong_shapes_are_refused(self, name: str) -> None:
        batch = decoded(name, {"streams": []}, push(), {"streams": {}}, {"streams": [5]})
        assert [reject.reason for reject in batch.rejects] == ["empty", "empty", "wrong_type", "wrong_type"]


traces = st.one_of(
    st.sampled_from([TRACE, TRACE.upper(), "0" * 32, "0" * 31, "W47/95gDgQPSabYzgT/GDA==", "Σ" * 32, "", None, 7]),
    st.text(min_size=32, max_size=32),
)


@given(st.one_of(st.lists(traces), st.lists(st.sampled_from([TRACE, "0" * 32, TRACE[::-1]]))))
def test_trace_ids_of_a_column_are_those_of_each(values: list[object]) -> None:
    assert hex_traces(values) == [hex_trace(value) for value in values]
