"""``detector replay``: every row accounted for, the same bytes every time."""

import csv
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from detector.cli import app

COLUMNS = ["series", "time", "value", "score", "deviation", "novelty", "expected", "lower", "upper"]


def flow(
    rows: int, *, seed: int = 1, broken: tuple[int, ...] = (), anomalous: range = range(0)
) -> list[tuple[str, str]]:
    """Minutes of a noisy level, some of them far off and some no numbers."""
    noise = random.Random(seed)
    values = [50.0 + noise.gauss(0, 1) + (60 if row in anomalous else 0) for row in range(rows)]
    return [(str(1_700_000_000 + 60 * row), "x" if row in broken else repr(values[row])) for row in range(rows)]


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    text = "timestamp,value,note\n" + "".join(f"{time},{value},n\n" for time, value in rows)
    path.write_text(text, encoding="utf-8")
    return path


def replay(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["replay", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def events_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


class TestScores:
    def test_there_is_one_row_per_input_row_in_order(self, tmp_path: Path) -> None:
        rows = flow(300, broken=(7, 250))
        rows[100], rows[101] = rows[101], rows[100]  # the second of them comes late
        write_csv(tmp_path / "level.csv", rows)
        replay(tmp_path / "level.csv", "--scores", tmp_path / "scores.csv")
        head, *scores = rows_of(tmp_path / "scores.csv")
        assert head == COLUMNS
        assert [(row[1], row[2]) for row in scores] == rows
        assert {row[0] for row in scores} == {"level"}
        empty = {at for at, row in enumerate(scores) if row[3:] == [""] * 6}
        assert empty >= {7, 101, 250}
        assert not any(at > 150 for at in empty - {250})
        assert all(float(row[7]) < float(row[6]) < float(row[8]) for row in scores[200:250])

    def test_scores_read_back_to_the_same_bits_wherever_batches_are_cut(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_csv(tmp_path / "level.csv", flow(400, anomalous=range(300, 320)))
        results = []
        for size in (10_000, 7):
            monkeypatch.setenv("DETECTOR_WORKER__BATCH_RECORDS_MAX", str(size))
            replay(tmp_path / "level.csv", "--scores", tmp_path / "s.csv", "--events", tmp_path / "e.jsonl")
            results.append(((tmp_path / "s.csv").read_bytes(), (tmp_path / "e.jsonl").read_bytes()))
        assert results[0] == results[1]
        assert results[0][1]

    def test_files_do_not_share_series_or_order(self, tmp_path: Path) -> None:
        alone, beside = tmp_path / "alone.csv", tmp_path / "beside.csv"
        write_csv(tmp_path / "b.csv", flow(100, seed=2))
        replay(tmp_path / "b.csv", "--scores", alone)
        write_csv(tmp_path / "a.csv", flow(100, seed=3))
        out = replay(tmp_path / "a.csv", tmp_path / "b.csv", "--scores", beside)
        assert rows_of(alone)[1:] == rows_of(beside)[101:]
        assert "series" in out

    def test_a_series_column_keeps_series_apart_and_awkward_names_are_quoted(self, tmp_path: Path) -> None:
        lines = [f'{1_700_000_000 + row},"{name}",{row}' for row in range(50) for name in ("a,b", "c")]
        (tmp_path / "x.csv").write_text("time,series,value\n" + "\n".join(lines), encoding="utf-8")
        replay(tmp_path / "x.csv", "--scores", tmp_path / "s.csv")
        scores = rows_of(tmp_path / "s.csv")[1:]
        assert [row[0] for row in scores] == ["a,b", "c"] * 50
        assert scores[-1][3:] == scores[-2][3:] != [""] * 6


class TestEvents:
    def test_an_excursion_opens_and_closes_one_episode(self, tmp_path: Path) -> None:
        write_csv(tmp_path / "level.csv", flow(500, anomalous=range(300, 320)))
        out = replay(tmp_path / "level.csv", "--events", tmp_path / "e.jsonl")
        events = events_of(tmp_path / "e.jsonl")
        assert [event["data"]["state"] for event in events if event["data"]["state"] != "updated"] == [
            "opened",
            "closed",
        ]
        assert {event["data"]["series"]["metric"] for event in events} == {"level"}
        assert "episodes opened 1" in [" ".join(line.replace("│", " ").split()) for line in out.splitlines()]


class TestJsonLines:
    def record(self, row: int, value: object) -> str:
        return json.dumps({"name": "up", "labels": {"host": "a"}, "time": 1_700_000_000 + 60 * row, "value": value})

    def test_records_go_through_the_configured_decoder(self, tmp_path: Path) -> None:
        config = tmp_path / "c.yaml"
        config.write_text("decoder: {paths: {name: m, time: at.s, value: v}}", encoding="utf-8")
        lines = [json.dumps({"m": "up", "at": {"s": 1_700_000_000 + row}, "v": row}) for row in range(50)]
        (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
        replay(tmp_path, "--config", config, "--scores", tmp_path / "s.csv")
        scores = rows_of(tmp_path / "s.csv")[1:]
        assert len(scores) == 50
        assert scores[49][1:3] == ["2023-11-14T22:14:09.000Z", "49.0"]
        assert scores[49][3]

    def test_a_record_without_samples_has_an_empty_row_and_one_with_many_has_many(self, tmp_path: Path) -> None:
        many = f"[{self.record(2, 1)},{self.record(3, 2)}]"
        lines = [self.record(0, 1), "{", many, self.record(4, "x"), self.record(5, 3)]
        (tmp_path / "x.jsonl").write_text("\n".join(lines), encoding="utf-8")
        replay(tmp_path / "x.jsonl", "--scores", tmp_path / "s.csv", "--rejects", tmp_path / "r.jsonl")
        assert [row[2] for row in rows_of(tmp_path / "s.csv")[1:]] == ["1.0", "", "1.0", "2.0", "", "3.0"]
        rejects = events_of(tmp_path / "r.jsonl")
        assert [(reject["offset"], reject["reason"]) for reject in rejects] == [(1, "invalid_json"), (3, "wrong_type")]
        assert rejects[0]["record"] == "{"
        assert rejects[0]["file"].endswith("x.jsonl")


class TestFaults:
    def test_a_result_never_overwrites_what_is_replayed(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "level.csv", flow(3))
        before = path.read_bytes()
        result = CliRunner().invoke(app, ["replay", str(tmp_path), "--scores", str(path)])
        assert result.exit_code == 2
        assert "is one of the files to replay" in result.stderr
        assert path.read_bytes() == before

    def test_a_folder_that_does_not_exist_for_the_result_is_a_fault_of_usage(self, tmp_path: Path) -> None:
        write_csv(tmp_path / "level.csv", flow(3))
        result = CliRunner().invoke(
            app, ["replay", str(tmp_path / "level.csv"), "--events", str(tmp_path / "no" / "e.jsonl")]
        )
        assert result.exit_code == 2
        assert "cannot be written" in result.stderr
        assert len(result.stderr.splitlines()) == 1
