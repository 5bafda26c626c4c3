"""Redaction: what looks like a secret goes, what tells records apart stays, and no line takes for ever."""

import doctest
import random
import re
import string
from types import ModuleType
from typing import Any, Final

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from detector.encoders import Redactor, redaction
from detector.errors import UsageError

REDACTOR: Final = Redactor()

LETTERS: Final = string.ascii_letters + string.digits


def word(alphabet: str, smallest: int, largest: int | None = None) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=smallest, max_size=largest or smallest)


def with_check_digit(digits: str) -> str:
    return next(digits + last for last in string.digits if redaction._is_card(digits + last))


cards = st.builds(
    lambda head, tail: with_check_digit(head + tail),
    st.sampled_from(["4", "51", "34", "37", "6011", "35", "2221"]),
    word(string.digits, 11),
).flatmap(
    lambda card: st.sampled_from([card, *(sign.join(re.findall(".{1,4}", card)) for sign in " -")])  # 13 to 16 digits
)
emails = st.builds(
    lambda local, first, second, top: f"{local}@{first}{second}.{top}",
    st.from_regex(r"[a-z][a-zA-Z0-9._+-]{2,30}", fullmatch=True),
    word(string.ascii_lowercase, 1, 10),
    st.sampled_from(["", ".mail", "-x.y", "1"]),
    st.sampled_from(["com", "de", "example", "co.uk", "io"]),
)
jwts = st.builds(
    lambda head, body, tail: f"eyJ{head}.eyJ{body}.{tail}",
    word(LETTERS, 15, 40),
    word(LETTERS + "-_", 10, 80),
    word(LETTERS + "-_", 20, 43),
)
keys = st.one_of(
    st.builds(str.__add__, st.sampled_from(["AKIA", "ASIA"]), word(string.ascii_uppercase + string.digits, 16)),
    st.builds(str.__add__, st.just("AIza"), word(LETTERS + "-_", 35)),
    st.builds(str.__add__, st.sampled_from(["ghp_", "gho_", "ghs_"]), word(LETTERS, 36)),
    st.builds(str.__add__, st.just("github_pat_"), word(LETTERS + "_", 22, 82)),
    st.builds(str.__add__, st.sampled_from(["xoxb-", "xoxp-"]), word(LETTERS + "-", 20, 60)),
    st.builds(str.__add__, st.just("sk_live_"), word(LETTERS, 24)),
    st.builds(str.__add__, st.just("glpat-"), word(LETTERS, 20)),
)
values = word(LETTERS + "!#$%^*_+-./@:~", 8, 30)
quoted_values = word(LETTERS + "!#$%^*_+-./@:~ ,;&)}]=", 8, 30)
names = st.sampled_from(
    [
        "password",
        "passwd",
        "pwd",
        "db_password",
        "DB_PASSWORD",
        "secret",
        "client_secret",
        "token",
        "accessToken",
        "api_key",
        "apikey",
        "X-Api-Key",
        "aws_secret_access_key",
        "secretKey",
        "private_key",
        "passphrase",
    ]
)


def assigned(name: str, value: str, quoted_value: str, form: str) -> tuple[str, str]:
    """A secret, and the text that assigns it."""
    secret = quoted_value if '"' in form or "'" in form else value
    return secret, form.replace("NAME", name).replace("VALUE", secret)


forms = st.sampled_from(
    [
        "NAME=VALUE",
        "NAME: VALUE",
        "NAME = VALUE",
        '"NAME":"VALUE"',
        '"NAME" : "VALUE"',
        "'NAME': 'VALUE'",
        r"\"NAME\":\"VALUE\"",
        'NAME="VALUE"',
        "?NAME=VALUE",
        "--NAME VALUE",
        "NAME => VALUE",
        "<NAME>VALUE</NAME>",
    ]
)
bearers = word(LETTERS + "-._~+/", 20, 60).filter(lambda text: any(each in string.digits for each in text))


def plainly(strategy: st.SearchStrategy[str], form: str = "VALUE") -> st.SearchStrategy[tuple[str, str]]:
    return strategy.map(lambda secret: (secret, form.replace("VALUE", secret)))


secrets = st.one_of(
    plainly(emails),
    plainly(jwts),
    plainly(keys),
    plainly(cards),
    plainly(bearers, "Authorization: Bearer VALUE"),
    plainly(bearers, '"authorization":"Basic VALUE"'),
    plainly(bearers, "got bearer VALUE"),
    plainly(word(LETTERS + "!#$%^*_+-.~:@", 6, 20), "postgres://app:VALUE@db.internal:5432/shop"),
    plainly(word(LETTERS + "+/", 200), "-----BEGIN RSA PRIVATE KEY-----\nVALUE\n-----END RSA PRIVATE KEY-----"),
    plainly(word(LETTERS, 16), "Cookie: theme=dark; sid=VALUE"),
    st.builds(assigned, names, values, quoted_values, forms),
)
around = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "user=bob",
        "GET /orders/17 HTTP/1.1",
        '{"a": 1, "b":',
        "took 12 ms,",
        "token:",
        "password",
        "<password>",
        '"',
        "[4]",
    ]
)


class TestLaws:
    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(before=around, secret=secrets, after=around)
    @example(before="token: x-password:", secret=("hunter2abc", "hunter2abc"), after="")
    @example(before="1234", secret=("4111 1111 1111 1111", "4111 1111 1111 1111"), after="17")
    def test_what_is_secret_never_survives(self, before: str, secret: tuple[str, str], after: str) -> None:
        hidden, told = secret
        assume(hidden not in before + after)
        assert hidden not in REDACTOR.redact(f"{before} {told} {after}")

    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(
        parts=st.lists(around | secrets.map(lambda secret: secret[1]), max_size=6),
        glue=st.sampled_from(["", " ", "=", ","]),
    )
    def test_redacting_twice_changes_nothing(self, parts: list[str], glue: str) -> None:
        once = REDACTOR.redact(glue.join(parts))
        assert REDACTOR.redact(once) == once

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(text=st.text("ab<>pasword token=:\"'\\,[]{}-@.1 eyJ4", max_size=60))
    def test_so_it_is_for_lines_of_nothing_but_signs(self, text: str) -> None:
        own = Redactor({"own": "a+", "password": "r.", "x": "<.>"})
        for redactor in (REDACTOR, own):
            once = redactor.redact(text)
            assert redactor.redact(once) == once


class TestWhatGoes:
    @pytest.mark.parametrize(
        ("line", "shown"),
        [
            ("mail to Bob.O+x@mail.example.co.uk failed", "mail to <email> failed"),
            ("GET /u?email=bob%40example.com&x=1", "GET /u?email=<email>&x=1"),
            ('{"password":"a\\"b,c","user":"x"}', '{"password":"<password>","user":"x"}'),
            (
                r'{"log":"{\"password\":\"abc\",\"user\":\"b\"}"}',
                r'{"log":"{\"password\":\"<password>\",\"user\":\"b\"}"}',
            ),
            ("https://x.y/?token=abc&user=bob", "https://x.y/?token=<token>&user=bob"),
            ("login(password=abc, user=bob)", "login(password=<password>, user=bob)"),
            ("password=a,b;c user=bob", "password=<password> user=bob"),
            ("tokens: ['a', 'b'] left", "tokens: <token> left"),
            ("token: password: abc", "token: password: <password>"),
            ("mysql --root-password abc -u x", "mysql --root-password <password> -u x"),
            ("<db:password>abc</db:password>", "<db:password><password></db:password>"),
            ("redis://:abc@cache:6379", "redis://:<password>@cache:6379"),
            ("mongodb://u:p@h1,u:p@h2/db", "mongodb://u:<password>@h2/db"),
            ("Authorization: Digest username=x, response=y", "Authorization: <token>"),
            ("hooks.slack.com/services/T0/B0/abc", "hooks.slack.com/services/<key>"),
            ("account DE89 3704 0044 0532 0130 00 PAID", "account <iban> PAID"),
            ("AB12 DE89370400440532013000.", "AB12 <iban>."),
            ("pay with 3782 822463 10005.", "pay with <card>."),
            ("key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "key <key>"),
            ("-----BEGIN PRIVATE KEY-----\nMIIabc", "<key>"),
        ],
    )
    def test_a_word_stands_for_it(self, line: str, shown: str) -> None:
        assert REDACTOR.redact(line) == shown


class TestWhatStays:
    @pytest.mark.parametrize(
        "line",
        [
            "",
            "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7 template 8d1f0a6e2b94c753",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "order 3f2504e0-4f89-11d3-9a0c-0305e82c3301 and 3F2504E0-4F89-11D3-9A0C-0305E82C3301",
            "image@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "at 1795305720000 until 1795305720000123456 (2026-11-22 00:02:00.123)",
            "4111 1111 1111 1112 has another check digit",
            "com.example.shop.checkout.internal.OrderServiceImpl2FactoryBean3",
            "bearer authentication failed, basic checks passed",
            "max_tokens=4096 password=null token: <*>",
            "user git@github with react@18.2.0 at root@localhost",
            "http://host:8080/orders?page=2 from 10.0.0.1:5432",
            "DE89370400440532013001 is no account",
            "5 3 12 45 3 6 7 8 12 9 10 4 4 4",
        ],
    )
    def test_what_tells_records_apart(self, line: str) -> None:
        assert REDACTOR.redact(line) == line

    def test_everything_where_it_is_switched_off(self) -> None:
        line = "password=abc of bob@example.com"
        assert Redactor({"own": "abc"}, enabled=False).redact(line) == line


class TestOwnPatterns:
    def test_their_name_stands_for_a_match(self) -> None:
        redactor = Redactor({"customer": r"C-\d{6}", "email": "bob"})
        assert redactor.redact("C-123456 is bob, a@b.com") == "<customer> is <email>, <email>"

    def test_they_do_not_look_at_what_stands_for_a_secret(self) -> None:
        assert Redactor({"mail": "mail|<"}).redact("a@b.com mail") == "<email> <mail>"

    @pytest.mark.parametrize(
        ("patterns", "message"),
        [
            ({"own": "("}, "is not a regular expression"),
            ({"own": "a*"}, "matches the empty text"),
            ({"Own": "a"}, "in small letters"),
            ({"<x>": "a"}, "in small letters"),
            ({"": "a"}, "in small letters"),
        ],
    )
    def test_one_that_cannot_be_used_is_refused(self, patterns: dict[str, str], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            Redactor(patterns)

    def test_a_match_of_nothing_changes_nothing(self) -> None:
        assert Redactor({"own": r"\b|x"}).redact("a x") == "a <own>"


UNBOUNDED: Final = 1_024
"""Repetitions that may be tried again one by one; more must be possessive, or the last of their pattern."""


def repeats(items: Any, tail: bool) -> list[tuple[str, bool, int]]:  # noqa: FBT001 - a fold over a parsed pattern
    """Every repetition of a parsed pattern: its kind, whether anything follows it, and how often at most."""
    found: list[tuple[str, bool, int]] = []
    for place, (operator, argument) in enumerate(items):
        last = tail and place == len(items) - 1
        name = str(operator)
        if name in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            _, most, inner = argument
            found.append((name, not last, int(most)))
            found += repeats(inner, tail=False)
        elif name == "SUBPATTERN":
            found += repeats(argument[-1], last)
        elif name == "ATOMIC_GROUP":
            found += repeats(argument, last)
        elif name == "BRANCH":
            for branch in argument[1]:
                found += repeats(branch, last)
        elif name in {"ASSERT", "ASSERT_NOT"}:
            found += repeats(argument[1], tail=False)
    return found


def patterns_of(module: ModuleType) -> dict[str, re.Pattern[str]]:
    return {name: value for name, value in vars(module).items() if isinstance(value, re.Pattern)}


class TestNoLineTakesForEver:
    def test_no_rule_can_try_long_repetitions_again(self) -> None:
        parse = __import__("re._parser", fromlist=["parse"]).parse
        checked = 0
        for name, pattern in patterns_of(redaction).items():
            for kind, followed, most in repeats(parse(pattern.pattern, pattern.flags & ~re.UNICODE), tail=True):
                checked += 1
                lazy_end = name == "_PRIVATE_KEY"  # its other branch takes the rest of the line: tried once a line
                assert kind == "POSSESSIVE_REPEAT" or most <= UNBOUNDED or not followed or lazy_end, name
        assert checked > 50

    @pytest.mark.parametrize(
        "unit",
        [
            "a",
            "a@",
            "password",
            "token:x",
            "token:xtoken:",
            "1 ",
            "1111 ",
            "DE89 ",
            "eyJ",
            "eyJaaaaaaaa.",
            "://:",
            "a.b-",
            "-----BEGIN PRIVATE KEY-----",
            "sk-",
            "bearer ",
            "cookie: ",
            "password='",
            "password=[",
            "<password>",
            "\\",
            "--a-b-c-",
            "password=a,",
            'password=\\"',
            "SG.",
            "a:b;",
            "Ab1+",
        ],
    )
    def test_lines_made_to_take_long_come_to_an_end(self, unit: str) -> None:
        line = unit * (100_000 // len(unit))
        once = REDACTOR.redact(line)
        assert len(once) <= 2 * len(line)

    def test_random_lines_of_the_same_signs_do(self) -> None:
        dice = random.Random(7)
        for _ in range(5):
            REDACTOR.redact("".join(dice.choices("pasword:=\"'\\ ,<>@.-1eyJ[]{}", k=50_000)))

    def test_a_line_that_does_not_come_to_rest_is_not_shown(self) -> None:
        growing = Redactor({"x": "z(?=z)|y", "y": "z"})
        assert growing.redact("zzz") == "<x><x><y>"
        restless = Redactor()
        restless._rules = (lambda text: text + "!",)  # type: ignore[misc] # no rule of ours does this
        assert restless.redact("a") == redaction.HOPELESS


def test_examples_run() -> None:
    assert doctest.testmod(redaction).failed == 0
    assert doctest.testmod(redaction).attempted >= 1
