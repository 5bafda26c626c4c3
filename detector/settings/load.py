"""Reading settings: files merged in order, then the environment, then every fault at once with where it came from."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_settings import SettingsError

from detector.errors import UsageError
from detector.settings.faults import Origins, describe, nearest
from detector.settings.models import ENVIRONMENT_PREFIX, NESTING, Settings, StateSettings

CONFIG_VARIABLE: Final = "DETECTOR_CONFIG"
"""Files to read when the command line names none, separated like ``PATH``."""
FILE_BYTES_MAX: Final = 4_194_304
"""No settings file is larger; a data file given by mistake should say so at once."""


class SettingsFaultsError(UsageError):
    """Everything that is wrong with the settings: one line per fault in ``faults``.

    Operator: correct each line; the file or environment variable stands at its end.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(f"settings: {fault}" for fault in faults))
        self.faults = tuple(faults)


def load_settings(files: Sequence[Path] = (), *, bootstrap: str | None = None) -> Settings:
    """Read settings from ``files`` (later ones win), or from those in ``DETECTOR_CONFIG``, under the environment.

    ``bootstrap``, as the command line has it, wins over all of them. Raises ``SettingsFaultsError`` with every fault
    found.
    """
    faults: list[str] = []
    origins = Origins()
    merged: dict[str, Any] = {}
    for file in files or _configured_files():
        try:
            tree = read_yaml(file)
        except UsageError as error:
            faults.append(str(error))
            continue
        origins.add_file(tree, file)
        merged = merge(merged, tree)
    origins.add_environment(_nested_variables())
    faults.extend(_unknown_variables())
    settings: Settings | None = None
    try:
        settings = Settings(**merged)
        if bootstrap is not None:
            origins.add_option(("state", "bootstrap"), "--bootstrap")
            settings = _with_bootstrap(settings, bootstrap)
    except ValidationError as error:
        faults.extend(describe(error, origins))
    except SettingsError as error:
        faults.append(f"an environment variable cannot be read: {error}")
    if settings is not None:
        faults.extend(_cross_faults(settings, origins))
    if faults or settings is None:
        raise SettingsFaultsError(faults)
    return settings


def _with_bootstrap(settings: Settings, bootstrap: str) -> Settings:
    """The same with this; validating the whole anew would let the environment win again."""
    section = {"state": {**dict(settings.state), "bootstrap": bootstrap}}
    return settings.model_copy(update=TypeAdapter(dict[str, StateSettings]).validate_python(section))


def _configured_files() -> list[Path]:
    return [Path(part) for part in os.environ.get(CONFIG_VARIABLE, "").split(os.pathsep) if part]


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML where a key given twice is a fault: the loser would be dropped without a word."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is no text", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read_yaml(file: Path) -> dict[str, Any]:
    """Give the mapping in ``file``; an empty file is an empty one. Raises ``UsageError`` naming file and line."""
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise UsageError(f"the file is larger than {FILE_BYTES_MAX} bytes (in {file})")
        tree = yaml.load(file.read_text(encoding="utf-8"), _UniqueKeyLoader)  # noqa: S506  # a SafeLoader
    except OSError as error:
        raise UsageError(f"the file cannot be read: {error.strerror} (in {file})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the file is not UTF-8 (in {file})") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UsageError(f"not valid YAML: {error.problem} (in {file}{place})") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"not valid YAML: {str(error).splitlines()[0]} (in {file})") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UsageError(f"the file should hold a mapping of sections, not a {type(tree).__name__} (in {file})")
    return tree


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` laid over ``below``: mappings merge key by key, everything else (lists too) is replaced."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _nested_variables() -> dict[str, tuple[str, ...]]:
    """Environment variables that are settings, with the path each one sets."""
    found: dict[str, tuple[str, ...]] = {}
    for variable in os.environ:
        if variable.upper().startswith(ENVIRONMENT_PREFIX):
            path = tuple(variable[len(ENVIRONMENT_PREFIX) :].lower().split(NESTING))
            if path[0] in Settings.model_fields:
                found[variable] = path
    return found


def _unknown_variables() -> Iterator[str]:
    """Nested variables of no known section.

    Names without ``__`` are left alone: Kubernetes sets ``DETECTOR_PORT`` and ``DETECTOR_SERVICE_HOST`` in every pod
    beside a service that is called detector.
    """
    for variable in sorted(os.environ):
        section, nested, _ = variable.removeprefix(ENVIRONMENT_PREFIX).partition(NESTING)
        name = section.lower()
        if variable.startswith(ENVIRONMENT_PREFIX) and nested and name not in Settings.model_fields:
            yield f"{name} is not a setting{nearest(name, Settings.model_fields)} (from {variable})"


def _cross_faults(settings: Settings, origins: Origins) -> Iterator[str]:
    """Faults that lie between sections."""
    yield from _bootstrap_faults(settings, origins.where(("state", "bootstrap")))
    yield from _logs_faults(settings, origins)
    names: set[str] = set()
    models = {"auto", *settings.models}
    for index, policy in enumerate(settings.policies):
        if policy.name in names:
            yield f"policies[{index}].name: {policy.name!r} stands twice{origins.where(('policies', index, 'name'))}"
        names.add(policy.name)
        if policy.model not in models:
            hint = nearest(policy.model, sorted(models))
            place = origins.where(("policies", index, "model"))
            yield f"policies[{index}].model: {policy.model!r} is not one of `models`{hint}{place}"


def _logs_faults(settings: Settings, origins: Origins) -> Iterator[str]:
    for topic in settings.logs.topics:
        if topic in settings.kafka.topics:
            yield f"logs.topics: {topic!r} stands in kafka.topics, too{origins.where(('logs', 'topics'))}"
    names: set[str] = set()
    for index, policy in enumerate(settings.logs.policies):
        if policy.name in names:
            place = origins.where(("logs", "policies", index, "name"))
            yield f"logs.policies[{index}].name: {policy.name!r} stands twice{place}"
        names.add(policy.name)


def _bootstrap_faults(settings: Settings, place: str) -> Iterator[str]:
    if settings.state.bootstrap is None:
        return
    if not settings.state.enabled:
        yield f"state.bootstrap: needs state.enabled: true, since what was learnt has to be kept{place}"
    if settings.kafka.auto_offset_reset == "error":
        yield (
            "state.bootstrap: is about partitions without a committed offset, and with kafka.auto_offset_reset: error "
            f"the worker stops at these; leave one of them out{place}"
        )
