"""Columns of times are what their values are one by one."""

import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detector.decoders.time_columns import EARLIEST_MS, UNREADABLE, column_ms, value_ms
from detector.decoders.values import time_ms

NOON_MS = 1_795_305_600_000

stamp = st.builds(
    "{:04d}-{:02d}-{:02d}{}{:02d}:{:02d}:{:02d}{}{}".format,
    st.sampled_from([0, 1, 1969, 1970, 1973, 1999, 2000, 2024, 2026, 2100, 2262, 9999]),
    st.integers(0, 13),
    st.integers(0, 32),
    st.sampled_from(["T", "t", " ", "_"]),
    st.integers(0, 25),
    st.integers(0, 61),
    st.integers(0, 61),
    st.sampled_from(["", ".", ".5", ",123", ".123456", ".1234567891234", ".12a"]),
    st.sampled_from(["", "Z", "z", "+00:00", "-05:30", "+0530", "+24:00", "-00:60", "+5", "+0a:00", "X"]),
)
epoch = st.builds("{}{}".format, st.sampled_from(["", "", "0", "+", "-"]), st.integers(0, 2**64))
edge = st.sampled_from([10**11, 10**14, 10**17, 9 * 10**18, 2**63]).flatmap(lambda at: st.sampled_from([at - 1, at]))
text = st.one_of(
    *(stamp, stamp, stamp, epoch, edge.map(str), st.text(max_size=21)),
    st.sampled_from(["1795305600", "1795305600.5", "1e9", "NaN", "٣"]),
)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(values=st.lists(text, min_size=1, max_size=12), offset=st.sampled_from([0, 3_600_000]))
@example(values=["2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z"], offset=0)
@example(values=["2026-11-22T00:00:00+01:00", "2026-11-22T00:00:00-01:00"], offset=0)
@example(values=["2026-11-22 00:00:00,123", "2026-11-22T00:00:00.123"], offset=3_600_000)
@example(values=["١٧٩٥٣٠٥٦٠٠"], offset=0)
@example(values=["", "1795305600"], offset=0)
def test_texts_are_read_as_each_alone(values: list[str], offset: int) -> None:
    assert column_ms(values, offset).tolist() == [value_ms(value, offset) for value in values]


@settings(derandomize=True, deadline=None)
@given(value=st.one_of(text, st.integers(), st.floats(), st.none(), st.booleans()))
def test_one_value_is_what_metrics_take_it_for(value: object) -> None:
    expected = time_ms(value)
    assert value_ms(value, 0) == (UNREADABLE if expected is None or expected < EARLIEST_MS else expected)


@settings(derandomize=True, deadline=None)
@given(values=st.lists(st.one_of(st.integers(-5, 2**64), st.floats()), min_size=1, max_size=8))
def test_numbers_are_read_as_each_alone(values: list[object]) -> None:
    assert column_ms(values, 0).tolist() == [value_ms(value, 0) for value in values]


def test_every_day_of_a_long_time_is_the_calendars() -> None:
    days = [datetime.fromtimestamp(EARLIEST_MS / 1000 + 86_400 * day, UTC) for day in range(0, 100_000, 13)]
    texts = [day.strftime("%Y-%m-%dT%H:%M:%SZ") for day in days]
    assert column_ms(texts, 0).tolist() == [int(day.timestamp()) * 1000 for day in days]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"epochSecond": 1795305600, "nanoOfSecond": 500_000_000}, NOON_MS + 500),
        ({"seconds": 1795305600, "nanos": 0}, NOON_MS),
        ({"$date": "2026-11-22T00:00:00Z"}, NOON_MS),
        ({"$date": NOON_MS}, NOON_MS),
        ({"seconds": 10**30}, UNREADABLE),
        ({"seconds": True}, UNREADABLE),
        ({}, UNREADABLE),
        ([1], UNREADABLE),
        (0.25, UNREADABLE),
        ("1970-01-01T00:00:00Z", UNREADABLE),
    ],
)
def test_objects_and_what_is_no_time_of_a_line(value: object, expected: int) -> None:
    assert value_ms(value, 0) == expected
    assert column_ms([value], 0).tolist() == [expected]


def test_more_digits_than_python_converts_are_no_time() -> None:
    digits = "9" * (sys.get_int_max_str_digits() + 1)
    assert column_ms([digits], 0).tolist() == [value_ms(digits, 0)] == [UNREADABLE]
    zeros = "0" * len(digits)
    assert column_ms([zeros + "1795305600", zeros], 0).tolist() == [NOON_MS, UNREADABLE]


def test_an_empty_column_stays_one() -> None:
    assert column_ms([], 0).dtype == np.int64
