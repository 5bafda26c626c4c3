"""What explanations of all kinds of events look alike in: the frame, bars, gates, and whether it came out again."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from detector.commands.explain_gates import Gate
from detector.commands.explain_run import Derivation
from detector.commands.plain_text import plain
from detector.errors import GateFailedError

WIDTH_MAX: Final = 120
BAR_CELLS: Final = 10
SEVERITY_STYLES: Final = {"warning": "yellow", "error": "dark_orange", "critical": "red"}
STATUS_STYLES: Final = {"reproduced": "green", "not_run": "dim"}
STATUS_WORDS: Final = {
    "reproduced": "✔ ",
    "differs": "✘ not reproduced: ",
    "missing": "✘ cannot be reproduced: ",
    "other_settings": "✘ cannot be reproduced: ",
    "not_run": "",
}


def show(panel: Callable[[int], RenderableType]) -> None:
    """Print what ``panel`` draws for the terminal's width, but no wider than one reads easily."""
    console = Console()
    width = min(console.width, WIDTH_MAX)
    console.print(panel(width), width=width)


def framed(parts: Sequence[RenderableType], kind: str, state: str, severity: str) -> Panel:
    """Put the parts under one another into a frame with the event's kind, state and severity."""
    style = SEVERITY_STYLES.get(severity, "white")
    title = Text(f" {plain(kind)} {plain(state)} · {plain(severity)} ", style=f"bold {style}")
    return Panel(Group(*parts), title=title, title_align="left", border_style=style, padding=(0, 1))


def bar(share: float) -> Text:
    """A bar filled by this share of it."""
    filled = min(max(round(share * BAR_CELLS), 0), BAR_CELLS)
    return Text("█" * filled, style="cyan") + Text("░" * (BAR_CELLS - filled), style="dim")


def gate_table(gates: Sequence[Gate], note: str) -> RenderableType:
    """The gates with a mark each, under the note about their policy; or the note alone."""
    table = Table.grid(padding=(0, 1))
    for gate in gates:
        mark = {True: Text("✔", style="green"), False: Text("✘", style="red"), None: Text("·", style="dim")}[gate.holds]
        dim = "dim" if gate.holds is None else ""
        table.add_row(mark, *(Text(plain(part), style=dim) for part in (gate.name, gate.rule, gate.found)))
    return Group(Text(plain(note), style="dim"), table) if gates else Text(plain(note), style="dim")


def verdict(derivation: Derivation) -> Text:
    """Whether it came out again, and why not."""
    text = STATUS_WORDS[derivation.status] + plain(derivation.reason)
    return Text(text, style=STATUS_STYLES.get(derivation.status, "bold red"))


def derivation_object(derivation: Derivation) -> dict[str, Any]:
    """The same for machines."""
    return {
        "status": derivation.status,
        "reason": derivation.reason,
        "records": derivation.records,
        "compared": [{**each._asdict(), "equal": each.equal} for each in derivation.compared],
    }


def check_reproduced(derivation: Derivation) -> None:
    """Raise ``GateFailedError`` where the event was to come out again and did not."""
    if derivation.status not in {"reproduced", "not_run"}:
        raise GateFailedError(plain(f"the event cannot be reproduced: {derivation.reason}"))
