"""Exactly-once delivery through seeded schedules; ``make schedules`` runs ten thousand of them."""

import json
from collections import Counter
from functools import cache
from typing import Final

import pytest

from detector.batches import RecordBatch
from detector.io.memory_snapshots import STORE_POINTS
from detector.io.memory_transactions import BEFORE_FLUSH, FLUSHED, SINK_POINTS
from detector.ports import TopicPartition
from tests.simulation import schedules
from tests.simulation.exactly_once import COMMIT_POINTS, ExactlyOnceSchedule, run
from tests.simulation.hashing import HashingPipeline
from tests.streams import TOPIC, batch_of, cuts

SEEDS: Final = 240
GROUPS: Final = 12
"""Tests that the seeds are spread over, so that one says where to look and many do not cost much."""


@cache
def finished(seed: int) -> ExactlyOnceSchedule:
    return run(seed)


@pytest.mark.parametrize("group", range(GROUPS))
def test_what_is_seen_is_the_calm_run_s_exactly(group: int) -> None:
    for seed in range(group, SEEDS, GROUPS):
        schedule = finished(seed)
        assert schedule.ledger == {place: calm.next_offset for place, calm in schedule.calm.items()}, seed


def test_the_schedules_really_contain_every_fault_and_what_answers_it() -> None:
    done: Counter[str] = Counter()
    facts: Counter[object] = Counter()
    reasons: set[str] = set()
    for schedule in map(finished, range(SEEDS)):
        done.update(schedule.done)
        for bench in schedule.benches:
            facts.update(bench.observer.names())
            reasons.update(str(fact[1]).split(":")[0] for fact in bench.observer.facts if fact[0] == "stopped")
    assert {step.__name__ for step in ExactlyOnceSchedule(0).weights()} <= done.keys()
    crashes = {name.removeprefix("crash_now ") for name in done if name.startswith("crash_now ")}
    assert crashes | {BEFORE_FLUSH, FLUSHED} >= {*SINK_POINTS, *STORE_POINTS}  # only a stop flushes
    for act in ("abort_now", "expire_now", "time_out_now", "let_others_act", "cut_off_now"):
        assert all(done[f"{act} {point}"] for point in COMMIT_POINTS), act
    assert facts.keys() >= {
        *("assigned", "revoked", "lost", "committed", "transaction_aborted", "stopped", "held", "released"),
        *("snapshot_written", "snapshot_failed", "restored", "restore_postponed", "replayed"),
    }
    assert reasons >= {"OutcomeUnknownError", "DeliveryFailedError", "StopWorkerError"}


def test_a_reader_without_isolation_saw_attempts_that_were_aborted() -> None:
    runs = [finished(seed) for seed in range(SEEDS)]
    assert sum(schedule.aborts_seen for schedule in runs) > SEEDS
    assert sum(bool(calm.events) for schedule in runs for calm in schedule.calm.values()) > 2 * SEEDS
    assert sum(bool(schedule.found) for schedule in runs) > SEEDS // 2


def test_the_same_seed_gives_the_same_run() -> None:
    again = run(3)
    assert again.done == finished(3).done
    assert [each.records for each in again.broker.coordinator.history] == [
        each.records for each in finished(3).broker.coordinator.history
    ]


def test_the_hash_depends_on_every_record_and_on_no_cut() -> None:
    values = [b"%d" % number for number in range(50)]

    def states(batches: list[RecordBatch]) -> list[bytes]:
        pipeline = HashingPipeline(TopicPartition(TOPIC, 0))
        events = [event.value or b"" for batch in batches for event in pipeline.process(batch).events]
        return [pipeline.state, *events]

    whole = states([batch_of(values)])
    assert states(list(cuts(values, [1, 7, 20]))) == whole
    swapped = [*values[:10], values[11], values[10], *values[12:]]
    assert states([batch_of(swapped)])[0] != whole[0]
    assert states([batch_of(values[:10]), batch_of(values[11:], first_offset=11)])[0] != whole[0]


def test_the_command_tells_what_was_run_in_one_last_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert schedules.main(["--count", "4", "--seed", "7", "--processes", "1"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told.keys() == {"schedules", "kills", "stalls", "rebalances", "aborts_seen", "differences", "seconds"}
    assert (told["schedules"], told["differences"]) == (4, 0)


def test_a_difference_is_told_with_its_seed() -> None:
    assert schedules.summary([schedules.Result(7), schedules.Result(8, difference="x")], 1.0)["differences"] == 1
