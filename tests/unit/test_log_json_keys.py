"""A type made for the keys that records have changes how fast they are read, and nothing else."""

import json
from typing import Any

import pytest

from detector.decoders.json_lines import ObjectParser
from detector.decoders.log_json_fields import Fields, first_of
from detector.decoders.log_json_keys import KEYS_MAX, RECORDS_MIN, REFUSALS_MAX, REST_BATCHES, KeysParser

PLACES = ("message", "log.level", "log", "time")
COUNT = 3 * RECORDS_MIN


def parser() -> tuple[Fields, KeysParser]:
    fields = Fields(PLACES, ("service",), ("log", "ecs"))
    return fields, KeysParser(fields, 1_000)


def columns(fields: Fields, points: list[Any]) -> list[list[Any]]:
    return [[repr(value) for value in fields.column(points, place)] for place in PLACES]


def records_of(*objects: dict[str, Any]) -> list[bytes]:
    return [json.dumps(objects[place % len(objects)]).encode() for place in range(COUNT)]


def assert_as_by_the_full_type(fields: Fields, narrow: KeysParser, records: list[bytes]) -> None:
    found = narrow.parse(records)
    full = ObjectParser(fields.kind, 1_000).parse(records)
    assert columns(fields, found.points) == columns(fields, full.points)
    assert (found.rows.tolist(), found.faults, found.in_pieces) == (full.rows.tolist(), full.faults, full.in_pieces)
    assert first_of(fields, found.points, PLACES) == first_of(fields, full.points, PLACES)
    services = [None if raw is None else bytes(raw) for raw in fields.column(found.points, "service")]
    assert services == [None if raw is None else bytes(raw) for raw in fields.column(full.points, "service")]
    for marker in ("log", "ecs"):
        ours, theirs = fields.present(found.points, marker), fields.present(full.points, marker)
        assert (ours is None) == (theirs is None)
        assert ours is None or theirs is None or ours.tolist() == theirs.tolist()


def test_records_of_one_shape_are_of_a_type_with_their_keys() -> None:
    fields, narrow = parser()
    records = records_of({"message": "a", "thread": "t-1", "log": {"level": "warn", "file": 1}})
    points = narrow.parse(records).points
    assert {type(point) for point in points}.isdisjoint({fields.kind})
    assert fields.lacks(points, "time")
    assert not fields.lacks(points, "message")
    assert_as_by_the_full_type(fields, narrow, records)


def test_a_key_that_comes_later_is_read_at_once_and_learnt() -> None:
    fields, narrow = parser()
    narrow.parse(records_of({"message": "a"}))
    later = [*records_of({"message": "a"}), b'{"message":"b","time":5,"service":"s"}']
    assert_as_by_the_full_type(fields, narrow, later)
    assert_as_by_the_full_type(fields, narrow, later)
    assert type(narrow.parse(later).points[0]) is not fields.kind


def test_garbage_among_chunks_of_other_shapes_does_not_mix_types() -> None:
    fields, narrow = parser()
    records = [*records_of({"message": "a"}), b"garbage", *records_of({"time": 5, "log": "x"}, {"ecs": {}, "other": 1})]
    assert_as_by_the_full_type(fields, narrow, records)
    assert_as_by_the_full_type(fields, narrow, records)


def test_who_puts_values_into_keys_is_not_followed() -> None:
    fields, narrow = parser()
    for batch in range(2 * KEYS_MAX // COUNT + 2):
        records = [b'{"message":"a","user-%d-%d":1}' % (batch, place) for place in range(COUNT)]
        assert_as_by_the_full_type(fields, narrow, records)
        assert len(narrow._keys) <= KEYS_MAX


def test_after_many_refusals_it_rests_and_then_tries_again() -> None:
    fields, narrow = parser()
    for place in range(REFUSALS_MAX + 1):
        narrow.parse([*records_of({"message": "a"}), b'{"message":"a","k%d":1}' % place])
    assert type(narrow.parse(records_of({"message": "a"})).points[0]) is fields.kind
    for _ in range(REST_BATCHES):
        narrow.parse(records_of({"message": "a"}))
    assert type(narrow.parse(records_of({"message": "a"})).points[0]) is not fields.kind


@pytest.mark.parametrize("key", ["a`b", "a\nb", "", "é", 'q"', "b\\s", "f0", "o1", "self", "class"])
def test_odd_keys_are_keys(key: str) -> None:
    fields, narrow = parser()
    narrow.parse(records_of({"message": "a"}))
    records = records_of({"message": "a", key: 1})
    assert_as_by_the_full_type(fields, narrow, records)
    assert_as_by_the_full_type(fields, narrow, records)
