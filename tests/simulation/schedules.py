"""Many exactly-once schedules on all cores: ``python -m tests.simulation.schedules --count 10000 --seed 0``.

The last line is JSON: how many schedules ran and what was in them; ``differences`` counts those that were not the calm
run's, each named on a line of its own before. Exit code 1 if there is any.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import NamedTuple

from tests.simulation.exactly_once import run

TOLD_MAX = 20
"""Differences that are described; one is enough to look for."""


class Result(NamedTuple):
    """What one schedule had in it."""

    seed: int
    kills: int = 0
    stalls: int = 0
    rebalances: int = 0
    aborts_seen: int = 0
    difference: str = ""


def result_of(seed: int) -> Result:
    """Run one schedule; whatever it raises is a difference."""
    try:
        schedule = run(seed)
    except BaseException as error:  # noqa: BLE001  # nothing may get past: a worker that ends in its own way is wrong
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Result(seed, difference=f"{type(error).__name__} in {last.name}: {error}")
    return Result(seed, schedule.kills, schedule.stalls, schedule.group.generation, schedule.aborts_seen)


def summary(results: Sequence[Result], seconds: float) -> dict[str, float]:
    """Sums over all schedules."""
    return {
        "schedules": len(results),
        "kills": sum(each.kills for each in results),
        "stalls": sum(each.stalls for each in results),
        "rebalances": sum(each.rebalances for each in results),
        "aborts_seen": sum(each.aborts_seen for each in results),
        "differences": sum(bool(each.difference) for each in results),
        "seconds": round(seconds, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``count`` schedules from ``seed`` on."""
    parser = argparse.ArgumentParser(description="exactly-once schedules on the broker in memory")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    chosen = parser.parse_args(arguments)
    began_s = time.monotonic()
    seeds = range(chosen.seed, chosen.seed + chosen.count)
    with multiprocessing.get_context("spawn").Pool(chosen.processes) as pool:
        results = list(pool.imap_unordered(result_of, seeds, chunksize=50))
    different = sorted(each for each in results if each.difference)
    lines = [f"seed {each.seed}: {each.difference}" for each in different[:TOLD_MAX]]
    lines.append(json.dumps(summary(results, time.monotonic() - began_s)))
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
