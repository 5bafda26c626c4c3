"""Which river model to run: import paths and parameters from settings, turned into objects with clear errors."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from river import base

from detector.errors import UsageError

SEED: Final = 0
"""For models that take a seed and were given none: without it two replays of one stream would differ."""

Scale = Literal["auto", "linear", "probability"]

_NESTED: Final = "river"
_UNIT_SCORERS: Final = frozenset({"GaussianScorer", "HalfSpaceTrees", "PredictiveAnomalyDetection"})
"""river's detectors whose documentation promises scores between 0 and 1, crowding at 1."""


@dataclass(frozen=True, slots=True)
class RiverSpec:
    """A river anomaly detector by import path, with what it is fed.

    ``params`` are its constructor's arguments; an argument that is itself a river object is written
    ``{"river": path, "params": {...}}``. ``features`` are names that :mod:`detector.learners.river_features` knows.
    ``steps`` are (path, params) of transformers that the features pass first, in order. ``scale`` says how raw scores
    spread: "probability" stretches the crowded end of [0, 1] with -log(1 - raw), "linear" takes them as they are,
    "auto" picks the former for the detectors that river documents so. ``allow_foreign`` admits paths outside river.

    Of ``warm_up_samples`` the first half only teaches the model and the second half shows what its raw scores usually
    are. ``quiet_samples_max`` bounds how long a model may answer only 0, or be unable to answer, and still count as
    warming up: raise it above a model's own window.

    Raises ``UsageError`` when it is turned into a model with a path or parameters that do not exist.
    """

    path: str = "river.anomaly.HalfSpaceTrees"
    params: Mapping[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = ("value", "lag_1", "diff_1", "hour", "weekday")
    steps: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    scale: Scale = "auto"
    warm_up_samples: int = 50
    quiet_samples_max: int = 1000
    allow_foreign: bool = False


def build_detector(spec: RiverSpec) -> Any:
    """A new detector as ``spec`` describes it; raises ``UsageError``."""
    detector = _build(spec.path, spec.params, allow_foreign=spec.allow_foreign)
    if not isinstance(detector, base.AnomalyDetector | base.SupervisedAnomalyDetector | base.AnomalyFilter):
        raise UsageError(f"{spec.path} is not an anomaly detector: river's are listed under river.anomaly")
    return detector


def build_transformers(spec: RiverSpec) -> list[base.Transformer]:
    """New transformers for the steps of ``spec``, in order; raises ``UsageError``."""
    steps = [_build(path, params, allow_foreign=spec.allow_foreign) for path, params in spec.steps]
    for (path, _), step in zip(spec.steps, steps, strict=True):
        if not isinstance(step, base.Transformer):
            raise UsageError(f"{path} is not an unsupervised transformer and cannot be a step before a detector")
    return steps


def innermost(detector: Any) -> Any:
    """The detector that makes the scores: itself, or what a filter wraps."""
    while isinstance(detector, base.AnomalyFilter):
        detector = detector.anomaly_detector
    return detector


def scores_are_probabilities(spec: RiverSpec, detector: Any) -> bool:
    """Whether raw scores lie in [0, 1] and crowd at 1."""
    if spec.scale == "auto":
        return type(innermost(detector)).__name__ in _UNIT_SCORERS
    return spec.scale == "probability"


def _build(path: str, params: Mapping[str, Any], *, allow_foreign: bool) -> Any:
    kind = _find_class(path, allow_foreign=allow_foreign)
    arguments = {name: _resolve(value, allow_foreign=allow_foreign) for name, value in params.items()}
    known = inspect.signature(kind).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    for name in arguments:
        if name not in known and not open_ended:
            raise UsageError(f"{path} has no parameter {name!r}{suggestion(name, known)}")
    if "seed" in known and arguments.get("seed") is None:
        arguments["seed"] = SEED
    try:
        return kind(**arguments)
    except Exception as error:
        raise UsageError(f"{path} does not accept its parameters: {_one_line(error)}") from error


def _resolve(value: Any, *, allow_foreign: bool) -> Any:
    """Turn ``{"river": path, "params": {...}}`` into the object that it describes, at any depth."""
    if isinstance(value, Mapping):
        if _NESTED not in value:
            return {name: _resolve(item, allow_foreign=allow_foreign) for name, item in value.items()}
        unknown = set(value) - {_NESTED, "params"}
        if unknown:
            raise UsageError(f'a nested model has the keys "river" and "params" only, not {min(unknown)!r}')
        return _build(str(value[_NESTED]), value.get("params") or {}, allow_foreign=allow_foreign)
    if isinstance(value, list | tuple):
        return [_resolve(item, allow_foreign=allow_foreign) for item in value]
    return value


def _find_class(path: str, *, allow_foreign: bool) -> type:
    module_name, _, name = path.rpartition(".")
    if not allow_foreign and not path.startswith("river."):
        raise UsageError(f"{path!r} is not a path under river; other packages need allow_foreign")
    if not module_name:
        raise UsageError(f"{path!r} is not an import path such as river.anomaly.HalfSpaceTrees")
    module = _import(module_name, path)
    kind = getattr(module, name, None)
    if not inspect.isclass(kind):
        public = getattr(module, "__all__", None) or [key for key in vars(module) if not key.startswith("_")]
        raise UsageError(f"{module_name} has no class {name!r}{suggestion(name, public)}")
    if not allow_foreign and kind.__module__.partition(".")[0] != "river":
        raise UsageError(f"{path!r} leads out of river to {kind.__module__}; other packages need allow_foreign")
    return kind


def _import(module_name: str, path: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        parent, _, name = module_name.rpartition(".")
        known = _submodules(parent) if parent else []
        raise UsageError(f"{path!r} cannot be imported: {_one_line(error)}{suggestion(name, known)}") from error


def _submodules(package: str) -> list[str]:

    try:
        search = getattr(importlib.import_module(package), "__path__", [])
    except ImportError:
        return []
    return [module.name for module in pkgutil.iter_modules(search)]


def suggestion(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'height'?`` with the nearest known name, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
