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
REFUSING: Final = range(36, 40)
"""Minutes in which requests for stock fail, of lines in JSON."""
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


JAVA_TRACE: Final = (
    "java.lang.IllegalStateException: no stock of {}",
    "\tat java.util.Objects.requireNonNull(Objects.java:233)",
    "\tat com.acme.shop.Stock.take(Stock.java:{})",
    "Caused by: java.io.IOException: reset by {}",
    "\t... 12 more",
)
PYTHON_TRACE: Final = (
    "Traceback (most recent call last):",
    '  File "/app/shop/order.py", line {}, in place',
    "    take(item)",
    "shop.stock.OutOfStockError: no stock of {}",
)


def fluentbit_line(time_s: float, service: str, line: str) -> bytes:
    """A line of a container as Fluent Bit sends it, which knows no severity."""
    pod = {"labels": {"app": service}, "namespace_name": "shop"}
    return json.dumps({"@timestamp": time_s, "log": line + "\n", "stream": "stderr", "kubernetes": pod}).encode()


def otlp_request(time_s: float, service: str, lines: Sequence[str]) -> bytes:
    """Lines of a file as the OpenTelemetry Collector sends them, in one request."""
    records = [{"timeUnixNano": str(round(time_s * 1e9)), "body": {"stringValue": line}} for line in lines]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}).encode()


def loki_push(time_s: float, service: str, lines: Sequence[str]) -> bytes:
    """Lines of a file as promtail pushes them."""
    values = [[str(round(time_s * 1e9)), line] for line in lines]
    return json.dumps({"streams": [{"stream": {"app": service}, "values": values}]}).encode()


def shipped(minutes: int = 45, seed: int = 2, rate: int = 24) -> Iterator[bytes]:
    """Lines of files inside of JSON, one by one or a few to a record: services stand between each other's traces."""
    source = random.Random(seed)
    waiting: list[tuple[float, str, list[str]]] = []
    for minute in range(minutes):
        refused = 40 if minute in REFUSING else 0
        for place, moment in enumerate(sorted(source.uniform(0, 60) for _ in range(rate + refused))):
            time_s = round(BEGIN_S + 60 * minute + moment, 3)
            service = "stock" if place < refused else source.choice(("orders", "stock", "mail", "jobs"))
            number = source.randint(1, 9999)
            lines = [source.choice(("order {} placed", "item {} taken", "cart {} loaded")).format(number)]
            if place < refused or source.random() < 0.1:
                trace = source.choice((JAVA_TRACE, PYTHON_TRACE))
                lines = [f"request {number} failed", *(line.format(number) for line in trace)]
            elif source.random() < 0.1:
                lines = [source.choice((f"TimeoutError: waited {number} s", "\tat com.acme.Lost(Lost.java)", ""))]
            waiting.append((time_s - source.choice((0, 0, 0, 9, 300)) * (source.random() < 0.05), service, lines))
            while waiting and (len(waiting) > 3 or source.random() < 0.5):
                at = source.randrange(len(waiting))
                at_s, name, rest = waiting[at]
                count = source.randint(1, len(rest))
                yield _record(source, at_s, name, rest[:count])
                waiting[at] = (at_s + 0.001, name, rest[count:])
                if not rest[count:]:
                    del waiting[at]


def _record(source: random.Random, time_s: float, service: str, lines: Sequence[str]) -> bytes:
    if service == "orders":
        return b"[" + b",".join(fluentbit_line(time_s, service, line) for line in lines) + b"]"
    if service == "stock":
        return loki_push(time_s, service, lines)
    if service == "mail":
        return otlp_request(time_s, service, lines)
    records: list[dict[str, object]] = [{"service": service, "message": line} for line in lines]
    for record in records:
        if not record["message"] or str(record["message"])[0].islower():  # the others have the time of their broker
            record |= {"time": time_s, "message": json.dumps({"msg": record["message"]})}
            if source.random() < 0.3:
                record["level"] = "info"
    return json.dumps(records).encode()


def log_pipeline(partition: int = 0, **logs: object) -> LogPipeline:
    """A pipeline over ``TOPIC`` as wiring builds it; ``logs`` are settings of that section."""
    settings = Settings.model_construct(logs=LogsSettings.model_validate({"topics": [TOPIC], **logs}))
    return LogPipelineFactory(settings, timer=lambda: 0.0)(TopicPartition(TOPIC, partition))


def shipped_records() -> Sequence[bytes]:
    """Those of ``shipped``."""
    return tuple(shipped())


def log_records(minutes: int = 90, seed: int = 1) -> Sequence[bytes]:
    """The same as a sequence."""
    return tuple(shop(minutes, seed))
