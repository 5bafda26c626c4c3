"""The command line: arguments in, exit code out.

Exit codes: 0 fine, 1 failed, 2 wrong usage or settings, 3 a gate failed. Commands are imported when they are called,
because the kernels and river take seconds to import and neither ``--help`` nor a fault in the settings should wait.
"""

# ruff: noqa: PLC0415  # imports inside the commands, for the reason above

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from detector import __version__
from detector.errors import DetectorError
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


def _print_version(wanted: bool) -> None:  # noqa: FBT001  # typer's signature of a callback
    if wanted:
        typer.echo(f"detector {__version__}")
        raise typer.Exit


@app.callback()
def _detector(
    version: Annotated[  # noqa: FBT002  # typer wants the default here
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


def _settings(config: list[Path] | None) -> Settings:
    return load_settings(config or ())


@app.command()
def run(config: ConfigFiles = None) -> None:
    """Work: read topics, score every series, send anomaly episodes, until SIGTERM or Ctrl-C."""
    settings = _settings(config)
    from detector.commands.run import run_worker

    run_worker(settings)


@app.command()
def replay(
    paths: Annotated[
        list[Path], typer.Argument(help="CSV or JSONL files (also .gz), or folders of them.", metavar="PATH…")
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
    config: ConfigFiles = None,
) -> None:
    """Send recorded files through the pipeline that the worker runs.

    CSV needs the columns timestamp (or time) and value, and may have series; each file is a partition of its own. JSONL
    records are decoded as the settings say; all of them together are one partition.
    """
    settings = _settings(config)
    from detector.commands.replay import ReplayFiles, replay_files

    replay_files(settings, paths, ReplayFiles(events=events, scores=scores, rejects=rejects))


class DemoSource(StrEnum):
    """What the demo streams."""

    WATER = "water"
    HOST = "host"


@app.command()
def demo(
    source: Annotated[
        DemoSource,
        typer.Option(help="water: a recorded pipeline flow; host: this machine's own metrics, until Ctrl-C."),
    ] = DemoSource.WATER,
    speed: Annotated[float, typer.Option(min=0.1, max=1000.0, help="Times as fast; 1 takes about 20 seconds.")] = 1.0,
) -> None:
    """Watch it work: an embedded broker, real data, the real worker and a live table of episodes."""
    from detector.commands.demo import run_demo

    run_demo(source.value, speed)


@app.command()
def check(
    topics: Annotated[bool, typer.Option("--topics", help="Ask the brokers for the topics, too.")] = False,  # noqa: FBT002  # a flag
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
