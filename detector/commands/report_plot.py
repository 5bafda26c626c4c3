"""One series as SVG: band, expected value, values, and episodes as shaded stretches.

The picture is stretched to the width of the page, so it holds no text; lines keep their width all the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

from detector.batches import FloatArray, IntArray
from detector.commands.plain_text import plain
from detector.commands.report_episodes import Episode
from detector.commands.report_samples import EXPECTED, LARGEST, LEAST, LOWER, UPPER, Trace

WIDTH: Final = 1000.0
HEIGHT: Final = 200.0
MARGIN: Final = 0.05
"""Share of the height left free above and below."""
BAND_PERCENTILES: Final = (5.0, 95.0)
"""What of the band the vertical scale respects: at the end of the warm-up it can be wide beyond all use."""
GAP_COLUMNS: Final = 6.0
"""A pause of so many usual ones between columns breaks the line."""
EPISODE_WIDTH_MIN: Final = 3.0
LARGE: Final = 1e150
"""Beyond it a difference could overflow; then values are drawn as shares of the largest."""


@dataclass(frozen=True, slots=True)
class Plot:
    """The picture, and what its axes are marked with."""

    svg: str
    low: float
    high: float
    first_ms: int
    last_ms: int


def plot(trace: Trace, episodes: Sequence[Episode]) -> Plot:
    """Draw ``trace``, which has at least one column."""
    first, last = trace.first_ms, max(trace.last_ms, *(each.ended_ms for each in episodes), trace.first_ms + 1)
    middles = trace.starts_ms + (trace.width_ms - 1) // 2
    columns = np.clip(middles, trace.first_ms, trace.last_ms)
    xs: FloatArray = np.asarray((columns - first) * (WIDTH / (last - first)), np.float64)
    low, high = _range(trace)
    ys = _heights(trace.numbers, low, high)
    parts = [
        *(_shade(each, first, last) for each in sorted(episodes, key=lambda each: each.started_ms)),
        *(_band(xs[run], ys[run]) for run in _runs(xs, _known(trace.numbers[:, LOWER] + trace.numbers[:, UPPER]))),
        *(_line("expected", xs[run], ys[run, EXPECTED]) for run in _runs(xs, _known(trace.numbers[:, EXPECTED]))),
        *(_values(xs[run], ys[run]) for run in _runs(xs, np.arange(len(xs)))),
        *_peaks(episodes, first, last, low, high),
    ]
    picture = (
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="values with their normal band">{"".join(parts)}</svg>'
    )
    return Plot(picture, low, high, first, last)


def _known(column: FloatArray) -> IntArray:
    return np.flatnonzero(~np.isnan(column))


def _range(trace: Trace) -> tuple[float, float]:
    """The vertical scale: all values, and the band where it is not at its widest."""
    low, high = float(trace.numbers[:, LEAST].min()), float(trace.numbers[:, LARGEST].max())
    lower, upper = (column[np.isfinite(column)] for column in (trace.numbers[:, LOWER], trace.numbers[:, UPPER]))
    if len(lower) and len(upper):
        low = min(low, float(np.percentile(lower, BAND_PERCENTILES[0])))
        high = max(high, float(np.percentile(upper, BAND_PERCENTILES[1])))
    return (low, high) if high > low else (low - max(abs(low), 1.0) / 2, high + max(abs(high), 1.0) / 2)


def _heights(numbers: FloatArray, low: float, high: float) -> FloatArray:
    """From the top, in units of the picture; what lies far outside is cut there."""
    largest = max(abs(low), abs(high))
    if largest > LARGE:
        numbers, low, high = numbers / largest, low / largest, high / largest
    shares = (numbers - low) / (high - low)
    return np.clip(HEIGHT * (1 - MARGIN - (1 - 2 * MARGIN) * shares), -HEIGHT, 2 * HEIGHT)


def _runs(xs: FloatArray, known: IntArray) -> Iterator[IntArray]:
    """Stretches of the ``known`` columns without a long pause in between."""
    if not len(known):
        return
    pauses = np.diff(xs[known])
    usual = float(np.median(pauses)) if len(pauses) else 0.0
    yield from np.split(known, np.flatnonzero(pauses > GAP_COLUMNS * usual) + 1)


def _points(xs: FloatArray, ys: FloatArray) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True))


def _line(name: str, xs: FloatArray, ys: FloatArray) -> str:
    if len(xs) == 1:  # a line of no length, which round ends make a dot
        xs, ys = np.repeat(xs, 2), np.repeat(ys, 2)
    return f'<polyline class="{name}" points="{_points(xs, ys)}"/>'


def _values(xs: FloatArray, ys: FloatArray) -> str:
    """Through the extremes of every column."""
    pairs = np.column_stack([ys[:, LEAST], ys[:, LARGEST]])
    distinct = np.column_stack([np.ones(len(xs), np.bool_), pairs[:, 0] != pairs[:, 1]]).ravel()
    return _line("value", np.repeat(xs, 2)[distinct], pairs.ravel()[distinct])


def _band(xs: FloatArray, ys: FloatArray) -> str:
    if len(xs) == 1:
        xs, ys = np.append(xs, xs + 1), np.repeat(ys, 2, axis=0)
    there = _points(xs, ys[:, UPPER])
    back = _points(xs[::-1], ys[::-1, LOWER])
    return f'<polygon class="band" points="{there} {back}"/>'


def _shade(episode: Episode, first: int, last: int) -> str:
    scale = WIDTH / (last - first)
    width = max((episode.ended_ms - episode.started_ms) * scale, EPISODE_WIDTH_MIN)
    left = min(max((episode.started_ms - first) * scale, 0.0), WIDTH - EPISODE_WIDTH_MIN)
    title = escape(plain(episode.summary))
    return (
        f'<rect class="episode {episode.severity}" x="{left:.1f}" y="0" width="{width:.1f}" '
        f'height="{HEIGHT:.0f}"><title>{title}</title></rect>'
    )


def _peaks(episodes: Sequence[Episode], first: int, last: int, low: float, high: float) -> Iterator[str]:
    for each in episodes:
        if each.peak_ms is not None and each.peak_observed is not None:
            height = _heights(np.array([each.peak_observed]), low, high)
            at = np.array([(each.peak_ms - first) * (WIDTH / (last - first))])
            yield _line("peak", at, height)
