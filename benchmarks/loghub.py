"""Labelled log sets: how well the shipped miner finds the templates that people wrote down, beside drain3.

``python -m benchmarks.loghub --data DIR``. DIR holds one folder per set, with a ``*_structured.csv`` of Loghub: columns
``Content`` and ``EventTemplate``. No miner is told anything about any set. Per set and on average:

- ``ga``: share of lines whose group is exactly the set of lines of one true template;
- ``fga``: F1 of such groups among the groups found and the true templates;
- ``pa``: share of lines whose template has the true text;
- ``fta``: F1 of groups that are right and have the true text;
- ``new_template_f1``: F1 of the lines at which a miner begins a template against the first line of each true one.

Texts are compared after both were brought into one form, since annotators differ in how much of ``blk_-12``, of
``10.0.0.1:80``, or of a path is the parameter: see :func:`uniform`.

Sources: Zhu et al. (2019), "Tools and Benchmarks for Automated Log Parsing", ICSE-SEIP (GA); Khan et al. (2022),
"Guidelines for Assessing the Accuracy of Log Message Template Identification Techniques", ICSE (PA, FTA, the form of
texts); Jiang et al. (2024), "A Large-Scale Evaluation for Log Parsing Techniques", ISSTA (FGA).
"""

import argparse
import csv
import re
import sys
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.log_miners import OURS, Mined, miners
from benchmarks.report_line import note, show

WILD: Final = "<*>"
MEASURES: Final = ("ga", "fga", "pa", "fta", "new_template_f1")

_BLANKS: Final = re.compile(r"\s+")
_OUTER: Final = re.compile(r"([\s,!;:=|\"'\[\](){}]+)")
_INNER: Final = re.compile(r"([\s,!;:=|\"'\[\](){}.\-+@#$%&]+)")
_PATH: Final = re.compile(r"(?:/[^/]+)+")
_CONSTANT_VALUES: Final = frozenset({"true", "false", "null", "root", "admin"})
_ADJACENT: Final = re.compile(r"<\*>(?:[ .:,\-/+@]?<\*>)+|#<\*>|<\*>%")


class LogSet(NamedTuple):
    """Lines without their headers, and the true template of each."""

    name: str
    lines: list[str]
    truth: list[str]


def load(folder: Path) -> list[LogSet]:
    """Every set below ``folder``."""
    found = []
    for path in sorted(folder.glob("*/*_structured.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found.append(LogSet(path.parent.name, [row["Content"] for row in rows], [row["EventTemplate"] for row in rows]))
    return found


def uniform(text: str) -> str:
    """A template in the one form in which texts are compared.

    Blanks are one space. Paths, numbers, truth values, ``null``, ``root`` and ``admin`` are parameters, and so is the
    whole of a word, between blanks and marks, that has a parameter in it. Parameters with nothing or one mark between
    them are one.
    """
    text = _BLANKS.sub(" ", text.strip())
    text = "".join(WILD if _PATH.fullmatch(part) else part for part in _OUTER.split(text))
    text = "".join(WILD if _is_parameter(part) else part for part in _INNER.split(text))
    while (joined := _ADJACENT.sub(WILD, text)) != text:
        text = joined
    return text


def _is_parameter(word: str) -> bool:
    return word.isdigit() or word.lower() in _CONSTANT_VALUES or (WILD in word and "/" not in word)


def rows_by(groups: Sequence[Hashable]) -> dict[Hashable, set[int]]:
    """Lines of each group."""
    rows: dict[Hashable, set[int]] = defaultdict(set)
    for row, group in enumerate(groups):
        rows[group].add(row)
    return rows


def f1(right: int, found: int, wanted: int) -> float:
    """Harmonic mean of precision and recall."""
    return 2.0 * right / max(found + wanted, 1)


def accuracy(mined: Mined, truth: Sequence[str]) -> dict[str, float]:
    """All measures of one miner on one set."""
    groups, true_groups = rows_by(mined.groups), rows_by(truth)
    texts = {number: uniform(text) for number, text in mined.texts.items()}
    true_texts = {text: uniform(text) for text in true_groups if isinstance(text, str)}
    right_lines = right = right_texts = 0
    for number, rows in groups.items():
        true_text = truth[next(iter(rows))]
        if true_groups[true_text] == rows:
            right_lines += len(rows)
            right += 1
            right_texts += texts[int(str(number))] == true_texts[true_text]
    firsts = {min(rows) for rows in true_groups.values()}
    same_text = sum(texts[number] == true_texts[true] for number, true in zip(mined.groups, truth, strict=True))
    return {
        "ga": right_lines / len(truth),
        "fga": f1(right, len(groups), len(true_groups)),
        "pa": same_text / len(truth),
        "fta": f1(right_texts, len(groups), len(true_groups)),
        "new_template_f1": f1(len(firsts & set(mined.created)), len(mined.created), len(firsts)),
    }


def mean(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each measure over the sets."""
    return {measure: sum(each[measure] for each in found) / len(found) for measure in MEASURES}


def measure(sets: Sequence[LogSet]) -> None:
    """Run every miner on every set; print the table and the JSON."""
    rows, result = [], {}
    for miner in miners():
        found = []
        for each in sets:
            note(f"{miner.name}: {each.name}")
            found.append(accuracy(miner.mine(each.lines), each.truth))
            rows.append([f"{miner.name}: {each.name}", *(f"{found[-1][name]:.3f}" for name in MEASURES)])
        result[miner.name] = {name: round(value, 4) for name, value in mean(found).items()}
        rows.append([f"{miner.name}: mean of {len(sets)}", *(f"{value:.3f}" for value in mean(found).values())])
    summary = {"benchmark": "loghub", "sets": len(sets), **result.pop(OURS), "peers": result}
    show("Log templates", ("miner: set", *MEASURES), rows, summary)


def main() -> int:
    """Run the benchmark; 2 for a folder without labelled sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of folders with *_structured.csv of Loghub")
    sets = load(parser.parse_args().data)
    if not sets:
        note("no */*_structured.csv in that folder")
        return 2
    measure(sets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
