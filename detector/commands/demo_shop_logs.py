"""What the services of the demo's shop write, each in a format that real ones come in.

checkout: JSON inside the records of Fluent Bit; cart: plain text inside them; payment: ECS as Filebeat writes it;
catalogue: logfmt; gateway: syslog, RFC 5424. A message has a usual rate; what carries numbers, names and addresses is
drawn anew for every line.
"""

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Final, NamedTuple

import orjson

from detector.commands.demo_feeds import LogLine


class Moment(NamedTuple):
    """A stretch of the shop's time: its traffic, 1 being usual, and the share of checkouts that wait in vain."""

    begin_ms: int
    length_ms: int
    traffic: float
    waiting: float
    fixed: bool = False


class Message(NamedTuple):
    """One message of a service.

    ``per_minute`` at usual traffic; ``hurt`` is the share of them that is lost, ``more`` how many a minute are added,
    where every checkout waits in vain.
    """

    level: str
    per_minute: float
    text: str
    hurt: float = 0.0
    more: float = 0.0


MESSAGES: Final[dict[str, tuple[Message, ...]]] = {
    "gateway": (
        Message("info", 62, "GET /api/catalogue/{sku} HTTP/1.1 200 {bytes} {ms}ms client={ip}"),
        Message("info", 34, "GET /api/catalogue?page={small} HTTP/1.1 200 {bytes} {ms}ms client={ip}"),
        Message("info", 22, "POST /api/cart/{user}/items HTTP/1.1 201 {bytes} {ms}ms client={ip}"),
        Message("info", 9, "POST /api/checkout HTTP/1.1 200 {bytes} {ms}ms client={ip}", hurt=0.85),
        Message("warning", 3, "GET /api/catalogue/{sku} HTTP/1.1 404 {bytes} {ms}ms client={ip}"),
        Message("info", 4, "TLS handshake with {ip} resumed session {hex}"),
        Message("info", 2, "upstream cart: {small} idle connections kept"),
        Message("error", 0, "upstream checkout timed out after {wait} ms, client={ip}", more=14),
        Message("error", 0, "POST /api/checkout HTTP/1.1 504 {bytes} {wait}ms client={ip}", more=14),
    ),
    "catalogue": (
        Message("info", 44, "product {sku} served from cache"),
        Message("info", 21, "search for '{word}' found {number} products in {ms} ms"),
        Message("info", 12, "page {small} rendered for session {hex}"),
        Message("debug", 9, "cache miss for {sku}, loaded in {ms} ms"),
        Message("info", 5, "price list version {number} still valid"),
        Message("info", 3, "image {hex}.webp resized to {number}x{number}"),
        Message("warning", 1.5, "slow query on products: {number} ms"),
    ),
    "cart": (
        Message("info", 24, "item {sku} added to cart {hex} by user {user}"),
        Message("info", 12, "cart {hex} loaded for user {user} in {ms} ms"),
        Message("info", 8, "quantity of {sku} in cart {hex} set to {small}"),
        Message("info", 6, "item {sku} removed from cart {hex}"),
        Message("debug", 5, "session {hex} renewed for {number} s"),
        Message("info", 3, "{small} expired carts swept in {ms} ms"),
        Message("warning", 1.5, "stock of {sku} is low: {small} left"),
    ),
    "checkout": (
        Message("info", 21, "order {order} received from user {user}, {small} items, total {amount} EUR"),
        Message("info", 20, "address of order {order} verified in {ms} ms", hurt=0.8),
        Message("debug", 20, "connection {small} borrowed for order {order} after {tiny} ms", hurt=0.8),
        Message("info", 19, "payment of order {order} requested, reference {hex}", hurt=0.85),
        Message("info", 18, "order {order} completed in {ms} ms", hurt=0.85),
        Message("info", 5, "voucher {word}-{number} applied to order {order}"),
        Message("info", 3, "mail to {word}{small}@example.com queued as {hex}", hurt=0.8),
        Message("info", 4, "database pool checked in {tiny} ms"),
        Message("warning", 1.5, "payment of order {order} took {number} ms"),
        Message("error", 0, "connection pool exhausted after {wait} ms waiting", more=48),
        Message("warning", 0, "order {order} could not get a connection, attempt {try} of 3", more=32),
        Message("error", 0, "order {order} given up: timeout after {wait} ms", more=16),
    ),
    "payment": (
        Message("info", 18, "charge {hex} of {amount} EUR authorised by {bank} in {ms} ms", hurt=0.85),
        Message("info", 17, "charge {hex} captured", hurt=0.85),
        Message("debug", 17, "risk score of charge {hex} is 0.{small}", hurt=0.85),
        Message("info", 4, "token of {bank} valid for {number} s"),
        Message("info", 3, "settlement batch {number}: {small} charges"),
        Message("warning", 1.5, "charge {hex} declined by {bank}: code {small}", hurt=0.85),
    ),
}
SERVICES: Final = tuple(MESSAGES)

WORDS: Final = ("lamp", "chair", "kettle", "carpet", "mirror", "shelf", "candle", "basket")
BANKS: Final = ("northbank", "unicard", "paysafe-eu")
VALUES: Final[dict[str, Callable[[Random], str]]] = {
    "amount": lambda random: f"{random.randint(500, 40_000) / 100:.2f}",
    "bank": lambda random: random.choice(BANKS),
    "bytes": lambda random: str(random.randint(180, 48_000)),
    "hex": lambda random: f"{random.getrandbits(48):012x}",
    "ip": lambda random: f"203.0.113.{random.randint(1, 254)}",
    "ms": lambda random: str(max(1, round(random.lognormvariate(3.6, 0.5)))),
    "number": lambda random: str(random.randint(100, 4_000)),
    "order": lambda random: str(random.randint(100_000, 999_999)),
    "sku": lambda random: f"P-{random.randint(10_000, 99_999)}",
    "small": lambda random: str(random.randint(1, 40)),
    "tiny": lambda random: str(random.randint(0, 9)),
    "try": lambda random: str(random.randint(2, 3)),
    "user": lambda random: f"u{random.randint(1_000, 99_999)}",
    "wait": lambda random: str(random.randint(5_000, 5_060)),
    "word": lambda random: random.choice(WORDS),
}
SYSLOG_PRIORITY: Final = {"debug": 135, "info": 134, "warning": 132, "error": 131}
"""Facility local0 with each level's severity."""


class _Drawn:
    """Values for the fields of a message, each drawn when it is asked for."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def __getitem__(self, name: str) -> str:
        return VALUES[name](self._random)


class _Line(NamedTuple):
    """One line before it has a format."""

    time_ms: int
    level: str
    text: str
    trace: str
    fixed: bool


def lines_of(service: str, moment: Moment, random: Random) -> list[LogLine]:
    """What ``service`` writes in this stretch, in order of time."""
    write = FORMATS[service]
    return [LogLine(service, line.time_ms, write(line)) for line in sorted(_said(service, moment, random))]


def _said(service: str, moment: Moment, random: Random) -> Iterator[_Line]:
    minutes = moment.length_ms / 60_000
    drawn = _Drawn(random)
    for message in MESSAGES[service]:
        usual = message.per_minute * moment.traffic * (1 - message.hurt * moment.waiting)
        for _ in range(poisson(random, (usual + message.more * moment.waiting) * minutes)):
            time_ms = moment.begin_ms + random.randrange(moment.length_ms)
            text = message.text.format_map(drawn)
            yield _Line(time_ms, message.level, text, f"{random.getrandbits(128):032x}", moment.fixed)


def poisson(random: Random, mean: float) -> int:
    """Draw how many events with this mean there are, by a product of uniform draws, which suits small means.

    Source: Knuth, The Art of Computer Programming, volume 2, section 3.4.1.
    """
    bound, product, count = math.exp(-mean), random.random(), 0
    while product > bound:
        product *= random.random()
        count += 1
    return count


def _iso(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def _fluent_bit(service: str, line: _Line, log: str) -> bytes:
    """A record as Fluent Bit's Kubernetes filter leaves it; the fix comes with new pods."""
    release = "6c9f7d5b48" if line.fixed else "7d84c6f59b"
    record = {
        "@timestamp": line.time_ms / 1000,
        "log": log,
        "stream": "stdout",
        "kubernetes": {
            "pod_name": f"{service}-{release}-{'x2k4q' if line.trace < '8' else 'm7w9d'}",
            "namespace_name": "shop",
            "container_name": service,
            "labels": {"app": service, "pod-template-hash": release},
        },
    }
    return orjson.dumps(record)


def _checkout(line: _Line) -> bytes:
    inner = {"level": line.level, "msg": line.text, "trace_id": line.trace}
    return _fluent_bit("checkout", line, orjson.dumps(inner).decode() + "\n")


def _cart(line: _Line) -> bytes:
    return _fluent_bit("cart", line, f"{line.level.upper()} {line.text}\n")


def _payment(line: _Line) -> bytes:
    record = {
        "@timestamp": _iso(line.time_ms),
        "message": line.text,
        "log.level": line.level,
        "service": {"name": "payment"},
        "trace": {"id": line.trace},
        "ecs": {"version": "8.11"},
    }
    return orjson.dumps(record)


def _catalogue(line: _Line) -> bytes:
    return f'ts={_iso(line.time_ms)} level={line.level} service=catalogue msg="{line.text}"'.encode()


def _gateway(line: _Line) -> bytes:
    return f"<{SYSLOG_PRIORITY[line.level]}>1 {_iso(line.time_ms)} edge-1 gateway 71 - - {line.text}".encode()


FORMATS: Final[dict[str, Callable[[_Line], bytes]]] = {
    "gateway": _gateway,
    "catalogue": _catalogue,
    "cart": _cart,
    "checkout": _checkout,
    "payment": _payment,
}
