"""One consumer of a benchmark per process: ``python -m benchmarks.contenders NAME BOOTSTRAP TOPIC RECORDS [FORMAT]``.

With a format, the records are of logs. Each reads the topic from its beginning in a group of its own and prints one
JSON object. The rate counts from the end of the first batch, so that start-up, assignment and compilation are outside
for everybody.
"""

import gc
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from confluent_kafka import Consumer, Message
from river import anomaly

from benchmarks.worker_run import total_of
from detector.batches import Output, RecordBatch
from detector.commands.warmup import warm_up
from detector.ports import TopicPartition
from detector.settings import Settings
from detector.telemetry import configure_logs
from detector.wiring import build_worker

BATCH_RECORDS = 10_000
FETCH = {
    "queued.min.messages": 1_000_000,
    "queued.max.messages.kbytes": 65_536,
    "fetch.queue.backoff.ms": 20,
    "fetch.max.bytes": 52_428_800,
    "max.partition.fetch.bytes": 10_485_760,
}
"""What the worker's own consumer uses; librdkafka's defaults starve every contender alike."""


GaussianScorer: Any = anomaly.GaussianScorer
"""Without types, as river has none."""


class Meter:
    """Records per second from the end of the first batch to the end of the last."""

    def __init__(self, records: int) -> None:
        self._wanted = records
        self._first_count = 0
        self._count = 0
        self._started_s = 0.0
        self.rate_per_s = 0.0

    def add(self, records: int) -> bool:
        """Count a finished batch; true once everything has been seen."""
        moment = time.perf_counter()
        self._count += records
        if not self._first_count:
            self._first_count, self._started_s = self._count, moment
        if self._count >= self._wanted and not self.rate_per_s:
            self.rate_per_s = (self._count - self._first_count) / (moment - self._started_s)
        return self._count >= self._wanted


def consumer(bootstrap: str, topic: str) -> Consumer:
    """A consumer of the whole topic from its beginning, in a new group."""
    settings = {"bootstrap.servers": bootstrap, "group.id": f"bench-{uuid.uuid4()}", "auto.offset.reset": "earliest"}
    client = Consumer(settings | FETCH | {"enable.auto.commit": False})
    client.subscribe([topic])
    return client


def batches(client: Consumer, meter: Meter, handle: Callable[[list[Message]], None]) -> None:
    """Poll, then take what is there, as long as the meter wants more."""
    done = False
    while not done:
        first = client.poll(0.05)
        if first is None:
            continue
        messages = [first, *client.consume(BATCH_RECORDS - 1, 0)]
        handle(messages)
        done = meter.add(len(messages))


def bare(bootstrap: str, topic: str, meter: Meter) -> dict[str, object]:
    """``consume()`` and nothing else."""
    client = consumer(bootstrap, topic)
    batches(client, meter, lambda _messages: None)
    client.close()
    return {}


def river_loop(bootstrap: str, topic: str, meter: Meter) -> dict[str, object]:
    """What a person writes first: parse each record, one river GaussianScorer per series, count high scores."""
    client = consumer(bootstrap, topic)
    scorers: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}
    found = {"alerts": 0}

    def handle(messages: list[Message]) -> None:
        for message in messages:
            record = orjson.loads(message.value() or b"{}")
            key = (record["name"], tuple(record["labels"].items()))
            scorer = scorers.get(key)
            if scorer is None:
                scorer = scorers[key] = GaussianScorer()
            value = record["value"]
            if scorer.score_one({}, value) > 0.999:
                found["alerts"] += 1
            scorer.learn_one({}, value)

    batches(client, meter, handle)
    client.close()
    return {"series": len(scorers), **found}


KEPT = {
    "snapshots": "detector_snapshots_written_total",
    "commits": "detector_offsets_committed_seconds_count",
    "aborted": "detector_transactions_aborted_total",
}
"""Names in the results, and of the metrics."""

Given = Mapping[str, Mapping[str, object]]
"""Sections of settings."""

SNAPSHOT_INTERVAL_S = 3.0
"""Many times as often as by default, so that a run of seconds holds a few."""

AT_LEAST_ONCE: Given = {"state": {"enabled": False}, "delivery": {"mode": "at_least_once"}}
EXACTLY_ONCE: Given = {"state": {"interval_s": SNAPSHOT_INTERVAL_S}, "delivery": {"mode": "exactly_once"}}


def worker(bootstrap: str, topic: str, meter: Meter) -> dict[str, object]:
    """The real worker, which keeps as little over restarts as those that it is compared with."""
    return run_worker(bootstrap, topic, meter, {"kafka": {"topics": [topic]}, **AT_LEAST_ONCE})


def exactly_once(bootstrap: str, topic: str, meter: Meter) -> dict[str, object]:
    """The real worker with transactions and snapshots."""
    return run_worker(bootstrap, topic, meter, {"kafka": {"topics": [topic]}, **EXACTLY_ONCE})


def log_worker(bootstrap: str, topic: str, meter: Meter) -> dict[str, object]:
    """The real worker on a topic of logs, otherwise as :func:`worker`."""
    logs = {"topics": [topic], "format": sys.argv[5]}
    return run_worker(bootstrap, topic, meter, {"kafka": {}, "logs": logs, **AT_LEAST_ONCE})


def run_worker(bootstrap: str, topic: str, meter: Meter, given: Given) -> dict[str, object]:
    """Episodes to a topic, dead letters, telemetry with its HTTP server, commits; the rest as ``given``."""
    prefix = topic.removesuffix(".in")
    kafka = {"bootstrap_servers": [bootstrap], "group_id": f"bench-{uuid.uuid4()}", **given["kafka"]}
    settings = Settings.model_validate(
        {
            **given,
            "kafka": kafka,
            "output": {"prefix": prefix},
            "telemetry": {"http_port": 0, "http_host": "127.0.0.1", "log_level": "warning"},
        }
    )
    configure_logs(settings.telemetry.log_format, settings.telemetry.log_level)
    warm_up(settings)
    gc.collect()
    gc.freeze()
    totals = {"opened": 0, "series": 0, "rejects": 0}
    stages: dict[str, float] = {}

    def on_output(_partition: TopicPartition, batch: RecordBatch, output: Output) -> None:
        totals["opened"] += output.counts.opened
        totals["series"] += output.counts.series_created
        totals["rejects"] += len(output.rejects)
        for stage, seconds in output.stage_seconds.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
        if meter.add(len(batch)):
            running.worker.stop()

    running = build_worker(settings, on_output=on_output)
    running.run()
    samples = [sample for family in running.metrics.registry.collect() for sample in family.samples]
    kept = {name: total_of(samples, metric) for name, metric in KEPT.items()}
    return {**totals, **kept, "stage_seconds": {stage: round(seconds, 3) for stage, seconds in stages.items()}}


CONTENDERS = {
    "bare": bare,
    "river": river_loop,
    "worker": worker,
    "exactly_once": exactly_once,
    "log_worker": log_worker,
}


def main() -> None:
    """Run one contender and print its JSON."""
    name, bootstrap, topic, records = sys.argv[1:5]
    meter = Meter(int(records))
    cpu_s = time.process_time()
    facts = CONTENDERS[name](bootstrap, topic, meter)
    facts |= {"per_s": round(meter.rate_per_s), "cpu_s": round(time.process_time() - cpu_s, 2)}
    print(orjson.dumps(facts).decode())


if __name__ == "__main__":
    main()
