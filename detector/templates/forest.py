"""Level 3: the templates of one service, in leaves by length and first word.

A masked line is looked for in one leaf only. A template that covers every token takes it; else the most similar one, of
which at least ``SIMILARITY`` is the same, becomes more general where each differing token may be a value:

1. both look like values, or are units behind a value, or words behind the same ``key=`` when other tokens differ, too;
2. it is the only one, and stands behind a word such as "user" or "from", and neither is in capitals;
3. it is the only one, and not in capitals, and ``SIBLINGS`` lines, of as many templates, differ there only: they become
   one. So states (``mode=ro``, ``mode=rw``) stay apart, and names do not.

Otherwise the line begins a template. Which template a line gets is a function of the leaf and of which other leaves of
its length there are; ``stamps`` tells caches when that has changed.

Source of trees of fixed depth: He et al. (2017), "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS.
"""

from heapq import heapify, heappop, heappush
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.batches import IntArray
from detector.templates import tokens as tk
from detector.templates.leaf import SIMILARITY, Key, Leaf
from detector.templates.limits import MinerLimits

SIBLINGS: Final = 4
EVICTED_SHARE: Final = 10
"""A full forest or leaf gives up one template in ten at once, at least one."""
USUAL_EPOCHS: Final = 64
"""A template that was seen in two epochs is usual for so many more."""
OTHER: Final = 0
"""Number of the template of all lines that have none."""

ROUNDING: Final = 1e-9
CHECKS_EACH: Final = 8
"""So many first lines of a template are compared with its kept digits, then each whose count is a power of two."""
NEVER: Final = 2**62
CAPACITY_START: Final = 32
NO_TOKENS: Final[list[bytes]] = []
"""Of all numbers that are free, or merged."""

RECORD: Final = np.dtype(
    [("count", np.int64), ("check", np.int64), ("first", np.int32), ("last", np.int32), ("stands_for", np.int32)],
    align=True,
)
"""One template. ``first`` and ``last``: epochs; ``check``: count at which kept digits are compared next."""


class Change(NamedTuple):
    """What became of a template's number at a line; ``row`` is that line's place in the batch.

    ``merged``: its lines count for ``into`` from here on. After ``evicted`` the number may be created again. ``text``
    is that of a created one as its line leaves it: at the end of the batch it may have grown, or be gone.
    """

    row: int
    kind: Literal["created", "merged", "evicted"]
    number: int
    into: int
    text: str = ""


class Forest:
    """Templates by number, from 1 on, and their leaves. ``OTHER`` is the number of what has no template."""

    def __init__(self, limits: MinerLimits) -> None:
        self.limits: Final = limits
        self.records: NDArray[np.void] = np.zeros(0, RECORD)
        self.shown: list[list[bytes]] = []
        """Tokens with their kept digits."""
        self.comparable: list[list[bytes]] = []
        self.ids: list[int] = []
        self.numbers_by_id: dict[int, int] = {}
        self.renamed: set[int] = set()
        """Numbers whose id does not follow from their tokens: the templates have grown, or were merged."""
        self.stamps: IntArray = np.zeros(0, np.int64)
        """By row of a leaf: another number whenever other templates might be found in it, or another leaf taken."""
        self.changes: list[Change] = []
        self.created_count = self.merged_count = self.evicted_count = 0
        self._leaves: dict[Key, Leaf] = {}
        self._leaf_of: list[Leaf | None] = []
        self._words_of_length: dict[int, int] = {}
        self._next = 1
        self._free: list[int] = []
        self._free_rows: list[int] = []
        self._stamp = 0
        self._reserve(min(CAPACITY_START, limits.templates) + 1)

    def __len__(self) -> int:
        return self._next - 1 - len(self._free)

    def _reserve(self, capacity: int) -> None:
        """Make room for the numbers below ``capacity``."""
        size = len(self.shown)
        more = capacity - size
        self.records = np.concatenate((self.records, np.zeros(more, RECORD)))
        self.records["check"][size:] = NEVER
        self.stamps = np.concatenate((self.stamps, np.zeros(more, np.int64)))
        self.shown += [NO_TOKENS] * more
        self.comparable += [NO_TOKENS] * more
        self.ids += [0] * more
        self._leaf_of += [None] * more
        self._free_rows += range(size, capacity)
        heapify(self._free_rows)

    def _take_number(self) -> int:
        """The smallest number that is free."""
        if self._free:
            return heappop(self._free)
        number = self._next
        self._next += 1
        if number == len(self.shown):
            self._reserve(min(2 * number, self.limits.templates + 1))
        return number

    def live(self) -> IntArray:
        """Numbers in use, ascending, aliases included."""
        return np.flatnonzero(self.records["stands_for"])

    def leaf_row(self, number: int) -> int:
        """Row in ``stamps`` of a template's leaf."""
        leaf = self._leaf_of[number]
        assert leaf is not None
        return leaf.row

    def is_shared(self, number: int) -> bool:
        """Whether the template is in the leaf of many first words; aliases are in none."""
        leaf = self._leaf_of[number]
        return leaf is not None and leaf.key[1] == tk.W

    def match(self, line: list[bytes], row: int, epoch: int, *, training: bool) -> tuple[int, bool]:
        """Number of the line's template, and whether the stamp of its leaf tells when that is over.

        Without ``training`` nothing changes, and lines that no template covers are ``OTHER``.
        """
        key, leaf = self._home(line)
        if leaf is not None:
            number = self._covering_or_grown(leaf, line, row, training=training)
            if number != OTHER:
                return number, True
        if not training:
            return OTHER, False
        known = self.numbers_by_id.get(tk.stable_id(line))
        if known is not None:
            return int(self.records["stands_for"][known]), False
        return self._create(key, line, row, epoch), True

    def keep_digits(self, number: int, literal: list[bytes]) -> None:
        """Compare a template's kept digits with those of one more of its lines; where they differ they vary."""
        shown = self.shown[number]
        if self.records["count"][number] == 1:
            if list(map(tk.comparable, literal)) == self.comparable[number]:
                shown[:] = literal
        elif len(literal) == len(shown):
            for place, token in enumerate(shown):
                if literal[place] != token and tk.has_digits(token):
                    shown[place] = tk.varied(token)

    def plan_check(self, number: int) -> None:
        """Set at which count the kept digits of a template are looked at next."""
        record = self.records[number]
        count = int(record["count"])
        if not any(map(tk.has_digits, self.shown[number])):
            record["check"] = NEVER
        else:
            record["check"] = count + 1 if count < CHECKS_EACH else 1 << count.bit_length()

    def _home(self, line: list[bytes]) -> tuple[Key, Leaf | None]:
        """The leaf to look in, or the key of the one to begin.

        A first word without a leaf of its own shares one with lines that begin otherwise, if a template there covers
        the line, or no more leaves are allowed.
        """
        length = len(line)
        word = line[0] if line and tk.is_word(line[0]) else tk.W
        leaf = self._leaves.get((length, word))
        if leaf is not None or word == tk.W:
            return (length, word), leaf
        shared = self._leaves.get((length, tk.W))
        if self._words_of_length.get(length, 0) >= self.limits.leaves_per_length:
            return (length, tk.W), shared
        if shared is not None and self._covering_or_grown(shared, line, 0, training=False) != OTHER:
            return (length, tk.W), shared
        return (length, word), None

    def _covering_or_grown(self, leaf: Leaf, line: list[bytes], row: int, *, training: bool) -> int:
        """Number of the leaf's best template that covers the line, with ``training`` if need be from now on."""
        length = len(line)
        best, best_share = OTHER, -1.0
        allowed = int((1.0 - SIMILARITY) * length + ROUNDING) if training else 0
        for number, same, wild, partly in leaf.similar(line, allowed):
            share = _share(same, wild + _covered(self.comparable[number], line, partly), length)
            if share > best_share or (share == best_share and number < best):
                best, best_share = number, share
        if best_share >= 1.0 or best == OTHER or not training or best_share < SIMILARITY:
            return best if best_share >= 1.0 else OTHER
        pattern = self.comparable[best]
        places = [place for place in range(length) if not tk.covers(pattern[place], line[place])]
        if all(_may_grow(pattern, line, place, alone=len(places) == 1) for place in places):
            self._grow(best, places, line)
            self._touch(leaf)
            return best
        if len(places) == 1 and not tk.is_shouted(line[places[0]]):
            return self._join_siblings(leaf, line, places[0], row)
        return OTHER

    def _join_siblings(self, leaf: Leaf, line: list[bytes], place: int, row: int) -> int:
        """Make one template of those that differ from the line at ``place`` only, if they are enough."""
        siblings = sorted(
            number
            for number, *_ in leaf.similar(line, 1)
            if all(
                at == place or tk.covers(pattern, token)
                for at, (pattern, token) in enumerate(zip(self.comparable[number], line, strict=True))
            )
        )
        if len(siblings) + 1 < SIBLINGS:
            return OTHER
        base = siblings[0]
        self._grow(base, [place], line)
        for number in siblings[1:]:
            pattern, other = self.comparable[base], self.comparable[number]
            self._grow(base, [at for at in range(len(line)) if not tk.covers(pattern[at], other[at])], other)
            self._merge(number, base, row)
        self.plan_check(base)
        self._touch(leaf)
        return base

    def _merge(self, number: int, base: int, row: int) -> None:
        records = self.records
        records["count"][base] += records["count"][number]
        records["first"][base] = min(records["first"][base], records["first"][number])
        records["last"][base] = max(records["last"][base], records["last"][number])
        records["stands_for"][records["stands_for"] == number] = base
        leaf = self._leaf_of[number]
        assert leaf is not None
        leaf.drop(number)
        self._leaf_of[number] = None
        self.shown[number] = self.comparable[number] = NO_TOKENS
        records["check"][number] = NEVER
        self.renamed.add(number)
        self.merged_count += 1
        self.changes.append(Change(row, "merged", number, base))

    def _grow(self, number: int, places: list[int], line: list[bytes]) -> None:
        """Let a template cover the line at these places, too."""
        shown, comparable = self.shown[number], self.comparable[number]
        for place in places:
            comparable[place] = tk.joined(comparable[place], line[place])
            shown[place] = tk.varied(comparable[place])
        self.renamed.add(number)
        self.plan_check(number)
        leaf = self._leaf_of[number]
        assert leaf is not None
        leaf.put(leaf.numbers.index(number), comparable)

    def _create(self, key: Key, line: list[bytes], row: int, epoch: int) -> int:
        leaf = self._leaves.get(key)
        if leaf is not None and len(leaf.numbers) >= self.limits.leaf_templates:
            self._evict(np.array(leaf.numbers), row, epoch)
        if not self._free and self._next > self.limits.templates:
            self._evict(self.live(), row, epoch)
        number = self._take_number()
        self.shown[number] = list(map(tk.varied, line))
        self.comparable[number] = line
        self.ids[number] = tk.stable_id(line)
        self.numbers_by_id[self.ids[number]] = number
        self.records[number] = (0, NEVER, epoch, epoch, number)
        self.plant(number, key)
        self.created_count += 1
        self.changes.append(Change(row, "created", number, number))
        return number

    def plant(self, number: int, key: Key) -> None:
        """Put a template into its leaf, which is made where there is none."""
        leaf = self._leaves.get(key)
        if leaf is None:
            leaf = self._leaves[key] = Leaf(key, heappop(self._free_rows))
            self._count_leaf(key, 1)
        self._leaf_of[number] = leaf
        leaf.numbers.append(number)
        leaf.put(len(leaf.numbers) - 1, self.comparable[number])
        self._touch(leaf)

    def adopt(
        self,
        number: int,
        stands_for: int,
        shown: list[bytes],
        stable_id: int | None,
        *,
        count: int,
        epochs: tuple[int, int],
        shared: bool,
    ) -> None:
        """Take over a template of another forest under its number; without an id it has its own.

        After the last one, :meth:`count_free` must be called.
        """
        if number >= len(self.shown):
            self._reserve(min(max(2 * len(self.shown), number + 1), self.limits.templates + 1))
        self.shown[number] = shown
        self.comparable[number] = list(map(tk.comparable, shown))
        self.ids[number] = tk.stable_id(self.comparable[number]) if stable_id is None else stable_id
        if stable_id is not None:
            self.renamed.add(number)
        self.numbers_by_id[self.ids[number]] = number
        self.records[number] = (count, NEVER, *epochs, stands_for)
        if stands_for == number:
            self.plant(number, (len(shown), tk.W if shared or not shown else shown[0]))
            self.plan_check(number)

    def count_free(self) -> None:
        """Find out which numbers are free."""
        live = self.live().tolist()
        self._next = max(live, default=0) + 1
        self._free = sorted(set(range(1, self._next)).difference(live))

    def _count_leaf(self, key: Key, step: int) -> None:
        """Lines of this length may go elsewhere from now on."""
        length, word = key
        if word == tk.W:
            return
        self._words_of_length[length] = self._words_of_length.get(length, 0) + step
        shared = self._leaves.get((length, tk.W))
        if shared is not None:
            self._touch(shared)

    def _touch(self, leaf: Leaf) -> None:
        self._stamp += 1
        self.stamps[leaf.row] = self._stamp

    def _evict(self, numbers: IntArray, row: int, epoch: int) -> None:
        """Forget a tenth of these templates, and what stands for them.

        First those that were seen in one epoch only, or not for ``USUAL_EPOCHS``, so that random text drives out
        itself; of both kinds those seen longest ago, and then least often.
        """
        records = self.records[numbers]
        first, last = records["first"], records["last"]
        usual = (first < last) & (last >= epoch - USUAL_EPOCHS)
        order = np.lexsort((numbers, records["count"], last, usual))
        for number in numbers[order[: max(1, len(numbers) // EVICTED_SHARE)]].tolist():
            for each in np.flatnonzero(self.records["stands_for"] == number).tolist():
                self._forget(each, row)
            if self.records["stands_for"][number]:
                self._forget(number, row)

    def _forget(self, number: int, row: int) -> None:
        leaf = self._leaf_of[number]
        if leaf is not None:
            self.evicted_count += 1
            leaf.drop(number)
            self._touch(leaf)
            self._leaf_of[number] = None
            if not leaf.numbers:
                del self._leaves[leaf.key]
                heappush(self._free_rows, leaf.row)
                self._count_leaf(leaf.key, -1)
        if self.numbers_by_id.get(self.ids[number]) == number:
            del self.numbers_by_id[self.ids[number]]
        self.renamed.discard(number)
        self.shown[number] = self.comparable[number] = NO_TOKENS
        self.records[number] = (0, NEVER, 0, 0, 0)
        heappush(self._free, number)
        self.changes.append(Change(row, "evicted", number, number))


def _covered(pattern: list[bytes], line: list[bytes], places: list[int]) -> int:
    """How many tokens at these places differ, but are covered."""
    return sum(pattern[at] != line[at] and tk.covers(pattern[at], line[at]) for at in places)


def _share(same: int, wild: int, length: int) -> float:
    """1 and more if all tokens are covered, the more the more are the same; else the share that is, values for half."""
    return 1.0 + same / max(length, 1) if same + wild == length else (same + 0.5 * wild) / length


def _may_grow(pattern: list[bytes], line: list[bytes], place: int, *, alone: bool) -> bool:
    """Whether the tokens at ``place`` may be values of one thing; ``alone`` if all others are the same.

    Words behind the same ``key=`` that differ alone may be states of it: that is left to rule 3.
    """
    token, other = pattern[place], line[place]
    key = tk.common_key(token, other)
    if key and not alone:
        return True
    if tk.is_value(token[len(key) :]) and tk.is_value(other[len(key) :]):
        return True
    if key or place == 0:
        return False
    before = pattern[place - 1]
    if before.endswith(tk.W) and tk.is_unit(token) and tk.is_unit(other):
        return True
    return alone and tk.hints(before) and not (token.isupper() or other.isupper())
