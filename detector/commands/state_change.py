"""``detector state export``, ``import`` and ``reset``: state and offset move together, or not at all."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detector.commands.state_access import PartitionFacts, StateAccess, name_of
from detector.errors import DetectorError, SnapshotRefusedError, UsageError
from detector.ports import Committed, TopicPartition
from detector.settings import Settings
from detector.state import Archive, pack, unpack
from detector.worker.archives import import_fault, moved, next_generation, stored, write
from detector.worker.outlook import ResetPlan, plan_reset

Where = Literal["offset", "earliest", "latest", "current", "time", "snapshot"]
ENDING = ".detstate"


def export_one(settings: Settings, topic: str, partition: int, file: Path, *, force: bool) -> None:
    """Write one partition's state to a file; changes nothing in Kafka. Raises ``UsageError`` where the file exists."""
    access = StateAccess(settings)
    _export(access, {access.known(TopicPartition(topic, partition)): file}, force=force)


def export_all(settings: Settings, folder: Path, *, force: bool) -> None:
    """Write the state of every partition with a committed offset into ``folder``, a file each."""
    access = StateAccess(settings)
    committed = access.group.committed(access.places())
    for place in (place for place, each in committed.items() if each.offset < 0):
        typer.echo(f"{name_of(place)}: nothing committed, nothing written", err=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} is no folder to write to: {error.strerror or error}") from error
    files = {
        place: folder / f"{place.topic}-{place.partition}{ENDING}"
        for place, each in committed.items()
        if each.offset >= 0
    }
    _export(access, files, force=force)


def _export(access: StateAccess, files: Mapping[TopicPartition, Path], *, force: bool) -> None:
    existing = [str(path) for path in files.values() if path.exists()]
    if existing and not force:
        raise UsageError(f"{', '.join(existing)}: there already; --force overwrites")
    failures: list[str] = []
    for each in access.facts(list(files)):
        file = files[each.place]
        try:
            archive = _archive(access, each)
        except DetectorError as error:
            failures.append(str(error))
            continue
        _write_file(file, pack(archive))
        what = "the empty state" if archive.pointer.is_empty else f"{len(archive.data):,} bytes of snapshot"
        typer.echo(
            f"{name_of(each.place)}: {what} at {archive.pointer.offset}, committed {archive.committed}, to {file}"
        )
    if failures:
        raise DetectorError("; ".join(failures))


def _archive(access: StateAccess, facts: PartitionFacts) -> Archive:
    pointer, data = stored(access.store, facts.place, facts.committed)
    archive = Archive(access.group_id, *facts.place, facts.committed.offset, pointer, data)
    archive.snapshot()
    return archive


def _write_file(path: Path, data: bytes) -> None:
    """Whole or not at all: a file that is cut short would look like a backup."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DetectorError(f"{path} cannot be written: {error.strerror or error}") from error


def import_states(settings: Settings, files: Sequence[Path], *, cluster_changed: bool, force: bool) -> None:
    """Check all files, write their snapshots and read them back; then commit all offsets and pointers at once."""
    access = StateAccess(settings)
    archives: dict[TopicPartition, Archive] = {}
    for file in files:
        archive = _read_file(file)
        place = access.known(TopicPartition(archive.topic, archive.partition))
        if place in archives:
            raise UsageError(f"{file}: another file is of {name_of(place)}, too")
        archives[place] = archive
    access.require_empty()
    facts = access.facts(list(archives))
    for each in facts:
        cluster = access.store.prepare(each.place)
        if cluster_changed:
            archives[each.place] = moved(archives[each.place], cluster)
        fault = import_fault(archives[each.place], each.committed, each.extent, cluster, access.judging, force=force)
        if fault is not None:
            raise DetectorError(f"{name_of(each.place)}: nothing was changed: {fault}")
    offsets: dict[TopicPartition, Committed] = {}
    sink = access.sink()
    try:
        for each in facts:
            archive = archives[each.place]
            generation = next_generation(access.store, each.place, each.committed)
            pointer = write(access.store, sink, each.place, archive, generation)
            offsets[each.place] = ResetPlan(each.place, each.committed, archive.committed, pointer, 0, None).wanted
    except DetectorError as error:
        raise DetectorError(f"nothing was committed: {error}") from error
    finally:
        sink.close()
    _commit(access, offsets, facts)
    for place, committed in offsets.items():
        typer.echo(f"{name_of(place)}: imported, committed {committed.offset}")


def _read_file(file: Path) -> Archive:
    try:
        archive = unpack(file.read_bytes())
        archive.snapshot()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
    except SnapshotRefusedError as error:
        raise UsageError(f"{file}: {error}") from error
    return archive


class Target(NamedTuple):
    """Where to: ``number`` is an offset, or epoch milliseconds for ``time``."""

    where: Where
    number: int = 0


def target_of(
    *, offset: int | None, time: str | None, earliest: bool, latest: bool, current: bool, snapshot: bool
) -> Target:
    """Exactly one of these; raises ``UsageError`` otherwise, or for a time that is none."""
    chosen: list[Target] = []
    if offset is not None:
        chosen.append(Target("offset", offset))
    if time is not None:
        chosen.append(Target("time", _epoch_ms(time)))
    flags: dict[Where, bool] = {"earliest": earliest, "latest": latest, "current": current, "snapshot": snapshot}
    chosen.extend(Target(where) for where, wanted in flags.items() if wanted)
    if len(chosen) != 1:
        raise UsageError(
            "say where to, once: --to-offset, --to-earliest, --to-latest, --to-current, --to-time or --to-snapshot"
        )
    return chosen[0]


def _epoch_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--to-time {text}: not a time such as 2026-11-22T10:00:00Z") from error
    if moment.tzinfo is None:
        raise UsageError(f"--to-time {text}: lacks its time zone; end it with Z or an offset such as +01:00")
    return round(moment.timestamp() * 1000)


def reset_states(
    settings: Settings, texts: Sequence[str], target: Target, *, forget: bool, execute: bool, as_json: bool
) -> None:
    """Print what would change; with ``execute`` change it, if no partition speaks against it."""
    if target.where == "snapshot" and forget:
        raise UsageError("--to-snapshot and --forget contradict each other")
    access = StateAccess(settings)
    facts = access.facts(_places(access, texts))
    if execute:
        access.require_empty()
    plans = _plans(access, facts, target, forget=forget)
    if as_json:
        typer.echo(json.dumps([_as_object(plan) for plan in plans], indent=2))
    else:
        _print_plans(plans)
    refusals: dict[str, list[str]] = {}
    for plan in plans:
        if plan.refusal is not None:
            refusals.setdefault(plan.refusal, []).append(name_of(plan.place))
    if refusals:
        reasons = "; ".join(f"{', '.join(names)}: {refusal}" for refusal, names in refusals.items())
        raise DetectorError(f"nothing was changed: {reasons}")
    if not execute:
        typer.echo("nothing was changed: --execute does it", err=True)
        return
    _commit(access, {plan.place: plan.wanted for plan in plans}, facts)
    typer.echo("committed", err=True)


def _commit(access: StateAccess, offsets: dict[TopicPartition, Committed], facts: Sequence[PartitionFacts]) -> None:
    """Commit, unless a worker came and went since we looked."""
    access.require_empty()
    if access.group.committed(list(offsets)) != {each.place: each.committed for each in facts}:
        raise DetectorError("nothing was committed: the group has committed something meanwhile; look again")
    access.group.commit(offsets)


def _places(access: StateAccess, texts: Sequence[str]) -> list[TopicPartition]:
    places: dict[TopicPartition, None] = {}
    for text in texts:
        topic, _, listed = text.partition(":")
        try:
            numbers = [int(number) for number in listed.split(",")] if listed else None
        except ValueError as error:
            raise UsageError(f"{text}: should be TOPIC or TOPIC:0,1,…") from error
        if numbers is None:
            numbers = [each.partition for each in access.places() if each.topic == topic] or [0]
        places |= dict.fromkeys(access.known(TopicPartition(topic, number)) for number in numbers)
    return list(places)


def _plans(access: StateAccess, facts: Sequence[PartitionFacts], target: Target, *, forget: bool) -> list[ResetPlan]:
    extents = {each.place: each.extent for each in facts}
    by_time = access.group.offsets_at(extents, target.number) if target.where == "time" else {}
    return [_plan(access, each, target, by_time.get(each.place), forget=forget) for each in facts]


def _plan(
    access: StateAccess, facts: PartitionFacts, target: Target, by_time: int | None, *, forget: bool
) -> ResetPlan:
    place, committed, (begins, ends) = facts.place, facts.committed, facts.extent
    match target.where:
        case "offset":
            offset = target.number
        case "earliest":
            offset = begins
        case "latest":
            offset = ends
        case "time":
            assert by_time is not None
            offset = by_time
        case "current":
            if committed.offset < 0:
                return ResetPlan(place, committed, -1, None, 0, "the group has committed nothing")
            offset = committed.offset
        case "snapshot":
            reached = ends if committed.offset < 0 else committed.offset
            found = access.outlook(facts._replace(committed=Committed(reached, committed.metadata)))
            if found.pointer is None:
                return ResetPlan(place, committed, reached, None, 0, f"no usable snapshot ({found.reason})")
            offset = found.pointer.offset
    return plan_reset(access.store, place, committed, offset, facts.extent, access.judging, forget=forget)


def _as_object(plan: ResetPlan) -> dict[str, object]:
    return {
        "topic": plan.place.topic,
        "partition": plan.place.partition,
        "committed": plan.current.offset if plan.current.offset >= 0 else None,
        "target": plan.target,
        "snapshot": None if plan.pointer is None or plan.pointer.is_empty else plan.pointer.offset,
        "replays": plan.replay,
        "refusal": plan.refusal,
    }


def _print_plans(plans: Sequence[ResetPlan]) -> None:
    table = Table("partition")
    table.add_column("committed", justify="right")
    table.add_column("new", justify="right")
    table.add_column("records")
    table.add_column("models", overflow="fold")
    for plan in plans:
        current = plan.current.offset
        table.add_row(
            name_of(plan.place),
            f"{current:,}" if current >= 0 else "none",
            f"{plan.target:,}",
            _records(plan),
            _models(plan),
        )
    Console().print(table)


def _records(plan: ResetPlan) -> str:
    change = plan.target - plan.current.offset
    if plan.current.offset < 0 or change == 0:
        return ""
    return f"{change:,} left out" if change > 0 else f"{-change:,} scored again, their events come again"


def _models(plan: ResetPlan) -> Text:
    if plan.refusal is not None:
        return Text("REFUSED, see below", "bold red")
    assert plan.pointer is not None
    if plan.pointer.is_empty and plan.pointer.offset == plan.target:
        return Text("forgotten: begin with none", "yellow")
    start = "from nothing" if plan.pointer.is_empty else "from the snapshot"
    return Text(f"{start} at {plan.pointer.offset:,}, replay {plan.replay:,}", "green")
