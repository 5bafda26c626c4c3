"""``detector replay``: recorded files through the pipeline that the worker runs, with every score written down."""

import gc
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from detector.batches import BatchCounts, FloatArray, LogCounts, Output, RecordBatch, ScoredBatch
from detector.commands.report_episodes import Episodes
from detector.commands.report_page import ReportFacts, page
from detector.commands.report_samples import Traces
from detector.errors import UsageError
from detector.io.files import Inputs, csv_batches, find_inputs, jsonl_batches, service_of
from detector.ports import TopicPartition
from detector.settings import Settings, config_hash
from detector.wiring import PipelineFactory
from detector.wiring_logs import LogPipelineFactory

SCORE_COLUMNS: Final = ("series", "time", "value", "score", "deviation", "novelty", "expected", "lower", "upper")
JSONL_TOPIC: Final = "replay"
SEVERITIES: Final = ("critical", "error", "warning")
ADDED_COUNTS: Final = (
    *("lines_joined", "lines_other", "lines_cut", "templates_created", "templates_merged", "templates_evicted"),
    *("windows_closed", "windows_skipped", "tripped"),
)
NEEDS_QUOTES: Final = re.compile(r'[",\r\n]')
COLLECTED_OBJECTS: Final = 200_000
"""New objects between two looks for cycles: those of some 20 batches at most."""
SHOWN_BYTES_MAX: Final = 10_000
"""A rejected record is shown up to here."""


class _Lines(Protocol):
    def write(self, text: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class ReplayFiles:
    """Where results go; None: nowhere."""

    events: Path | None = None
    scores: Path | None = None
    rejects: Path | None = None
    report: Path | None = None
    report_series: int = 50

    def paths(self) -> list[Path]:
        """Every file that is to be written."""
        return [path for path in (self.events, self.scores, self.rejects, self.report) if path is not None]


@dataclass(slots=True)
class Tally:
    """What a replay came to. Severity is that of each episode's last event."""

    counts: BatchCounts = field(default_factory=BatchCounts)
    rejects: Counter[str] = field(default_factory=Counter)
    logs: LogCounts | None = None
    formats: Counter[str] = field(default_factory=Counter)
    severities: Counter[str] = field(default_factory=Counter)
    _open: dict[str, str] = field(default_factory=dict)

    def add(self, output: Output) -> list[dict[str, Any]]:
        """Add one batch; give the ``data`` of its events."""
        for name in BatchCounts.__slots__:
            setattr(self.counts, name, getattr(self.counts, name) + getattr(output.counts, name))
        self.rejects.update(reject.reason for reject in output.rejects)
        if output.logs is not None:
            self.logs = self.logs or LogCounts()
            for name in ADDED_COUNTS:
                setattr(self.logs, name, getattr(self.logs, name) + getattr(output.logs, name))
            self.formats.update(output.logs.formats)
        anomalies = [orjson.loads(event.value)["data"] for event in output.events]
        for anomaly in anomalies:
            self._open[anomaly["episode_id"]] = anomaly["severity"]
            if anomaly["state"] == "closed":
                self.severities[self._open.pop(anomaly["episode_id"])] += 1
        return anomalies

    def finish(self) -> None:
        """Count the episodes that are still open."""
        self.severities.update(self._open.values())
        self._open.clear()


def replay_files(settings: Settings, paths: Sequence[Path], files: ReplayFiles, *, logs: bool = False) -> None:
    """Replay and print a summary; raises ``UsageError`` for files that cannot be read or written.

    ``logs``: JSONL files hold records of a log topic.
    """
    began_s = time.perf_counter()
    tally = Tally()
    inputs = find_inputs(paths, logs=logs)
    _check_apart(files, inputs.all())
    if (inputs.log_records or inputs.log_texts) and (files.scores or files.report):
        raise UsageError("--scores and --report are about samples: leave the files of log lines out, or these options")
    with ExitStack() as stack:
        stack.enter_context(_rare_collections())
        results = _Results(files, stack)
        report = _Report(files.report, files.report_series, stack) if files.report else None
        keep_scores = files.scores is not None or report is not None
        for topic, records, output, cells in outputs_of(settings, inputs, stack, keep_scores=keep_scores):
            anomalies = tally.add(output)
            results.write(topic, records, output, cells)
            if report is not None:
                report.add(topic if cells else JSONL_TOPIC, output, anomalies)
        tally.finish()
        if report is not None:
            report.write(tally, len(inputs.all()), config_hash(settings))
    seconds = time.perf_counter() - began_s
    _print_summary(tally)
    rate = tally.counts.records / max(seconds, 1e-9)
    Console(stderr=True).print(
        f"{tally.counts.records:,} records in {seconds:.1f} s: {rate:,.0f} a second", style="dim"
    )


def _check_apart(files: ReplayFiles, inputs: Sequence[Path]) -> None:
    """Refuse to write over what is to be read."""
    read = {path.resolve() for path in inputs}
    for path in files.paths():
        if path.resolve() in read:
            raise UsageError(f"{path}: is one of the files to replay; write the result to another place")


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the cycle collector look seldom: a row is several objects, none of them in a cycle (a quarter faster)."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECTED_OBJECTS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


Cells = tuple[Sequence[str], Sequence[str], Sequence[str]]
"""Series, time and value of each row of a CSV batch, as they stand in the file."""


def outputs_of(
    settings: Settings, inputs: Inputs, stack: ExitStack, *, keep_scores: bool
) -> Iterator[tuple[str, RecordBatch, Output, Cells | None]]:
    """Process every batch of every file, CSV first, and show how far it is: (file, records, output, cells)."""
    size, line_bytes_max = settings.worker.batch_records_max, settings.decoder.limits.record_bytes_max
    advance = stack.enter_context(_progress(inputs.all()))
    if inputs.csv:
        plain = PipelineFactory(settings, records="plain", keep_scores=keep_scores)
    for path in inputs.csv:
        pipeline = plain.metrics(TopicPartition(str(path), 0))
        for rows in csv_batches(path, str(path), size):
            yield str(path), rows.records, pipeline.process(rows.records), (rows.series, rows.times, rows.values)
            advance(path, rows.position_bytes)
    if inputs.jsonl:
        pipeline = PipelineFactory(settings, keep_scores=keep_scores).metrics(TopicPartition(JSONL_TOPIC, 0))
        for lines in jsonl_batches(inputs.jsonl, JSONL_TOPIC, size, line_bytes_max):
            yield str(lines.path), lines.records, pipeline.process(lines.records), None
            advance(lines.path, lines.position_bytes)
    # Text names no service, so each file is a partition of its own; records tell theirs, and go on from file to file.
    streams: list[tuple[list[Path], str, str | None]] = []
    streams += [([path], str(path), service_of(path)) for path in inputs.log_texts]
    if inputs.log_records:
        streams.append((list(inputs.log_records), JSONL_TOPIC, None))
    for files, topic, service in streams:
        flow = LogPipelineFactory(settings, service_default=service)(TopicPartition(topic, 0))
        for lines in jsonl_batches(files, topic, size, line_bytes_max):
            yield str(lines.path), lines.records, flow.process(lines.records), None
            advance(lines.path, lines.position_bytes)


class _Advance(Protocol):
    def __call__(self, path: Path, position_bytes: int, /) -> None: ...


@contextmanager
def _progress(files: Sequence[Path]) -> Iterator[_Advance]:
    """Show a bar over the bytes of all files, on a terminal."""
    console = Console(stderr=True)
    sizes = {path: path.stat().st_size for path in files}
    done = dict.fromkeys(files, 0)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("replay", total=sum(sizes.values()))

        def advance(path: Path, position_bytes: int, /) -> None:
            done[path] = position_bytes
            bar.update(task, completed=sum(done.values()), description=path.name)

        yield advance


class _Results:
    """The files that were asked for."""

    def __init__(self, files: ReplayFiles, stack: ExitStack) -> None:
        self._events = _create(files.events, stack)
        self._rejects = _create(files.rejects, stack)
        self._scores = _create(files.scores, stack)
        if self._scores is not None:
            self._scores.write(f"{','.join(SCORE_COLUMNS)}\n".encode())

    def write(self, source: str, records: RecordBatch, output: Output, cells: Cells | None) -> None:
        """Write what one batch gave."""
        if self._events is not None:
            for event in output.events:
                self._events.write(event.value + b"\n")
        if self._rejects is not None:
            for line in _reject_lines(source, records, output):
                self._rejects.write(line)
        if self._scores is not None:
            assert output.scored is not None, "lines of logs have no scores, and were refused beside --scores"
            rows = _csv_rows(output.scored, cells) if cells else _jsonl_rows(output.scored, len(records))
            self._scores.write("".join(f"{row}\n" for row in rows).encode())


class _Report:
    """What the report needs, collected batch by batch."""

    def __init__(self, path: Path, series_max: int, stack: ExitStack) -> None:
        self._file = _create(path, stack)
        self._series_max = series_max
        self._traces = Traces()
        self._episodes = Episodes()

    def add(self, topic: str, output: Output, anomalies: Sequence[dict[str, Any]]) -> None:
        """Take one batch."""
        assert output.scored is not None
        self._traces.add(topic, output.scored)
        for anomaly in anomalies:
            self._episodes.add(anomaly)

    def write(self, tally: Tally, files: int, settings_hash: str) -> None:
        """Write the page."""
        traces, episodes = self._traces.finish(), self._episodes.finish()
        facts = ReportFacts(
            counts=tally.counts,
            rejects=tally.rejects,
            kinds=self._episodes.kinds,
            traces=traces,
            episodes={name: each for name, each in episodes.items() if name in traces},
            untraced=self._traces.untraced_samples,
            files=files,
            config_hash=settings_hash,
        )
        assert self._file is not None
        self._file.write(page(facts, self._series_max).encode())


def _create(path: Path | None, stack: ExitStack) -> _Lines | None:
    if path is None:
        return None
    try:
        return stack.enter_context(path.open("wb"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _reject_lines(source: str, records: RecordBatch, output: Output) -> Iterator[bytes]:
    for reject in output.rejects:
        record = (records.values[reject.row] or b"")[:SHOWN_BYTES_MAX].decode(errors="replace")
        line = {
            "file": source,
            "offset": reject.offset,
            "reason": reject.reason,
            "detail": reject.detail,
            "record": record,
        }
        yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _csv_rows(scored: ScoredBatch, cells: Cells) -> Iterator[str]:
    """Give one line per row of the file: its own cells, then the scores, empty where there are none."""
    count = len(cells[0])
    columns = []
    for scores in scored.scores.columns():
        column = np.full(count, np.nan)
        column[scored.rows] = scores
        columns.append(_shown(column))
    return map(",".join, zip(*map(_quoted, cells), *columns, strict=True))


def _jsonl_rows(scored: ScoredBatch, records_count: int) -> Iterator[str]:
    """Give one line per sample, and an empty one per record without samples, in the order of the records."""
    times = np.datetime_as_string(scored.times_ms.astype("datetime64[ms]"), timezone="UTC").tolist()
    columns = [_shown(column) for column in (scored.values, *scored.scores.columns())]
    samples = map(",".join, zip(_quoted(scored.series), times, *columns, strict=True))
    missing = np.setdiff1d(np.arange(records_count), scored.rows).tolist()
    if not missing:
        return samples
    empty = "," * (len(SCORE_COLUMNS) - 1)
    numbered = [*zip(scored.rows.tolist(), samples, strict=True), *((row, empty) for row in missing)]
    numbered.sort(key=itemgetter(0))
    return map(itemgetter(1), numbered)


def _shown(column: FloatArray) -> list[str]:
    """Write each number with as many digits as it takes to read it back the same; NaN is an empty cell."""
    text = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode()
    return text.replace("null", "").split(",") if len(column) else []


def _quoted(cells: Sequence[str]) -> Sequence[str]:
    """Quote cells as RFC 4180 says, where any of them needs it."""
    if not NEEDS_QUOTES.search("".join(cells)):
        return cells
    return ['"' + cell.replace('"', '""') + '"' if NEEDS_QUOTES.search(cell) else cell for cell in cells]


def _log_rows(tally: Tally) -> list[tuple[str, int]]:
    logs = tally.logs
    if logs is None:
        return []
    return [
        *((f"log records: {name}", count) for name, count in sorted(tally.formats.items())),
        ("log lines joined", logs.lines_joined),
        ("log lines cut", logs.lines_cut),
        ("log lines without template", logs.lines_other),
        ("templates", logs.templates_created - logs.templates_merged),
        ("templates evicted", logs.templates_evicted),
        ("circuit breakers tripped", len(logs.tripped)),
        ("windows closed", logs.windows_closed),
        ("windows skipped", logs.windows_skipped),
    ]


def _print_summary(tally: Tally) -> None:
    counts = tally.counts
    table = Table("replayed", "count", title=None)
    table.columns[1].justify = "right"
    rows = [
        ("records", counts.records),
        ("samples", counts.samples),
        ("scored or warming up", counts.scored),
        ("late", counts.late),
        ("repeated", counts.repeated),
        *((f"rejected: {reason}", count) for reason, count in sorted(tally.rejects.items())),
        *_log_rows(tally),
        ("series", counts.series_created),
        ("series evicted", counts.series_evicted),
        ("series expired", counts.series_expired),
        ("learner failures", counts.learner_failures),
        ("episodes opened", counts.opened),
        ("episodes closed", counts.closed),
        *((f"episodes: {severity}", tally.severities[severity]) for severity in SEVERITIES),
    ]
    always = {"records", "samples", "series", "episodes opened", "episodes closed"}
    for name, count in rows:
        if count or name in always:
            table.add_row(name, f"{count:,}")
    Console().print(table)
