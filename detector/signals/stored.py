"""Signals as columns, for snapshots: those of many services side by side.

Version 1. Of the templates in use ``rows.*``, one column per field of ``SERIES``, and ``numbers`` int32; ``whole.*``
the same of each service's lines, ``service.*`` by ``SERVICE``, ``rates.*`` by ``RATE``, nine of each service. Of open
windows ``window_starts`` int64[w] and ``window_classes`` int64[w, 7], and of the templates with lines in them
``open_numbers`` int32, ``open_lines`` uint32, ``open_severities`` int8. ``shape`` int64[services, 2]: templates and
open windows of each; ``open_counts`` int64[w]: templates with lines.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.batches import IntArray
from detector.columns import Columns, fields_of, prefixed, taken
from detector.errors import SnapshotRefusedError
from detector.signals.records import CLASSES, LEVELS, RATE, SERIES, SERVICE

VERSION: Final = 1
RATES: Final = CLASSES + LEVELS


class KeptWindow(NamedTuple):
    """A copy of one open window: its templates with lines, and its lines by class and all together, int64[7]."""

    window_ms: int
    numbers: NDArray[np.int32]
    lines: NDArray[np.uint32]
    severities: NDArray[np.int8]
    classes: IntArray


class KeptSignals(NamedTuple):
    """A copy of one service's signals: ``rows`` SERIES[t] of templates in use, and SERVICE[1], RATE[9], SERIES[1]."""

    numbers: NDArray[np.int32]
    rows: NDArray[np.void]
    service: NDArray[np.void]
    rates: NDArray[np.void]
    whole: NDArray[np.void]
    windows: list[KeptWindow]


def kept_window(
    window_ms: int, lines: NDArray[np.uint32], severities: NDArray[np.int8], classes: IntArray
) -> KeptWindow:
    """Copy an open window."""
    numbers = np.flatnonzero(lines).astype(np.int32)
    return KeptWindow(window_ms, numbers, lines[numbers], severities[numbers], classes.copy())


def laid_out(services: Sequence[KeptSignals]) -> dict[str, NDArray[Any]]:
    """Columns of these services, in their order."""
    windows = [window for each in services for window in each.windows]
    return {
        "version": np.array([VERSION], np.int64),
        "shape": np.array([(len(each.numbers), len(each.windows)) for each in services], np.int64).reshape(-1, 2),
        "numbers": _joined([each.numbers for each in services], np.dtype(np.int32)),
        **prefixed("rows", fields_of(_joined([each.rows for each in services], SERIES))),
        **prefixed("service", fields_of(_joined([each.service for each in services], SERVICE))),
        **prefixed("rates", fields_of(_joined([each.rates for each in services], RATE))),
        **prefixed("whole", fields_of(_joined([each.whole for each in services], SERIES))),
        "window_starts": np.array([window.window_ms for window in windows], np.int64),
        "window_classes": np.array([window.classes for window in windows], np.int64).reshape(-1, CLASSES + 1),
        "open_counts": np.array([len(window.numbers) for window in windows], np.int64),
        "open_numbers": _joined([window.numbers for window in windows], np.dtype(np.int32)),
        "open_lines": _joined([window.lines for window in windows], np.dtype(np.uint32)),
        "open_severities": _joined([window.severities for window in windows], np.dtype(np.int8)),
    }


def _joined(parts: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *parts], dtype=dtype)


def taken_apart(columns: Columns) -> list[KeptSignals]:
    """Undo :func:`laid_out`. Raises ``SnapshotRefusedError`` for columns that it did not make."""
    if taken(columns, "version", np.dtype(np.int64), (1,))[0] != VERSION:
        raise SnapshotRefusedError(f"the snapshot's signals have a version other than {VERSION}")
    shape = _counts(columns, "shape", 2)
    services = len(shape)
    templates, open_windows = (int(total) for total in shape.sum(axis=0))
    open_counts = _counts(columns, "open_counts", 0)
    if len(open_counts) != open_windows:
        raise SnapshotRefusedError(
            f"the snapshot has {len(open_counts)} open windows of signals, expected {open_windows}"
        )
    lines = int(open_counts.sum())
    numbers = _numbers(columns, "numbers", templates)
    rows, service, rates, whole = (
        _records(columns, name, dtype, count)
        for name, dtype, count in (
            ("rows", SERIES, templates),
            ("service", SERVICE, services),
            ("rates", RATE, services * RATES),
            ("whole", SERIES, services),
        )
    )
    starts = taken(columns, "window_starts", np.dtype(np.int64), (open_windows,))
    classes = taken(columns, "window_classes", np.dtype(np.int64), (open_windows, CLASSES + 1))
    open_numbers = _numbers(columns, "open_numbers", lines)
    open_lines = taken(columns, "open_lines", np.dtype(np.uint32), (lines,))
    severities = taken(columns, "open_severities", np.dtype(np.int8), (lines,))
    if severities.min(initial=0) < 0 or severities.max(initial=0) >= CLASSES or classes.min(initial=0) < 0:
        raise SnapshotRefusedError("the snapshot's open windows have severities that are no class")
    stops = np.cumsum(open_counts).tolist()
    windows = [
        KeptWindow(
            int(starts[k]),
            open_numbers[stop - count : stop],
            open_lines[stop - count : stop],
            severities[stop - count : stop],
            classes[k],
        )
        for k, (stop, count) in enumerate(zip(stops, open_counts.tolist(), strict=True))
    ]
    found, row, window = [], 0, 0
    for k, (count, opened) in enumerate(shape.tolist()):
        found.append(
            KeptSignals(
                numbers[row : row + count],
                rows[row : row + count],
                service[k : k + 1],
                rates[k * RATES : (k + 1) * RATES],
                whole[k : k + 1],
                windows[window : window + opened],
            )
        )
        row, window = row + count, window + opened
    return found


def _counts(columns: Columns, name: str, width: int) -> IntArray:
    """A column of counts of any length: none is negative, and together they are no more than memory has rows."""
    if name not in columns or not columns[name].ndim:
        raise SnapshotRefusedError(f"the snapshot lacks the column {name}")
    length = len(columns[name])
    column = taken(columns, name, np.dtype(np.int64), (length, width) if width else (length,))
    if column.min(initial=0) < 0:
        raise SnapshotRefusedError(f"the snapshot's column {name} has negative counts")
    return column


def _numbers(columns: Columns, name: str, length: int) -> NDArray[np.int32]:
    """A column of templates' numbers."""
    column = taken(columns, name, np.dtype(np.int32), (length,))
    if column.min(initial=0) < 0:
        raise SnapshotRefusedError(f"the snapshot's column {name} has negative numbers")
    return column


def _records(columns: Columns, prefix: str, dtype: np.dtype[Any], count: int) -> NDArray[np.void]:
    """Records of their fields' columns, ``prefix.field``."""
    assert dtype.names is not None
    records = np.zeros(count, dtype)
    for name in dtype.names:
        field = dtype[name]
        records[name] = taken(columns, f"{prefix}.{name}", field.base, (count, *field.shape))
    return records
