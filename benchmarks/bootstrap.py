"""A bootstrap on real Kafka: how fast history is learnt, and what another partition of the same worker notices of it.

``python -m benchmarks.bootstrap [--records N] [--bootstrap HOST:PORT]``. Partition 0 holds the records; partition 1 is
live and gets one sample every 20 ms. Once from the topic, once from a file with the same records and an empty topic.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Final

from confluent_kafka import Producer

from benchmarks.pipeline import broker_at
from benchmarks.report_line import note, show
from benchmarks.stream import SERIES_COUNT, metric_rounds
from benchmarks.worker_run import MeasuredRun, MeasuredStage, producer_to, values_of
from tests.kafka.workers import until

DEADLINE_S: Final = 1_800.0
PROBE_INTERVAL_S: Final = 0.02
LIVE: Final = 1
"""The partition that is live; the other one learns."""


def main() -> None:
    """Run both and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--bootstrap", help="a running broker; by default one is started")
    options = parser.parse_args()
    rounds = max(1, options.records // SERIES_COUNT)
    with broker_at(options.bootstrap) as bootstrap, tempfile.TemporaryDirectory() as folder:
        producer = producer_to(bootstrap)
        topic = MeasuredStage(bootstrap, Path(folder), input_options={})
        files = MeasuredStage(bootstrap, Path(folder), input_options={})
        history = Path(folder) / "history.jsonl"
        with history.open("wb") as file:
            for batch in metric_rounds(rounds):
                file.writelines(line + b"\n" for line in batch)
                for record in batch:
                    producer.produce(topic.input, record, partition=0)
                    producer.poll(0)
                producer.flush()
        note(f"{rounds * SERIES_COUNT:,} records written")
        summary = {
            "records": rounds * SERIES_COUNT,
            **measured(topic, producer, "earliest", "topic"),
            **measured(files, producer, str(history), "files"),
        }
    rows = [(name, f"{value:,}") for name, value in summary.items()]
    show("Bootstrap on real Kafka", ("what", "how much"), rows, summary)


def measured(stage: MeasuredStage, producer: Producer, source: str, name: str) -> dict[str, float]:
    """Let a worker learn until it is ready, while the live partition goes on."""
    stage.commit(0, partition=LIVE)
    ended = Event()

    def probe() -> None:
        while not ended.wait(PROBE_INTERVAL_S):
            line = b'{"name":"probe","time":%d,"value":%d}' % (time.time_ns() // 1_000_000, time.time_ns() % 97)
            producer.produce(stage.input, line, partition=LIVE)
            producer.flush()

    feeder = Thread(target=probe, daemon=True)
    with MeasuredRun(stage.settings(state={"bootstrap": source}, telemetry={"http_port": 0})) as worker:
        worker.until_logged("state_lost")  # of the live partition, which has a commit and no models
        feeder.start()
        until(lambda: worker.ready() or not worker.runs(), "ready", deadline_s=DEADLINE_S)
        lines = [line for line in worker.log("bootstrap_ended") if line["stage"] == name]
        (line,) = (each for each in lines if each["records"])
        samples = worker.metrics()
        buckets = [
            (float(each.labels["le"]), each.value)
            for each in samples
            if each.name == "detector_event_delayed_seconds_bucket" and each.labels["topic"] == stage.input
        ]
        facts = {
            f"{name}_records_per_s": round(line["records"] / line["seconds"]),
            f"{name}_resident_mb": round(worker.resident_mb()),
            f"{name}_live_batches": round(values_of(samples, "detector_event_delayed_seconds_count")[0]),
            f"{name}_live_delay_half_below_s": quantile(buckets, 0.5),
            f"{name}_live_delay_95_below_s": quantile(buckets, 0.95),
        }
        ended.set()
        feeder.join()
        assert worker.stopped() == 0
    return facts


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """The least bound of the histogram below which so many lie."""
    count = max(value for _, value in buckets)
    return min(bound for bound, value in buckets if value >= share * count)


if __name__ == "__main__":
    main()
