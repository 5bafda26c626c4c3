"""Bootstraps with the real pipelines and real files: what is known afterwards, and what is not said."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from detector.batches import ScoredBatch
from detector.commands.bootstrap import bootstrap_of
from detector.errors import UsageError
from detector.io import MemoryBroker, StoredRecord
from detector.io.recordings import Recording
from detector.ports import TopicPartition
from detector.settings import Settings
from detector.wiring import PipelineFactory
from detector.worker import Bootstrap, WorkerLimits
from tests.streams import batch_of, record
from tests.unit.test_worker_bootstraps import NEVER
from tests.workers import GROUP, INPUT, TOPICS, Bench, ManualClock, broker_with

BEGIN_S: Final = 1_700_000_000 // 60 * 60
PLACE: Final = TopicPartition(INPUT, 0)
WATCHING: Final = {"policies": [{"name": "all", "no_data": {}}]}


def sample(name: str, minute: int, *, up: bool = False) -> bytes:
    return record(name, BEGIN_S + 60 * minute, (400.0 if up else 10.0) + minute * 7_919 % 1_000 / 1_000)


def samples(name: str, minutes: range, up: range = range(0)) -> list[bytes]:
    return [sample(name, minute, up=minute in up) for minute in minutes]


def write(broker: MemoryBroker, values: Sequence[bytes], partition: int = 0) -> None:
    for value in values:
        stamp_ms = 1000 * json.loads(value)["time"]
        broker.append(TopicPartition(INPUT, partition), StoredRecord(b"key", value, (), stamp_ms))


def live(broker: MemoryBroker, settings: Settings, bootstrap: Bootstrap | None) -> Bench:
    bench = Bench(
        broker,
        bootstrap=bootstrap,
        state=NEVER,
        limits=WorkerLimits(batch_records_max=500),
        clock=ManualClock(0.001),
        pipeline_factory=PipelineFactory(settings),
        transactional_id="pod-0",
    )
    bench.worker.begin()
    bench.run_until(lambda: bench.worker.ready)
    return bench


def settled(bench: Bench) -> None:
    places = [each.place for each in bench.worker._assignments.all()]
    ends = {place: bench.broker.log(place).end for place in places}
    bench.run_until(lambda: all(bench.broker.committed(GROUP)[place] >= ends[place] for place in places))
    bench.turn(4, advance_s=1.0)


def said(broker: MemoryBroker) -> list[dict[str, Any]]:
    return [json.loads(each.value or b"") for each in broker.records(TopicPartition(TOPICS.events, 0))]


class TestTopic:
    def test_what_is_told_are_the_events_of_a_worker_that_was_always_there(self) -> None:
        """One series had an incident long ago, one has one now, and one will."""
        end = 1_500
        incidents = {"a": range(900, 915), "b": range(end - 8, end + 8), "c": range(end + 20, end + 30)}
        values = [
            sample(name, minute, up=minute in incidents[name]) for minute in range(end + 40) for name in incidents
        ]
        calm = PipelineFactory(Settings())(PLACE)
        batch = batch_of(values)
        events = [json.loads(event.value) for event in calm.process(_placed(batch.values)).events]
        broker = broker_with()
        write(broker, values[: 3 * end])
        bench = live(broker, Settings(), Bootstrap(None))
        write(broker, values[3 * end :])
        settled(bench)
        told = said(broker)
        kept = {each["id"]: each for each in events}
        assert all(kept[each["id"]]["data"] == each["data"] for each in told), "no event is of another kind"
        after = [each["id"] for each in events if each["data"]["provenance"]["offset"] >= 3 * end]
        before = [each for each in told if each["data"]["provenance"]["offset"] < 3 * end]
        assert [each["id"] for each in told[len(before) :]] == after
        assert [(each["data"]["series"]["metric"], each["data"]["state"]) for each in before] == [
            ("b", "opened"),
            ("b", "updated"),
        ]


def _placed(values: Sequence[bytes | None]) -> Any:
    stamps = np.array([1000 * json.loads(value or b"")["time"] for value in values], dtype=np.int64)
    batch = batch_of(values)
    return type(batch)(INPUT, 0, batch.offsets, stamps, batch.values)


class TestFiles:
    @pytest.mark.parametrize("ending", ["csv", "jsonl.gz"])
    def test_every_partition_learns_them_and_only_what_comes_live_is_judged(self, tmp_path: Path, ending: str) -> None:
        """Series ``a`` lives on partition 0 and ``b`` on 1: neither is missed where it does not live."""
        end = 1_500
        folder = tmp_path / "history"
        folder.mkdir()
        for name in ("a", "b"):
            lines = samples(name, range(end), up=range(end - 20, end))
            if ending == "csv":
                rows = [json.loads(line) for line in lines]
                text = "\n".join(["time,value", *(f"{row['time']},{row['value']}" for row in rows)])
                (folder / f"{name}.csv").write_text(text)
            else:
                (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines)))
        settings = Settings.model_validate({**WATCHING, "state": {"bootstrap": str(folder)}})
        broker = broker_with(partitions=2)
        broker.now_ms = 1000 * (BEGIN_S + 60 * end)
        bench = live(broker, settings, bootstrap_of(settings))
        assert said(broker) == []
        for partition, name in enumerate(("a", "b")):
            write(broker, samples(name, range(end, end + 400), up=range(end + 300, end + 315)), partition)
        settled(bench)
        assert [each.pipeline.series_count for each in bench.worker._assignments.all()] == [2, 2]
        events = [each["data"] for each in said(broker)]
        assert {each["kind"] for each in events} <= {"metric.spike", "metric.dip"}, "nothing is silent"
        opened = [each for each in events if each["state"] == "opened" and each["deviation"] > 10]
        assert sorted(each["series"]["metric"] for each in opened) == ["a", "b"]
        assert {each["episode_id"] for each in events} == {
            each["episode_id"] for each in events if each["state"] == "opened"
        }

    def test_what_the_topic_holds_itself_is_left_out_of_them(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_bytes(b"\n".join(samples("a", range(200))))
        settings = Settings.model_validate({"state": {"bootstrap": str(tmp_path)}})
        broker = broker_with()
        write(broker, samples("a", range(150, 300)))
        bench = live(broker, settings, bootstrap_of(settings))
        reports = [fact[2] for fact in bench.observer.facts if fact[0] == "bootstrap_ended"]
        assert [(each.stage, each.records, dict(each.rejected)) for each in reports] == [  # type: ignore[attr-defined]
            ("files", 200, {"too_far_ahead": 50}),
            ("topic", 150, {}),
        ]
        (partition,) = bench.worker._assignments.all()
        last_ms = 1000 * (BEGIN_S + 60 * 299)
        assert (partition.pipeline.series_count, partition.pipeline.watermark_ms) == (1, last_ms)


class TestForgettingEpisodes:
    def pipeline(self, **settings: Any) -> Any:
        return PipelineFactory(Settings.model_validate(settings), keep_scores=True)(PLACE)

    def test_models_stay_to_the_bit(self) -> None:
        values = samples("a", range(600), up=range(560, 600))
        later = _placed(samples("a", range(600, 700)))
        kept, forgot = self.pipeline(), self.pipeline()
        for pipeline in (kept, forgot):
            assert pipeline.process(_placed(values)).events
        forgot.forget_episodes()
        scores = [pipeline.process(later).scored for pipeline in (kept, forgot)]
        assert all(isinstance(each, ScoredBatch) for each in scores)
        for ours, theirs in zip(*(each.scores.columns() for each in scores), strict=True):
            assert ours.tobytes() == theirs.tobytes()

    def test_nothing_is_open_and_nothing_is_missed(self) -> None:
        pipeline = self.pipeline(**WATCHING)
        values = [line for name in ("a", "b") for line in samples(name, range(600), up=range(580, 600))]
        pipeline.process(_placed(values))
        assert pipeline.open_episodes == 2
        pipeline.forget_episodes()
        assert (pipeline.open_episodes, pipeline.series_count) == (0, 2)
        output = pipeline.process(_placed(samples("a", range(600, 1_000))))
        events = [json.loads(event.value)["data"] for event in output.events]
        assert {each["series"]["metric"] for each in events} <= {"a"}
        assert "metric.no_data" not in {each["kind"] for each in events}

    def test_a_series_is_missed_again_once_it_was_seen(self) -> None:
        pipeline = self.pipeline(**WATCHING)
        pipeline.process(_placed([line for name in ("a", "b") for line in samples(name, range(600))]))
        pipeline.forget_episodes()
        lines = [sample(name, minute) for minute in range(600, 650) for name in ("a", "b")]
        output = pipeline.process(_placed([*lines, *samples("a", range(650, 1_000))]))
        events = [json.loads(event.value)["data"] for event in output.events]
        assert [(each["series"]["metric"], each["kind"], each["state"]) for each in events] == [
            ("b", "metric.no_data", "opened")
        ]


class TestRecording:
    def recording(self, path: Path, **more: int) -> Recording:
        return Recording(path, **({"records_max": 2, "line_bytes_max": 100, "ahead_max_ms": 600_000} | more))

    def test_records_are_the_partition_s_with_offsets_that_ascend_over_all_files(self, tmp_path: Path) -> None:
        (tmp_path / "b.jsonl").write_bytes(b"4\n5\n")
        (tmp_path / "a.jsonl").write_bytes(b"1\n2\n3\n")
        batches = list(self.recording(tmp_path).batches(TopicPartition("t", 7), 10_000_000))
        assert [batch.records.values for batch in batches] == [[b"1", b"2"], [b"3"], [b"4", b"5"]]
        assert np.concatenate([batch.records.offsets for batch in batches]).tolist() == [0, 1, 2, 3, 4]
        assert {(batch.records.topic, batch.records.partition) for batch in batches} == {("t", 7)}
        assert {int(stamp) for batch in batches for stamp in batch.records.timestamps_ms} == {9_399_999}
        shares = [batch.share for batch in batches]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0

    def test_the_decoder_then_takes_what_is_before_the_time_and_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_bytes(b"\n".join(samples("a", range(10))))
        until_ms = 1000 * (BEGIN_S + 60 * 4)
        pipeline = PipelineFactory(Settings())(PLACE)
        outputs = [pipeline.process(batch.records) for batch in self.recording(tmp_path).batches(PLACE, until_ms)]
        assert sum(output.counts.scored for output in outputs) == 4
        assert {reject.reason for output in outputs for reject in output.rejects} == {"too_far_ahead"}

    def test_rows_are_laid_out_plainly_and_lines_as_configured(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("time,value\n1,2\n")
        assert self.recording(tmp_path / "a.csv").layout == "plain"
        (tmp_path / "b.jsonl").write_text("{}\n")
        assert self.recording(tmp_path / "b.jsonl").layout == "configured"

    def test_both_kinds_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("time,value\n1,2\n")
        (tmp_path / "b.jsonl").write_text("{}\n")
        with pytest.raises(UsageError, match="one kind at a time"):
            self.recording(tmp_path)

    def test_a_file_that_is_gone_is_a_fault_of_usage(self, tmp_path: Path) -> None:
        (tmp_path / "b.jsonl").write_text("{}\n")
        recording = self.recording(tmp_path)
        (tmp_path / "b.jsonl").unlink()
        with pytest.raises(UsageError, match=r"b\.jsonl: cannot be read"):
            list(recording.batches(PLACE, 0))

    def test_an_empty_file_is_learnt_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "b.jsonl").write_text("")
        assert list(self.recording(tmp_path).batches(PLACE, 0)) == []
