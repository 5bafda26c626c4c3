"""A large state on real Kafka: written under the limits that brokers have by default, and restored by the next worker.

``python -m benchmarks.large_state [--series N] [--bootstrap HOST:PORT]``. All series in one partition, exactly once.
The first worker reads them, takes a snapshot and is killed; the second one restores it. Exit code 3 when a snapshot
fails or a transaction is aborted.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.pipeline import broker_at
from benchmarks.report_line import note, show
from benchmarks.stream import metric_rounds
from benchmarks.worker_run import MeasuredRun, MeasuredStage, producer_to, total_of, values_of
from tests.kafka.workers import until

EXIT_WRONG: Final = 3
ROUNDS: Final = 2
DEADLINE_S: Final = 300.0


def main() -> None:
    """Run both workers and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", type=int, default=500_000)
    parser.add_argument("--bootstrap", help="a running broker; by default one is started")
    options = parser.parse_args()
    with broker_at(options.bootstrap) as bootstrap, tempfile.TemporaryDirectory() as folder:
        stage = MeasuredStage(bootstrap, Path(folder), input_options={}, partitions=1)
        producer = producer_to(bootstrap)
        for batch in metric_rounds(ROUNDS, options.series):
            for record in batch:
                producer.produce(stage.input, record, partition=0)
                producer.poll(0)
            producer.flush()
        note(f"{ROUNDS * options.series:,} records written")
        settings = stage.settings(
            series={"limit_per_partition": options.series},
            state={"interval_s": 5, "on_state_loss": "fail"},
            telemetry={"http_port": 0},
        )
        summary = {"series": options.series, **written(stage, settings), **restored(settings)}
    rows = [(name, f"{value:,}") for name, value in summary.items()]
    show("Large state on real Kafka", ("what", "how much"), rows, summary)
    if summary["snapshots_failed"] or summary["transactions_aborted"]:
        raise SystemExit(EXIT_WRONG)


def written(stage: MeasuredStage, settings: Path) -> dict[str, float]:
    """Let a worker read everything, write a snapshot of it all and commit the pointer; then kill it."""
    with MeasuredRun(settings) as worker:
        until(lambda: stage.committed() == stage.ends(), "everything committed", deadline_s=DEADLINE_S)
        count = total_of(worker.metrics(), "detector_snapshots_written_total")
        began_s = time.monotonic()
        stage.write([next(metric_rounds(1, 1))[0]])  # a state that has not changed is not written again
        until(
            lambda: total_of(worker.metrics(), "detector_snapshots_written_total") > count,
            "a snapshot",
            deadline_s=DEADLINE_S,
        )
        time.sleep(1.0)
        samples = worker.metrics()
        facts = {
            "snapshot_bytes": round(max(values_of(samples, "detector_snapshot_written_bytes"))),
            "snapshots_failed": total_of(samples, "detector_snapshots_failed_total"),
            "transactions_aborted": total_of(samples, "detector_transactions_aborted_total"),
            "waited_for_snapshot_s": round(time.monotonic() - began_s, 1),
            "resident_mb": round(worker.resident_mb()),
        }
        worker.killed()
    return facts


def restored(settings: Path) -> dict[str, float]:
    """Let the next worker restore it."""
    with MeasuredRun(settings) as worker:
        began_s = time.monotonic()
        until(lambda: bool(worker.log("partition_restored")) or not worker.runs(), "a restore", deadline_s=DEADLINE_S)
        (line,) = worker.log("partition_restored")
        assert line["offset"] > 0, "a snapshot, and not the empty state"
        return {
            "restore_s": round(line["seconds"], 2),
            "joined_and_restored_s": round(time.monotonic() - began_s, 1),
            "replayed_records": line["replay_until"] - line["offset"],
            "resident_after_mb": round(worker.resident_mb()),
        }


if __name__ == "__main__":
    main()
