"""Recorded files as a partition's records, for a worker that learns from them before it reads the partition itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np

from detector.batches import RecordBatch
from detector.errors import UsageError
from detector.io.files import csv_batches, find_files, jsonl_batches
from detector.ports import RecordedBatch, TopicPartition


class Recording:
    """CSV or JSONL files, the ones that ``detector replay`` reads; every call of :meth:`batches` reads them anew.

    ``ahead_max_ms`` is the decoder's limit of how far samples may lie past their record's broker timestamp. Raises
    ``UsageError`` for a path without such files, and for files of both kinds, since their records are laid out
    differently.
    """

    def __init__(self, path: Path, *, records_max: int, line_bytes_max: int, ahead_max_ms: int) -> None:
        self._csv_files, self._jsonl_files = find_files([path])
        if self._csv_files and self._jsonl_files:
            raise UsageError(f"{path}: holds CSV and JSONL files; models can learn from one kind at a time")
        self._sizes = {file: file.stat().st_size for file in (*self._csv_files, *self._jsonl_files)}
        self._records_max = records_max
        self._line_bytes_max = line_bytes_max
        self._ahead_max_ms = ahead_max_ms

    @property
    def layout(self) -> Literal["configured", "plain"]:
        """How the records are laid out: as the settings say, or, made of rows, plainly as this package writes them."""
        return "plain" if self._csv_files else "configured"

    def batches(self, place: TopicPartition, until_ms: int) -> Iterator[RecordedBatch]:
        """Every record, stamped so that the decoder refuses the samples at and after ``until_ms`` as too far ahead.

        What comes later is in the partition. Raises ``UsageError`` where a file cannot be read.
        """
        stamp_ms: Final = max(0, until_ms - 1 - self._ahead_max_ms)
        begin = 0
        for values, share in self._values():
            offsets = np.arange(begin, begin + len(values), dtype=np.int64)
            stamps = np.full(len(values), stamp_ms, dtype=np.int64)
            yield RecordedBatch(RecordBatch(*place, offsets, stamps, values.values), share)
            begin += len(values)

    def _values(self) -> Iterator[tuple[RecordBatch, float]]:
        whole, before = max(1, sum(self._sizes.values())), 0
        for path in self._csv_files:
            for rows in csv_batches(path, str(path), self._records_max):
                yield rows.records, min(1.0, (before + rows.position_bytes) / whole)
            before += self._sizes[path]
        for path in self._jsonl_files:
            for lines in jsonl_batches([path], str(path), self._records_max, self._line_bytes_max):
                yield lines.records, min(1.0, (before + lines.position_bytes) / whole)
            before += self._sizes[path]
