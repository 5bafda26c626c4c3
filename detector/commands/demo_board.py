"""What the demo shows: the streams as sparklines, and the episodes as the events topic tells them."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from detector.commands.demo_feeds import Beat
from detector.commands.demo_table import episode_table, name_of, name_of_event, name_of_logs, span_ms
from detector.commands.demo_truth import Story, Verdict, clock
from detector.commands.drawing import short, sparkline
from detector.commands.plain_text import plain

STREAM_POINTS: Final = 600
"""Points kept per stream: more than any terminal is wide, and than a story is long."""
EPISODES_MAX: Final = 12
EPISODES_MIN: Final = 3
VALUE_WIDTH: Final = 7
DATE_WIDTH: Final = 16
GAPS: Final = 3
"""Blanks between a stream's columns."""
STREAM_WIDTH_MIN: Final = 10
OTHER_LINES: Final = 9
"""Lines of the board that are neither streams nor episodes."""
IN_EPISODE: Final = "bold red"


class _Sample(NamedTuple):
    time_ms: int
    value: float


Spans = Sequence[tuple[int, int]]


class Board:
    """Streams and episodes so far. ``title`` says what is streamed."""

    def __init__(self, title: str, story: Story | None = None) -> None:
        self._title = title
        self._story = story
        self._streams: dict[str, deque[_Sample]] = {}
        self._episodes: dict[str, dict[str, Any]] = {}
        self._now_ms: int | None = None
        self._sent = 0
        self._reached: list[tuple[int, str]] = []
        self.events = 0
        self.opened = 0
        self.verdict = None if story is None else Verdict(story.incident)

    def add_beat(self, beat: Beat) -> None:
        """Add what was streamed; of log lines how many each service wrote."""
        for point in beat.points:
            self._add(name_of(point.series, point.labels), point.time_ms, point.value)
        if beat.lines and beat.points:
            for service, count in Counter(line.service for line in beat.lines).items():
                self._add(name_of_logs(service), beat.points[-1].time_ms, count)
        self._sent += len(beat.points) + len(beat.lines)
        if beat.points:
            before_ms, self._now_ms = self._now_ms, beat.points[-1].time_ms
            self._turn(before_ms, self._now_ms)

    def _turn(self, before_ms: int | None, now_ms: int) -> None:
        """Note the turns of the story between these moments, and how much was sent up to them."""
        if self._story is None or before_ms is None:
            return
        incident = self._story.incident
        for at_ms, text in ((incident.start_ms, f"begins: {incident.what}"), (incident.end_ms, "ends with a fix")):
            if before_ms <= at_ms < now_ms:
                moment = datetime.fromtimestamp(at_ms / 1000, UTC)
                self._reached.append((self._sent, f"{moment:%Y-%m-%dT%H:%M}Z (the truth) {incident.label} {text}"))

    def _add(self, name: str, time_ms: int, value: float) -> None:
        self._streams.setdefault(name, deque(maxlen=STREAM_POINTS)).append(_Sample(time_ms, value))

    def add_event(self, value: bytes) -> str | None:
        """Add an event from the events topic; give a line about it when it opens or closes an episode."""
        anomaly = orjson.loads(value)["data"]
        self.events += 1
        self.opened += anomaly["state"] == "opened"
        self._episodes[anomaly["episode_id"]] = anomaly
        if self.verdict is not None:
            self.verdict.add(anomaly)
        if anomaly["state"] == "updated":
            return None
        summary = plain(anomaly["summary"])
        return f"{anomaly['window']['end'][:16]}Z {anomaly['state']:<6} {anomaly['severity']:<8} {summary}"

    def turns(self, records: int) -> Iterator[str]:
        """Lines about the turns of the story that the worker has reached with so many records; each comes once."""
        while self._reached and self._reached[0][0] <= records:
            yield self._reached.pop(0)[1]

    def render(self, width: int, height: int, records: int) -> RenderableType:
        """Draw everything for a terminal of this size."""
        head = Text.assemble((self._title, "bold"), (f"   {records:,} records", "dim"))
        names = [*self._streams] if self._story is None else [*self._story.streams]
        lines = len(names) + OTHER_LINES
        rows = max(min(EPISODES_MAX, height - lines), EPISODES_MIN)
        episodes = episode_table(list(self._episodes.values()), width, rows)
        return Group(head, self._draw_truth(), self._draw_streams(names, width), episodes)

    def _draw_truth(self) -> Text:
        """The labelled incident, by where the stream is."""
        if self._story is None:
            return Text()
        incident, now_ms = self._story.incident, self._now_ms or self._story.begin_ms
        text = Text.assemble((f"{clock(now_ms)}  ", "bold"), ("the truth: ", "dim"))
        if now_ms <= incident.start_ms:
            return text.append(f"all is well until the {incident.label}", style="dim")
        if now_ms <= incident.end_ms:
            return text.append(f"{incident.label}: {incident.what}", style=IN_EPISODE)
        return text.append(f"the {incident.label} is over: {incident.what}", style="green")

    def _draw_streams(self, names: Sequence[str], width: int) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right", min_width=VALUE_WIDTH)
        table.add_column(no_wrap=True, style="dim")
        beside = max(map(len, names), default=0) + VALUE_WIDTH + GAPS + (DATE_WIDTH if self._story is None else 0)
        room = max(width - beside, STREAM_WIDTH_MIN)
        for name in names:
            samples = list(self._streams.get(name, ()))
            if not samples:
                continue
            line = self._draw_stream(name, samples, room)
            moment = datetime.fromtimestamp(samples[-1].time_ms / 1000, UTC)
            date = f"{moment:%Y-%m-%d %H:%M}" if self._story is None else ""
            table.add_row(name, line, short(samples[-1].value), date)
        if self._story is not None and self._now_ms is not None:
            table.add_row("", _axis(self._story, room), "now", "")
        return table

    def _draw_stream(self, name: str, samples: Sequence[_Sample], room: int) -> Text:
        """Draw one stream, what lies inside an episode in red: all of a story, else what is newest."""
        spans = [span_ms(anomaly) for anomaly in self._episodes.values() if name_of_event(anomaly) == name]
        columns = _newest(samples, room) if self._story is None else _folded(samples, self._story, room)
        line = Text(sparkline(value for _, _, value in columns), style="cyan")
        for at, (first_ms, last_ms, value) in enumerate(columns):
            if value is not None and any(start <= last_ms and first_ms <= end for start, end in spans):
                line.stylize(IN_EPISODE, at, at + 1)
        return line


_Column = tuple[int, int, float | None]
"""Time of the first and the last sample of a column, and its value; None where there is none yet."""


def _newest(samples: Sequence[_Sample], room: int) -> list[_Column]:
    return [(sample.time_ms, sample.time_ms, sample.value) for sample in samples[-room:]]


def _folded(samples: Sequence[_Sample], story: Story, room: int) -> list[_Column]:
    """Put the samples of each part of the story into one column: their mean."""
    parts: list[list[_Sample]] = [[] for _ in range(room)]
    for sample in samples:
        parts[_place(sample.time_ms, story, room)].append(sample)
    return [
        (part[0].time_ms, part[-1].time_ms, sum(sample.value for sample in part) / len(part)) if part else (0, 0, None)
        for part in parts
    ]


def _place(time_ms: int, story: Story, room: int) -> int:
    share = (time_ms - story.begin_ms) / (story.end_ms - story.begin_ms)
    return min(max(int(share * room), 0), room - 1)


def _axis(story: Story, room: int) -> Text:
    """The time of the story, with the labelled incident marked."""
    incident = story.incident
    first, last = _place(incident.start_ms, story, room), _place(incident.end_ms, story, room)
    begin, end, label = clock(story.begin_ms), clock(story.end_ms), f" {incident.label} "
    before = f"{begin}{'─' * max(first - len(begin), 0)}"
    if len(before) >= len(begin) + len(label):
        before = before[: -len(label)] + label
    after = "─" * max(room - last - 1 - len(end), 0) + end
    return Text.assemble((before, "dim"), ("━" * (last - first + 1), IN_EPISODE), (after, "dim"))
