"""Records of a log topic, seeded: services of an imaginary shop, with an incident, a deploy and what goes wrong."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from detector.log_pipeline import LogPipeline
from detector.ports import TopicPartition
from detector.settings import LogsSettings, Settings
from detector.wiring_logs import LogPipelineFactory

TOPIC: Final = "logs"
BEGIN_S: Final = 1_767_225_600
"""2026-01-01, a Thursday, at midnight."""
INCIDENT: Final = range(60, 68)
"""Minutes in which checkout has no database connections."""
Shape = Callable[[random.Random], tuple[str, str]]

CHECKOUT: Final[tuple[Shape, ...]] = (
    lambda r: ("info", f"order {r.getrandbits(40):010x} placed by user {r.randint(1, 9999)} in {r.randint(8, 90)} ms"),
    lambda r: ("info", f"cart {r.randint(1, 99999)} loaded with {r.randint(1, 9)} items"),
    lambda r: ("debug", f"cache lookup for key price:{r.randint(1, 5000)} took {r.random():.3f} ms"),
    lambda r: ("warn", f"payment provider answered after {r.randint(800, 3000)} ms, retrying"),
    lambda r: ("info", f"health probe from 10.0.{r.randint(0, 9)}.{r.randint(1, 254)} answered"),
)
CART: Final[tuple[Shape, ...]] = (
    lambda r: ("info", f"item {r.randint(1, 99999)} added to cart {r.randint(1, 99999)}"),
    lambda r: ("info", f"item {r.randint(1, 99999)} removed from cart {r.randint(1, 99999)}"),
    lambda r: ("info", f"session {r.getrandbits(64):016x} expired after {r.randint(10, 60)} minutes"),
)


def pool_exhausted(source: random.Random) -> tuple[str, str]:
    """What checkout says in its incident."""
    return "error", f"connection pool exhausted after {source.randint(100, 30000)} ms waiting"


def json_line(time_s: float, service: str, level: str, message: str) -> bytes:
    """A record as a common logger writes it."""
    return json.dumps({"timestamp": time_s, "service": service, "level": level, "message": message}).encode()


def plain_line(time_s: float, level: str, message: str) -> bytes:
    """A line of a text file."""
    moment = datetime.fromtimestamp(time_s, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03d} {level.upper()} {message}".encode()


def shop(minutes: int = 90, seed: int = 1, rate: int = 40) -> Iterator[bytes]:
    """Records in the order of their event times, mostly, with broken ones and stack traces in between."""
    source = random.Random(seed)
    for minute in range(minutes):
        moments = sorted(source.uniform(0, 60) for _ in range(rate))
        for moment in moments:
            time_s = round(BEGIN_S + 60 * minute + moment, 3)
            if source.random() < 0.01:
                time_s -= source.choice((5, 30, 200))
            service, shapes = source.choice((("checkout", CHECKOUT), ("cart", CART)))
            shape = source.choice(shapes)
            if minute in INCIDENT and service == "checkout" and source.random() < 0.5:
                shape = pool_exhausted
            yield json_line(time_s, service, *shape(source))
            if source.random() < 0.1:
                yield plain_line(time_s, "info", f"batch {source.randint(1, 999)} written")
            if source.random() < 0.02:
                yield plain_line(time_s, "error", "job failed")
                yield b"Traceback (most recent call last):"
                yield b'  File "/app/jobs.py", line 12, in run'
                yield b"ValueError: no such job"
            if source.random() < 0.002:
                yield b'{"message": '


def log_pipeline(partition: int = 0, **logs: object) -> LogPipeline:
    """A pipeline over ``TOPIC`` as wiring builds it; ``logs`` are settings of that section."""
    settings = Settings.model_construct(logs=LogsSettings.model_validate({"topics": [TOPIC], **logs}))
    return LogPipelineFactory(settings, timer=lambda: 0.0)(TopicPartition(TOPIC, partition))


def log_records(minutes: int = 90, seed: int = 1) -> Sequence[bytes]:
    """The same as a sequence."""
    return tuple(shop(minutes, seed))
