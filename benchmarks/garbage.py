"""A million records on real Kafka, one in a hundred of them garbage: one true dead letter for each, and no other.

``python -m benchmarks.garbage [--records N] [--bootstrap HOST:PORT]``. Every reject reason in many shapes, with keys
and headers; `detector run` as a process. The dead letters are compared with what was sent, byte for byte, and the
worker's own metrics must account for every record and sample. Exit code 3 when anything is wrong.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from confluent_kafka import Message
from prometheus_client.samples import Sample

from benchmarks.garbage_records import REASONS, Headers, Record, records_of
from benchmarks.garbage_shapes import AHEAD_MAX_MS, LABELS_MAX, RECORD_BYTES_MAX
from benchmarks.pipeline import broker_at
from benchmarks.report_line import note, show
from benchmarks.worker_run import PARTITIONS, MeasuredRun, MeasuredStage, producer_to, progress_bar, total_of
from tests.kafka.workers import Stage

EXIT_WRONG: Final = 3
STALL_S: Final = 60.0
"""Without a single record processed; then the worker stands still."""
FLUSH_TIMEOUT_S: Final = 120.0
OWN_HEADERS: Final = ("reason", "detail", "topic", "partition", "offset", "timestamp-ms", "version")

Place = tuple[int, int]
"""Partition and offset of a record of the input."""


class Sent:
    """What stands in the input, as far as it can be told afterwards: the garbage in full, the rest as counts."""

    def __init__(self) -> None:
        self.ends = [0] * PARTITIONS
        self.garbage: dict[Place, Record] = {}
        self.samples = 0
        self.scored = 0

    def add(self, record: Record) -> None:
        """Note a record that follows those before it in its partition."""
        if record.reason is not None:
            self.garbage[record.partition, self.ends[record.partition]] = record
        self.ends[record.partition] += 1
        self.samples += record.samples
        self.scored += record.scored

    def reasons(self) -> Counter[str]:
        """Garbage by reason."""
        return Counter(str(record.reason) for record in self.garbage.values())


def produce(stage: Stage, count: int) -> Sent:
    """Fill the input."""
    producer = producer_to(stage.bootstrap_servers)
    sent = Sent()
    with progress_bar() as progress:
        task = progress.add_task("producing", total=count)
        for index, record in enumerate(records_of(count), 1):
            producer.produce(
                stage.input,
                record.value,
                record.key,
                partition=record.partition,
                timestamp=record.timestamp_ms,
                headers=list(record.headers),
            )
            sent.add(record)
            if index % 10_000 == 0:
                producer.flush(FLUSH_TIMEOUT_S)
                progress.update(task, completed=index)
    assert producer.flush(FLUSH_TIMEOUT_S) == 0
    assert stage.ends() == sent.ends, "offsets are known by counting"
    return sent


def work(stage: Stage, worker: MeasuredRun, sent: Sent) -> float:
    """Wait until the group has committed everything; give the records per second after the first ones were seen."""
    wanted = sum(sent.ends)
    first_count, first_s = 0, 0.0
    seen, seen_s = 0, time.perf_counter()
    with progress_bar() as progress:
        task = progress.add_task("working", total=wanted)
        while seen < wanted:
            time.sleep(0.1)
            count, moment_s = total_of(worker.metrics(), "detector_records_consumed_total"), time.perf_counter()
            if count and not first_count:
                first_count, first_s = count, moment_s
            if count == seen and moment_s - seen_s > STALL_S:
                raise SystemExit(f"the worker stands still at {seen} of {wanted} records: {worker.output()[-2000:]}")
            if count > seen:
                seen, seen_s = count, moment_s
            progress.update(task, completed=seen)
    stage.until_committed(worker)
    return (wanted - first_count) / (seen_s - first_s) if seen > first_count else 0.0


class Verdict:
    """Dead letters against what was sent; ``problems`` shows a few."""

    def __init__(self, topic: str, garbage: dict[Place, Record]) -> None:
        self._topic = topic
        self._garbage = garbage
        self._seen: set[Place] = set()
        self.counts: Counter[str] = Counter()
        self.by_reason: Counter[str] = Counter()
        self.problems: dict[str, str] = {}

    def judge(self, letters: Iterable[Message]) -> None:
        """Judge all dead letters of the run."""
        for letter in letters:
            self._judge(letter)
        for place in self._garbage.keys() - self._seen:
            self._wrong("missing", place, self._garbage[place].value)

    def _judge(self, letter: Message) -> None:
        headers = _headers(letter)
        facts = dict(headers[-len(OWN_HEADERS) :])
        self.counts["dead_letters"] += 1
        self.by_reason[_text(facts, "reason")] += 1
        place = int(_text(facts, "partition") or -1), int(_text(facts, "offset") or -1)
        record = self._garbage.get(place)
        if record is None or place in self._seen:
            self._wrong("extra", place, letter.value())
            return
        self._seen.add(place)
        if letter.value() != record.value:
            self._wrong("wrong_bytes", place, (letter.value(), record.value))
        if _text(facts, "reason") != record.reason:
            self._wrong("wrong_reason", place, (facts, record.reason, record.value))
        own = tuple(f"detector-{name}" for name in OWN_HEADERS)
        names, original = tuple(name for name, _ in headers[-len(own) :]), headers[: -len(own)]
        source = _text(facts, "topic"), _text(facts, "timestamp-ms")
        expected = own, record.headers, record.key, (self._topic, str(record.timestamp_ms))
        if (names, original, letter.key(), source) != expected:
            self._wrong("wrong_envelope", place, (letter.key(), headers, expected))

    def _wrong(self, what: str, place: Place, shown: object) -> None:
        self.counts[what] += 1
        self.problems.setdefault(what, f"{what}, first at {place}: {shown!r:.500}")


def _headers(letter: Message) -> Headers:
    found = letter.headers() or []
    pairs = found.items() if isinstance(found, dict) else found
    return tuple((name, data.encode() if isinstance(data, str) else data) for name, data in pairs)


def _text(facts: dict[str, bytes | None], name: str) -> str:
    return (facts.get(f"detector-{name}") or b"").decode()


def unaccounted(samples: Sequence[Sample], sent: Sent) -> dict[str, tuple[int, int]]:
    """What the worker's metrics tell otherwise than what was sent: (told, expected) by name."""
    expected = {
        "detector_records_consumed_total": sum(sent.ends),
        "detector_samples_decoded_total": sent.samples,
        "detector_samples_scored_total": sent.scored,
        "detector_samples_dropped_total": 0,
        "detector_records_rejected_total": len(sent.garbage),
    }
    told = {name: (total_of(samples, name), count) for name, count in expected.items()}
    for reason, count in sent.reasons().items():
        told[reason] = total_of(samples, "detector_records_rejected_total", reason=reason), count
    return {name: pair for name, pair in told.items() if pair[0] != pair[1]}


def run(bootstrap: str, count: int, folder: Path) -> tuple[dict[str, object], list[str]]:
    """Produce, work, compare; give the result and what was wrong."""
    # Timestamps lie in the past and are part of the data: nothing may expire by them.
    stage = MeasuredStage(bootstrap, folder, input_options={"retention.ms": "-1"})
    sent = produce(stage, count)
    note(f"{count:,} records stand in the topic, {len(sent.garbage):,} of them garbage")
    limits = {"record_bytes_max": RECORD_BYTES_MAX, "labels_max": LABELS_MAX, "ahead_max_s": AHEAD_MAX_MS / 1000}
    settings = stage.settings(decoder={"limits": limits}, kafka={"session_timeout_ms": 10_000})
    with MeasuredRun(settings) as worker:
        rate_per_s = work(stage, worker, sent)
        told_otherwise = unaccounted(worker.metrics(), sent)
        worker_exit = worker.stopped()
    verdict = Verdict(stage.input, sent.garbage)
    verdict.judge(stage.read(stage.dead_letters))
    wrongs = ("missing", "wrong_bytes", "wrong_envelope", "wrong_reason", "extra")
    result: dict[str, object] = {
        "records": count,
        "garbage": len(sent.garbage),
        "dead_letters": verdict.counts["dead_letters"],
        **{what: verdict.counts[what] for what in wrongs},
        "unaccounted": told_otherwise,
        "worker_exit": worker_exit,
        "records_per_s": round(rate_per_s),
        "per_reason": {reason: verdict.by_reason[reason] for reason in REASONS},
    }
    problems = list(verdict.problems.values())
    problems += [f"metric {name}: {told} told, {wanted} expected" for name, (told, wanted) in told_otherwise.items()]
    problems += [f"the worker ended with {worker_exit}"] if worker_exit else []
    return result, problems


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--bootstrap", help="a running broker; by default one is started")
    options = parser.parse_args()
    with broker_at(options.bootstrap) as bootstrap, tempfile.TemporaryDirectory() as folder:
        result, problems = run(bootstrap, options.records, Path(folder))
    rows = [(what.replace("_", " "), f"{count:,}") for what, count in result.items() if isinstance(count, int)]
    show("Garbage on real Kafka", ("records", "count"), rows, result)
    for problem in problems:
        note(problem)
    if problems:
        raise SystemExit(EXIT_WRONG)


if __name__ == "__main__":
    main()
