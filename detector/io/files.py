"""Recorded streams as record batches: CSV rows become JSON records, JSON lines stay as they are; gzip is read through.

Every CSV file is one partition; all JSONL files together, in name order, are one. Nothing is held but one batch.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import orjson

from detector.batches import TIMESTAMP_UNKNOWN, RecordBatch
from detector.errors import UsageError

CSV_ENDINGS: Final = (".csv", ".csv.gz")
JSONL_ENDINGS: Final = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
TEXT_ENDINGS: Final = (".log", ".log.gz", ".txt", ".txt.gz")

TIME_COLUMNS: Final = ("timestamp", "time")
VALUE_COLUMN: Final = "value"
SERIES_COLUMN: Final = "series"

BLANKS: Final = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class CsvRows:
    """A batch of a CSV file beside the cells it was made from, n each, as text; ``position_bytes`` read of the file."""

    records: RecordBatch
    series: Sequence[str]
    times: Sequence[str]
    values: Sequence[str]
    position_bytes: int


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A batch of lines; ``position_bytes`` read of the file that ``path`` names, as it lies on the disk."""

    records: RecordBatch
    path: Path
    position_bytes: int


class Inputs(NamedTuple):
    """Files by what they hold: rows, records of samples, records of log lines, and plain log lines."""

    csv: Sequence[Path]
    jsonl: Sequence[Path]
    log_records: Sequence[Path]
    log_texts: Sequence[Path]

    def all(self) -> list[Path]:
        """Every file."""
        return [*self.csv, *self.jsonl, *self.log_records, *self.log_texts]


def find_inputs(paths: Sequence[Path], *, logs: bool = False) -> Inputs:
    """Give the files among ``paths``, looking into folders, each kind in name order and once.

    JSONL files hold log lines where ``logs`` says so, and samples otherwise; text files always hold log lines. Raises
    ``UsageError`` for a path that does not exist, a file of another kind, or when there is nothing at all.
    """
    found = _found(paths, (JSONL_ENDINGS if logs else _ENDINGS) + TEXT_ENDINGS)
    jsonl = sorted(path for path in found if path.name.endswith(JSONL_ENDINGS))
    return Inputs(
        csv=[path for path in found if path.name.endswith(CSV_ENDINGS)],
        jsonl=[] if logs else jsonl,
        log_records=jsonl if logs else [],
        log_texts=[path for path in found if path.name.endswith(TEXT_ENDINGS)],
    )


def find_files(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Give the CSV and the JSONL files among ``paths``, as :func:`find_inputs` does; others are refused."""
    found = _found(paths, _ENDINGS)
    csv_files = [path for path in found if path.name.endswith(CSV_ENDINGS)]
    jsonl_files = sorted(path for path in found if path.name.endswith(JSONL_ENDINGS))
    return csv_files, jsonl_files


def _found(paths: Sequence[Path], endings: tuple[str, ...]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.is_file() and file.name.endswith(endings))
            found.update(dict.fromkeys(sorted(inside)))
        elif not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        elif not path.name.endswith(endings):
            raise UsageError(f"{path}: not one of {', '.join(endings)}")
        else:
            found[path] = None
    if not found:
        raise UsageError(f"no file ending in {', '.join(endings)} in {', '.join(map(str, paths))}")
    return list(found)


_ENDINGS: Final = CSV_ENDINGS + JSONL_ENDINGS


def series_of(path: Path) -> str:
    """Name of the series of a CSV file without a series column: the file's name without its endings."""
    return path.name.removesuffix(".gz").removesuffix(".csv")


def service_of(path: Path) -> str:
    """Name of the service of a text file's lines: the file's name without its endings."""
    return path.name.removesuffix(".gz").rpartition(".")[0]


def csv_batches(path: Path, topic: str, records_max: int) -> Iterator[CsvRows]:
    """Read ``path`` as partition 0 of ``topic``, ``records_max`` rows at a time; row i has offset i.

    Cells that are no numbers or times go on as text: the decoder rejects them with its reason. Raises ``UsageError``
    where the header lacks a column or the file cannot be read as CSV.
    """
    line = 0
    try:
        with _open(path) as (raw, stream):
            rows = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline=""))
            columns = _Columns(next(rows, []), path)
            start = 0
            while chunk := _take(rows, records_max):
                line = rows.line_num
                yield columns.batch(chunk, topic, start, raw.tell())
                start += len(chunk)
    except (csv.Error, OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read after line {line}: {error}") from error


def _take(rows: Iterator[list[str]], count: int) -> list[list[str]]:
    """Read up to ``count`` rows that hold anything; empty lines are no rows."""
    return list(islice(filter(None, rows), count))


class _Columns:
    """Where a CSV file keeps time, value and series."""

    def __init__(self, header: Sequence[str], path: Path) -> None:
        names = [name.strip().casefold() for name in header]
        time_name = next((name for name in TIME_COLUMNS if name in names), None)
        if time_name is None or VALUE_COLUMN not in names:
            raise UsageError(
                f"{path}: the first line needs the columns timestamp (or time) and value, and may have series; it has "
                f"{', '.join(header) or 'nothing'}"
            )
        self._time = names.index(time_name)
        self._value = names.index(VALUE_COLUMN)
        self._series = names.index(SERIES_COLUMN) if SERIES_COLUMN in names else None
        self._width = max(self._time, self._value, self._series or 0) + 1
        self._name = series_of(path)

    def batch(self, rows: list[list[str]], topic: str, start: int, position_bytes: int) -> CsvRows:
        """Turn rows into records; short rows have empty cells."""
        for row in rows:
            if len(row) < self._width:
                row.extend([""] * (self._width - len(row)))
        times = [row[self._time] for row in rows]
        values = [row[self._value] for row in rows]
        series = [self._name] * len(rows) if self._series is None else [row[self._series] for row in rows]
        return CsvRows(_as_batch(topic, start, _records(series, times, values)), series, times, values, position_bytes)


def _records(series: Sequence[str], times: Sequence[str], values: Sequence[str]) -> Sequence[bytes]:
    """Write each row as JSON. Names and times repeat, so each is escaped once; escaped text holds no newline."""
    names = {name: _json(name) for name in set(series)}
    moments = {moment: _json(moment) for moment in set(times)}
    lines = [
        f'{{"name":{names[name]},"time":{moments[moment]},"value":{value}}}'
        for name, moment, value in zip(series, times, _numbers(values), strict=True)
    ]
    return "\n".join(lines).encode().split(b"\n")


def _json(value: str | float) -> str:
    return orjson.dumps(value).decode()


def _numbers(cells: Sequence[str]) -> Sequence[str]:
    """Write each cell as a JSON number where it is a finite one; anything else stays text, for the decoder to judge."""
    try:
        column = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return list(map(_number, cells))
    # Python's digit separators are no notation of data files, and JSON has finite numbers only.
    if not np.isfinite(column).all() or any("_" in cell for cell in cells):
        return list(map(_number, cells))
    return orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode().split(",")


def _number(cell: str) -> str:
    try:
        number = float(cell)
    except ValueError:
        return _json(cell)
    return _json(number if isfinite(number) and "_" not in cell else cell)


def jsonl_batches(files: Sequence[Path], topic: str, records_max: int, line_bytes_max: int) -> Iterator[JsonLines]:
    """Read ``files`` one after the other as partition 0 of ``topic``; blank lines are no records.

    A line longer than ``line_bytes_max`` is cut there, one byte too long, so that the decoder rejects it as too large.
    Raises ``UsageError`` where a file cannot be read.
    """
    start = 0
    for path in files:
        try:
            with _open(path) as (raw, stream):
                lines = _lines(stream, line_bytes_max)
                while chunk := list(islice(lines, records_max)):
                    yield JsonLines(_as_batch(topic, start, chunk), path, raw.tell())
                    start += len(chunk)
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{path}: cannot be read: {error}") from error


def _lines(stream: BinaryIO, line_bytes_max: int) -> Iterator[bytes]:
    limit = line_bytes_max + 2  # one byte too long, and the newline
    while line := stream.readline(limit):
        if not line.endswith(b"\n") and len(line) == limit:
            _skip_line(stream, limit)
        record = line.rstrip(b"\r\n")
        if record.strip(BLANKS):
            yield record


def _skip_line(stream: BinaryIO, limit: int) -> None:
    while (rest := stream.readline(limit)) and not rest.endswith(b"\n"):
        pass


def _as_batch(topic: str, start: int, values: Sequence[bytes]) -> RecordBatch:
    count = len(values)
    return RecordBatch(
        topic=topic,
        partition=0,
        offsets=np.arange(start, start + count, dtype=np.int64),
        timestamps_ms=np.full(count, TIMESTAMP_UNKNOWN, dtype=np.int64),
        values=values,
    )


@contextmanager
def _open(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Give the file on disk, for its position, and the stream of its content."""
    with path.open("rb") as raw:
        if path.name.endswith(".gz"):
            with io.BufferedReader(gzip.GzipFile(fileobj=raw)) as stream:
                yield raw, stream
        else:
            yield raw, raw
