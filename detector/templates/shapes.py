"""Level 1: normal forms that have been seen, and the templates they led to.

One table of columns, searched and filled by compiled loops: a line whose normal form is known costs no object. It holds
nothing that cannot be found again, so a full one is emptied, and what is in use is back with the next lines.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import IntArray
from detector.compiled import WORD_BYTES, compiled
from detector.templates.letters import Words
from detector.templates.normal import Normal

ENTRIES_START: Final = 64
"""A power of two."""
WORDS_START: Final = 512
LOAD_INVERSE: Final = 2
"""Places per entry: half of the table stays free, so that a search is short."""

ENTRY: Final = np.dtype(
    [
        ("hash", np.uint64),
        ("stamp", np.int64),
        ("start", np.int64),
        ("size", np.int32),
        ("number", np.int32),
        ("leaf", np.int32),
    ],
    align=True,
)
"""One normal form: ``start`` in words of the arena, ``size`` in bytes; ``number`` 0 is a free place."""


class ShapeTable:
    """At most ``entries_max`` normal forms of ``bytes_max`` bytes together."""

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self._entries_max: Final = entries_max
        self._words_max: Final = max(1, bytes_max // WORD_BYTES)
        self.cleared_count = 0
        self.clear()

    def __len__(self) -> int:
        return self._count

    def clear(self) -> None:
        """Forget everything."""
        self._entries: NDArray[np.void] = np.zeros(LOAD_INVERSE * ENTRIES_START, ENTRY)
        self._arena: Words = np.empty(WORDS_START, np.uint64)
        self._count = 0
        self._used = 0

    def walk(
        self, forms: Normal, row: int, stamps: IntArray, records: NDArray[np.void], epochs: IntArray, numbers: IntArray
    ) -> int:
        """Take lines from ``row`` on while their normal forms are known; gives the row that it stopped before.

        A template found is written to ``numbers``, counted in ``records``, and seen in the row's epoch. It stops, too,
        where the template's kept digits are to be compared.
        """
        return int(
            _walk(
                forms.words,
                forms.starts,
                forms.sizes,
                forms.hashes,
                row,
                self._entries,
                self._arena,
                stamps,
                records,
                epochs,
                numbers,
            )
        )

    def remember(self, forms: Normal, row: int, number: int, leaf: int, stamp: int) -> None:
        """The form of ``row`` leads to ``number`` as long as the leaf's stamp is ``stamp``."""
        words = (int(forms.sizes[row]) + WORD_BYTES - 1) // WORD_BYTES
        if words > self._words_max:
            return
        if self._count >= self._entries_max or self._used + words > self._words_max:
            self.clear()
            self.cleared_count += 1
        if LOAD_INVERSE * (self._count + 1) > len(self._entries):
            grown = np.zeros(2 * len(self._entries), ENTRY)
            _rehash(self._entries, grown)
            self._entries = grown
        if self._used + words > len(self._arena):
            arena = np.empty(max(2 * len(self._arena), self._used + words), np.uint64)
            arena[: self._used] = self._arena[: self._used]
            self._arena = arena
        new = _put(
            forms.words,
            int(forms.starts[row]),
            int(forms.sizes[row]),
            forms.hashes[row],
            self._entries,
            self._arena,
            self._used,
            number,
            leaf,
            stamp,
        )
        if new:
            self._count += 1
            self._used += words


@compiled
def _place(
    words: Words, start: int, size: int, digest: np.uint64, entries: NDArray[np.void], arena: Words
) -> tuple[int, bool]:
    """Where the form that begins at byte ``start`` of ``words`` is in the table, or the free place for it."""
    mask = len(entries) - 1
    place = int(np.int64(digest & np.uint64(mask)))
    count = (size + WORD_BYTES - 1) // WORD_BYTES
    first = start // WORD_BYTES
    while entries[place]["number"] != 0:
        entry = entries[place]
        if entry["hash"] == digest and entry["size"] == size:
            at = int(entry["start"])
            same = 0
            while same < count and arena[at + same] == words[first + same]:
                same += 1
            if same == count:
                return place, True
        place = (place + 1) & mask
    return place, False


@compiled
def _walk(
    words: Words,
    starts: IntArray,
    sizes: IntArray,
    hashes: Words,
    row: int,
    entries: NDArray[np.void],
    arena: Words,
    stamps: IntArray,
    records: NDArray[np.void],
    epochs: IntArray,
    numbers: IntArray,
) -> int:
    """See :meth:`ShapeTable.walk`."""
    while row < len(numbers):
        place, found = _place(words, starts[row], sizes[row], hashes[row], entries, arena)
        if not found:
            break
        entry = entries[place]
        if stamps[entry["leaf"]] != entry["stamp"]:
            break
        record = records[entry["number"]]
        if record["count"] + 1 >= record["check"]:
            break
        record["count"] += 1
        record["last"] = epochs[row]
        numbers[row] = entry["number"]
        row += 1
    return row


@compiled
def _put(
    words: Words,
    start: int,
    size: int,
    digest: np.uint64,
    entries: NDArray[np.void],
    arena: Words,
    used: int,
    number: int,
    leaf: int,
    stamp: int,
) -> bool:
    """Write an entry for a form; false if the form had one, which is written over."""
    place, found = _place(words, start, size, digest, entries, arena)
    entry = entries[place]
    if not found:
        for word in range((size + WORD_BYTES - 1) // WORD_BYTES):
            arena[used + word] = words[start // WORD_BYTES + word]
        entry["hash"] = digest
        entry["start"] = used
        entry["size"] = size
    entry["number"] = number
    entry["leaf"] = leaf
    entry["stamp"] = stamp
    return not found


@compiled
def _rehash(entries: NDArray[np.void], grown: NDArray[np.void]) -> None:
    """Bring the entries into a larger table."""
    mask = len(grown) - 1
    for index in range(len(entries)):
        if entries[index]["number"] != 0:
            place = int(np.int64(entries[index]["hash"] & np.uint64(mask)))
            while grown[place]["number"] != 0:
                place = (place + 1) & mask
            grown[place] = entries[index]
