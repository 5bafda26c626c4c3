"""The demo's shop: five services with metrics and logs, one of which leaks database connections for twelve minutes.

A script, simulated in event time from a seed, so that what happens is known beforehand and the demo can say what of it
was found. Traffic wanders and every number scatters; the incident is the only thing that is wrong.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Final, NamedTuple

from detector.commands.demo_feeds import Beat, LogLine, Point
from detector.commands.demo_shop_logs import SERVICES, Moment, lines_of, poisson
from detector.commands.demo_truth import Effect, Incident, Story

SHOP_SECONDS: Final = 20.0
"""Duration at speed 1: long enough to watch, short enough to wait for."""
SHOP_MINUTES: Final = 130
INTERVAL_S: Final = 15
"""Time between two samples of a series, in s of event time."""
SEED: Final = 7
BEGIN_MS: Final = round(datetime(2024, 5, 14, 11, 0, tzinfo=UTC).timestamp() * 1000)
"""A fixed day that lies before every broker's clock, since records from the future are refused."""
LEAK_MINUTE: Final = 100
FIX_MINUTE: Final = 112
SETTLED_MINUTE: Final = 115
"""From the leak to the fix is the incident, until it has settled its end may be found. A model that has seen less than
an hour and a half takes what lasts twelve minutes for its new normal, and closes what is still going on."""

POOL: Final = "pool_in_use"
POOL_SIZE: Final = 50.0
LATENCY: Final = "latency_p95"
REQUESTS: Final = "request_rate"
ERRORS: Final = "errors"
EXHAUSTED: Final = "pool exhausted"

INCIDENT: Final = Incident(
    what="checkout leaks database connections",
    start_ms=BEGIN_MS + LEAK_MINUTE * 60_000,
    end_ms=BEGIN_MS + FIX_MINUTE * 60_000,
    settled_ms=BEGIN_MS + SETTLED_MINUTE * 60_000,
    effects=(
        Effect("connection pool", "checkout", metric=POOL, required=True),
        Effect("checkout latency", "checkout", metric=LATENCY, required=True),
        Effect(f'"{EXHAUSTED}" in the logs', "checkout", phrase=EXHAUSTED, required=True),
        Effect("checkout errors", "checkout", metric=ERRORS),
        Effect("gateway latency", "gateway", metric=LATENCY),
        Effect("fewer payments", "payment", metric=REQUESTS),
    ),
)
STORY: Final = Story(
    begin_ms=BEGIN_MS,
    end_ms=BEGIN_MS + SHOP_MINUTES * 60_000,
    streams=(
        f"checkout {POOL}",
        f"checkout {LATENCY}",
        f"checkout {ERRORS}",
        "checkout logs",
        f"gateway {LATENCY}",
        f"payment {REQUESTS}",
        "payment logs",
    ),
    incident=INCIDENT,
)


class _Usual(NamedTuple):
    """What is usual for a service: requests per second, 95th percentile of their latency, errors per interval."""

    requests: float
    latency_ms: float
    errors: float


USUAL: Final = {
    "gateway": _Usual(42.0, 95.0, 1.2),
    "catalogue": _Usual(26.0, 38.0, 0.3),
    "cart": _Usual(9.0, 52.0, 0.4),
    "checkout": _Usual(3.2, 180.0, 0.5),
    "payment": _Usual(2.9, 240.0, 0.6),
}


class Leak(NamedTuple):
    """How far the leak has come: connections that were never given back, and how many of the requests wait for one."""

    lost: float
    waiting: float


def leak_at(minute: float) -> Leak:
    """The leak at this minute: 12 connections a minute until the pool is empty, gone within a minute of the fix."""
    lost = 12.0 * min(max(minute - LEAK_MINUTE, 0.0), 5.0)
    if minute >= FIX_MINUTE:
        lost *= max(0.0, 1.0 - 2.0 * (minute - FIX_MINUTE))
        return Leak(lost, 0.0)
    return Leak(lost, min(max((lost - 30.0) / 20.0, 0.0), 1.0))


def shop_beats(seed: int = SEED) -> Iterator[Beat]:
    """Stream the shop: one beat for every interval, its lines in order of time before the samples that end it."""
    random = Random(seed)  # noqa: S311  # a script, not a secret
    count = SHOP_MINUTES * 60 // INTERVAL_S
    pause_s = SHOP_SECONDS / count
    drift = 0.0
    for step in range(count):
        minute = step * INTERVAL_S / 60
        drift = 0.9 * drift + random.gauss(0.0, 0.012)
        traffic = 1.0 + 0.08 * math.sin(2 * math.pi * minute / 170) + drift
        begin_ms = BEGIN_MS + step * INTERVAL_S * 1000
        leak = leak_at(minute)
        moment = Moment(begin_ms, INTERVAL_S * 1000, traffic, leak.waiting, fixed=minute >= FIX_MINUTE)
        lines: list[LogLine] = []
        for service in SERVICES:
            lines += lines_of(service, moment, random)
        yield Beat(_points(random, begin_ms + INTERVAL_S * 1000, traffic, leak), pause_s, lines)


def _points(random: Random, time_ms: int, traffic: float, leak: Leak) -> list[Point]:
    def scattered(value: float, share: float) -> float:
        return round(value * (1 + share * random.gauss(0.0, 1.0)), 3)

    points = []
    for service, usual in USUAL.items():
        requests, latency_ms, errors = usual
        latency_ms *= 1 + 0.25 * (traffic - 1)
        if service == "checkout":
            latency_ms += 4_600 * leak.waiting
            errors += 24 * leak.waiting
        elif service == "gateway":
            latency_ms += 700 * leak.waiting
            errors += 10 * leak.waiting
        elif service == "payment":
            requests *= 1 - 0.85 * leak.waiting
        labels = {"service": service}
        points += [
            Point(REQUESTS, time_ms, scattered(requests * traffic, 0.03), labels),
            Point(LATENCY, time_ms, scattered(latency_ms, 0.05), labels),
            Point(ERRORS, time_ms, float(poisson(random, errors)), labels),
        ]
    used = min(max(round(15 * traffic + leak.lost + random.gauss(0.0, 1.8)), 0), POOL_SIZE)
    return [*points, Point(POOL, time_ms, float(used), {"service": "checkout"})]
