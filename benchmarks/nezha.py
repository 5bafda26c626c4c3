"""One day of real logs of 27 services with injected faults: whether the signals point at the service at fault.

``python -m benchmarks.nezha --data DIR [--warm-up WINDOWS]``. DIR holds ``log/*.csv.gz`` and ``*-fault_list.json`` of
Nezha's Train Ticket data: around each fault three minutes were recorded, the first before it. The recorder cut minutes
between their 8th and 9th second, so windows of 60 s are laid there; between recordings the partition is silent. Lines
that are in two files count once. A day has 84 windows, so signals warm up for fewer than by default; episodes that
begin earlier are left out.

- ``auc_*``: the injected service of an episode with a fault of that type (``code``: exception and return) against the
  other 26, each by its largest ``score`` in the windows of the fault; ``auc_combined_*`` by ``combined``;
  ``auc_windows_*``: window by window, the one in which the injection was made included where at least half of it is
  left;
- ``top3``: share of episodes with a code fault in which the injected service is among the three with the largest
  score; ``top3_all`` of all episodes.
"""

import argparse
import csv
import gzip
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmarks.report_line import note, show
from detector.log_batches import WindowFindings
from detector.signals import ServiceSignals, SignalLimits
from detector.templates import TemplateMiner, message_of

WINDOW_MS: Final = 60_000
CUT_MS: Final = 8_500
"""Minutes were cut here."""
WHOLE_MS: Final = 30_000
"""A window with less recorded is left out: recordings end some seconds too late."""
WARM_UP: Final = 10
"""The episodes before are those of one service, which was never recorded without its fault."""
CODE_FAULTS: Final = ("exception", "return")
TOP: Final = 3
FAULT_WINDOWS: Final = 3

_HEADER: Final = re.compile(r"^\d\d:\d\d:\d\d\.\d+\s+(\w+)\s+(.*)", re.DOTALL)
_TRACE: Final = re.compile(r"TraceID: \w+ SpanID: \w+ ")
_FIRST: Final = json.JSONDecoder()
"""Some rows hold several objects, one after another."""
_CLASSES: Final = {"TRACE": 1, "DEBUG": 1, "INFO": 2, "WARN": 3, "WARNING": 3, "ERROR": 4, "FATAL": 5}


class Line(NamedTuple):
    """A line of a service, in event time."""

    time_ms: int
    service: str
    severity: int
    message: bytes


class Fault(NamedTuple):
    """What was injected, when and where."""

    time_ms: int
    service: str
    kind: str


Findings = dict[tuple[str, int], WindowFindings]
"""By service and start of the window."""
Source = Callable[[Sequence[Line], SignalLimits], Findings]


def service_of(pod: str) -> str:
    """The service of a pod."""
    return pod.rsplit("-", 2)[0]


def read_lines(folder: Path) -> list[Line]:
    """All lines in order of their time, each once."""
    csv.field_size_limit(2**30)
    seen = set()
    for path in sorted(folder.glob("log/*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                seen.add((int(_epoch_ms(row["Timestamp"])), row["TimeUnixNano"], row["PodName"], row["Log"]))
    return [_line(time_ms, pod, text) for time_ms, _, pod, text in sorted(seen)]


def _epoch_ms(text: str) -> float:
    return datetime.fromisoformat(f"{text[:19]}+00:00").timestamp() * 1000.0 + float(f"0{text[19:-1]}") * 1000.0


def _line(time_ms: int, pod: str, text: str) -> Line:
    """Without its header, and with what matters of a stack trace."""
    logged = str(_FIRST.raw_decode(text)[0]["log"]) if text.startswith("{") else text
    found = _HEADER.match(logged)
    severity, message = (found[1], found[2]) if found else ("", logged)
    message = _TRACE.sub("", message, count=1)
    return Line(time_ms, service_of(pod), _CLASSES.get(severity, 0), message_of(message.encode().rstrip().split(b"\n")))


def read_faults(folder: Path) -> list[Fault]:
    """The faults in order of their time."""
    found = []
    for path in sorted(folder.glob("*fault_list.json")):
        for fault in (each for part in json.loads(path.read_bytes()).values() for each in part):
            injected = datetime.strptime(fault["inject_time"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            found.append(Fault(int(injected.timestamp() * 1000), service_of(fault["inject_pod"]), fault["inject_type"]))
    return sorted(found)


def window_of(time_ms: int) -> int:
    """Start of the window."""
    return (time_ms - CUT_MS) // WINDOW_MS * WINDOW_MS


def rooms(lines: Sequence[Line], limits: SignalLimits) -> Findings:
    """Findings of miners and signals, one of each per service; a source of findings."""
    windows: dict[int, dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        windows[window_of(line.time_ms)][line.service].append(line)
    for start_ms in [start_ms for start_ms, by_service in windows.items() if _span_ms(by_service) < WHOLE_MS]:
        del windows[start_ms]
    services = sorted({line.service for line in lines})
    miners = {service: TemplateMiner() for service in services}
    signals = {service: ServiceSignals(limits) for service in services}
    found: Findings = {}
    last_ms = min(windows)
    for start_ms in sorted(windows):
        skipped = (start_ms - last_ms) // WINDOW_MS - 1
        for service in services:
            if skipped > 0:
                signals[service].skip(skipped)
            _count(miners[service], signals[service], start_ms, windows[start_ms][service])
            found[service, start_ms] = signals[service].close(services.index(service), start_ms)
        last_ms = start_ms
    return found


def _span_ms(by_service: dict[str, list[Line]]) -> int:
    """Time between the first and the last line of a window."""
    times = [line.time_ms for lines in by_service.values() for line in lines]
    return max(times) - min(times)


def _count(miner: TemplateMiner, signals: ServiceSignals, start_ms: int, lines: Sequence[Line]) -> None:
    """Mine a window's lines and count them, changes of numbers where they came."""
    numbers = miner.mine([line.message for line in lines])
    severities = np.array([line.severity for line in lines], np.int8)
    row = 0
    for change in miner.changes:
        signals.count(start_ms, numbers[row : change.row], severities[row : change.row])
        row = change.row
        if change.kind == "merged":
            signals.merged(change.number, change.into)
        elif change.kind == "evicted":
            signals.evicted(change.number)
    signals.count(start_ms, numbers[row:], severities[row:])


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive is above a negative; ties count half."""
    if not positive or not negative:
        return float("nan")
    above = sum(sum((p > n) + 0.5 * (p == n) for n in negative) for p in positive)
    return above / (len(positive) * len(negative))


def during(fault: Fault, starts: Sequence[int]) -> list[int]:
    """Starts of the recorded windows that are at least half within the fault, of its own recording."""
    first = window_of(fault.time_ms)
    return [
        start_ms
        for start_ms in starts
        if first <= start_ms < first + FAULT_WINDOWS * WINDOW_MS and start_ms + CUT_MS + WINDOW_MS // 2 >= fault.time_ms
    ]


def measured(found: Findings, faults: Sequence[Fault], warm_up: int) -> dict[str, float]:
    """All measures."""
    starts = sorted({start_ms for _, start_ms in found})
    services = sorted({service for service, _ in found})
    scored: dict[str, list[tuple[list[float], list[float]]]] = defaultdict(list)
    ranks: dict[str, list[int]] = defaultdict(list)
    for fault in faults:
        windows = [start_ms for start_ms in during(fault, starts) if starts.index(start_ms) >= warm_up]
        if not windows:
            continue
        kinds = (fault.kind, "code" if fault.kind in CODE_FAULTS else "other")
        for name, value in (("auc", _score), ("auc_combined", _combined)):
            by_window = {s: [value(found[s, start_ms]) for start_ms in windows] for s in services}
            own, others = by_window.pop(fault.service), by_window.values()
            for kind in kinds:
                scored[f"{name}_{kind}"].append(([max(own)], [max(other) for other in others]))
                scored[f"{name}_windows_{kind}"].append((own, [x for other in others for x in other]))
        most = {service: max(_score(found[service, start_ms]) for start_ms in windows) for service in services}
        rank = 1 + sum(most[service] > most[fault.service] for service in services)
        rank += sum(most[service] == most[fault.service] for service in services if service != fault.service) // 2
        ranks["all"].append(rank)
        ranks[kinds[1]].append(rank)
    result = {
        name: auc([x for own, _ in parts for x in own], [x for _, others in parts for x in others])
        for name, parts in sorted(scored.items())
    }
    result["top3"] = float(np.mean([rank <= TOP for rank in ranks["code"]]))
    result["top3_all"] = float(np.mean([rank <= TOP for rank in ranks["all"]]))
    result["episodes"], result["code_episodes"] = len(ranks["all"]), len(ranks["code"])
    return result


def _score(found: WindowFindings) -> float:
    return found.score


def _combined(found: WindowFindings) -> float:
    return found.combined


def main(source: Source = rooms) -> int:
    """Run the benchmark; 2 for a folder without such data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder with log/*.csv.gz and *fault_list.json")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="windows of warm-up")
    given = parser.parse_args()
    lines, faults = read_lines(given.data), read_faults(given.data)
    if not lines or not faults:
        note("no log/*.csv.gz or *fault_list.json in that folder")
        return 2
    found = source(lines, SignalLimits(warm_up_windows=given.warm_up))
    result = measured(found, faults, given.warm_up)
    summary = {"benchmark": "nezha", "lines": len(lines), "warm_up": given.warm_up, **result}
    rows = [[name, f"{value:.3f}"] for name, value in result.items()]
    show("Faults in real logs", ("measure", "value"), rows, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
