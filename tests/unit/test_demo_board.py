"""The demo's board: sparklines, numbers and durations for people."""

import pytest

from detector.commands.drawing import duration, short, sparkline


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([5, 5, 5], "▄▄▄"),
        ([1, None, 2], "▁ █"),
        ([None], " "),
        ([], ""),
        ([-1e300, 1e300], "▁█"),
    ],
)
def test_a_sparkline_spans_its_values(values: list[float | None], expected: str) -> None:
    assert sparkline(values) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (0.0, "0"), (1234.5678, "1235"), (22_300.0, "22.3k"), (-1.5e6, "-1.5M"), (2.5e10, "25.0G")],
)
def test_a_number_is_short(value: float | None, expected: str) -> None:
    assert short(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_a_duration_has_the_unit_that_suits_it(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
