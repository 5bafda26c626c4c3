"""Text logs: times in every layout, headers, levels, and what a record of several lines is."""

from datetime import date, time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detector.batches import TIMESTAMP_UNKNOWN
from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_join import Joiner
from detector.decoders.log_line_parts import line_parts
from detector.decoders.log_registry import LOG_DECODERS
from detector.decoders.log_text_marks import goes_on, names_exception
from detector.decoders.values import time_ms as rfc3339_ms
from detector.log_batches import BEGINS, CONTINUES, ENDS_TRACEBACK, PARTIAL, WHOLE, LogBatch
from detector.templates import continues
from tests.streams import batch_of

NOON_MS = 1_767_355_200_000  # 2026-01-02T12:00:00Z


def decoded(
    name: str,
    *values: bytes | None,
    stamp_ms: int = NOON_MS,
    paths: LogPaths | None = None,
    limits: LogDecoderLimits | None = None,
) -> LogBatch:
    decoder = LOG_DECODERS[name](paths or LogPaths(), limits or LogDecoderLimits())
    return decoder.decode(batch_of(list(values), timestamp_ms=stamp_ms))


def reasons(batch: LogBatch) -> list[str]:
    return [reject.reason for reject in batch.rejects]


class TestTimes:
    @pytest.mark.parametrize(
        ("header", "text"),
        [
            ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
            ("2026-01-02t03:04:05.678901234+01:00", "2026-01-02T02:04:05.678Z"),
            ("2026-01-02 03:04:05,678", "2026-01-02T03:04:05.678Z"),
            ("2026-01-02 03:04:05 -0530", "2026-01-02T08:34:05Z"),
            ("2026-01-02 03:04:05.5+00", "2026-01-02T03:04:05.5Z"),
            ("2026-01-02 03:04:05.5 UTC", "2026-01-02T03:04:05.5Z"),
            ("2026/01/02 03:04:05", "2026-01-02T03:04:05Z"),
            ("[2026-01-02 03:04:05]", "2026-01-02T03:04:05Z"),
            ("[02/Jan/2026:03:04:05 +0100]", "2026-01-02T02:04:05Z"),
            ("02-Jan-2026 03:04:05.123", "2026-01-02T03:04:05.123Z"),
            ("02 Jan 2026 03:04:05.123", "2026-01-02T03:04:05.123Z"),
            ("[Fri Jan 02 03:04:05.123456 2026]", "2026-01-02T03:04:05.123Z"),
            ("Fri, 02 Jan 2026 03:04:05 GMT", "2026-01-02T03:04:05Z"),
            ("Jan  2 03:04:05", "2026-01-02T03:04:05Z"),
            ("Dec 31 23:59:59", "2025-12-31T23:59:59Z"),
            ("260102 030405", "2026-01-02T03:04:05Z"),
            ("26/01/02 03:04:05", "2026-01-02T03:04:05Z"),
            ("20260102T030405Z", "2026-01-02T03:04:05Z"),
            ("1767323045", "2026-01-02T03:04:05Z"),
            ("1767323045.25", "2026-01-02T03:04:05.25Z"),
            ("1767323045123", "2026-01-02T03:04:05.123Z"),
            ("1767323045123456789", "2026-01-02T03:04:05.123Z"),
            ("03:04:05.678", "2026-01-02T03:04:05.678Z"),
        ],
    )
    def test_a_leading_time_is_read_and_cut(self, header: str, text: str) -> None:
        found = decoded("plain", f"{header} user 7 in".encode())
        assert found.times_ms.tolist() == [rfc3339_ms(text)]
        assert found.lines == [b"user 7 in"]

    @pytest.mark.parametrize(
        "line",
        [
            b"2026-13-02 03:04:05 x",
            b"2025-02-29 03:04:05 x",
            b"2026-01-02 24:04:05 x",
            b"4155551234 called",
            b"12 monkeys",
            b"0001-01-01 00:00:00 x",
            b"May be",
            b"1:2:3",
        ],
    )
    def test_what_is_no_time_stays_and_the_broker_tells_it(self, line: bytes) -> None:
        found = decoded("plain", line)
        assert found.lines == [line]
        assert found.times_ms.tolist() == [NOON_MS]

    def test_a_year_is_the_one_next_to_the_broker(self) -> None:
        silvester_ms = rfc3339_ms("2025-12-31T23:59:00Z")
        assert silvester_ms is not None
        found = decoded("plain", b"Jan  1 00:00:01 x", stamp_ms=silvester_ms)
        assert found.times_ms.tolist() == [rfc3339_ms("2026-01-01T00:00:01Z")]

    def test_without_a_year_and_a_broker_there_is_no_time(self) -> None:
        found = decoded("plain", b"Jan  1 00:00:01 x", b"00:00:01 x", stamp_ms=TIMESTAMP_UNKNOWN)
        assert reasons(found) == ["time_unreadable"] * 2

    def test_local_times_are_ahead_of_utc_as_told(self) -> None:
        paths = LogPaths(utc_offset_ms=7_200_000)
        found = decoded("plain", b"2026-01-02 12:00:00 x", b"2026-01-02T12:00:00Z x", b"12:00:00 x", paths=paths)
        assert found.times_ms.tolist() == [NOON_MS - 7_200_000, NOON_MS, NOON_MS - 7_200_000]

    def test_a_time_far_ahead_of_the_broker_is_refused(self) -> None:
        found = decoded("plain", b"2026-01-02 12:10:00 x", b"2026-01-02 12:10:01 x")
        assert found.rows.tolist() == [0]
        assert [reject[2:] for reject in found.rejects] == [
            ("too_far_ahead", "time is 601 s after the record's timestamp, 600 s allowed")
        ]

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(day=st.dates(date(1970, 1, 2), date(2261, 12, 31)), clock=st.times())
    def test_every_day_is_where_the_calendar_has_it(self, day: date, clock: time) -> None:
        text = f"{day} {clock.replace(microsecond=0)}"
        found = decoded("plain", f"{text} x".encode(), stamp_ms=TIMESTAMP_UNKNOWN)
        assert found.times_ms.tolist() == [rfc3339_ms(text)]


class TestPlain:
    def test_level_and_what_stands_before_the_time_stay(self) -> None:
        found = decoded(
            "plain",
            b"INFO 2026-01-02 11:00:00 [main] up",
            b"[WARN] [2026-01-02 11:00:00] low",
            b'10.0.0.1 - bob [02/Jan/2026:11:00:00 +0000] "GET / HTTP/1.1" 200',
        )
        assert found.lines == [b"INFO [main] up", b"[WARN] low", b'10.0.0.1 - bob "GET / HTTP/1.1" 200']
        assert found.times_ms.tolist() == [NOON_MS - 3_600_000] * 3

    def test_a_letter_of_klog_is_a_severity(self) -> None:
        found = decoded("plain", *(letter + b"0102 11:00:00.000001 1 f.go:3] x" for letter in (b"I", b"W", b"E", b"F")))
        assert found.severities.tolist() == [2, 3, 4, 5]
        assert found.lines == [b"1 f.go:3] x"] * 4

    def test_colours_and_carriage_returns_are_left_out(self) -> None:
        assert decoded("plain", b"\x1b[32m2026-01-02 11:00:00\x1b[0m ok\r", b"\x1b]x").lines == [b"ok", b"\x1b]x"]

    def test_bytes_that_are_no_text_pass(self) -> None:
        assert decoded("plain", b"\xff\xfe").lines == [b"\xff\xfe"]

    def test_the_service_is_the_topic_or_the_one_told(self) -> None:
        decoder = LOG_DECODERS["plain"](LogPaths(), LogDecoderLimits())
        key = decoder.decode(batch_of([b"x"], timestamp_ms=1)).keys[0]
        assert decoder.labels(key) == ("logs", {"service.name": "metrics"})
        named = decoded("plain", b"x", paths=LogPaths(service_default="shop"))
        assert decoder.labels(named.keys[0]) == ("logs", {"service.name": "shop"})

    def test_empty_and_large_records_are_refused(self) -> None:
        found = decoded("plain", None, b"", b" \r\n", b"x" * 9, b"y", limits=LogDecoderLimits(record_bytes_max=8))
        assert reasons(found) == ["empty", "empty", "empty", "too_large"]
        assert found.lines == [b"y"]

    def test_long_lines_are_cut_and_counted(self) -> None:
        found = decoded("plain", b"12345", b"1234", limits=LogDecoderLimits(line_bytes_max=4))
        assert found.lines == [b"1234", b"1234"]
        assert found.lines_cut == 1


class TestManyLines:
    def test_a_record_with_one_header_is_one_message(self) -> None:
        found = decoded("plain", b"2026-01-02 11:00:00 boom\r\njava.io.IOException: x\n\tat a.B(C)\n\n")
        assert found.lines == [b"boom\njava.io.IOException: x\n\tat a.B(C)"]

    def test_a_chunk_of_a_file_is_as_many_lines_as_have_headers(self) -> None:
        found = decoded("plain", b"2026-01-02 11:00:00 a\n b\n2026-01-02 11:00:01 c\n")
        assert found.lines == [b"a\n b", b"c"]
        assert found.rows.tolist() == [0, 0]

    def test_lines_without_headers_are_each_their_own_but_for_what_goes_on(self) -> None:
        assert decoded("plain", b"one\ntwo\n\tat x\nthree").lines == [b"one", b"two\n\tat x", b"three"]

    def test_a_traceback_in_a_record_ends_with_its_exception(self) -> None:
        lines = decoded("plain", b"oops\nTraceback (most\n  File\nKeyError: 1\nValueError: 2").lines
        assert lines == [b"oops\nTraceback (most\n  File\nKeyError: 1", b"ValueError: 2"]

    def test_parts_tell_the_joiner(self) -> None:
        found = decoded("plain", b"one", b"\tat x", b"KeyError: 1", b"2026-01-02 11:00:00 KeyError: 1")
        assert found.parts.tolist() == [BEGINS, CONTINUES, ENDS_TRACEBACK, BEGINS]

    def test_a_line_that_goes_on_needs_no_time(self) -> None:
        found = decoded("plain", b"\tat x", b"x\ny", stamp_ms=TIMESTAMP_UNKNOWN)
        assert found.times_ms.tolist() == [-1]
        assert reasons(found) == ["time_unreadable"]

    @pytest.mark.parametrize(
        "line", [b"java.io.IOException: reset", b"more of it", b"more of it\n", b"KeyError: 1\r\n"]
    )
    def test_in_a_file_what_has_no_time_goes_on_with_the_line_before(self, line: bytes) -> None:
        timed = b"2026-01-02 11:00:00 boom"
        found = decoded("plain", timed, line, stamp_ms=TIMESTAMP_UNKNOWN)
        assert (found.parts.tolist(), found.times_ms.tolist()[1], found.rejects) == ([BEGINS, CONTINUES], -1, [])
        assert decoded("plain", timed, line).parts.tolist()[1] in {BEGINS, ENDS_TRACEBACK}

    def test_a_fault_in_one_line_leaves_the_others(self) -> None:
        found = decoded("plain", b"2026-01-02 11:00:00 a\n2027-01-02 11:00:00 b\n c\n2026-01-02 11:00:01 d")
        assert found.lines == [b"a", b"d"]
        assert reasons(found) == ["too_far_ahead"]

    @settings(derandomize=True, deadline=None, max_examples=500)
    @given(
        line=st.lists(
            st.sampled_from(
                [
                    "Caused by: ",
                    "Uncaught ",
                    'Exception in thread "',
                    '" ',
                    "Unhandled exception. ",
                    "at ",
                    " ",
                    "\t",
                    "Traceback",
                    "java.",
                    "a\\",
                    "Io",
                    "Exception",
                    "Error",
                    "Exit",
                    ":",
                    "$",
                    "_",
                    "9",
                    ".",
                    "x",
                    "\r",
                    "-",
                ]
            ),
            max_size=6,
        ).map(lambda parts: "".join(parts).encode())
    )
    @example(line=b"")
    @example(line=b"Error")
    @example(line=b"shop.OutOfStockError \r")
    def test_what_goes_on_is_what_the_templates_take_for_it(self, line: bytes) -> None:
        text = np.frombuffer(line, np.uint8)
        assert goes_on(text, 0, len(text)) == continues(line)
        in_traceback = goes_on(text, 0, len(text)) or names_exception(text, 0, len(text))
        assert in_traceback == continues(line, in_traceback=True)

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(
        lines=st.lists(
            st.sampled_from(
                [
                    b"",
                    b"x",
                    b" x",
                    b"\tat x",
                    b"at x",
                    b"Caused by: x",
                    b"Traceback",
                    b"KeyError: 1",
                    b"a.B: 1",
                    b"KeyError",
                    b"a\nb",
                    b" a\nb",
                    b"KeyError: 1\n at x",
                    b"KeyError\n",
                ]
            )
        )
    )
    def test_messages_are_marked_by_the_same_rule_a_batch_at_once(self, lines: list[bytes]) -> None:
        expected = []
        for line in lines:
            part = ENDS_TRACEBACK if continues(line, in_traceback=True) else BEGINS
            part = CONTINUES if continues(line) else part
            expected.append(BEGINS if b"\n" in line else part)
        untold = np.zeros(len(lines), np.int8)
        assert line_parts(lines, untold, None).tolist() == expected
        assert line_parts(lines, untold + 2, None).tolist() == [WHOLE] * len(lines)
        streamed = np.arange(len(lines)) % 2 == 0
        mixed = [part if at % 2 == 0 else WHOLE for at, part in enumerate(expected)]
        assert line_parts(lines, untold + 2, streamed).tolist() == mixed


class TestSyslog:
    @pytest.mark.parametrize(
        ("record", "service", "severity", "line"),
        [
            (b'<165>1 2026-01-02T12:00:00Z h evt 1 ID47 [x@1 a="]\\"]"][y] \xef\xbb\xbfhi', "evt", 2, b"hi"),
            (b"<34>1 - - - - - - hi", "metrics", 5, b"hi"),
            (b"<34>1 - - su - - -", "su", 5, b""),
            (b"17 <11>Jan  2 12:00:00 host su[12]: hi", "su", 4, b"hi"),
            (b"Jan  2 12:00:00 combo sshd(pam_unix)[1]: hi", "sshd", 0, b"hi"),
            (b"<30>kernel: hi", "kernel", 2, b"hi"),
            (b"<30>2026-01-02T12:00:00+00:00 host app: hi", "app", 2, b"hi"),
            (b"<30>hi there", "metrics", 2, b"hi there"),
        ],
    )
    def test_headers(self, record: bytes, service: str, severity: int, line: bytes) -> None:
        found = decoded("syslog", record)
        labels = LOG_DECODERS["syslog"](LogPaths(), LogDecoderLimits()).labels(found.keys[0])
        assert labels == ("logs", {"service.name": service})
        assert (found.severities.tolist(), found.lines, found.times_ms.tolist()) == ([severity], [line], [NOON_MS])
        assert found.parts.tolist() == [WHOLE]

    def test_a_line_without_a_header_goes_on_or_is_refused(self) -> None:
        found = decoded("syslog", b"<30>a: x\nmore\n<30>a: y", b"more")
        assert found.lines == [b"x\nmore", b"y"]
        assert reasons(found) == ["malformed"]

    @pytest.mark.parametrize("record", [b"<192>a: x", b"<>a: x", b"<13", b'<13>1 - - - - - [a="', b"<1234>a: x"])
    def test_broken_headers_are_refused(self, record: bytes) -> None:
        assert reasons(decoded("syslog", record)) == ["malformed"]


class TestLogfmt:
    def test_pairs(self) -> None:
        line = b'ts=2026-01-02T12:00:00Z lvl=warn app=a service.name=shop msg="took \\"5\\"\\ts \\u00e9" traceID=abc1'
        found = decoded("logfmt", line)
        assert found.lines == ['took "5"\ts é'.encode()]
        assert (found.severities.tolist(), found.traces) == ([3], ["abc1"])
        assert found.keys == [("logs", b'{"service.name":"shop"}')]
        assert found.times_ms.tolist() == [NOON_MS]

    def test_without_a_message_the_line_is_it(self) -> None:
        assert decoded("logfmt", b"level=error err=x", b"no pairs").lines == [b"level=error err=x", b"no pairs"]

    def test_the_first_of_two_counts(self) -> None:
        found = decoded("logfmt", b'msg=one msg=two level=info level=error time="x" time=1767355200')
        assert (found.lines, found.severities.tolist(), found.times_ms.tolist()) == ([b"one"], [2], [NOON_MS])


class TestCri:
    HEAD = b"2026-01-02T12:00:00.5Z "

    def test_messages_within(self) -> None:
        found = decoded(
            "cri",
            self.HEAD + b"stdout F 2026-01-02 11:00:00 ERROR x",
            self.HEAD + b'stdout F level=warn msg="low"',
            self.HEAD + b'stdout F {"level":"error","msg":"boom","service":"web","trace_id":"abc1"}',
            self.HEAD + b"stdout F {broken}",
            self.HEAD + b"stdout F \tat x",
            self.HEAD + b"stderr P piece {",
            self.HEAD + b"stdout F",
        )
        assert found.lines == [b"ERROR x", b"low", b"boom", b"{broken}", b"\tat x", b"piece {", b""]
        assert found.severities.tolist() == [0, 3, 4, 0, 0, 0, 0]
        assert found.parts.tolist() == [BEGINS, WHOLE, WHOLE, WHOLE, CONTINUES, PARTIAL, BEGINS]
        assert found.times_ms.tolist() == [NOON_MS + 500] * 7
        assert found.traces == [None, None, "abc1", None, None, None, None]

    def test_pieces_of_a_line_keep_the_blanks_between_them(self) -> None:
        pieces = (b"P took 5 ", b"P ", b"P  ms:x \t", b"P:a  of", b"F  six ")
        found = decoded("cri", *(self.HEAD + b"stdout " + piece for piece in pieces))
        assert found.lines == [b"took 5 ", b"", b" ms:x \t", b" of", b" six"]
        joiner = Joiner()
        assert joiner.feed(found).lines == []
        assert joiner.flush().lines == [b"took 5  ms:x \t of six"]

    def test_a_record_of_several_pieces_keeps_them_apart(self) -> None:
        record = b"\n".join(self.HEAD + b"stdout " + piece for piece in (b"P a ", b"P  ", b"F b "))
        assert decoded("cri", record).lines == [b"a ", b" ", b"b"]

    def test_streams_are_joined_apart_but_are_one_service(self) -> None:
        decoder = LOG_DECODERS["cri"](LogPaths(), LogDecoderLimits())
        found = decoder.decode(batch_of([self.HEAD + b"stdout F a", self.HEAD + b"stderr F b"], timestamp_ms=NOON_MS))
        assert found.keys[0] != found.keys[1]
        assert decoder.labels(found.keys[0]) == decoder.labels(found.keys[1])

    def test_json_is_read_whole_and_its_message_cut(self) -> None:
        record = self.HEAD + b'stdout F {"level":"error","message":"boom boom"}'
        found = decoded("cri", record, limits=LogDecoderLimits(line_bytes_max=4))
        assert (found.lines, found.severities.tolist(), found.lines_cut) == ([b"boom"], [4], 1)

    @pytest.mark.parametrize(
        "record", [b"x", b"2026-01-02 12:00:00Z stdout F x", HEAD + b"stdin F x", HEAD + b"stdout X x"]
    )
    def test_other_lines_are_refused(self, record: bytes) -> None:
        assert reasons(decoded("cri", record)) == ["malformed"]
