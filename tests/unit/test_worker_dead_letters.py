"""Dead letters byte for byte, and the guard that stops when there are too many."""

from functools import partial

import numpy as np
import pytest

from detector import __version__
from detector.batches import Envelope, RecordBatch, Reject
from detector.errors import RejectRatioError
from detector.ports import TopicPartition
from detector.worker.dead_letters import RejectGuard, dead_letter

PLACE = TopicPartition("input", 3)


def envelope_of(envelope: Envelope, _row: int) -> Envelope:
    return envelope


def batch(value: bytes | None, envelope: Envelope = Envelope(None, ())) -> RecordBatch:  # noqa: B008  # a constant
    offsets, timestamps_ms = np.array([41, 42]), np.array([-1, 1_700_000_000_000])
    return RecordBatch("input", 3, offsets, timestamps_ms, [b"", value], partial(envelope_of, envelope))


REJECT = Reject(1, 42, "invalid_json", "unexpected \ud800 character")


class TestDeadLetter:
    def test_carries_the_record_as_it_was_and_says_what_was_wrong_and_where(self) -> None:
        headers = (("trace", b"\x00\xff"), ("empty", None))
        message = dead_letter("dlq", batch(b"\xffbytes", Envelope(b"\xfe", headers)), REJECT, bytes_max=1_000)
        assert message.topic == "dlq"
        assert message.key == b"\xfe"
        assert message.value == b"\xffbytes"
        assert message.headers == (
            *headers,
            ("detector-reason", b"invalid_json"),
            ("detector-detail", b"unexpected ? character"),
            ("detector-topic", b"input"),
            ("detector-partition", b"3"),
            ("detector-offset", b"42"),
            ("detector-timestamp-ms", b"1700000000000"),
            ("detector-version", __version__.encode()),
        )

    def test_of_a_tombstone_is_a_tombstone(self) -> None:
        assert dead_letter("dlq", batch(None), REJECT, bytes_max=1_000).value is None

    def test_of_a_huge_record_is_cut_and_tells_its_true_size(self) -> None:
        message = dead_letter("dlq", batch(b"x" * 5_000, Envelope(b"key", ())), REJECT, bytes_max=1_000)
        assert message.key == b"key"
        assert message.value is not None
        assert message.value == b"x" * len(message.value)
        assert 500 < len(message.value) < 1_000
        assert dict(message.headers)["detector-value-bytes"] == b"5000"

    def test_of_a_record_of_mostly_headers_keeps_the_value(self) -> None:
        envelope = Envelope(b"key", (("big", b"h" * 5_000),))
        message = dead_letter("dlq", batch(b"value", envelope), REJECT, bytes_max=1_000)
        assert message.key is None
        assert message.value == b"value"
        assert message.headers[0][0] == "detector-reason"
        assert dict(message.headers)["detector-envelope-bytes"] == b"5006"


class TestRejectGuard:
    def guard(self) -> RejectGuard:
        return RejectGuard(PLACE, ratio_max=0.5, window_records=100)

    def rejects(self, count: int) -> list[Reject]:
        return [REJECT] * count

    def test_stays_calm_at_the_ratio_and_stops_above_it(self) -> None:
        guard = self.guard()
        guard.add(100, self.rejects(50))
        with pytest.raises(
            RejectRatioError, match=r"51 of the last 100 records of input\[3\].*offset 42: invalid_json"
        ):
            self.guard().add(100, self.rejects(51))

    def test_does_not_judge_the_first_few_records(self) -> None:
        guard = self.guard()
        guard.add(9, self.rejects(9))
        with pytest.raises(RejectRatioError):
            guard.add(1, self.rejects(1))

    def test_forgets_what_has_left_the_window(self) -> None:
        guard = self.guard()
        guard.add(100, self.rejects(50))
        guard.add(100, self.rejects(0))
        for _ in range(5):
            guard.add(10, self.rejects(10))
        guard.add(10, self.rejects(0))
        with pytest.raises(RejectRatioError):
            guard.add(40, self.rejects(40))

    def test_can_stop_at_a_batch_without_rejects_and_names_the_last_one(self) -> None:
        guard = self.guard()
        guard.add(80, self.rejects(0))
        guard.add(70, self.rejects(70))
        with pytest.raises(RejectRatioError, match="70 of the last 100 records"):
            guard.add(30, self.rejects(0))
