"""How images get edited: the contract of an editor, the shared diffusion tool box, and one module per editor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from editors.base import (
    BatchEditor,
    Cancelled,
    Editor,
    EditorError,
    EditTask,
    FairPlay,
    Image,
    Knob,
    MissingInput,
    NotFinite,
    Params,
    SamplingParams,
)

if TYPE_CHECKING:
    from editors.toolbox.diffusion import DiffusionModel

__all__ = [
    "BatchEditor",
    "Cancelled",
    "DiffusionModel",
    "EditTask",
    "Editor",
    "EditorError",
    "FairPlay",
    "Image",
    "Knob",
    "MissingInput",
    "NotFinite",
    "Params",
    "SamplingParams",
]


def __getattr__(name: str) -> Any:
    """Import the tool box, and torch with it, only when it is asked for."""
    if name == "DiffusionModel":
        from editors.toolbox.diffusion import DiffusionModel

        return DiffusionModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
