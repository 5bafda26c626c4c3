"""Structured rows as named columns and back, for snapshots.

A structured array keeps one record per series, which suits the kernels; a snapshot keeps one column per field, which
compresses and can be read without knowing the record.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.errors import SnapshotRefusedError

Columns = Mapping[str, NDArray[Any]]
"""Named columns of equal or different lengths; what they mean is for their owner to know."""

Deferred = Callable[[], Columns]
"""Columns of a state that was copied: what they cost to lay out is paid when they are asked for, elsewhere."""

NO_FIELDS: Final[Mapping[str, float]] = {}


def fields_of(rows: NDArray[np.void]) -> dict[str, NDArray[Any]]:
    """One new column per field of ``rows``, shape (len(rows), *field shape)."""
    assert rows.dtype.names is not None
    return {name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names}


def gathered(rows: NDArray[np.void], slots: NDArray[np.int64]) -> NDArray[np.void]:
    """A copy of ``rows[slots]``, record by record as bytes: NumPy's own way copies field by field, ten times slower."""
    blocks = np.ascontiguousarray(rows).view(f"V{rows.dtype.itemsize}")
    return blocks[slots].view(rows.dtype)


def scattered(rows: NDArray[np.void], slots: NDArray[np.int64], records: NDArray[np.void]) -> None:
    """``rows[slots] = records``, as bytes, in place."""
    blocks = rows.view(f"V{rows.dtype.itemsize}")
    blocks[slots] = records.view(blocks.dtype)


def rows_of(
    columns: Columns, dtype: np.dtype[np.void], count: int, later: Mapping[str, float] = NO_FIELDS
) -> NDArray[np.void]:
    """``count`` records of ``dtype`` from one column per field.

    ``later`` names the fields that older snapshots lack, each with the value that it then has. Raises
    ``SnapshotRefusedError`` when another column is missing, or any has another type or shape than its field.
    """
    assert dtype.names is not None
    rows = np.zeros(count, dtype)
    for name in dtype.names:
        if name in later and name not in columns:
            rows[name] = later[name]
        else:
            rows[name] = taken(columns, name, rows[name].dtype, rows[name].shape)
    return rows


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
