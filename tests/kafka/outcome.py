"""What workers leave behind, and what they should have: events, dead letters and final states, compared to the bit.

Expected is what the pipeline makes of the input log, read back from the broker and processed without any worker. That
the real worker does the same when nothing disturbs it is a test of its own.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka import Message

from detector.io import KafkaConnection, KafkaSnapshotStore
from detector.io.kafka_columns import envelope_of, record_batches
from detector.ports import TopicPartition
from detector.settings import Settings, load_settings
from detector.state import Snapshot, decode, encode, parse_pointer
from detector.wiring import PipelineFactory, limits_of
from detector.worker.dead_letters import dead_letter
from tests.kafka.faults import LIFE_HEADER
from tests.kafka.workers import Stage

Headers = tuple[tuple[str, bytes | None], ...]
EVENT_HEADERS: Final[Headers] = (("content-type", b"application/cloudevents+json"),)
PROBE_KEY: Final = b"probe/"
SHOWN: Final = 5


class Line(NamedTuple):
    """One message of an output topic."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class Outcome(NamedTuple):
    """Events of each input partition and key in order, dead letters by partition and offset, final states by partition.

    A state is a whole snapshot, header included, so that offset, watermark and counts are compared, too.
    """

    events: Mapping[tuple[int, bytes | None], Sequence[Line]]
    dead_letters: Mapping[tuple[int, int], Sequence[Line]]
    states: Mapping[int, Snapshot]

    def event_count(self) -> int:
        """Events of all keys."""
        return sum(map(len, self.events.values()))


def outcome(stage: Stage, settings: Path) -> Outcome:
    """What read_committed readers see, and the snapshots that the committed pointers name.

    Raises ``AssertionError`` where a partition's last snapshot is not of its end.
    """
    return Outcome(
        _by_source(_line(message) for message in stage.read(stage.events)),
        _by_place(_line(message) for message in stage.read(stage.dead_letters)),
        _final_states(stage, load_settings([settings])),
    )


def expected(stage: Stage, settings: Path) -> Outcome:
    """What the pipeline makes of the input log, each partition in one batch."""
    loaded = load_settings([settings])
    factory, limits = PipelineFactory(loaded), limits_of(loaded)
    events: list[Line] = []
    letters: list[Line] = []
    states: dict[int, Snapshot] = {}
    for place in stage.places:
        pipeline = factory(TopicPartition(place.topic, place.partition))
        for batch in record_batches(stage.read(stage.input, partitions=[place.partition])):
            output = pipeline.process(batch)
            events += [Line(event.key, event.value, EVENT_HEADERS) for event in output.events]
            for reject in output.rejects:
                letter = dead_letter(stage.dead_letters, batch, reject, bytes_max=limits.dead_letter_bytes_max)
                letters.append(Line(letter.key, letter.value, letter.headers))
            header, columns = pipeline.snapshot(offset=output.next_offset, cluster=stage.cluster_id())
            states[place.partition] = decode(encode(header, columns))
    return Outcome(_by_source(events), _by_place(letters), states)


def differences(ours: Outcome, calm: Outcome) -> list[str]:
    """Each thing that is not the same, in words; empty when all is."""
    found = [
        f"events of {key}: {_sequence_difference(ours.events.get(key, ()), calm.events.get(key, ()))}"
        for key in sorted({*ours.events, *calm.events}, key=repr)
        if ours.events.get(key) != calm.events.get(key)
    ]
    found += [
        f"dead letters of {place}: {len(ours.dead_letters.get(place, ()))} of {len(calm.dead_letters.get(place, ()))}"
        for place in sorted({*ours.dead_letters, *calm.dead_letters})
        if ours.dead_letters.get(place, ()) != calm.dead_letters.get(place, ())
    ]
    for partition in sorted({*ours.states, *calm.states}):
        found += _state_differences(partition, ours.states.get(partition), calm.states.get(partition))
    return found


def same(stage: Stage, settings: Path) -> Outcome:
    """Assert that nothing differs, and give what there is."""
    ours = outcome(stage, settings)
    found = differences(ours, expected(stage, settings))
    assert not found, "\n".join(found[:SHOWN])
    return ours


def aborted(stage: Stage) -> Counter[str]:
    """Records in the output topics that only read_uncommitted readers see, by life; the probe's are left out."""
    count: Counter[str] = Counter()
    for topic, width in ((stage.events, 1), (stage.dead_letters, 1), (stage.state, len(stage.places))):
        seen = {
            (each.partition(), each.offset())
            for each in stage.read(topic, isolation="read_committed", partitions=range(width))
        }
        for message in stage.read(topic, isolation="read_uncommitted", partitions=range(width)):
            probing = (message.key() or b"").startswith(PROBE_KEY)
            if not probing and (message.partition(), message.offset()) not in seen:
                count[(dict(headers_of(message)).get(LIFE_HEADER) or b"").decode()] += 1
    return count


def _line(message: "Message[bytes, bytes]") -> Line:
    return Line(message.key(), message.value(), tuple(each for each in headers_of(message) if each[0] != LIFE_HEADER))


def headers_of(message: "Message[bytes, bytes]") -> Headers:
    """Headers as the client gives them for a message that was read."""
    return envelope_of([message], 0).headers


def _by_source(lines: Iterable[Line]) -> dict[tuple[int, bytes | None], list[Line]]:
    """Events of one series come in order; those of several input partitions lie between one another anyhow."""
    events: dict[tuple[int, bytes | None], list[Line]] = {}
    for line in lines:
        partition = json.loads(line.value or b"")["data"]["provenance"]["partition"]
        events.setdefault((partition, line.key), []).append(line)
    return events


def _by_place(lines: Iterable[Line]) -> dict[tuple[int, int], list[Line]]:
    letters: dict[tuple[int, int], list[Line]] = {}
    for line in lines:
        headers = dict(line.headers)
        place = int(headers["detector-partition"] or b""), int(headers["detector-offset"] or b"")
        letters.setdefault(place, []).append(line)
    return letters


def _final_states(stage: Stage, settings: Settings) -> dict[int, Snapshot]:
    store = KafkaSnapshotStore(
        KafkaConnection(stage.bootstrap_servers), topic=stage.state, group_id=settings.kafka.group_id
    )
    states: dict[int, Snapshot] = {}
    for place, end in zip(stage.committed_places(), stage.ends(), strict=True):
        if not end:
            continue
        pointer = parse_pointer(place.metadata)
        assert pointer is not None, f"partition {place.partition}: no pointer beside {place.offset}"
        assert pointer.offset == place.offset == end, f"partition {place.partition}: {pointer} of {place.offset}, {end}"
        states[place.partition] = decode(store.read(TopicPartition(place.topic, place.partition), pointer))
    store.close()
    return states


def _sequence_difference(ours: Sequence[Line], calm: Sequence[Line]) -> str:
    our_ids, calm_ids = _ids(ours), _ids(calm)
    missing = [each for each in calm_ids if each not in our_ids]
    strange = [each for each in our_ids if each not in calm_ids]
    twice = sorted({each for each in our_ids if our_ids.count(each) > 1})
    return (
        f"{len(ours)} of {len(calm)}; missing {missing[:SHOWN]}, strange {strange[:SHOWN]}, more than once "
        f"{twice[:SHOWN]}; the rest differs in bytes or order"
    )


def _ids(lines: Sequence[Line]) -> list[str]:
    return [json.loads(line.value or b"{}").get("id", "") for line in lines]


def _state_differences(partition: int, ours: Snapshot | None, calm: Snapshot | None) -> list[str]:
    if ours is None or calm is None:
        return [f"state of partition {partition}: {'missing' if ours is None else 'none was expected'}"]
    found = [] if ours.header == calm.header else [f"state of partition {partition}: {ours.header}, not {calm.header}"]
    for name in sorted({*ours.columns, *calm.columns}):
        our_bytes, calm_bytes = (
            each.columns[name].tobytes() if name in each.columns else None for each in (ours, calm)
        )
        if our_bytes != calm_bytes:
            found.append(f"state of partition {partition}: column {name} differs")
    return found
