"""`detector run --bootstrap` on real Apache Kafka: it learns without a word, and then it knows what is normal."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Producer

from tests.kafka.broker import Broker
from tests.kafka.workers import DEADLINE_S, NUMBERS, Delivery, Stage, WorkerRun, until
from tests.streams import record

pytestmark = pytest.mark.kafka

PARTITIONS: Final = 2
SERIES: Final = 4
BEGIN_S: Final = 1_700_000_000
HISTORY: Final = 2_000
"""Minutes of history; at its end an incident is going on in one series."""
LATER: Final = 60
"""Minutes after it, in which that incident ends and another series has one."""
INCIDENT: Final = range(1_000, 1_015)
ONGOING: Final = range(HISTORY - 10, HISTORY + 10)
LIVE: Final = range(HISTORY + 20, HISTORY + 35)
PLAIN: Final = 10.0
"""A deviation that only the incidents reach."""


def stream(minutes: range, partition: int) -> list[bytes | None]:
    """Quiet series with three incidents."""
    up = {1: INCIDENT, 2: ONGOING, 3: LIVE}
    return [
        record(
            "load",
            BEGIN_S + 60 * minute,
            (400.0 if minute in up.get(host, ()) else 10.0) + (minute * 7_919 + host * 104_729) % 1_000 / 1_000,
            {"host": f"p{partition}h{host}"},
        )
        for minute in minutes
        for host in range(SERIES)
    ]


def events_of(stage: Stage) -> dict[str, bytes]:
    """Events by id; none comes twice."""
    events: dict[str, bytes] = {}
    for message in stage.read(stage.events):
        value = message.value() or b""
        assert events.setdefault(json.loads(value)["id"], value) is value, "each event once"
    return events


def incidents(events: Mapping[str, bytes], partition: int) -> list[tuple[str, str]]:
    """Hosts with an incident, and when it began, in the order of telling; nothing else was told about before."""
    found = [json.loads(value)["data"] for value in events.values()]
    found = [each for each in found if each["provenance"]["partition"] == partition]
    opened = [each for each in found if each["state"] == "opened"]
    assert {each["episode_id"] for each in found} == {each["episode_id"] for each in opened}, "never without an open"
    return [(each["series"]["labels"]["host"], each["started_at"]) for each in opened if each["deviation"] > PLAIN]


def at(minute: int, begin_s: int = BEGIN_S) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(begin_s + 60 * minute))


def bootstrapped(stage: Stage, **more: Any) -> Path:
    sections: dict[str, dict[str, object]] = {
        "kafka": {"session_timeout_ms": 1_000},
        "state": {"bootstrap": "earliest", "on_state_loss": "fail"},
    }
    for section, keys in more.items():
        sections[section] = {**sections.get(section, {}), **keys}
    return stage.settings(**sections)


def is_under_way(stage: Stage) -> bool:
    """Whether what is committed says that a bootstrap has not come to its end."""
    return any(place.metadata.split(";")[-1] == "untold" for place in stage.committed_places() if place.metadata)


def until_ready(worker: WorkerRun) -> None:
    until(lambda: worker.ready() or not worker.runs(), "it is ready")
    assert worker.runs(), worker.output()


@pytest.mark.parametrize("delivery", ["exactly_once", pytest.param("at_least_once", marks=pytest.mark.chaos)])
def test_nothing_of_history_is_said_but_what_is_going_on_and_kills_change_nothing(
    kafka: Broker, tmp_path: Path, delivery: Delivery
) -> None:
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=PARTITIONS, delivery=delivery)
    for partition in range(PARTITIONS):
        stage.write(stream(range(HISTORY), partition), partition=partition)
    twin = stage.calm_twin()
    with WorkerRun(bootstrapped(twin)) as calm:
        until_ready(calm)
        ended = {line["partition"]: line["episodes_told"] for line in calm.log("bootstrap_ended")}
        assert ended == {f"{stage.input}[{partition}]": 1 for partition in range(PARTITIONS)}
        assert calm.metric("detector_records_bootstrapped_total") == PARTITIONS * HISTORY * SERIES

        slow = bootstrapped(stage, worker={"batch_records_max": 20, "commit_interval_s": 0.05})
        with WorkerRun(slow) as killed:
            killed.until_logged("bootstrap_begun")
            killed.killed()
        assert is_under_way(stage), "it was killed in the middle"
        with WorkerRun(slow) as worker:
            until_ready(worker)
            assert [line["replay_until"] for line in worker.log("bootstrap_begun")] == [HISTORY * SERIES] * PARTITIONS
            for partition in range(PARTITIONS):
                stage.write(stream(range(HISTORY, HISTORY + LATER), partition), partition=partition)
            twin.until_committed(calm)
            stage.until_committed(worker)
            assert worker.stopped() == 0
        assert calm.stopped() == 0
    events = events_of(stage)
    assert events == events_of(twin)
    for partition in range(PARTITIONS):
        expected = [(f"p{partition}h2", at(ONGOING.start)), (f"p{partition}h3", at(LIVE.start))]
        assert incidents(events, partition) == expected


def produce(stage: Stage, values: Sequence[bytes | None], at_s: float, *, transactional: bool = False) -> None:
    """Write to partition 0 with this broker timestamp."""
    options: dict[str, str] = {"transactional.id": f"upstream-{next(NUMBERS)}"} if transactional else {}
    producer = Producer({"bootstrap.servers": stage.bootstrap_servers, "enable.idempotence": True, **options})
    if transactional:
        producer.init_transactions(DEADLINE_S)
        producer.begin_transaction()
    for value in values:
        producer.produce(stage.input, value, b"key", partition=0, timestamp=int(at_s * 1000))
        producer.poll(0)
    if transactional:
        producer.commit_transaction(DEADLINE_S)
    assert producer.flush(DEADLINE_S) == 0


def test_an_age_and_the_marks_of_transactions(kafka: Broker, tmp_path: Path) -> None:
    """The last offset of the partition is a mark, at which no record will ever come."""
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=2)
    old, young = stream(range(50), 0), stream(range(50, 150), 0)
    produce(stage, old, time.time() - 3 * 3_600)
    produce(stage, young, time.time() - 1_800, transactional=True)
    with WorkerRun(bootstrapped(stage, state={"bootstrap": "1h"})) as worker:
        until_ready(worker)
        lines = {line["partition"]: (line["offset"], line["replay_until"]) for line in worker.log("bootstrap_begun")}
        assert lines == {f"{stage.input}[0]": (len(old), len(old) + len(young)), f"{stage.input}[1]": (0, 0)}
        assert worker.metric("detector_records_bootstrapped_total") == len(young)
        assert stage.ends() == [len(old) + len(young) + 1, 0]
        assert worker.stopped() == 0


def test_files_are_learnt_before_what_the_partition_holds(kafka: Broker, tmp_path: Path) -> None:
    """The topic holds too little to know what is normal; the files hold the rest, and some of the same."""
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
    folder = tmp_path / "history"
    folder.mkdir()
    now_s = int(time.time()) // 60 * 60
    shift = now_s - BEGIN_S - 60 * HISTORY

    def values(minutes: range) -> list[bytes]:
        lines = [json.loads(value or b"") for value in stream(minutes, 0)]
        return [json.dumps({**line, "time": line["time"] + shift}).encode() for line in lines]

    (folder / "a.jsonl").write_bytes(b"\n".join(values(range(1_500))))
    (folder / "b.jsonl").write_bytes(b"\n".join(values(range(1_500, HISTORY - 5))))
    held = values(range(HISTORY - 10, HISTORY))
    for minute in range(10):
        produce(stage, held[minute * SERIES : (minute + 1) * SERIES], now_s - 60 * (10 - minute))
    ahead = {"limits": {"ahead_max_s": 60.0 * 2 * LATER}}  # what comes live comes faster than time passes
    settings = bootstrapped(stage, state={"bootstrap": str(folder)}, decoder=ahead)
    with WorkerRun(settings) as killed:
        killed.until_logged("bootstrap_begun")
        killed.killed()
    with WorkerRun(settings) as worker:
        until_ready(worker)
        files, topic = worker.log("bootstrap_ended")
        assert (files["stage"], topic["stage"]) == ("files", "topic")
        assert files["records"] == (HISTORY - 5) * SERIES
        assert files["rejected"] == {"too_far_ahead": 5 * SERIES}
        assert (topic["records"], topic["rejected"]) == (10 * SERIES, {})
        stage.write(values(range(HISTORY, HISTORY + LATER)))
        stage.until_committed(worker)
        assert worker.stopped() == 0
    expected = [("p0h2", at(ONGOING.start, BEGIN_S + shift)), ("p0h3", at(LIVE.start, BEGIN_S + shift))]
    assert incidents(events_of(stage), 0) == expected
