"""Imports point one way. The table below is the architecture; an ``ast`` walk over every file enforces it."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parent.parent / "detector"
ROOMS: Final = ("decoders", "series", "templates", "signals", "learners", "episodes", "encoders", "state")
FOUNDATION: Final = ("batches", "log_batches", "columns", "errors", "compiled")

MAY_IMPORT: Final[dict[str, tuple[str, ...]]] = {
    "__init__": (),
    "errors": (),
    "compiled": (),
    "batches": ("errors",),
    "log_batches": ("batches",),
    "columns": ("errors",),
    "ports": ("batches", "errors", "state"),
    **{room: (room, "__init__", *FOUNDATION) for room in ROOMS},
    "passage": ("series", *FOUNDATION),
    "pipeline": ("passage", *ROOMS, *FOUNDATION),
    "log_passage": ("passage", *ROOMS, *FOUNDATION),
    "log_services": (*ROOMS, *FOUNDATION),
    "log_pipeline": ("passage", "log_passage", "log_services", *ROOMS, *FOUNDATION),
    "telemetry": ("telemetry", "worker", "ports", "__init__", *FOUNDATION),
    "worker": ("worker", "pipeline", "ports", "state", "__init__", *FOUNDATION),
    "io": ("io", "ports", "state", "__init__", *FOUNDATION),
    "settings": ("settings", "errors"),
    "wiring_models": ("settings", "learners", *FOUNDATION),
    "wiring_logs": ("settings", "log_pipeline", "log_services", "ports", *ROOMS, *FOUNDATION),
    "wiring": (
        "wiring_models",
        "wiring_logs",
        "log_pipeline",
        "settings",
        "telemetry",
        "worker",
        "io",
        "pipeline",
        "ports",
        "__init__",
        *ROOMS,
        *FOUNDATION,
    ),
    "commands": (
        *(
            "commands",
            "wiring",
            "wiring_models",
            "wiring_logs",
            "settings",
            "telemetry",
            "worker",
            "io",
            "ports",
            "encoders",
            "state",
            "__init__",
        ),
        *FOUNDATION,
    ),
    "cli": ("commands", "settings", "wiring", "errors", "__init__"),
    "__main__": ("cli",),
}
"""Room or module -> what it may import from this package."""

ONLY_IN: Final[dict[str, tuple[str, ...]]] = {
    "confluent_kafka": ("io",),
    "river": ("learners", "commands"),
    "pydantic": ("settings",),
    "pydantic_settings": ("settings",),
    "prometheus_client": ("telemetry",),
    "numba": ("compiled",),
    "typer": ("cli", "commands"),
    "rich": ("cli", "commands"),
    "psutil": ("commands",),
    "opentelemetry": ("decoders",),
    "google": ("decoders",),
}
"""Third-party package -> where it may be imported. ``commands`` reads river's data set for the demo, not its models."""

NOT_IN_ROOMS: Final = {"structlog", "logging", "time", "random", "datetime.now", "os", "socket", "threading", "pathlib"}
"""The core has no I/O, no clock and no randomness of its own."""

RIVER_PICKLE: Final = "learners/river_pickle.py"
ONLY_IN_FILE: Final[dict[str, tuple[str, ...]]] = {
    "pickle": (RIVER_PICKLE,),
    "copyreg": (RIVER_PICKLE,),
    "marshal": (),
    "shelve": (),
    "dill": (),
    "cloudpickle": (),
    "joblib": (),
}
"""What turns bytes into objects -> the one file that may. It reads what its own allow-list lets through."""
EXCEPTIONS: Final = {RIVER_PICKLE: {"random"}}
"""Models of river hold generators in the middle of their sequences; only their type is used there."""


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _place(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def _inside(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "detector" else (module,)


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
class TestEveryFile:
    def test_imports_only_what_the_table_allows(self, path: Path) -> None:
        allowed = MAY_IMPORT[_place(path)]
        inside = [name.split(".") for name in _imports(path) if name.split(".")[0] == "detector"]
        strangers = {".".join(name) for name in inside if name[-1] != "__version__" and name[1] not in allowed}
        assert not strangers

    def test_keeps_third_party_packages_to_their_rooms(self, path: Path) -> None:
        for name in _imports(path):
            allowed = ONLY_IN.get(name.split(".")[0])
            assert allowed is None or _place(path) in allowed, name

    def test_leaves_objects_in_bytes_to_one_file(self, path: Path) -> None:
        for name in _imports(path):
            allowed = ONLY_IN_FILE.get(name.split(".")[0])
            assert allowed is None or _inside(path) in allowed, name

    def test_has_no_clock_randomness_or_io_when_it_is_core(self, path: Path) -> None:
        if _place(path) not in (*ROOMS, "pipeline", "log_pipeline", "log_services", "batches", "log_batches"):
            return
        names = {name.split(".")[0] for name in _imports(path)}
        assert not names & NOT_IN_ROOMS - EXCEPTIONS.get(_inside(path), set())
        source = path.read_text(encoding="utf-8")
        assert ".now(" not in source
        assert "np.random" not in source


def test_every_place_is_in_the_table() -> None:
    assert {_place(path) for path in _files()} <= set(MAY_IMPORT)


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in _files()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
