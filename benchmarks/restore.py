"""A partition's state to bytes and back: the pause of scoring, the size, and the seconds until models are there again.

``python -m benchmarks.restore [--series N]``. The default learner, four labels per series, no Kafka: what a snapshot
costs apart from moving its bytes. The restored pipeline is checked against the original by its own snapshot.
"""

import argparse
import gc
import time
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.report_line import note, show
from benchmarks.stream import metric_rounds
from detector.batches import TIMESTAMP_UNKNOWN, RecordBatch
from detector.pipeline import PartitionPipeline
from detector.ports import TopicPartition
from detector.settings import Settings
from detector.state import CHUNK_BYTES_MAX, chunks_of, decode, encode, joined, read_header
from detector.wiring import PipelineFactory

ROUNDS: Final = 3
BATCH_RECORDS: Final = 10_000
PLACE: Final = TopicPartition("bench", 0)
CLUSTER: Final = "bench"


def filled(factory: PipelineFactory, series: int) -> tuple[PartitionPipeline, int]:
    """A pipeline that has seen a few rounds of ``series`` series, and the next offset."""
    pipeline, offset = factory(PLACE), 0
    rounds = list(metric_rounds(ROUNDS, series))
    for records in track(rounds, description="learning", console=Console(stderr=True), transient=True):
        for start in range(0, len(records), BATCH_RECORDS):
            part = records[start : start + BATCH_RECORDS]
            offsets = np.arange(offset, offset + len(part), dtype=np.int64)
            stamps = np.full(len(part), TIMESTAMP_UNKNOWN, dtype=np.int64)
            pipeline.process(RecordBatch(PLACE.topic, PLACE.partition, offsets, stamps, part))
            offset += len(part)
    return pipeline, offset


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


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", type=int, default=1_000_000)
    series = parser.parse_args().series
    limits = {"limit_per_partition": series, "aliases_max": 2 * series}
    factory = PipelineFactory(Settings.model_validate({"series": limits}))
    note(f"learning {series:,} series")
    pipeline, offset = filled(factory, series)
    gc.freeze()
    gc.disable()  # as the worker does while it restores: millions of new objects, no garbage among them
    watch = Watch()
    watch.lap("")
    header, state = pipeline.snapshot(offset=offset, cluster=CLUSTER)
    watch.lap("pause")
    data = encode(header, state)
    watch.lap("encode")
    chunks = chunks_of(data)
    heir = factory(PLACE)
    watch.lap("")
    snapshot = decode(joined(chunks))
    watch.lap("decode")
    heir.restore(snapshot, cluster=CLUSTER)
    watch.lap("restore")
    if encode(*heir.snapshot(offset=offset, cluster=CLUSTER)) != data:
        raise SystemExit("the restored state is not the original's")
    raw_mb = read_header(data).body_bytes / 1e6
    back_s = watch.seconds["decode"] + watch.seconds["restore"]
    result = {
        "series": series,
        "pause_s": round(watch.seconds["pause"], 3),
        "encode_s": round(watch.seconds["encode"], 2),
        "decode_s": round(watch.seconds["decode"], 2),
        "restore_s": round(watch.seconds["restore"], 2),
        "back_s": round(back_s, 2),
        "raw_mb": round(raw_mb, 1),
        "snapshot_mb": round(len(data) / 1e6, 1),
        "restore_mb_per_s": round(raw_mb / back_s, 1),
        "chunks": len(chunks),
        "chunk_bytes_max": CHUNK_BYTES_MAX,
    }
    rows = [
        ("copying the state (scoring pauses)", f"{result['pause_s']} s", f"{raw_mb:,.0f} MB"),
        ("encoding (beside the scoring)", f"{result['encode_s']} s", f"{result['snapshot_mb']:,} MB"),
        ("decoding", f"{result['decode_s']} s", f"{len(chunks):,} chunks"),
        ("restoring series, models, episodes", f"{result['restore_s']} s", f"{result['restore_mb_per_s']:,} MB/s"),
    ]
    show(f"Snapshot and restore of {series:,} series", ("step", "time", "size"), rows, result)


if __name__ == "__main__":
    main()
