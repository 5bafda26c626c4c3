"""Laws of every decoder: it never raises, accounts for every record, and does not see batch cuts.

A format brings a strategy for its good records in ``GOOD``; what is broken, torn, glued or of another format is made of
those here.
"""

from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import Reject, SampleBatch, SeriesKey
from detector.decoders import DECODERS, Decoder, DecoderLimits, JsonPaths, NamedLabels
from tests.streams import batch_of, cuts

STAMP_MS = 1_795_305_600_000

scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["NaN", "1795305600", "2026-11-22T00:00:00Z"]),
)
leaf = st.one_of(scalar, st.lists(scalar, max_size=3), st.dictionaries(st.text(max_size=3), scalar, max_size=3))
GOOD: Final[dict[str, st.SearchStrategy[bytes]]] = {
    "json": st.builds(
        lambda name, value, label: (
            f'{{"name":"{name}","labels":{{"l":"{label}"}},"time":1795305600,"value":{value}}}'.encode()
        ),
        st.sampled_from(["cpu", "disk"]),
        st.integers(-9, 9),
        st.sampled_from("abc"),
    ),
}
"""Format -> records of which every one decodes, each shorter than 200 bytes."""
point = st.fixed_dictionaries({}, optional={"name": leaf, "labels": leaf, "time": leaf, "value": leaf, "other": leaf})


def _python_json(value: object) -> bytes:
    import json  # noqa: PLC0415  # Python's own writer, because it writes NaN as careless producers do

    return json.dumps(value).encode()


def _torn(value: bytes) -> list[bytes]:
    middle = len(value) // 2
    return [value[:middle], value[middle:]]


def record_of(name: str) -> st.SearchStrategy[bytes | None]:
    """Records as a topic of this format may hold them."""
    good = GOOD[name]
    return st.one_of(
        good,
        good,
        good,
        point.map(_python_json),
        st.lists(point, max_size=3).map(_python_json),
        st.binary(max_size=40),
        st.none(),
        st.lists(good, min_size=2, max_size=3).map(b"".join),
        st.lists(good, min_size=2, max_size=3).map(b"\n".join),
        good.map(lambda value: _torn(value)[0]),
        good.map(lambda value: _torn(value)[1]),
    )


def decoder_of(name: str) -> Decoder:
    return DECODERS[name](JsonPaths(), DecoderLimits(record_bytes_max=200, labels_max=2))


every_decoder = pytest.mark.parametrize("name", sorted(DECODERS))


def rows_of(batch: SampleBatch, shift: int) -> tuple[list[tuple[int, SeriesKey, int, str]], list[tuple[int, str, str]]]:
    """Samples and rejects with offsets instead of rows, values as exact text."""
    found = [
        (row + shift, key, time, float.hex(value))
        for row, key, time, value in zip(
            batch.rows.tolist(), batch.keys, batch.times_ms.tolist(), batch.values.tolist(), strict=True
        )
    ]
    return found, [(reject.offset, reject.reason, reject.detail) for reject in batch.rejects]


def test_every_registered_decoder_is_tried() -> None:
    assert set(GOOD) == set(DECODERS)


@every_decoder
@settings(derandomize=True, deadline=None, max_examples=150)
@given(data=st.data())
def test_accounts_for_every_record_and_never_raises(name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(record_of(name), max_size=90))
    decoder = decoder_of(name)
    found = decoder.decode(batch_of(values, timestamp_ms=STAMP_MS))
    rejected = [reject.row for reject in found.rejects]
    assert rejected == sorted(set(rejected))
    assert sorted(set(found.rows.tolist()) | set(rejected)) == list(range(len(values)))
    assert all(isinstance(reject, Reject) and reject.offset == reject.row for reject in found.rejects)
    assert found.rows.tolist() == sorted(found.rows.tolist())
    for key in found.keys:
        decoder.labels(key)


@every_decoder
@settings(derandomize=True, deadline=None, max_examples=150)
@given(data=st.data(), sizes=st.lists(st.integers(1, 40), max_size=20))
def test_any_cut_of_the_stream_gives_the_same_samples_and_rejects(
    name: str, data: st.DataObject, sizes: list[int]
) -> None:
    values = data.draw(st.lists(record_of(name), max_size=90))
    decoder = decoder_of(name)
    whole = rows_of(decoder.decode(batch_of(values, timestamp_ms=STAMP_MS)), 0)
    samples: list[tuple[int, SeriesKey, int, str]] = []
    rejects: list[tuple[int, str, str]] = []
    for batch in cuts(values, sizes, timestamp_ms=STAMP_MS):
        part = rows_of(decoder.decode(batch), int(batch.offsets[0]))
        samples += part[0]
        rejects += part[1]
    assert (samples, rejects) == whole


@every_decoder
@settings(derandomize=True, deadline=None, max_examples=60)
@given(data=st.data())
def test_a_record_alone_equals_the_same_record_in_company(name: str, data: st.DataObject) -> None:
    value, company = data.draw(record_of(name)), data.draw(GOOD[name])
    decoder = decoder_of(name)
    alone = decoder.decode(batch_of([value], timestamp_ms=STAMP_MS))
    among = decoder.decode(batch_of([company] * 3 + [value] + [company] * 70, timestamp_ms=STAMP_MS))
    mine = among.rows == 3
    assert among.values[mine].tolist() == alone.values.tolist()
    assert among.times_ms[mine].tolist() == alone.times_ms.tolist()
    assert [reject[2:] for reject in among.rejects] == [reject[2:] for reject in alone.rejects]


@every_decoder
@settings(derandomize=True, deadline=None, max_examples=60)
@given(data=st.data())
def test_a_good_record_gives_finite_samples_of_nameable_series(name: str, data: st.DataObject) -> None:
    decoder = decoder_of(name)
    found = decoder.decode(batch_of([data.draw(GOOD[name])], timestamp_ms=STAMP_MS))
    assert len(found) >= 1
    assert not found.rejects
    assert np.isfinite(found.values).all()
    assert all(isinstance(decoder.labels(key), NamedLabels) for key in found.keys)
