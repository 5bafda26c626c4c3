"""From the settings of models to learners."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from detector.errors import UsageError
from detector.learners import LEARNERS, Learner, RiverSpec, UtcOffsets
from detector.settings import CompiledModel, RiverModel, Settings, zone_changes

AUTO_MODEL: Final = "auto"
COMPILED_LEARNERS: Final = tuple(name for name in LEARNERS if name != "river")

LearnerFactory = Callable[[], Learner]


def river_bytes(names: Sequence[str], settings: Settings) -> int:
    """Bytes that each river model's part of a snapshot may have; 0 where none are kept."""
    rivers = sum(isinstance(settings.models.get(name), RiverModel) for name in names)
    return settings.state.river_bytes_max // rivers if rivers and settings.state.river_objects else 0


def learner_factory(name: str, settings: Settings, *, river_bytes_max: int = 0) -> LearnerFactory:
    """Give what builds learners of the model ``name``; raises ``UsageError`` that names its place in the settings.

    ``river_bytes_max``: bytes of its models in a snapshot, where it is one of river.
    """
    model = settings.models.get(name, AUTO_MODEL)
    if isinstance(model, RiverModel):
        return _named(f"models.{name}", partial(LEARNERS["river"], _river_spec(model), kept_bytes_max=river_bytes_max))
    if isinstance(model, CompiledModel):
        ((learner, params),) = model.root.items()
        return _named(f"models.{name}", _compiled_factory(name, learner, params))
    return partial(LEARNERS[AUTO_MODEL])


def _named(place: str, build: LearnerFactory) -> LearnerFactory:
    def build_or_name_the_place() -> Learner:
        try:
            return build()
        except UsageError as error:
            raise UsageError(f"settings: {place}: {error}") from error

    return build_or_name_the_place


def _river_spec(model: RiverModel) -> RiverSpec:
    return RiverSpec(
        path=model.river,
        params=model.params,
        features=model.features,
        steps=tuple((step.river, step.params) for step in model.steps),
        scale=model.scale,
        warm_up_samples=model.warm_up_samples,
        quiet_samples_max=model.quiet_samples_max,
    )


def _compiled_factory(name: str, learner: str, params: Mapping[str, Any]) -> LearnerFactory:
    if learner not in COMPILED_LEARNERS:
        names = ", ".join((*COMPILED_LEARNERS, "river"))
        raise UsageError(f"settings: models.{name}.{learner} is not a learner; known here: {names}")
    accepted = inspect.signature(LEARNERS[learner]).parameters
    for param in params:
        if param not in accepted:
            names = ", ".join(accepted) or "none"
            raise UsageError(f"settings: models.{name}.{learner}.{param} is not a parameter; known here: {names}")
    return partial(LEARNERS[learner], **{param: _parameter(param, value) for param, value in params.items()})


def _parameter(name: str, value: object) -> object:
    """Give a learner's parameter; a time zone is looked up by its name, since the core reads no files."""
    if name != "timezone":
        return value
    changes_ms, offsets_ms = zone_changes(str(value))
    return UtcOffsets(np.array(changes_ms, dtype=np.int64), np.array(offsets_ms, dtype=np.int64))
