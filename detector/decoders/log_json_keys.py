"""Parse records by a type made for the keys that they turn out to have.

Most topics have records of one shape: a dozen keys of the hundred that a log record may have. A type with just those
fields parses in half the time, and what it lacks need not be looked for. It refuses a record with any other key, and
then the type with all fields is used; so what is known of keys decides how fast a record is read, never how.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from detector.decoders.json_lines import ObjectParser
from detector.decoders.log_json_fields import Fields, can_be_field

RECORDS_MIN: Final = 16
"""Fewer records are not worth looking at their keys."""
SAMPLE_RECORDS: Final = 16
"""Records of a batch whose keys are learnt when one had an unknown key."""
KEYS_MAX: Final = 96
"""Keys known at once. Who puts values into keys has more of them, and nothing to gain here."""
REFUSALS_MAX: Final = 8
REST_BATCHES: Final = 256
"""After so many batches in a row with an unknown key or garbage, so many are parsed without trying."""

_KEYS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNKNOWN: Final = re.compile(r"unknown field `(.*?)`(?: - at|$)", re.DOTALL)


class KeysParser(ObjectParser):
    """Parse objects with the fields of ``fields``. All points of one call are of one type."""

    def __init__(self, fields: Fields, bytes_max: int) -> None:
        super().__init__(fields.kind, bytes_max)
        self._fields = fields
        self._keys: set[str] = set()
        self._narrow: msgspec.json.Decoder[Any] | None = None
        self._refusals = 0
        self._resting = 0

    def _decode_batch(self, joined: bytes, records: Sequence[bytes]) -> list[Any]:
        if len(records) < RECORDS_MIN or self._rests():
            return self._decode_chunk(joined, records)
        if self._narrow is None:
            self._learn(records, ())
        if self._narrow is not None:
            try:
                points: list[Any] = self._narrow.decode_lines(joined)
            except msgspec.ValidationError as error:
                self._refused(records, str(error))
            else:
                self._refusals = 0
                return points
        return self._decode_chunk(joined, records)

    def _rests(self) -> bool:
        self._resting = max(self._resting - 1, 0)
        return self._resting > 0

    def _refused(self, records: Sequence[bytes], error: str) -> None:
        self._refusals += 1
        if self._refusals >= REFUSALS_MAX:
            self._refusals, self._resting = 0, REST_BATCHES
        found = _UNKNOWN.search(error)
        self._learn(records, () if found is None else (found[1],))

    def _learn(self, records: Sequence[bytes], keys: Iterable[str]) -> None:
        """Take the keys of some records, and a type for all that are known."""
        known = self._keys.union(keys)
        for record in records[:: -(-len(records) // SAMPLE_RECORDS)]:
            try:
                known.update(_KEYS.decode(record))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
        known = set(filter(can_be_field, known))
        if len(known) > KEYS_MAX:
            self._keys, self._narrow, self._resting = set(), None, REST_BATCHES
        elif len(known) > len(self._keys):
            self._keys = known
            self._narrow = msgspec.json.Decoder(self._fields.narrowed(known))
