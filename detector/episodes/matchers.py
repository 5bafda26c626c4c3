"""Which series a policy is for, in the selector language of PromQL."""

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from detector.batches import SeriesIdentity
from detector.errors import UsageError

NAME_LABEL: Final = "__name__"
"""The label that stands for the metric's name, as in PromQL."""

MatchOperator = Literal["=", "!=", "=~", "!~"]

OPERATOR: Final = re.compile(r"=~|!~|!=|=")
# OpenTelemetry's dotted names are allowed without quotes; PromQL would want {"service.name"="checkout"}, which works
# too.
LABEL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./\-]*")
METRIC_NAME: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:./\-]*")
STRING: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)
ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}
SPACE: Final = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; a label that a series does not have is the empty string, as in PromQL.

    Regular expressions are Python's and match the whole value. Raises ``UsageError`` for one that does not compile.
    """

    label: str
    operator: MatchOperator
    value: str

    def __post_init__(self) -> None:
        if self.operator in {"=~", "!~"}:
            try:
                re.compile(self.value)
            except re.error as error:
                raise UsageError(f"{self}: not a regular expression: {error}") from error

    def __str__(self) -> str:
        """The matcher as written in a selector."""
        return f'{self.label}{self.operator}"{self.value}"'

    def matches(self, identity: SeriesIdentity) -> bool:
        """Whether the condition holds for a series."""
        found = identity.name if self.label == NAME_LABEL else identity.labels.get(self.label, "")
        if self.operator in {"=", "!="}:
            return (found == self.value) == (self.operator == "=")
        return (re.fullmatch(self.value, found) is not None) == (self.operator == "=~")


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Parse a selector such as ``http_requests{service="checkout", zone!~"eu-.*"}``.

    The metric's name before the brace is optional, and so are the braces after a name; a blank text matches every
    series. Raises ``UsageError`` with the text and a caret under the fault.

    >>> [str(matcher) for matcher in parse_matchers('up{job=~"api|web"}')]
    ['__name__="up"', 'job=~"api|web"']
    """
    return _Selector(text).parse()


class _Selector:
    """A cursor over one selector's text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parse(self) -> tuple[Matcher, ...]:
        matchers: list[Matcher] = []
        if self._is_done():
            return ()
        name = self._take(METRIC_NAME)
        if name is not None:
            matchers.append(Matcher(NAME_LABEL, "=", name))
        if self._takes("{"):
            self._parse_inside(matchers)
        elif name is None:
            raise self._fault("expected a metric name or '{'")
        if not self._is_done():
            raise self._fault("expected nothing after the selector")
        return tuple(matchers)

    def _parse_inside(self, matchers: list[Matcher]) -> None:
        while not self._takes("}"):
            matchers.append(self._parse_matcher())
            if not self._takes(","):
                if not self._takes("}"):
                    raise self._fault("expected ',' or '}'")
                return

    def _parse_matcher(self) -> Matcher:
        quoted = self._take(STRING)
        label = unquote(quoted) if quoted is not None else self._take(LABEL_NAME)
        if not label:
            raise self._fault("expected a label name")
        operator = self._take(OPERATOR)
        if operator is None:
            if quoted is not None:  # {"some.metric", ...}: a metric name that needs quotes
                return Matcher(NAME_LABEL, "=", label)
            raise self._fault("expected '=', '!=', '=~' or '!~' after the label name")
        start = self._at
        value = self._take(STRING)
        if value is None:
            raise self._fault("expected a value in quotes")
        try:
            return Matcher(label, cast("MatchOperator", operator), unquote(value))
        except UsageError as error:
            self._at = start
            raise self._fault(str(error)) from error

    def _skip_space(self) -> None:
        space = SPACE.match(self._text, self._at)
        assert space is not None, "the pattern matches nothing, too"
        self._at = space.end()

    def _is_done(self) -> bool:
        self._skip_space()
        return self._at == len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        self._skip_space()
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found.group()

    def _takes(self, character: str) -> bool:
        self._skip_space()
        if not self._text.startswith(character, self._at):
            return False
        self._at += 1
        return True

    def _fault(self, message: str) -> UsageError:
        self._skip_space()
        line = self._text.replace("\n", " ")
        return UsageError(f"selector: {message}\n  {line}\n  {' ' * self._at}^")


def unquote(quoted: str) -> str:
    """The text inside quotes, with backslash escapes resolved; an unknown escape keeps its backslash (for regexes)."""
    quote = quoted[0]

    def resolve(found: re.Match[str]) -> str:
        character = found.group(1)
        if character in {quote, "\\"}:
            return character
        return ESCAPES.get(character, found.group())

    return ESCAPE.sub(resolve, quoted[1:-1])
