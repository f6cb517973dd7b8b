"""The words that editors and their tool box share: the task, the knob, what is declared, the parameters, and the errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

__all__ = [
    "ANY_FAMILY",
    "DIFFUSION",
    "FAMILIES",
    "FAMILY_PRESETS",
    "FLOW",
    "SAMPLING_PRESETS",
    "Cancelled",
    "EditTask",
    "EditorError",
    "FairPlay",
    "Image",
    "Knob",
    "MissingInput",
    "NotFinite",
    "Params",
    "SamplingParams",
]


Image: TypeAlias = NDArray[np.uint8]
"""A picture: (H, W, 3) uint8 RGB, 0..255."""

FAMILIES: Mapping[str, str] = {
    "sd": "Stable Diffusion 1 and 2",
    "sdxl": "Stable Diffusion XL",
    "sd3": "Stable Diffusion 3 and 3.5",
    "flux": "FLUX.1 dev",
}
"""Families of models that editors run on, and what people call them; ``editors.toolbox.backbones`` has one file for each."""
DIFFUSION, FLOW = frozenset({"sd", "sdxl"}), frozenset({"sd3", "flux"})
"""Those that were trained on the noise of a diffusion model, and those that are rectified flows."""
ANY_FAMILY = DIFFUSION | FLOW


class EditorError(Exception):
    """Base of everything an editor raises on purpose; the message is one line that says what to do."""


class MissingInput(EditorError):  # noqa: N818
    """The task or the set-up lacks something the editor needs, or holds it in the wrong form."""


class NotFinite(EditorError):  # noqa: N818
    """A step gave NaN or infinity; the message names the step."""


class Cancelled(EditorError):  # noqa: N818
    """The caller's ``cancelled`` hook asked to stop, between two steps."""


@dataclass(frozen=True, eq=False)
class EditTask:
    """One edit to make. Editors read the arrays and never write to them.

    Raises ``MissingInput`` where an array has the wrong type or size.
    """

    image: Image
    """The source picture, (H, W, 3) uint8 RGB."""
    target_text: str
    """What the edited picture should show, as a caption."""
    source_text: str | None = None
    """What the source picture shows, as a caption."""
    mask: NDArray[np.bool_] | None = None
    """(H, W) bool, True where the edit may happen."""
    seed: int = 0
    """Seed of everything random in this unit, 0..2**64-1; already mixed from run seed, sample and editor."""
    truth: Image | None = None
    """The edit as it ought to be, (H, W, 3) uint8; only the oracle anchor may look at it."""
    real: Image | None = None
    """A real picture of the target class, (H, W, 3) uint8; only the retrieve anchor may look at it."""
    instruction: str | None = None
    """The edit as an order ("make it snow"), for editors that were trained on orders."""
    sample_id: str = ""
    """The manifest's name of the sample, for editors that look edits up; it never changes a computed result."""

    def __post_init__(self) -> None:
        for name, picture in (("image", self.image), ("truth", self.truth), ("real", self.real)):
            if picture is not None and (picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3):
                raise MissingInput(f"{name}: expected a (H, W, 3) uint8 array, got {picture.shape} {picture.dtype}")
        if self.mask is not None and (self.mask.dtype != np.bool_ or self.mask.shape != self.image.shape[:2]):
            expected = f"({self.image.shape[0]}, {self.image.shape[1]}) bool array like the image"
            raise MissingInput(f"mask: expected a {expected}, got {self.mask.shape} {self.mask.dtype}")


@dataclass(frozen=True)
class Knob:
    """The one parameter an editor sweeps along its curve; a larger value means more edit."""

    name: str
    low: float
    """Smallest value allowed."""
    high: float
    """Largest value allowed."""
    grid: tuple[float, ...]
    """Default values of a curve, ascending."""
    description: str
    zero: Literal["", "source", "round trip"] = ""
    """What the smallest value returns to the bit: the source, the VAE round trip, or nothing that can be promised."""

    @classmethod
    def share(cls, name: str, description: str, grid: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)) -> Knob:
        """A share 0..1 of the schedule; at 0 no step is executed, which leaves the VAE round trip."""
        return cls(name, 0.0, 1.0, grid, description, zero="round trip")


@dataclass(frozen=True)
class FairPlay:
    """What an editor is given that others may not be; columns of a leaderboard."""

    uses_mask: bool = False
    """Reads the manifest's mask."""
    uses_source_text: bool = False
    """Reads the source caption."""
    uses_truth: bool = False
    """Reads the ground-truth edit."""
    candidates: int = 1
    """Pictures made per returned edit."""
    selector: str = ""
    """How one candidate is picked; empty with one candidate."""
    clip_in_loop: bool = False
    """Optimises or ranks with a CLIP network."""
    fine_tunes: bool = False
    """Trains weights for each picture."""


class Params(BaseModel):
    """Base of an editor's parameters: immutable, unknown names refused, every field described, numbers finite.

    A switch is no number, a number no switch, and neither is a text: what stands for another kind of value is mostly a slip.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _of_its_kind(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[info.field_name or ""].annotation
        taken = {*(get_args(annotation) or (annotation,))}
        numbers = bool(taken & {int, float})
        if isinstance(value, bool) and numbers and bool not in taken:
            raise PydanticCustomError("number", "expected a number, not a switch")
        if isinstance(value, str) and (numbers or bool in taken) and str not in taken:
            raise PydanticCustomError(
                "number", "expected {kind}, not a text", {"kind": "a number" if numbers else "true or false"}
            )
        if isinstance(value, int | float) and not isinstance(value, bool) and bool in taken and not numbers:
            raise PydanticCustomError("switch", "expected true or false, not a number")
        return value


class SamplingParams(Params):
    """Parameters of every editor that samples with DDIM and classifier-free guidance."""

    steps: int = Field(50, ge=1, le=1000, description="DDIM steps of the whole schedule; a partial edit executes its share")
    guidance: float = Field(7.5, ge=0, description="classifier-free guidance scale w of uncond + w (cond - uncond); 1 = none")


SAMPLING_PRESETS: Mapping[str, Mapping[str, Any]] = {"fast": {"steps": 20}, "toybox": {"steps": 25, "guidance": 3.0}}
"""Of an editor whose preset ``fast`` only takes fewer steps, and that needs no more than the usual values on ToyBox."""

FAMILY_PRESETS: Mapping[str, Mapping[str, Any]] = {"sd3": {"steps": 28, "guidance": 7.0}, "flux": {"steps": 28, "guidance": 3.5}}
"""Of an editor that works on any family, the values of diffusers' pipelines of Stable Diffusion 3 and FLUX.1 dev."""
