"""The command line: arguments in, exit code out.

Exit codes: 0 fine, 1 failed, 2 wrong usage or settings, 3 a gate failed. Commands are imported when they are called,
because the kernels and river take seconds to import and neither ``--help`` nor a fault in the settings should wait.
"""

# ruff: noqa: FBT002, PLC0415  # flags have defaults; imports inside the commands, for the reason above

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from detector import __version__
from detector.errors import DetectorError, UsageError
from detector.settings import Settings, load_settings

ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", help="Settings file (YAML); may be given again, later ones win.", metavar="FILE"),
]


class _Commands(TyperGroup):
    """Ends a command that raises one of our errors with one line and the error's exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DetectorError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(error.exit_code) from error


app: Final = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Streaming anomaly detection for Kafka: online learners per series, scored anomaly episodes out.",
)
topics_app: Final = typer.Typer(no_args_is_help=True, help="Create or check the topics that are read and written.")
app.add_typer(topics_app, name="topics")
state_app: Final = typer.Typer(
    no_args_is_help=True, help="Look at kept models, save them, bring them back, reset them."
)
app.add_typer(state_app, name="state")


def _print_version(wanted: bool) -> None:  # noqa: FBT001  # typer's signature of a callback
    if wanted:
        typer.echo(f"detector {__version__}")
        raise typer.Exit


@app.callback()
def _detector(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


def _settings(config: list[Path] | None) -> Settings:
    return load_settings(config or ())


@app.command()
def run(
    bootstrap: Annotated[
        str | None,
        typer.Option(
            help="Where nothing is committed, first learn records at most so old (14d, 36h), all that are kept "
            "(earliest), or files and then those; nothing is sent about them. Sets state.bootstrap.",
            metavar="AGE|earliest|PATH",
        ),
    ] = None,
    config: ConfigFiles = None,
) -> None:
    """Work: read topics, score every series, send anomaly episodes, until SIGTERM or Ctrl-C."""
    if bootstrap is not None and Path(bootstrap).exists():
        bootstrap = str(Path(bootstrap).absolute())
    settings = load_settings(config or (), bootstrap=bootstrap)
    from detector.commands.run import run_worker

    run_worker(settings)


@app.command()
def replay(
    paths: Annotated[
        list[Path], typer.Argument(help="CSV, JSONL or log files (also .gz), or folders of them.", metavar="PATH…")
    ],
    events: Annotated[
        Path | None, typer.Option(help="Write every event, one JSON line each.", metavar="FILE.jsonl")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Write one row per input row, in order.", metavar="FILE.csv")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Write what could not be used, with the reason.", metavar="FILE.jsonl")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with plots, to open in a browser.", metavar="FILE.html")
    ] = None,
    report_series: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many plots in it.")] = 50,
    logs: Annotated[bool, typer.Option("--logs", help="JSONL files hold log records, not samples.")] = False,  # a flag
    config: ConfigFiles = None,
) -> None:
    """Send recorded files through the pipeline that the worker runs.

    CSV needs the columns timestamp (or time) and value, and may have series; each file is a partition of its own. JSONL
    records are decoded as the settings say; all of them together are one partition. Text files (.log, .txt) hold log
    lines; each is a partition of its own, and a service of its own where its lines name none.
    """
    settings = _settings(config)
    from detector.commands.replay import ReplayFiles, replay_files

    files = ReplayFiles(events=events, scores=scores, rejects=rejects, report=report, report_series=report_series)
    replay_files(settings, paths, files, logs=logs)


AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
def explain(
    event: Annotated[str, typer.Argument(help="A file with one event, or - for standard input.", metavar="EVENT")],
    events: Annotated[
        Path | None,
        typer.Option(help="Look here for the event (or episode) with the id EVENT.", metavar="FILE.jsonl"),
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option("--input", help="Derive it again from these records, as replay reads them.", metavar="PATH"),
    ] = None,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Derive it again from its partition, read from the beginning.")
    ] = False,  # a flag
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Tell why an event was sent, and whether its numbers come out again (exit code 3 where they do not).

    The settings must be those that the event was made with. Without --input or --kafka nothing is derived again.
    """
    if inputs and kafka:
        raise UsageError("explain: give --input or --kafka, not both")
    settings = _settings(config)
    from detector.commands.explain import explain_event

    explain_event(settings, event, events, inputs or (), kafka=kafka, as_json=as_json)


class DemoSource(StrEnum):
    """What the demo streams."""

    SHOP = "shop"
    WATER = "water"
    HOST = "host"


@app.command()
def demo(
    source: Annotated[
        DemoSource,
        typer.Option(
            help="shop: metrics and logs of five services, with a scripted incident; water: a recorded pipeline flow; "
            "host: this machine's own metrics, until Ctrl-C."
        ),
    ] = DemoSource.SHOP,
    speed: Annotated[float, typer.Option(min=0.1, max=1000.0, help="Times as fast; 1 takes about 20 seconds.")] = 1.0,
) -> None:
    """Watch it work: an embedded broker, a stream, the real worker and a live table of episodes.

    Exit code 1 where the incident of the shop is not found.
    """
    from detector.commands.demo import run_demo

    run_demo(source.value, speed)


@app.command()
def check(
    topics: Annotated[bool, typer.Option("--topics", help="Ask the brokers for the topics, too.")] = False,
    config: ConfigFiles = None,
) -> None:
    """Check the settings and print those in force, secrets hidden."""
    settings = _settings(config)
    from detector.commands.check import check_settings

    check_settings(settings, ask_brokers=topics)


Partitions = Annotated[int, typer.Option(min=-1, help="Partitions of new topics; -1 leaves it to the broker.")]
Replicas = Annotated[int, typer.Option(min=-1, help="Replicas of new topics; -1 leaves it to the broker.")]


@topics_app.command("create")
def topics_create(config: ConfigFiles = None, partitions: Partitions = -1, replicas: Replicas = -1) -> None:
    """Create the topics that are missing; what exists is left as it is."""
    settings = _settings(config)
    from detector.commands.topics import create_topics

    create_topics(settings, partitions=partitions, replicas=replicas)


@topics_app.command("check")
def topics_check(config: ConfigFiles = None) -> None:
    """Tell which topics are missing; exit code 3 if one is."""
    settings = _settings(config)
    from detector.commands.topics import check_topics

    check_topics(settings)


TopicName = Annotated[str, typer.Argument(metavar="TOPIC", help="An input topic.")]
PartitionNumber = Annotated[int, typer.Argument(metavar="PARTITION", min=0, help="One of its partitions.")]


@state_app.command("ls")
def state_ls(config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """List every input partition: offsets, where its models lie, and what a restart would do; reads each snapshot."""
    settings = _settings(config)
    from detector.commands.state_show import list_states

    list_states(settings, as_json=as_json)


@state_app.command("show")
def state_show(
    topic: TopicName,
    partition: PartitionNumber,
    series: Annotated[
        str | None, typer.Option(help="List series whose name holds this; may have * and ?.", metavar="MATCH")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many series.")] = 50,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Fetch and check one partition's snapshot; print its header and columns, or its series."""
    settings = _settings(config)
    from detector.commands.state_show import show_state

    show_state(settings, topic, partition, match=series, limit=limit, as_json=as_json)


@state_app.command("export")
def state_export(
    topic: Annotated[str | None, typer.Argument(metavar="TOPIC", help="An input topic.", show_default=False)] = None,
    partition: Annotated[
        int | None, typer.Argument(metavar="PARTITION", min=0, help="One of its partitions.", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Where to.", show_default=False)] = None,
    folder: Annotated[
        Path | None, typer.Option("--all", help="Every partition, each to a file in this folder.", metavar="DIR")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files.")] = False,
    config: ConfigFiles = None,
) -> None:
    """Save models with their offset to files; workers may run meanwhile."""
    settings = _settings(config)
    from detector.commands.state_change import export_all, export_one

    match (topic, partition, file, folder):
        case (None, None, None, Path()):
            export_all(settings, folder, force=force)
        case (str(), int(), Path(), None):
            export_one(settings, topic, partition, file, force=force)
        case _:
            raise UsageError("state export: give TOPIC PARTITION FILE, or --all DIR")


@state_app.command("import")
def state_import(
    files: Annotated[list[Path], typer.Argument(help="Files of `state export`.", metavar="FILE…")],
    cluster_changed: Annotated[
        bool,
        typer.Option(
            "--cluster-changed", help="They are of another cluster, whose records lie here at the same offsets."
        ),
    ] = False,  # a flag
    force: Annotated[
        bool, typer.Option("--force", help="Also where the group has committed another offset than the file's.")
    ] = False,  # a flag
    config: ConfigFiles = None,
) -> None:
    """Bring saved models back, and commit their offset with them; the group must have no members."""
    settings = _settings(config)
    from detector.commands.state_change import import_states

    import_states(settings, files, cluster_changed=cluster_changed, force=force)


@state_app.command("reset")
def state_reset(
    places: Annotated[list[str], typer.Argument(help="Input topics or partitions.", metavar="TOPIC[:0,1,…]…")],
    to_offset: Annotated[int | None, typer.Option(min=0, help="To this offset.")] = None,
    to_time: Annotated[
        str | None, typer.Option(help="To the first record with this broker time or later (RFC 3339).")
    ] = None,
    to_earliest: Annotated[bool, typer.Option("--to-earliest", help="To the first record.")] = False,
    to_latest: Annotated[bool, typer.Option("--to-latest", help="Behind the last record.")] = False,
    to_current: Annotated[bool, typer.Option("--to-current", help="To where it is.")] = False,
    to_snapshot: Annotated[bool, typer.Option("--to-snapshot", help="To the newest snapshot.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Begin without models.")] = False,
    execute: Annotated[bool, typer.Option("--execute", help="Do it; otherwise it is only told.")] = False,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Move committed offsets together with the models that belong to them; the group must have no members.

    The newest snapshot up to the target stays in use, and the records between are replayed without a word. Where there
    is none the models would be lost, which needs --forget.
    """
    settings = _settings(config)
    from detector.commands.state_change import reset_states, target_of

    target = target_of(
        offset=to_offset,
        time=to_time,
        earliest=to_earliest,
        latest=to_latest,
        current=to_current,
        snapshot=to_snapshot,
    )
    reset_states(settings, places, target, forget=forget, execute=execute, as_json=as_json)


@app.command()
def schema(
    name: Annotated[str | None, typer.Argument(help="Which one; none lists them.", metavar="NAME")] = None,
) -> None:
    """Print a schema: of events, records, dead letters, settings, or the AsyncAPI document."""
    from detector.commands.schema import print_schema

    print_schema(name)


@app.command()
def warmup(config: ConfigFiles = None) -> None:
    """Compile every kernel into the on-disk cache, so that workers start at once."""
    settings = _settings(config)
    from detector.commands.warmup import compile_kernels

    compile_kernels(settings)


def main() -> None:
    """Run the command line; entry point of ``detector``."""
    # A reader that closes the pipe early (head) has what it wants; Python would report it as a failure at exit.
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
