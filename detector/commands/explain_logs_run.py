"""An event of log lines, derived again: the same records through the same pipeline up to the event.

The transition is found again by series, kind, start, sequence and state. Where records were saved from a topic to a
file, they lie at other offsets; everything else must be the same.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from detector.batches import Output, RecordBatch
from detector.commands.explain_logs_event import LogTold, LogToldEvent, log_told
from detector.commands.explain_run import TOLERANCE, Compared, Derivation, Processed, stretch_up_to
from detector.commands.replay import JSONL_TOPIC, outputs_of
from detector.encoders.wording import number, rfc3339
from detector.io.files import Inputs, find_inputs
from detector.io.kafka_reading import read_stretch
from detector.ports import TopicPartition
from detector.settings import Settings, log_config_hash
from detector.wiring import connection_of
from detector.wiring_logs import LogPipelineFactory

PLACED: Final = frozenset({"provenance", "dedupe_key", "episode_id", "samples[].offset", "quality.late"})
"""What tells where the records lie and when the broker got them: different in another place, and no fault then."""
DIFFERENCES_MAX: Final = 4


def derive_logs_from_files(settings: Settings, event: LogToldEvent, paths: Sequence[Path]) -> Derivation:
    """Run the files as ``replay --logs`` does, up to the event; raises ``UsageError`` for files that cannot be read."""
    found = find_inputs(paths, logs=True)
    other = _other_settings(settings, event.data)
    if other is not None:
        return other
    source = event.data.provenance.input_topic
    named = [path for path in found.log_texts if str(path) == source or path.resolve() == Path(source).resolve()]
    inputs = found
    if named:
        inputs = Inputs((), (), (), named)
    elif source == JSONL_TOPIC and found.log_records:
        inputs = Inputs((), (), found.log_records, ())
    with ExitStack() as stack:
        outputs = outputs_of(settings, inputs, stack, keep_scores=False)
        texts = set(inputs.log_texts)
        return _derive(
            event,
            ((name if Path(name) in texts else JSONL_TOPIC, batch, output) for name, batch, output, _ in outputs),
        )


def derive_logs_from_kafka(settings: Settings, event: LogToldEvent) -> Derivation:
    """Read the event's partition from its beginning up to the event; raises ``DetectorError`` without an answer."""
    connection = connection_of(settings.kafka)
    other = _other_settings(settings, event.data)
    if other is not None:
        return other
    source = event.data.provenance
    place, group_id = TopicPartition(source.input_topic, source.partition), settings.kafka.group_id
    stretch = stretch_up_to(connection, group_id, place, source.offset)
    if isinstance(stretch, Derivation):
        return stretch
    pipeline = LogPipelineFactory(settings)(place)

    def outputs() -> Iterator[Processed]:
        for batch in read_stretch(connection, group_id, place, stretch, settings.worker.batch_records_max):
            yield place.topic, batch, pipeline.process(batch)

    removed = f" (the partition begins at offset {stretch.begin:,})" if stretch.begin else ""
    return _derive(event, outputs(), removed)


def _other_settings(settings: Settings, event: LogTold) -> Derivation | None:
    here, there = log_config_hash(settings), event.model.config_hash
    if here == there:
        return None
    return Derivation(
        "other_settings",
        f"the event was made with the configuration {there}, these settings are {here}: logs, limits of the decoder or "
        "expiry of series differ; give the settings of then with --config",
    )


@dataclass(slots=True)
class _Search:
    """What is known so far; ``records`` up to that of the event, in the partition that is being looked at."""

    event: LogToldEvent
    topic: str | None = None
    records: int = 0
    seen: bool = False
    beside: LogTold | None = None
    found: LogToldEvent | None = None

    def add(self, topic: str, batch: RecordBatch, output: Output) -> bool:
        """Take one batch; tells whether the event came out of it. Another topic is another partition: all anew."""
        if topic != self.topic:
            self.topic, self.records = topic, 0
        service = self.event.data.series.identity
        self.seen = self.seen or (output.logs is not None and service in (output.logs.active or ()))
        derived = [log_told(event.value, topic) for event in output.events]
        for each in derived:
            if each.data.series.identity == service and each.data.time_ms == self.event.data.time_ms:
                self.beside = each.data
        self.found = next((each for each in derived if each.transition == self.event.transition), None)
        last = int(batch.offsets[-1]) if self.found is None else self.found.data.provenance.offset
        self.records += int(np.searchsorted(batch.offsets, last, side="right"))
        return self.found is not None


def _derive(event: LogToldEvent, outputs: Iterable[Processed], removed: str = "") -> Derivation:
    search, source = _Search(event), event.data.provenance
    for topic, batch, output in outputs:
        if search.add(topic, batch, output) or (topic == source.input_topic and output.next_offset > source.offset):
            break
    found = search.found
    if found is None:
        return Derivation("missing", _what_is_missing(search, removed), search.records)
    compared = _compared(event.data, found.data)
    here = found.id == event.id
    differences = [each for each in _differences(event.whole, found.whole) if here or each[0] not in PLACED]
    if not differences:
        same = "the same event" if here else "the same but for where its records lie"
        reason = f"derived again from {search.records:,} records: {same}, to the last bit"
        return Derivation("reproduced", reason, search.records, compared)
    if not any(_tells(*values) for _, *values in differences):
        reason = f"derived again from {search.records:,} records: the same to {TOLERANCE:g}"
        return Derivation("reproduced", reason, search.records, compared)
    return Derivation(
        "differs", _why_it_differs(event.data, found.data, differences, removed), search.records, compared
    )


def _compared(event: LogTold, found: LogTold) -> list[Compared]:
    """The numbers that decide, side by side."""
    pairs = [
        Compared("score", event.score, found.score),
        Compared("neg_log10_p", event.evidence.neg_log10_p, found.evidence.neg_log10_p),
        Compared("observed", event.observed, found.observed),
        Compared("expected", event.expected, found.expected),
        Compared("peak.neg_log10_p", event.peak.neg_log10_p, found.peak.neg_log10_p),
    ]
    signals = event.contributions.items()
    return [*pairs, *(Compared(f"contributions.{name}", e, found.contributions.get(name)) for name, e in signals)]


Difference = tuple[str, Any, Any]
"""Where in the data, what the event has, and what came out."""


def _differences(event: object, found: object, place: str = "") -> Iterator[Difference]:
    """Every leaf in which two JSON values differ; lists of other lengths differ as a whole."""
    if place in PLACED and isinstance(event, Mapping):
        if event != found:
            yield place, event, found
    elif isinstance(event, Mapping) and isinstance(found, Mapping):
        for name in (*event, *(name for name in found if name not in event)):
            inner = f"{place}.{name}" if place else str(name)
            yield from _differences(event.get(name), found.get(name), inner)
    elif isinstance(event, list) and isinstance(found, list) and len(event) == len(found):
        for ours, theirs in zip(event, found, strict=True):
            yield from _differences(ours, theirs, f"{place}[]")
    elif event != found:
        yield place, event, found


def _tells(event: object, found: object) -> bool:
    """Whether two values differ by more than rounding."""
    numbers = (int, float)
    if isinstance(event, bool) or not (isinstance(event, numbers) and isinstance(found, numbers)):
        return True
    return not math.isclose(event, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _what_is_missing(search: _Search, removed: str) -> str:
    event = search.event.data
    moment = rfc3339(event.time_ms)
    if not search.seen:
        return f"the records hold no window with lines of this service up to {moment}{removed}"
    beside = search.beside
    if beside is None:
        instead = f"nothing {event.state} at {moment}"
    else:
        instead = f"at {moment} {beside.kind} {beside.state}, which rests on {_windows(beside)} before"
    return f"the records hold lines of this service, but {instead}; the event rests on {_windows(event)}{removed}"


def _windows(event: LogTold) -> str:
    learnt = event.evidence.windows_seen
    return "an unknown number of windows" if learnt is None else f"{learnt:,} windows"


def _why_it_differs(event: LogTold, found: LogTold, differences: Sequence[Difference], removed: str) -> str:
    if (event.model.name, event.model.version) != (found.model.name, found.model.version):
        return (
            f"the event was judged by {event.model.name} version {event.model.version}, "
            f"this detector has {found.model.name} version {found.model.version}"
        )
    if event.evidence.windows_seen != found.evidence.windows_seen:
        return f"records are missing: the event rests on {_windows(event)} before, here {_windows(found)}{removed}"
    named = ", ".join(
        f"{place} {_word(ours)} became {_word(theirs)}" for place, ours, theirs in differences[:DIFFERENCES_MAX]
    )
    more = len(differences) - DIFFERENCES_MAX
    rest = f" and {more} more" if more > 0 else ""
    return f"these are not the records of the event: {named}{rest}{removed}"


def _word(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "unknown" if value is None else str(value)[:60]
    return number(value)
