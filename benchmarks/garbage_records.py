"""A stream of good records with a known share of garbage, seeded: what to produce, and what should become of it."""

import itertools
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final, NamedTuple

from benchmarks.garbage_shapes import GARBAGE, ODD, Draw, Shape
from benchmarks.stream import INTERVAL_MS, SERIES_COUNT, START_MS, metric_rounds
from benchmarks.worker_run import PARTITIONS
from detector.batches import REJECT_REASONS, RejectReason

SEED: Final = 11
GARBAGE_SHARE: Final = 0.01
ODD_SHARE: Final = 0.002
REASONS: Final = tuple(reason for reason in REJECT_REASONS if reason != "malformed")
"""All that a record of JSON metrics can be refused for; the other is for formats that are no JSON."""
ENVELOPE_SHARE: Final = 0.1
"""Of the good records that have a key or headers; most topics have either all or none."""

Headers = tuple[tuple[str, bytes | None], ...]
NO_HEADERS: Final[Headers] = ()
KEYS: Final[Sequence[bytes | None]] = (None, b"", b"series-7", b"\x00\xff\xfe binary", "k\u00fc\u00df".encode())
HEADERS: Final[Sequence[Headers]] = (
    NO_HEADERS,
    (("trace-id", b"4bf92f3577b34da6"),),
    (("trace-id", b"1"), ("trace-id", b"2"), ("absent", None), ("blank", b"")),
    (("binary", b"\x00\xff\xfe"), ("n\u00e4me", b"x")),
    (("detector-reason", b"forged"), ("detector-offset", b"-5")),
)
"""The last one looks as if somebody had sent a dead letter round again."""


class Record(NamedTuple):
    """One record to produce; of ``samples`` that the decoder finds in it, ``scored`` reach a learner."""

    partition: int
    timestamp_ms: int
    value: bytes | None
    key: bytes | None
    headers: Headers
    reason: RejectReason | None
    samples: int
    scored: int


def records_of(count: int) -> Iterator[Record]:
    """Give ``count`` records, of which ``GARBAGE_SHARE`` is garbage, evenly of every reason, at random places."""
    random = Random(SEED)
    unusual = _unusual(random, round(count * GARBAGE_SHARE), round(count * ODD_SHARE))
    good_count = count - sum(shape.records for shape in unusual)
    places = sorted(random.choices(range(good_count), k=len(unusual)))
    serials = itertools.count()
    waiting = zip(places, unusual, strict=True)
    place, shape = next(waiting, (good_count, None))
    for index, good in enumerate(itertools.islice(_good(random, -(-good_count // SERIES_COUNT)), good_count)):
        while shape is not None and place == index:
            yield from _made(shape, Draw(random, good.timestamp_ms, next(serials)))
            place, shape = next(waiting, (good_count, None))
        yield good


def _unusual(random: Random, garbage_count: int, odd_count: int) -> list[Shape]:
    """Shapes in random order; the counts are records, and every reason has as many as any other (but for one)."""
    chosen: list[Shape] = []
    quotas = [len(range(place, garbage_count, len(REASONS))) for place in range(len(REASONS))]
    for reason, quota in zip((*REASONS, None), (*quotas, odd_count), strict=True):
        shapes = itertools.cycle([shape for shape in (*GARBAGE, *ODD) if shape.reason == reason])
        left = quota
        while left:
            shape = next(shapes)
            if shape.records <= left:
                chosen.append(shape)
                left -= shape.records
    random.shuffle(chosen)
    return chosen


def _made(shape: Shape, draw: Draw) -> Iterator[Record]:
    """Records of one shape, neighbours in one partition."""
    partition = draw.random.randrange(PARTITIONS)
    values = shape.make(draw)
    assert len(values) == shape.records
    for value in values:
        key, headers = draw.random.choice(KEYS), draw.random.choice(HEADERS)
        yield Record(partition, draw.time_ms, value, key, headers, shape.reason, shape.samples, shape.scored)


def _good(random: Random, rounds: int) -> Iterator[Record]:
    """Records of many series, each with the broker timestamp of its scrape."""
    for turn, values in enumerate(metric_rounds(rounds)):
        time_ms = START_MS + turn * INTERVAL_MS
        for series, value in enumerate(values):
            wrapped = random.random() < ENVELOPE_SHARE
            key, headers = (random.choice(KEYS), random.choice(HEADERS)) if wrapped else (None, NO_HEADERS)
            yield Record(series % PARTITIONS, time_ms, value, key, headers, None, 1, 1)
