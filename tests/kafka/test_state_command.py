"""`detector state` on real Apache Kafka: what it says is so, and what it moves leaves the events as they were."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner, Result

from detector.cli import app
from detector.state import decode, pack, unpack
from detector.worker.archives import moved
from tests.kafka.broker import Broker
from tests.kafka.test_state_on_kafka import calm_events, replays, stream
from tests.kafka.workers import Stage, WorkerRun

pytestmark = pytest.mark.kafka

PARTITIONS: Final = 2
STRICT: Final[dict[str, dict[str, object]]] = {
    "worker": {"batch_records_max": 200, "commit_interval_s": 0.1},
    "state": {"interval_s": 3600.0, "on_state_loss": "fail"},
}


class Desk:
    """One group with its input, its settings and whoever types commands about it."""

    def __init__(self, kafka: Broker, folder: Path, *, minutes: int = 900, partitions: int = PARTITIONS) -> None:
        self.stage = Stage(kafka.bootstrap_servers, folder, partitions=partitions)
        self.settings = self.stage.settings(**STRICT)
        self.streams = [stream(seed, minutes) for seed in range(partitions)]
        self.third = len(self.streams[0]) // 3
        self.folder = folder

    def feed(self, number: int) -> None:
        """Write the third with this number."""
        for partition, values in enumerate(self.streams):
            self.stage.write(values[number * self.third : (number + 1) * self.third], partition=partition)

    def work(self) -> list[tuple[int, int]]:
        """Let a worker go to the end of the input and stop in order; gives what it replayed, by partition."""
        with WorkerRun(self.settings) as worker:
            self.stage.until_committed(worker)
            assert worker.stopped() == 0, worker.output()
            assert not worker.log("state_lost")
            return replays(worker)

    def typed(self, *words: str, settings: Path | None = None, code: int = 0) -> Result:
        """Run a ``state`` command."""
        result = CliRunner().invoke(
            app, ["state", *words, "-c", str(settings or self.settings)], env={"COLUMNS": "160"}
        )
        assert result.exit_code == code, f"{words}: {result.output}"
        assert "Traceback" not in result.output
        return result

    def ls(self, settings: Path | None = None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.typed("ls", "--json", settings=settings).stdout)
        return rows

    def plan(self, *words: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.typed("reset", self.stage.input, *words, "--json").stdout)
        return rows

    def exported(self) -> list[str]:
        """Save everything; gives the files."""
        folder = self.folder / "saved"
        self.typed("export", "--all", str(folder))
        return sorted(str(path) for path in folder.iterdir())


def said(stage: Stage) -> dict[str, bytes]:
    """Events by id; a reset backwards makes some again, the same to the byte."""
    events: dict[str, bytes] = {}
    for message in stage.read(stage.events):
        value = message.value() or b""
        assert events.setdefault(json.loads(value)["id"], value) == value
    assert events, "the stream has incidents"
    return events


def column(rows: Sequence[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def test_saved_reset_and_brought_back_the_stream_says_what_a_calm_run_says(kafka: Broker, tmp_path: Path) -> None:
    desk = Desk(kafka, tmp_path)
    stage, third = desk.stage, desk.third
    assert column(desk.ls(), "restart", "committed", "lag") == [("first", None, 0)] * PARTITIONS

    desk.feed(0)
    desk.work()
    rows = column(desk.ls(), "committed", "lag", "restart", "reads_from", "replays", "state_lost")
    assert rows == [(third, 0, "restore", third, 0, False)] * PARTITIONS
    files = desk.exported()
    assert len(files) == PARTITIONS

    desk.feed(1)
    assert column(desk.ls(), "lag", "replays") == [(third, 0)] * PARTITIONS
    with WorkerRun(desk.settings) as worker:
        stage.until_committed(worker)
        for words in (("import", *files), ("reset", stage.input, "--to-earliest", "--forget", "--execute")):
            assert "has 1 member(s), stop them first: detector" in desk.typed(*words, code=1).output
        assert worker.stopped() == 0
    first_events = said(stage)

    # Back by a third: the snapshot from there is still in the state topic.
    plan = desk.plan("--to-offset", str(third + 10))
    assert column(plan, "target", "snapshot", "replays", "refusal") == [(third + 10, third, 10, None)] * PARTITIONS
    assert stage.committed() == [2 * third] * PARTITIONS, "a plan changes nothing"
    desk.typed("reset", stage.input, "--to-offset", str(third + 10), "--execute")
    assert stage.committed() == [third + 10] * PARTITIONS
    assert column(desk.ls(), "restart", "reads_from", "replays") == [("restore", third, 10)] * PARTITIONS
    assert desk.work() == [(third, third + 10)] * PARTITIONS
    assert said(stage) == first_events, "repeats only, the same to the byte"

    # To the beginning: there is no snapshot, so only with the operator's word.
    refused = desk.typed("reset", stage.input, "--to-earliest", "--execute", code=1)
    assert "its models would be lost" in refused.output
    assert stage.committed() == [2 * third] * PARTITIONS
    desk.typed("reset", stage.input, "--to-earliest", "--forget", "--execute")
    assert column(desk.ls(), "restart", "committed", "replays") == [("empty", 0, 0)] * PARTITIONS

    # The files bring back what the first third taught.
    assert "--force" in desk.typed("import", *files, code=1).output
    desk.typed("import", *files, "--force")
    assert column(desk.ls(), "restart", "committed", "replays") == [("restore", third, 0)] * PARTITIONS
    desk.feed(2)
    assert desk.work() == [(third, third)] * PARTITIONS
    assert stage.committed() == [3 * third] * PARTITIONS
    assert said(stage) == calm_events(stage)


@pytest.mark.chaos
def test_forgetting_everything_says_the_same_again(kafka: Broker, tmp_path: Path) -> None:
    desk = Desk(kafka, tmp_path, partitions=1)
    desk.feed(0)
    desk.feed(1)
    desk.work()
    events = said(desk.stage)
    desk.typed("reset", f"{desk.stage.input}:0", "--to-earliest", "--forget", "--execute")
    assert desk.work() == [(0, 0)]
    assert said(desk.stage) == events


def test_show_tells_what_is_in_a_snapshot(kafka: Broker, tmp_path: Path) -> None:
    desk = Desk(kafka, tmp_path, minutes=300, partitions=1)
    desk.feed(0)
    desk.work()
    shown = json.loads(desk.typed("show", desk.stage.input, "0", "--series", "h1", "--json").stdout)
    assert shown["header"]["offset"] == desk.third
    assert shown["header"]["series_count"] == 4
    assert {"series.slots", "learners.owner"} <= {each["name"] for each in shown["columns"]}
    assert [each["name"] for each in shown["series"]] == ['load{host="h1"}']
    assert shown["series"][0]["last_seen"].startswith("2023-11-1")
    table = desk.typed("show", desk.stage.input, "0").stdout
    assert "series.identities" in table
    assert "these settings" in table
    limited = desk.typed("show", desk.stage.input, "0", "--series", "*", "--limit", "2").stdout
    assert "2 of 4 series" in limited


def test_targets_by_time_and_by_snapshot(kafka: Broker, tmp_path: Path) -> None:
    desk = Desk(kafka, tmp_path, minutes=300, partitions=1)
    desk.feed(0)
    desk.work()
    desk.feed(1)
    assert column(desk.plan("--to-time", "2000-01-01T00:00:00Z", "--forget"), "target") == [(0,)]
    assert column(desk.plan("--to-time", "2100-01-01T00:00:00Z"), "target", "replays") == [(2 * desk.third, desk.third)]
    assert column(desk.plan("--to-latest"), "target", "snapshot") == [(2 * desk.third, desk.third)]
    assert column(desk.plan("--to-current"), "target", "replays") == [(desk.third, 0)]
    desk.stage.wipe_pointers()
    assert column(desk.ls(), "restart", "reads_from") == [("found", desk.third)]
    desk.typed("reset", desk.stage.input, "--to-snapshot", "--execute")
    assert column(desk.ls(), "restart", "reads_from") == [("restore", desk.third)]


def test_other_settings_are_marked_and_files_of_others_refused(kafka: Broker, tmp_path: Path) -> None:
    desk = Desk(kafka, tmp_path, minutes=300, partitions=1)
    desk.feed(0)
    desk.work()
    (file,) = desk.exported()
    other = desk.stage.settings(series={"limit_per_partition": 77}, state={"on_state_loss": "cold_start"})
    (row,) = desk.ls(other)
    assert (row["restart"], row["state_lost"], row["settings_fit"]) == ("lost", True, False)
    table = desk.typed("ls", settings=other)
    assert "1 of 1 partitions would lose their models" in table.stderr
    assert "LOSE" in table.stdout
    assert "learnt under other settings" in desk.typed("import", file, settings=other, code=1).output
    assert (
        "models would be lost" in desk.typed("reset", desk.stage.input, "--to-current", settings=other, code=1).output
    )


@pytest.mark.chaos
def test_a_mirrored_cluster_takes_states_over_when_told(kafka: Broker, tmp_path: Path) -> None:
    desk = Desk(kafka, tmp_path, partitions=1)
    desk.feed(0)
    desk.work()
    (file,) = desk.exported()
    foreign = tmp_path / "foreign.detstate"
    foreign.write_bytes(pack(moved(unpack(Path(file).read_bytes()), "another-cluster")))
    assert "--cluster-changed" in desk.typed("import", str(foreign), code=1).output
    desk.typed("import", str(foreign), "--cluster-changed")
    assert column(desk.ls(), "restart", "cluster_fits", "replays") == [("restore", True, 0)]
    desk.feed(1)
    assert desk.work() == [(desk.third, desk.third)]
    assert said(desk.stage) == calm_events(desk.stage)


def test_a_file_holds_the_snapshot_and_its_offset(kafka: Broker, tmp_path: Path) -> None:
    desk = Desk(kafka, tmp_path, minutes=300, partitions=1)
    desk.feed(0)
    desk.work()
    file = tmp_path / "one.detstate"
    desk.typed("export", desk.stage.input, "0", str(file))
    archive = unpack(file.read_bytes())
    assert (archive.topic, archive.partition, archive.committed) == (desk.stage.input, 0, desk.third)
    assert decode(archive.data).header.offset == archive.pointer.offset == desk.third
    before = file.read_bytes()
    assert "--force overwrites" in desk.typed("export", desk.stage.input, "0", str(file), code=2).output
    desk.typed("export", desk.stage.input, "0", str(file), "--force")
    assert file.read_bytes() == before
    harmed = bytearray(before)
    harmed[len(harmed) // 2] ^= 1
    file.write_bytes(harmed)
    assert "checksum" in desk.typed("import", str(file), code=2).output
    assert desk.stage.committed() == [desk.third]


def test_mistakes_are_one_line(kafka: Broker, tmp_path: Path) -> None:
    desk = Desk(kafka, tmp_path, partitions=1)
    name = desk.stage.input
    for words, code, says in (
        (("show", "nowhere", "0"), 2, f"nowhere is not a topic that this group reads: {name}"),
        (("show", name, "9"), 2, "has no partition 9: it has 1"),
        (("show", name, "0"), 1, "the group has committed nothing"),
        (("export", name, "0", str(tmp_path / "file")), 1, "the group has committed nothing"),
        (("export", name, "0"), 2, "give TOPIC PARTITION FILE, or --all DIR"),
        (("import", str(tmp_path / "missing")), 2, "cannot be read: No such file"),
        (("import", __file__), 2, "no file of `detector state export`"),
        (("reset", f"{name}:x", "--to-latest"), 2, "should be TOPIC or TOPIC:0,1"),
        (("reset", "nowhere", "--to-latest"), 2, "is not a topic that this group reads"),
        (("reset", name), 2, "say where to, once"),
        (("reset", name, "--to-latest", "--to-earliest"), 2, "say where to, once"),
        (("reset", name, "--to-time", "2026-11-22T10:00:00"), 2, "lacks its time zone"),
        (("reset", name, "--to-time", "yesterday"), 2, "not a time"),
        (("reset", name, "--to-snapshot", "--forget"), 2, "contradict"),
        (("reset", name, "--to-offset", "5", "--forget"), 1, "offset 5 is not within 0 to 0"),
        (("reset", name, "--to-snapshot"), 1, "no usable snapshot"),
        (("reset", name, "--to-current"), 1, "the group has committed nothing"),
    ):
        result = desk.typed(*words, code=code)
        assert says in result.stderr, result.output
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    absent = desk.stage.settings(kafka={"topics": ["nothing-like-it"]})
    assert "none of kafka.topics and logs.topics exists" in desk.typed("ls", settings=absent, code=2).stderr
    silent = desk.stage.settings(kafka={"bootstrap_servers": "127.0.0.1:1"})
    assert "topics cannot be listed" in desk.typed("ls", settings=silent, code=1).stderr
