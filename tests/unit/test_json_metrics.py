"""Generic JSON metrics: layouts, paths, and a reason for every reject."""

import pytest

from detector.batches import REJECT_REASONS, SampleBatch
from detector.decoders import DecoderLimits, JsonMetricsDecoder, JsonPaths, LabelFault, NamedLabels
from detector.errors import UsageError
from tests.streams import batch_of

NOW_MS = 1_800_000_000_000
GOOD = b'{"name":"cpu","labels":{"host":"web-3"},"time":1795305600,"value":0.5}'


def decoder(paths: JsonPaths | None = None, limits: DecoderLimits | None = None) -> JsonMetricsDecoder:
    return JsonMetricsDecoder(paths or JsonPaths(), limits or DecoderLimits())


def samples(batch: SampleBatch) -> list[tuple[int, str, int, float]]:
    return [
        (row, key[0], time, value)
        for row, key, time, value in zip(
            batch.rows.tolist(), batch.keys, batch.times_ms.tolist(), batch.values.tolist(), strict=True
        )
    ]


def decode_one(value: bytes | None, **limits: int) -> SampleBatch:
    return decoder(limits=DecoderLimits(**limits)).decode(batch_of([value], timestamp_ms=NOW_MS))


class TestLayouts:
    def test_one_object_is_one_sample(self) -> None:
        found = decode_one(GOOD)
        assert samples(found) == [(0, "cpu", 1_795_305_600_000, 0.5)]
        assert found.keys[0] == ("cpu", b'{"host":"web-3"}')
        assert list(found.rejects) == []

    def test_an_array_is_as_many_samples_as_it_has_objects(self) -> None:
        found = decode_one(b'[{"name":"a","time":1,"value":1},{"name":"b","time":2,"value":2}]')
        assert samples(found) == [(0, "a", 1000, 1.0), (0, "b", 2000, 2.0)]

    def test_equally_long_lists_are_one_series_with_many_points(self) -> None:
        found = decode_one(b'{"name":"a","labels":{"x":"1"},"time":[1,2,3],"value":[4,5.5,"6"]}')
        assert samples(found) == [(0, "a", 1000, 4.0), (0, "a", 2000, 5.5), (0, "a", 3000, 6.0)]
        assert {key[1] for key in found.keys} == {b'{"x":"1"}'}

    def test_layouts_may_alternate_on_one_topic(self) -> None:
        records = [GOOD, b'[{"name":"a","time":1,"value":1}]', b'{"name":"b","time":[1,2],"value":[1,2]}', GOOD]
        found = decoder().decode(batch_of(records))
        assert found.rows.tolist() == [0, 1, 2, 2, 3]

    def test_unknown_fields_are_skipped(self) -> None:
        assert samples(decode_one(b'{"z":{"y":[1,{}]},"name":"a","time":1,"value":1,"w":null}')) == [
            (0, "a", 1000, 1.0)
        ]

    def test_a_pretty_printed_record_is_one_record(self) -> None:
        records = [b'{\n  "name": "a",\n  "time": 1,\n  "value": 1\n}', GOOD]
        assert decoder().decode(batch_of(records)).rows.tolist() == [0, 1]


class TestPaths:
    def test_nested_paths_and_dots_in_keys(self) -> None:
        paths = JsonPaths(name="metric.name", labels="metric.tags", time=r"meta.event\.time", value="v")
        record = b'{"metric":{"name":"q","tags":{"a":"b"}},"meta":{"event.time":5},"v":3}'
        found = decoder(paths).decode(batch_of([record, record]))
        assert samples(found) == [(0, "q", 5000, 3.0), (1, "q", 5000, 3.0)]
        assert found.keys[0][1] == b'{"a":"b"}'

    def test_a_default_name_serves_records_without_one(self) -> None:
        paths = JsonPaths(name="metric.name", name_default="flow")
        records = [
            b'{"time":1,"value":1}',
            b'{"metric":{"name":"own"},"time":1,"value":1}',
            b'{"time":[1],"value":[null]}',
        ]
        found = decoder(paths).decode(batch_of(records))
        assert [key[0] for key in found.keys] == ["flow", "own"]
        assert found.rejects[0].reason == "wrong_type"

    def test_nested_columns_with_a_hole_keep_their_good_points(self) -> None:
        found = decoder(JsonPaths(value="data.v")).decode(
            batch_of([b'{"name":"a","time":[1,2],"data":{"v":[3,null]}}'])
        )
        assert samples(found) == [(0, "a", 1000, 3.0)]

    @pytest.mark.parametrize(
        "paths", [JsonPaths(name=""), JsonPaths(name="a..b"), JsonPaths(name="time"), JsonPaths(name="value.x")]
    )
    def test_impossible_paths_are_refused(self, paths: JsonPaths) -> None:
        with pytest.raises(UsageError, match=r"decoder\.paths"):
            decoder(paths)


REJECTS: list[tuple[str, bytes | None]] = [
    ("invalid_json", b"garbage"),
    ("invalid_json", b'{"name":"a","time":1'),
    ("invalid_json", GOOD + b" " + GOOD),
    ("invalid_json", b'{"name":"\xff","time":1,"value":1}'),
    ("invalid_json", b'{"name":"a","time":1,"value":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    ("invalid_json", b'{"name":"a","time":1,"value":NaNa}'),
    ("missing_field", b'{"name":"a","time":1}'),
    ("missing_field", b'{"name":"a","value":1}'),
    ("missing_field", b'{"time":1,"value":1}'),
    ("missing_field", b'{"name":null,"time":1,"value":1}'),
    ("wrong_type", b"5"),
    ("wrong_type", b"[[1]]"),
    ("wrong_type", b'{"name":5,"time":1,"value":1}'),
    ("wrong_type", b'{"name":"a","time":1,"value":true}'),
    ("wrong_type", b'{"name":"a","time":1,"value":"fast"}'),
    ("wrong_type", b'{"name":"a","time":1,"value":{"NaN":1}}'),
    ("wrong_type", b'{"name":"a","time":[1,2],"value":[1]}'),
    ("wrong_type", b'{"name":"a","time":1,"value":[1]}'),
    ("not_finite", b'{"name":"a","time":1,"value":1e999}'),
    ("not_finite", b'{"name":"a","time":1,"value":NaN}'),
    ("not_finite", b'{"name":"a","time":1,"value":-Infinity}'),
    ("not_finite", b'{"name":"a","time":1,"value":"+Inf"}'),
    ("not_finite", b'{"name":"a","time":1,"value":' + b"9" * 400 + b"}"),
    ("time_unreadable", b'{"name":"a","time":"yesterday","value":1}'),
    ("time_unreadable", b'{"name":"a","time":-1,"value":1}'),
    ("time_unreadable", b'{"name":"a","time":1e300,"value":1}'),
    ("time_unreadable", b'{"name":"a","time":true,"value":1}'),
    ("time_unreadable", b'{"name":"a","time":"2026-13-01T00:00:00Z","value":1}'),
    ("too_far_ahead", b'{"name":"a","time":1800000601,"value":1}'),
    ("too_large", b'{"name":"a","time":1,"value":1,"pad":"' + b"x" * 2000 + b'"}'),
    ("empty", None),
    ("empty", b""),
    ("empty", b"  "),
    ("empty", b"[]"),
    ("empty", b'{"name":"a","time":[],"value":[]}'),
]


class TestRejects:
    @pytest.mark.parametrize(("reason", "value"), REJECTS)
    def test_every_fault_has_its_reason_and_no_sample(self, reason: str, value: bytes | None) -> None:
        found = decode_one(value, record_bytes_max=12_000 if value and b"[[" in value else 1000)
        assert [reject.reason for reject in found.rejects] == [reason]
        assert len(found) == 0
        assert found.rejects[0].detail

    @pytest.mark.parametrize(("reason", "value"), REJECTS)
    def test_a_fault_does_not_touch_its_neighbours(self, reason: str, value: bytes | None) -> None:
        limits = DecoderLimits(record_bytes_max=12_000 if value and b"[[" in value else 1000)
        found = decoder(limits=limits).decode(batch_of([GOOD] * 40 + [value] + [GOOD] * 40, timestamp_ms=NOW_MS))
        assert [(reject.row, reject.offset, reject.reason) for reject in found.rejects] == [(40, 40, reason)]
        assert found.rows.tolist() == [row for row in range(81) if row != 40]

    def test_the_table_covers_every_reason_a_record_can_have(self) -> None:
        assert {reason for reason, _ in REJECTS} | {"too_many_labels", "malformed"} == set(REJECT_REASONS)

    def test_bad_items_of_an_array_are_named_and_good_ones_kept(self) -> None:
        found = decode_one(b'[{"name":"a","time":1,"value":1},{"name":"b","time":1},{"name":"c","time":1,"value":3}]')
        assert [sample[1] for sample in samples(found)] == ["a", "c"]
        assert [reject.reason for reject in found.rejects] == ["missing_field"]

    def test_nan_in_an_array_costs_one_item(self) -> None:
        found = decode_one(b'[{"name":"a","time":1,"value":1},{"name":"b","time":1,"value":NaN}]')
        assert [sample[1] for sample in samples(found)] == ["a"]
        assert [reject.reason for reject in found.rejects] == ["not_finite"]

    def test_a_record_without_broker_timestamp_is_never_too_far_ahead(self) -> None:
        found = decoder().decode(batch_of([b'{"name":"a","time":9999999999,"value":1}']))
        assert len(found) == 1

    def test_crafted_records_cannot_shift_values_to_other_offsets(self) -> None:
        crafted = [b'{"name":"a","time":1,"value":1,"x":[', b"]}", GOOD + b" " + GOOD]
        found = decoder().decode(batch_of(crafted))
        assert [(reject.row, reject.reason) for reject in found.rejects] == [(row, "invalid_json") for row in range(3)]
        assert len(found) == 0

    def test_no_string_goes_on_in_the_next_record(self) -> None:
        found = decoder().decode(batch_of([b'{"x":"}', b'{"}', GOOD + b"\n" + GOOD]))
        assert (found.rows.tolist(), [reject.reason for reject in found.rejects]) == ([], ["invalid_json"] * 3)

    def test_a_split_object_and_a_doubled_line_do_not_balance_out(self) -> None:
        crafted = [b'{"x":{}', b'{"name":"a","time":1,"value":1}}', GOOD]
        found = decoder().decode(batch_of(crafted))
        assert [(reject.row, reject.reason) for reject in found.rejects] == [(0, "invalid_json"), (1, "invalid_json")]
        assert found.rows.tolist() == [2]


class TestLabels:
    def test_numbers_and_booleans_become_text_and_null_is_left_out(self) -> None:
        key = ("m", b'{"a":1,"b":true,"c":null,"d":"x","e":1.5}')
        assert decoder().labels(key) == NamedLabels("m", {"a": "1", "b": "true", "d": "x", "e": "1.5"})

    def test_no_labels_at_all_are_fine(self) -> None:
        assert decoder().labels(("m", b"null")) == NamedLabels("m", {})

    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            (b"[1]", "wrong_type"),
            (b'"text"', "wrong_type"),
            (b'{"a":{"b":1}}', "wrong_type"),
            (b'{"a":"\xff"}', "invalid_json"),
            (b'{"a":"1","b":"2","c":"3"}', "too_many_labels"),
        ],
    )
    def test_unusable_labels_have_a_reason(self, raw: bytes, reason: str) -> None:
        fault = decoder(limits=DecoderLimits(labels_max=2)).labels(("m", raw))
        assert isinstance(fault, LabelFault)
        assert fault.reason == reason
