"""`detector run` as a process under measurement: its metrics, its memory, and its topics."""

import http.client
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil
from confluent_kafka import Producer
from confluent_kafka.cimpl import NewTopic
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from rich.console import Console
from rich.progress import Progress

from tests.kafka.workers import Stage, WorkerRun

PARTITIONS: Final = 2
MEGABYTE: Final = 1_000_000
ANSWER_TIMEOUT_S: Final = 30.0
PRODUCER_OPTIONS: Final = {
    "enable.idempotence": True,
    "linger.ms": 50,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 500_000,
    "log_level": 0,
}
"""Idempotent, so that the n-th record sent to a partition has offset n."""


def producer_to(bootstrap: str) -> Producer:
    """Give a producer for many records."""
    return Producer({"bootstrap.servers": bootstrap, **PRODUCER_OPTIONS})


class MeasuredStage(Stage):
    """Topics of one run; ``input_options`` are options of the input topic."""

    def __init__(
        self, bootstrap_servers: str, folder: Path, *, input_options: Mapping[str, str], partitions: int = PARTITIONS
    ) -> None:
        self._input_options = dict(input_options)
        super().__init__(bootstrap_servers, folder, partitions=partitions)

    def _create(self, topics: Sequence[NewTopic]) -> None:
        created = [
            NewTopic(each.topic, each.num_partitions, each.replication_factor, config=self._input_options)
            if each.topic == self.input
            else each
            for each in topics
        ]
        super()._create(created)


def progress_bar() -> Progress:
    """Give a bar on stderr, for people only."""
    return Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


class MeasuredRun(WorkerRun):
    """A worker that is asked for its metrics and its memory while it runs."""

    def __init__(self, settings: Path) -> None:
        super().__init__(settings)
        self.until_logged("worker_started")
        self._port = int(self.log("worker_started")[0]["http_port"])
        self._memory = psutil.Process(self._process.pid)

    def metrics(self) -> Sequence[Sample]:
        """Ask /metrics."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_TIMEOUT_S)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def resident_mb(self) -> float:
        """Physical memory that the process holds, in MB."""
        return float(self._memory.memory_info().rss) / MEGABYTE


def values_of(samples: Sequence[Sample], name: str, **labels: str) -> list[float]:
    """Values of one metric whose labels include ``labels``; one per partition where that is a label."""
    return [sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()]


def total_of(samples: Sequence[Sample], name: str, **labels: str) -> int:
    """Sum of :func:`values_of` for a metric that counts."""
    return round(sum(values_of(samples, name, **labels)))
