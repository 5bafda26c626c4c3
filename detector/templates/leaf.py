"""A leaf: templates of one length and first word, arranged so that most need not be looked at."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from detector.batches import IntArray
from detector.compiled import compiled
from detector.templates import tokens as tk
from detector.templates.letters import Bytes

SIMILARITY: Final = 0.8
"""Share of its tokens that a line must have in common with a template for it to grow."""
CAPACITY_START: Final = 4
NO_PLACES: Final[list[int]] = []

Key = tuple[int, bytes]
"""Length, and first word, or ``WILD`` in the leaf that lines with other first words share."""

_LITERAL: Final = 0
_WILD: Final = 1
_PARTLY: Final = 2
"""Kinds of tokens in templates: without a value, nothing but a value, and with one between its ends."""


@dataclass(slots=True)
class Leaf:
    """Templates of one length and first word, side by side; ``row`` is the leaf's place in ``Forest.stamps``.

    ``hashes`` int64[capacity, length] and ``kinds`` uint8[capacity, length]: of each token of each template.
    """

    key: Key
    row: int
    numbers: list[int] = field(default_factory=list)
    hashes: IntArray = field(default_factory=lambda: np.empty((0, 0), np.int64))
    kinds: Bytes = field(default_factory=lambda: np.empty((0, 0), np.uint8))
    partly: list[list[int]] = field(default_factory=list)
    """Places of each template's tokens with a value between two ends."""

    def put(self, place: int, tokens: list[bytes]) -> None:
        """Note what the template at ``place`` looks like."""
        if place >= len(self.hashes):
            more = max(CAPACITY_START, 2 * len(self.hashes))
            hashes, kinds = np.empty((more, self.key[0]), np.int64), np.empty((more, self.key[0]), np.uint8)
            if place:
                hashes[:place], kinds[:place] = self.hashes[:place], self.kinds[:place]
            self.hashes, self.kinds = hashes, kinds
        self.hashes[place] = list(map(hash, tokens))
        self.kinds[place] = [_WILD if token == tk.W else _PARTLY if tk.W in token else _LITERAL for token in tokens]
        self.partly[place : place + 1] = [np.flatnonzero(self.kinds[place] == _PARTLY).tolist()]

    def similar(self, line: list[bytes], differing_max: int) -> list[tuple[int, int, int, list[int]]]:
        """Templates of which at most so many tokens certainly differ from the line's.

        Of each its number, how many tokens are the same, how many are nothing but a value in the template only, and the
        places of those that have a value between two ends, which were not compared.
        """
        hashes = np.fromiter(map(hash, line), np.int64, len(line))
        found = np.empty((len(self.numbers), 4), np.int64)
        count = _similar(self.hashes, self.kinds, len(self.numbers), hashes, differing_max, found)
        return [
            (self.numbers[place], same, wild, self.partly[place] if partly else NO_PLACES)
            for place, same, wild, partly in found[:count].tolist()
        ]

    def drop(self, number: int) -> None:
        """Forget a template; the last one takes its place."""
        place = self.numbers.index(number)
        last = self.numbers.pop()
        if place < len(self.numbers):
            self.numbers[place] = last
            self.partly[place] = self.partly[-1]
            self.hashes[place], self.kinds[place] = self.hashes[len(self.numbers)], self.kinds[len(self.numbers)]
        self.partly.pop()


@compiled
def _similar(hashes: IntArray, kinds: Bytes, count: int, line: IntArray, differing_max: int, found: IntArray) -> int:
    """Fill ``found`` with place, same, wild and partly of the templates in question; gives how many they are."""
    written = 0
    for place in range(count):
        same, wild, partly, differing = 0, 0, 0, 0
        for at in range(len(line)):
            if hashes[place, at] == line[at]:
                same += 1
            elif kinds[place, at] == _WILD:
                wild += 1
            elif kinds[place, at] == _PARTLY:
                partly += 1
            else:
                differing += 1
                if differing > differing_max:
                    break
        if differing <= differing_max:
            found[written, 0] = place
            found[written, 1] = same
            found[written, 2] = wild
            found[written, 3] = partly
            written += 1
    return written
