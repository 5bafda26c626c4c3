"""A partition's state to bytes and back: how long scoring stops, the size, and how soon the models are there again.

``python -m benchmarks.restore [--series N]``. The default learner, four labels per series, no Kafka: what a snapshot
costs apart from moving its bytes. A first copy is taken with nothing in between; a second one slice by slice between
batches that change every series, and it must give the same bytes. The restored pipeline is checked in the same way.
"""

import argparse
import gc
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
import psutil
from rich.console import Console
from rich.progress import track

from benchmarks.report_line import note, show
from benchmarks.stream import metric_rounds
from detector.batches import TIMESTAMP_UNKNOWN, RecordBatch
from detector.commands.warmup import warm_up
from detector.pipeline import PartitionPipeline
from detector.ports import TopicPartition
from detector.settings import Settings
from detector.state import CHUNK_BYTES_MAX, SLICE_SLOTS, StateCopy, chunks_of, decode, encode, joined, read_header
from detector.wiring import PipelineFactory

ROUNDS: Final = 3
BATCH_RECORDS: Final = 10_000
PLACE: Final = TopicPartition("bench", 0)
CLUSTER: Final = "bench"


class Feed:
    """The records of some rounds, batch by batch."""

    def __init__(self, series: int, rounds: int) -> None:
        self.offset = 0
        self._series = series
        self._rounds = metric_rounds(rounds, series)
        self._left: list[bytes] = []

    def __call__(self, pipeline: PartitionPipeline) -> float:
        """Let the pipeline process the next batch; the seconds that it took."""
        if not self._left:
            self._left = next(self._rounds)
        part, self._left = self._left[:BATCH_RECORDS], self._left[BATCH_RECORDS:]
        offsets = np.arange(self.offset, self.offset + len(part), dtype=np.int64)
        stamps = np.full(len(part), TIMESTAMP_UNKNOWN, dtype=np.int64)
        began_s = time.perf_counter()
        pipeline.process(RecordBatch(PLACE.topic, PLACE.partition, offsets, stamps, part))
        self.offset += len(part)
        return time.perf_counter() - began_s

    def round(self, pipeline: PartitionPipeline) -> list[float]:
        """One batch after another until every series was there once; the seconds of each."""
        return [self(pipeline) for _ in range(0, self._series, BATCH_RECORDS)]


class Watch:
    """Seconds of each step, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """What passed since the last lap belongs to ``name``; an empty name throws it away."""
        moment = time.perf_counter()
        if name:
            self.seconds[name] = moment - self._last
        self._last = moment


class Stretches(NamedTuple):
    """A copy; the seconds and CPU seconds of each stretch of nothing but copying; the seconds of batches between."""

    copy: StateCopy
    slices: list[float]
    slices_cpu: list[float]
    batches: list[float]


def copied(pipeline: PartitionPipeline, offset: int, feed: Feed | None = None) -> Stretches:
    """Copy the state slice by slice, with a batch after each if there is a feed."""
    began_s, began_cpu_s = time.perf_counter(), time.thread_time()
    copy = pipeline.begin_snapshot(offset=offset, cluster=CLUSTER)
    slices, slices_cpu = [time.perf_counter() - began_s], [time.thread_time() - began_cpu_s]
    batches: list[float] = []
    complete = copy.complete
    while not complete:
        if feed is not None:
            batches.append(feed(pipeline))
        began_s, began_cpu_s = time.perf_counter(), time.thread_time()
        complete = copy.advance()
        slices.append(time.perf_counter() - began_s)
        slices_cpu.append(time.thread_time() - began_cpu_s)
    return Stretches(copy, slices, slices_cpu, batches)


def encoded_beside(copy: StateCopy) -> tuple[bytes, float]:
    """The bytes, encoded in another thread, and the longest that this one had to wait for its turn meanwhile."""
    longest_s = 0.0
    with ThreadPoolExecutor(1) as executor:
        encoding = executor.submit(encode, copy.header, copy.columns)
        before_s = time.perf_counter()
        while not encoding.done():
            moment_s = time.perf_counter()
            longest_s, before_s = max(longest_s, moment_s - before_s), moment_s
        return encoding.result(), longest_s


def resident_mb() -> float:
    """Resident memory of this process."""
    return float(psutil.Process().memory_info().rss / 1e6)


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", type=int, default=1_000_000)
    series = parser.parse_args().series
    limits = {"limit_per_partition": series, "aliases_max": 2 * series}
    settings = Settings.model_validate({"series": limits})
    warm_up(settings)
    factory = PipelineFactory(settings)
    note(f"learning {series:,} series")
    pipeline, feed = factory.metrics(PLACE), Feed(series, ROUNDS + 3)
    for _ in track(range(ROUNDS), description="learning", console=Console(stderr=True), transient=True):
        feed.round(pipeline)
    gc.freeze()
    gc.disable()  # as the worker does while it restores: millions of new objects, no garbage among them
    watch, offset = Watch(), feed.offset
    first = copied(pipeline, offset)
    watch.lap("")
    data = encode(first.copy.header, first.copy.columns)
    watch.lap("encode")
    second = copied(pipeline, offset, feed)
    again, stall_s = encoded_beside(second.copy)
    if again != data:
        raise SystemExit("the copy taken between batches is not the one taken whole")
    undisturbed = feed.round(pipeline)
    slices, slices_cpu = first.slices, first.slices_cpu
    under_way, alone = statistics.mean(second.batches), statistics.mean(undisturbed)
    del first, second, again
    chunks = chunks_of(data)
    heir = factory.metrics(PLACE)
    before_mb, before_cpu_s = resident_mb(), time.process_time()
    watch.lap("")
    snapshot = decode(joined(chunks))
    watch.lap("decode")
    heir.restore(snapshot, cluster=CLUSTER)
    watch.lap("restore")
    back_cpu_s = time.process_time() - before_cpu_s
    del snapshot
    objects_bytes = (resident_mb() - before_mb) * 1e6 - heir.state_bytes()
    if encode(*heir.snapshot(offset=offset, cluster=CLUSTER)) != data:
        raise SystemExit("the restored state is not the original's")
    raw_mb = read_header(data).body_bytes / 1e6
    back_s = watch.seconds["decode"] + watch.seconds["restore"]
    result = {
        "series": series,
        "slice_slots": SLICE_SLOTS,
        "pause_begin_ms": round(1e3 * slices[0], 1),
        "pause_longest_ms": round(1e3 * max(slices), 1),
        "pause_longest_cpu_ms": round(1e3 * max(slices_cpu), 1),
        "pause_sum_ms": round(1e3 * sum(slices), 1),
        "pause_sum_cpu_ms": round(1e3 * sum(slices_cpu), 1),
        "batch_ms": round(1e3 * alone, 1),
        "batch_under_way_ms": round(1e3 * under_way, 1),
        "encode_s": round(watch.seconds["encode"], 2),
        "encode_stall_ms": round(1e3 * stall_s, 1),
        "decode_s": round(watch.seconds["decode"], 2),
        "restore_s": round(watch.seconds["restore"], 2),
        "back_s": round(back_s, 2),
        "back_cpu_s": round(back_cpu_s, 2),
        "raw_mb": round(raw_mb, 1),
        "snapshot_mb": round(len(data) / 1e6, 1),
        "restore_mb_per_s": round(raw_mb / back_s, 1),
        "objects_bytes_per_series": round(objects_bytes / series),
        "chunks": len(chunks),
        "chunk_bytes_max": CHUNK_BYTES_MAX,
    }
    rows = [
        ("copying, the longest stretch", f"{result['pause_longest_ms']} ms", f"{SLICE_SLOTS:,} slots"),
        ("  its processor time, at most", f"{result['pause_longest_cpu_ms']} ms", f"{SLICE_SLOTS:,} slots"),
        ("copying, all slices", f"{result['pause_sum_ms']} ms", f"{raw_mb:,.0f} MB"),
        ("a batch while nothing is copied", f"{result['batch_ms']} ms", f"{BATCH_RECORDS:,} records"),
        ("a batch while a copy is under way", f"{result['batch_under_way_ms']} ms", f"{BATCH_RECORDS:,} records"),
        ("encoding (beside the scoring)", f"{result['encode_s']} s", f"{result['snapshot_mb']:,} MB"),
        ("the longest that scoring waits for it", f"{result['encode_stall_ms']} ms", ""),
        ("decoding", f"{result['decode_s']} s", f"{len(chunks):,} chunks"),
        ("restoring series, models, episodes", f"{result['restore_s']} s", f"{result['restore_mb_per_s']:,} MB/s"),
    ]
    show(f"Snapshot and restore of {series:,} series", ("step", "time", "size"), rows, result)


if __name__ == "__main__":
    main()
