"""The template miner of one service: lines in, numbers of templates out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from detector.batches import IntArray
from detector.templates import tokens as tk
from detector.templates.breaker import Breaker
from detector.templates.forest import OTHER, Change, Forest
from detector.templates.limits import MinerLimits
from detector.templates.masks import masked
from detector.templates.memo import Memo
from detector.templates.normal import CUT, KEPT, LOOSE, Normal, normal_forms
from detector.templates.shapes import ShapeTable
from detector.templates.stored import KeptMiner, grow_from, kept

EPOCH_LINES: Final = 1_024
"""Lines after which a template that was seen counts as seen earlier than those of the next lines."""
PART_BYTES: Final = 2**20
PART_LINES: Final = 4_096
"""Lines whose normal forms are made at once, and their bytes: some megabytes of columns."""
OTHER_TEXT: Final = "<other>"

Known = tuple[int, int, int]
"""Number of a template, the row of its leaf's stamp, and that stamp: what is known while the stamp is the same."""


@dataclass(frozen=True, slots=True)
class Template:
    """A template as people and events know it.

    ``id`` is the 64-bit BLAKE2b of the text that it began with, kept digits as 0, in hex: the same over restarts and
    workers. ``count`` lines so far; ``first_epoch`` and ``last_epoch``: when, in ``EPOCH_LINES`` lines of the service.
    """

    number: int
    id: str
    text: str
    count: int
    first_epoch: int
    last_epoch: int


class MinerCounts(NamedTuple):
    """What a miner has done: lines, lines without a template, lines cut, and what became of templates."""

    lines: int
    other: int
    cut: int
    created: int
    merged: int
    evicted: int


class TemplateMiner:
    """Finds the templates of one service's lines, online.

    The number of each line's template, and all that the miner knows, is a function of the service's lines in their
    order: of no batch, clock, or cache. Numbers are dense, below ``limits.templates + 1``; one that was evicted may be
    given to another template, and :attr:`changes` says at which line.
    """

    def __init__(self, limits: MinerLimits | None = None) -> None:
        self._limits: Final = limits or MinerLimits()
        self._forest = Forest(self._limits)
        self._breaker = Breaker(self._limits.window_lines, self._limits.evictions_share)
        self._line_count = self._other_count = self._cut_count = 0
        self._shapes = ShapeTable(self._limits.cache_entries, self._limits.cache_bytes)
        self._masked: Memo[bytes] = Memo(self._limits.cache_entries, self._limits.cache_bytes)
        self._known: Memo[Known] = Memo(self._limits.cache_entries, self._limits.cache_bytes)

    def __len__(self) -> int:
        return len(self._forest)

    @property
    def counts(self) -> MinerCounts:
        """What happened so far, for metrics; survives restarts."""
        forest = self._forest
        return MinerCounts(
            self._line_count,
            self._other_count,
            self._cut_count,
            forest.created_count,
            forest.merged_count,
            forest.evicted_count,
        )

    @property
    def changes(self) -> Sequence[Change]:
        """What happened to numbers in the last call of :meth:`mine`."""
        return self._forest.changes

    @property
    def training(self) -> bool:
        """Whether the next line may change templates: false while the circuit breaker is open."""
        return self._breaker.trains(self._line_count)

    @property
    def breaker_trips(self) -> int:
        """How often the circuit breaker has opened."""
        return self._breaker.tripped_count

    @property
    def cached_forms(self) -> int:
        """Normal forms remembered at the moment."""
        return len(self._shapes)

    def mine(self, lines: Sequence[bytes]) -> IntArray:
        """Number of each line's template, int64[n]; ``OTHER`` (0) for lines without one while training has stopped."""
        self._forest.changes.clear()
        numbers = np.zeros(len(lines), np.int64)
        start = 0
        while start < len(lines):
            stop = self._part_stop(lines, start)
            self._mine_part(lines, start, stop, numbers[start:stop])
            start = stop
        return numbers

    def template(self, number: int) -> Template:
        """The template with this number, or the one that it was merged into; raises ``KeyError`` for a free number."""
        forest = self._forest
        if number == OTHER:
            return Template(OTHER, "0" * 16, OTHER_TEXT, self._other_count, 0, self._line_count // EPOCH_LINES)
        live = int(forest.records["stands_for"][number])
        if not live:
            raise KeyError(number)
        record = forest.records[live]
        text, template_id = self._text(live), f"{forest.ids[live]:016x}"
        return Template(live, template_id, text, int(record["count"]), int(record["first"]), int(record["last"]))

    def number_of(self, template_id: str) -> int | None:
        """Number of the template that has this id or was merged with the one that had it; None if there is none."""
        number = self._forest.numbers_by_id.get(int(template_id, 16))
        return None if number is None else int(self._forest.records["stands_for"][number])

    def numbers(self) -> IntArray:
        """Numbers of all templates, ascending, without aliases."""
        stands_for = self._forest.records["stands_for"]
        return np.flatnonzero((stands_for == np.arange(len(stands_for))) & (stands_for != OTHER))

    def clear_caches(self) -> None:
        """Give back memory; changes no result."""
        self._shapes.clear()
        self._masked.clear()
        self._known.clear()

    def copy(self) -> KeptMiner:
        """The state as it is now; :func:`detector.templates.stored.laid_out` lays it out."""
        return kept(self._forest, (*self.counts, *self._breaker.state()))

    @classmethod
    def of(cls, copy: KeptMiner, limits: MinerLimits | None = None) -> "TemplateMiner":
        """A miner that goes on where the copied one was. Raises ``SnapshotRefusedError``."""
        miner = cls(limits)
        grow_from(miner._forest, copy)
        counts, breaker = copy.fields[1 : 1 + len(MinerCounts._fields)], copy.fields[1 + len(MinerCounts._fields) :]
        miner._line_count, miner._other_count, miner._cut_count = counts[:3]
        forest = miner._forest
        forest.created_count, forest.merged_count, forest.evicted_count = counts[3:]
        miner._breaker.restore(breaker)
        return miner

    def _part_stop(self, lines: Sequence[bytes], start: int) -> int:
        """Where the part that begins at ``start`` ends: behind ``PART_LINES`` lines, or the one that fills it."""
        sizes = np.fromiter(map(len, lines[start : start + PART_LINES]), np.int64)
        return start + min(int(np.searchsorted(np.cumsum(sizes), PART_BYTES)) + 1, len(sizes))

    def _mine_part(self, lines: Sequence[bytes], start: int, stop: int, numbers: IntArray) -> None:
        part, forest = lines[start:stop], self._forest
        forms = normal_forms(part, self._limits.line_bytes, self._limits.tokens)
        epochs = (self._line_count + np.arange(len(part))) // EPOCH_LINES
        first_line, row = self._line_count, 0
        while True:
            row = self._shapes.walk(forms, row, forest.stamps, forest.records, epochs, numbers)
            if row == len(part):
                break
            numbers[row] = self._mine_one(forms, row, part[row], start + row, first_line + row)
            row += 1
        self._line_count += len(part)
        self._cut_count += int(np.count_nonzero(forms.flags & CUT))

    def _mine_one(self, forms: Normal, row: int, line: bytes, batch_row: int, line_number: int) -> int:
        """Levels 2 and 3 for a line whose normal form is not known, or whose kept digits are to be compared."""
        forest, epoch = self._forest, line_number // EPOCH_LINES
        tokens = self._tokens(forms.form(row), int(forms.flags[row]))
        text = b" ".join(tokens)
        known = self._known.found.get(text)
        again = known is not None
        if known is None or forest.stamps[known[1]] != known[2]:
            known = None
            number, lasts = self._match(tokens, batch_row, line_number)
            if number == OTHER:
                self._other_count += 1
                return OTHER
            if lasts:
                known = self._remember(text, number)
        else:
            number = known[0]
        record = forest.records[number]
        record["count"] += 1
        record["last"] = epoch
        if record["count"] == 1 or record["count"] >= record["check"]:
            if forms.flags[row] & KEPT:
                self._compare_digits(number, line)
            forest.plan_check(number)
        if record["count"] == 1:  # the line created it
            forest.changes[-1] = forest.changes[-1]._replace(text=self._text(number))
        if known is not None and again:  # what comes once only would fill the table for nothing
            self._shapes.remember(forms, row, *known)
        return number

    def _text(self, number: int) -> str:
        return tk.shown(self._forest.shown[number]).decode(errors="replace")

    def _match(self, tokens: list[bytes], batch_row: int, line_number: int) -> tuple[int, bool]:
        """Level 3, under the eyes of the circuit breaker."""
        forest, breaker = self._forest, self._breaker
        evicted = forest.evicted_count
        training = breaker.trains(line_number)
        found = forest.match(tokens, batch_row, line_number // EPOCH_LINES, training=training)
        if forest.evicted_count != evicted:
            breaker.evicted(line_number, forest.evicted_count - evicted)
        return found

    def _remember(self, text: bytes, number: int) -> Known:
        """Level 2 from now on knows this masked line, until its leaf changes."""
        leaf = self._forest.leaf_row(number)
        known = (number, leaf, int(self._forest.stamps[leaf]))
        self._known.put(text, known)
        return known

    def _tokens(self, form: bytes, flags: int) -> list[bytes]:
        """Masked tokens of a normal form with these flags; what a token is masked to is remembered."""
        if not form:
            return []
        found = form.split(b" ")
        known = self._masked.found
        try:
            tokens = [known[token] for token in found]
        except KeyError:
            tokens = [self._masked_token(token) for token in found]
        return tokens if tokens == found and not flags & LOOSE else tk.collapsed(tokens)

    def _masked_token(self, token: bytes) -> bytes:
        known = self._masked.found.get(token)
        if known is None:
            known = masked(token)
            self._masked.put(token, known)
        return known

    def _compare_digits(self, number: int, line: bytes) -> None:
        """Look at the kept digits of a line as they are."""
        form = normal_forms([line], self._limits.line_bytes, self._limits.tokens, literal=True).form(0)
        self._forest.keep_digits(number, tk.collapsed(list(map(masked, form.split(b" ")))))
