"""The scoring of the Numenta Anomaly Benchmark 1.1: three profiles, with thresholds optimised as it does.

Every labelled window gives a reward for its best detection, more for an early one; a detection outside costs, less
shortly after a window; a window without a detection costs. One threshold for all files is chosen to maximise the sum.
100 is a perfect detector, 0 one that says nothing.

Source: Lavin and Ahmad (2015), "Evaluating Real-Time Anomaly Detection Algorithms - the Numenta Anomaly Benchmark";
checked against the published scores of detectors whose raw scores are stored (:func:`check`).
"""

import csv
import gzip
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from detector.batches import BoolArray, FloatArray, IntArray
from detector.errors import UsageError


class Profile(NamedTuple):
    """What a detection outside a window and a missed window cost; a found window is worth 1 at most."""

    false_positive: float
    false_negative: float


PROFILES: Final = {"standard": Profile(0.11, 1.0), "low_fp": Profile(0.22, 1.0), "low_fn": Profile(0.11, 2.0)}
PUBLISHED: Final = {
    "ARTime": {"standard": 74.85377, "low_fp": 65.15400, "low_fn": 80.36228},
    "relativeEntropy": {"standard": 54.64275, "low_fp": 47.59835, "low_fn": 58.84229},
    "windowedGaussian": {"standard": 39.64952, "low_fp": 20.86799, "low_fn": 47.41003},
}
"""Published scores of the detectors in ``reference_scores``: ``results/final_results.json`` of numenta/NAB."""
TOLERANCE: Final = 5e-5
PROBATION_SHARE: Final = 0.15
PROBATION_ROWS_MAX: Final = 750
OUTSIDE: Final = -1


@dataclass(frozen=True, slots=True)
class NabStream:
    """One file: n rows. ``window`` is the number of each row's labelled window in the corpus, or ``OUTSIDE``.

    ``weight`` is what a detection at the row is worth: up to 1 in a window, down to -1 outside. Rows before
    ``probation`` count for nothing. ``half`` is the parity of the MD5 of the file's name.
    """

    name: str
    path: Path
    times_s: IntArray
    values: FloatArray
    weight: FloatArray
    window: IntArray
    windows: int
    probation: int
    half: int


def load_corpus(folder: Path) -> list[NabStream]:
    """Read ``labels/combined_windows.json`` and ``data/*/*.csv.gz`` (or ``.csv``) under ``folder``.

    Raises ``UsageError`` for a folder that is not the corpus.
    """
    labels = folder / "labels" / "combined_windows.json"
    try:
        windows: dict[str, list[list[str]]] = json.loads(labels.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{labels}: cannot be read: {error.strerror}; --data needs the folder of the corpus"
        ) from error
    streams = []
    first = 0
    for name in sorted(windows):
        streams.append(_stream(folder, name, windows[name], first))
        first += len(windows[name])
    return streams


def _stream(folder: Path, name: str, windows: Sequence[Sequence[str]], first: int) -> NabStream:
    path = next((p for p in (folder / "data" / f"{name}.gz", folder / "data" / name) if p.exists()), None)
    if path is None:
        raise UsageError(f"{folder / 'data' / name}: no such file, gzipped or not")
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        rows = list(csv.reader(lines))[1:]
    times_s = np.array([row[0] for row in rows], dtype="datetime64[s]").astype(np.int64)
    spans = [tuple(int(np.datetime64(edge, "s").astype(np.int64)) for edge in window) for window in windows]
    weight, window = _weights(times_s, spans, first)
    return NabStream(
        name=name,
        path=path,
        times_s=times_s,
        values=np.array([float(row[1]) for row in rows]),
        weight=weight,
        window=window,
        windows=len(spans),
        probation=math.floor(min(PROBATION_SHARE * len(rows), PROBATION_ROWS_MAX)),
        half=hashlib.md5(name.rpartition("/")[2].encode(), usedforsecurity=False).digest()[-1] & 1,
    )


def _sigmoid(position: float) -> float:
    """NAB's scaled sigmoid: near 1 long before ``position`` 0, near -1 after it."""
    return -1.0 if position > 3.0 else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def _weights(times_s: IntArray, spans: Sequence[Sequence[int]], first: int) -> tuple[FloatArray, IntArray]:
    """Weight and window number of every row; windows begin with ``first``."""
    size = len(times_s)
    weight = np.full(size, -1.0)
    window = np.full(size, OUTSIDE, dtype=np.int64)
    best = _sigmoid(-1.0)
    edges = [[int(np.flatnonzero(times_s == edge)[0]) for edge in span] for span in spans]
    for number, (start, end) in enumerate(edges):
        width = end - start + 1
        for row in range(start, end + 1):
            weight[row] = _sigmoid(-(end - row + 1) / width) / best
            window[row] = first + number
        following = edges[number + 1][0] if number + 1 < len(edges) else size
        for row in range(end + 1, following):
            weight[row] = _sigmoid((row - end) / (width - 1))
    return weight, window


class Scored(NamedTuple):
    """Result for one profile: normalised to 100, at which threshold."""

    score: float
    threshold: float


def nab_score(
    scores: Mapping[str, FloatArray], streams: Sequence[NabStream], thresholds: Mapping[str, float] | None = None
) -> dict[str, Scored]:
    """Normalised score of each profile over ``streams``, given one score per row of each.

    The threshold is the best one over these streams, or the one that ``thresholds`` names per profile: a row is a
    detection when its score reaches it.
    """
    raw = np.concatenate([scores[s.name][s.probation :] for s in streams])
    weight = np.concatenate([s.weight[s.probation :] for s in streams])
    window = np.concatenate([s.window[s.probation :] for s in streams])
    windows = sum(s.windows for s in streams)
    assert not np.isnan(raw).any()
    found: dict[str, Scored] = {}
    for name, profile in PROFILES.items():
        at, totals = _totals(raw, weight, window, profile)
        place = int(np.argmax(totals))
        if thresholds is not None:
            place = int(np.searchsorted(-at, -thresholds[name], side="right")) - 1
        silent = -profile.false_negative * windows
        gained = float(totals[place]) if place >= 0 else 0.0
        found[name] = Scored(100.0 * gained / (windows - silent), float(at[place]) if place >= 0 else math.inf)
    return found


def _totals(raw: FloatArray, weight: FloatArray, window: IntArray, profile: Profile) -> tuple[FloatArray, FloatArray]:
    """Thresholds, descending from infinity, and what each gains over a detector that says nothing."""
    order = np.argsort(-raw, kind="stable")
    raw, weight, window = raw[order], weight[order], window[order]
    gains = np.where(window == OUTSIDE, weight * profile.false_positive, 0.0)
    best: dict[int, float] = {}
    for place in np.flatnonzero(window != OUTSIDE).tolist():
        number, worth = int(window[place]), float(weight[place])
        if number not in best:
            gains[place] = worth + profile.false_negative
            best[number] = worth
        elif worth > best[number]:
            gains[place] = worth - best[number]
            best[number] = worth
    last: BoolArray = np.append(raw[1:] != raw[:-1], True)  # equal scores are detected together
    return np.append(np.inf, raw[last]), np.append(0.0, np.cumsum(gains)[last])


def detections(
    scores: Mapping[str, FloatArray], streams: Sequence[NabStream], threshold: float
) -> tuple[int, int, int]:
    """Windows found, false positives and rows that count, at a threshold."""
    hit: set[int] = set()
    false = rows = 0
    for stream in streams:
        detected = scores[stream.name][stream.probation :] >= threshold
        window = stream.window[stream.probation :]
        hit.update(window[detected & (window != OUTSIDE)].tolist())
        false += int((detected & (window == OUTSIDE)).sum())
        rows += len(detected)
    return len(hit), false, rows


def stored_scores(path: Path) -> dict[str, FloatArray]:
    """Scores of a published detector: rows of ``file,row,score``."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    with gzip.open(path, "rt") as lines:
        for name, _, score in list(csv.reader(lines))[1:]:
            found[name].append(float(score))
    return {name: np.array(values) for name, values in found.items()}


def check(folder: Path, streams: Sequence[NabStream]) -> dict[str, dict[str, float]]:
    """Score the published detectors whose raw scores ``folder`` holds; returns their scores.

    Raises ``UsageError`` where one differs from what was published in the fourth decimal: the corpus, or this file, is
    then not the one that the published scores are of.
    """
    found: dict[str, dict[str, float]] = {}
    for name, published in PUBLISHED.items():
        path = folder / "reference_scores" / f"{name}.csv.gz"
        if not path.exists():
            raise UsageError(f"{path}: no such file; the scorer is checked against it")
        scores = {profile: score for profile, (score, _) in nab_score(stored_scores(path), streams).items()}
        for profile, score in published.items():
            if abs(scores[profile] - score) > TOLERANCE:
                raise UsageError(f"{name}, {profile}: {scores[profile]:.4f}, but {score:.4f} was published")
        found[name] = scores
    return found
