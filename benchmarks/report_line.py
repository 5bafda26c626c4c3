"""How every benchmark prints: a table for people, then one line of JSON for programs."""

from collections.abc import Mapping, Sequence

import orjson
from rich.console import Console
from rich.table import Table


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], result: Mapping[str, object]) -> None:
    """Print ``rows`` under ``columns`` (the first to the left, numbers to the right), then ``result`` as JSON."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=True, width=120).print(table)
    print(orjson.dumps(dict(result)).decode(), flush=True)


def note(text: str) -> None:
    """Tell on stderr what is going on."""
    Console(stderr=True).print(text, style="dim", markup=False)
