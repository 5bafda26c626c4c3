"""A leaf: templates of one length and first word, arranged so that most need not be looked at."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from detector.batches import IntArray
from detector.templates import tokens as tk

SIMILARITY: Final = 0.8
"""Share of its tokens that a line must have in common with a template for it to grow."""
LOOKED_AT_ALL: Final = 3
"""Up to so many templates are compared one by one sooner than all at once."""

Key = tuple[int, bytes]
"""Length, and first word, or ``WILD`` in the leaf that lines with other first words share."""


@dataclass(slots=True)
class Leaf:
    """Templates of one length and first word, side by side; ``row`` is the leaf's place in ``Forest.stamps``.

    ``hashes`` int64[capacity, length]: of each token, which tell apart what need not be looked at; ``wilds``
    int64[capacity]: tokens of each template that hold a value.
    """

    key: Key
    row: int
    numbers: list[int] = field(default_factory=list)
    hashes: IntArray = field(default_factory=lambda: np.empty((0, 0), np.int64))
    wilds: IntArray = field(default_factory=lambda: np.empty(0, np.int64))

    def put(self, place: int, tokens: list[bytes]) -> None:
        """Note what the template at ``place`` looks like."""
        if place >= len(self.wilds):
            more = max(4, 2 * len(self.wilds))
            hashes, wilds = np.empty((more, self.key[0]), np.int64), np.empty(more, np.int64)
            if place:
                hashes[:place], wilds[:place] = self.hashes[:place], self.wilds[:place]
            self.hashes, self.wilds = hashes, wilds
        self.hashes[place] = list(map(hash, tokens))
        self.wilds[place] = sum(tk.W in token for token in tokens)

    def candidates(self, line: list[bytes]) -> list[int]:
        """Templates that may be similar enough to the line, or cover it, and some others."""
        count = len(self.numbers)
        if count <= LOOKED_AT_ALL:
            return self.numbers
        same = (self.hashes[:count] == np.array(list(map(hash, line)), np.int64)).sum(axis=1)
        wilds, length = self.wilds[:count], len(line)
        found = np.flatnonzero((same + wilds >= length) | (2 * same + wilds >= 2.0 * SIMILARITY * length))
        return [self.numbers[place] for place in found.tolist()]

    def drop(self, number: int) -> None:
        """Forget a template; the last one takes its place."""
        place = self.numbers.index(number)
        last = self.numbers.pop()
        if place < len(self.numbers):
            self.numbers[place] = last
            self.hashes[place], self.wilds[place] = self.hashes[len(self.numbers)], self.wilds[len(self.numbers)]
