"""Settings of what is an anomaly: models and policies."""

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, RootModel, Tag, model_validator

from detector.settings.section import Scalar, Section

OF_POINTS: Final = re.compile(r"\s*(\d{1,2})\s+of\s+(\d{1,2})\s*")
MODEL_KINDS: Final = {"name": "<name>", "river": "<RiverModel>", "compiled": "<CompiledModel>"}
"""Tags of the model union; the angle brackets keep them apart from keys in the path of a fault."""


class RiverStep(Section):
    """One transformer of a river pipeline."""

    river: str = Field(
        pattern=r"^river(\.\w+)+$", description="Import path, such as river.preprocessing.StandardScaler."
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Its parameters.")


class RiverModel(Section):
    """Any anomaly detector of river, one object per series (slower and larger than a compiled learner)."""

    river: str = Field(pattern=r"^river(\.\w+)+$", description="Import path, such as river.anomaly.HalfSpaceTrees.")
    params: dict[str, Any] = Field(default_factory=dict, description="Its parameters.")
    steps: tuple[RiverStep, ...] = Field(default=(), description="Transformers before it, in order.")
    features: tuple[str, ...] = Field(
        default=("value", "lag_1", "diff_1", "hour", "weekday"),
        min_length=1,
        description="What it sees: value, lag_<rows>, diff_<rows>, hour, hour_sin, hour_cos, weekday, hour_of_week.",
    )
    scale: Literal["auto", "linear", "probability"] = Field(
        default="auto", description="How its raw scores spread; `probability`: they lie in [0, 1] and crowd at 1."
    )
    warm_up_samples: int = Field(default=50, ge=1, le=1_000_000, description="Raw scores seen before one is judged.")
    quiet_samples_max: int = Field(
        default=1_000, ge=0, le=1_000_000, description="Samples for which it may answer only 0 and still be warming up."
    )


class CompiledModel(RootModel[dict[str, dict[str, Scalar]]]):
    """A compiled learner by its registry name, with its parameters: `{envelope: {…}}`."""

    model_config = ConfigDict(frozen=True)
    root: dict[str, dict[str, Scalar]]

    @model_validator(mode="after")
    def _one_learner(self) -> Self:
        if len(self.root) != 1:
            raise ValueError("should name one learner, such as {envelope: {}}")
        return self


def _model_kind(value: object) -> str:
    if isinstance(value, RiverModel) or (isinstance(value, dict) and "river" in value):
        return MODEL_KINDS["river"]
    if isinstance(value, CompiledModel | dict):
        return MODEL_KINDS["compiled"]
    return MODEL_KINDS["name"]


ModelChoice = Annotated[
    Annotated[Literal["auto"], Tag(MODEL_KINDS["name"])]
    | Annotated[RiverModel, Tag(MODEL_KINDS["river"])]
    | Annotated[CompiledModel, Tag(MODEL_KINDS["compiled"])],
    Discriminator(_model_kind),
]


class OfPoints(Section):
    """So many of the last points."""

    points: int = Field(ge=1, le=64, description="Points that must agree.")
    window: int = Field(ge=1, le=64, description="Points looked at, the newest last.")

    @model_validator(mode="after")
    def _points_fit(self) -> Self:
        if self.points > self.window:
            raise ValueError(f"{self.points} of {self.window} can never be reached")
        return self


class OpenPoints(OfPoints):
    """So many of the last few points: times are kept for sixteen, to tell when an episode began."""

    window: int = Field(ge=1, le=16, description="Points looked at, the newest last.")


def _read_of_points(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = OF_POINTS.fullmatch(value)
    if match is None:
        raise ValueError("should read like '3 of 5'")
    return {"points": int(match[1]), "window": int(match[2])}


OpenPointsOf = Annotated[
    OpenPoints,
    BeforeValidator(
        _read_of_points, json_schema_input_type=OpenPoints | Annotated[str, Field(pattern=OF_POINTS.pattern)]
    ),
]
ClosePointsOf = Annotated[
    OfPoints,
    BeforeValidator(
        _read_of_points, json_schema_input_type=OfPoints | Annotated[str, Field(pattern=OF_POINTS.pattern)]
    ),
]


class NoDataSettings(Section):
    """When silence of a series is an episode."""

    intervals: float = Field(
        default=5.0, ge=1, le=10_000, description="Silence that counts, in longest usual pauses of the series."
    )
    min_s: float = Field(
        default=300.0,
        ge=0,
        le=31_622_400,
        description="Least silence that counts, in s of event time; more than producers lag behind one another.",
    )
    severity: Literal["warning", "error", "critical"] = Field(default="error", description="Severity of the episode.")


class LevelShiftSettings(Section):
    """When an open spike or dip is a new level, which the model then takes as normal."""

    after_s: float = Field(
        default=28_800.0,
        ge=1,
        le=86_400,
        description="Time it has been open, in s of event time: longer than incidents.",
    )
    points: int = Field(default=12, ge=2, le=10_000, description="Anomalous points it has had, at least.")


class StuckSettings(Section):
    """When a value that does not change any more is an episode."""

    runs: float = Field(
        default=5.0, ge=1, le=10_000, description="Standstill that counts, in longest usual ones of the series."
    )
    min_s: float = Field(
        default=1_800.0, ge=0, le=31_622_400, description="Least standstill that counts, in s of event time."
    )
    points: int = Field(default=20, ge=2, le=10_000, description="Least number of equal points that counts.")
    severity: Literal["warning", "error", "critical"] = Field(default="warning", description="Severity of the episode.")


class VarianceSettings(Section):
    """When values that scatter much further than usual are an episode."""

    ratio: float = Field(
        default=2.2, ge=1.2, le=6, description="Mean deviation of the last points that counts, in usual ones."
    )
    points: int = Field(
        default=30, ge=2, le=10_000, description="Points for which it must last, and be over before the episode closes."
    )
    severity: Literal["warning", "error", "critical"] = Field(default="warning", description="Severity of the episode.")


class DriftSettings(Section):
    """How drifts are looked for: changes of the mean deviation, which make a level of what stays."""

    delta: float = Field(
        default=0.002, ge=1e-12, le=0.5, description="Significance of ADWIN: smaller finds less, and less by chance."
    )


class PolicySettings(Section):
    """Which series a policy is for, how they are modelled, and when an episode opens and closes."""

    name: str = Field(min_length=1, max_length=100, description="Name of the policy, as events show it.")
    match: str = Field(
        default="", description='Series it is for: \'metric{label="x", other=~"y.*"}\'; empty: every series.'
    )
    model: str = Field(default="auto", min_length=1, description="Name of one of `models`.")
    direction: Literal["up", "down", "both"] = Field(default="both", description="Which side of the band counts.")
    deviation_min: float = Field(
        default=1.0, gt=0, description="Least deviation that counts; 1.0 is the edge of the normal band."
    )
    abs_min: float = Field(
        default=0.0, ge=0, description="Least distance from the expected value, in the unit of the series."
    )
    rel_min: float = Field(default=0.0, ge=0, description="Least distance from the expected value, as a share of it.")
    volume_min: float = Field(
        default=0.0, ge=0, description="Least expected or observed value that counts, in the unit of the series."
    )
    open: OpenPointsOf = Field(
        default=OpenPoints(points=2, window=3), description="Anomalous points that open an episode: '2 of 3'."
    )
    close: ClosePointsOf = Field(
        default=OfPoints(points=9, window=10), description="Normal points that close an episode: '9 of 10'."
    )
    cooldown_s: float = Field(
        default=600.0,
        ge=0,
        le=31_622_400,
        description="Time after a close in which no episode opens, in s of event time.",
    )
    flap_crossings: int = Field(
        default=6, ge=2, le=64, description="Crossings of the band within `flap_window` that mean flapping."
    )
    flap_window: int = Field(default=48, ge=2, le=64, description="Points in which crossings are counted.")
    update_interval_s: float = Field(
        default=300.0, ge=0, description="Least time between two updates of an episode, in s."
    )
    severity_error_score: float = Field(
        default=75.0, ge=0, le=100, description="Score from which an episode is an error."
    )
    severity_critical_score: float = Field(
        default=90.0, ge=0, le=100, description="Score from which an episode is critical."
    )
    silence_close_s: float = Field(
        default=3_600.0,
        ge=0,
        le=31_622_400,
        description="Silence that closes an open episode, in s of event time, three usual pauses at least; 0: never.",
    )
    no_data: NoDataSettings | None = Field(
        default=None, description="When silence of a series is an episode of its own; null: never."
    )
    novelty_min: float | None = Field(
        default=None,
        gt=0,
        description="Novelty at which one point outside of the band opens an episode, on the scale of the model, where "
        "it has one; null: never.",
    )
    level_shift: LevelShiftSettings | None = Field(
        default_factory=LevelShiftSettings, description="When an open episode is a new level; null: never."
    )
    stuck: StuckSettings | None = Field(
        default_factory=StuckSettings, description="When a value that stands still is an episode; null: never."
    )
    variance: VarianceSettings | None = Field(
        default_factory=VarianceSettings, description="When a scatter of the values is an episode; null: never."
    )
    drift: DriftSettings | None = Field(
        default=None,
        description="Look for drifts, which let `level_shift` tell levels earlier and inside of the band, at 1.3 kB of "
        "state per series; null: never.",
    )
