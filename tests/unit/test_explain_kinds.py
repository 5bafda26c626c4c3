"""``detector explain`` of every kind of episode: its gates, what opened it, and its numbers derived again."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_explain import explain, run, write

START_S = 1_700_000_000
DAY = 1_440

CONFIG = """
models: {fixed: {residual: {}}}
policies:
  - {name: fixed, model: fixed, level_shift: {after_s: 7200}, no_data: {intervals: 2, min_s: 0}}
  - {name: novel, match: "novel", novelty_min: 2, open: 3 of 3, deviation_min: 2.5}
  - {name: drifting, match: "drifting", level_shift: {after_s: 14400}, drift: {}}
"""


def noise(rows: int, seed: int = 3) -> list[float]:
    """Around 50."""
    drawn = random.Random(seed)
    return [50.0 + drawn.gauss(0.0, 1.0) for _ in range(rows)]


def shifted() -> list[float]:
    """A level that stays."""
    return [value + 40.0 * (row >= 1_500) for row, value in enumerate(noise(1_800))]


def stuck() -> list[float]:
    """Lively, then still."""
    return [*map(round, noise(600)), *[50.0] * 200]


def scattered() -> list[float]:
    """Two hours of eight times the noise."""
    values = noise(DAY + 400)
    return [50.0 + (value - 50.0) * (8.0 if DAY <= row < DAY + 120 else 1.0) for row, value in enumerate(values)]


def silent() -> list[float | None]:
    """Half an hour without samples."""
    return [value if not 300 <= row < 330 else None for row, value in enumerate(noise(500))]


def novel() -> list[float]:
    """One wild sample."""
    return [value + 60.0 * (row == DAY) for row, value in enumerate(noise(DAY + 60))]


def drifted() -> list[float]:
    """A level that stays inside of the band."""
    return [value + 4.0 * (row >= 1_500) for row, value in enumerate(noise(2_300, 5))]


KINDS: dict[str, tuple[str, Callable[[], list[Any]], list[str]]] = {
    "metric.level_shift": ("level", shifted, ["drift", "lasting", "points", "steady", "settled"]),
    "metric.stuck": ("level", stuck, ["unchanged", "points", "runs"]),
    "metric.variance": ("level", scattered, ["ratio", "points", "mean deviation", "both sides"]),
    "metric.no_data": ("level", silent, ["silence", "gaps"]),
    "metric.spike": ("novel", novel, ["open", "novelty", "direction", "deviation", "distance", "share", "volume"]),
}


def events_of(folder: Path, name: str, values: list[Any]) -> list[dict[str, Any]]:
    """Replay one series a minute beside one that never stops."""
    (folder / "c.yaml").write_text(CONFIG, encoding="utf-8")
    rows = [
        json.dumps({"name": each, "labels": {"host": "a"}, "time": START_S + 60 * row, "value": found})
        for row, value in enumerate(values)
        for each, found in ((name, value), ("other", 1.0))
        if found is not None
    ]
    write(folder / "x.jsonl", rows)
    out = folder / "events"
    assert run("replay", folder / "x.jsonl", "--events", out, "-c", folder / "c.yaml").exit_code == 0
    return [json.loads(line) for line in out.read_bytes().splitlines()]


def answers(folder: Path, name: str, values: list[Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Data of each event, and what explain says of it with the records at hand."""
    for event in events_of(folder, name, values):
        result = explain(folder, event, "--input", folder / "x.jsonl", "--json")
        assert result.exit_code == 0, result.output
        yield event["data"], json.loads(result.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_names_its_gates_all_of_which_held_when_it_opened(kind: str, tmp_path: Path) -> None:
    name, values, names = KINDS[kind]
    told = [(data, answer) for data, answer in answers(tmp_path, name, values()) if data["kind"] == kind]
    assert {data["state"] for data, _ in told} >= {"opened", "closed"} - (
        {"closed"} if kind == "metric.stuck" else set()
    )
    for data, answer in told:
        assert answer["derivation"]["status"] == "reproduced"
        gates = {gate["name"]: gate for gate in answer["gates"]}
        if data["state"] == "opened":
            assert list(gates) == names
            off = {"distance", "share", "volume", "open"} if kind == "metric.spike" else {"drift"}
            assert all(gate["holds"] for name, gate in gates.items() if name not in off), gates
        assert sum(reason["weight"] for reason in data["reasons"]) == pytest.approx(1.0, abs=1e-9)
        assert data["evidence"]["recent"]
        assert (data["evidence"]["band"][0] is None) == (data["observed"] is None or kind == "metric.no_data")


def test_a_spike_that_novelty_opened_says_so(tmp_path: Path) -> None:
    opened = next(answer for data, answer in answers(tmp_path, "novel", novel()) if data["state"] == "opened")
    gates = {gate["name"]: gate for gate in opened["gates"]}
    assert (gates["open"]["holds"], gates["open"]["found"]) == (False, "1 of 1 since the start")
    assert gates["novelty"]["holds"]
    assert gates["novelty"]["rule"] == "at least 2 at one point"
    assert gates["deviation"]["rule"] == "at least 1 band widths"


def test_a_closed_scatter_tells_its_largest_ratio_and_why_it_closed(tmp_path: Path) -> None:
    told = [it for it in answers(tmp_path, "level", scattered()) if it[0]["kind"] == "metric.variance"]
    (closed,) = (answer for data, answer in told if data["state"] == "closed")
    gates = {gate["name"]: gate for gate in closed["gates"]}
    assert list(gates) == ["ratio", "points", "close"]
    assert gates["close"] == {"name": "close", "rule": "30 points calm", "found": "recovered", "holds": True}
    assert gates["ratio"]["holds"]


def test_a_level_inside_the_band_names_its_drift(tmp_path: Path) -> None:
    told = [it for it in answers(tmp_path, "drifting", drifted()) if it[0]["kind"] == "metric.level_shift"]
    assert [data["state"] for data, _ in told] == ["opened", "closed"]
    data, answer = told[0]
    gates = {gate["name"]: gate for gate in answer["gates"]}
    assert list(gates) == ["drift", "lasting", "points", "settled"]
    assert all(gate["holds"] for gate in gates.values())
    assert (gates["drift"]["rule"], gates["drift"]["found"]) == ("significance 0.002", "found")
    assert gates["lasting"]["rule"] == "at least 1 h"
    assert data["shift"]["before"] < data["shift"]["after"]
    assert data["peak"] is None
