"""Structured rows as named columns and back, for snapshots.

A structured array keeps one record per series, which suits the kernels; a snapshot keeps one column per field, which
compresses and can be read without knowing the record.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from detector.errors import SnapshotRefusedError

Columns = Mapping[str, NDArray[Any]]
"""Named columns of equal or different lengths; what they mean is for their owner to know."""

Deferred = Callable[[], Columns]
"""Columns of a state that was copied: what they cost to lay out is paid when they are asked for, elsewhere."""

NO_FIELDS: Final[Mapping[str, float]] = {}


WINDOW_ROWS: Final = 4096
"""Records turned into columns or back at once: a few megabytes, which stay in the processor's cache meanwhile."""


class PartialCopy(Protocol):
    """A copy of one room's state, taken position by position while the state goes on changing.

    Position i stands for the i-th of the slots that the copy was begun with. Whoever drives the copy takes a position
    before the state behind it changes, so the finished copy is of the moment at which it was begun.
    """

    def take(self, positions: NDArray[np.int64]) -> None:
        """Copy what is behind these positions now; one may come twice if nothing has changed in between."""

    def columns(self) -> Columns:
        """The state, laid out, once every position was taken; may be asked for in another thread."""


class WholeCopy:
    """A copy that was taken at once, because it is small or cannot be had in parts."""

    def __init__(self, columns: Deferred) -> None:
        self._columns = columns

    def take(self, positions: NDArray[np.int64]) -> None:
        """Nothing: all of it is there."""

    def columns(self) -> Columns:
        """What it was made of."""
        return self._columns()


class RecordsCopy:
    """A copy of the records at ``slots`` of a structured array, which ``rows`` gives as it is now: it may grow."""

    def __init__(self, rows: Callable[[], NDArray[np.void]], slots: NDArray[np.int64]) -> None:
        self._rows = rows
        self._slots = slots
        self._records = np.empty(len(slots), rows().dtype)

    def take(self, positions: NDArray[np.int64]) -> None:
        """Copy the records of these positions."""
        _blocks(self._records)[positions] = _blocks(self._rows())[self._slots[positions]]

    def columns(self) -> Columns:
        """One column per field."""
        return fields_of(self._records)


class JointCopy:
    """Two copies of the same slots in one: the columns of the second stand under a name."""

    def __init__(self, first: PartialCopy, name: str, second: PartialCopy) -> None:
        self._first, self._name, self._second = first, name, second

    def take(self, positions: NDArray[np.int64]) -> None:
        """Copy both."""
        self._first.take(positions)
        self._second.take(positions)

    def columns(self) -> Columns:
        """The columns of both."""
        return {**self._first.columns(), **prefixed(self._name, self._second.columns())}


def fields_of(rows: NDArray[np.void]) -> dict[str, NDArray[Any]]:
    """One new column per field of ``rows``, shape (len(rows), *field shape)."""
    assert rows.dtype.names is not None
    columns = {name: np.empty(rows[name].shape, rows[name].dtype) for name in rows.dtype.names}
    for start in range(0, len(rows), WINDOW_ROWS):
        window = rows[start : start + WINDOW_ROWS]
        for name, column in columns.items():
            column[start : start + WINDOW_ROWS] = window[name]
    return columns


def put_fields(
    rows: NDArray[np.void], slots: NDArray[np.int64], columns: Columns, later: Mapping[str, float] = NO_FIELDS
) -> None:
    """``rows[slots]`` become the records that :func:`fields_of` made into ``columns``, in place.

    ``later`` names the fields that older snapshots lack, each with the value that it then has. Raises
    ``SnapshotRefusedError`` when another column is missing, or any has another type or shape than its field.
    """
    assert rows.dtype.names is not None
    window = np.zeros(min(WINDOW_ROWS, len(slots)), rows.dtype)
    fields: dict[str, NDArray[Any]] = {}
    for name in rows.dtype.names:
        if name in later and name not in columns:
            window[name] = later[name]
        else:
            fields[name] = taken(columns, name, window[name].dtype, (len(slots), *window[name].shape[1:]))
    for start in range(0, len(slots), WINDOW_ROWS):
        part = slots[start : start + WINDOW_ROWS]
        for name, column in fields.items():
            window[name][: len(part)] = column[start : start + len(part)]
        _blocks(rows)[part] = _blocks(window[: len(part)])


def grown(rows: NDArray[np.void], capacity: int, blank: NDArray[np.void]) -> NDArray[np.void]:
    """A longer array with the same records first and ``blank``, one record, in the rest."""
    assert capacity >= len(rows)
    longer = np.empty(capacity, rows.dtype)
    _blocks(longer)[: len(rows)] = _blocks(rows)
    _blocks(longer)[len(rows) :] = _blocks(blank)
    return longer


def _blocks(rows: NDArray[np.void]) -> NDArray[np.void]:
    """The same records as plain bytes: of named fields NumPy copies each by itself, ten times slower."""
    return rows.view(f"V{rows.dtype.itemsize}")


def taken(columns: Columns, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The column ``name``, which must have this type and shape; raises ``SnapshotRefusedError`` otherwise."""
    column = columns.get(name)
    if column is None:
        raise SnapshotRefusedError(f"the snapshot lacks the column {name}")
    if column.dtype != dtype or column.shape != shape:
        found = f"{column.dtype.str}{list(column.shape)}"
        raise SnapshotRefusedError(f"the snapshot's column {name} is {found}, expected {dtype.str}{list(shape)}")
    return column


def prefixed(prefix: str, columns: Columns) -> dict[str, NDArray[Any]]:
    """The same columns under ``prefix.name``."""
    return {f"{prefix}.{name}": column for name, column in columns.items()}


def under(prefix: str, columns: Columns) -> dict[str, NDArray[Any]]:
    """The columns under ``prefix``, by their names without it: undoes :func:`prefixed`."""
    start = f"{prefix}."
    return {name.removeprefix(start): column for name, column in columns.items() if name.startswith(start)}
