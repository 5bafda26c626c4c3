"""What the sections of the settings are made of."""

import json
import re
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

HIDDEN: Final = "**********"
"""Stands where a secret would be shown; as long as pydantic's own."""
SECRET_OPTION: Final = re.compile(r"password|secret|\.pem$|credentials|\.token|oauthbearer\.config$")
"""Names of options whose values are never shown."""


def _split_commas(value: object) -> object:
    """Let one string stand for a list: with commas, as bootstrap servers are written, or as a JSON list."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"should be a list, with commas or as JSON: {error}") from error
    return [part.strip() for part in value.split(",") if part.strip()]


Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], NoDecode, BeforeValidator(_split_commas)]


class Section(BaseModel):
    """What all sections share: unknown keys are faults and nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _is_scalar(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("should be text, a number, true or false")  # noqa: TRY004  # pydantic reports only ValueError
    return value


Scalar = Annotated[bool | int | float | str, BeforeValidator(_is_scalar)]
