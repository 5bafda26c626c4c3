"""Log records in JSON: every producer's habits, one trap per test."""

import functools
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.batches import TIMESTAMP_UNKNOWN
from detector.decoders.decoder import NamedLabels
from detector.decoders.log_decoder import LogDecoder, LogDecoderLimits, LogPaths
from detector.decoders.log_lines import trace_of, traces_of
from detector.decoders.log_registry import LOG_DECODERS
from detector.decoders.log_severity import ERROR, FATAL, INFO, UNKNOWN, WARNING
from detector.errors import UsageError
from detector.log_batches import BEGINS, CONTINUES, ENDS_TRACEBACK, WHOLE, LogBatch
from tests.streams import batch_of

NOON_MS = 1_795_305_600_000
STAMP_MS = NOON_MS + 5_000
ISO = "2026-11-22T00:00:00.250Z"


@functools.cache
def decoder(name: str = "json", paths: LogPaths | None = None, **limits: int) -> LogDecoder:
    return LOG_DECODERS[name](paths or LogPaths(), LogDecoderLimits(**limits))


def decoded(*records: object, name: str = "json", paths: LogPaths | None = None, **limits: int) -> LogBatch:
    values = [one if isinstance(one, bytes) or one is None else json.dumps(one).encode() for one in records]
    return decoder(name, paths, **limits).decode(batch_of(values, timestamp_ms=STAMP_MS))


def labels(batch: LogBatch, place: int = 0) -> dict[str, str]:
    found = decoder().labels(batch.keys[place])
    assert isinstance(found, NamedLabels)
    assert found.name == "logs"
    return dict(found.labels)


def only(record: object, name: str = "json", paths: LogPaths | None = None) -> tuple[bytes, int, int]:
    """Line, severity and time of the one line of a record."""
    batch = decoded(record, name=name, paths=paths)
    assert not batch.rejects
    assert batch.parts.tolist() in ([WHOLE], [BEGINS])
    return batch.lines[0], batch.severities.tolist()[0], batch.times_ms.tolist()[0]


FLAVOURS: list[tuple[str, dict[str, Any], tuple[bytes, int, int]]] = [
    ("fluentbit", {"@timestamp": 1795305600.25, "log": "a b\n", "stream": "stderr"}, (b"a b", UNKNOWN, NOON_MS + 250)),
    ("fluentbit", {"date": 1795305600.25, "log": "a", "level": "warn"}, (b"a", WARNING, NOON_MS + 250)),
    (
        "fluentbit",
        {"log": "a\n", "stream": "stdout", "time": "2026-11-22T00:00:00.250000001Z"},
        (b"a", 0, NOON_MS + 250),
    ),
    (
        "ecs",
        {"@timestamp": ISO, "message": "a", "log.level": "ERROR", "ecs.version": "1.2.0"},
        (b"a", ERROR, NOON_MS + 250),
    ),
    ("ecs", {"@timestamp": ISO, "message": "a", "log": {"level": "error"}, "ecs": {}}, (b"a", ERROR, NOON_MS + 250)),
    ("ecs", {"@timestamp": ISO, "event": {"original": "a"}, "ecs": {"version": "8"}}, (b"a", UNKNOWN, NOON_MS + 250)),
    (
        "vector",
        {"timestamp": ISO, "message": "a", "source_type": "file", "severity": "crit"},
        (b"a", FATAL, NOON_MS + 250),
    ),
    ("gelf", {"short_message": "a", "level": 3, "timestamp": 1795305600.25, "host": "h"}, (b"a", ERROR, NOON_MS + 250)),
    ("gelf", {"short_message": "a", "level": 30, "version": "1.1"}, (b"a", UNKNOWN, STAMP_MS)),
    (
        "journald",
        {"MESSAGE": "a", "PRIORITY": "4", "__REALTIME_TIMESTAMP": "1795305600250000"},
        (b"a", WARNING, NOON_MS + 250),
    ),
    ("journald", {"MESSAGE": [104, 233, 10], "PRIORITY": "6"}, (b"h\xe9", INFO, STAMP_MS)),
    (
        "json",
        {"@timestamp": ISO, "message": "a", "level": "WARN", "level_value": 30000},
        (b"a", WARNING, NOON_MS + 250),
    ),
    (
        "json",
        {"instant": {"epochSecond": 1795305600, "nanoOfSecond": 250000000}, "message": "a"},
        (b"a", 0, NOON_MS + 250),
    ),
    ("json", {"level": "dpanic", "ts": 1795305600.25, "msg": "a", "caller": "x.go:1"}, (b"a", FATAL, NOON_MS + 250)),
    ("json", {"level": 30, "time": NOON_MS + 250, "msg": "a", "pid": 1, "hostname": "h"}, (b"a", INFO, NOON_MS + 250)),
    ("json", {"level": 50, "time": ISO, "msg": "a", "name": "shop", "v": 0}, (b"a", ERROR, NOON_MS + 250)),
    ("json", {"event": "a", "timestamp": ISO, "level": "info"}, (b"a", INFO, NOON_MS + 250)),
    (
        "json",
        {"asctime": "2026-11-22 00:00:00,250", "levelname": "CRITICAL", "message": "a"},
        (b"a", FATAL, NOON_MS + 250),
    ),
    ("json", {"@t": ISO, "@mt": "a {x}", "@m": "a 1", "@l": "Warning", "x": 1}, (b"a 1", WARNING, NOON_MS + 250)),
    ("json", {"@t": ISO, "@mt": "a {x}", "x": 1}, (b"a {x}", INFO, NOON_MS + 250)),
    ("json", {"message": "a", "level": 300, "level_name": "WARNING", "datetime": ISO}, (b"a", WARNING, NOON_MS + 250)),
    ("json", {"severity": "ERROR", "textPayload": "a", "timestamp": ISO}, (b"a", ERROR, NOON_MS + 250)),
    ("json", {"severity": "ERROR", "jsonPayload": {"message": "a"}, "timestamp": ISO}, (b"a", ERROR, NOON_MS + 250)),
]


@pytest.mark.parametrize(("name", "record", "expected"), FLAVOURS)
class TestFlavours:
    def test_are_told_by_their_keys(self, name: str, record: dict[str, Any], expected: tuple[bytes, int, int]) -> None:
        batch = decoded(record)
        assert (batch.lines[0], batch.severities.tolist()[0], batch.times_ms.tolist()[0]) == expected
        assert batch.formats == {name: 1}
        assert not batch.rejects

    def test_are_the_same_when_named(self, name: str, record: dict[str, Any], expected: tuple[bytes, int, int]) -> None:
        assert only(record, name=name) == expected

    def test_are_the_same_among_others(
        self, name: str, record: dict[str, Any], expected: tuple[bytes, int, int]
    ) -> None:
        assert name
        batch = decoded(*[other for _, other, _ in FLAVOURS], record)
        assert (batch.lines[-1], batch.severities.tolist()[-1], batch.times_ms.tolist()[-1]) == expected


class TestMessages:
    def test_a_number_or_an_object_is_rendered(self) -> None:
        batch = decoded({"message": 5}, {"message": {"b": 1, "a": [2]}}, {"message": False}, {"message": [1, 2]})
        assert batch.lines == [b"5", b'{"b":1,"a":[2]}', b"false", b"[1,2]"]

    def test_an_empty_one_is_one(self) -> None:
        assert decoded({"message": ""}).lines == [b""]

    def test_null_is_none(self) -> None:
        batch = decoded({"message": None, "level": "info"}, {"log": None, "msg": "a"})
        assert [(reject.row, reject.reason) for reject in batch.rejects] == [(0, "missing_field")]
        assert batch.lines == [b"a"]
        assert batch.rows.tolist() == [1]

    def test_a_long_one_is_cut_and_counted(self) -> None:
        batch = decoded({"message": "x" * 50}, {"message": "y"}, line_bytes_max=20)
        assert batch.lines == [b"x" * 20, b"y"]
        assert batch.lines_cut == 1

    def test_many_lines_stay_as_they_are(self) -> None:
        assert decoded({"message": "a\n\tat b(C.java:3)"}).lines == [b"a\n\tat b(C.java:3)"]

    @pytest.mark.parametrize(
        "beside",
        [
            {"stack_trace": "E: x\n\tat b"},
            {"error.stack_trace": "E: x\n\tat b"},
            {"error": {"stack_trace": "E: x\n\tat b", "code": 3}},
            {"exception": "E: x\n\tat b\n"},
            {"exception": {"stacktrace": "E: x\n\tat b"}},
            {"exc_info": "E: x\n\tat b"},
            {"thrown": {"extendedStackTrace": "E: x\n\tat b"}},
            {"stack": "E: x\n\tat b"},
        ],
    )
    def test_a_stack_trace_of_its_own_comes_behind(self, beside: dict[str, object]) -> None:
        assert decoded({"message": "a", **beside}).lines == [b"a\nE: x\n\tat b"]

    def test_what_is_no_text_is_no_stack_trace(self) -> None:
        assert decoded({"message": "a", "exception": 5}, {"message": "a", "stack": ""}).lines == [b"a", b"a"]

    def test_gelfs_full_message_begins_with_the_short_one(self) -> None:
        batch = decoded({"short_message": "a", "full_message": "a\n at b"}, {"short_message": "a", "full_message": "b"})
        assert batch.lines == [b"a\n at b", b"a\nb"]


class TestParts:
    TRACE: Final = ("order 7 failed", "KeyError: 7", "\tat com.acme.Shop.pay(Shop.java:9)", "Caused by: a.B: x", "")
    EXPECTED: Final = [BEGINS, ENDS_TRACEBACK, CONTINUES, CONTINUES, BEGINS]

    @pytest.mark.parametrize(
        ("name", "key", "beside"),
        [
            ("json", "message", {}),
            ("json", "msg", {}),
            ("json", "textPayload", {}),
            ("fluentbit", "log", {"stream": "stderr"}),
            ("ecs", "message", {"ecs": {"version": "8"}}),
            ("vector", "message", {"source_type": "file"}),
            ("gelf", "short_message", {"level": 3}),
            ("journald", "MESSAGE", {"PRIORITY": "6"}),
        ],
    )
    def test_tell_the_joiner(self, name: str, key: str, beside: dict[str, object]) -> None:
        records = [{key: line, **beside} for line in self.TRACE]
        assert decoded(*records, name=name).parts.tolist() == self.EXPECTED
        assert decoded(*records, {"message": "x", "level": "warn"}).parts.tolist() == [*self.EXPECTED, WHOLE]

    def test_are_those_of_the_message_inside(self) -> None:
        records = [{"log": json.dumps({"msg": line}), "stream": "stdout"} for line in self.TRACE]
        assert decoded(*records).parts.tolist() == self.EXPECTED

    @pytest.mark.parametrize("level", [{"level": "error"}, {"severity": "INFO"}, {"log.level": "warn"}])
    def test_a_record_that_tells_a_severity_is_whole(self, level: dict[str, str]) -> None:
        records = [{"message": line, **level} for line in self.TRACE]
        assert decoded(*records).parts.tolist() == [WHOLE] * 5
        inside = [{"log": json.dumps({"msg": line, **level})} for line in self.TRACE]
        assert decoded(*inside).parts.tolist() == [WHOLE] * 5

    def test_one_of_several_lines_begins(self) -> None:
        whole = "\n".join(self.TRACE[1:])
        assert decoded({"message": whole}, {"message": " " + whole}).parts.tolist() == [BEGINS, BEGINS]
        assert decoded({"message": "failed", "stack_trace": whole}).parts.tolist() == [BEGINS]


class TestNested:
    def test_what_the_application_wrote_stands_before_the_shippers(self) -> None:
        inner = {"msg": "a", "level": "error", "ts": 1795305600.25, "trace_id": "7f", "service": "inner"}
        record = {"log": json.dumps(inner) + "\n", "@timestamp": 1795305601, "level": "info"}
        batch = decoded({**record, "kubernetes": {"labels": {"app": "outer"}}}, record)
        assert batch.lines == [b"a", b"a"]
        assert batch.severities.tolist() == [ERROR, ERROR]
        assert batch.times_ms.tolist() == [NOON_MS + 250] * 2
        assert batch.traces == ["7f", "7f"]
        assert [labels(batch, place) for place in (0, 1)] == [{"service.name": "outer"}, {"service.name": "inner"}]

    def test_what_it_did_not_write_is_the_shippers(self) -> None:
        batch = decoded({"log": '{"msg":"a"}', "@timestamp": 1795305600, "level": "warn"})
        assert (batch.lines, batch.severities.tolist(), batch.times_ms.tolist()) == ([b"a"], [WARNING], [NOON_MS])

    def test_an_object_without_a_message_stays_the_message(self) -> None:
        batch = decoded({"log": '{"status":500,"level":"error"}'})
        assert (batch.lines, batch.severities.tolist()) == ([b'{"status":500,"level":"error"}'], [ERROR])

    def test_what_only_looks_like_an_object_stays_text(self) -> None:
        texts = ["{req-7} a", '{"a":1} {"b":2}', '{"a":', "{}", '{"msg":"a"} b']
        assert decoded(*({"message": text} for text in texts)).lines == [text.encode() for text in texts]

    def test_it_is_opened_once(self) -> None:
        inner = json.dumps({"msg": json.dumps({"msg": "deep"})})
        assert decoded({"log": inner}).lines == [b'{"msg": "deep"}']

    def test_a_stack_trace_inside_comes_behind(self) -> None:
        inner = json.dumps({"message": "a", "stack_trace": "E\n at b"})
        assert decoded({"log": inner}).lines == [b"a\nE\n at b"]


class TestServices:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"service": "a"}, {"service.name": "a"}),
            ({"service.name": "a", "service": "b"}, {"service.name": "a"}),
            (
                {"service": {"name": "a", "environment": "prod", "node": {"name": "n-7"}, "namespace": "x"}},
                {"service.name": "a", "deployment.environment.name": "prod", "service.namespace": "x"},
            ),
            (
                {"service.name": "a", "service.environment": "prod"},
                {"service.name": "a", "deployment.environment.name": "prod"},
            ),
            (
                {"app": "a", "env": "prod", "tenant": 7},
                {"service.name": "a", "deployment.environment.name": "prod", "tenant": "7"},
            ),
            ({"kubernetes": {"labels": {"app.kubernetes.io/name": "a", "app": "b"}}}, {"service.name": "a"}),
            ({"kubernetes": {"labels": {"k8s-app": "a"}, "container_name": "c"}}, {"service.name": "a"}),
            (
                {"kubernetes": {"container_name": "c", "namespace_name": "n", "pod_name": "p-1", "host": "h"}},
                {"service.name": "c", "k8s.namespace.name": "n"},
            ),
            (
                {"kubernetes": {"container": {"name": "c"}, "namespace": "n", "pod": {"name": "p-1"}}},
                {"service.name": "c", "k8s.namespace.name": "n"},
            ),
            (
                {"kubernetes": {"pod_labels": {"app": "a"}, "pod_namespace": "n"}},
                {"service.name": "a", "k8s.namespace.name": "n"},
            ),
            ({"kubernetes": {"deployment": {"name": "a"}, "container": {"name": "c"}}}, {"service.name": "a"}),
            (
                {"resource": {"type": "k8s_container", "labels": {"container_name": "c", "namespace_name": "n"}}},
                {"service.name": "c", "k8s.namespace.name": "n"},
            ),
            ({"service": "a", "host": "h"}, {"service.name": "a"}),
            ({"host": "h"}, {"host.name": "h"}),
            ({"host": {"name": "h"}}, {"host.name": "h"}),
            ({"container_name": "/c", "host": "h"}, {"service.name": "c"}),
            ({"kubernetes": {"namespace_name": "n"}, "app": "a"}, {"service.name": "a"}),
            ({"kubernetes": 5, "service": None, "app": []}, {"service.name": "metrics"}),
            ({}, {"service.name": "metrics"}),
        ],
    )
    def test_are_told_by(self, fields: dict[str, object], expected: dict[str, str]) -> None:
        assert labels(decoded({"message": "a", **fields})) == expected

    def test_pods_of_one_service_share_a_key(self) -> None:
        records = [{"log": "a", "kubernetes": {"labels": {"app": "a"}, "pod_name": f"a-{pod}"}} for pod in range(50)]
        assert len(set(decoded(*records).keys)) == 1

    def test_journalds_unit_goes_without_its_instance_and_a_session_is_none(self) -> None:
        units = ["shop.service", "shop@7.service", "session-7.scope"]
        batch = decoded(*({"MESSAGE": "a", "_SYSTEMD_UNIT": unit, "SYSLOG_IDENTIFIER": "sshd"} for unit in units))
        assert [labels(batch, place)["service.name"] for place in range(3)] == ["shop", "shop", "sshd"]

    def test_bunyans_name_and_gelfs_own_field(self) -> None:
        batch = decoded({"msg": "a", "name": "shop", "v": 0}, {"short_message": "a", "_service": "shop", "host": "h"})
        assert [labels(batch, place) for place in range(2)] == [{"service.name": "shop"}] * 2

    def test_the_default_stands_where_nothing_tells_one(self) -> None:
        batch = decoded({"message": "a"}, {"message": "a", "app": "b"}, paths=LogPaths(service_default="shop"))
        assert [labels(batch, place) for place in range(2)] == [{"service.name": "shop"}, {"service.name": "b"}]

    def test_one_value_at_two_places_is_two_services(self) -> None:
        batch = decoded({"message": "m", "service": "a"}, {"message": "m", "host": "a"}, {"message": "m", "env": "a"})
        assert [labels(batch, place) for place in range(2)] == [{"service.name": "a"}, {"host.name": "a"}]
        assert labels(batch, 2) == labels(decoded({"message": "m"}))

    def test_bytes_that_are_not_utf_8_do_no_harm(self) -> None:
        batch = decoded(b'{"message":"a","service":"sh\xffop"}')
        assert labels(batch) == {"service.name": "sh\ufffdop"}

    def test_the_memo_is_emptied_when_it_is_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("detector.decoders.log_service.MEMO_BYTES_MAX", 2_000)
        records = [{"message": "a", "service": f"s{number}"} for number in range(100)]
        batch = decoded(*records, *records, record_bytes_max=999)
        assert [labels(batch, place)["service.name"] for place in range(200)] == [f"s{n}" for n in range(100)] * 2

    def test_a_key_of_something_else_is_a_fault(self) -> None:
        assert not isinstance(decoder().labels(("logs", b"[]")), NamedLabels)


class TestTimes:
    def test_a_duration_is_no_time(self) -> None:
        assert decoded({"message": "a", "time": 0.125}).times_ms.tolist() == [STAMP_MS]

    def test_the_next_place_counts_where_the_first_has_none(self) -> None:
        assert decoded({"message": "a", "time": 0.125, "@timestamp": "-", "ts": 1795305600}).times_ms.tolist() == [
            NOON_MS
        ]

    def test_none_at_all_is_refused(self) -> None:
        batch = decoder().decode(batch_of([b'{"message":"a"}', b'{"message":"a","ts":1795305600}']))
        assert [(reject.row, reject.reason) for reject in batch.rejects] == [(0, "time_unreadable")]
        assert batch.rows.tolist() == [1]

    def test_too_far_ahead_is_refused_and_what_is_not_stays(self) -> None:
        records = [{"message": "a", "ts": (STAMP_MS + ahead) / 1000} for ahead in (600_000, 601_000)]
        batch = decoded(*records)
        assert [(reject.row, reject.reason) for reject in batch.rejects] == [(1, "too_far_ahead")]
        assert batch.times_ms.tolist() == [STAMP_MS + 600_000]

    def test_a_broker_without_time_cannot_tell_what_is_ahead(self) -> None:
        values = [json.dumps({"message": "a", "ts": 2_500_000_000}).encode()]
        batch = decoder().decode(batch_of(values, timestamp_ms=TIMESTAMP_UNKNOWN))
        assert batch.times_ms.tolist() == [2_500_000_000_000]

    def test_local_times_are_taken_back_to_utc(self) -> None:
        paths = LogPaths(utc_offset_ms=3_600_000)
        records = [{"message": "a", "time": text} for text in ("2026-11-22 01:00:00", "2026-11-22T00:00:00Z")]
        assert decoded(*records, paths=paths).times_ms.tolist() == [NOON_MS, NOON_MS]


class TestPaths:
    PATHS = LogPaths(message="m.text", severity="m.how", time="when", service="who", trace=r"a\.b")

    def test_replace_the_usual_places(self) -> None:
        record = {
            "m": {"text": "x", "how": "warn"},
            "when": 1795305600,
            "who": {"name": "w"},
            "a.b": "7f",
            "message": "y",
        }
        batch = decoded({**record, "level": "error", "service": "s"}, paths=self.PATHS)
        assert (batch.lines, batch.severities.tolist(), batch.times_ms.tolist()) == ([b"x"], [WARNING], [NOON_MS])
        assert (labels(batch), batch.traces) == ({"service.name": "w"}, ["7f"])

    def test_a_record_without_a_message_there_is_refused(self) -> None:
        batch = decoded({"message": "y"}, paths=self.PATHS)
        assert [reject.reason for reject in batch.rejects] == ["missing_field"]
        assert "m.text" in batch.rejects[0].detail

    def test_an_unreadable_time_there_is_refused(self) -> None:
        batch = decoded({"m": {"text": "x"}, "when": "noon"}, {"m": {"text": "x"}}, paths=self.PATHS)
        assert [(reject.row, reject.reason) for reject in batch.rejects] == [(0, "time_unreadable")]
        assert batch.times_ms.tolist() == [STAMP_MS]

    def test_lead_into_the_object_inside_a_message_as_well(self) -> None:
        paths = LogPaths(severity="sev")
        assert decoded({"log": '{"msg":"a","sev":"fatal"}'}, paths=paths).severities.tolist() == [FATAL]

    @pytest.mark.parametrize("path", ['a"b', "a\\\\b", "a\nb"])
    def test_what_cannot_be_a_key_is_a_usage_error(self, path: str) -> None:
        with pytest.raises(UsageError, match="quotation mark"):
            decoder("json", LogPaths(message=path))

    @pytest.mark.parametrize("name", ["auto", "fluentbit", "json"])
    def test_an_empty_part_is_a_usage_error(self, name: str) -> None:
        with pytest.raises(UsageError, match=r"logs\.paths: .* has an empty part"):
            decoder(name, LogPaths(message="a..b"))


class TestTraces:
    @pytest.mark.parametrize(
        "fields",
        [
            {"trace_id": "7f"},
            {"traceId": "7f"},
            {"trace.id": "7f"},
            {"trace": {"id": "7f"}},
            {"dd": {"trace_id": "7f"}},
        ],
    )
    def test_are_found_at(self, fields: dict[str, object]) -> None:
        assert decoded({"message": "a", **fields}, {"message": "b"}).traces == ["7f", None]

    def test_zeros_and_what_is_no_id_are_none(self) -> None:
        values: list[object] = ["0000", "", "x" * 200, "é", ["a"], True, "a\nb"]
        assert decoded(*({"message": "a", "trace_id": value} for value in values)).traces is None


class TestRecords:
    def test_an_array_is_many_lines_in_its_order(self) -> None:
        batch = decoded([{"message": "a"}, {"short_message": "b"}, {"message": "c"}, {"level": 3}], {"msg": "d"})
        assert batch.lines == [b"a", b"b", b"c", b"d"]
        assert batch.rows.tolist() == [0, 0, 0, 1]
        assert [(reject.row, reject.reason) for reject in batch.rejects] == [(0, "missing_field")]
        assert batch.formats == {"json": 2}

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (None, "empty"),
            (b"", "empty"),
            (b" \n", "empty"),
            (b"[]", "empty"),
            (b"5", "wrong_type"),
            (b'"a"', "wrong_type"),
            (b'{"message":"a"', "invalid_json"),
            (b'{"message":"a"} {"message":"b"}', "invalid_json"),
            (b'{"message":"' + b"a" * 2_000 + b'"}', "too_large"),
            (b'{"level":"info"}', "missing_field"),
        ],
    )
    def test_a_bad_one_is_refused_and_the_good_ones_stay(self, value: bytes | None, reason: str) -> None:
        good = {"message": "a", "ts": 1795305600}
        batch = decoded(good, value, good, record_bytes_max=1_000)
        assert [(reject.row, reject.reason) for reject in batch.rejects] == [(1, reason)]
        assert (batch.rows.tolist(), batch.lines) == ([0, 2], [b"a", b"a"])

    def test_two_records_that_swap_their_halves_stay_two_bad_ones(self) -> None:
        batch = decoded(b'{"message":"a"}\n{"message":"b"}', b"")
        assert [reject.reason for reject in batch.rejects] == ["invalid_json", "empty"]

    @pytest.mark.parametrize(
        ("value", "line"),
        [
            (b'{"message":"a\xffb"}', "a\ufffdb".encode()),
            (b'{"message":"a\tb"}', b"a\tb"),
            (b'{"message":"a","x":NaN}', b"a"),
            (b'{"message":"a","level":1e999}', b"a"),
            (b'{"message":"a\\ud800"}', b"a?"),
            (b'{"message":"a"}\r\n', b"a"),
        ],
    )
    def test_what_careless_producers_write_is_mended(self, value: bytes, line: bytes) -> None:
        batch = decoded(value)
        assert (batch.lines, list(batch.rejects)) == ([line], [])

    def test_no_string_goes_on_in_the_next_record(self) -> None:
        batch = decoded(b'{"message":"}', b'{"}', b'{"message":"b"}\n{"message":"c"}')
        assert (batch.lines, [reject.reason for reject in batch.rejects]) == ([], ["invalid_json"] * 3)

    def test_records_that_end_with_a_newline_need_no_pieces(self) -> None:
        assert not decoded(b'{"message":"a"}\n', b'{"message":"b"}\n').in_pieces
        assert decoded(b'{"message":"a"}', b"-").in_pieces

    def test_records_of_several_lines_need_no_pieces(self) -> None:
        batch = decoded(json.dumps({"message": "a", "host": {"name": "h"}}, indent=2).encode(), {"message": "b"})
        assert (batch.lines, batch.in_pieces) == ([b"a", b"b"], False)


@given(st.lists(st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["0" * 32, "0a", "a" * 129]), st.integers())))
def test_trace_ids_of_a_column_are_those_of_each(values: list[object]) -> None:
    assert traces_of(values) == [trace_of(value) for value in values]
