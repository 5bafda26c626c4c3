"""Numbers and times as they are written on real topics."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.decoders.values import number, numbers, time_ms, times_ms


class TestTime:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            (1_795_305_600, 1_795_305_600_000),
            (1_795_305_600_123, 1_795_305_600_123),
            (1_795_305_600_123_456, 1_795_305_600_123),
            (1_795_305_600_123_456_789, 1_795_305_600_123),
            (1_795_305_600.5, 1_795_305_600_500),
            ("1795305600", 1_795_305_600_000),
            ("2026-11-22T00:00:00Z", 1_795_305_600_000),
            ("2026-11-22T01:00:00+01:00", 1_795_305_600_000),
            ("2026-11-22 00:00:00", 1_795_305_600_000),
            ("2026-11-22T00:00:00.123456789Z", 1_795_305_600_123),
            ("2026-11-22t00:00:00,5z", 1_795_305_600_500),
            (0, 0),
        ],
    )
    def test_units_follow_from_magnitude_and_text_is_rfc_3339(self, written: object, expected: int) -> None:
        assert time_ms(written) == expected
        assert times_ms([written], {type(written)}) == [expected]

    @pytest.mark.parametrize(
        "written",
        [-1, -0.5, math.nan, math.inf, 2**63, True, None, "", "12:00", "2026-02-30T00:00:00Z", "1969-12-31T00:00:00Z"],
    )
    def test_what_is_no_time_is_none(self, written: object) -> None:
        assert time_ms(written) is None

    @settings(derandomize=True, deadline=None)
    @given(st.lists(st.one_of(st.integers(-(10**3), 2**64), st.integers(10**10, 10**12)), min_size=1))
    def test_whole_numbers_read_the_same_alone_and_in_a_column(self, written: list[int]) -> None:
        self._same(written)

    @settings(derandomize=True, deadline=None)
    @given(st.lists(st.floats(), min_size=1))
    def test_fractions_read_the_same_alone_and_in_a_column(self, written: list[float]) -> None:
        self._same(written)

    @settings(derandomize=True, deadline=None)
    @given(st.lists(st.one_of(st.text(), st.datetimes().map(lambda moment: moment.isoformat() + "Z")), min_size=1))
    def test_texts_read_the_same_alone_and_in_a_column(self, written: list[str]) -> None:
        self._same(written)

    @staticmethod
    def _same(written: list[int] | list[float] | list[str]) -> None:
        singles = [time_ms(value) for value in written]
        column = times_ms(list(written), set(map(type, written)))
        assert (column is None) == (None in singles)
        assert column is None or column.tolist() == singles


class TestNumber:
    @pytest.mark.parametrize(
        ("written", "expected"), [(5, 5.0), (0.5, 0.5), ("48211", 48211.0), ("-1e3", -1000.0), (".5", 0.5)]
    )
    def test_numbers_may_be_written_as_strings(self, written: object, expected: float) -> None:
        assert number(written) == expected

    @pytest.mark.parametrize("written", [True, None, "1_000", " 5", "0x10", "five", "", [], "\u0661"])
    def test_what_is_no_number_is_none(self, written: object) -> None:
        assert number(written) is None

    def test_infinities_and_nan_are_numbers_that_the_decoder_refuses_later(self) -> None:
        assert number("NaN") != number("NaN")
        assert number("-Infinity") == -math.inf
        assert number(10**400) == math.inf

    @settings(derandomize=True, deadline=None)
    @given(st.lists(st.one_of(st.integers(), st.floats(allow_nan=False)), min_size=1))
    def test_a_column_equals_its_members(self, written: list[int | float]) -> None:
        column = numbers(list(written), set(map(type, written)))
        assert column is None or column.tolist() == [number(value) for value in written]
