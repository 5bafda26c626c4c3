"""Decoding and joining of log records that are lines of text, by format, and with mining; messages of three sizes.

``python -m benchmarks.log_text [--records N]``. Records per second of processor time, the fastest pass over the same
batches, since other work on the machine counts for little there; the lines of ``benchmarks.logs``, which are seeded.
``tailed`` is what Fluent Bit makes of files of eight services: JSON without a severity, of which every line waits for
the next. ``traces`` have a stack trace of five records behind every hundredth line. The last line is JSON.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import orjson
from rich.console import Console
from rich.progress import track

from benchmarks.log_decode import iso
from benchmarks.logs import service
from benchmarks.report_line import show
from detector.batches import RecordBatch
from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_join import Joiner
from detector.decoders.log_registry import LOG_DECODERS
from detector.templates import TemplateMiner

BATCH_RECORDS: Final = 4_000
PASSES: Final = 5
START_MS: Final = 1_795_305_600_000
SIZES: Final = (71, 140, 539)
TRACE: Final = ("java.io.IOException: reset", *["\tat com.acme.shop.Stock.take(Stock.java:9)"] * 4)


def plain(text: str, at: int) -> bytes:
    """As logback writes it."""
    return f"{iso(START_MS + at)[:-1].replace('T', ' ')} INFO [main] {text}".encode()


def syslog(text: str, at: int) -> bytes:
    """RFC 5424 of ten programs."""
    return f"<14>1 {iso(START_MS + at)} web-3 app-{at % 10} 4711 - - {text}".encode()


def classic(text: str, at: int) -> bytes:
    """RFC 3164."""
    return f"<14>Nov 22 00:{at // 60_000 % 60:02}:{at // 1000 % 60:02} web-3 app-{at % 10}[4711]: {text}".encode()


def cri(text: str, at: int) -> bytes:
    """A line of containerd."""
    return f"{iso(START_MS + at)[:-1]}456789Z stdout F {text}".encode()


def cri_json(text: str, at: int) -> bytes:
    """JSON within."""
    return cri(f'{{"level":"info","ts":{(START_MS + at) / 1000},"msg":"{text}"}}', at)


def logfmt(text: str, at: int) -> bytes:
    """Pairs of Go's loggers."""
    return f'ts={iso(START_MS + at)} level=info caller=main.go:7 component=tsdb msg="{text}" took=7ms'.encode()


def tailed(text: str, at: int) -> bytes:
    """A line of a file as Fluent Bit sends it, one of eight services."""
    service_name = f"service-{at % 8}"
    pod = {"labels": {"app": service_name}, "namespace_name": "shop", "container_name": "app"}
    record = {"@timestamp": (START_MS + at) / 1000, "log": text + "\n", "stream": "stderr", "kubernetes": pod}
    return orjson.dumps(record)


FORMATS: Final[dict[str, tuple[str, Callable[[str, int], bytes]]]] = {
    "plain": ("plain", plain),
    "syslog 5424": ("syslog", syslog),
    "syslog 3164": ("syslog", classic),
    "cri": ("cri", cri),
    "cri, json": ("cri", cri_json),
    "logfmt": ("logfmt", logfmt),
    "tailed": ("fluentbit", tailed),
    "auto: plain": ("auto", plain),
    "auto: cri": ("auto", cri),
}


def records_of(write: Callable[[str, int], bytes], size: int, count: int) -> list[bytes]:
    """Records a millisecond apart, of a service that writes 60 kinds of lines."""
    return [write(line.decode(), at) for at, line in enumerate(service(count, size))]


def batches_of(records: Sequence[bytes]) -> list[RecordBatch]:
    """The records in batches as a consumer would hand them over."""
    batches = []
    for start in range(0, len(records), BATCH_RECORDS):
        part = records[start : start + BATCH_RECORDS]
        stamps = np.full(len(part), START_MS + len(records), np.int64)
        batches.append(RecordBatch("bench", 0, np.arange(start, start + len(part)), stamps, part))
    return batches


def rates(name: str, records: Sequence[bytes], title: str) -> tuple[float, float, float]:
    """Records per second: decoded; decoded and joined; decoded, joined and mined by a miner that knows the lines."""
    batches = batches_of(records)
    decoder, miner = LOG_DECODERS[name](LogPaths(), LogDecoderLimits()), TemplateMiner()
    best = [float("inf")] * 3
    for _ in track(range(PASSES), description=title, console=Console(stderr=True), transient=True):
        joiner = Joiner()
        began_s = time.process_time()
        decoded = [decoder.decode(batch) for batch in batches]
        decoded_s = time.process_time()
        joined = [joiner.feed(batch) for batch in decoded]
        joined_s = time.process_time()
        for batch in joined:
            miner.mine(batch.lines)
        mined_s = time.process_time()
        spent = (decoded_s - began_s, joined_s - began_s, mined_s - began_s)
        best = [min(pair) for pair in zip(best, spent, strict=True)]
    decode_rate, join_rate, mine_rate = (len(records) / seconds for seconds in best)
    return decode_rate, join_rate, mine_rate


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=20_000)
    count = parser.parse_args().records
    cases = [
        (f"{title} {size}", name, records_of(write, size, count))
        for title, (name, write) in FORMATS.items()
        for size in SIZES
    ]
    frames: dict[str, Callable[[str, int], bytes]] = {"plain": lambda line, _: line.encode(), "tailed": tailed}
    for title, frame in frames.items():
        name, write = FORMATS[title]
        traced = []
        for at, line in enumerate(records_of(write, SIZES[0], count)):
            traced += [line, *(frame(each, at) for each in TRACE)] if at % 100 == 0 else [line]
        cases.append((f"{title}, traces {SIZES[0]}", name, traced))
    rows: list[list[str]] = []
    result: dict[str, dict[str, int]] = {}
    for title, name, records in cases:
        decode, join, mine = rates(name, records, title)
        rows.append([title, f"{decode:,.0f}", f"{join:,.0f}", f"{mine:,.0f}"])
        result[title] = {"decode_per_s": round(decode), "join_per_s": round(join), "mine_per_s": round(mine)}
    columns = ("format, characters", "decode", "and join", "and mine, records/s")
    show("Log records that are text", columns, rows, {"benchmark": "log_text", "formats": result})


if __name__ == "__main__":
    main()
