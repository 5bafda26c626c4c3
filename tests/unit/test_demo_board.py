"""The demo's board: what it says of streams, of episodes of metrics and of log lines, and of the truth."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from detector.commands.demo_board import Board
from detector.commands.demo_feeds import Beat, LogLine, Point
from detector.commands.demo_truth import Effect, Incident, Story
from detector.commands.drawing import duration, short, sparkline

EXAMPLES = Path(__file__).parent.parent.parent / "schemas" / "examples"
MINUTE_MS = 60_000
SPIKE = "http.server.request.duration.p95"
STORY = Story(
    begin_ms=0,
    end_ms=100 * MINUTE_MS,
    streams=("shop pool", "shop logs"),
    incident=Incident(
        what="a leak",
        start_ms=40 * MINUTE_MS,
        end_ms=60 * MINUTE_MS,
        settled_ms=65 * MINUTE_MS,
        effects=(Effect("pool", "shop", metric="pool", required=True),),
    ),
)


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


def example(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EXAMPLES / name).read_bytes())
    return event


def drawn(board: Board, width: int = 120, height: int = 40) -> list[str]:
    """What is on the screen, line by line."""
    console = Console(width=width, height=height, color_system=None, force_terminal=True)
    with console.capture() as capture:
        console.print(board.render(width, height, 1_234))
    return [line.rstrip() for line in capture.get().splitlines()]


def beat(minute: float, value: float = 1.0, lines: int = 0) -> Beat:
    time_ms = round(minute * MINUTE_MS)
    written = [LogLine("shop", time_ms, b"line")] * lines
    return Beat([Point("pool", time_ms, value, {"service": "shop"})], 0.0, written)


def row_of(lines: list[str], mark: str) -> str:
    found = [line for line in lines if mark in line]
    assert len(found) == 1, lines
    return found[0]


class TestStreams:
    def test_the_newest_points_fill_a_line(self) -> None:
        board = Board("title")
        for minute in range(300):
            board.add_beat(beat(minute, value=float(minute == 299)))
        row = row_of(drawn(board, width=80), "shop pool")
        assert len(row) <= 80
        assert row.count("▁") > 30
        assert "█       1 1970-01-01 04:59" in row

    def test_a_story_keeps_its_place_on_the_line_and_shows_its_incident(self) -> None:
        board = Board("title", STORY)
        for minute in range(51):
            board.add_beat(beat(minute, value=float(minute >= 45), lines=5))
        lines = drawn(board, width=101)
        pool, axis = row_of(lines, "shop pool"), row_of(lines, "━")
        room = 101 - len("shop pool") - 1
        assert abs(pool.index("█") - axis.index("━")) < 0.1 * room
        assert axis.index("━") - len("shop pool") == pytest.approx(0.4 * room, abs=0.1 * room)
        assert "00:00" in axis
        assert "incident 00:40-01:00 ━" in axis
        assert axis.endswith("01:40     now")
        assert "5" in row_of(lines, "shop logs")

    def test_streams_that_are_not_part_of_the_story_are_not_drawn(self) -> None:
        board = Board("title", STORY)
        board.add_beat(Beat([Point("other", 0, 1.0, {"service": "shop"})], 0.0))
        assert not any("other" in line for line in drawn(board))


class TestTruth:
    @pytest.mark.parametrize(
        ("minute", "said"),
        [
            (10, "00:10  the truth: all is well until the incident 00:40-01:00"),
            (41, "00:41  the truth: incident 00:40-01:00: a leak"),
            (61, "01:01  the truth: the incident 00:40-01:00 is over: a leak"),
        ],
    )
    def test_the_head_says_where_the_story_is(self, minute: int, said: str) -> None:
        board = Board("title", STORY)
        board.add_beat(beat(minute))
        assert said in drawn(board)

    def test_a_turn_is_told_once_when_the_worker_has_come_so_far(self) -> None:
        board = Board("title", STORY)
        for minute in (39, 40, 41, 42):
            board.add_beat(beat(minute, lines=9))
        assert list(board.turns(29)) == []
        assert list(board.turns(30)) == ["1970-01-01T00:40Z (the truth) incident 00:40-01:00 begins: a leak"]
        assert list(board.turns(40)) == []
        for minute in (60, 61):
            board.add_beat(beat(minute))
        assert list(board.turns(1000)) == ["1970-01-01T01:00Z (the truth) incident 00:40-01:00 ends with a fix"]

    def test_without_a_story_there_is_no_truth_and_no_verdict(self) -> None:
        board = Board("title")
        board.add_beat(beat(1))
        assert board.verdict is None
        assert list(board.turns(10)) == []
        assert "truth" not in "".join(drawn(board))


class TestEpisodes:
    def board(self, *names: str) -> Board:
        board = Board("title")
        for name in names:
            board.add_event(json.dumps(example(name)).encode())
        return board

    def test_an_episode_of_a_metric(self) -> None:
        row = row_of(drawn(self.board("anomaly.opened.json")), SPIKE)
        for part in ("00:02", "spike", "▲ 1.84, usually 0.31, 3.12 bands off", "error", "● 2 min", "█"):
            assert part in row
        event = example("anomaly.opened.json")["data"]
        assert "✔ " not in row
        assert len(event["evidence"]["recent"]) > 1

    def test_an_episode_of_log_lines_shows_its_template(self) -> None:
        row = row_of(drawn(self.board("log_anomaly.opened.json")), "checkout logs")
        for part in ("00:02", "new", "connection pool exhausted after <*> ms", "error", "● 60 s", "█"):
            assert part in row

    def test_its_last_event_counts(self) -> None:
        board = self.board("log_anomaly.opened.json", "log_anomaly.closed.json")
        assert (board.events, board.opened) == (2, 1)
        row = row_of(drawn(board), "checkout logs")
        assert "✔ " in row
        assert "●" not in row

    def test_a_line_is_said_at_an_opening_and_a_close(self) -> None:
        board = Board("title")
        told = [
            board.add_event(json.dumps(example(f"log_anomaly.{state}.json")).encode())
            for state in ("opened", "updated", "closed")
        ]
        assert told[1] is None
        assert told[0] is not None
        assert told[2] is not None
        assert told[0].startswith("2026-11-22T00:03Z opened error    checkout: ")
        assert " closed " in told[2]

    def test_days_are_shown_where_there_are_several(self) -> None:
        later = example("anomaly.opened.json")
        later["data"]["window"]["start"] = "2026-11-23T00:02:00.000Z"
        later["data"]["episode_id"] = "another"
        board = self.board("anomaly.opened.json")
        board.add_event(json.dumps(later).encode())
        lines = drawn(board, width=160)
        assert any("11-22 00:02" in line for line in lines)
        assert any("11-23 00:02" in line for line in lines)

    def test_a_low_terminal_shows_the_newest_and_counts_the_rest(self) -> None:
        board = Board("title")
        for minute in range(20):
            event = example("anomaly.opened.json")
            event["data"]["window"]["start"] = f"2026-11-22T00:{minute:02d}:00.000Z"
            event["data"]["episode_id"] = str(minute)
            board.add_event(json.dumps(event).encode())
        lines = drawn(board, width=120, height=16)
        assert len(lines) <= 16
        assert "00:19" in "".join(lines)
        assert "00:12" not in "".join(lines)
        assert any("before them" in line for line in lines)

    @pytest.mark.parametrize("width", [80, 100, 120, 200])
    def test_no_line_is_wider_than_the_terminal(self, width: int) -> None:
        board = self.board("anomaly.opened.json", "log_anomaly.opened.json")
        board.add_beat(beat(1, lines=3))
        assert max(map(len, drawn(board, width=width))) <= width

    def test_a_template_cannot_steer_the_terminal(self) -> None:
        event = example("log_anomaly.opened.json")
        event["data"]["template"]["text"] = "\x1b[2J[red]pool"
        event["data"]["summary"] = "\x1b[2Jgone"
        board = Board("title")
        line = board.add_event(json.dumps(event).encode())
        assert line is not None
        assert "\x1b" not in line
        assert "\\x1b[2J[red]pool" in row_of(drawn(board), "checkout logs")
