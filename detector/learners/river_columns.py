"""Objects of river as columns of a snapshot: their bytes one after another, and the length of each.

====================  =====  ==========================================================
``river.version``     |u1    name and version of river, UTF-8
``river.lengths``     <i8    bytes of each series' object; 0 where it was left out
``river.objects``     |u1    the objects, in the order of the series
====================  =====  ==========================================================
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import LeftOut
from detector.columns import Columns, taken
from detector.errors import SnapshotRefusedError
from detector.learners.river_pickle import RIVER_VERSION, dumps, loads

VERSION: Final = "river.version"
LENGTHS: Final = "river.lengths"
OBJECTS: Final = "river.objects"


def columns_of(objects: Iterable[object | None], bytes_max: int) -> tuple[dict[str, NDArray[Any]], list[LeftOut]]:
    """Columns of these objects, in order; what does not fit into ``bytes_max`` or cannot be written is left out.

    Once the limit is reached nothing more is written, so that it bounds the time, too.
    """
    pieces: list[bytes] = []
    left_out: Counter[str] = Counter()
    room = bytes_max
    for each in objects:
        piece = b""
        if each is not None and room > 0:
            written = dumps(each)
            if written is None:
                left_out["not_picklable"] += 1
            elif len(written) > room:
                left_out["size_limit"] += 1
                room = 0
            else:
                piece, room = written, room - len(written)
        elif each is not None:
            left_out["size_limit"] += 1
        pieces.append(piece)
    columns: dict[str, NDArray[Any]] = {
        VERSION: np.frombuffer(RIVER_VERSION.encode(), np.uint8),
        LENGTHS: np.array([len(piece) for piece in pieces], dtype=np.int64),
        OBJECTS: np.frombuffer(b"".join(pieces), np.uint8),
    }
    details = {
        "size_limit": f"models of river beyond {bytes_max} bytes are not in the snapshot: see state.river_bytes_max",
        "not_picklable": "models of river that hold what snapshots may not hold are not in the snapshot",
    }
    return columns, [LeftOut(reason, count, details[reason]) for reason, count in left_out.items()]


def objects_of(columns: Columns, count: int, bytes_max: int) -> tuple[list[object | None], list[LeftOut]]:
    """``count`` objects from what :func:`columns_of` gave, None for each that is not there.

    Nothing is read for ``bytes_max`` 0, nor beyond ``bytes_max`` bytes. Raises ``SnapshotRefusedError`` for columns
    that do not fit together, for objects that may not be read, and where there are some and ``bytes_max`` is 0.
    """
    nothing: list[object | None] = [None] * count
    if VERSION not in columns:
        detail = "the snapshot holds no models of river: it was written with state.river_objects: false"
        return nothing, [LeftOut("not_stored", count, detail)] if count else []
    lengths = taken(columns, LENGTHS, np.dtype(np.int64), (count,))
    stored = int(np.count_nonzero(lengths))
    if stored and not bytes_max:
        raise SnapshotRefusedError(
            "the snapshot holds objects of river: set state.river_objects: true to read them, "
            "or begin anew without any of its models with `detector state reset … --forget`"
        )
    version = taken(columns, VERSION, np.dtype(np.uint8), columns[VERSION].shape).tobytes().decode("utf-8", "replace")
    if (lengths < 0).any():
        raise SnapshotRefusedError("the snapshot's column river.lengths holds a negative length")
    data = taken(columns, OBJECTS, np.dtype(np.uint8), (int(lengths.sum()),)).tobytes()
    if version != RIVER_VERSION:
        detail = f"the snapshot's models are of {version}, this is {RIVER_VERSION}"
        return nothing, [LeftOut("river_version", stored, detail)] if stored else []
    objects: list[object | None] = []
    beyond, at = 0, 0
    for length in lengths.tolist():
        piece, at = data[at : at + length], at + length
        beyond += bool(piece) and at > bytes_max
        objects.append(loads(piece) if piece and at <= bytes_max else None)
    detail = f"models of river beyond {bytes_max} bytes were not read: see state.river_bytes_max"
    return objects, [LeftOut("size_limit", beyond, detail)] if beyond else []
