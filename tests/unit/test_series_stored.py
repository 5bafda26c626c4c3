"""Identities as bytes: packed, joined for a snapshot, and cut apart again by a scanner that is not fooled."""

import json
import os
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from detector.batches import SeriesIdentity
from detector.errors import SnapshotRefusedError
from detector.series.identity import identify
from detector.series.stored import canonical_of, fingerprint_number, join, pack, split, unpack

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text('"\\]},[{:\x00\n\x7fü', max_size=8)
digests = st.text("0123456789abcdef", min_size=16, max_size=16)
identities = st.builds(
    SeriesIdentity, texts, st.dictionaries(texts, texts, max_size=3), texts, digests, st.none() | texts
)
TWO = [identify("cpu", {"host": 'a"],["', "zone": "ü"}), identify("up", {})]


def text_of(value: str | bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Text as a column."""
    return np.frombuffer(value.encode() if isinstance(value, str) else value, np.uint8)


def understood(text: bytes, count: int) -> list[SeriesIdentity] | None:
    """What :func:`split` makes of it, or None where it refuses."""
    try:
        packed, fingerprints = split(text_of(text), count)
    except SnapshotRefusedError:
        return None
    found = [unpack(each) for each in packed]
    assert fingerprints.tolist() == [fingerprint_number(identity) for identity in found]
    return found


def parsed(text: bytes, count: int) -> list[SeriesIdentity] | None:
    """The same, by a JSON parser alone."""
    row = tuple[str, dict[str, str], str, str, str | None]
    try:
        rows = msgspec.json.decode(text, type=list[row])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    usable = len(rows) == count and all(len(r[3]) == 16 and set(r[3]) <= set("0123456789abcdef") for r in rows)
    return [SeriesIdentity(*row) for row in rows] if usable else None


class TestJoining:
    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(st.lists(identities, max_size=4))
    def test_and_splitting_gives_the_same_identities(self, series: list[SeriesIdentity]) -> None:
        packed = [pack(identity) for identity in series]
        text = join(packed)
        again, fingerprints = split(text, len(series))
        assert again == packed
        assert [unpack(each) for each in again] == series
        assert [canonical_of(each) for each in again] == [identity.canonical for identity in series]
        assert [f"{number:016x}" for number in fingerprints.tolist()] == [identity.fingerprint for identity in series]
        assert parsed(text.tobytes(), len(series)) == series

    def test_many_are_cut_part_by_part(self) -> None:
        series = [identify("m", {"id": str(number), "é": "x" * (number % 7)}) for number in range(40_000)]
        packed = [pack(identity) for identity in series]
        again, fingerprints = split(join(packed), len(packed))
        assert again == packed
        assert fingerprints[-1] == fingerprint_number(series[-1])


class TestSplitting:
    @settings(derandomize=True, deadline=None, max_examples=400)
    @given(st.lists(identities, min_size=1, max_size=3), st.data())
    def test_harmed_text_is_read_as_a_parser_reads_it_or_refused(
        self, series: list[SeriesIdentity], data: st.DataObject
    ) -> None:
        text = bytearray(join([pack(identity) for identity in series]).tobytes())
        at = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 3))
        text[at : at + length] = data.draw(st.binary(max_size=3) | st.sampled_from([b"\\", b'"', b"]", b",", b"\\u00"]))
        assert understood(bytes(text), len(series)) == parsed(bytes(text), len(series))

    @pytest.mark.parametrize("ascii_only", [True, False])
    def test_json_in_another_layout_is_read_too(self, *, ascii_only: bool) -> None:
        rows = [[each.name, dict(each.labels), each.canonical, each.fingerprint, each.unit] for each in TWO]
        text = json.dumps(rows, indent=1, ensure_ascii=ascii_only)
        packed, _ = split(text_of(text), 2)
        assert packed == [pack(identity) for identity in TWO]

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_another_number_of_series_is_refused(self, count: int) -> None:
        with pytest.raises(SnapshotRefusedError, match=f"does not name {count} series"):
            split(join([pack(identity) for identity in TWO]), count)

    @pytest.mark.parametrize("fingerprint", ["", "0123", "0123456789ABCDEF", "0123456789abcdefa"])
    def test_a_fingerprint_that_is_none_is_refused(self, fingerprint: str) -> None:
        with pytest.raises(SnapshotRefusedError, match="with their fingerprints"):
            split(join([pack(SeriesIdentity("m", {}, "m", fingerprint))]), 1)

    def test_numbers_are_no_text(self) -> None:
        with pytest.raises(SnapshotRefusedError, match="not text"):
            split(np.zeros(4), 0)

    @settings(derandomize=True, deadline=None, max_examples=100)
    @given(st.binary(max_size=40), st.integers(0, 2))
    def test_bytes_from_anywhere_are_refused(self, text: bytes, count: int) -> None:
        assume(text != b"[]")
        assert understood(text, count) == parsed(text, count)

    def test_plain_python_reads_it_in_the_same_way(self) -> None:
        outcome = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "tests/unit/test_series_stored.py", "-k", "not plain_python"],
            env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
            capture_output=True,
            check=False,
            text=True,
        )
        assert outcome.returncode == 0, outcome.stdout
