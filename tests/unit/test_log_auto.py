"""What auto takes records for, one by one."""

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_registry import LOG_DECODERS
from detector.log_batches import LogBatch
from tests.streams import batch_of

STAMP_MS = 1_767_355_200_000


def decoded(*values: bytes | None) -> LogBatch:
    decoder = LOG_DECODERS["auto"](LogPaths(), LogDecoderLimits())
    return decoder.decode(batch_of(list(values), timestamp_ms=STAMP_MS))


def request() -> bytes:
    message = ExportLogsServiceRequest()
    record = message.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=STAMP_MS * 10**6)
    record.body.string_value = "from otlp"
    serialized: bytes = message.SerializeToString()
    return serialized


CASES = [
    (b'{"message":"x"}', "json"),
    (b' [{"message":"x"}]', "json"),
    (b"<13>Jan  2 11:00:00 host su[1]: x", "syslog"),
    (b"<13>1 2026-01-02T11:00:00Z h a - - - x", "syslog"),
    (b"Jan  2 11:00:00 host su[1]: x", "syslog"),
    (b"2026-01-02T11:00:00.123456789Z stdout F x", "cri"),
    (b"level=info msg=x", "logfmt"),
    (b"2026-01-02 11:00:00 INFO x", "plain"),
    (b"[2026-01-02 11:00:00] x", "plain"),
    (b"Jan  2 11:00:00 x", "plain"),
    (b"<html>", "plain"),
    (b"a=b and more", "plain"),
    (b"\tat x", "plain"),
    (b"\nx", "plain"),
]


@pytest.mark.parametrize(("record", "name"), CASES)
def test_a_record_is_taken_for_what_its_first_bytes_say(record: bytes, name: str) -> None:
    found = decoded(record)
    assert dict(found.formats) == {name: 1}
    assert not found.rejects


def test_a_request_in_protobuf_is_one() -> None:
    found = decoded(request())
    assert (found.lines, dict(found.formats)) == ([b"from otlp"], {"otlp_proto": 1})


def test_company_changes_nothing_and_the_order_is_that_of_the_records() -> None:
    records = [record for record, _ in CASES] + [request()]
    found = decoded(*records)
    alone = [decoded(record) for record in records]
    assert found.rows.tolist() == list(range(len(records)))
    assert found.lines == [line for batch in alone for line in batch.lines]
    assert found.keys == [key for batch in alone for key in batch.keys]
    assert found.times_ms.tolist() == [time for batch in alone for time in batch.times_ms.tolist()]


def test_rejects_of_all_formats_are_in_order() -> None:
    found = decoded(None, b"x", b"{broken", b"", b"\n")
    assert [(reject.row, reject.reason) for reject in found.rejects] == [
        (0, "empty"),
        (2, "invalid_json"),
        (3, "empty"),
        (4, "empty"),
    ]


def test_an_empty_batch_is_one() -> None:
    assert len(decoded()) == 0
