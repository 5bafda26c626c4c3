"""``detector schema``: the published formats, made from the code that speaks them."""

from pathlib import PurePath
from typing import Final

import orjson
import typer

from detector.encoders import schema_documents
from detector.errors import UsageError
from detector.settings import settings_schema

SETTINGS: Final = "settings"


def print_schema(name: str | None) -> None:
    """Print the document, or the names of all. Raises ``UsageError`` for a name that is none."""
    documents = schemas_by_name()
    if name is None:
        typer.echo("\n".join(documents))
    elif name in documents:
        typer.echo(documents[name], nl=False)
    else:
        raise UsageError(f"schema: there is no {name!r}; there are {', '.join(documents)}")


def schemas_by_name() -> dict[str, str]:
    """Give every document that stands at the top of ``schemas/``, by its name on the command line."""
    files = {path: text for path, text in schema_documents().items() if "/" not in path}
    documents = {_command_name(path): text for path, text in files.items()}
    return {**documents, SETTINGS: settings_document()}


def settings_document() -> str:
    """Give the text of ``schemas/settings.v1.json``."""
    return orjson.dumps(settings_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _command_name(path: str) -> str:
    return PurePath(path).name.split(".", 1)[0].replace("_", "-")
