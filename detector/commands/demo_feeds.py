"""What the demo streams: points of metrics, and lines of logs; a recorded flow, or this machine's own metrics."""

import socket
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import orjson
import psutil
from river.datasets import WaterFlow
from river.datasets.base import Dataset

WATER_SECONDS: Final = 18.0
"""Duration of the recorded flow at speed 1: long enough to watch, short enough to wait for."""
WATER_SERIES: Final = "water_flow"
HOST_INTERVAL_S: Final = 1.0


class Point(NamedTuple):
    """One sample as it is streamed."""

    series: str
    time_ms: int
    value: float
    labels: dict[str, str]

    @property
    def key(self) -> bytes:
        """Key of its record: what belongs to one series lies on one partition."""
        return "|".join((self.series, *self.labels.values())).encode()

    def record(self) -> bytes:
        """Write the point as a JSON metric record."""
        return orjson.dumps(
            {"name": self.series, "labels": self.labels, "time": self.time_ms, "value": round(self.value, 6)}
        )


class LogLine(NamedTuple):
    """One record of a log topic as it is streamed; keyed by its service, so that a service lies on one partition."""

    service: str
    time_ms: int
    record: bytes


class Beat(NamedTuple):
    """What is sent together, and how long to wait after it at speed 1."""

    points: list[Point]
    pause_s: float
    lines: list[LogLine] = []  # noqa: RUF012  # nothing adds to it


def water_beats() -> Iterator[Beat]:
    """Stream the hourly flow through a branch of a pipeline: 1,268 hours with three interventions in them.

    Source: river.datasets.WaterFlow, donated by Tecnojest s.r.l.
    """
    dataset: Dataset = WaterFlow()  # type: ignore[no-untyped-call]  # river publishes no types for it
    pause_s = WATER_SECONDS / dataset.n_samples
    for features, flow in dataset:
        time_ms = round(features["Time"].timestamp() * 1000)
        yield Beat([Point(WATER_SERIES, time_ms, flow, {"site": "pipeline-branch"})], pause_s)


def host_beats() -> Iterator[Beat]:
    """Stream this machine's CPU, memory, load, disk and network, without end."""
    labels = {"host": socket.gethostname()}
    before, before_s = _host_counters(), time.monotonic()
    psutil.cpu_percent()  # the first call only sets the mark that the next one measures from
    yield Beat([], HOST_INTERVAL_S)
    while True:
        counters, moment_s = _host_counters(), time.monotonic()
        values = {
            "cpu_percent": psutil.cpu_percent(),
            "memory_percent": psutil.virtual_memory().percent,
            "load_1min": psutil.getloadavg()[0],
        }
        for name, count in counters.items():
            values[name] = (count - before[name]) / max(moment_s - before_s, 1e-3)
        before, before_s = counters, moment_s
        time_ms = time.time_ns() // 1_000_000
        yield Beat([Point(name, time_ms, value, labels) for name, value in values.items()], HOST_INTERVAL_S)


def _host_counters() -> dict[str, int]:
    """Give the counters whose rates are streamed; containers may have no disks of their own."""
    counters: dict[str, int] = {}
    disk, network = psutil.disk_io_counters(), psutil.net_io_counters()
    if disk is not None:
        counters |= {"disk_read_bytes_per_s": disk.read_bytes, "disk_write_bytes_per_s": disk.write_bytes}
    if network is not None:
        counters |= {"net_in_bytes_per_s": network.bytes_recv, "net_out_bytes_per_s": network.bytes_sent}
    return counters
