"""The measures of benchmarks/loghub.py, on sets small enough to count by hand."""

import pytest

from benchmarks.log_miners import Mined, ours
from benchmarks.loghub import accuracy, uniform

TRUTH = ["a <*>", "a <*>", "b", "c <*>", "c <*>"]


def test_a_miner_that_finds_the_truth_has_all_measures_at_one() -> None:
    mined = Mined([1, 1, 2, 3, 3], {1: "a <*>", 2: "b", 3: "c <*>"}, [0, 2, 3])
    assert set(accuracy(mined, TRUTH).values()) == {1.0}


def test_each_measure_counts_what_it_says() -> None:
    mined = Mined([1, 1, 2, 2, 2], {1: "a 1", 2: "<*> <*>"}, [0, 2])
    found = accuracy(mined, TRUTH)
    assert found["ga"] == 2 / 5
    assert found["fga"] == 2 * 1 / (2 + 3)
    assert found["pa"] == 2 / 5
    assert found["fta"] == 2 * 1 / (2 + 3)
    assert found["new_template_f1"] == 2 * 2 / (2 + 3)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("blk_<*> is  done ", "<*> is done"),
        ("to <*>:<*>, /var/log/x", "to <*>, <*>"),
        ("user=root took <*>.<*>%", "user=<*> took <*>"),
        ("rank 7", "rank <*>"),
        ("a/<*>", "a/<*>"),
    ],
)
def test_texts_are_brought_into_one_form(text: str, same: str) -> None:
    assert uniform(text) == same


def test_our_miner_counts_the_class_of_a_status_as_a_parameter() -> None:
    mined = ours(["done with status 200", "done with status 404"])
    assert set(mined.texts.values()) == {"done with status <*>"}
    assert mined.created == [0, 1]
