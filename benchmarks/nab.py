"""The Numenta Anomaly Benchmark: the shipped default through the code of ``detector replay``, beside other detectors.

``python -m benchmarks.nab --data DIR [--peers] [--jobs N] [--plot FILE]``. DIR holds ``data/``, ``labels/`` and
``reference_scores/`` of the corpus, which is not part of this project. The scorer is first checked against published
scores. Every detector reads each file once, in order, with one set of parameters; one threshold for all files is chosen
as NAB's optimiser does. Each half of the corpus (parity of the MD5 of the file's name) is also scored at the best
threshold of the other. ``--peers`` adds the slow detectors: hours, divided by ``--jobs``.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.bars import draw
from benchmarks.nab_score import PROFILES, NabStream, check, detections, load_corpus, nab_score
from benchmarks.peers import chosen, scored
from benchmarks.replayed import replayed
from benchmarks.report_line import note, show
from detector.batches import FloatArray
from detector.errors import UsageError
from detector.settings import Settings

TITLE: Final = "Numenta Anomaly Benchmark 1.1"
DEFAULT_THRESHOLD: Final = 2.07
"""Novelty that counts, fixed before any run; the optimiser's choice is reported beside it."""


def ours(streams: Sequence[NabStream]) -> dict[str, FloatArray]:
    """Novelty of the default learner; rows without an answer (warm-up, repeated times) are no detections."""
    answers = replayed({stream.name: stream.path for stream in streams}, Settings())
    return {name: np.nan_to_num(answer.novelty) for name, answer in answers.items()}


def line(name: str, scores: Mapping[str, float], extra: str = "") -> list[str]:
    """One row of the table."""
    return [name, *(f"{scores[profile]:.2f}" for profile in PROFILES), extra]


def halves(scores: Mapping[str, FloatArray], streams: Sequence[NabStream]) -> list[float]:
    """Standard score of each half, at the threshold that is best for the other one."""
    parts = [[stream for stream in streams if stream.half == half] for half in (0, 1)]
    best = [{name: found.threshold for name, found in nab_score(scores, part).items()} for part in parts]
    return [nab_score(scores, parts[half], best[1 - half])["standard"].score for half in (0, 1)]


def measure(folder: Path, *, slow: bool, jobs: int, plot: Path | None) -> None:
    """Score everything and print the table and the JSON. Raises ``UsageError`` for a folder that is not the corpus."""
    streams = load_corpus(folder)
    table = {f"{name} (published)": dict(scores) for name, scores in check(folder, streams).items()}
    rows = [line(name, scores) for name, scores in table.items()]
    note("the scorer agrees with the published scores; replaying the corpus")
    novelty = ours(streams)
    best = nab_score(novelty, streams)
    fixed = nab_score(novelty, streams, dict.fromkeys(PROFILES, DEFAULT_THRESHOLD))
    hit, false, counted = detections(novelty, streams, DEFAULT_THRESHOLD)
    split = halves(novelty, streams)
    rows.append(line("detector, default", {p: s.score for p, s in best.items()}, f"{best['standard'].threshold:.3f}"))
    rows.append(line("detector, fixed threshold", {p: s.score for p, s in fixed.items()}, f"{DEFAULT_THRESHOLD}"))
    table["detector, default"] = {p: s.score for p, s in best.items()}
    table["detector, fixed threshold"] = {p: s.score for p, s in fixed.items()}
    peer_scores: dict[str, dict[str, float]] = {}
    values = {stream.name: stream.values for stream in streams}
    for peer in chosen(slow=slow):
        found = nab_score(scored(peer, values, jobs), streams)
        table[peer.name] = {p: s.score for p, s in found.items()}
        peer_scores[peer.name] = {p: round(score, 2) for p, score in table[peer.name].items()}
        rows.append(line(peer.name, table[peer.name], f"{found['standard'].threshold:.4g}"))
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
    show(TITLE, ("detector", *PROFILES, "threshold"), rows, result)
    if plot is not None:
        draw(plot, TITLE, table, tuple(PROFILES))


def main() -> int:
    """Run the benchmark; 2 for a folder that is not the corpus."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--peers", action="store_true", help="slow detectors, too: hours")
    parser.add_argument("--jobs", type=int, default=1, help="processes for the other detectors")
    parser.add_argument("--plot", type=Path, help="picture of the table (PNG or SVG)")
    arguments = parser.parse_args()
    try:
        measure(arguments.data, slow=arguments.peers, jobs=arguments.jobs, plot=arguments.plot)
    except UsageError as error:
        note(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
