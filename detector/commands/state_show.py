"""``detector state ls`` and ``show``: where every partition's models lie, and what is in them."""

import json
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detector.commands.state_access import PartitionFacts, StateAccess, name_of
from detector.errors import SnapshotRefusedError
from detector.ports import TopicPartition
from detector.settings import Settings
from detector.state import Pointer, Snapshot, decode, parse_pointer
from detector.worker.archives import stored
from detector.worker.outlook import Outlook

NAME: Final = 2
"""Place of a series' canonical name in ``series.identities``."""
TIME_MAX_S: Final = 253_402_300_799
"""The end of the year 9999."""


def list_states(settings: Settings, *, as_json: bool) -> None:
    """Print a row per input partition."""
    access = StateAccess(settings)
    facts = access.facts(access.places())
    console = Console(stderr=True)
    rows = []
    for number, each in enumerate(facts, 1):
        with console.status(f"reading the snapshot of {name_of(each.place)} ({number} of {len(facts)})"):
            rows.append((each, access.outlook(each)))
    if as_json:
        _print_json([_as_object(each, ahead, access) for each, ahead in rows])
        return
    hashes = sorted({access.judging.hash_of(each.place.topic) for each, _ in rows})
    table = Table("partition", title=f"group {access.group_id}, configuration {', '.join(hashes)}")
    for column in ("committed", "lag", "snapshot at", "bytes", "chunks", "gen."):
        table.add_column(column, justify="right")
    table.add_column("fits")
    table.add_column("a restart would", overflow="fold")
    for each, ahead in rows:
        table.add_row(name_of(each.place), *_cells(each, ahead, access), _words(ahead, settings))
    Console().print(table)
    for each, ahead in rows:
        if ahead.reason and ahead.kind != "first":
            typer.echo(f"{name_of(each.place)}: {ahead.reason}", err=True)
    lost = sum(ahead.kind == "lost" for _, ahead in rows)
    if lost:
        typer.echo(f"{lost} of {len(rows)} partitions would lose their models", err=True)


def _cells(facts: PartitionFacts, ahead: Outlook, access: StateAccess) -> list[str | Text]:
    committed = facts.committed.offset
    pointer = parse_pointer(facts.committed.metadata)
    offsets = [f"{committed:,}" if committed >= 0 else "none", f"{_lag(facts):,}"]
    if pointer is None:
        return [*offsets, "no pointer", "", "", "", ""]
    sizes = ["", ""] if pointer.is_empty else [f"{pointer.size_bytes:,}", f"{pointer.chunk_count:,}"]
    fits: str | Text = "yes"
    if pointer.cluster != ahead.cluster:
        fits = Text("other cluster", "red")
    elif not pointer.is_empty and pointer.config_hash != access.judging.hash_of(facts.place.topic):
        fits = Text("other settings", "red")
    return [*offsets, f"{pointer.offset:,}", *sizes, str(pointer.generation), fits]


def _lag(facts: PartitionFacts) -> int:
    reached = facts.committed.offset if facts.committed.offset >= 0 else facts.extent.begin
    return max(0, facts.extent.end - reached)


def _words(ahead: Outlook, settings: Settings) -> Text:
    replay = f"and replay {ahead.replay:,}"
    match ahead.kind:
        case "restore":
            return Text(f"restore from {ahead.offset:,} {replay}", "green")
        case "empty":
            untold = ahead.pointer is not None and ahead.pointer.untold
            then = f"and learn {ahead.replay:,} before its first word" if untold else replay
            return Text(f"begin empty at {ahead.offset:,} {then}", "green")
        case "found":
            return Text(f"search, restore from {ahead.offset:,} {replay}", "yellow")
        case "first":
            learns = settings.state.bootstrap
            return Text(f"begin at {settings.kafka.auto_offset_reset}" if learns is None else f"learn {learns} first")
        case "lost":
            if settings.state.on_state_loss == "fail":
                return Text("STOP: STATE LOST", "bold red")
            start = f"{ahead.offset:,}" if ahead.offset >= 0 else settings.kafka.auto_offset_reset
            return Text(f"LOSE IT, learn anew at {start}", "bold red")


def _as_object(facts: PartitionFacts, ahead: Outlook, access: StateAccess) -> dict[str, Any]:
    pointer = parse_pointer(facts.committed.metadata)
    return {
        "topic": facts.place.topic,
        "partition": facts.place.partition,
        "committed": facts.committed.offset if facts.committed.offset >= 0 else None,
        "begins": facts.extent.begin,
        "ends": facts.extent.end,
        "lag": _lag(facts),
        "pointer": None if pointer is None else _pointer_object(pointer),
        "settings_fit": None if pointer is None else pointer.config_hash == access.judging.hash_of(facts.place.topic),
        "cluster_fits": None if pointer is None else pointer.cluster == ahead.cluster,
        "restart": ahead.kind,
        "reads_from": ahead.offset if ahead.offset >= 0 else None,
        "replays": ahead.replay,
        "reason": ahead.reason,
        "state_lost": ahead.kind == "lost",
    }


def _pointer_object(pointer: Pointer) -> dict[str, Any]:
    return {**msgspec.structs.asdict(pointer), "empty": pointer.is_empty}


def show_state(settings: Settings, topic: str, partition: int, *, match: str | None, limit: int, as_json: bool) -> None:
    """Fetch, check and print one partition's snapshot."""
    access = StateAccess(settings)
    place = access.known(TopicPartition(topic, partition))
    (facts,) = access.facts([place])
    pointer, data = stored(access.store, place, facts.committed)
    if pointer.is_empty:
        if as_json:
            _print_json({"pointer": _pointer_object(pointer), "header": None, "columns": [], "series": []})
        else:
            typer.echo(f"{name_of(place)}: the empty state at offset {pointer.offset}")
        return
    snapshot = decode(data)
    series, count = _series(snapshot, match, limit)
    if as_json:
        _print_json(
            {
                "pointer": _pointer_object(pointer),
                "header": {**msgspec.structs.asdict(snapshot.header), "columns": None} | {"bytes": len(data)},
                "columns": [
                    {"name": name, "type": column.dtype.str, "shape": list(column.shape), "bytes": column.nbytes}
                    for name, column in snapshot.columns.items()
                ],
                "series": [{"name": name, "last_seen": seen} for name, seen in series],
            }
        )
        return
    console = Console()
    console.print(_header_table(snapshot, pointer, data, access))
    if match is None:
        console.print(_columns_table(snapshot))
        return
    table = Table("series", "last seen", title=f"{len(series):,} of {count:,} series that match, by slot")
    for name, seen in series:
        table.add_row(Text(name), seen)
    console.print(table)


def _header_table(snapshot: Snapshot, pointer: Pointer, data: bytes, access: StateAccess) -> Table:
    header = snapshot.header
    fits = "these settings" if header.config_hash == access.judging.hash_of(header.topic) else "OTHER SETTINGS"
    table = Table("", "", title=f"snapshot of {header.topic}[{header.partition}]", show_header=False)
    for name, value in (
        ("format", str(header.format)),
        ("configuration", f"{header.config_hash} ({fits})"),
        ("cluster", header.cluster),
        ("offset", f"{header.offset:,}"),
        ("watermark", time_text(header.watermark_ms)),
        ("series", f"{header.series_count:,}"),
        ("open episodes", f"{header.open_episodes:,}"),
        ("bytes", f"{len(data):,} stored, {header.body_bytes:,} of columns"),
        ("state topic", f"{pointer.chunk_count} chunk(s), offsets {pointer.first_offset} to {pointer.last_offset}"),
        ("generation", str(pointer.generation)),
    ):
        table.add_row(name, Text(value))
    return table


def _columns_table(snapshot: Snapshot) -> Table:
    table = Table("column", "type")
    table.add_column("shape", justify="right")
    table.add_column("bytes", justify="right")
    for name, column in snapshot.columns.items():
        table.add_row(name, column.dtype.str, " × ".join(f"{size:,}" for size in column.shape), f"{column.nbytes:,}")  # noqa: RUF001  # the sign of multiplication
    return table


def _series(snapshot: Snapshot, match: str | None, limit: int) -> tuple[list[tuple[str, str]], int]:
    """Names with the time when each was last seen, at most ``limit`` of those that match, and how many do."""
    if match is None:
        return [], 0
    try:
        identities = json.loads(snapshot.columns["series.identities"].tobytes())
        names = [str(identity[NAME]) for identity in identities]
        seen = snapshot.columns["series.last_ms"].tolist()
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise SnapshotRefusedError(f"the snapshot's series cannot be read: {error}") from error
    pattern = match if any(sign in match for sign in "*?[") else f"*{match}*"
    found = [(name, time_text(last)) for name, last in zip(names, seen, strict=True) if fnmatchcase(name, pattern)]
    return found[:limit], len(found)


def time_text(time_ms: int) -> str:
    """Epoch milliseconds as UTC."""
    if not 0 <= time_ms <= TIME_MAX_S * 1000:
        return "none" if time_ms < 0 else f"{time_ms} ms"
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))
