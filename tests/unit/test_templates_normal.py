"""Normal forms and masks: what is a value, by example, and what holds for any bytes."""

import os
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.templates.letters import STATUS_BASE, WILD
from detector.templates.masks import DATE_WORD, JOINED, MASKS, Mask, masked
from detector.templates.normal import CUT, KEPT, LOOSE, RULES, Rule, normal_forms
from detector.templates.tokens import collapsed
from tests.log_lines import random_lines, service_lines

LINE_BYTES = 4_096
TOKENS = 128

lines = st.lists(
    st.binary(max_size=40)
    | st.lists(st.sampled_from(["1", "a_1", "a_1,", "(2", "<3", "KB)", "KB", "ms", "b"]), max_size=8).map(
        lambda words: " ".join(words).encode()
    )
    | st.text("ab0f9 -_.:/,=\t\x1b[mHTPcodesta12345\x01\x14é", max_size=60).map(str.encode)
    | st.sampled_from(service_lines(50, seed=3)),
    max_size=6,
)


def form_of(line: bytes) -> bytes:
    """Normal form of one line."""
    return normal_forms([line], LINE_BYTES, TOKENS).form(0)


def readable(form: bytes) -> str:
    """A normal form as the rules' examples write it."""
    text = form.replace(bytes((WILD,)), b"<*>")
    return re.sub(rb"[\x12-\x15]", lambda found: b"%dxx" % (found[0][0] - STATUS_BASE), text).decode()


def spelt(example: str) -> bytes:
    """An example of a mask in the bytes of normal forms."""
    return example.encode().replace(b"<*>", bytes((WILD,)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.meaning)
def test_every_rule_does_what_its_example_says(rule: Rule) -> None:
    assert rule.normal == readable(form_of(rule.example.encode()))


@pytest.mark.parametrize("mask", [*MASKS, DATE_WORD, JOINED], ids=lambda mask: mask.name)
def test_every_mask_does_what_its_example_says(mask: Mask) -> None:
    assert spelt(mask.masked) == b" ".join(masked(token) for token in spelt(mask.example).split(b" "))


@pytest.mark.parametrize(
    ("line", "normal"),
    [
        (b"status code: 700 of 299", "status code: <*> of <*>"),
        (b"code=404.5 status 2000 status is 404", "code=<*> status <*> status is <*>"),
        (b"STATUS 500 StatusCode(502) <status>404</status>", "STATUS 5xx StatusCode(5xx) <status>4xx</status>"),
        (b"<0>(0x0)::call x-", "<<*>>(<*>)::call x-"),
        (b"a::b x:1:y 12:3", "a::b x:<*>:y <*>"),
        (b"loading....5 foo--7", "loading....<*> foo-<*>"),
        (b"pod-1, pod-2", "pod-<*>, pod-<*>"),
        ("größe 7 für größe7".encode(), "größe <*> für größe0"),
    ],
)
def test_what_is_near_a_rule_is_told_from_it(line: bytes, normal: str) -> None:
    assert normal == readable(form_of(line))


class TestAnyBytes:
    @settings(deadline=None)
    @given(lines)
    def test_a_form_depends_on_its_own_line_only(self, batch: list[bytes]) -> None:
        forms = normal_forms(batch, LINE_BYTES, TOKENS)
        assert [forms.form(row) for row in range(len(batch))] == [form_of(line) for line in batch]
        alone = [normal_forms([line], LINE_BYTES, TOKENS) for line in batch]
        assert forms.hashes.tolist() == [each.hashes[0] for each in alone]
        assert forms.flags.tolist() == [each.flags[0] for each in alone]

    @settings(deadline=None)
    @given(lines)
    def test_a_form_is_no_longer_than_its_line_and_holds_no_stray_marks(self, batch: list[bytes]) -> None:
        for line in batch:
            form = form_of(line)
            assert len(form) <= len(line)
            assert set(form) & set(range(32)) <= {WILD, *range(STATUS_BASE + 2, STATUS_BASE + 6)}
            assert form == b" ".join(form.split())

    @settings(deadline=None)
    @given(lines)
    def test_literal_digits_are_the_only_difference(self, batch: list[bytes]) -> None:
        literal = normal_forms(batch, LINE_BYTES, TOKENS, literal=True)
        for row, line in enumerate(batch):
            assert re.sub(rb"\d+", b"0", literal.form(row)) == form_of(line)
            assert bool(literal.flags[row] & KEPT) == (re.search(rb"\d", form_of(line)) is not None)

    @settings(deadline=None)
    @given(lines)
    def test_what_may_be_said_in_fewer_tokens_is_flagged(self, batch: list[bytes]) -> None:
        forms = normal_forms(batch, LINE_BYTES, TOKENS)
        for row in range(len(batch)):
            tokens = forms.form(row).split()
            assert forms.flags[row] & LOOSE or collapsed(tokens) == tokens

    @pytest.mark.parametrize("line", [b"blk_1 blk_2", b"x blk_1, blk_2, y", b"5 bytes (5 B)", b"took <5 ms"])
    def test_lists_and_quantities_are_flagged(self, line: bytes) -> None:
        assert normal_forms([line], LINE_BYTES, TOKENS).flags[0] == LOOSE

    def test_long_lines_are_cut_and_flagged(self) -> None:
        forms = normal_forms([b"a " * 128, b"a " * 129, b"x" * 4096, b"x" * 4097, b""], LINE_BYTES, TOKENS)
        assert forms.flags.tolist() == [0, CUT, 0, CUT, 0]
        assert forms.form(1) == forms.form(0)
        assert forms.form(3) == forms.form(2)


def digest() -> str:
    """All there is of the forms of some hundred lines, as text."""
    forms = normal_forms([*service_lines(300, seed=1), *random_lines(100, seed=2)], LINE_BYTES, TOKENS)
    return repr((forms.sizes.tolist(), forms.hashes.tolist(), forms.flags.tolist()))


def test_plain_python_gives_the_same_forms() -> None:
    code = "from tests.unit.test_templates_normal import digest; print(digest())"
    plain = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert plain.stdout.strip() == digest()
