"""What looks like a secret, replaced before a line is shown.

Rules go from the most telling to the least: what a line itself calls a password comes before what merely looks like
one. Every unbounded repetition is possessive or ends its pattern, and those that may begin anywhere are held by what
stands before them, so that a line is read a fixed number of times, whatever it says (tests/unit/test_redaction.py).

Numbers that tell records apart stay: UUIDs, trace ids, template ids, digests in hexadecimal.
"""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final

from detector.errors import UsageError

PASSES_MAX: Final = 8
"""Replacing may bring two parts of a line together that make sense as one; it is done again until nothing changes."""

HOPELESS: Final = "<redacted>"
"""What is left of a line that still changes after so many passes."""

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
NO_PATTERNS: Final[Mapping[str, str]] = {}


Rule = Callable[[str], str]
"""One way to look for secrets: the text with what it found replaced."""

# What lines call a secret; no left border, so that db_password and X-Api-Key are found, too.
_WORD: Final = (
    r"(?:passw(?:or)?d|passphrase|passcode|pwd|secret|token|credential|session[_-]?id|sessid"
    r"|(?:api|access|private|account|signing|encryption|shared|auth)[_-]?key)"
)
_PLACE: Final = r"<[a-z][a-z0-9_-]{0,31}>"
# A delimiter is part of a bare value, unless what comes next shows that the value is over.
_BARE: Final = (
    rf"(?:{_PLACE}|[^\s\"'`,;&)}}\]\\]|\\(?![\"'])"
    r"|[\"'`,;&)}\]](?!\s|\Z|[\"'`,;&)}\]:\\]|[\w.-]{1,64}[\"']?[:=]))++"
)
_VALUE: Final = (
    r"(?:(?P<quote>\\{0,8}[\"'])(?P<quoted>(?:(?!(?P=quote))(?:\\{2,}+[\"']|\\.|.))*+)(?P<end>(?P=quote))?"
    r"|(?P<list>[\[{][^\]}]*+[\]}]?)"
    rf"|(?P<bare>{_BARE}))"
)
_SEPARATOR: Final = r"\\{0,8}[\"']?\]?\s{0,4}(?:=>|:=|[:=])\s{0,4}"
_ASSIGNED: Final = re.compile(
    rf"(?P<head>(?P<key>{_WORD}[\w-]{{0,24}}){_SEPARATOR}"
    rf"|--(?:[a-z0-9]{{1,16}}-){{0,3}}(?P<option>{_WORD}[\w-]{{0,24}})\s{{1,4}}(?!-))"
    rf"(?!{_WORD}[\w-]{{0,24}}{_SEPARATOR}){_VALUE}",
    re.IGNORECASE | re.DOTALL,
)
_WORD_AT_END: Final = re.compile(rf"{_WORD}[\w-]{{0,24}}[\"'\]]{{0,2}}(?:=>|:=|[:=])\Z", re.IGNORECASE)
_HARMLESS: Final = frozenset({"", "null", "none", "nil", "undefined", "true", "false", "<nil>", "<*>"})
_COUNT: Final = re.compile(r"[0-9]{1,7}")

_ELEMENT: Final = re.compile(
    rf"(?P<head><(?:[a-z0-9]{{1,16}}[:._-]){{0,3}}(?P<key>{_WORD})[\w:.-]{{0,24}}>)[^<]++(?=</)", re.IGNORECASE
)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----(?:.*?-----END [A-Z0-9 ]{0,70}-----|.*+)", re.DOTALL
)
_USERINFO: Final = re.compile(r"(?P<head>://[^\s/?#\"'@:]{0,256}:)[^\s/?\"']{1,1024}(?=@)")
_HEADER: Final = re.compile(
    r"(?P<head>\b(?:proxy-)?authorization\\{0,8}[\"']?\s{0,4}[:=]\s{0,4}\\{0,8}[\"']?)"
    r"(?:(?:digest|aws4-hmac-sha256|oauth|hawk|negotiate|ntlm)\s[^\r\n]*+"
    r"|(?:bearer|basic|token|apikey|key)\s{1,4}(?!<token>)[^\s\"',;\\]++|[^\s\"',;\\]{8,}+)",
    re.IGNORECASE,
)
_COOKIE: Final = re.compile(
    r"(?P<head>\b(?:set-)?cookie\\{0,8}[\"']?\s{0,4}[:=]\s{0,4})"
    r"(?:(?P<quote>\\{0,8}[\"'])(?:(?!(?P=quote))(?:\\.|.))*+|(?=[^\s=;\"']{1,128}=)[^\r\n]*+)",
    re.IGNORECASE,
)
# A scheme before a word is prose ("bearer authentication"); before a digit, a sign or a capital inside it is a token.
_SCHEME: Final = re.compile(
    r"(?P<head>\b(?i:bearer|basic)\s{1,4})(?=[\w.~+/-]{8})(?=[a-zA-Z]?[a-z]{0,63}[^a-z\s\"',;])[\w.~+/-]++=*+"
)
_JWT: Final = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+(?:\.[A-Za-z0-9_-]*+){0,3}")
# Source: the providers' pages on the formats of their keys.
_KEY: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|AIza[\w-]{35}|GOCSPX-[\w-]{20,}+|ya29\.[\w-]{20,}+"
    r"|gh[pousr]_[A-Za-z0-9]{30,}+|github_pat_\w{22,}+|glpat-[\w-]{20,}+"
    r"|xox[a-z]-[A-Za-z0-9-]{10,}+|xapp-[A-Za-z0-9-]{10,}+"
    r"|[rsp]k_(?:live|test)_[A-Za-z0-9]{16,}+|whsec_[A-Za-z0-9+/=]{16,}+|sk-[\w-]{20,}+"
    r"|SG\.[\w-]{16,64}\.[\w-]{16,}+|npm_[A-Za-z0-9]{30,}+|pypi-[\w-]{30,}+|hvs\.[\w-]{20,}+|dop_v1_[0-9a-f]{40,}+"
    r")|(?<=hooks\.slack\.com/services/)[\w/]++"
)
_EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+-]++(?:@|%40)(?P<domain>[^\W_][\w-]*+(?:\.[^\W_][\w-]*+)++)")
_DIGITS: Final = re.compile(r"(?<![0-9A-Za-z.])[0-9](?:[ -]?[0-9]){12,}+")
_GROUP: Final = re.compile(r"[0-9]++")
_IBAN: Final = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:[ ]?[A-Z0-9]){10,30}+")
_RUN: Final = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{32,}+={0,2}")
_HEXADECIMAL: Final = re.compile(r"[0-9a-f_-]+|[0-9A-F_-]+")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")

CARD_DIGITS_MIN: Final = 13
CARD_DIGITS_MAX: Final = 19
"""Of a card number. Source: ISO/IEC 7812."""
CARD_GROUP_MIN: Final = 4
"""Digits of each group of a card number but the last; a row of smaller numbers is a table."""

IBAN_LENGTHS: Final[Mapping[str, int]] = {
    pair[:2]: int(pair[2:])
    for pair in (  # noqa: SIM905 - a table in rows
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 ES24 FI18 FO18 "
        "FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IS26 IT27 JO30 KW30 KZ20 LB28 LI21 LT20 LU20 LV21 "
        "MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SE24 SI19 SK24 SM27 "
        "TN24 TR26 UA29 VG24 XK20"
    ).split()
}
"""Characters by country. Source: the IBAN registry of ISO 13616."""

RUN_CHANGES_MIN: Final = 0.4
"""Of a random run in base64, 65 % of neighbours are of different classes (lower, upper, digit, sign); of words in
CamelCase, about a third."""
RUN_CLASSES_MIN: Final = (3, 3, 1)
"""Lower and upper letters and digits that a random run has."""
RUN_CHARS_MIN: Final = 32


class Redactor:
    """Replaces what looks like a secret by a word for it: ``<email>``, ``<token>``, ``<card>``.

    ``patterns`` are regular expressions of one's own by the name that stands for a match; they come last, and how long
    they take is for their author to know. Raises ``UsageError`` for a name or a pattern that cannot be used. Redacting
    twice changes nothing.

    >>> Redactor().redact("login of bob@example.com with password=hunter2 from 10.0.0.1")
    'login of <email> with password=<password> from 10.0.0.1'
    """

    def __init__(self, patterns: Mapping[str, str] = NO_PATTERNS, *, enabled: bool = True) -> None:
        places = re.compile("|".join(f"<{name}>" for name in (*PLACES, *patterns)))
        own = tuple(_own_rule(name, text, places) for name, text in patterns.items())
        self._rules: Final[tuple[Rule, ...]] = (*RULES, *own) if enabled else ()

    def redact(self, text: str) -> str:
        """The text without what looks like a secret; ``<redacted>`` alone where that does not come to an end."""
        for _ in range(PASSES_MAX):
            before = text
            for rule in self._rules:
                text = rule(text)
            if text == before:
                return text
        return HOPELESS


def _own_rule(name: str, text: str, places: re.Pattern[str]) -> Rule:
    """A rule of one's own; it never looks at what stands for a secret already."""
    if NAME.fullmatch(name) is None:
        raise UsageError(f"redaction pattern {name!r}: the name must be like card or customer_id, in small letters")
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"redaction pattern {name!r} is not a regular expression: {error}") from error
    if pattern.fullmatch("") is not None:
        raise UsageError(f"redaction pattern {name!r} matches the empty text")

    def apply(line: str) -> str:
        parts: list[str] = []
        done = 0
        for place in places.finditer(line):
            parts += (pattern.sub(stand_in, line[done : place.start()]), place.group())
            done = place.end()
        return "".join((*parts, pattern.sub(stand_in, line[done:])))

    def stand_in(found: re.Match[str]) -> str:
        return f"<{name}>" if found.group() else ""

    return apply


def _after_head(pattern: re.Pattern[str], place: str) -> Rule:
    """Replace what comes after the group ``head``."""
    return lambda text: pattern.sub(lambda found: f"{found['head']}<{place}>", text)


def _whole(pattern: re.Pattern[str], place: str) -> Rule:
    """Replace all of a match."""
    return lambda text: pattern.sub(f"<{place}>", text)


def _place_for(key: str) -> str:
    """What stands for the value of a key."""
    key = key.lower()
    if key.startswith(("pass", "pwd")):
        return "password"
    return "key" if "key" in key else "token"


def _assigned(text: str) -> str:
    """Replace what lines themselves call a secret, in any of the ways in which lines assign."""
    parts: list[str] = []
    done = position = 0
    while (found := _ASSIGNED.search(text, position)) is not None:
        key = found["key"] or found["option"]
        stand_in = f"<{_place_for(key)}>"
        parts.append(text[done : found.end("head")])
        done = position = found.end()
        bare, quoted = found["bare"], found["quoted"]
        value = found["list"] or (bare if quoted is None else quoted)
        inner = None if bare is None else _WORD_AT_END.search(bare)
        if inner is not None:  # token: x-password: abc
            done = position = found.start("bare") + inner.start()
            parts.append(stand_in)
        elif value.lower() in _HARMLESS or (key.lower().endswith("tokens") and _COUNT.fullmatch(value)):
            parts.append(text[found.end("head") : found.end()])
        elif quoted is None:
            parts.append(stand_in)
        else:
            parts += (found["quote"], stand_in, found["end"] or "")
    return "".join((*parts, text[done:])) if parts else text


def _element(text: str) -> str:
    return _ELEMENT.sub(lambda found: f"{found['head']}<{_place_for(found['key'])}>", text)


def _cookie(text: str) -> str:
    return _COOKIE.sub(lambda found: f"{found['head']}{found['quote'] or ''}<token>", text)


def _email(text: str) -> str:
    def stand_in(found: re.Match[str]) -> str:
        labels = found["domain"].split(".")[1:]
        return "<email>" if any(len(label) > 1 and label.isalpha() for label in labels) else found.group()

    return _EMAIL.sub(stand_in, text)


def _is_card(digits: str) -> bool:
    """Whether these are the digits of a card number: of an issuer's range, and with the right check digit."""
    if digits[0] not in "3456" and not "2221" <= digits[:4] <= "2720":
        return False
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0  # noqa: PLR2004 - sums of digits


def _cards(found: re.Match[str]) -> str:
    """Replace card numbers in a run of digits: whole groups that follow one another."""
    groups = [(group.start(), group.end()) for group in _GROUP.finditer(found.string, found.start(), found.end())]
    if found.string[found.end() : found.end() + 1].isalnum():
        groups.pop()
    parts: list[str] = []
    done, first = found.start(), 0
    while first < len(groups):
        after = _card_end(found.string, groups, first)
        if after > first:
            parts += (found.string[done : groups[first][0]], "<card>")
            done = groups[after - 1][1]
        first = max(after, first + 1)
    return "".join((*parts, found.string[done : found.end()]))


def _card_end(text: str, groups: list[tuple[int, int]], first: int) -> int:
    """The group after the longest card number that begins with this one; ``first`` where there is none."""
    digits, longest = "", first
    for after, (start, end) in enumerate(groups[first : first + CARD_DIGITS_MAX + 1], first + 1):
        digits += text[start : min(end, start + CARD_DIGITS_MAX + 1)]
        if len(digits) > CARD_DIGITS_MAX:
            break
        if len(digits) >= CARD_DIGITS_MIN and _is_card(digits):
            longest = after
        if end - start < CARD_GROUP_MIN:
            break
    return longest


def _card(text: str) -> str:
    return _DIGITS.sub(_cards, text)


def _iban(text: str) -> str:
    parts: list[str] = []
    done = position = 0
    while (found := _IBAN.search(text, position)) is not None:
        end = _iban_end(found)
        position = found.start() + 4 if end is None else end
        if end is not None:
            parts += (text[done : found.start()], "<iban>")
            done = end
    return "".join((*parts, text[done:])) if parts else text


def _iban_end(found: re.Match[str]) -> int | None:
    """Where the account number that begins here ends; None where it is none. Source: ISO 7064, MOD 97-10."""
    length = IBAN_LENGTHS.get(found.group()[:2])
    places = [place for place in range(found.start(), found.end()) if found.string[place] != " "]
    if length is None or len(places) < length:
        return None
    end = places[length - 1] + 1
    text = "".join(found.string[place] for place in places[:length])
    number = int("".join(str(int(character, 36)) for character in text[4:] + text[:4]))
    return end if number % 97 == 1 and not found.string[end : end + 1].isalnum() else None


def _class_of(character: str) -> int:
    return 0 if character.islower() else 1 if character.isupper() else 2 if character.isdigit() else 3


def _run(text: str) -> str:
    def stand_in(found: re.Match[str]) -> str:
        run = _UUID.sub("", found.group())
        classes = [_class_of(character) for character in run]
        changes = sum(one != other for one, other in pairwise(classes))
        random = (
            len(run) >= RUN_CHARS_MIN
            and _HEXADECIMAL.fullmatch(run) is None
            and all(classes.count(each) >= least for each, least in enumerate(RUN_CLASSES_MIN))
            and changes >= RUN_CHANGES_MIN * (len(run) - 1)
        )
        return "<key>" if random else found.group()

    return _RUN.sub(stand_in, text)


PLACES: Final = ("email", "token", "card", "key", "password", "iban", "redacted")
"""What stands for secrets."""

RULES: Final[tuple[Rule, ...]] = (
    _whole(_PRIVATE_KEY, "key"),
    _after_head(_USERINFO, "password"),
    _after_head(_HEADER, "token"),
    _cookie,
    _assigned,
    _element,
    _whole(_JWT, "token"),
    _whole(_KEY, "key"),
    _after_head(_SCHEME, "token"),
    _email,
    _iban,
    _card,
    _run,
)
"""In the order in which they are applied."""
