"""The template miner: what becomes one template, what stays apart, and what every bound does."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import product

import pytest

from detector.templates import OTHER, Change, MinerLimits, TemplateMiner
from detector.templates.miner import EPOCH_LINES, PART_BYTES, PART_LINES
from tests.log_lines import NAMES, random_lines, service_lines


def texts(miner: TemplateMiner) -> set[str]:
    """Texts of all templates."""
    return {miner.template(number).text for number in miner.numbers().tolist()}


def mined(*lines: str, limits: MinerLimits | None = None) -> set[str]:
    """Texts of the templates of these lines."""
    miner = TemplateMiner(limits)
    miner.mine([line.encode() for line in lines])
    return texts(miner)


class TestWhatIsOneTemplate:
    def test_values_are_wild_and_digits_of_names_stay_until_they_vary(self) -> None:
        assert mined("link eth0 up after 5 ms") == {"link eth0 up after <*> ms"}
        assert mined("link eth0 up after 5 ms", "link eth1 up after 70 ms") == {"link eth<*> up after <*> ms"}

    def test_digits_that_vary_late_are_noticed_at_powers_of_two(self) -> None:
        miner = TemplateMiner()
        miner.mine([b"link eth0 up"] * 20)
        miner.mine([b"link eth1 up"] * 11)
        assert texts(miner) == {"link eth0 up"}
        miner.mine([b"link eth1 up"])
        assert texts(miner) == {"link eth<*> up"}

    def test_a_fourth_line_that_differs_in_one_word_makes_it_wild(self) -> None:
        lines = [f"the module {name} has been started by init" for name in ("alpha", "beta", "gamma", "delta")]
        assert len(mined(*lines[:3])) == 3
        assert mined(*lines) == {"the module <*> has been started by init"}

    def test_names_behind_a_hint_are_wild_at_once(self) -> None:
        assert mined("session opened for user ann today ok", "session opened for user bob today ok") == {
            "session opened for user <*> today ok"
        }

    def test_states_in_capitals_stay_apart(self) -> None:
        lines = [f"node moved into state {state} by the scheduler" for state in ("UP", "DOWN", "LOST", "HELD", "GONE")]
        assert len(mined(*lines)) == 5

    def test_few_words_behind_one_key_stay_apart_but_not_where_others_change_with_them(self) -> None:
        assert len(mined("mount of the disk done mode=ro", "mount of the disk done mode=rw")) == 2
        assert mined("a b c d e f g h user=ann role=dev", "a b c d e f g h user=bob role=ops") == {
            "a b c d e f g h user=<*> role=<*>"
        }

    def test_the_class_of_a_status_tells_templates_apart(self) -> None:
        assert mined('GET /a HTTP/1.1" 200 5', 'GET /a HTTP/1.1" 204 7', 'GET /a HTTP/1.1" 503 7') == {
            'GET /a HTTP/<*>" 2xx <*>',
            'GET /a HTTP/<*>" 5xx <*>',
        }

    def test_lists_and_quantities_said_twice_are_one_value(self) -> None:
        assert mined("delete blk_1", "delete blk_2 blk_3 blk_4") == {"delete blk_<*>"}
        assert mined("sent 90 bytes in 5", "sent 2048 bytes (2 KB) in 5") == {"sent <*> bytes in <*>"}
        assert mined("lifetime 00:03", "lifetime <1 sec") == {"lifetime <*>"}

    def test_units_that_follow_the_size_of_the_number_are_wild(self) -> None:
        assert mined("block stored in memory size 5 KB free", "block stored in memory size 2 MB free") == {
            "block stored in memory size <*> <*> free"
        }


class TestNumbers:
    def test_lines_get_the_numbers_of_their_templates(self) -> None:
        miner = TemplateMiner()
        assert miner.mine([b"a 1", b"b", b"a 2"]).tolist() == [1, 2, 1]
        assert miner.changes == [Change(0, "created", 1, 1, "a <*>"), Change(1, "created", 2, 2, "b")]
        assert miner.mine([]).tolist() == []
        assert miner.mine([b"b"]).tolist() == [2]
        assert miner.changes == []
        assert miner.template(1).count == miner.template(2).count == 2

    def test_ids_are_the_same_for_every_miner_whatever_came_before(self) -> None:
        one, other = TemplateMiner(), TemplateMiner()
        other.mine(service_lines(50, seed=8))
        found = {miner.template(int(miner.mine([b"eth7 lost 3 packets"])[0])).id for miner in (one, other)}
        assert found == {hashlib.blake2b(b"eth0 lost <*> packets", digest_size=8).hexdigest()}

    def test_an_empty_line_is_a_template_of_no_tokens(self) -> None:
        miner = TemplateMiner()
        assert miner.mine([b"", b"  \t", b"x"]).tolist() == [1, 1, 2]
        assert not miner.template(1).text

    def test_a_merged_number_and_its_id_lead_to_the_template(self) -> None:
        miner = TemplateMiner()
        lines = [b"the module %s has been started by init" % name for name in (b"alpha", b"beta", b"gamma", b"delta")]
        numbers = miner.mine(lines)
        assert numbers.tolist() == [1, 2, 3, 1]
        assert miner.changes[-2:] == [Change(3, "merged", 2, 1), Change(3, "merged", 3, 1)]
        assert miner.template(3) == miner.template(1)
        assert miner.template(1).count == 4
        alone = TemplateMiner()
        alone.mine(lines[1:2])
        assert miner.number_of(alone.template(1).id) == 1
        assert miner.number_of("0123456789abcdef") is None
        assert miner.numbers().tolist() == [1]

    def test_epochs_count_lines(self) -> None:
        miner = TemplateMiner()
        miner.mine([b"first"])
        miner.mine([b"other"] * EPOCH_LINES)
        miner.mine([b"first"])
        assert (miner.template(1).first_epoch, miner.template(1).last_epoch) == (0, 1)

    def test_no_template_has_a_number_that_is_free(self) -> None:
        with pytest.raises(KeyError):
            TemplateMiner().template(1)


class TestBounds:
    def test_a_full_miner_gives_up_those_seen_longest_ago_and_then_least_often(self) -> None:
        miner = TemplateMiner(MinerLimits(templates=10, evictions_share=1.0))
        words = [bytes(name, "ascii") for name in NAMES]
        miner.mine([word + b" speaks" for word in words])
        miner.mine([words[0] + b" speaks"])
        numbers = miner.mine([b"one more"])
        assert miner.changes == [Change(0, "evicted", 2, 2), Change(0, "created", 2, 2, "one more")]
        assert numbers.tolist() == [2]
        assert miner.template(2).text == "one more"
        assert miner.number_of(TemplateMiner().template(OTHER).id) is None
        assert miner.counts.evicted == 1

    def test_a_full_leaf_gives_up_a_tenth_of_its_own(self) -> None:
        miner = TemplateMiner(MinerLimits(leaf_templates=20, evictions_share=1.0))
        miner.mine([b"elsewhere"])
        miner.mine([b"x y %b %b %b" % words for words in product([b"a", b"b", b"c", b"d", b"e", b"f", b"g"], repeat=3)])
        assert miner.counts.evicted > 200
        assert len(miner.numbers()) <= 21
        assert "elsewhere" in texts(miner)

    def test_first_words_beyond_the_limit_share_a_leaf_and_may_become_one_template(self) -> None:
        lines = [f"{name} has just logged in again" for name in NAMES]
        assert len(mined(*lines, limits=MinerLimits(leaves_per_length=100))) == len(NAMES)
        assert mined(*lines, limits=MinerLimits(leaves_per_length=1)) == {
            "ann has just logged in again",
            "<*> has just logged in again",
        }

    def test_long_lines_are_counted(self) -> None:
        miner = TemplateMiner(MinerLimits(line_bytes=8, tokens=2))
        assert miner.mine([b"a b c d", b"a b x", b"aaaaaaaaa"]).tolist() == [1, 1, 2]
        assert miner.counts.cut == 3
        assert miner.counts.lines == 3

    def test_small_caches_are_emptied_and_nothing_else_changes(self) -> None:
        lines = service_lines(2_000, seed=4)
        small, large = TemplateMiner(MinerLimits(cache_entries=3, cache_bytes=64)), TemplateMiner()
        assert small.mine(lines).tolist() == large.mine(lines).tolist()
        assert small.cached_forms <= 3 < large.cached_forms


class TestRandomText:
    LIMITS = MinerLimits(templates=200, window_lines=1_024)

    def test_the_breaker_trips_counts_and_recovers(self) -> None:
        miner, usual = TemplateMiner(self.LIMITS), service_lines(3_000, seed=5)
        miner.mine(usual)
        found = [miner.template(number) for number in miner.numbers().tolist()]
        known = {template.id for template in found if template.first_epoch < template.last_epoch}
        assert miner.training
        noise = random_lines(5_000, seed=6)
        numbers = Counter(miner.mine(noise).tolist())
        assert not miner.training
        assert miner.breaker_trips > 0
        assert numbers[OTHER] == miner.counts.other == miner.template(OTHER).count > len(noise) // 2
        assert miner.template(OTHER).text == "<other>"
        assert len(miner) <= 200
        miner.mine(usual)
        miner.mine(usual)
        assert miner.training
        trips = miner.breaker_trips
        assert OTHER not in set(miner.mine(usual).tolist())
        assert miner.breaker_trips == trips
        assert len(known) > 10
        assert known <= {miner.template(number).id for number in miner.numbers().tolist()}

    def test_usual_lines_keep_their_templates_among_random_ones(self) -> None:
        miner, usual = TemplateMiner(self.LIMITS), service_lines(3_000, seed=7)
        before = miner.mine(usual).tolist()
        templates = [miner.template(number) for number in before]
        kept = [row for row, template in enumerate(templates) if template.first_epoch < template.last_epoch]
        mixed = [line for pair in zip(usual, random_lines(3_000, seed=8), strict=True) for line in pair]
        numbers = miner.mine(mixed).tolist()[::2]
        assert len(kept) > 2_900
        assert [miner.template(numbers[row]).id for row in kept] == [templates[row].id for row in kept]
        assert miner.breaker_trips > 0

    def test_it_stops_for_longer_each_time(self) -> None:
        miner = TemplateMiner(MinerLimits(templates=20, window_lines=64))
        training = []
        for line in random_lines(6_000, seed=9):
            training.append(miner.training)
            miner.mine([line])
        stops = "".join("t" if each else "." for each in training).split("t")
        assert [len(stop) // 64 for stop in stops if stop][:4] == [1, 2, 4, 8]

    def test_all_that_is_kept_is_bounded(self) -> None:
        limits = MinerLimits(templates=50, leaf_templates=10, leaves_per_length=4, cache_entries=100, window_lines=256)
        miner = TemplateMiner(limits)
        for start in range(0, 6_000, 500):
            miner.mine(random_lines(500, seed=start))
            assert len(miner) <= 50
            assert miner.cached_forms <= 100
            assert miner.counts.evicted <= 0.25 * miner.counts.lines + 50


def digest() -> str:
    """What a miner makes of some hundred lines, as text."""
    miner = TemplateMiner(MinerLimits(templates=60, leaf_templates=20, window_lines=256))
    lines = [*service_lines(400, seed=1), *random_lines(300, seed=2), *service_lines(400, seed=3)]
    numbers = miner.mine(lines).tolist()
    return repr((numbers, miner.counts, [miner.template(number) for number in miner.numbers().tolist()]))


def test_plain_python_mines_the_same() -> None:
    code = "from tests.unit.test_templates import digest; print(digest())"
    plain = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert plain.stdout.strip() == digest()


def test_large_batches_are_taken_in_parts_that_do_not_show() -> None:
    lines = [*service_lines(PART_LINES + 50, seed=11), b"z" * PART_BYTES, b"z" * PART_BYTES, b"last one"]
    whole, single = TemplateMiner(), TemplateMiner()
    numbers = whole.mine(lines).tolist()
    created = [change.row for change in whole.changes if change.kind == "created"]
    assert numbers == [number for line in lines for number in single.mine([line]).tolist()]
    assert created[-2:] == [PART_LINES + 50, PART_LINES + 52]
    assert whole.counts == single.counts
