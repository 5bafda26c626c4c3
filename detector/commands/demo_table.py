"""The demo's table: one row for each episode, of a metric or of log lines alike."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from detector.commands.demo_truth import is_log, service_of
from detector.commands.drawing import duration, sparkline
from detector.commands.plain_text import plain
from detector.commands.report_episodes import epoch_ms
from detector.encoders.wording import number

KINDS: Final = {
    "metric.spike": "spike",
    "metric.dip": "dip",
    "metric.level_shift": "level",
    "metric.variance": "scatter",
    "metric.stuck": "stuck",
    "metric.no_data": "silence",
    "log.format_change": "format",
    "log.new_template": "new",
    "log.severity_surge": "severity",
    "log.surge": "surge",
    "log.vanished": "vanished",
    "log.mix_shift": "mix",
}
DIRECTIONS: Final = {"up": "▲", "down": "▼"}
SEVERITY_STYLES: Final = {"warning": "yellow", "error": "dark_orange", "critical": "bold red"}
COLUMNS: Final = ("since", "series or logs", "kind", "what", "severity", "state", "history")
WHAT: Final = "what"
HISTORY: Final = ((120, 14), (96, 8), (0, 0))
"""Bars of a row, of the last values or of lines in the last windows, from so many columns of the terminal on."""


def name_of(metric: str, labels: Mapping[str, str]) -> str:
    """Name a series for people who know the stream: its metric, after the service where there is one."""
    service = labels.get("service")
    return metric if service is None else f"{service} {metric}"


def name_of_logs(service: str) -> str:
    """Name the log lines of a service."""
    return f"{service} logs"


def name_of_event(anomaly: Mapping[str, Any]) -> str:
    """Name what the event is about, as the streams are named."""
    if is_log(anomaly):
        return plain(name_of_logs(service_of(anomaly) or "unnamed"))
    return plain(name_of(anomaly["series"]["metric"], anomaly["series"]["labels"]))


def span_ms(anomaly: Mapping[str, Any]) -> tuple[int, int]:
    """From when to when the episode lasts, as far as it is known."""
    return epoch_ms(anomaly["window"]["start"]), epoch_ms(anomaly["ended_at"] or anomaly["window"]["end"])


def episode_table(episodes: Sequence[Mapping[str, Any]], width: int, rows_max: int) -> RenderableType:
    """Draw the newest ``rows_max`` episodes for a terminal of this width, each as its last event tells it."""
    if not episodes:
        return Text("no episode so far; a series is learnt for 30 points, and a service for 30 windows", style="dim")
    ordered = sorted(episodes, key=lambda anomaly: anomaly["window"]["start"])
    shown = ordered[-rows_max:]
    dated = len({anomaly["window"]["start"][:10] for anomaly in episodes}) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), expand=True)
    bars = next(count for least, count in HISTORY if width >= least)
    columns = COLUMNS if bars else COLUMNS[:-1]
    for column in columns:
        ratio = 1 if column == WHAT else None
        table.add_column(column, no_wrap=True, overflow="ellipsis", ratio=ratio)
    for anomaly in shown:
        table.add_row(*_row(anomaly, bars, dated=dated)[: len(columns)])
    if len(shown) < len(episodes):
        table.caption = f"and {len(episodes) - len(shown)} before them"
    return table


def _row(anomaly: Mapping[str, Any], bars: int, *, dated: bool) -> list[RenderableType]:
    start = anomaly["window"]["start"]
    begin_ms, end_ms = span_ms(anomaly)
    is_open, lasted = anomaly["state"] != "closed", duration((end_ms - begin_ms) / 1000)
    return [
        start[5:16].replace("T", " ") if dated else start[11:16],
        Text(name_of_event(anomaly)),
        KINDS.get(anomaly["kind"], plain(anomaly["kind"])),
        Text(plain(_what_of_logs(anomaly) if is_log(anomaly) else _what(anomaly))),
        Text(anomaly["severity"], style=SEVERITY_STYLES[anomaly["severity"]]),
        Text(f"● {lasted}", style="bold red") if is_open else Text(f"✔ {lasted}", style="green"),
        Text(sparkline(history(anomaly)[-bars:]), style="red" if is_open else "cyan"),
    ]


def _what(anomaly: Mapping[str, Any]) -> str:
    peak = anomaly["peak"] or {"observed": None, "expected": None, "deviation": None}
    arrow = DIRECTIONS.get(anomaly["direction"], "…")
    if peak["observed"] is None:
        return f"{arrow} {anomaly['summary']}"
    expected = "" if peak["expected"] is None else f", usually {number(peak['expected'])}"
    times = "" if peak["deviation"] is None else f", {number(peak['deviation'])} bands off"
    return f"{arrow} {number(peak['observed'])}{expected}{times}"


def _what_of_logs(anomaly: Mapping[str, Any]) -> str:
    template = anomaly["template"]
    return str(anomaly["summary"] if template is None else template["text"])


def history(anomaly: Mapping[str, Any]) -> list[float | None]:
    """The last values of a series; of log lines, how many of the template, or of the service, came in each window."""
    if not is_log(anomaly):
        return list(anomaly["evidence"]["recent"])
    histogram = anomaly["histogram"]
    return list(histogram["template"] or histogram["service"])
