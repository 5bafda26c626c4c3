"""Selectors, the choice among policies, and what a policy may say."""

import doctest
from types import ModuleType
from typing import Any

import pytest

from detector.batches import SeriesIdentity
from detector.episodes import DEFAULT_POLICY, Matcher, Policy, PolicyBook, matchers, parse_matchers
from detector.errors import UsageError


def identity(name: str, **labels: str) -> SeriesIdentity:
    dotted = {label.replace("__", "."): value for label, value in labels.items()}
    return SeriesIdentity(name, dotted, f"{name}{sorted(dotted.items())}", "0" * 16)


def policy_for(selector: str, name: str = "") -> Policy:
    return Policy(name or selector, parse_matchers(selector))


class TestParsing:
    def test_every_operator_is_read(self) -> None:
        assert parse_matchers('{service="checkout", name=~"http.*", env!="dev", zone!~"eu-.*"}') == (
            Matcher("service", "=", "checkout"),
            Matcher("name", "=~", "http.*"),
            Matcher("env", "!=", "dev"),
            Matcher("zone", "!~", "eu-.*"),
        )

    def test_a_metric_name_may_stand_before_the_brace_or_alone(self) -> None:
        named = Matcher("__name__", "=", "http.server.duration")
        assert parse_matchers('http.server.duration{job="api"}') == (named, Matcher("job", "=", "api"))
        assert parse_matchers("http.server.duration") == (named,)
        assert parse_matchers("http.server.duration{}") == (named,)

    def test_dotted_and_quoted_names_are_read(self) -> None:
        assert parse_matchers('{"my metric", service.name="a", "odd label"="b"}') == (
            Matcher("__name__", "=", "my metric"),
            Matcher("service.name", "=", "a"),
            Matcher("odd label", "=", "b"),
        )

    def test_escapes_and_either_quote_are_read(self) -> None:
        assert parse_matchers(r"""{a="say \"hi\"\n", b='it\'s', c=~"\\d+\.x"}""") == (
            Matcher("a", "=", 'say "hi"\n'),
            Matcher("b", "=", "it's"),
            Matcher("c", "=~", r"\d+\.x"),
        )

    def test_blank_text_empty_braces_and_a_last_comma_are_fine(self) -> None:
        assert parse_matchers("  ") == parse_matchers("{}") == ()
        assert parse_matchers('{a="b",}') == (Matcher("a", "=", "b"),)

    @pytest.mark.parametrize(
        ("selector", "message", "caret"),
        [
            ('{service~"x"}', "expected '=', '!=', '=~' or '!~' after the label name", 8),
            ("{service=x}", "expected a value in quotes", 9),
            ('{service="x"', "expected ',' or '}'", 12),
            ('{service="x" env="y"}', "expected ',' or '}'", 13),
            ('{="x"}', "expected a label name", 1),
            ('{a="b"} or', "expected nothing after the selector", 8),
            ("!", "expected a metric name or '{'", 0),
            ('{a=~"("}', "not a regular expression", 4),
        ],
    )
    def test_a_fault_is_shown_with_a_caret_under_it(self, selector: str, message: str, caret: int) -> None:
        with pytest.raises(UsageError) as caught:
            parse_matchers(selector)
        first, shown, pointer = str(caught.value).split("\n")
        assert message in first
        assert shown == f"  {selector}"
        assert pointer.index("^") == caret + 2


class TestMatching:
    @pytest.mark.parametrize(
        ("selector", "matches"),
        [
            ('{env="prod"}', True),
            ('{env="pro"}', False),
            ('{env!="dev"}', True),
            ('{env=~"pr.*|staging"}', True),
            ('{env=~"pro"}', False),
            ('{env!~"pro"}', True),
            ('{zone=""}', True),
            ('{zone!=""}', False),
            ('{zone=~".*"}', True),
            ("up", True),
            ('{__name__=~"u."}', True),
            ('down{env="prod"}', False),
        ],
    )
    def test_values_are_compared_as_in_promql(self, selector: str, *, matches: bool) -> None:
        assert policy_for(selector).matches(identity("up", env="prod")) == matches


class TestBook:
    def test_more_equality_matchers_win_then_more_others_then_the_earlier(self) -> None:
        book = PolicyBook(
            [
                policy_for('{env=~".*", zone=~".*", job=~".*"}', "regexes"),
                policy_for('{env="prod"}', "one"),
                policy_for('{env="prod", job="api"}', "two"),
                policy_for('{job="api", env="prod"}', "two, later"),
                policy_for('{env="prod", job!="web"}', "one and one"),
                Policy("rest"),
            ]
        )
        names = [policy.name for policy in book.policies]
        assert names[book.choose(identity("up", env="prod", job="api"))] == "two"
        assert names[book.choose(identity("up", env="prod", job="db"))] == "one and one"
        assert names[book.choose(identity("up", env="prod", job="web"))] == "one"
        assert names[book.choose(identity("up", env="dev", job="web"))] == "regexes"

    def test_policies_keep_their_order_and_a_default_is_appended(self) -> None:
        only = policy_for('{env="prod"}')
        book = PolicyBook([only])
        assert book.policies == (only, DEFAULT_POLICY)
        assert book.choose(identity("up", env="dev")) == 1
        assert PolicyBook().policies == (DEFAULT_POLICY,)

    def test_a_policy_without_matchers_is_the_default_wherever_it_stands(self) -> None:
        book = PolicyBook([Policy("rest"), policy_for('{env=~"prod"}')])
        assert [policy.name for policy in book.policies] == ["rest", '{env=~"prod"}']
        assert book.choose(identity("up", env="prod")) == 1
        assert book.choose(identity("up")) == 0

    def test_two_of_one_name_or_two_defaults_are_refused(self) -> None:
        with pytest.raises(UsageError, match="'a' is defined twice"):
            PolicyBook([Policy("a"), policy_for("up", "a")])
        with pytest.raises(UsageError, match="'a' and 'b' both lack matchers"):
            PolicyBook([Policy("a"), Policy("b")])
        with pytest.raises(UsageError, match="'default' has matchers"):
            PolicyBook([policy_for("up", "default")])


class TestValidation:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("direction", "sideways"),
            ("deviation_min", 0.0),
            ("deviation_min", float("nan")),
            ("abs_min", -1.0),
            ("rel_min", float("inf")),
            ("volume_min", float("nan")),
            ("open_window", 17),
            ("open_points", 6),
            ("open_points", 0),
            ("close_window", 65),
            ("close_points", 11),
            ("flap_window", 65),
            ("flap_crossings", 1),
            ("cooldown_s", -1.0),
            ("cooldown_s", 1e12),
            ("update_interval_s", float("nan")),
            ("severity_error_score", 101.0),
            ("severity_critical_score", 74.0),
        ],
    )
    def test_a_value_out_of_range_is_refused_by_name(self, field: str, value: Any) -> None:
        values: dict[str, Any] = {field: value}
        with pytest.raises(UsageError, match=rf"policy 'p': {field} must be .*, not"):
            Policy("p", **values)

    def test_a_policy_needs_a_name(self) -> None:
        with pytest.raises(UsageError, match="needs a name"):
            Policy("")


@pytest.mark.parametrize("module", [matchers], ids=lambda module: module.__name__)
def test_documented_examples_hold(module: ModuleType) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
