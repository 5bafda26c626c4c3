"""Models of river over a restart, from the settings to the log: kept to the bit, or left out and said aloud."""

from typing import Any, Final

import pytest

from detector.batches import LeftOut
from detector.errors import SnapshotRefusedError
from detector.pipeline import PartitionPipeline
from detector.ports import TopicPartition
from detector.settings import Settings
from detector.state import Snapshot, decode, encode
from detector.wiring import PipelineFactory
from detector.worker import StateLimits, WorkerLimits
from tests.streams import TOPIC, batch_of, record
from tests.workers import Bench, ManualClock, broker_with, write

MODELS: Final[dict[str, Any]] = {
    "usual": {"river": "river.anomaly.GaussianScorer", "params": {"grace_period": 10}, "warm_up_samples": 20},
    "svm": {"river": "river.anomaly.OneClassSVM", "features": ["value", "lag_1"], "warm_up_samples": 20},
}
POLICIES: Final = [
    {"name": "a", "match": "a", "model": "usual"},
    {"name": "b", "match": "b", "model": "svm"},
]
RECORDS: Final = [
    record(name, 60 * minute, 400.0 if 150 <= minute < 160 else 10.0 + minute % 7)
    for minute in range(200)
    for name in ("a", "b", "c")
]
CUT: Final = 300


def settings(**state: object) -> Settings:
    return Settings.model_validate({"models": MODELS, "policies": POLICIES, "state": state})


def pipeline(**state: object) -> PartitionPipeline:
    return PipelineFactory(settings(**state), keep_scores=True).metrics(TopicPartition(TOPIC, 0))


def half_way(**state: object) -> tuple[PartitionPipeline, Snapshot]:
    subject = pipeline(**state)
    subject.process(batch_of(RECORDS[:CUT]))
    return subject, decode(encode(*subject.snapshot(offset=CUT, cluster="c1")))


def rest(subject: PartitionPipeline) -> tuple[list[bytes], list[str]]:
    output = subject.process(batch_of(RECORDS[CUT:], first_offset=CUT))
    assert output.scored is not None
    return [event.value for event in output.events], list(map(float.hex, output.scored.scores.score.tolist()))


def test_kept_models_go_on_with_the_same_events_and_bits() -> None:
    subject, snapshot = half_way(river_objects=True)
    heir = pipeline(river_objects=True)
    assert heir.restore(snapshot, cluster="c1") == CUT
    assert heir.take_left_out() == subject.take_left_out() == []
    events, scores = rest(subject)
    assert len(events) >= 3
    assert rest(heir) == (events, scores)


def test_by_default_they_begin_anew_and_that_is_told() -> None:
    subject, snapshot = half_way()
    assert not [name for name in snapshot.columns if "river" in name]
    heir = pipeline()
    heir.restore(snapshot, cluster="c1")
    assert [(each.reason, each.models) for each in heir.take_left_out()] == [("not_stored", 1), ("not_stored", 1)]
    assert rest(heir) != rest(subject)


def test_switching_it_on_keeps_the_other_models() -> None:
    _, snapshot = half_way()
    heir = pipeline(river_objects=True)
    assert heir.restore(snapshot, cluster="c1") == CUT
    assert heir.series_count == 3


def test_switching_it_off_is_refused_with_the_remedy() -> None:
    _, snapshot = half_way(river_objects=True)
    with pytest.raises(SnapshotRefusedError, match=r"set state\.river_objects: true"):
        pipeline().restore(snapshot, cluster="c1")


def test_the_limit_is_shared_by_the_river_models() -> None:
    subject, snapshot = half_way(river_objects=True, river_bytes_max=2048)
    assert {each.reason for each in subject.take_left_out()} == {"size_limit"}
    assert sum(len(column) for name, column in snapshot.columns.items() if name.endswith("river.objects")) <= 2048


def told(bench: Bench) -> list[LeftOut]:
    return [fact[2] for fact in bench.observer.facts if fact[0] == "models_left_out" and isinstance(fact[2], LeftOut)]


def begun(broker: Any, **state: object) -> Bench:
    bench = Bench(
        broker,
        state=StateLimits(interval_s=0.5),
        limits=WorkerLimits(batch_records_max=50),
        clock=ManualClock(0.001),
        pipeline_factory=PipelineFactory(settings(**state)),
    )
    bench.worker.begin()
    return bench


def test_a_worker_tells_of_each_snapshot_and_restore_that_leaves_models_out() -> None:
    broker = broker_with()
    write(broker, RECORDS[:CUT])
    first = begun(broker, river_objects=True, river_bytes_max=6000)
    first.turn(20, advance_s=0.6)
    assert {each.reason for each in told(first)} == {"size_limit"}
    first.worker.finish()
    second = begun(broker)
    second.turn(5, advance_s=0.6)
    assert "set state.river_objects: true" in str(second.observer.facts)


def test_a_worker_tells_what_a_restore_leaves_out() -> None:
    broker = broker_with()
    write(broker, RECORDS[:CUT])
    first = begun(broker)
    first.turn(20, advance_s=0.6)
    assert not told(first)
    first.worker.finish()
    second = begun(broker, river_objects=True)
    second.turn(5, advance_s=0.6)
    assert "restored" in second.observer.names()
    assert [(each.reason, each.models) for each in told(second)] == [("not_stored", 1), ("not_stored", 1)]
