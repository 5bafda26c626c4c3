"""Laws of every log decoder: it never raises, accounts for every record, and does not see batch cuts.

A format brings a strategy for its good records in ``GOOD``; what is broken, torn, glued or of another format is made of
those here.
"""

import functools
import json
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from detector.batches import Reject, SeriesKey
from detector.decoders import NamedLabels
from detector.decoders.log_decoder import LogDecoder, LogDecoderLimits, LogPaths
from detector.decoders.log_registry import LOG_DECODERS
from detector.log_batches import CONTINUES, ENDS_TRACEBACK, SEVERITY_CLASSES, LogBatch
from tests.streams import batch_of, cuts

STAMP_MS = 1_795_305_600_000
RECORD_BYTES_MAX = 400
LINE_BYTES_MAX = 20

words = st.sampled_from(
    ["pool exhausted", "user 7 in", "", "a\nat b(C.java:3)", '{"msg":"x"}', "é", '{"level":"error"}']
)
times = st.sampled_from([1795305600, 1795305600.25, "2026-11-22T00:00:00Z", "2026-11-22 00:00:00,5"])
levels = st.sampled_from(["info", "ERROR", "W", 3, 30, "17"])


def _json_of(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[bytes]:
    return st.fixed_dictionaries(fields).map(lambda value: json.dumps(value).encode())


def _otlp_json(text: str, level: int, service: str) -> bytes:
    record = {"timeUnixNano": str(STAMP_MS * 10**6), "severityNumber": level, "body": {"stringValue": text}}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    request = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}
    return json.dumps(request).encode()


def _otlp_proto(text: str, level: int, service: str) -> bytes:
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    group.resource.attributes.add(key="service.name").value.string_value = service
    record = group.scope_logs.add().log_records.add(time_unix_nano=STAMP_MS * 10**6)
    record.severity_number = level
    record.body.string_value = text or "-"
    serialized: bytes = request.SerializeToString()
    return serialized


def _loki(text: str, level: str) -> bytes:
    stream = {"stream": {"app": "shop", "level": level}, "values": [[str(STAMP_MS * 10**6), text]]}
    return json.dumps({"streams": [stream]}).encode()


fluentbit = _json_of(**{"@timestamp": times, "log": words, "kubernetes": st.just({"labels": {"app": "shop"}})})
gelf = _json_of(short_message=words, timestamp=times, level=levels, host=st.just("h"))
plain = _json_of(message=words, level=levels, time=times, service=st.sampled_from(["a", "b"]), trace_id=st.just("7f"))
texts = st.sampled_from(
    ["pool exhausted", "ERROR user 7 in", "\tat b(C.java:3)", "Traceback", "KeyError: 7", "\x1b[1mé"]
)
headers = st.sampled_from(
    ["2026-11-22T00:00:00,5 ", "[2026/11/22 00:00:00] ", "Nov 22 00:00:00 ", "I1122 00:00:00 ", ""]
)
rests = st.sampled_from(["", "\n", "\r\n", "\n\tat b(C.java:3)", "\nnext", "\n\n2026-11-22 00:00:01 next"])
text = st.tuples(headers, texts, rests).map(lambda parts: "".join(parts).encode())
syslog = st.builds(
    lambda header, word, rest: (header + word + rest).encode(),
    st.sampled_from(
        [
            "<13>1 2026-11-22T00:00:00Z h app 7 - - ",
            '<34>1 - - - - - [a b="]"] ',
            "<30>Nov 22 00:00:00 h app[7]: ",
            "Nov 22 00:00:00 h app: ",
        ]
    ),
    texts,
    rests,
)
logfmt = st.builds(
    lambda level, word, rest: f'ts=2026-11-22T00:00:00Z level={level} app=x msg="{word}" traceID=7f{rest}'.encode(),
    levels,
    st.sampled_from(["pool", 'a \\"b\\"', "a\\nat b"]),
    st.sampled_from(["", "\n", " x", ' y="']),
)
cri = st.builds(
    lambda stream, tag, word: f"2026-11-22T00:00:00.123456789Z {stream} {tag} {word}".encode(),
    st.sampled_from(["stdout", "stderr"]),
    st.sampled_from("FFP"),
    st.one_of(texts, words.filter(lambda word: "\n" not in word), st.just("level=warn msg=pool")),
)
GOOD: Final[dict[str, st.SearchStrategy[bytes]]] = {
    "json": st.one_of(
        plain,
        fluentbit,
        gelf,
        _json_of(msg=words, ts=times),
        _json_of(event=words, **{"@timestamp": times}),
        _json_of(**{"@mt": words, "@t": times}),
        _json_of(textPayload=words),
        st.builds(_otlp_json, words, st.integers(0, 24), st.just("shop")),
        st.builds(_loki, words, st.just("warn")),
    ),
    "fluentbit": fluentbit,
    "ecs": _json_of(message=words, log=st.just({"level": "error"}), **{"@timestamp": times}),
    "vector": _json_of(message=words, source_type=st.just("kubernetes_logs"), timestamp=times),
    "gelf": gelf,
    "journald": _json_of(MESSAGE=words, PRIORITY=st.sampled_from("01234567"), _SYSTEMD_UNIT=st.just("a.service")),
    "otlp_json": st.builds(_otlp_json, words, st.integers(0, 24), st.sampled_from(["a", "b"])),
    "otlp_proto": st.builds(_otlp_proto, words, st.integers(0, 24), st.sampled_from(["a", "b"])),
    "loki": st.builds(_loki, words, st.sampled_from(["warn", "?"])),
    "plain": text,
    "otlp_raw": text,
    "syslog": syslog,
    "logfmt": logfmt,
    "cri": cri,
    "auto": st.one_of(plain, text, syslog, logfmt, cri, st.builds(_otlp_proto, words, st.integers(0, 9), st.just("a"))),
}
"""Format -> records of which every one decodes, each shorter than ``RECORD_BYTES_MAX``."""

KEYS: Final = (
    *("message", "log", "msg", "event", "short_message", "full_message", "MESSAGE", "@mt", "source_type", "ecs"),
    *("level", "severity", "time", "@timestamp", "timestamp", "__REALTIME_TIMESTAMP", "service", "kubernetes", "host"),
    *("trace", "trace_id", "error", "exception", "stack_trace", "resourceLogs", "streams", "labels", "instant", "env"),
)
scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["NaN", "1795305600", "2026-11-22T00:00:00Z", '{"message":"inner","level":"warn"}', "\ud800"]),
)
leaf: st.SearchStrategy[object] = st.recursive(
    scalar,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "level", "id", "labels", "app", "values", "stream", "x"]), inner, max_size=3
        ),
    ),
    max_leaves=5,
)
objects = st.dictionaries(st.sampled_from(KEYS), leaf, max_size=5)


def _torn(value: bytes) -> list[bytes]:
    middle = len(value) // 2
    return [value[:middle], value[middle:]]


def _python_json(value: object) -> bytes:
    return json.dumps(value).encode()


def record_of(name: str) -> st.SearchStrategy[bytes | None]:
    """Records as a topic of this format may hold them."""
    good = GOOD[name]
    return st.one_of(
        good,
        good,
        good,
        objects.map(_python_json),
        objects.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
        st.lists(objects, max_size=3).map(_python_json),
        st.sampled_from(sorted(GOOD)).flatmap(GOOD.__getitem__),
        st.binary(max_size=40),
        st.none(),
        st.lists(good, min_size=2, max_size=3).map(b"".join),
        st.lists(good, min_size=2, max_size=3).map(b"\n".join),
        st.lists(good, min_size=1, max_size=3).map(lambda values: b"[" + b",".join(values) + b"]"),
        good.map(lambda value: value + b"\n"),
        good.map(lambda value: _torn(value)[0]),
        good.map(lambda value: _torn(value)[1]),
        good.map(lambda value: value.replace(b"e", b"\xff")),
    )


def new_decoder(name: str) -> LogDecoder:
    """One that has seen nothing."""
    limits = LogDecoderLimits(record_bytes_max=RECORD_BYTES_MAX, line_bytes_max=LINE_BYTES_MAX)
    return LOG_DECODERS[name](LogPaths(), limits)


decoder_of = functools.cache(new_decoder)
"""One that has seen what earlier examples had, which must not show."""
every_decoder = pytest.mark.parametrize("name", sorted(LOG_DECODERS))

Line = tuple[int, SeriesKey, int, int, bytes, int, str | None]
Refusal = tuple[int, str, str]


def lines_of(batch: LogBatch) -> list[Line]:
    """Lines with offsets instead of rows."""
    return list(
        zip(
            batch.offsets.tolist(),
            batch.keys,
            batch.times_ms.tolist(),
            batch.severities.tolist(),
            batch.lines,
            batch.parts.tolist(),
            batch.traces or [None] * len(batch),
            strict=True,
        )
    )


def refusals_of(batch: LogBatch) -> list[Refusal]:
    """Rejects without their rows."""
    return [(reject.offset, reject.reason, reject.detail) for reject in batch.rejects]


def test_every_registered_decoder_is_tried() -> None:
    assert set(GOOD) == set(LOG_DECODERS)


@every_decoder
@settings(derandomize=True, deadline=None, max_examples=40)
@given(data=st.data())
def test_accounts_for_every_record_and_never_raises(name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(record_of(name), max_size=36))
    decoder = decoder_of(name)
    found = decoder.decode(batch_of(values, first_offset=5, timestamp_ms=STAMP_MS))
    rejected = [reject.row for reject in found.rejects]
    assert rejected == sorted(set(rejected))
    assert sorted(set(found.rows.tolist()) | set(rejected)) == list(range(len(values)))
    assert all(isinstance(reject, Reject) and reject.offset == reject.row + 5 for reject in found.rejects)
    assert found.rows.tolist() == sorted(found.rows.tolist())
    assert found.offsets.tolist() == [row + 5 for row in found.rows.tolist()]
    assert all(len(line) <= LINE_BYTES_MAX for line in found.lines)
    assert found.severities.dtype == found.parts.dtype == np.int8
    assert all(0 <= severity < len(SEVERITY_CLASSES) for severity in found.severities.tolist())
    assert sum(found.formats.values()) <= len(values)
    assert all(isinstance(decoder.labels(key), NamedLabels) for key in found.keys)


@every_decoder
@settings(derandomize=True, deadline=None, max_examples=40)
@given(data=st.data(), sizes=st.lists(st.integers(1, 40), max_size=20))
def test_any_cut_of_the_stream_gives_the_same_lines_and_rejects(
    name: str, data: st.DataObject, sizes: list[int]
) -> None:
    values = data.draw(st.lists(record_of(name), max_size=36))
    whole = new_decoder(name).decode(batch_of(values, timestamp_ms=STAMP_MS))
    decoder = decoder_of(name)
    lines: list[Line] = []
    refusals: list[Refusal] = []
    formats: dict[str, int] = {}
    lines_cut = 0
    for batch in cuts(values, sizes, timestamp_ms=STAMP_MS):
        part = decoder.decode(batch)
        lines += lines_of(part)
        refusals += refusals_of(part)
        lines_cut += part.lines_cut
        for format_name, count in part.formats.items():
            formats[format_name] = formats.get(format_name, 0) + count
    assert (lines, refusals, lines_cut) == (lines_of(whole), refusals_of(whole), whole.lines_cut)
    assert formats == whole.formats


@every_decoder
@settings(derandomize=True, deadline=None, max_examples=60)
@given(data=st.data())
def test_a_record_alone_equals_the_same_record_in_company(name: str, data: st.DataObject) -> None:
    value, company = data.draw(record_of(name)), data.draw(GOOD[name])
    decoder = decoder_of(name)
    alone = decoder.decode(batch_of([value], first_offset=3, timestamp_ms=STAMP_MS))
    among = decoder.decode(batch_of([company] * 3 + [value] + [company] * 70, timestamp_ms=STAMP_MS))
    assert [line for line in lines_of(among) if line[0] == 3] == lines_of(alone)
    assert refusals_of(among) == refusals_of(alone)


@every_decoder
@settings(derandomize=True, deadline=None, max_examples=40)
@given(data=st.data())
def test_a_good_record_gives_lines_of_nameable_services(name: str, data: st.DataObject) -> None:
    decoder = decoder_of(name)
    found = decoder.decode(batch_of([data.draw(GOOD[name])], timestamp_ms=STAMP_MS))
    assert len(found) >= 1
    assert not found.rejects
    assert sum(found.formats.values()) == 1
    labels = [decoder.labels(key) for key in found.keys]
    assert all(isinstance(one, NamedLabels) and one.name == "logs" and one.labels for one in labels)


@every_decoder
@settings(derandomize=True, deadline=None, max_examples=40)
@given(data=st.data())
def test_what_is_not_told_a_time_has_none(name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(record_of(name), max_size=20))
    found = decoder_of(name).decode(batch_of(values))
    goes_on = np.isin(found.parts, [CONTINUES, ENDS_TRACEBACK])
    assert ((found.times_ms >= 0) | goes_on).all()
