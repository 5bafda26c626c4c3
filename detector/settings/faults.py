"""What pydantic found wrong, in words for the operator: the path, the nearest known name, the file."""

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from detector.settings.models import Settings
from detector.settings.section import HIDDEN, SECRET_OPTION

Place = tuple[int | str, ...]

SHOWN_CHARACTERS_MAX: Final = 60
KNOWN_NAMES_MAX: Final = 12
LIKENESS_MIN: Final = 0.6
"""difflib's own cutoff for "close enough to be a slip"."""


class Origins:
    """Which file or variable gave which path; the environment wins over files and later files over earlier ones."""

    def __init__(self) -> None:
        self._files: dict[Place, Path] = {}
        self._variables: dict[Place, str] = {}
        self._last_file: Path | None = None

    def add_file(self, tree: Mapping[str, Any], file: Path) -> None:
        """Remember that ``file`` gave every path of ``tree``."""
        self._last_file = file
        self._add(tree, (), file)

    def _add(self, node: object, place: Place, file: Path) -> None:
        if place:
            self._files[place] = file
        if isinstance(node, Mapping):
            for key, value in node.items():
                self._add(value, (*place, key), file)
        elif isinstance(node, list):
            for index, value in enumerate(node):
                self._add(value, (*place, index), file)

    def add_environment(self, variables: Mapping[str, tuple[str, ...]]) -> None:
        """Remember that each variable gave its path."""
        self._variables.update({path: variable for variable, path in variables.items()})

    def add_option(self, place: Place, option: str) -> None:
        """Remember that the command line gave a path."""
        self._variables[place] = option

    def where(self, place: Place) -> str:
        """Say `` (in FILE)`` or `` (from VARIABLE)`` for the longest known part of ``place``; else nothing."""
        for length in range(len(place), 0, -1):
            if (variable := self._variables.get(place[:length])) is not None:
                return f" (from {variable})"
            if (file := self._files.get(place[:length])) is not None:
                return f" (in {file})"
        return f" (in {self._last_file})" if self._last_file else ""


def describe(error: ValidationError, origins: Origins) -> Iterator[str]:
    """One line per fault, in the order of the settings. A list is not too short for faults of its own items."""
    faults = error.errors(include_url=False)
    for fault in faults:
        if fault["type"] == "too_short" and any(fault["loc"] == each["loc"][:-1] for each in faults):
            continue
        place = _without_tags(fault["loc"])
        yield f"{_sentence(fault, place)}{origins.where(place)}"


def _sentence(fault: ErrorDetails, place: Place) -> str:
    path = dotted(place)
    if fault["type"] == "extra_forbidden":
        return f"{path} is not a setting{_did_you_mean(fault['loc'])}"
    if fault["type"] == "missing":
        return f"{path} is missing"
    words = (
        fault["msg"].removeprefix("Value error, ").replace("Input should", "should").replace("String should", "should")
    )
    words = words[0].lower() + words[1:]
    given = fault["input"]
    if fault["type"] == "value_error" or isinstance(given, dict | BaseModel):
        return f"{path}: {words}"
    return f"{path}: {words}, not {_shown(given, place)}"


def _shown(value: object, place: Place) -> str:
    if any(isinstance(part, str) and SECRET_OPTION.search(part) for part in place):
        return HIDDEN
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + "…"


def _without_tags(location: Place) -> Place:
    """Leave out the tags of unions and other steps of pydantic's own, such as ``<RiverModel>`` and ``[key]``."""
    return tuple(part for part in location if isinstance(part, int) or part[:1] not in {"<", "["})


def dotted(place: Place) -> str:
    """``policies[0].name`` for ``("policies", 0, "name")``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _did_you_mean(location: Place) -> str:
    """Give the nearest known name: first among its siblings, then anywhere in the settings."""
    wrong = str(location[-1])
    model = _model_at(location[:-1])
    prefix = dotted(_without_tags(location[:-1]))
    siblings = [f"{prefix}.{name}" if prefix else name for name in model.model_fields]
    near = difflib.get_close_matches(f"{prefix}.{wrong}" if prefix else wrong, siblings, 1, _cutoff(prefix, wrong))
    if near:
        return f"; did you mean {near[0]}?"
    longer = [path for name, path in zip(model.model_fields, siblings, strict=True) if name.startswith(wrong)]
    if longer:
        return f"; did you mean {longer[0]}?"
    elsewhere = {path.rsplit(".", 1)[-1]: path for path in _all_paths(Settings, "")}
    close = difflib.get_close_matches(wrong, elsewhere, 1, 0.8)
    if close:
        return f"; did you mean {elsewhere[close[0]]}?"
    known = list(model.model_fields)
    return f"; known here: {', '.join(known[:KNOWN_NAMES_MAX])}{', …' if len(known) > KNOWN_NAMES_MAX else ''}"


def _cutoff(prefix: str, wrong: str) -> float:
    """Likeness of whole paths that equals ``LIKENESS_MIN`` of the last names: the common prefix must not help."""
    common, own = len(prefix) + 1 if prefix else 0, max(len(wrong), 1)
    return (common + LIKENESS_MIN * own) / (common + own)


def nearest(wrong: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` for the known name most like ``wrong``, else the known names."""
    names = list(known)
    near = difflib.get_close_matches(wrong, names, 1, LIKENESS_MIN)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(names[:KNOWN_NAMES_MAX])}"


def _models_in(annotation: object) -> list[type[BaseModel]]:
    """Model classes inside an annotation such as ``tuple[PolicySettings, ...]`` or a tagged union."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _model_at(location: Place) -> type[BaseModel]:
    """Find the section that a path leads into; ``Settings`` where it leads nowhere known."""
    model: type[BaseModel] = Settings
    choices: list[type[BaseModel]] = []
    for part in location:
        if isinstance(part, int):
            continue
        if part.startswith("<"):
            model = next((choice for choice in choices if choice.__name__ == part.strip("<>")), model)
        elif part in model.model_fields:
            choices = _models_in(model.model_fields[part].annotation)
            model = choices[0] if choices else model
    return model


def _all_paths(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        yield path
        for inner in _models_in(field.annotation)[:1]:
            yield from _all_paths(inner, path)
