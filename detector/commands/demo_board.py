"""What the demo shows: the streams as sparklines, and the episodes as the events topic tells them."""

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from detector.commands.demo_feeds import Point

BARS: Final = "▁▂▃▄▅▆▇█"
STREAM_POINTS: Final = 400
"""Points kept per stream: more than any terminal is wide."""
EPISODES_SHOWN: Final = 12
STREAM_MARGIN: Final = 42
"""Columns beside a stream's sparkline: name, last value, time."""
STREAM_WIDTH_MIN: Final = 10
DIRECTIONS: Final = {"up": "▲ up", "down": "▼ down", None: "… silent"}
SEVERITY_STYLES: Final = {"warning": "yellow", "error": "dark_orange", "critical": "bold red"}


def sparkline(values: Iterable[float | None]) -> str:
    """Draw values as bars between the least and the largest of them; a constant is a middle line, None a blank."""
    column = list(values)
    known = [value for value in column if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    return "".join(" " if value is None else _bar(value, low, high) for value in column)


def _bar(value: float, low: float, high: float) -> str:
    if high <= low:
        return BARS[3]
    return BARS[min(int((value - low) / (high - low) * len(BARS)), len(BARS) - 1)]


def short(value: float | None) -> str:
    """Write a number with three or four digits, large ones with a unit prefix."""
    if value is None:
        return "-"
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if prefix == 'k' else size):.1f}{prefix}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    for size, unit in ((172_800, "d"), (7_200, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds / {'d': 86_400, 'h': 3_600, 'min': 60}[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Board:
    """Streams and episodes so far. ``title`` says what is streamed."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._streams: dict[str, deque[Point]] = {}
        self._episodes: dict[str, dict[str, Any]] = {}
        self.events = 0
        self.opened = 0

    def add_point(self, point: Point) -> None:
        """Add a point that was streamed."""
        self._streams.setdefault(point.series, deque(maxlen=STREAM_POINTS)).append(point)

    def add_event(self, value: bytes) -> str | None:
        """Add an event from the events topic; give a line about it when it opens or closes an episode."""
        anomaly = orjson.loads(value)["data"]
        self.events += 1
        self.opened += anomaly["state"] == "opened"
        self._episodes[anomaly["episode_id"]] = anomaly
        if anomaly["state"] == "updated":
            return None
        return f"{anomaly['window']['end'][:16]}Z {anomaly['state']:<6} {anomaly['severity']:<8} {anomaly['summary']}"

    def render(self, width: int, records: int) -> RenderableType:
        """Draw everything for a terminal of this width."""
        head = Text.assemble((self._title, "bold"), (f"   {records:,} records", "dim"))
        return Group(head, Text(), self._draw_streams(width), self._draw_episodes())

    def _draw_streams(self, width: int) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, style="dim")
        for name, points in list(self._streams.items()):
            shown = list(points)[-max(width - STREAM_MARGIN, STREAM_WIDTH_MIN) :]
            moment = datetime.fromtimestamp(shown[-1].time_ms / 1000, UTC)
            line = self._draw_stream(name, shown)
            table.add_row(name, line, short(shown[-1].value), f"{moment:%Y-%m-%d %H:%M}")
        return table

    def _draw_stream(self, name: str, points: Sequence[Point]) -> Text:
        """Draw one stream, the points inside an episode in red."""
        spans = [
            (_moment(anomaly["window"]["start"]), _moment(anomaly["ended_at"] or anomaly["window"]["end"]))
            for anomaly in self._episodes.values()
            if anomaly["series"]["metric"] == name
        ]
        line = Text(sparkline(point.value for point in points), style="cyan")
        for at, point in enumerate(points):
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=point.time_ms)
            if any(start <= moment <= end for start, end in spans):
                line.stylize("bold red", at, at + 1)
        return line

    def _draw_episodes(self) -> RenderableType:
        if not self._episodes:
            return Text("no episode so far; a series is learnt for 30 points before it is judged", style="dim")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("since (UTC)", "series", "", "worst", "expected", "x band", "severity", "state", "last values"):
            right = column in {"worst", "expected", "x band"}
            table.add_column(column, justify="right" if right else "left", no_wrap=True)
        for anomaly in list(self._episodes.values())[-EPISODES_SHOWN:]:
            table.add_row(*_episode_row(anomaly))
        return table


def _episode_row(anomaly: dict[str, Any]) -> list[RenderableType]:
    start, end = anomaly["window"]["start"], anomaly["ended_at"] or anomaly["window"]["end"]
    lasted = duration((_moment(end) - _moment(start)).total_seconds())
    is_open = anomaly["state"] != "closed"
    peak = anomaly["peak"] or dict.fromkeys(("observed", "expected", "deviation"))
    return [
        start[5:16].replace("T", " "),
        anomaly["series"]["metric"],
        DIRECTIONS[anomaly["direction"]],
        short(peak["observed"]),
        short(peak["expected"]),
        short(peak["deviation"]),
        Text(anomaly["severity"], style=SEVERITY_STYLES[anomaly["severity"]]),
        Text(f"● open {lasted}", style="bold red") if is_open else Text(f"closed after {lasted}", style="green"),
        Text(sparkline(anomaly["evidence"]["recent"]), style="red" if is_open else "cyan"),
    ]
