"""What ``state.bootstrap`` may say: a length of time, ``earliest``, or where files lie."""

import re
from pathlib import Path
from typing import Final, NamedTuple

EARLIEST: Final = "earliest"
LENGTH: Final = re.compile(r"([0-9]{1,9})([smhdw])")
UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
AGE_MAX_MS: Final = 3_650 * UNIT_MS["d"]
"""Ten years: more is a slip of the pen, and ``earliest`` says it better."""
PATH: Final = re.compile(r"[/\\.]")
"""What every path has: ``./history``, ``history.csv``; a word without is no path but a slip."""


class BootstrapSource(NamedTuple):
    """What is learnt from: the files of ``path`` (None: none), then records at most ``age_ms`` old (None: all)."""

    age_ms: int | None
    path: Path | None = None


def bootstrap_source(text: str) -> BootstrapSource:
    """Read it; raises ``ValueError`` in words for the operator. Files are not looked for."""
    if text == EARLIEST:
        return BootstrapSource(None)
    length = LENGTH.fullmatch(text)
    if length is None:
        if PATH.search(text) is None:
            raise ValueError(
                f"should be a length of time such as 14d or 36h, earliest, or a path such as ./history, not {text!r}"
            )
        return BootstrapSource(None, Path(text))
    age_ms = int(length[1]) * UNIT_MS[length[2]]
    if not 0 < age_ms <= AGE_MAX_MS:
        raise ValueError(f"should be more than nothing and at most 3650d, not {text!r}; earliest takes all there is")
    return BootstrapSource(age_ms)
