"""Severity in every spelling that is met, and what must not be taken for one."""

import math

import pytest

from detector.decoders.log_severity import (
    DEBUG,
    ERROR,
    FATAL,
    INFO,
    MEMO_ENTRIES_MAX,
    UNKNOWN,
    WARNING,
    Scale,
    SeverityMemo,
    otel_severity,
    severity_of,
    syslog_severity,
)
from detector.log_batches import SEVERITY_CLASSES


def test_the_classes_are_those_of_the_batch() -> None:
    assert [SEVERITY_CLASSES[one] for one in (UNKNOWN, DEBUG, INFO, WARNING, ERROR, FATAL)] == list(SEVERITY_CLASSES)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("TRACE", DEBUG),
        ("Verbose", DEBUG),
        ("dbug", DEBUG),
        ("Information", INFO),
        ("notice", INFO),
        ("INFO+2", INFO),
        ("LOG", INFO),
        ("warn", WARNING),
        ("WARNING", WARNING),
        ("wrn", WARNING),
        ("err", ERROR),
        ("ERROR-1", ERROR),
        ("SEVERE", ERROR),
        ("error2", ERROR),
        ("SEVERITY_NUMBER_ERROR", ERROR),
        ("crit", FATAL),
        ("EMERGENCY", FATAL),
        ("dpanic", FATAL),
        ("I", INFO),
        ("W", WARNING),
        ("E", ERROR),
        ("F", FATAL),
        (" [error] ", ERROR),
        ("level:warn", WARNING),
        ("", UNKNOWN),
        ("banana", UNKNOWN),
        ("informer", UNKNOWN),
        ("terror", UNKNOWN),
        ("error " * 20, UNKNOWN),
        ("²", UNKNOWN),
    ],
)
def test_words(value: str, expected: int) -> None:
    assert severity_of(value) == expected
    assert SeverityMemo().of(value) == expected


@pytest.mark.parametrize(
    ("value", "scale", "expected"),
    [
        (0, "any", FATAL),
        (3, "any", ERROR),
        ("6", "any", INFO),
        (7, "any", DEBUG),
        (10, "any", DEBUG),
        (20, "any", DEBUG),
        (30, "any", INFO),
        (40, "any", WARNING),
        (50, "any", ERROR),
        (60, "any", FATAL),
        (200, "any", INFO),
        (250, "any", INFO),
        (300, "any", WARNING),
        (550, "any", FATAL),
        (20000, "any", INFO),
        (40000, "any", ERROR),
        (30, "python", WARNING),
        (30.0, "python", WARNING),
        (17, "otel", ERROR),
        ("17", "otel", ERROR),
        ("ERROR", "otel", ERROR),
        (9, "otel", INFO),
        (12, "otel", INFO),
        (13, "otel", WARNING),
        (8, "otel", DEBUG),
        (24, "otel", FATAL),
        (25, "otel", UNKNOWN),
        (4, "syslog", WARNING),
        (8, "syslog", UNKNOWN),
        (-1, "any", UNKNOWN),
        (3.5, "any", UNKNOWN),
        (math.nan, "any", UNKNOWN),
        (math.inf, "any", UNKNOWN),
        (10**400, "any", UNKNOWN),
        (True, "any", UNKNOWN),
        (None, "any", UNKNOWN),
        ([3], "any", UNKNOWN),
    ],
)
def test_numbers_by_scale(value: object, scale: Scale, expected: int) -> None:
    assert severity_of(value, scale) == expected
    assert SeverityMemo(scale).of(value) == expected


def test_a_column_reads_true_as_no_number_even_where_one_is_known() -> None:
    memo = SeverityMemo()
    assert memo.column([1, "1", 1.0]).tolist() == [FATAL, FATAL, FATAL]
    assert memo.column([1, True, None, [1], {}]).tolist() == [FATAL, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]


def test_the_memo_is_bounded_and_changes_no_answer() -> None:
    memo = SeverityMemo()
    for number in range(3 * MEMO_ENTRIES_MAX):
        assert memo.of(f"x{number}") == UNKNOWN
    assert len(memo._known) <= MEMO_ENTRIES_MAX + 1
    assert memo.column(["warn", None]).tolist() == [WARNING, UNKNOWN]


def test_syslog_and_opentelemetry_have_ends() -> None:
    assert [syslog_severity(number) for number in (-1, 0, 7, 8)] == [UNKNOWN, FATAL, DEBUG, UNKNOWN]
    assert [otel_severity(number) for number in (0, 1, 4, 5, 9, 13, 17, 21, 24, 25)] == [0, 1, 1, 1, 2, 3, 4, 5, 5, 0]
