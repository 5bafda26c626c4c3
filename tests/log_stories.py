"""Stories of log topics, seeded: services with messages of their own, minute by minute, and what a pipeline tells."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from detector.batches import TIMESTAMP_UNKNOWN, BatchCounts, LogCounts, Reject
from detector.log_pipeline import LogPipeline
from detector.state import Snapshot, decode, encode
from tests.log_records import BEGIN_S, TOPIC, json_line
from tests.streams import batch_of

SYLLABLES: Final = ("ba", "do", "fe", "gi", "ku", "la", "mo", "ne", "pi", "ra", "su", "to", "vi", "wen", "zor", "tak")
BATCH_RECORDS: Final = 2_000


class Message(NamedTuple):
    """What a service says: its text, ``{}`` where a number goes, and how many times a minute."""

    text: str
    rate: float
    level: str = "info"


class Line(NamedTuple):
    """One line of a service; ``time_s`` from ``BEGIN_S`` on."""

    time_s: float
    service: str
    level: str
    text: str


def messages(count: int, seed: int, *, rate: float) -> list[Message]:
    """Messages of words that no other seed has, of unequal rates that add up to ``rate`` lines a minute."""
    source = np.random.default_rng(seed)

    def word() -> str:
        return "".join(source.choice(SYLLABLES, size=3).tolist())

    parts = source.lognormal(0.0, 1.0, count)
    texts = [
        " ".join([*(word() for _ in range(5)), "{}", *(word() for _ in range(source.integers(0, 3)))])
        for _ in range(count)
    ]
    return [Message(text, rate * part) for text, part in zip(texts, parts / parts.sum(), strict=True)]


def minute_of(
    source: np.random.Generator, minute: float, service: str, said: Sequence[Message], load: float = 1.0
) -> list[Line]:
    """The lines of one minute, each message by chance as often as its rate and the load say."""
    counts = source.poisson([message.rate * load for message in said]).tolist()
    chosen = [message for message, count in zip(said, counts, strict=True) for _ in range(count)]
    moments = source.uniform(0.0, 60.0, len(chosen)).tolist()
    numbers = source.integers(1, 10_000, len(chosen)).tolist()
    return [
        Line(round(60.0 * minute + moment, 3), service, message.level, message.text.format(number))
        for message, moment, number in zip(chosen, moments, numbers, strict=True)
    ]


def records_of(lines: Iterable[Line]) -> list[bytes]:
    """Their records in the order of their times."""
    ordered = sorted(lines)
    return [json_line(BEGIN_S + line.time_s, line.service, line.level, line.text) for line in ordered]


@dataclass
class Told:
    """All that a pipeline tells of a stream; ``totals`` and ``logs`` are summed up, ``logs_by_batch`` are not."""

    events: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    totals: BatchCounts = field(default_factory=BatchCounts)
    batches: list[LogCounts] = field(default_factory=list)
    offset: int = 0

    def total(self, name: str) -> int:
        """A count of log lines over all batches."""
        return sum(getattr(logs, name) for logs in self.batches)

    @property
    def opened(self) -> list[dict[str, Any]]:
        """The data of all openings."""
        return [event for event in self.events if event["state"] == "opened"]

    @property
    def closed(self) -> list[dict[str, Any]]:
        """The data of all closings."""
        return [event for event in self.events if event["state"] == "closed"]

    def kinds(self) -> list[tuple[str, str]]:
        """Service and kind of every opening."""
        return [(service_of(event), event["kind"]) for event in self.opened]


def tell(
    pipeline: LogPipeline,
    values: Sequence[bytes],
    *,
    told: Told | None = None,
    stamp_ms: int = TIMESTAMP_UNKNOWN,
    size: int = BATCH_RECORDS,
) -> Told:
    """Process these records, from the offset on that was reached, and add what comes of them."""
    told = told or Told()
    for start in range(0, len(values), size):
        batch = batch_of(values[start : start + size], first_offset=told.offset, timestamp_ms=stamp_ms, topic=TOPIC)
        output = pipeline.process(batch)
        told.events += [json.loads(event.value)["data"] for event in output.events]
        told.rejects += output.rejects
        for name in BatchCounts.__slots__:
            setattr(told.totals, name, getattr(told.totals, name) + getattr(output.counts, name))
        assert output.logs is not None
        told.batches.append(output.logs)
        told.offset = output.next_offset
    return told


def service_of(event: dict[str, Any]) -> str:
    """The service that an event is about."""
    return str(event["topology"]["service"])


def minute_reached(time: str) -> float:
    """Minutes from ``BEGIN_S`` to a time of an event."""
    return float((np.datetime64(time.rstrip("Z")) - np.datetime64(BEGIN_S, "s")) / np.timedelta64(1, "ms")) / 60_000.0


def snapshot_of(pipeline: LogPipeline, offset: int) -> Snapshot:
    """A snapshot as it would be read back."""
    return decode(encode(*pipeline.snapshot(offset=offset, cluster="c")))


def calm(seed: int, service: str, said: Sequence[Message], minutes: int) -> Iterator[Line]:
    """A service that goes on as ever."""
    source = np.random.default_rng(seed)
    for minute in range(minutes):
        yield from minute_of(source, minute, service, said)
