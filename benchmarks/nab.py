"""The Numenta Anomaly Benchmark: the shipped default through the code of ``detector replay``, beside river's detectors.

``python -m benchmarks.nab --data DIR [--peers]``. DIR holds ``data/``, ``labels/`` and ``reference_scores/`` of the
corpus, which is not part of this project. The scorer is first checked against published scores. Every detector reads
each file once, in order, with one set of parameters; one threshold for all files is chosen as NAB's optimiser does.
Each half of the corpus (parity of the MD5 of the file's name) is also scored at the best threshold of the other.
``--peers`` adds the slow detectors.
"""

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from river import anomaly, preprocessing

from benchmarks.nab_score import PROFILES, NabStream, check, detections, load_corpus, nab_score
from benchmarks.replayed import replayed
from benchmarks.report_line import note, show
from detector.batches import FloatArray
from detector.errors import UsageError
from detector.settings import Settings

DEFAULT_THRESHOLD: Final = 2.07
"""Novelty that counts, fixed before any run; the optimiser's choice is reported beside it."""
SIGMA_WINDOW: Final = 6_000


def ours(streams: Sequence[NabStream]) -> dict[str, FloatArray]:
    """Novelty of the default learner; rows without an answer (warm-up, repeated times) are no detections."""
    answers = replayed({stream.name: stream.path for stream in streams}, Settings())
    return {name: np.nan_to_num(answer.novelty) for name, answer in answers.items()}


def z_scores(streams: Sequence[NabStream]) -> dict[str, FloatArray]:
    """Distance from the mean of all samples so far in their standard deviations: the 3-sigma rule."""
    found = {}
    for stream in streams:
        mean = square = 0.0
        scores = np.zeros(len(stream.values))
        for row, value in enumerate(stream.values.tolist()):
            if square > 0.0:
                scores[row] = abs(value - mean) / math.sqrt(square / (row - 1))
            step = value - mean
            mean += step / (row + 1)
            square += step * (value - mean)
        found[stream.name] = scores
    return found


def of_river(make: Callable[[], Any], streams: Sequence[NabStream], *, supervised: bool) -> dict[str, FloatArray]:
    """Raw scores of a river detector, scaled to [0, 1] by what it saw before where it is not supervised."""
    found = {}
    for stream in streams:
        model = make()
        scaler: Any = preprocessing.MinMaxScaler()
        scores = np.zeros(len(stream.values))
        for row, value in enumerate(stream.values.tolist()):
            if supervised:
                scores[row] = model.score_one({}, value)
                model.learn_one({}, value)
                continue
            scaler.learn_one({"value": value})
            features = scaler.transform_one({"value": value})
            scores[row] = model.score_one(features)
            model.learn_one(features)
        found[stream.name] = np.nan_to_num(scores)
    return found


def peers(*, slow: bool) -> dict[str, Callable[[Sequence[NabStream]], dict[str, FloatArray]]]:
    """Detectors to compare with, by name."""
    found: dict[str, Callable[[Sequence[NabStream]], dict[str, FloatArray]]] = {
        "3-sigma rule": z_scores,
        "river GaussianScorer": lambda streams: of_river(
            partial(anomaly.GaussianScorer, window_size=SIGMA_WINDOW), streams, supervised=True
        ),
        "river StandardAbsoluteDeviation": lambda streams: of_river(
            anomaly.StandardAbsoluteDeviation, streams, supervised=True
        ),
    }
    if slow:
        found["river OneClassSVM"] = lambda streams: of_river(anomaly.OneClassSVM, streams, supervised=False)
        found["river HalfSpaceTrees"] = lambda streams: of_river(
            lambda: anomaly.HalfSpaceTrees(seed=42), streams, supervised=False
        )
    return found


def line(name: str, scores: Mapping[str, float], extra: str = "") -> list[str]:
    """One row of the table."""
    return [name, *(f"{scores[profile]:.2f}" for profile in PROFILES), extra]


def halves(scores: Mapping[str, FloatArray], streams: Sequence[NabStream]) -> list[float]:
    """Standard score of each half, at the threshold that is best for the other one."""
    parts = [[stream for stream in streams if stream.half == half] for half in (0, 1)]
    best = [{name: found.threshold for name, found in nab_score(scores, part).items()} for part in parts]
    return [nab_score(scores, parts[half], best[1 - half])["standard"].score for half in (0, 1)]


def measure(folder: Path, *, slow: bool) -> None:
    """Score everything and print the table and the JSON. Raises ``UsageError`` for a folder that is not the corpus."""
    streams = load_corpus(folder)
    rows = [line(f"{name} (published)", scores) for name, scores in check(folder, streams).items()]
    note("the scorer agrees with the published scores; replaying the corpus")
    novelty = ours(streams)
    best = nab_score(novelty, streams)
    fixed = nab_score(novelty, streams, dict.fromkeys(PROFILES, DEFAULT_THRESHOLD))
    hit, false, counted = detections(novelty, streams, DEFAULT_THRESHOLD)
    split = halves(novelty, streams)
    rows.append(line("detector, default", {p: s.score for p, s in best.items()}, f"{best['standard'].threshold:.3f}"))
    rows.append(line("detector, fixed threshold", {p: s.score for p, s in fixed.items()}, f"{DEFAULT_THRESHOLD}"))
    peer_scores: dict[str, float] = {}
    for name, scorer in peers(slow=slow).items():
        note(name)
        found = nab_score(scorer(streams), streams)
        peer_scores[name] = round(found["standard"].score, 2)
        rows.append(line(name, {p: s.score for p, s in found.items()}, f"{found['standard'].threshold:.4g}"))
    result = {
        "benchmark": "nab",
        **{profile: round(found.score, 2) for profile, found in best.items()},
        "threshold": round(best["standard"].threshold, 3),
        "at_default_threshold": {profile: round(found.score, 2) for profile, found in fixed.items()},
        "halves": [round(score, 2) for score in split],
        "windows_found": hit,
        "windows": sum(stream.windows for stream in streams),
        "false_positives": false,
        "rows": counted,
        "peers": peer_scores,
    }
    show("Numenta Anomaly Benchmark 1.1", ("detector", *PROFILES, "threshold"), rows, result)


def main() -> int:
    """Run the benchmark; 2 for a folder that is not the corpus."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--peers", action="store_true", help="slow detectors, too: half an hour")
    arguments = parser.parse_args()
    try:
        measure(arguments.data, slow=arguments.peers)
    except UsageError as error:
        note(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
