"""A report as one HTML file: no scripts, nothing loaded from elsewhere, the same bytes for the same input.

Every text that came with the data is escaped, and a policy in the page itself forbids what could still be loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from detector import __version__
from detector.batches import BatchCounts
from detector.commands.plain_text import plain
from detector.commands.report_episodes import Episode, SeriesEpisodes
from detector.commands.report_plot import plot
from detector.commands.report_samples import SeriesName, Trace
from detector.commands.report_style import STYLE
from detector.encoders.wording import duration, number, rfc3339

SEVERITIES: Final = ("critical", "error", "warning")
EPISODES_LISTED: Final = 5
"""Sentences shown at once under a plot; the others are a click away."""
QUIET_SHOWN: Final = 5
"""Series without episodes that are shown."""
WEEK_MS: Final = 7 * 86_400_000
DAY_MS: Final = 86_400_000
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""What the page may load: nothing but the style sheet in it."""


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """What a replay came to. ``kinds`` counts episodes by kind and severity; ``untraced`` samples had no room."""

    counts: BatchCounts
    rejects: Mapping[str, int]
    kinds: Mapping[tuple[str, str], int]
    traces: Mapping[SeriesName, Trace]
    episodes: Mapping[SeriesName, SeriesEpisodes]
    untraced: int
    files: int
    config_hash: str


def page(facts: ReportFacts, series_max: int) -> str:
    """Write the report with at most ``series_max`` plots: series with episodes, the worst first, then noisy ones."""
    bad = [name for name in facts.traces if name in facts.episodes]
    bad.sort(key=lambda name: (*_worst(facts.episodes[name]), name))
    quiet = [name for name in facts.traces if name not in facts.episodes and facts.traces[name].anomalous]
    quiet.sort(key=lambda name: (-_noise(facts.traces[name]), name))
    shown = bad[:series_max]
    shown_quiet = quiet[: min(QUIET_SHOWN, series_max - len(shown))]
    body = [
        "<h1>What the detector would have said</h1>",
        _origin(facts),
        _tiles(facts),
        _kinds(facts),
        _rejects(facts.rejects),
        _key() if shown or shown_quiet else "",
        "<h2>Series with episodes, the worst first</h2>",
        "".join(_article(name, facts) for name in shown) or '<p class="dim">No series had an episode.</p>',
        _left_out(len(facts.episodes), len(shown)),
    ]
    if shown_quiet:
        body.append("<h2>Without episodes, the noisiest</h2>")
        body.extend(_article(name, facts) for name in shown_quiet)
    if facts.untraced:
        body.append(f'<p class="dim">{facts.untraced:,} samples were of series beyond the limit for plots.</p>')
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Replay report</title><style>{STYLE}</style></head>\n<body>\n" + "\n".join(filter(None, body)) + "\n"
        "</body></html>\n"
    )


def _origin(facts: ReportFacts) -> str:
    files, settings = f"{facts.files:,} file{_s(facts.files)}", f"<code>{escape(facts.config_hash)}</code>"
    return f'<p class="dim">{files}, configuration {settings}, detector {escape(__version__)}. Times are UTC.</p>'


def _worst(series: SeriesEpisodes) -> tuple[float, int]:
    score, lasted = series.worst_first()[0].badness
    return -score, -lasted


def _noise(trace: Trace) -> float:
    return trace.anomalous / max(trace.scored, 1)


def _tiles(facts: ReportFacts) -> str:
    counts, count = facts.counts, sum(facts.kinds.values())
    span = _span(facts.traces.values())
    length = 0 if span is None else span[1] - span[0]
    rejected = sum(facts.rejects.values())
    tiles = [
        ("records", f"{counts.records:,}", _of_samples(counts)),
        ("series", f"{len(facts.traces):,}", f"{len(facts.episodes):,} with episodes"),
        ("episodes opened", f"{count:,}", _of_severities(facts.kinds)),
        ("per series and week", *_rate(count, len(facts.traces), length)),
        ("rejected records", f"{rejected:,}", f"{100 * rejected / max(counts.records, 1):.3g} % of all"),
        ("duration of the data", duration(length), "" if span is None else f"{_day(span[0])} to {_day(span[1])}"),
    ]
    cells = (f"<div><dl><dt>{name}</dt><dd>{value}<small>{note}</small></dd></dl></div>" for name, value, note in tiles)
    return f'<section class="tiles">{"".join(cells)}</section>'


def _of_samples(counts: BatchCounts) -> str:
    dropped = counts.late + counts.repeated
    return f"{counts.samples:,} samples" + (f", {dropped:,} late or repeated" if dropped else "")


def _span(traces: Iterable[Trace]) -> tuple[int, int] | None:
    held = [trace for trace in traces if trace.samples]
    return (min(each.first_ms for each in held), max(each.last_ms for each in held)) if held else None


def _rate(count: int, series: int, length_ms: int) -> tuple[str, str]:
    if not series or not length_ms:
        return "-", "no data"
    note = "" if length_ms >= DAY_MS else "from less than a day"
    return number(count / series / (length_ms / WEEK_MS)), note


def _of_severities(kinds: Mapping[tuple[str, str], int]) -> str:
    sums = {name: sum(count for (_, severity), count in kinds.items() if severity == name) for name in SEVERITIES}
    return ", ".join(f"{count:,} {name}" for name, count in sums.items() if count)


def _kinds(facts: ReportFacts) -> str:
    """Episodes by kind and severity."""
    if not facts.kinds:
        return ""
    head = "".join(f"<th>{name}</th>" for name in SEVERITIES)
    rows = "".join(
        f"<tr><th>{_text(kind)}</th>{''.join(f'<td>{facts.kinds.get((kind, name), 0):,}</td>' for name in SEVERITIES)}"
        "</tr>"
        for kind in sorted({kind for kind, _ in facts.kinds})
    )
    return f'<div class="card scroll"><table><thead><tr><th>episodes</th>{head}</tr></thead>{rows}</table></div>'


def _rejects(rejects: Mapping[str, int]) -> str:
    if not rejects:
        return ""
    told = ", ".join(f"{count:,} {escape(reason)}" for reason, count in sorted(rejects.items()))
    return f'<p class="dim">Rejected: {told}.</p>'


def _key() -> str:
    marks = (("v", "value"), ("e", "expected"), ("n", "normal band"), ("w", "warning"), ("r", "error"))
    told = "".join(f"<span><i class={mark}></i>{name}</span>" for mark, name in (*marks, ("c", "critical")))
    return f'<p class="key">{told}</p>'


def _left_out(count: int, shown: int) -> str:
    if count <= shown:
        return ""
    return (
        f'<p class="dim">{count - shown:,} more series with episodes are not shown (option --report-series); '
        "the list of events has them all.</p>"
    )


def _article(name: SeriesName, facts: ReportFacts) -> str:
    trace = facts.traces[name]
    series = facts.episodes.get(name)
    worst: Sequence[Episode] = series.worst_first() if series else ()
    drawn = plot(trace, worst)
    unit = f" {_text(series.unit)}" if series and series.unit else ""
    topics = {topic for topic, _ in facts.traces}
    source = f"{_text(name[0])} · " if len(topics) > 1 else ""
    count = f"{series.count:,} episode{_s(series.count)} · " if series else ""
    noise = f"{100 * _noise(trace):.2g} % of {trace.scored:,} scored samples outside the band"
    middle = (drawn.first_ms + drawn.last_ms) // 2
    along = "".join(f"<span>{_minute(at)}</span>" for at in (drawn.first_ms, middle, drawn.last_ms))
    return (
        f"<article><h3><bdi>{_text(name[1])}</bdi></h3>"
        f'<p class="dim">{source}{count}{noise}</p>'
        f'<figure><div class="axis up"><span>{number(drawn.high)}{unit}</span><span>{number(drawn.low)}{unit}</span>'
        f'</div>{drawn.svg}<div class="axis along">{along}</div></figure>{_sentences(series, worst)}</article>'
    )


def _sentences(series: SeriesEpisodes | None, worst: Sequence[Episode]) -> str:
    if series is None:
        return ""
    shown = f"<ul>{''.join(map(_sentence, worst[:EPISODES_LISTED]))}</ul>"
    rest = worst[EPISODES_LISTED:]
    if rest:
        shown += f"<details><summary>{len(rest):,} more</summary><ul>{''.join(map(_sentence, rest))}</ul></details>"
    if series.count > len(worst):
        shown += f'<p class="dim">{series.count - len(worst):,} less severe episodes are counted, but not drawn.</p>'
    return shown


def _sentence(episode: Episode) -> str:
    score = "" if episode.peak_score is None else f" · peak score {episode.peak_score:.1f}"
    lasted = duration(episode.ended_ms - episode.started_ms)
    state = "still open" if episode.is_open else f"lasted {lasted}"
    return (
        f'<li class="{_text(episode.severity)}"><b class="{_text(episode.severity)}">{_text(episode.severity)}</b> '
        f"{_text(episode.kind)}{score} · {state}<br><bdi>{_text(episode.summary)}</bdi></li>"
    )


def _text(foreign: str) -> str:
    return escape(plain(foreign))


def _day(time_ms: int) -> str:
    return rfc3339(time_ms)[:10]


def _minute(time_ms: int) -> str:
    return rfc3339(time_ms)[:16].replace("T", " ")


def _s(count: int) -> str:
    return "" if count == 1 else "s"
