"""``detector replay --report``: one page, safe with foreign text, the same bytes every time, bounded."""

import json
import random
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from detector.batches import ScoreColumns, ScoredBatch
from detector.cli import app
from detector.commands.plain_text import plain
from detector.commands.report_episodes import KEPT_MAX, Episode, SeriesEpisodes
from detector.commands.report_plot import HEIGHT, WIDTH, plot
from detector.commands.report_samples import LARGEST, LEAST, SeriesName, Trace, Traces

FIXED = """
models: {fixed: {residual: {}}}
policies: [{name: all, model: fixed, direction: up, abs_min: 20, open: 3 of 5}]
"""
"""What is counted here does not depend on what the defaults are."""

VOID = {"meta", "br"}
EMPTY = {"rect", "polyline", "polygon"}
NASTY = "<script>alert('x')</script>\"&\x1b[2J\u202e"


class Page(HTMLParser):
    """Elements with their attributes, text by innermost element; fails where elements do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in EMPTY
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.texts.append((self._open[-1], data))

    def count(self, tag: str, class_: str = "") -> int:
        return sum(name == tag and class_ in (attrs.get("class") or "") for name, attrs in self.elements)

    def tile(self, name: str) -> str:
        at = self.texts.index(("dt", name))
        return self.texts[at + 1][1]

    def text(self) -> str:
        return " ".join(text for tag, text in self.texts if tag != "style")


def write_records(path: Path, series: dict[str, float], rows: int = 400, labels: str = "a") -> Path:
    """Minutes of noisy levels; each series is so much off for ten minutes, and one record is broken."""
    noise = random.Random(5)
    lines = [
        json.dumps(
            {
                "name": name,
                "labels": {"host": labels},
                "time": 1_700_000_000 + 60 * row,
                "value": 50 + noise.gauss(0, 1) + (off if 300 <= row < 310 else 0),
            }
        )
        for row in range(rows)
        for name, off in series.items()
    ]
    path.write_text("\n".join([*lines, "{"]), encoding="utf-8")
    return path


def report(path: Path, *arguments: object) -> str:
    out, config = path.parent / "report.html", path.parent / "c.yaml"
    config.write_text(FIXED, encoding="utf-8")
    words = ["replay", str(path), "--report", str(out), "-c", str(config), *map(str, arguments)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out.read_text(encoding="utf-8")


class TestPage:
    def test_it_says_what_came_of_the_replay(self, tmp_path: Path) -> None:
        page = Page(report(write_records(tmp_path / "x.jsonl", {"far": 400, "near": 40, "calm": 0})))
        assert page.tile("records") == "1,201"
        assert page.tile("series") == "3"
        assert page.tile("episodes opened") == "2"
        assert page.tile("rejected records") == "1"
        assert page.tile("duration of the data") == "6 h 39 min"
        assert float(page.tile("per series and week")) == pytest.approx(2 / 3 / (399 / 10_080), rel=0.01)
        assert "Rejected: 1 invalid_json." in page.text()
        assert page.count("svg") == page.count("article") >= 2
        assert page.count("polygon", "band") >= 2
        assert page.count("polyline", "value") >= 2
        assert page.count("rect", "episode") == page.count("polyline", "peak") == page.count("li") == 2

    def test_the_worst_series_stands_first_with_its_sentence(self, tmp_path: Path) -> None:
        page = Page(report(write_records(tmp_path / "x.jsonl", {"near": 40, "far": 400})))
        titles = [text for tag, text in page.texts if tag == "bdi" and text.endswith("}")]
        assert titles[:2] == ['far{host="a"}', 'near{host="a"}']
        assert "far of a is back to normal at" in page.text()

    def test_nothing_is_loaded_and_nothing_runs(self, tmp_path: Path) -> None:
        text = report(write_records(tmp_path / "x.jsonl", {"far": 400}))
        page = Page(text)
        assert {name for name, _ in page.elements} & {"script", "link", "img", "iframe", "object", "a"} == set()
        attributes = {name for _, attrs in page.elements for name in attrs}
        assert not {name for name in attributes if name.startswith("on")} | attributes & {"src", "href", "style"}
        assert ("meta", {"http-equiv": "Content-Security-Policy", "content": "default-src 'none'; style-src 'unsafe-inline'"}) in page.elements  # fmt: skip  # noqa: E501
        assert "url(" not in text
        assert "@import" not in text

    def test_labels_are_text_and_cannot_act(self, tmp_path: Path) -> None:
        text = report(write_records(tmp_path / "x.jsonl", {"<b>far": 400}, labels=NASTY))
        page = Page(text)
        assert "script" not in {name for name, _ in page.elements}
        assert page.count("b") == page.count("li")
        assert "<script>alert('x')</script>" in page.text()
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\x1b[2J\\u202e" in page.text()

    def test_the_same_records_give_the_same_bytes_wherever_batches_are_cut(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_records(tmp_path / "x.jsonl", {"far": 400, "near": 40, "calm": 0})
        pages = []
        for size in (10_000, 10_000, 7):
            monkeypatch.setenv("DETECTOR_WORKER__BATCH_RECORDS_MAX", str(size))
            pages.append(report(path))
        assert pages[0] == pages[1] == pages[2]

    def test_more_series_than_asked_for_are_counted(self, tmp_path: Path) -> None:
        path = write_records(tmp_path / "x.jsonl", {"a": 400, "b": 300, "c": 200, "d": 100})
        page = Page(report(path, "--report-series", 3))
        assert page.count("article") == 3
        assert "1 more series with episodes are not shown" in page.text()

    def test_series_of_two_files_are_kept_apart(self, tmp_path: Path) -> None:
        for folder, off in (("one", 400), ("two", 0)):
            (tmp_path / folder).mkdir()
            noise = random.Random(1)
            rows = [f"{60 * row},{50 + noise.gauss(0, 1) + off * (300 <= row < 310)}" for row in range(400)]
            (tmp_path / folder / "level.csv").write_text("time,value\n" + "\n".join(rows), encoding="utf-8")
        page = Page(report(tmp_path / "one", tmp_path / "two"))
        assert page.tile("series") == "2"
        assert page.tile("episodes opened") == "1"
        assert "one/level.csv · 1 episode" in page.text()

    def test_a_replay_without_any_sample_has_a_page(self, tmp_path: Path) -> None:
        page = Page(report(write_records(tmp_path / "x.jsonl", {})))
        assert page.tile("series") == "0"
        assert page.tile("per series and week") == "-"
        assert page.count("svg") == 0
        assert "No series had an episode." in page.text()

    def test_it_never_overwrites_what_is_replayed(self, tmp_path: Path) -> None:
        path = write_records(tmp_path / "x.jsonl", {"far": 400})
        before = path.read_bytes()
        result = CliRunner().invoke(app, ["replay", str(path), "--report", str(path)])
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert path.read_bytes() == before


def batch(series: list[str], times: list[int], values: list[float]) -> ScoredBatch:
    size = len(values)
    scores = ScoreColumns.empty(size)
    scores.score[:] = 10.0
    scores.deviation[:] = np.where(np.array(values) > 100, 2.0, 0.1)
    return ScoredBatch(
        np.arange(size), series, np.array(times, np.int64), np.array(values), np.ones(size, np.bool_), scores
    )


class TestTraces:
    @given(
        st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1e6, 1e6)), min_size=1, max_size=120),
        st.lists(st.integers(1, 40), max_size=8),
        st.integers(2, 9),
    )
    @settings(max_examples=60, deadline=None)
    def test_extremes_and_counts_survive_and_cuts_do_not_matter(
        self, samples: list[tuple[str, float]], cuts: list[int], columns_max: int
    ) -> None:
        def traced(sizes: list[int]) -> dict[SeriesName, Trace]:
            traces, start = Traces(columns_max=columns_max, fold_samples=16), 0
            for size in [*sizes, len(samples)]:
                part = samples[start : start + size]
                if part:
                    times = [1000 * (start + at) for at in range(len(part))]
                    traces.add("t", batch([name for name, _ in part], times, [value for _, value in part]))
                start += size
            return traces.finish()

        whole, cut = traced([]), traced(cuts)
        assert list(whole) == list(cut)
        for (_, name), trace in whole.items():
            other = cut["t", name]
            assert np.array_equal(trace.starts_ms, other.starts_ms)
            assert np.array_equal(trace.numbers, other.numbers, equal_nan=True)
            values = [value for each, value in samples if each == name]
            assert len(trace.starts_ms) <= columns_max
            assert trace.numbers[:, LEAST].min() == min(values)
            assert trace.numbers[:, LARGEST].max() == max(values)
            assert trace.samples == trace.scored == len(values)
            assert trace.anomalous == sum(value > 100 for value in values)

    def test_a_spike_of_one_sample_among_many_stays_in_its_column(self) -> None:
        traces = Traces(columns_max=10, fold_samples=100)
        values = [0.0] * 1000
        values[501] = 7.0
        traces.add("t", batch(["a"] * 1000, list(range(1000)), values))
        trace = traces.finish()["t", "a"]
        column = int(np.flatnonzero(trace.numbers[:, LARGEST] == 7.0)[0])
        assert trace.starts_ms[column] <= 501 < trace.starts_ms[column] + trace.width_ms
        assert trace.width_ms == 128

    def test_all_series_together_have_a_limit_of_columns(self) -> None:
        traces = Traces(columns_max=64, total_columns_max=200, fold_samples=100)
        for row in range(200):
            traces.add("t", batch([f"s{series}" for series in range(10)], [row] * 10, [float(row)] * 10))
        held = traces.finish()
        assert traces.columns_max == 16
        assert sum(len(trace.starts_ms) for trace in held.values()) <= 200
        assert {trace.samples for trace in held.values()} == {200}

    def test_samples_of_series_beyond_the_limit_are_counted(self) -> None:
        traces = Traces(series_max=2)
        traces.add("t", batch(["a", "b", "c", "c", ""], [1, 2, 3, 4, 5], [1.0] * 5))
        assert len(traces.finish()) == 2
        assert traces.untraced_samples == 3


class TestPlot:
    def test_numbers_near_the_largest_float_stay_in_the_picture(self) -> None:
        traces = Traces()
        traces.add("t", batch(["a"] * 3, [0, 1, 2], [-1.7e308, 1.7e308, 0.0]))
        drawn = plot(traces.finish()["t", "a"], [])
        line = drawn.svg.split('class="value" points="')[1].split('"')[0]
        points = [tuple(map(float, point.split(","))) for point in line.split()]
        assert [x for x, _ in points] == [0.0, WIDTH / 2, WIDTH]
        assert [y for _, y in points] == [HEIGHT * 0.95, HEIGHT * 0.05, HEIGHT * 0.5]

    def test_a_long_pause_breaks_the_line(self) -> None:
        traces = Traces()
        traces.add("t", batch(["a"] * 20, [*range(10), *range(500, 510)], [1.0] * 20))
        assert plot(traces.finish()["t", "a"], []).svg.count('class="value"') == 2


class TestEpisodes:
    def test_only_the_worst_of_a_series_are_kept_and_all_are_counted(self) -> None:
        series = SeriesEpisodes()
        for at in range(3 * KEPT_MAX):
            series.add(Episode("metric.spike", "error", "s", at, at + 1, False, float(at), at, 1.0))
        kept = series.worst_first()
        assert series.count == 3 * KEPT_MAX
        assert [each.peak_score for each in kept] == [float(at) for at in range(3 * KEPT_MAX - 1, 2 * KEPT_MAX - 1, -1)]


@given(st.text())
def test_plain_text_shows_letters_as_they_are_and_nothing_that_acts(text: str) -> None:
    shown = plain(text)
    assert not any(unicodedata.category(character).startswith("C") for character in shown)
    assert len(shown.splitlines()) <= 1
    assert plain(shown) == shown
    assert plain("Grüße, 世界 …") == "Grüße, 世界 …"
