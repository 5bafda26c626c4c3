"""How grave what a template says is, where the record itself does not tell: by its words, once per template.

First a level among the first tokens, as loggers write it; else words of failure anywhere, which are errors or warnings.
Counts of failures (``failed=<*>``) and their absence (``no errors``) say nothing.
"""

import re
from typing import Final

UNKNOWN, DEBUG, INFO, WARNING, ERROR, FATAL = range(6)
"""Places in ``log_batches.SEVERITY_CLASSES``."""

TOKENS_LOOKED_AT: Final = 8
"""Loggers write time, thread, process and level in front, in any order."""
TEXT_CHARACTERS_MAX: Final = 4_096

LEVELS: Final[dict[str, int]] = {
    word: severity
    for severity, words in (
        (DEBUG, "trace trc verbose finest finer fine debug dbg"),
        (INFO, "info inf information notice"),
        (WARNING, "warn warning wrn alarm"),
        (ERROR, "error err eror severe"),
        (FATAL, "fatal critical crit panic emergency emerg alert dpanic"),
    )
    for word in words.split()
}
_LETTERS: Final = {"D": DEBUG, "I": INFO, "W": WARNING, "E": ERROR, "F": FATAL}

_PAIR: Final = re.compile(
    r"[\"']?(?:log_?level|level|lvl|severity|loglevel)[\"']?[=:]\s*[\"']?([A-Za-z]+)", re.IGNORECASE
)
_KLOG: Final = re.compile(r"([DIWEF])(?:\d{4}|0|<\*>)$", re.ASCII)
_MARKED: Final = re.compile(r"([\[<(|]?)([A-Za-z]+)(\d*)([\]>)|]?:?)-?$", re.ASCII)
"""A token that may be a level: with brackets around it, or a colon behind."""

_WORD: Final = re.compile(r"[A-Za-z']+")
_CLASS: Final = re.compile(r"[A-Za-z0-9_](?:Exception|Error|Throwable|Failure)\b")
_PHRASES: Final = (
    ("out of memory", ERROR),
    ("segmentation fault", ERROR),
    ("core dumped", ERROR),
    ("could not", ERROR),
    ("can not", ERROR),
    ("not able to", ERROR),
    ("no space left", ERROR),
    ("stack overflow", ERROR),
    ("connection reset", ERROR),
    ("broken pipe", ERROR),
    ("no route to host", ERROR),
    ("not permitted", ERROR),
    ("timed out", WARNING),
    ("not found", WARNING),
    ("too many", WARNING),
    ("not responding", WARNING),
    ("gave up", WARNING),
    ("giving up", WARNING),
)
WORDS: Final[dict[str, int]] = {
    word: severity
    for severity, words in (
        (
            ERROR,
            (
                "error errors exception exceptions traceback fail failed fails failing failure failures fatal panic "
                "panicked crash crashed crashing abort aborted aborting refused denied forbidden unauthorized "
                "exhausted unable cannot can't couldn't oom killed segfault corrupt corrupted corruption "
                "unreachable unavailable rejected deadlock overflow unhandled uncaught violation severe critical "
                "broken"
            ),
        ),
        (
            WARNING,
            (
                "timeout timeouts retry retrying retries slow deprecated dropped dropping degraded expired throttled "
                "throttling missing invalid unexpected unexpectedly lost stale warning warn skipped skipping illegal "
                "unknown backoff congested lagging overloaded unhealthy mismatch disconnected"
            ),
        ),
    )
    for word in words.split()
}
_COUNTED: Final = frozenset(
    (
        "errors",
        "failures",
        "failed",
        "fails",
        "exceptions",
        "timeouts",
        "retries",
        "dropped",
        "skipped",
        "lost",
        "expired",
    )
)
_COUNT: Final = re.compile(r"\s?[=:]\s*[\"']?(?:<\*>|\d+)")
_SETTING: Final = re.compile(r"\s?[=:]?\s*[\"']?(?:<\*>|\d+)")
"""``timeout 30`` is one that was set, ``timeout after 30`` one that has come."""
_NOTHING: Final = re.compile(r"\s?=\s*[\"']?(?:<nil>|nil|null|none|false|0)\b|\s?=\s*<nil>", re.IGNORECASE)
_ABSENT: Final = frozenset(("no", "without", "zero", "never", "not", "if", "on"))
"""Before a word of failure; ``on error`` and ``if failed`` say what would be done."""
_SERVER_ERROR: Final = re.compile(r"(?:^|[\s=:\"])5xx\b")


def severity_of(text: str) -> int:
    """The class of a template's text, a place in ``log_batches.SEVERITY_CLASSES``; 0 where no word tells one."""
    text = text[:TEXT_CHARACTERS_MAX]
    return _level(text) or _gravity(text)


def _level(text: str) -> int:
    """The first level among the first tokens: ``ERROR``, ``[warn]``, ``error:``, ``level=info``, ``E0102``."""
    paired = _PAIR.search(" ".join(text.split()[:TOKENS_LOOKED_AT]))
    if paired is not None and paired[1].lower() in LEVELS:
        return LEVELS[paired[1].lower()]
    for place, token in enumerate(text.split()[:TOKENS_LOOKED_AT]):
        letter = _KLOG.match(token) if place == 0 else None
        if letter is not None:
            return _LETTERS[letter[1]]
        marked = _MARKED.match(token)
        if marked is None:
            continue
        opening, word, _, closing = marked.groups()
        known = LEVELS.get(word.lower(), UNKNOWN)
        if known and (word.isupper() or (opening and closing) or (closing.endswith(":") and place < 2)):  # noqa: PLR2004
            return known
        if opening and closing and word in _LETTERS:
            return _LETTERS[word]
    return UNKNOWN


def _gravity(text: str) -> int:
    """The gravest word of failure."""
    lower = text.lower()
    found = max((severity for phrase, severity in _PHRASES if phrase in lower), default=UNKNOWN)
    if found == ERROR or _CLASS.search(text) is not None or _SERVER_ERROR.search(text) is not None:
        return ERROR
    before = ""
    for word in _WORD.finditer(lower):
        severity = WORDS.get(word[0], UNKNOWN)
        if severity > found and before not in _ABSENT and not _is_count(word[0], lower[word.end() :]):
            found = severity
        before = word[0]
    return found


def _is_count(word: str, behind: str) -> bool:
    if word == "timeout" and _SETTING.match(behind) is not None:
        return True
    return _NOTHING.match(behind) is not None or (word in _COUNTED and _COUNT.match(behind) is not None)
