"""Log records through the whole pipeline of a partition: decode, join, group by service, mine, count, judge.

``python -m benchmarks.log_flow [--lines N] [--rounds N] [--only FORMAT]``. Lines of eight services, 500 a second of
event time, in batches of 2,000 records, of about 71, 140 and 539 characters; generated, seeded, no line twice. The
first third warms everything up, the rest is measured: lines per second of processor time, the median of the rounds,
which take all formats in turns. Beside it, in the same run, the same with drain3 in the place of our miner, with the
masks of its example and without: its time per line on the messages and the rest of our time. Then the bytes of a
snapshot per template, counts and histories of windows included. The last line is JSON.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from benchmarks.log_decode import FLAT, LINES_PER_REQUEST, MANY, START_MS, iso
from benchmarks.log_miners import OURS, miners
from benchmarks.logs import service
from benchmarks.report_line import note, show
from detector.batches import RecordBatch
from detector.ports import TopicPartition
from detector.settings import LogsSettings, Settings
from detector.state import encode
from detector.templates import TemplateMiner
from detector.wiring_logs import LogPipelineFactory

BATCH_RECORDS: Final = 2_000
SIZES: Final = (71, 140, 539)
STEP_MS: Final = 2
SERVICES: Final = 8
WARM_SHARE: Final = 3
"""One part of so many is not measured."""
DRAIN_LINES: Final = 4_000

Text = tuple[str, str, int, int]
"""Message, level, time in milliseconds, pod."""


def plain(text: str, level: str, at: int, pod: int) -> bytes:
    """A line as most programs print it."""
    del pod
    return f"{iso(at)[:-1].replace('T', ' ').replace('.', ',')} {level} [main] {text}".encode()


def syslog(text: str, level: str, at: int, pod: int) -> bytes:
    """RFC 5424."""
    priority = {"INFO": 134, "WARN": 132, "ERROR": 131}[level]
    return f"<{priority}>1 {iso(at)} node-{pod % 5} service-{pod % SERVICES} 4711 ID47 - {text}".encode()


def rfc3164(text: str, level: str, at: int, pod: int) -> bytes:
    """The older one."""
    priority = {"INFO": 134, "WARN": 132, "ERROR": 131}[level]
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return f"<{priority}>{moment:%b %e %H:%M:%S} node-{pod % 5} service-{pod % SERVICES}[4711]: {text}".encode()


def cri(text: str, level: str, at: int, pod: int) -> bytes:
    """A line of a file of Kubernetes."""
    del pod
    return f"{iso(at)[:-1]}123456Z stderr F {level} {text}".encode()


def logfmt(text: str, level: str, at: int, pod: int) -> bytes:
    """As Go's loggers write it."""
    return (
        f'ts={iso(at)} level={level.lower()} service=service-{pod % SERVICES} msg="{text}" caller=pool.go:42'.encode()
    )


TEXT: Final[dict[str, Callable[[str, str, int, int], bytes]]] = {
    "plain": plain,
    "syslog": syslog,
    "syslog: RFC 3164": rfc3164,
    "cri": cri,
    "logfmt": logfmt,
}
"""By the name of the format, which may stand before a colon."""


class Stream(NamedTuple):
    """Records of one format, and the messages in them."""

    title: str
    format: str
    records: Sequence[bytes]
    lines: int


def streams(texts: Sequence[Text], only: str | None) -> Iterator[Stream]:
    """The same lines in one format after the other, each by its name; and those of mixed topics by ``auto``."""

    def flat(build: Callable[[str, str, int, int], dict[str, Any]]) -> Callable[[], list[bytes]]:
        return lambda: [orjson.dumps(build(*text)) for text in texts]

    def lines(build: Callable[[str, str, int, int], bytes]) -> Callable[[], list[bytes]]:
        return lambda: [build(*text) for text in texts]

    def gathered(gather: Callable[[Sequence[Text]], bytes]) -> Callable[[], list[bytes]]:
        starts = range(0, len(texts), LINES_PER_REQUEST)
        return lambda: [gather(texts[start : start + LINES_PER_REQUEST]) for start in starts]

    builds: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
        **{title: (title.split(":")[0], lines(build)) for title, build in TEXT.items()},
        **{title: (name, flat(build)) for title, (name, build) in FLAT.items()},
        **{title: (title, gathered(gather)) for title, gather in MANY.items()},
        "auto: plain": ("auto", lines(plain)),
        "auto: Fluent Bit": ("auto", flat(FLAT["fluentbit"][1])),
    }
    for title, (name, build) in builds.items():
        if only is None or title.startswith(only):
            yield Stream(title, name, build(), len(texts))


def texts_of(count: int, size: int) -> list[Text]:
    """Messages with a level, a time and a pod."""
    levels = ("INFO", "INFO", "INFO", "INFO", "WARN", "INFO", "INFO", "ERROR", "INFO", "INFO")
    lines = service(count, size, names=False)
    return [
        (line.decode(), levels[hash_of(line) % len(levels)], START_MS + place * STEP_MS, place * 7 % 40)
        for place, line in enumerate(lines)
    ]


def hash_of(line: bytes) -> int:
    """The same for lines of the same first word, mostly: a shape has its level."""
    return sum(line[:4])


def rate(stream: Stream) -> tuple[float, float]:
    """Warm lines per second of processor time through the pipeline, and bytes of its snapshot per template."""
    settings = Settings.model_construct(logs=LogsSettings.model_validate({"format": stream.format}))
    pipeline = LogPipelineFactory(settings, timer=lambda: 0.0)(TopicPartition("bench", 0))
    per_record = stream.lines / len(stream.records)
    size = max(1, round(BATCH_RECORDS / per_record))
    parts = [stream.records[start : start + size] for start in range(0, len(stream.records), size)]
    warm = len(parts) // WARM_SHARE
    measured = seconds = 0.0
    offset = 0
    for number, part in enumerate(parts):
        stamps = np.full(len(part), START_MS + 10**8, dtype=np.int64)
        batch = RecordBatch("bench", 0, np.arange(offset, offset + len(part)), stamps, part)
        offset += len(part)
        began_s = time.process_time()
        output = pipeline.process(batch)
        if number >= warm:
            seconds += time.process_time() - began_s
            measured += output.counts.samples
        assert not output.rejects, output.rejects[0]
    templates = output.logs.templates_held if output.logs is not None else 0
    return measured / seconds, len(encode(*pipeline.snapshot(offset=offset, cluster=""))) / templates


def mining_seconds(texts: Sequence[Text]) -> dict[str, float]:
    """Warm seconds per message of each miner."""
    lines = [text.encode() for text, _, _, _ in texts]
    found: dict[str, float] = {}
    for miner in miners():
        some = lines if miner.name == OURS else lines[:DRAIN_LINES]
        feed = TemplateMiner().mine if miner.name == OURS else miner.feed()
        half = len(some) // 2
        feed(some[:half])
        began_s = time.process_time()
        for start in range(half, len(some), BATCH_RECORDS):
            feed(some[start : start + BATCH_RECORDS])
        found[miner.name] = (time.process_time() - began_s) / (len(some) - half)
    return found


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=120_000)
    parser.add_argument("--only", help="formats whose name begins so")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    result: dict[str, dict[str, dict[str, int]]] = {}
    sizes: list[float] = []
    for size in SIZES:
        texts = texts_of(options.lines // LINES_PER_REQUEST * LINES_PER_REQUEST, size)
        mining = mining_seconds(texts)
        found: dict[str, list[float]] = {}
        for turn in range(options.rounds):
            for stream in streams(texts, options.only):
                ours, state_bytes = rate(stream)
                found.setdefault(stream.title, []).append(ours)
                sizes.append(state_bytes)
                note(f"round {turn + 1}, {stream.title}, {size}: {ours:,.0f}; {state_bytes:.0f} bytes per template")
        for title, each in found.items():
            rates = {OURS: statistics.median(each)}
            rest_s = max(1 / rates[OURS] - mining[OURS], 0.0)
            rates |= {name: 1 / (rest_s + seconds) for name, seconds in mining.items() if name != OURS}
            for name, value in rates.items():
                result.setdefault(title, {}).setdefault(name, {})[str(size)] = round(value)
    if not result:
        parser.error(f"no format's name begins with {options.only!r}")
    names = list(next(iter(result.values())))
    rows = [
        [title, *(f"{own[OURS][str(size)]:,}" for size in SIZES), *(f"{own[name]['71']:,}" for name in names[1:])]
        for title, own in result.items()
    ]
    columns = ("format", *(f"{size} characters" for size in SIZES), *(f"with {name}, 71" for name in names[1:]))
    middle = round(statistics.median(sizes))
    summary = {"benchmark": "log_flow", "lines_per_s": result, "state_bytes_per_template": middle}
    show("Log lines per second, end to end", columns, rows, summary)


if __name__ == "__main__":
    main()
