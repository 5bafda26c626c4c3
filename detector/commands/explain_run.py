"""The score of an event, derived again: the same records through the same pipeline up to the event.

A transition is found again by series, kind, start, sequence and state, not by its offset, so that records that were
saved from a topic to a file serve as well as the topic.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from detector.batches import Output, RecordBatch
from detector.commands.explain_event import Told, told
from detector.commands.replay import JSONL_TOPIC, outputs_of
from detector.encoders.wording import number, rfc3339
from detector.io.files import Inputs, find_files
from detector.io.kafka_config import KafkaConnection
from detector.io.kafka_groups import KafkaGroup
from detector.io.kafka_reading import read_stretch
from detector.ports import OffsetRange, TopicPartition
from detector.settings import Settings, config_hash
from detector.wiring import PipelineFactory, connection_of

TOLERANCE: Final = 1e-9
"""Two numbers that differ by less, or by less than this share, are equal."""
POINTS_MAX: Final = 100
"""Samples kept for the picture."""
COMPARED: Final = ("score", "deviation", "observed", "expected", "lower", "upper")

Status = Literal["reproduced", "differs", "missing", "other_settings", "not_run"]


class Point(NamedTuple):
    """One sample; NaN is what is not known."""

    time_ms: int | None
    value: float
    expected: float
    lower: float
    upper: float


class Compared(NamedTuple):
    """One number of the event beside what came out now."""

    name: str
    event: float | None
    derived: float | None

    @property
    def equal(self) -> bool:
        """Whether both are unknown, or the same to :data:`TOLERANCE`."""
        if self.event is None or self.derived is None:
            return self.event is self.derived
        return math.isclose(self.event, self.derived, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


@dataclass(frozen=True, slots=True)
class Derivation:
    """What came of it. ``reason`` is a sentence for people; ``points`` the last samples of the series."""

    status: Status
    reason: str
    records: int = 0
    compared: Sequence[Compared] = ()
    points: Sequence[Point] = ()


Processed = tuple[str, RecordBatch, Output]
"""Topic, and one batch that went through its pipeline."""


@dataclass(slots=True)
class _Search:
    """What is known of the event's series so far; ``records`` up to that of the event."""

    event: Told
    topic: str | None = None
    records: int = 0
    samples: int = 0
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS_MAX))
    found: Told | None = None

    def add(self, topic: str, batch: RecordBatch, output: Output) -> bool:
        """Take one batch; tells whether the event came out of it. Another topic is another partition: all anew."""
        if topic != self.topic:
            self.topic, self.records, self.samples = topic, 0, 0
            self.points.clear()
        self._note(output)
        derived = (told(event.value).data for event in output.events)
        self.found = next((each for each in derived if each.transition == self.event.transition), None)
        last = int(batch.offsets[-1]) if self.found is None else self.found.provenance.offset
        self.records += int(np.searchsorted(batch.offsets, last, side="right"))
        return self.found is not None

    def _note(self, output: Output) -> None:
        scored = output.scored
        assert scored is not None
        named = np.fromiter((name == self.event.series.identity for name in scored.series), np.bool_)
        chosen = np.flatnonzero(named & scored.accepted & (scored.times_ms <= self.event.time_ms))
        self.samples += len(chosen)
        scores = scored.scores
        columns = (scored.times_ms, scored.values, scores.expected, scores.lower, scores.upper)
        self.points.extend(Point(*row) for row in zip(*(column[chosen].tolist() for column in columns), strict=True))


def not_run() -> Derivation:
    """Nothing was asked for."""
    return Derivation("not_run", "nothing was derived again: give the records with --input or --kafka")


def derive_from_files(settings: Settings, event: Told, paths: Sequence[Path]) -> Derivation:
    """Run the files as ``replay`` does, up to the event; raises ``UsageError`` for files that cannot be read."""
    csv_files, jsonl_files = find_files(paths)
    other = _other_settings(settings, event)
    if other is not None:
        return other
    source = event.provenance.input_topic
    named = [path for path in csv_files if str(path) == source or path.resolve() == Path(source).resolve()]
    inputs = Inputs(csv_files, jsonl_files, (), ())
    if named:
        inputs = Inputs(named, (), (), ())
    elif source == JSONL_TOPIC and jsonl_files:
        inputs = Inputs((), jsonl_files, (), ())
    with ExitStack() as stack:
        outputs = outputs_of(settings, inputs, stack, keep_scores=True)
        return _derive(
            event,
            ((file if cells else JSONL_TOPIC, batch, output) for file, batch, output, cells in outputs),
        )


def derive_from_kafka(settings: Settings, event: Told) -> Derivation:
    """Read the event's partition from its beginning up to the event; raises ``DetectorError`` without an answer."""
    connection = connection_of(settings.kafka)
    other = _other_settings(settings, event)
    if other is not None:
        return other
    source = event.provenance
    place, group_id = TopicPartition(source.input_topic, source.partition), settings.kafka.group_id
    stretch = stretch_up_to(connection, group_id, place, source.offset)
    if isinstance(stretch, Derivation):
        return stretch
    pipeline = PipelineFactory(settings, keep_scores=True)(place)

    def outputs() -> Iterator[Processed]:
        for batch in read_stretch(connection, group_id, place, stretch, settings.worker.batch_records_max):
            yield place.topic, batch, pipeline.process(batch)

    removed = f" (the partition begins at offset {stretch.begin:,})" if stretch.begin else ""
    return _derive(event, outputs(), removed)


def stretch_up_to(
    connection: KafkaConnection, group_id: str, place: TopicPartition, offset: int
) -> OffsetRange | Derivation:
    """The offsets from the beginning of the partition to ``offset``, or why there are none that end there."""
    extent = KafkaGroup(connection, group_id).extents([place])[place]
    if extent.begin <= offset < extent.end:
        return OffsetRange(extent.begin, offset + 1)
    held = f"the offsets {extent.begin:,} to {extent.end - 1:,}" if extent.end > extent.begin else "no records"
    return Derivation("missing", f"{place.topic}[{place.partition}] holds {held}, not the event's {offset:,}")


def _other_settings(settings: Settings, event: Told) -> Derivation | None:
    here, there = config_hash(settings, event.provenance.input_topic), event.model.config_hash
    if here == there:
        return None
    return Derivation(
        "other_settings",
        f"the event was made with the configuration {there}, these settings are {here}: decoder, models, policies or "
        "series differ; give the settings of then with --config",
    )


def _derive(event: Told, outputs: Iterable[Processed], removed: str = "") -> Derivation:
    search = _Search(event)
    source = event.provenance
    for topic, batch, output in outputs:
        if search.add(topic, batch, output) or (topic == source.input_topic and output.next_offset > source.offset):
            break
    points = list(search.points)
    if search.found is None:
        return Derivation("missing", _what_is_missing(search, removed), search.records, (), points)
    compared = [Compared(name, getattr(event, name), getattr(search.found, name)) for name in COMPARED]
    if all(each.equal for each in compared):
        same = all(each.event == each.derived for each in compared)
        how = "to the last bit" if same else f"to {TOLERANCE:g}"
        reason = f"derived again from {search.records:,} records: the same {how}"
        return Derivation("reproduced", reason, search.records, compared, points)
    return Derivation("differs", _why_it_differs(event, search.found, removed), search.records, compared, points)


def _what_is_missing(search: _Search, removed: str) -> str:
    event = search.event
    moment = rfc3339(event.time_ms)
    if not search.samples:
        return f"the records hold no sample of this series up to {moment}{removed}"
    last = search.points[-1]
    if event.observed is not None and last.time_ms != event.time_ms:
        return f"the records hold {search.samples:,} samples of this series, but none at {moment}{removed}"
    return (
        f"the records hold {search.samples:,} samples of this series up to {moment}, but nothing {event.state} there; "
        f"the model of the event had seen {_count(event)}{removed}"
    )


def _why_it_differs(event: Told, found: Told, removed: str) -> str:
    if (event.model.name, event.model.version) != (found.model.name, found.model.version):
        return (
            f"the event was scored by {event.model.name} version {event.model.version}, "
            f"this detector has {found.model.name} version {found.model.version}"
        )
    if event.evidence.samples_seen != found.evidence.samples_seen:
        return f"records are missing: the model of the event had seen {_count(event)}, here {_count(found)}{removed}"
    named = ", ".join(
        f"{name} {_told(getattr(event, name))} became {_told(getattr(found, name))}"
        for name in COMPARED
        if getattr(event, name) != getattr(found, name)
    )
    return f"these are not the records of the event: {named}{removed}"


def _count(event: Told) -> str:
    seen = event.evidence.samples_seen
    return "an unknown number of samples" if seen is None else f"{seen:,} samples"


def _told(value: float | None) -> str:
    return "unknown" if value is None else number(value)
