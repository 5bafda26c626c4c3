"""Severity by the words of templates."""

import pytest

from detector.log_batches import SEVERITY_CLASSES
from detector.templates.severity import DEBUG, ERROR, FATAL, INFO, UNKNOWN, WARNING, severity_of


def test_classes_are_those_of_log_batches() -> None:
    assert [SEVERITY_CLASSES[place] for place in (UNKNOWN, DEBUG, INFO, WARNING, ERROR, FATAL)] == list(
        SEVERITY_CLASSES
    )


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("INFO [main] shop.Orders - order <*> failed to load at first", INFO),
        ("<*> [worker-<*>] ERROR shop.Stock - nothing left", ERROR),
        ("[info] listening on <*>", INFO),
        ("[W] queue of <*>", WARNING),
        ("warning: deprecated option <*>", WARNING),
        ("WARN: disk <*>", WARNING),
        ("level=error caller=<*> err=<*>", ERROR),
        ('"severity":"Critical" disk <*>', FATAL),
        ("log_level: debug starting", DEBUG),
        ("E0102 <*> reflector.go:<*> watch ended", ERROR),
        ("F0 <*> main.go:<*> leaving", FATAL),
        ("FATAL out of file handles", FATAL),
        ("panic: runtime error", FATAL),
        ("TRACE enter <*>", DEBUG),
        ("<DEBUG> cache of <*>", DEBUG),
        ("|NOTICE| rotated", INFO),
    ],
)
def test_a_level_among_the_first_tokens_decides(text: str, severity: int) -> None:
    assert severity_of(text) == severity


@pytest.mark.parametrize(
    "text",
    [
        "connection to <*> refused",
        "payment <*> Failed",
        "java.io.IOException reset by peer",
        "order <*> rolled back ValueError",
        "permission denied for user <*>",
        "connection pool exhausted after <*>",
        "Out of memory: Kill process <*>",
        "process <*> was killed by signal <*>",
        "unable to reach <*>",
        "cannot open <*>",
        "can't open <*>",
        "could not resolve <*>",
        'GET <*> HTTP/<*>" 5xx <*>',
        "No space left on device",
        "error=<*> while writing",
    ],
)
def test_words_of_failure_are_errors(text: str) -> None:
    assert severity_of(text) == ERROR


@pytest.mark.parametrize(
    "text",
    ["request <*> timed out", "timeout after <*>", "retrying in <*>", "slow query took <*>", "user <*> not found"],
)
def test_words_of_trouble_are_warnings(text: str) -> None:
    assert severity_of(text) == WARNING


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<*>",
        "user <*> logged in from <*>",
        "checked <*> files, no errors",
        "finished without error",
        "done sent=<*> failed=<*> errors: <*>",
        "commit err=<nil> error=nil",
        "information about mirror <*>",
        "the debug menu was opened",
        "restart on failure is set",
        "terror of the <*>",
        'GET <*> HTTP/<*>" 2xx <*>',
        "tracing <*> spans",
        "informed <*>",
        "session <*> with timeout <*> begins",
    ],
)
def test_other_words_say_nothing(text: str) -> None:
    assert severity_of(text) == UNKNOWN


def test_a_level_far_behind_is_a_word_like_others() -> None:
    assert severity_of("a b c d e f g h i INFO") == UNKNOWN
    assert severity_of("a b c d e f g h i ERROR") == ERROR


def test_the_gravest_word_decides() -> None:
    assert severity_of("timeout, retrying: connection refused") == ERROR


def test_endless_texts_are_looked_at_up_to_a_bound() -> None:
    assert severity_of("x" * 5_000 + " failed") == UNKNOWN
