"""Log records that are JSON objects, or arrays of them.

A format that a topic is said to have is read by its own profile of places. ``json`` takes each record for what its keys
tell, requests of OpenTelemetry and Loki included.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from detector.batches import IntArray, RecordBatch, SeriesKey
from detector.decoders.decoder import LabelFault, NamedLabels
from detector.decoders.json_lines import Fault
from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_json_fields import Profile
from detector.decoders.log_json_flavours import FlavourParser
from detector.decoders.log_json_keys import KeysParser
from detector.decoders.log_json_leaves import Leaves, with_paths
from detector.decoders.log_json_nested import NestedJson
from detector.decoders.log_json_profiles import PROFILES
from detector.decoders.log_lines import LineColumns, concatenated, log_batch, merged
from detector.decoders.log_loki import LokiLines
from detector.decoders.log_otlp_json import OtlpJsonLines
from detector.decoders.log_service import default_key, labels_of
from detector.log_batches import LogBatch

PIECE_RECORDS: Final = 1_024
"""Records that go through all steps together: what is made of them stays in the processor's cache meanwhile."""


class _JsonLogDecoder(ABC):
    """What the decoders of one profile and of all flavours share: pieces, the messages inside, the finished batch."""

    name = ""

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits) -> None:
        self._paths = paths
        self._limits = limits
        self._nested = NestedJson(paths, limits)

    def decode(self, batch: RecordBatch) -> LogBatch:
        """All lines and rejects of ``batch``; the same whichever way the stream was cut."""
        parts: list[LineColumns] = []
        faults: dict[int, Fault] = {}
        formats: Counter[str] = Counter()
        in_pieces = False
        for start in range(0, max(len(batch), 1), PIECE_RECORDS):
            own_faults: dict[int, Fault] = {}
            columns, pieced = self._lines(batch.values[start : start + PIECE_RECORDS], own_faults, formats)
            self._nested.open(columns)
            columns.rows = columns.rows + start
            faults |= {row + start: fault for row, fault in own_faults.items()}
            in_pieces |= pieced
            parts.append(columns)
        default = default_key(self._paths.service_default, batch.topic)
        whole = concatenated(parts)
        return log_batch(batch, whole, faults, self._limits, default, formats, in_pieces=in_pieces)

    def labels(self, key: SeriesKey) -> NamedLabels | LabelFault:
        """Labels of the service behind a key."""
        return labels_of(key)

    @abstractmethod
    def _lines(
        self, records: Sequence[bytes | None], faults: dict[int, Fault], formats: Counter[str]
    ) -> tuple[LineColumns, bool]:
        """Lines of ``records``, and whether they had to be decoded in pieces."""


class ProfileLogDecoder(_JsonLogDecoder):
    """Decode log records in JSON by one profile of places."""

    def __init__(self, profile: Profile, paths: LogPaths, limits: LogDecoderLimits) -> None:
        super().__init__(paths, limits)
        self.name = profile.name
        self._leaves = Leaves(with_paths(profile, paths), paths.utc_offset_ms)
        self._parser = KeysParser(self._leaves.fields, limits.record_bytes_max)

    def _lines(
        self, records: Sequence[bytes | None], faults: dict[int, Fault], formats: Counter[str]
    ) -> tuple[LineColumns, bool]:
        rows, points, _, own_faults, in_pieces = self._parser.parse(records)
        faults |= own_faults
        if len(rows):
            formats[self.name] += len(np.unique(rows)) if in_pieces else len(rows)
        found: dict[int, Fault] = {}
        columns = lines_of_points(self._leaves, np.arange(len(rows)), points, found)
        return _by_record(columns, rows, found, faults), in_pieces


class AnyJsonLogDecoder(_JsonLogDecoder):
    """Decode log records in JSON of any flavour."""

    name = "json"

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits) -> None:
        super().__init__(paths, limits)
        self._parser = FlavourParser(
            lambda profile: with_paths(profile, paths), paths.utc_offset_ms, limits.record_bytes_max
        )
        self._wholes = {"otlp_json": OtlpJsonLines().lines, "loki": LokiLines().lines}

    def _lines(
        self, records: Sequence[bytes | None], faults: dict[int, Fault], formats: Counter[str]
    ) -> tuple[LineColumns, bool]:
        rows, groups, own_faults, in_pieces = self._parser.parse(records)
        faults |= own_faults
        parts: list[LineColumns] = []
        found: dict[int, Fault] = {}
        firsts = np.zeros(len(rows), dtype=np.bool_)
        firsts[np.unique(rows, return_index=True)[1]] = True
        for flavour, leaves, places, points, texts in groups:
            read = self._wholes.get(flavour.name)
            if read is not None:
                parts.append(read(places, texts, found))
            else:
                parts.append(lines_of_points(leaves, places, points, found))
            if firsts[places].any():
                formats[flavour.name] += int(firsts[places].sum())
        return _by_record(merged(parts), rows, found, faults), in_pieces


def lines_of_points(leaves: Leaves, places: IntArray, points: Sequence[Any], faults: dict[int, Fault]) -> LineColumns:
    """Lines of the objects at ``places``; ``faults`` gains one, by place, for each that is none."""
    messages = leaves.messages(points)
    if None in messages:
        kept = [place for place, message in enumerate(messages) if message is not None]
        missing = np.setdiff1d(np.arange(len(messages)), kept)
        faults |= dict.fromkeys(places[missing].tolist(), ("missing_field", leaves.missing))
        places, points = places[kept], [points[place] for place in kept]
        messages = [messages[place] for place in kept]
    columns = leaves.columns(places, points, messages)
    unreadable = leaves.unreadable(points, columns.times_ms)
    if not unreadable:
        return columns
    faults |= {int(places[place]): fault for place, fault in unreadable.items()}
    return columns.taken(np.setdiff1d(np.arange(len(places)), list(unreadable)))


def _by_record(columns: LineColumns, rows: IntArray, found: dict[int, Fault], faults: dict[int, Fault]) -> LineColumns:
    """Lines and faults of objects become those of their records; the first fault of a record stays."""
    for place in sorted(found):
        faults.setdefault(int(rows[place]), found[place])
    columns.rows = rows[columns.rows]
    return columns


def profile_decoder(name: str) -> Callable[[LogPaths, LogDecoderLimits], ProfileLogDecoder]:
    """The decoder of one profile, for the registry."""
    profile = PROFILES[name]
    return lambda paths, limits: ProfileLogDecoder(profile, paths, limits)
