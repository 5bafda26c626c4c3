"""What a partition holds of each service of a log topic: its templates, what its windows usually say, and sample lines.

A service is a series of the partition's table; everything here is by its slot.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.batches import IntArray
from detector.columns import Columns, taken, under
from detector.errors import SnapshotRefusedError
from detector.log_batches import SEVERITY_CLASSES, LogBatch, LogSample, LogTemplate, SeverityArray, WindowFindings
from detector.signals import KeptSignals, ServiceSignals, SignalLimits
from detector.signals import laid_out as signals_laid_out
from detector.signals import taken_apart as signals_taken_apart
from detector.templates import Change, KeptMiner, MinerLimits, TemplateMiner, message_of, severity_of
from detector.templates import laid_out as templates_laid_out
from detector.templates import taken_apart as templates_taken_apart

VERSION: Final = 1
ERROR: Final = SEVERITY_CLASSES.index("error")
"""Class of severity from which a template's lines are kept as if it were new."""
MINER_BYTES: Final = 14_000
TEMPLATE_BYTES: Final = 2_400
"""Memory of a new miner and of each template with what is cached of its lines, as measured (decision 17)."""

RAW_CHARACTERS: Final = 4
"""So many times the characters of a sample are redacted before it is cut: what is replaced becomes shorter."""

Redact = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class SampleLimits:
    """How many lines are kept to be shown, of each window.

    ``usual`` lines of a template, ``telling`` of one that is new in the window or speaks of errors, ``service`` of a
    service; ``characters`` of a line.
    """

    usual: int = 1
    telling: int = 3
    service: int = 400
    characters: int = 500


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Limits of each service."""

    miner: MinerLimits
    signals: SignalLimits
    samples: SampleLimits


class Lines(NamedTuple):
    """Lines of one service in their order: columns as those of :class:`~detector.log_batches.LogBatch`.

    ``windows_ms`` int64[n] is the start of each line's window.
    """

    windows_ms: IntArray
    offsets: IntArray
    times_ms: IntArray
    severities: SeverityArray
    lines: Sequence[bytes]
    traces: Sequence[str | None] | None


def lines_of(lines: LogBatch, windows_ms: IntArray, part: IntArray) -> Lines:
    """The lines at the positions ``part``, all of one service."""
    if len(part) == len(lines):
        return Lines(windows_ms, lines.offsets, lines.times_ms, lines.severities, lines.lines, lines.traces)
    places = part.tolist()
    return Lines(
        windows_ms[part],
        lines.offsets[part],
        lines.times_ms[part],
        lines.severities[part],
        [lines.lines[place] for place in places],
        None if lines.traces is None else [lines.traces[place] for place in places],
    )


class _Sample(NamedTuple):
    """A line kept to be shown; ``fit`` once it is redacted and cut."""

    line: LogSample
    fit: bool


class _Kept(msgspec.Struct, array_like=True):
    """Samples and new templates of the open windows, by the start of the window, and the class of each template."""

    samples: list[tuple[int, list[LogSample]]]
    fresh: list[tuple[int, list[int]]]
    severities: bytes


class KeptService(NamedTuple):
    """A copy of all that is known of a service; its samples are redacted when they are asked for, elsewhere."""

    miner: KeptMiner
    signals: KeptSignals
    samples: Callable[[], bytes]


class LogService:
    """One service: lines in, numbers of templates into its windows, findings out as windows close.

    What it knows is a function of its lines in their order and of the windows that were closed between them.
    """

    def __init__(self, limits: ServiceLimits, redact: Redact) -> None:
        self._limits: Final = limits
        self._redact: Final = redact
        self._miner = TemplateMiner(limits.miner)
        self._signals = ServiceSignals(limits.signals)
        self._severities = np.zeros(limits.miner.templates + 1, np.int8)
        self._samples: dict[int, list[_Sample]] = {}
        self._fresh: dict[int, set[int]] = {}
        self._room: dict[int, NDArray[np.int8]] = {}

    @property
    def miner(self) -> TemplateMiner:
        """Its templates."""
        return self._miner

    def take(self, taken_lines: Lines) -> None:
        """Mine these lines and count them into their windows, which must be open."""
        lines = taken_lines.lines
        if b"\n" in b"".join(lines):  # looking at each of them takes longer
            lines = [message_of(line.split(b"\n")) if b"\n" in line else line for line in lines]
        numbers = self._miner.mine(lines)
        start = 0
        for change in self._miner.changes:
            self._count(taken_lines, numbers, start, change.row)
            start = max(start, change.row)
            self._change(change, int(taken_lines.windows_ms[change.row]))
        self._count(taken_lines, numbers, start, len(numbers))

    def close(self, slot: int, window_ms: int) -> WindowFindings:
        """Judge a window by what is usual, and learn it; its samples are kept until :meth:`drop`."""
        return self._signals.close(slot, window_ms)

    def speaks(self, window_ms: int) -> bool:
        """Whether it has had a line in this open window."""
        return self._signals.has_lines(window_ms)

    def skip(self, windows: int) -> None:
        """So many windows had no line in the whole partition."""
        self._signals.skip(windows)

    def drop(self, window_ms: int) -> None:
        """Forget the samples of a window."""
        for kept in (self._samples, self._fresh, self._room):
            kept.pop(window_ms, None)

    def shown(self, findings: WindowFindings) -> tuple[tuple[LogTemplate, ...], tuple[LogSample, ...]]:
        """The templates of findings as people see them, redacted, and the samples of each in their order."""
        kept = self._samples.get(findings.window_ms, [])
        templates = tuple(LogTemplate(*self._template(each.number), each) for each in findings.templates)
        numbers = [each.number for each in findings.templates]
        return templates, tuple(self._fit(each) for number in numbers for each in kept if each.line.number == number)

    def state_bytes(self) -> int:
        """Bytes of its state: of signals as allocated, of templates by their number."""
        return MINER_BYTES + TEMPLATE_BYTES * len(self._miner) + self._signals.state_bytes()

    def copy(self) -> KeptService:
        """All that is known of it, as it is now."""
        samples = [(window_ms, list(kept)) for window_ms, kept in sorted(self._samples.items())]
        fresh = sorted((window_ms, sorted(numbers)) for window_ms, numbers in self._fresh.items())
        severities = self._severities.tobytes()

        def packed() -> bytes:
            fit = [(window_ms, [self._fit(each) for each in kept]) for window_ms, kept in samples]
            return msgspec.json.encode(_Kept(fit, fresh, severities))

        return KeptService(self._miner.copy(), self._signals.copy(), packed)

    @classmethod
    def of(cls, kept: KeptService, limits: ServiceLimits, redact: Redact) -> "LogService":
        """A service that goes on where the copied one was. Raises ``SnapshotRefusedError``."""
        service = cls(limits, redact)
        service._miner = TemplateMiner.of(kept.miner, limits.miner)
        service._signals = ServiceSignals.of(kept.signals, limits.signals)
        try:
            found = msgspec.json.decode(kept.samples(), type=_Kept)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SnapshotRefusedError(f"the snapshot's sample lines cannot be read: {error}") from error
        if len(found.severities) != len(service._severities):
            raise SnapshotRefusedError(f"the snapshot has classes of {len(found.severities)} templates")
        service._samples = {
            window_ms: [_Sample(line, fit=True) for line in lines] for window_ms, lines in found.samples
        }
        service._fresh = {window_ms: set(numbers) for window_ms, numbers in found.fresh}
        service._severities[:] = np.frombuffer(found.severities, np.int8)
        return service

    def _count(self, taken_lines: Lines, numbers: IntArray, start: int, stop: int) -> None:
        if stop <= start:
            return
        part = slice(start, stop)
        windows_ms = taken_lines.windows_ms[part]
        severities = taken_lines.severities[part]
        found = numbers[part]
        severities = np.where(severities == 0, self._severities[found], severities)
        first_ms = int(windows_ms[0])
        if bool((windows_ms == first_ms).all()):
            self._signals.count(first_ms, found, severities)
            self._keep(first_ms, np.arange(start, stop), taken_lines, numbers, severities)
            return
        for window_ms in np.unique(windows_ms).tolist():
            own = np.flatnonzero(windows_ms == window_ms)
            self._signals.count(window_ms, found[own], severities[own])
            self._keep(window_ms, start + own, taken_lines, numbers, severities[own])

    def _keep(
        self, window_ms: int, places: IntArray, taken_lines: Lines, numbers: IntArray, severities: SeverityArray
    ) -> None:
        """Keep the first lines of each template as samples of this window."""
        room = self._room.get(window_ms)
        if room is None:
            room = self._find_room(window_ms)
        candidates = np.flatnonzero(room[numbers[places]] > 0)
        if not len(candidates):
            return
        kept = self._samples.setdefault(window_ms, [])
        limits = self._limits.samples
        for candidate in candidates.tolist():
            place = int(places[candidate])
            number = int(numbers[place])
            if room[number] <= 0:
                continue
            if len(kept) >= limits.service:
                return
            room[number] -= 1
            trace = None if taken_lines.traces is None else taken_lines.traces[place]
            line = LogSample(
                int(taken_lines.offsets[place]),
                int(taken_lines.times_ms[place]),
                int(severities[candidate]),
                number,
                trace,
                taken_lines.lines[place][: RAW_CHARACTERS * limits.characters].decode(errors="replace"),
            )
            kept.append(_Sample(line, fit=False))

    def _fit(self, sample: _Sample) -> LogSample:
        """The line as it may be shown. A function of the line alone, so that it does not matter when it is called."""
        if sample.fit:
            return sample.line
        text = self._redact(sample.line.text)[: self._limits.samples.characters]
        return sample.line._replace(text=text)

    def _find_room(self, window_ms: int) -> NDArray[np.int8]:
        """How many more lines of each template are to be kept in this window."""
        limits = self._limits.samples
        room = np.where(self._severities >= ERROR, limits.telling, limits.usual).astype(np.int8)
        room[list(self._fresh.get(window_ms, ()))] = limits.telling
        for sample in self._samples.get(window_ms, ()):
            room[sample.line.number] = max(room[sample.line.number] - 1, 0)
        self._room[window_ms] = room
        return room

    def _make_room(self, number: int) -> None:
        """The same for one template, in all open windows."""
        limits = self._limits.samples
        for window_ms, room in self._room.items():
            telling = self._severities[number] >= ERROR or number in self._fresh.get(window_ms, ())
            kept = sum(sample.line.number == number for sample in self._samples.get(window_ms, ()))
            room[number] = max((limits.telling if telling else limits.usual) - kept, 0)

    def _change(self, change: Change, window_ms: int) -> None:
        """Follow what became of a template's number, at a line of this window."""
        number = change.number
        if change.kind == "created":
            self._severities[number] = severity_of(change.text)
            self._fresh.setdefault(window_ms, set()).add(number)
            self._make_room(number)
        elif change.kind == "merged":
            self._signals.merged(number, change.into)
            self._renumber(number, change.into)
        else:
            self._signals.evicted(number)
            self._renumber(number, None)

    def _renumber(self, number: int, into: int | None) -> None:
        """Samples of a merged template are of the other; those of an evicted one are gone."""
        self._severities[number] = 0
        for fresh in self._fresh.values():
            fresh.discard(number)
        for window_ms, kept in self._samples.items():
            if any(sample.line.number == number for sample in kept):
                self._samples[window_ms] = list(_renumbered(kept, number, into))
        self._make_room(number)
        if into is not None:
            self._make_room(into)

    def _template(self, number: int) -> tuple[str, str]:
        template = self._miner.template(number)
        return template.id, self._redact(template.text)


def _renumbered(samples: Sequence[_Sample], number: int, into: int | None) -> Iterator[_Sample]:
    for sample in samples:
        if sample.line.number != number:
            yield sample
        elif into is not None:
            yield sample._replace(line=sample.line._replace(number=into))


def laid_out(services: Sequence[KeptService]) -> dict[str, NDArray[Any]]:
    """Columns of these services, in their order."""
    samples = [service.samples() for service in services]
    return {
        "version": np.array([VERSION], np.int64),
        "samples": np.frombuffer(b"".join(samples), np.uint8),
        "sample_bytes": np.array([len(each) for each in samples], np.int64),
        **{f"templates.{name}": column for name, column in templates_laid_out([s.miner for s in services]).items()},
        **{f"signals.{name}": column for name, column in signals_laid_out([s.signals for s in services]).items()},
    }


def taken_apart(columns: Columns, count: int) -> list[KeptService]:
    """Undo :func:`laid_out` for ``count`` services. Raises ``SnapshotRefusedError`` for other columns."""
    if taken(columns, "version", np.dtype(np.int64), (1,))[0] != VERSION:
        raise SnapshotRefusedError(f"the snapshot's services have a version other than {VERSION}")
    sizes = taken(columns, "sample_bytes", np.dtype(np.int64), (count,))
    text = columns.get("samples")
    if text is None or text.dtype != np.uint8 or sizes.min(initial=0) < 0 or int(sizes.sum()) != text.size:
        raise SnapshotRefusedError("the snapshot's sample lines do not have the sizes that it names")
    ends = np.cumsum(sizes).tolist()
    data = text.tobytes()
    samples = [data[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True)]
    miners = templates_taken_apart(under("templates", columns))
    signals = signals_taken_apart(under("signals", columns))
    if not len(miners) == len(signals) == count:
        raise SnapshotRefusedError(
            f"the snapshot has templates of {len(miners)} and signals of {len(signals)} services, not of {count}"
        )
    return [
        KeptService(miner, kept, partial(bytes, text))
        for miner, kept, text in zip(miners, signals, samples, strict=True)
    ]
