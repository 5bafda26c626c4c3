"""End to end on real Kafka: bare consume, the worker, a river loop and quixstreams on one topic in one run.

``python -m benchmarks.pipeline [--records N] [--rounds N] [--bootstrap HOST:PORT]``. JSON metrics of 5,000 series with
four labels on two partitions. Contenders take turns, each in a process of its own; medians over the rounds are
reported.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.progress import Progress

from benchmarks.report_line import note, show
from benchmarks.stream import SERIES_COUNT, metric_rounds
from tests.kafka.broker import running_broker

PARTITIONS: Final = 2
QUIXSTREAMS_RECORDS: Final = 60_000
"""Enough for several seconds of it; its rate does not change with more."""
QUIXSTREAMS_PIN: Final = "quixstreams==3.28.1"
PEER_ENVIRONMENT: Final = Path(__file__).parent.parent / ".venv-quixstreams"
CONTENDER_TIMEOUT_S: Final = 600


def topic_filled(bootstrap: str, records: int) -> str:
    """Create the input and output topics and produce ``records`` records, keyed and partitioned by series."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = [NewTopic(f"{name}.in", PARTITIONS, 1), NewTopic(f"{name}.events", 1, 1), NewTopic(f"{name}.dlq", 1, 1)]
    topics.append(NewTopic(f"{name}.state", PARTITIONS, 1, config={"cleanup.policy": "compact"}))
    for future in admin.create_topics(topics).values():
        future.result(30)
    settings = {"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": "lz4"}
    producer = Producer(settings | {"queue.buffering.max.messages": 500_000})
    with Progress(transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("producing", total=records)
        for batch in metric_rounds(-(-records // SERIES_COUNT)):
            for series, record in enumerate(batch):
                producer.produce(f"{name}.in", record, key=b"%d" % series, partition=series % PARTITIONS)
            producer.flush()
            progress.advance(task, len(batch))
    return f"{name}.in"


def peer_python() -> str:
    """Python of the environment that holds quixstreams, made on first use: it pins an older client library."""
    python = PEER_ENVIRONMENT / "bin" / "python"
    if not python.exists():
        note("making the environment for quixstreams")
        subprocess.run([sys.executable, "-m", "venv", str(PEER_ENVIRONMENT)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", QUIXSTREAMS_PIN]
        subprocess.run(install, check=True)
    return str(python)


def run_contender(name: str, bootstrap: str, topic: str, records: int) -> dict[str, Any]:
    """One contender in a process of its own; its last line is its result."""
    if name == "quixstreams":
        script = str(Path(__file__).with_name("quixstreams_contender.py"))
        command = [peer_python(), script, bootstrap, topic, str(min(records, QUIXSTREAMS_RECORDS))]
    else:
        command = [sys.executable, "-m", "benchmarks.contenders", name, bootstrap, topic, str(records)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=CONTENDER_TIMEOUT_S)
    if done.returncode:
        raise SystemExit(f"{name} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    result: dict[str, Any] = orjson.loads(done.stdout.strip().splitlines()[-1])
    return result


@contextlib.contextmanager
def broker_at(bootstrap: str | None) -> Iterator[str]:
    """The broker that was named, or a real one started for this run."""
    if bootstrap is not None:
        yield bootstrap
        return
    with running_broker() as broker:
        yield broker.bootstrap_servers


def measure(bootstrap: str, records: int, rounds: int, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Every contender's results, taken in turns; the first round warms broker and page cache and is not counted."""
    topic = topic_filled(bootstrap, records)
    run_contender("bare", bootstrap, topic, records)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(rounds):
        for name, found in results.items():
            began_s = time.perf_counter()
            found.append(run_contender(name, bootstrap, topic, records))
            note(f"round {turn + 1} {name}: {found[-1]['per_s']:,}/s ({time.perf_counter() - began_s:.0f} s)")
    return results


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bootstrap", help="a running broker; by default one is started")
    options = parser.parse_args()
    with broker_at(options.bootstrap) as bootstrap:
        results = measure(bootstrap, options.records, options.rounds, ("bare", "worker", "river", "quixstreams"))
    rates = {name: statistics.median(one["per_s"] for one in found) for name, found in results.items()}
    worker = rates["worker"]
    facts = results["worker"][-1]
    summary = {
        "consume_per_s": round(rates["bare"]),
        "worker_per_s": round(worker),
        "river_per_s": round(rates["river"]),
        "quixstreams_per_s": round(rates["quixstreams"]),
        "worker_to_consume": round(worker / rates["bare"], 3),
        "worker_to_river": round(worker / rates["river"], 2),
        "worker_to_quixstreams": round(worker / rates["quixstreams"], 2),
        "records": options.records,
        "series": facts["series"],
        "episodes_opened": facts["opened"],
        "worker_stage_seconds": facts["stage_seconds"],
    }
    names = {
        "bare": "consume() alone",
        "worker": "detector worker (episodes, telemetry, commits)",
        "river": "loop, one river GaussianScorer per series",
        "quixstreams": "quixstreams, state per key",
    }
    rows = [(names[name], f"{rate:,.0f}", f"{worker / rate:.2f}") for name, rate in rates.items()]
    show("Pipeline on real Kafka", ("consumer", "records/s", "worker is x times as fast"), rows, summary)


if __name__ == "__main__":
    main()
