"""``detector explain`` for log lines: why an event was sent, for the person who got it; whether it comes out again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from detector.commands.drawing import sparkline
from detector.commands.explain_gates import Gate
from detector.commands.explain_logs_event import COMBINED, LogTold, LogToldEvent, LogToldTemplate, log_told
from detector.commands.explain_logs_gates import log_gates_of, log_policy_of_event
from detector.commands.explain_logs_run import derive_logs_from_files, derive_logs_from_kafka
from detector.commands.explain_parts import (
    bar,
    check_reproduced,
    derivation_object,
    framed,
    gate_table,
    show,
    verdict,
)
from detector.commands.explain_run import Derivation, not_run
from detector.commands.plain_text import plain
from detector.encoders.wording import number
from detector.settings import Settings, log_config_hash

EVIDENCE_HALF: Final = 6.0
"""Evidence that fills half of a bar: p = 1e-6, at which the default policy opens."""
SHOWN_MIN: Final = 0.05
"""Lines of a class that is usual; fewer are none."""
CLOCK: Final = slice(11, 19)
"""Hours, minutes and seconds of an RFC 3339 time."""


def explain_log_event(
    settings: Settings, argument: str, value: bytes, inputs: Sequence[Path], *, kafka: bool, as_json: bool
) -> None:
    """Print why; raises ``UsageError``, and ``GateFailedError`` where the event could not be derived again."""
    event = log_told(value, argument)
    if inputs:
        derivation = derive_logs_from_files(settings, event, inputs)
    elif kafka:
        derivation = derive_logs_from_kafka(settings, event)
    else:
        derivation = not_run()
    gates, note = _gates(settings, event.data)
    if as_json:
        told = _as_object(event, derivation, gates, note)
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        show(lambda _: _panel(event, derivation, gates, note))
    check_reproduced(derivation)


def _gates(settings: Settings, event: LogTold) -> tuple[list[Gate], str]:
    """The gates, or why they are not known."""
    if log_config_hash(settings) != event.model.config_hash:
        return [], f"policy {event.policy}: not told, since these settings are not those of the event (--config)"
    policy = log_policy_of_event(settings, event)
    if policy is None:
        return [], f"policy {event.policy}: not in these settings"
    return log_gates_of(event, policy), f"policy {event.policy}"


def _panel(event: LogToldEvent, derivation: Derivation, gates: Sequence[Gate], note: str) -> RenderableType:
    data = event.data
    parts: list[RenderableType] = [Text(plain(data.summary), style="bold"), Text()]
    for part in (
        _histogram(data),
        _numbers(data),
        _contributions(data),
        _templates(data),
        _severities(data),
        _samples(data),
        gate_table(gates, note),
        _facts(event),
    ):
        if part is not None:
            parts += [part, Text()]
    return framed([*parts, verdict(derivation)], data.kind, data.state, data.severity)


def _histogram(event: LogTold) -> Table | None:
    histogram = event.histogram
    rows = [("lines of the service", histogram.service), ("of the template", histogram.template or [])]
    if not histogram.service:
        return None
    table = Table.grid(padding=(0, 1))
    for name, counts in rows:
        if counts:
            span = f"{min(counts):,} to {max(counts):,}, the last {counts[-1]:,}"
            table.add_row(Text(name, style="dim"), Text(sparkline(counts), style="cyan"), span)
    length = number(event.window.length_s)
    caption = f"{len(histogram.service)} windows of {length} s up to {histogram.end[CLOCK]}Z"
    table.add_row("", Text(caption, style="dim"))
    return table


def _numbers(event: LogTold) -> Text:
    peak = event.peak
    text = Text.assemble(("what would have been normal: ", "dim"))
    if peak.expected is None:
        text.append("not known", "bold")
    else:
        text.append(f"{number(peak.expected)} lines in {number(event.window.length_s)} s", "bold")
    together = event.contributions.get(COMBINED)
    facts = (
        ("observed", None if peak.observed is None else f"{peak.observed:,}"),
        ("all signals together", None if together is None else f"p = 10^-{number(together)}"),
        ("score", None if peak.score is None else number(peak.score)),
        ("in the window from", f"{peak.at[CLOCK]}Z"),
    )
    for name, found in facts:
        if found is not None:
            text.append(f" · {name} ", "dim")
            text.append(plain(found))
    return text


def _contributions(event: LogTold) -> Table:
    """Every signal with evidence, the most first, with its reason where it is one."""
    reasons = {reason.code: reason for reason in event.reasons}
    told = dict(event.signals)
    for code in reasons:
        told.setdefault(code, event.contributions.get(code) or 0.0)
    table = Table.grid(padding=(0, 1))
    for name, evidence in told.items():
        reason = reasons.get(name)
        share = Text("" if reason is None else f"{100 * reason.weight:.0f} %".rjust(5))
        words = Text(f"p = 10^-{number(evidence)}", style="dim") if reason is None else Text(plain(reason.text))
        table.add_row(bar(evidence / (EVIDENCE_HALF + evidence)), share, Text(plain(name), style="bold"), words)
    return table


def _templates(event: LogTold) -> Table | None:
    if not event.templates:
        return None
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for name in ("lines", "expected", "share", "usually", "severity", "template"):
        last = name in {"severity", "template"}
        table.add_column(name, justify="left" if last else "right", no_wrap=name != "template")
    for template in event.templates:
        table.add_row(*_template_row(template))
    return table


def _template_row(template: LogToldTemplate) -> list[RenderableType]:
    style = "bold red" if template.new else ""
    new = " (new)" if template.new else ""
    return [
        f"{template.observed:,}",
        _known(template.expected),
        _percent(template.share),
        _percent(template.usual_share),
        plain(template.severity),
        Text(plain(template.text) + new, style=style),
    ]


def _severities(event: LogTold) -> Text | None:
    told = [each for each in event.severities if each.observed or (each.usual or 0.0) >= SHOWN_MIN]
    if not told:
        return None
    text = Text("lines by severity: ", style="dim")
    for place, each in enumerate(told):
        text.append(" · " if place else "", "dim")
        text.append(f"{plain(each.severity)} {each.observed:,}", "")
        text.append(f" (usually {_known(each.usual)})", "dim")
    return text


def _samples(event: LogTold) -> Table | None:
    if not event.samples:
        return None
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for name in ("offset", "time", "severity", "line"):
        table.add_column(name, justify="right" if name == "offset" else "left", no_wrap=name != "line")
    for sample in event.samples:
        trace = "" if sample.trace_id is None else f" trace {sample.trace_id}"
        line = Text.assemble(plain(sample.line), (plain(trace), "dim"))
        table.add_row(f"{sample.offset:,}", plain(sample.time[CLOCK]), plain(sample.severity), line)
    return table


def _facts(event: LogToldEvent) -> Text:
    data = event.data
    model, source = data.model, data.provenance
    seen = (
        "" if data.evidence.windows_seen is None else f", {data.evidence.windows_seen:,} windows of this service seen"
    )
    lines = (
        f"service {data.series.identity}",
        f"model {model.name} version {model.version}, configuration {model.config_hash}{seen}",
        f"record {source.input_topic}[{source.partition}] at offset {source.offset:,} · event {event.id}",
    )
    return Text("\n".join(map(plain, lines)), style="dim")


def _known(value: float | None) -> str:
    return "?" if value is None else number(value)


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{number(100 * share)} %"


def _as_object(event: LogToldEvent, derivation: Derivation, gates: Sequence[Gate], note: str) -> dict[str, Any]:
    data = event.data
    return {
        "event": {"id": event.id, "data": msgspec.to_builtins(event.whole)},
        "normal": {"expected": data.peak.expected, "unit": "lines"},
        "signals": [{"name": name, "neg_log10_p": evidence} for name, evidence in data.signals],
        "gates": [gate._asdict() for gate in gates],
        "gates_note": note,
        "derivation": derivation_object(derivation),
    }
