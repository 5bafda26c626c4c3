"""Labelled streams through the code of ``detector replay``: decoder, pipeline and files of the shipped default."""

import csv
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from detector.batches import FloatArray
from detector.commands.replay import ReplayFiles, replay_files
from detector.settings import Settings

COLUMNS: Final = ("deviation", "novelty")


@dataclass(frozen=True, slots=True)
class Episode:
    """One opened episode: epoch seconds of its beginning, its detection and its end (the last sample seen if open)."""

    started_s: int
    detected_s: int
    ended_s: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """One stream's answer: a number per row of the file (NaN: no answer, late or repeated) and its episodes."""

    deviation: FloatArray
    novelty: FloatArray
    episodes: Sequence[Episode]


def replayed(paths: Mapping[str, Path], settings: Settings | None = None) -> dict[str, Replayed]:
    """Replay each file as a series of its own, in the order given; by the names given."""
    with tempfile.TemporaryDirectory() as folder:
        files = ReplayFiles(events=Path(folder) / "events.jsonl", scores=Path(folder) / "scores.csv")
        found: dict[str, Replayed] = {}
        for name, path in paths.items():
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                replay_files(settings or Settings(), [path], files)
            assert files.scores is not None
            assert files.events is not None
            with files.scores.open(newline="") as lines:
                rows = list(csv.DictReader(lines))
            deviation, novelty = (np.array([float(row[column] or "nan") for row in rows]) for column in COLUMNS)
            found[name] = Replayed(deviation, novelty, _episodes(files.events.read_bytes()))
        return found


def _episodes(lines: bytes) -> list[Episode]:
    events = [orjson.loads(line)["data"] for line in lines.splitlines()]
    events = [event for event in events if event["kind"] != "metric.no_data"]
    events.sort(key=itemgetter("episode_id"))
    episodes = []
    for _, group in groupby(events, key=itemgetter("episode_id")):
        told = sorted(group, key=itemgetter("sequence"))
        episodes.append(
            Episode(
                _seconds(told[0]["started_at"]), _seconds(told[0]["detected_at"]), _seconds(told[-1]["window"]["end"])
            )
        )
    return sorted(episodes, key=lambda episode: episode.detected_s)


def _seconds(moment: str) -> int:
    return int(np.datetime64(moment.removesuffix("Z"), "s").astype(np.int64))
