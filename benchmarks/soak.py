"""Memory of a worker under steady load, then under more series than it may hold.

``python -m benchmarks.soak [--minutes N] [--rate N] [--bootstrap HOST:PORT]``. Real Kafka, `detector run` as a process.
Two thirds of the time fewer series than the limit report steadily: memory must stay where it is. Then three times the
limit of series come, first in generations (as pods are replaced), then all in turns (the worst for a table that
forgets the least recently seen): the limit must hold and a warning must tell of it. Exit code 3 otherwise. A worker
that turns cannot keep up with also holds what its client fetched ahead: for the models alone, lower the rate.
"""

import argparse
import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
from confluent_kafka import Producer

from benchmarks.pipeline import broker_at
from benchmarks.report_line import note, show
from benchmarks.stream import INTERVAL_MS, START_MS, metric_rounds
from benchmarks.worker_run import PARTITIONS, MeasuredRun, MeasuredStage, producer_to, progress_bar, total_of, values_of

EXIT_WRONG: Final = 3
SERIES_LIMIT: Final = 5_000
"""Of one partition."""
STEADY_SERIES: Final = PARTITIONS * SERIES_LIMIT * 4 // 5
GENERATION_SERIES: Final = PARTITIONS * SERIES_LIMIT
GENERATION_SCRAPES: Final = 10
"""Scrapes that a series lives while generations replace one another."""
TURNING_SERIES: Final = 3 * PARTITIONS * SERIES_LIMIT
SPOILT_EVERY: Final = 997
"""One record in so many is garbage, so that dead letters are part of the load; a prime, to meet every series."""
GROWTH_MAX_PERCENT: Final = 5.0
WARM_UP_S: Final = 60.0
READ_EVERY_S: Final = 2.0
BURST_S: Final = 0.1
"""The rate is kept on average over bursts of this length."""
BEHIND_MAX_S: Final = 1.0
"""A load that is later than this does not hurry to catch up: the rate is a ceiling."""
BACKLOG_MAX_RECORDS: Final = 200_000
"""Sending waits for a worker that is so far behind: what is unread must not expire, nor fill our queue."""
DRAIN_TIMEOUT_S: Final = 120.0
INPUT_OPTIONS: Final = {"retention.bytes": str(128 * 2**20), "segment.bytes": str(16 * 2**20)}
"""Bounds the disk; per partition this is several times the backlog that is allowed."""

Phase = Literal["steady", "generations", "turns"]


class Scrape(NamedTuple):
    """Records of one moment, in the order of their series."""

    phase: Phase
    records: Sequence[bytes]


def scrapes(phase_of: "Clockwork") -> Iterator[Scrape]:
    """One scrape after the other, each ``INTERVAL_MS`` later, in the phase that the clock says; ends with the last."""
    random = np.random.default_rng(5)
    steady = metric_rounds(10**9, STEADY_SERIES)
    for turn in itertools.count():
        phase = phase_of()
        if phase is None:
            return
        if phase == "steady":
            yield Scrape(phase, next(steady))
            continue
        generation = turn // GENERATION_SCRAPES if phase == "generations" else -1
        count = GENERATION_SERIES if phase == "generations" else TURNING_SERIES
        head = b'{"name":"queue.depth","labels":{"namespace":"shop","pod":"worker-%d-' % generation
        tail = b'"},"time":%d,"value":' % (START_MS + turn * INTERVAL_MS)
        values = random.normal(50.0, 5.0, count).tolist()
        yield Scrape(phase, [b"%b%d%b%.6g}" % (head, pod, tail, value) for pod, value in enumerate(values)])


class Clockwork:
    """Which phase it is: two thirds steady, one sixth generations, one sixth turns, then None."""

    def __init__(self, seconds: float) -> None:
        self._began_s = time.monotonic()
        self._seconds = seconds

    def __call__(self) -> Phase | None:
        """Tell the phase."""
        share = self.elapsed_s() / self._seconds
        if share < 2 / 3:
            return "steady"
        if share < 5 / 6:
            return "generations"
        return "turns" if share < 1 else None

    def elapsed_s(self) -> float:
        """Tell the time since the beginning."""
        return time.monotonic() - self._began_s


class Load(threading.Thread):
    """Sends scrapes at a bounded rate until they end; ``consumed`` is told from outside and bounds the backlog."""

    def __init__(self, producer: Producer, topic: str, clockwork: Clockwork, *, rate_per_s: int) -> None:
        super().__init__(name="load", daemon=True)
        self._producer = producer
        self._topic = topic
        self._clockwork = clockwork
        self._burst_records = max(1, round(rate_per_s * BURST_S))
        self.phase: Phase = "steady"
        self.sent = 0
        self.consumed = 0

    def run(self) -> None:
        """Send, then wait for the last delivery."""
        due_s = time.monotonic()
        for scrape in scrapes(self._clockwork):
            self.phase = scrape.phase
            for series, record in enumerate(scrape.records):
                spoilt = self.sent % SPOILT_EVERY == 0
                self._producer.produce(self._topic, record[:-1] if spoilt else record, partition=series % PARTITIONS)
                self.sent += 1
                if self.sent % self._burst_records == 0:
                    due_s = self._wait(max(due_s + BURST_S, time.monotonic() - BEHIND_MAX_S))
        self._producer.flush(DRAIN_TIMEOUT_S)

    def _wait(self, due_s: float) -> float:
        self._producer.poll(0)
        time.sleep(max(0.0, due_s - time.monotonic()))
        while self.sent - self.consumed > BACKLOG_MAX_RECORDS:
            time.sleep(BURST_S)
        return due_s


class Reading(NamedTuple):
    """What was seen of the worker at one moment; ``series`` of its fullest partition."""

    elapsed_s: float
    phase: Phase
    resident_mb: float
    series: int
    evicted: int
    consumed: int


def watch(worker: MeasuredRun, load: Load, clockwork: Clockwork, seconds: float) -> list[Reading]:
    """Read until everything that was sent is consumed."""
    readings: list[Reading] = []
    with progress_bar() as progress:
        task = progress.add_task("steady", total=seconds)
        while load.is_alive() or load.consumed < load.sent:
            if not worker.runs() or clockwork.elapsed_s() > seconds + DRAIN_TIMEOUT_S:
                raise SystemExit(f"the worker ended or stands still; it wrote: {worker.output()[-2000:]}")
            samples = worker.metrics()
            load.consumed = total_of(samples, "detector_records_consumed_total")
            series = round(max(values_of(samples, "detector_series_held"), default=0))
            evicted = total_of(samples, "detector_series_evicted_total")
            moment_s = clockwork.elapsed_s()
            readings.append(Reading(moment_s, load.phase, worker.resident_mb(), series, evicted, load.consumed))
            progress.update(task, completed=moment_s, description=f"{load.phase}, {readings[-1].resident_mb:.0f} MB")
            time.sleep(READ_EVERY_S)
    return readings


def growth_percent(readings: Sequence[Reading]) -> float:
    """Median memory of the last quarter over that of the second: the first is for warming up."""
    memory = [reading.resident_mb for reading in readings]
    quarter = max(1, len(memory) // 4)
    return 100.0 * (statistics.median(memory[-quarter:]) / statistics.median(memory[quarter : 2 * quarter]) - 1.0)


def per_second(readings: Sequence[Reading]) -> int:
    """Records consumed per second between the first reading and the last."""
    first, last = readings[0], readings[-1]
    return round((last.consumed - first.consumed) / (last.elapsed_s - first.elapsed_s))


def facts_of(readings: Sequence[Reading]) -> dict[str, int | float]:
    """What the readings tell about memory, series and speed."""
    by_phase = {
        phase: [each for each in readings if each.phase == phase] for phase in ("steady", "generations", "turns")
    }
    steady, generations, turns = by_phase["steady"], by_phase["generations"], by_phase["turns"]
    warm_up_s = min(WARM_UP_S, steady[-1].elapsed_s / 4)
    start = next(reading for reading in steady if reading.elapsed_s >= warm_up_s)
    return {
        "rss_start_mb": round(start.resident_mb, 1),
        "rss_end_mb": round(steady[-1].resident_mb, 1),
        "rss_growth_percent": round(growth_percent(steady), 2),
        "rss_generations_growth_percent": round(growth_percent(generations), 2),
        "rss_turns_end_mb": round(turns[-1].resident_mb, 1),
        "series_limit": SERIES_LIMIT,
        "series_max_seen": max(reading.series for reading in readings),
        "series_evicted_steady": steady[-1].evicted,
        "series_evicted": readings[-1].evicted,
        **{f"{phase}_per_s": per_second(found) for phase, found in by_phase.items()},
        "records": readings[-1].consumed,
    }


def problems_of(facts: dict[str, int | float], *, warned: bool, worker_exit: int) -> list[str]:
    """What must not be."""
    checks = (
        (facts["rss_growth_percent"] > GROWTH_MAX_PERCENT, "memory grew under steady load"),
        (facts["series_max_seen"] > SERIES_LIMIT, "more series were held than the limit allows"),
        (facts["series_evicted_steady"] > 0, "series were evicted below the limit"),
        (facts["series_evicted"] == 0, "nothing was evicted above the limit"),
        (not warned, "the log does not warn of evictions"),
        (worker_exit != 0, f"the worker ended with {worker_exit}"),
    )
    return [sentence for wrong, sentence in checks if wrong]


def run(bootstrap: str, minutes: float, rate_per_s: int, folder: Path) -> tuple[dict[str, object], list[str]]:
    """Load, watch, stop; give the result and what was wrong."""
    seconds = minutes * 60.0
    stage = MeasuredStage(bootstrap, folder, input_options=INPUT_OPTIONS)
    settings = stage.settings(series={"limit_per_partition": SERIES_LIMIT}, kafka={"session_timeout_ms": 10_000})
    with MeasuredRun(settings) as worker:
        clockwork = Clockwork(seconds)
        load = Load(producer_to(bootstrap), stage.input, clockwork, rate_per_s=rate_per_s)
        load.start()
        readings = watch(worker, load, clockwork, seconds)
        worker_exit = worker.stopped()
        warned = bool(worker.log("series_evicted"))
    facts = facts_of(readings)
    result: dict[str, object] = {**facts, "warned": warned, "worker_exit": worker_exit, "minutes": minutes}
    return result, problems_of(facts, warned=warned, worker_exit=worker_exit)


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=30_000, help="records per second at most")
    parser.add_argument("--bootstrap", help="a running broker; by default one is started")
    options = parser.parse_args()
    with broker_at(options.bootstrap) as bootstrap, tempfile.TemporaryDirectory() as folder:
        result, problems = run(bootstrap, options.minutes, options.rate, Path(folder))
    rows = [
        (fact.replace("_", " "), f"{value:,}" if type(value) is int else f"{value}") for fact, value in result.items()
    ]
    show("Soak on real Kafka", ("fact", "value"), rows, result)
    for problem in problems:
        note(problem)
    if problems:
        raise SystemExit(EXIT_WRONG)


if __name__ == "__main__":
    main()
