"""Miners of log templates with one interface: ours, and drain3 from the extra ``bench``, with and without masks.

drain3's masks are those of its example configuration (github.com/logpai/Drain3, examples/drain3.ini); all else is its
default. It is left out, with a line that says so, where the extra is missing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from benchmarks.report_line import note
from detector.templates import TemplateMiner

Masks = Sequence[tuple[str, str]]
"""Patterns, and the names that they are replaced by."""

OURS: Final = "detector"
BATCH_LINES: Final = 1_000

_EDGES: Final = "(?<![A-Za-z0-9]){}(?![A-Za-z0-9])"
STOCK_MASKS: Final = (
    (_EDGES.format(r"(?:[0-9a-f]{2,}:){3,}[0-9a-f]{2,}"), "ID"),
    (_EDGES.format(r"\d{1,3}(?:\.\d{1,3}){3}"), "IP"),
    (_EDGES.format(r"(?:[0-9a-f]{6,} ?){3,}"), "SEQ"),
    (_EDGES.format(r"(?:[0-9A-F]{4} ?){4,}"), "SEQ"),
    (_EDGES.format(r"0x[a-f0-9A-F]+"), "HEX"),
    (_EDGES.format(r"[-+]?\d+"), "NUM"),
    (r'(?<=executed cmd )".+?"', "CMD"),
)
_MASKED: Final = re.compile("<(?:ID|IP|SEQ|HEX|NUM|CMD)>")
_STATUS: Final = re.compile(r"(?<![A-Za-z0-9])[2-5]xx(?![A-Za-z0-9])")


class Mined(NamedTuple):
    """What a miner makes of a stream: group of each line in the end, text of each group, lines that began one."""

    groups: Sequence[int]
    texts: Mapping[int, str]
    created: Sequence[int]


class Miner(NamedTuple):
    """A contender: ``mine`` is for quality; ``feed`` gives a function that takes one batch, for speed."""

    name: str
    mine: Callable[[Sequence[str]], Mined]
    feed: Callable[[], Callable[[Sequence[bytes]], object]]


def ours(lines: Sequence[str]) -> Mined:
    """Our miner with its defaults, in batches; the class of a status counts as the parameter that it is."""
    miner = TemplateMiner()
    numbers: list[int] = []
    created: list[int] = []
    for start in range(0, len(lines), BATCH_LINES):
        numbers += miner.mine([line.encode() for line in lines[start : start + BATCH_LINES]]).tolist()
        created += [start + change.row for change in miner.changes if change.kind == "created"]
    found = {number: miner.template(number) for number in set(numbers)}
    texts = {template.number: _STATUS.sub("<*>", template.text) for template in found.values()}
    return Mined([found[number].number for number in numbers], texts, created)


def _drain(masks: Masks) -> Any:
    """A new miner of drain3."""
    config = import_module("drain3.template_miner_config").TemplateMinerConfig()
    make: Any = import_module("drain3.masking").MaskingInstruction
    config.masking_instructions = [make(pattern, name) for pattern, name in masks]
    return import_module("drain3").TemplateMiner(config=config)


def drained(masks: Masks, lines: Sequence[str]) -> Mined:
    """What drain3 makes of a stream."""
    miner = _drain(masks)
    groups, created = [], []
    for row, line in enumerate(lines):
        result = miner.add_log_message(line)
        groups.append(result["cluster_id"])
        if result["change_type"] == "cluster_created":
            created.append(row)
    texts = {cluster.cluster_id: _MASKED.sub("<*>", cluster.get_template()) for cluster in miner.drain.clusters}
    return Mined(groups, texts, created)


def _drain_feed(masks: Masks) -> Callable[[Sequence[bytes]], object]:
    miner = _drain(masks)

    def feed(lines: Sequence[bytes]) -> None:
        for line in lines:
            miner.add_log_message(line.decode())

    return feed


def miners() -> list[Miner]:
    """Those that can run here."""
    found = [Miner(OURS, ours, lambda: TemplateMiner().mine)]
    if find_spec("drain3") is None:
        note("drain3 left out: pip install -e '.[bench]'")
        return found
    contenders: tuple[tuple[str, Masks], ...] = (("drain3", STOCK_MASKS), ("drain3 without masks", ()))
    found += [Miner(name, partial(drained, masks), partial(_drain_feed, masks)) for name, masks in contenders]
    return found
