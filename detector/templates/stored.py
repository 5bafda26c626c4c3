"""Miners as columns, for snapshots: the templates of many services side by side.

Version 1. ``texts`` uint8[]: of each template its tokens, joined by blanks, and a line feed; ``numbers``,
``stands_for`` int32[templates], ``counts`` int64[templates], ``first``, ``last`` int32[templates]; ``shared``
bool[templates], those in the leaf of many first words; ``renamed`` int32[r], rows whose id does not follow from their
tokens any more, because the template has grown or was merged, and ``ids`` uint64[r]; ``miners`` int64[miners,
len(FIELDS)]. Caches are left out: they are found again.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.columns import Columns, taken
from detector.errors import SnapshotRefusedError
from detector.templates.breaker import STATE_FIELDS
from detector.templates.forest import Forest

VERSION: Final = 1
FIELDS: Final = ("templates", "lines", "other", "cut", "created", "merged", "evicted", *STATE_FIELDS)
"""Columns of ``miners``, one row each."""
TEMPLATE_COLUMNS: Final[dict[str, np.dtype[Any]]] = {
    "numbers": np.dtype(np.int32),
    "stands_for": np.dtype(np.int32),
    "counts": np.dtype(np.int64),
    "first": np.dtype(np.int32),
    "last": np.dtype(np.int32),
    "shared": np.dtype(np.bool_),
}


class KeptMiner(NamedTuple):
    """A copy of one miner's state: columns of its templates by ``TEMPLATE_COLUMNS``, and one row of ``miners``."""

    texts: list[bytes]
    templates: dict[str, NDArray[Any]]
    ids: list[int]
    renamed: list[int]
    fields: tuple[int, ...]


def kept(forest: Forest, fields: tuple[int, ...]) -> KeptMiner:
    """Copy a forest; ``fields`` are all of ``FIELDS`` but the first."""
    numbers = forest.live()
    texts = [b" ".join(forest.shown[number]) for number in numbers.tolist()]
    renamed = [row for row, number in enumerate(numbers.tolist()) if number in forest.renamed]
    ids = [forest.ids[numbers[row]] for row in renamed]
    records = forest.records[numbers]
    templates = {
        "numbers": numbers,
        "stands_for": records["stands_for"],
        "counts": records["count"],
        "first": records["first"],
        "last": records["last"],
        "shared": np.array([forest.is_shared(number) for number in numbers.tolist()], np.bool_),
    }
    return KeptMiner(texts, templates, ids, renamed, (len(texts), *fields))


def laid_out(miners: Sequence[KeptMiner]) -> dict[str, NDArray[Any]]:
    """Columns of these miners, in their order."""
    starts = np.cumsum([0, *(len(miner.texts) for miner in miners)]).tolist()
    texts = b"".join(text + b"\n" for miner in miners for text in miner.texts)
    return {
        "version": np.array([VERSION], np.int64),
        "texts": np.frombuffer(texts, np.uint8),
        **{
            name: np.concatenate([np.empty(0, dtype), *(miner.templates[name] for miner in miners)], dtype=dtype)
            for name, dtype in TEMPLATE_COLUMNS.items()
        },
        "renamed": np.array(
            [row + start for miner, start in zip(miners, starts, strict=False) for row in miner.renamed], np.int32
        ),
        "ids": np.array([each for miner in miners for each in miner.ids], np.uint64),
        "miners": np.array([miner.fields for miner in miners], np.int64).reshape(len(miners), len(FIELDS)),
    }


def taken_apart(columns: Columns) -> list[KeptMiner]:
    """Undo :func:`laid_out`. Raises ``SnapshotRefusedError`` for columns that it did not make."""
    if taken(columns, "version", np.dtype(np.int64), (1,))[0] != VERSION:
        raise SnapshotRefusedError(f"the snapshot's templates have a version other than {VERSION}")
    miners = taken(columns, "miners", np.dtype(np.int64), (_length(columns, "miners"), len(FIELDS)))
    texts = taken(columns, "texts", np.dtype(np.uint8), (_length(columns, "texts"),)).tobytes().split(b"\n")
    count = len(texts) - 1
    if texts.pop() or miners.min(initial=0) < 0 or miners[:, 0].sum() != count:
        raise SnapshotRefusedError(f"the snapshot's {count} templates are not those of its {len(miners)} miners")
    templates = {name: taken(columns, name, dtype, (count,)) for name, dtype in TEMPLATE_COLUMNS.items()}
    if any(column.min(initial=0) < 0 for column in templates.values() if column.dtype != np.bool_):
        raise SnapshotRefusedError("the snapshot has templates with negative numbers")
    ids = taken(columns, "ids", np.dtype(np.uint64), (_length(columns, "ids"),))
    renamed = taken(columns, "renamed", np.dtype(np.int32), ids.shape)
    if renamed.min(initial=0) < 0 or renamed.max(initial=-1) >= count:
        raise SnapshotRefusedError("the snapshot has ids of templates that are not there")
    found, start = [], 0
    for fields in miners.tolist():
        stop = start + fields[0]
        own = (renamed >= start) & (renamed < stop)
        part = {name: column[start:stop] for name, column in templates.items()}
        found.append(
            KeptMiner(texts[start:stop], part, ids[own].tolist(), (renamed[own] - start).tolist(), tuple(fields))
        )
        start = stop
    return found


def _length(columns: Columns, name: str) -> int:
    """Length of a column, which may have any; raises ``SnapshotRefusedError`` where it is missing."""
    if name not in columns or not columns[name].ndim:
        raise SnapshotRefusedError(f"the snapshot lacks the column {name}")
    return len(columns[name])


def grow_from(forest: Forest, miner: KeptMiner) -> None:
    """Fill a new forest. Raises ``SnapshotRefusedError`` for templates that do not fit together or into its limits."""
    numbers, stands_for = miner.templates["numbers"], miner.templates["stands_for"]
    own = numbers[stands_for == numbers]
    limit = forest.limits.templates
    fits = len(np.unique(numbers)) == len(numbers) and numbers.min(initial=1) > 0 and numbers.max(initial=0) <= limit
    if not fits or not np.isin(stands_for, own).all():
        raise SnapshotRefusedError(f"the snapshot's {len(numbers)} templates do not fit a miner of {limit}")
    ids = dict(zip(miner.renamed, miner.ids, strict=True))
    columns = [miner.templates[name].tolist() for name in TEMPLATE_COLUMNS]
    for row, (number, base, count, first, last, shared) in enumerate(zip(*columns, strict=True)):
        shown = miner.texts[row].split(b" ") if miner.texts[row] else []
        if len(shown) > forest.limits.tokens:
            raise SnapshotRefusedError(f"the snapshot has a template of {len(shown)} tokens")
        forest.adopt(number, base, shown, ids.get(row), count=count, epochs=(first, last), shared=shared)
    forest.count_free()
