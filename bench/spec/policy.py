"""What a run does about units that fail, are slow, or may succeed at another try. None of it is part of a unit's identity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from bench.spec.values import Count
from bench.suggest import kind_of

__all__ = ["TAGS", "BatchSize", "FailureBudget", "OnError", "Retries", "failures_allowed"]

TAGS = ("<word>", "<mapping>", "<number>")
"""What pydantic adds to the place of a mistake in a value that may be a word or something else."""
MOST_RETRIES = 100


class FailureBudget(BaseModel):
    """How many units may fail before a run stops: a number, or a share of its units."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    share: float | None = Field(default=None, ge=0, le=1, description="share of the planned units, 0..1")
    count: int | None = Field(default=None, ge=0, lt=2**63, description="number of units")

    @model_validator(mode="after")
    def _one_of_two(self) -> FailureBudget:
        if (self.share is None) == (self.count is None):
            raise ValueError("give exactly one of share, count")
        return self


def failures_allowed(on_error: OnError, units: int) -> float:
    """With how many failures among `units` a run goes on; one more stops it. Infinity where none does."""
    if not isinstance(on_error, FailureBudget):
        return math.inf if on_error == "continue" else 0
    if on_error.count is not None:
        return on_error.count
    return math.floor((on_error.share or 0) * units)


def _class_name(name: str) -> str:
    if not name.isidentifier():
        raise ValueError(f"expected the name of an error's class, such as OutOfMemoryError, or Transport; got {kind_of(name)}")
    return name


OnError: TypeAlias = Annotated[
    Annotated[Literal["continue", "stop"], Tag(TAGS[0])] | Annotated[FailureBudget, Tag(TAGS[1])],
    Discriminator(lambda given: TAGS[isinstance(given, Mapping | FailureBudget)]),
]
BatchSize: TypeAlias = Annotated[
    Annotated[Literal["auto"], Tag(TAGS[0])] | Annotated[Count, Tag(TAGS[2])],
    Discriminator(lambda given: TAGS[0 if isinstance(given, str) else 2]),
]
Retries: TypeAlias = dict[Annotated[str, AfterValidator(_class_name)], Annotated[int, Field(ge=1, le=MOST_RETRIES)]]
