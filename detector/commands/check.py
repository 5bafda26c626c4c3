"""``detector check`` says whether the settings are right, and what they come to."""

import typer
import yaml
from rich.console import Console
from rich.syntax import Syntax

from detector.commands.bootstrap import bootstrap_of
from detector.commands.topics import check_topics
from detector.settings import Settings, config_hash, effective
from detector.wiring import PipelineFactory


def check_settings(settings: Settings, *, ask_brokers: bool) -> None:
    """Build what can be built without brokers, print the settings in force; then ask the brokers, if wanted."""
    PipelineFactory(settings)
    bootstrap_of(settings)
    text = yaml.safe_dump(effective(settings), sort_keys=False, allow_unicode=True, width=120)
    console = Console()
    if console.is_terminal:
        console.print(Syntax(text, "yaml", background_color="default"))
    else:
        typer.echo(text, nl=False)
    typer.echo(f"settings are valid; configuration {config_hash(settings)}", err=True)
    if ask_brokers:
        check_topics(settings)
