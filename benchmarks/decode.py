"""Decoding alone: the batch path, the same with 1 % bad records, arrays, columns, and one orjson call per record.

``python -m benchmarks.decode [--records N]``. Nanoseconds per sample, best of several passes over the same batches.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import orjson
from rich.console import Console
from rich.progress import track

from benchmarks.report_line import show
from benchmarks.stream import metric_rounds
from detector.batches import TIMESTAMP_UNKNOWN, RecordBatch
from detector.decoders import DecoderLimits, JsonMetricsDecoder, JsonPaths

BATCH_RECORDS = 4_000
PASSES = 7


def batches_of(records: Sequence[bytes]) -> list[RecordBatch]:
    """The records in batches as a consumer would hand them over."""
    parts = [records[start : start + BATCH_RECORDS] for start in range(0, len(records), BATCH_RECORDS)]
    return [
        RecordBatch("bench", 0, np.arange(len(part)), np.full(len(part), TIMESTAMP_UNKNOWN, dtype=np.int64), part)
        for part in parts
    ]


def best_ns(run: Callable[[], object], samples: int, title: str) -> float:
    """Nanoseconds per sample of the fastest pass."""
    best = float("inf")
    for _ in track(range(PASSES), description=title, console=Console(stderr=True), transient=True):
        began = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - began)
    return best / samples * 1e9


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=100_000)
    count = parser.parse_args().records
    records = [record for batch in metric_rounds(-(-count // 5_000)) for record in batch][:count]
    bad = [b"garbage" if place % 100 == 0 else record for place, record in enumerate(records)]
    arrays = [b"[" + b",".join(records[start : start + 50]) + b"]" for start in range(0, count, 50)]
    parsed = [orjson.loads(record) for record in records]
    columns = [
        orjson.dumps({**parsed[start], "time": [one["time"] for one in part], "value": [one["value"] for one in part]})
        for start in range(0, count, 50)
        for part in [parsed[start : start + 50]]
    ]
    decoder = JsonMetricsDecoder(JsonPaths(), DecoderLimits())

    def decoding(values: Sequence[bytes]) -> Callable[[], object]:
        cut = batches_of(values)
        return lambda: [decoder.decode(batch) for batch in cut]

    contenders: dict[str, tuple[str, Callable[[], object]]] = {
        "batch_ns": ("one sample per record", decoding(records)),
        "garbage_ns": ("the same with 1 % garbage", decoding(bad)),
        "array_ns": ("arrays of 50 samples", decoding(arrays)),
        "columns_ns": ("columns of 50 points", decoding(columns)),
        "orjson_ns": ("orjson.loads per record, nothing else", lambda: [orjson.loads(record) for record in records]),
    }
    result = {key: round(best_ns(run, count, title)) for key, (title, run) in contenders.items()}
    rows = [
        (title, f"{result[key]}", f"{result[key] / result['orjson_ns']:.2f}") for key, (title, _) in contenders.items()
    ]
    show("Decoding", ("input", "ns per sample", "of orjson.loads"), rows, {**result, "samples": count})


if __name__ == "__main__":
    main()
