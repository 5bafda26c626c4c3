"""Mining of log lines: lines per second, cold and warm, beside drain3; generated lines, seeded.

``python -m benchmarks.logs [--lines N] [--rounds N]``. Three streams: lines of a service with numbers, addresses and
identifiers in them, of about 71 and of about 539 characters, and random text, of which nothing comes twice. Cold is the
first pass of a new miner over the stream in batches of 1,000, warm the next one over the same lines. Processor time,
best of the rounds, so that other work on the machine counts for little.
"""

import argparse
import random
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from benchmarks.log_miners import BATCH_LINES, OURS, miners
from benchmarks.report_line import note, show

SEED: Final = 11
SHORT: Final = 71
LONG: Final = 539
SLOW_SHARE: Final = 20
"""The others get one line in so many: their rate does not change with more."""
WORDS: Final = (
    "account",
    "batch",
    "buffer",
    "cache",
    "channel",
    "client",
    "cluster",
    "commit",
    "config",
    "consumer",
    "delivery",
    "disk",
    "document",
    "entry",
    "event",
    "flush",
    "gateway",
    "index",
    "invoice",
    "ledger",
    "lock",
    "login",
    "message",
    "offset",
    "order",
    "packet",
    "page",
    "partition",
    "payment",
    "pool",
    "producer",
    "profile",
    "queue",
    "quota",
    "region",
    "replica",
    "request",
    "response",
    "retry",
    "route",
    "schema",
    "segment",
    "sensor",
    "session",
    "shard",
    "snapshot",
    "stream",
    "tenant",
    "thread",
    "ticket",
    "token",
    "topic",
    "transfer",
    "tunnel",
    "upload",
    "vault",
    "version",
    "volume",
    "wallet",
    "watcher",
    "window",
    "worker",
    "zone",
)
SHAPES: Final = 60
VALUE_SHARE: Final = 0.3
"""Of the words of a line."""


class Stream(NamedTuple):
    """A name and lines."""

    name: str
    lines: list[bytes]


KINDS: Final[tuple[Callable[[random.Random], str], ...]] = (
    lambda source: str(source.randint(0, 10 ** source.randint(1, 7))),
    lambda source: f"{source.random() * 900:.2f}ms",
    lambda source: f"10.{source.randint(0, 255)}.0.{source.randint(1, 254)}:{source.randint(1024, 65535)}",
    lambda source: str(uuid.UUID(int=source.getrandbits(128))),
    lambda source: f"blk_{source.randint(1, 10**12)}",
    lambda source: f"/srv/{source.choice(WORDS)}/{source.choice(WORDS)}/{source.randint(0, 999)}.log",
    lambda source: f"user={source.choice(WORDS)}",
)
KIND_WEIGHTS: Final = (6, 3, 2, 1, 2, 1, 1)
"""Numbers, durations, addresses, identifiers, names with numbers, paths and names."""


def service(count: int, length: int, *, names: bool = True) -> list[bytes]:
    """Lines of about so many characters, of ``SHAPES`` shapes: the first comes a hundred times as often as the last.

    Without ``names`` no value is a word, which no form without its values could tell from others.
    """
    source = random.Random(SEED + length)
    kinds, weights_of_kinds = (KINDS, KIND_WEIGHTS) if names else (KINDS[:-1], KIND_WEIGHTS[:-1])
    shapes: list[list[str | Callable[[random.Random], str]]] = []
    for _ in range(SHAPES):
        shape: list[str | Callable[[random.Random], str]] = []
        size = 0
        while size < length - 6:
            kind = source.choices(kinds, weights_of_kinds)[0] if source.random() < VALUE_SHARE else None
            shape.append(source.choice(WORDS) if kind is None else kind)
            size += len(_text(shape[-1], source)) + 1
        shapes.append(shape)
    weights = [1.0 / (1 + 2 * rank) for rank in range(SHAPES)]
    return [
        " ".join(_text(part, source) for part in shape).encode() for shape in source.choices(shapes, weights, k=count)
    ]


def _text(part: str | Callable[[random.Random], str], source: random.Random) -> str:
    return part if isinstance(part, str) else part(source)


def gibberish(count: int, length: int) -> list[bytes]:
    """Random text."""
    source = random.Random(SEED)
    return ["".join(source.choices("abcdefghijklmnopqrstuvwxyz0123456789 ", k=length)).encode() for _ in range(count)]


def rate(feed: Callable[[Sequence[bytes]], object], lines: Sequence[bytes]) -> float:
    """Lines per second of processor time."""
    began_s = time.process_time()
    for start in range(0, len(lines), BATCH_LINES):
        feed(lines[start : start + BATCH_LINES])
    return len(lines) / (time.process_time() - began_s)


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    streams = (
        Stream("short", service(options.lines, SHORT)),
        Stream("long", service(options.lines // 4, LONG)),
        Stream("random", gibberish(options.lines // 10, SHORT)),
    )
    rows: list[list[str]] = []
    result: dict[str, dict[str, object]] = {}
    for miner in miners():
        miner.feed()(streams[0].lines[:BATCH_LINES])  # compiles
        for stream in streams:
            lines = stream.lines if miner.name == OURS else stream.lines[: max(1, len(stream.lines) // SLOW_SHARE)]
            rates = []
            for _ in range(options.rounds):
                feed = miner.feed()
                rates.append((rate(feed, lines), rate(feed, lines)))
            cold, warm = (max(each) for each in zip(*rates, strict=True))
            size = sum(map(len, lines)) / len(lines)
            note(f"{miner.name}, {stream.name}: {cold:,.0f} cold, {warm:,.0f} warm")
            rows.append([f"{miner.name}: {stream.name}", f"{size:.0f}", f"{cold:,.0f}", f"{warm:,.0f}"])
            result.setdefault(miner.name, {})[stream.name] = {
                "characters": round(size),
                "cold_per_s": round(cold),
                "warm_per_s": round(warm),
            }
    summary = {"benchmark": "logs", **result.pop(OURS), "peers": result}
    show("Mining log lines", ("miner: stream", "characters", "lines/s cold", "lines/s warm"), rows, summary)


if __name__ == "__main__":
    main()
