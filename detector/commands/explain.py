"""``detector explain``: why an event was sent, for the person who got it, and whether its numbers come out again."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from detector.commands.explain_chart import chart
from detector.commands.explain_event import Told, ToldEvent, ToldModel, read_event
from detector.commands.explain_gates import Gate, gates_of, policy_of_event
from detector.commands.explain_logs import explain_log_event
from detector.commands.explain_parts import (
    bar,
    check_reproduced,
    derivation_object,
    framed,
    gate_table,
    show,
    verdict,
)
from detector.commands.explain_run import Derivation, Point, derive_from_files, derive_from_kafka, not_run
from detector.commands.plain_text import plain
from detector.encoders.wording import number
from detector.settings import Settings, config_hash

LOGS: Final = "log."
"""What kinds of episodes of log lines begin with."""
CHOSEN: Final = {
    "policy": "named by the policy",
    "low_counts": "chosen by auto: low counts",
    "unit": "chosen by auto: its name or unit is none of counts",
    "default": "chosen by auto: not like low counts",
    "not_whole": "chosen by auto: not like counts any more",
    "warm_up": "has chosen no learner yet",
}
"""``model.chosen`` for people."""


def explain_event(
    settings: Settings, argument: str, events: Path | None, inputs: Sequence[Path], *, kafka: bool, as_json: bool
) -> None:
    """Print why; raises ``UsageError``, and ``GateFailedError`` where the numbers could not be derived again."""
    event, value = read_event(argument, events)
    if event.data.kind.startswith(LOGS):
        explain_log_event(settings, argument, value, inputs, kafka=kafka, as_json=as_json)
        return
    if inputs:
        derivation = derive_from_files(settings, event.data, inputs)
    elif kafka:
        derivation = derive_from_kafka(settings, event.data)
    else:
        derivation = not_run()
    gates, gates_note = _gates(settings, event.data)
    if as_json:
        typer.echo(json.dumps(_as_object(event, derivation, gates, gates_note), indent=2, ensure_ascii=False))
    else:
        show(lambda width: _panel(event, derivation, gates, gates_note, width))
    check_reproduced(derivation)


def _gates(settings: Settings, event: Told) -> tuple[list[Gate], str]:
    """The gates, or why they are not known."""
    if config_hash(settings, event.provenance.input_topic) != event.model.config_hash:
        return [], f"policy {event.policy}: not told, since these settings are not those of the event (--config)"
    policy = policy_of_event(settings, event)
    if policy is None:
        return [], f"policy {event.policy}: not in these settings"
    return gates_of(event, policy), f"policy {event.policy}"


def _points(event: Told, derivation: Derivation) -> Sequence[Point]:
    """What came out again, with the band of each sample; else the evidence, with the band of the event."""
    if derivation.points:
        return derivation.points
    expected, lower, upper = (_number(value) for value in (event.expected, event.lower, event.upper))
    return [Point(None, value, expected, lower, upper) for value in event.evidence.recent if value is not None]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _panel(
    event: ToldEvent, derivation: Derivation, gates: Sequence[Gate], gates_note: str, width: int
) -> RenderableType:
    data = event.data
    inner = width - 4
    points = _points(data, derivation)
    drawn = chart(points, inner)
    reasons = _reasons(data)
    parts: list[RenderableType] = [Text(plain(data.summary), style="bold"), Text()]
    if drawn:
        parts += [*drawn, _caption(points, derivation), Text()]
    parts += [_numbers(data), Text(), reasons, Text(), gate_table(gates, gates_note), Text(), _facts(event), Text()]
    return framed([*parts, verdict(derivation)], data.kind, data.state, data.severity)


def _caption(points: Sequence[Point], derivation: Derivation) -> Text:
    band = "its band" if derivation.points else "the band of the event"
    return Text.assemble(
        (f"the last {len(points)} values · ", "dim"),
        ("•", "bold cyan"),
        (f" inside {band}  ", "dim"),
        ("●", "bold red"),
        (" outside  ", "dim"),
        ("░", "blue"),
        (" band  ", "dim"),
        ("╌", "blue"),
        (" expected", "dim"),
    )


def _numbers(event: Told) -> Text:
    unit = f" {plain(event.series.unit)}" if event.series.unit else ""
    text = Text.assemble(("what would have been normal: ", "dim"))
    if event.lower is None or event.upper is None:
        text.append("not known: there is no sample behind this step", "bold")
    else:
        text.append(f"{number(event.lower)} to {number(event.upper)}{unit}", "bold")
        if event.expected is not None:
            text.append(f" (expected {number(event.expected)}{unit})")
    for name, value in (("observed", event.observed), ("deviation", event.deviation), ("score", event.score)):
        if value is not None:
            text.append(f" · {name} ", "dim")
            text.append(number(value) + (unit if name == "observed" else ""))
    return text


def _reasons(event: Told) -> Table:
    table = Table.grid(padding=(0, 1))
    for reason in event.reasons:
        share = Text(f"{100 * reason.weight:.0f} %".rjust(5))
        table.add_row(bar(reason.weight), share, Text(plain(reason.code), style="bold"), Text(plain(reason.text)))
    return table


def _facts(event: ToldEvent) -> Text:
    data = event.data
    model, source = data.model, data.provenance
    peers = ", what is usual taken from its peers" if data.quality.prior == "peers" else ""
    seen = "" if data.evidence.samples_seen is None else f", {data.evidence.samples_seen:,} samples of this series seen"
    lines = (
        f"series {data.series.identity}",
        f"model {model.name} version {model.version}{_chosen(model)}, configuration {model.config_hash}{seen}{peers}",
        f"record {source.input_topic}[{source.partition}] at offset {source.offset:,} · event {event.id}",
    )
    return Text("\n".join(map(plain, lines)), style="dim")


def _chosen(model: ToldModel) -> str:
    """Why this learner; events of older versions do not say."""
    return "" if model.chosen is None else f" ({CHOSEN.get(model.chosen, model.chosen)})"


def _as_object(event: ToldEvent, derivation: Derivation, gates: Sequence[Gate], gates_note: str) -> dict[str, Any]:
    data = event.data
    return {
        "event": msgspec.to_builtins(event),
        "normal": {"lower": data.lower, "upper": data.upper, "expected": data.expected, "unit": data.series.unit},
        "gates": [gate._asdict() for gate in gates],
        "gates_note": gates_note,
        "recent": [
            {name: _known(value) for name, value in point._asdict().items()} for point in _points(data, derivation)
        ],
        "derivation": derivation_object(derivation),
    }


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
