"""Log records through the worker on real Kafka: bare consume and the worker on one topic per format, in turns.

``python -m benchmarks.log_worker [--records N] [--rounds N] [--size CHARACTERS] [--only FORMAT] [--bootstrap
HOST:PORT]``. Lines of eight services as in ``log_flow``, on two partitions, keyed by service; requests of OpenTelemetry
and Loki hold 50 lines each. Episodes, telemetry and commits are on. Lines per second of the clock, each contender in a
process of its own that has the same two cores as the broker; the medians of the rounds. The last line is JSON.
"""

import argparse
import statistics
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any, Final

import orjson
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.log_decode import LINES_PER_REQUEST
from benchmarks.log_flow import Stream, streams, texts_of
from benchmarks.pipeline import CONTENDER_TIMEOUT_S, PARTITIONS, broker_at
from benchmarks.report_line import note, show
from benchmarks.worker_run import PRODUCER_OPTIONS

DEADLINE_S: Final = 30.0


def filled(admin: AdminClient, bootstrap: str, stream: Stream) -> str:
    """A new topic with the records of ``stream``, alternately on its partitions, so that a service is on one."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    topics = [NewTopic(f"{name}.in", PARTITIONS, 1), NewTopic(f"{name}.events", 1, 1), NewTopic(f"{name}.dlq", 1, 1)]
    for future in admin.create_topics(topics).values():
        future.result(DEADLINE_S)
    producer = Producer({"bootstrap.servers": bootstrap, **PRODUCER_OPTIONS})
    for place, record in enumerate(stream.records):
        producer.produce(f"{name}.in", record, partition=place % PARTITIONS)
        if place % 10_000 == 0:
            producer.flush()
    producer.flush()
    return name


def rate(contender: str, bootstrap: str, name: str, stream: Stream) -> float:
    """Lines per second of one contender."""
    command = [sys.executable, "-m", "benchmarks.contenders", contender, bootstrap, f"{name}.in"]
    command += [str(len(stream.records)), stream.format]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=CONTENDER_TIMEOUT_S)
    if done.returncode:
        raise SystemExit(f"{contender} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    facts: dict[str, Any] = orjson.loads(done.stdout.strip().splitlines()[-1])
    if facts.get("rejects"):
        raise SystemExit(f"{stream.title}: {facts['rejects']} records were rejected")
    return float(facts["per_s"]) * stream.lines / len(stream.records)


def measure(options: argparse.Namespace, bootstrap: str, found: Callable[[str, str, float], None]) -> None:
    """Every format's rates, a topic after the other."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    texts = texts_of(options.records // LINES_PER_REQUEST * LINES_PER_REQUEST, options.size)
    for stream in streams(texts, options.only):
        name = filled(admin, bootstrap, stream)
        for turn in range(options.rounds):
            for contender in ("bare", "log_worker"):
                per_s = rate(contender, bootstrap, name, stream)
                note(f"{stream.title}, round {turn + 1}, {contender}: {per_s:,.0f} lines/s")
                found(stream.title, contender, per_s)
        for future in admin.delete_topics([f"{name}.{part}" for part in ("in", "events", "dlq")]).values():
            future.result(DEADLINE_S)


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=300_000, help="lines, however many of them are in one record")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=539)
    parser.add_argument("--only", help="formats whose name begins so")
    parser.add_argument("--bootstrap", help="a running broker; by default one is started")
    options = parser.parse_args()
    rates: dict[str, dict[str, list[float]]] = {}
    with broker_at(options.bootstrap) as bootstrap:
        measure(
            options,
            bootstrap,
            lambda title, name, per_s: rates.setdefault(title, {}).setdefault(name, []).append(per_s),
        )
    if not rates:
        parser.error(f"no format's name begins with {options.only!r}")
    medians = {title: {name: statistics.median(each) for name, each in found.items()} for title, found in rates.items()}
    rows = [
        (title, f"{found['bare']:,.0f}", f"{found['log_worker']:,.0f}", f"{found['log_worker'] / found['bare']:.2f}")
        for title, found in medians.items()
    ]
    summary = {
        "benchmark": "log_worker",
        "characters": options.size,
        "lines_per_s": {
            title: {"consume": round(found["bare"]), "worker": round(found["log_worker"])}
            for title, found in medians.items()
        },
    }
    show("Log lines per second on real Kafka", ("format", "consume() alone", "worker", "ratio"), rows, summary)


if __name__ == "__main__":
    main()
