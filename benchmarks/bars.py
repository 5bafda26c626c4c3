"""A picture of a benchmark's table: one bar per detector and measure, ours coloured. Needs the extra ``bench``."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks.report_line import note

OURS: Final = "#1f6f8b"
THEIRS: Final = "#b8bec4"
BAR_HEIGHT: Final = 0.28
WIDTH: Final = 4.2


def draw(path: Path, title: str, table: Mapping[str, Mapping[str, float]], measures: Sequence[str]) -> None:
    """Write ``path`` (its ending names the format): panels side by side, one per measure, best detector on top.

    ``table`` gives each detector's measures; a detector whose name begins with "detector" is ours.
    """
    if find_spec("matplotlib") is None:
        note(f"{path} not drawn: pip install -e '.[bench]'")
        return
    import_module("matplotlib").use("Agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    order = sorted(table, key=lambda name: table[name][measures[0]])
    figure, axes = pyplot.subplots(
        1,
        len(measures),
        figsize=(WIDTH * len(measures), 1.2 + BAR_HEIGHT * len(order)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    figure.suptitle(title)
    for axis, measure in zip(axes[0], measures, strict=True):
        values = [table[name][measure] for name in order]
        colours = [OURS if name.startswith("detector") else THEIRS for name in order]
        bars = axis.barh(order, values, color=colours)
        axis.bar_label(bars, labels=[f"{value:.3g}" for value in values], padding=3, fontsize=8)
        axis.set_title(measure, fontsize=10)
        axis.margins(x=0.18)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    note(f"wrote {path}")
