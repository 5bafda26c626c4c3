"""Miners in a snapshot: small, checked, and without anything that runs."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detector.errors import SnapshotRefusedError
from detector.state import encode
from detector.state.snapshot import SnapshotHeader
from detector.templates import KeptMiner, MinerLimits, TemplateMiner, laid_out, taken_apart
from tests.log_lines import random_lines, service_lines

HEADER = SnapshotHeader(
    config_hash="", cluster="", topic="", partition=0, offset=0, watermark_ms=0, series_count=0, open_episodes=0
)


def columns(*, seed: int = 1) -> dict[str, NDArray[Any]]:
    """Columns of two miners, of which the second has merged templates."""
    miners = [TemplateMiner(), TemplateMiner()]
    miners[0].mine(random_lines(20, seed))
    miners[1].mine(service_lines(500, seed))
    assert miners[1].counts.merged
    return laid_out([miner.copy() for miner in miners])


def restored(changed: dict[str, NDArray[Any]]) -> list[TemplateMiner]:
    """The miners of these columns."""
    return [TemplateMiner.of(kept) for kept in taken_apart(changed)]


def test_no_miners_are_columns_too() -> None:
    assert taken_apart(laid_out([])) == []
    assert [len(miner) for miner in restored(laid_out([TemplateMiner().copy()]))] == [0]


def test_a_template_takes_few_bytes() -> None:
    miner = TemplateMiner()
    miner.mine(random_lines(1_500, seed=2))
    copy = miner.copy()
    text_bytes = sum(len(text) for text in copy.texts)
    size = len(encode(HEADER, lambda: laid_out([copy])))
    assert size < text_bytes + 20 * len(miner)


def test_a_copy_is_of_its_moment() -> None:
    miner = TemplateMiner()
    miner.mine([b"link eth0 up", b"user ann came in today at five"])
    copy = miner.copy()
    before = laid_out([copy])
    miner.mine([b"link eth1 up", b"user bob came in today at five", b"new"])
    assert {name: column.tolist() for name, column in laid_out([copy]).items()} == {
        name: column.tolist() for name, column in before.items()
    }


@pytest.mark.parametrize("name", sorted(laid_out([])))
def test_a_missing_column_is_refused(name: str) -> None:
    less = columns()
    del less[name]
    with pytest.raises(SnapshotRefusedError, match=name):
        taken_apart(less)


@pytest.mark.parametrize("name", sorted(laid_out([])))
def test_a_column_of_another_shape_is_refused(name: str) -> None:
    changed = columns()
    changed[name] = np.concatenate([changed[name], changed[name][-1:]])
    with pytest.raises(SnapshotRefusedError):
        taken_apart(changed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 2),
        ("numbers", 0),
        ("numbers", 2),
        ("numbers", 1_999_999),
        ("stands_for", 1_999),
        ("counts", -1),
        ("first", -1),
        ("renamed", 1_000_000),
        ("miners", -1),
    ],
)
def test_values_that_cannot_be_are_refused(name: str, value: int) -> None:
    changed = columns()
    column = changed[name] = changed[name].copy()
    column.flat[0] = value
    with pytest.raises(SnapshotRefusedError):
        restored(changed)


def test_a_miner_with_less_room_refuses_more_templates() -> None:
    miner = TemplateMiner()
    miner.mine([b"a b c", b"d e"])
    (kept,) = taken_apart(laid_out([miner.copy()]))
    assert isinstance(kept, KeptMiner)
    with pytest.raises(SnapshotRefusedError, match="do not fit a miner of 1"):
        TemplateMiner.of(kept, MinerLimits(templates=1))
    with pytest.raises(SnapshotRefusedError, match="3 tokens"):
        TemplateMiner.of(kept, MinerLimits(tokens=2))
