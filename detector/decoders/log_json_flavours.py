"""JSON of any producer: records by their flavour, each parsed by the small type of its own.

A type with the fields of all producers costs three times as much as one with those of a single one. So a batch is
parsed with the type that its first record suggests, which also has the markers of all flavours before its own; whatever
turns out to be of another flavour is parsed once more. What a record's flavour is depends on the record alone.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from detector.batches import BoolArray, IntArray
from detector.decoders.json_lines import Fault, ObjectParser
from detector.decoders.log_json_fields import Fields, Profile
from detector.decoders.log_json_keys import KeysParser
from detector.decoders.log_json_leaves import Leaves
from detector.decoders.log_json_profiles import FLAVOURS, WHOLES, Flavour


class Group(NamedTuple):
    """Objects of one flavour: their places among all objects (ascending), typed points, their texts."""

    flavour: Flavour
    leaves: Leaves
    places: IntArray
    points: list[Any]
    texts: list[bytes]


class Objects(NamedTuple):
    """The objects of some records: ``rows`` the record of each, ``groups`` by flavour, faults by record."""

    rows: IntArray
    groups: list[Group]
    faults: dict[int, Fault]
    in_pieces: bool


class FlavourParser:
    """Parse records of mixed flavours, whose profiles ``adapt`` may change before their types are made."""

    def __init__(self, adapt: Callable[[Profile], Profile], utc_offset_ms: int, bytes_max: int) -> None:
        self._leaves: Final = [
            Leaves(
                flavour.profile if flavour.profile is WHOLES else adapt(flavour.profile),
                utc_offset_ms,
                all_markers(number + 1),
            )
            for number, flavour in enumerate(FLAVOURS)
        ]
        self._parsers = [KeysParser(one.fields, bytes_max) for one in self._leaves]
        self._again = [ObjectParser(one.fields.kind) for one in self._leaves]
        self._markers = Fields((), (), all_markers(len(FLAVOURS)))
        self._sniffer: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self._markers.kind)

    def parse(self, records: Sequence[bytes | None]) -> Objects:
        """All objects of ``records``."""
        guess = self._flavour_of(records[0] if records else None)
        rows, points, texts, faults, in_pieces = self._parsers[guess].parse(records)
        groups: list[Group] = []
        places = np.arange(len(points), dtype=np.int64)
        for _ in range(len(FLAVOURS) + 1):
            own = self._of_flavour(guess, points)
            if own.all():
                groups.append(Group(FLAVOURS[guess], self._leaves[guess], places, points, list(texts)))
                break
            mine, others = np.flatnonzero(own).tolist(), np.flatnonzero(~own).tolist()
            if mine:
                taken = [points[place] for place in mine], [texts[place] for place in mine]
                groups.append(Group(FLAVOURS[guess], self._leaves[guess], places[mine], *taken))
            guess = self._flavour_of(texts[others[0]])
            again = self._again[guess].parse([texts[place] for place in others])
            places = places[others]  # a mended text may be longer than the limit of records
            for place, fault in again.faults.items():
                faults.setdefault(int(rows[places[place]]), fault)
            places, points, texts = places[again.rows], again.points, again.texts
        return Objects(rows, groups, faults, in_pieces)

    def _of_flavour(self, guess: int, points: Sequence[Any]) -> BoolArray:
        """Which points are of the flavour with whose type they were parsed."""
        fields = self._leaves[guess].fields
        own = np.full(len(points), not FLAVOURS[guess].markers, dtype=np.bool_)
        for marker in FLAVOURS[guess].markers:
            present = fields.present(points, marker)
            if present is not None:
                own |= present
        for marker in all_markers(guess):
            present = fields.present(points, marker)
            if present is not None:
                own &= ~present
        return own

    def _flavour_of(self, text: bytes | None) -> int:
        """The flavour of one object; the last one where it is none."""
        try:
            points = [self._sniffer.decode(text or b"")]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return len(FLAVOURS) - 1
        for number, flavour in enumerate(FLAVOURS):
            found = (self._markers.present(points, marker) for marker in flavour.markers)
            if not flavour.markers or any(one is not None and one[0] for one in found):
                return number
        return len(FLAVOURS) - 1


def all_markers(before: int) -> tuple[str, ...]:
    """The markers of the flavours before that with number ``before``."""
    return tuple(marker for flavour in FLAVOURS[:before] for marker in flavour.markers)
