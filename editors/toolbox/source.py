"""A task as a diffusion model sees it: what the states of editors begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from editors.task import EditTask
from editors.toolbox.diffusion import DiffusionModel

__all__ = ["MaskedSource", "Source", "Texts"]


@dataclass(frozen=True, eq=False)
class Texts:
    """A target text, and none."""

    target: Tensor
    """Embedding of the target text, (1, l, d)."""
    empty: Tensor
    """Embedding of the empty text, (1, l, d)."""


@dataclass(frozen=True, eq=False)
class Source(Texts):
    """A picture and a target text."""

    x0: Tensor
    """Source latent, (1, c, h, w)."""

    @classmethod
    def of(cls, model: DiffusionModel, task: EditTask) -> Source:
        """Encode the picture of a task and embed its target text. Raises ``EditorError``."""
        x0 = model.encode(task.image)
        return Source(*model.embed_pair(task.target_text), x0)


@dataclass(frozen=True, eq=False)
class MaskedSource(Source):
    """A picture, a target text and the manifest's mask."""

    pixels: NDArray[Any]
    """The mask as given, (H, W) bool."""
    cells: Tensor
    """The mask at latent resolution, (1, 1, h, w) bool, True where the edit happens."""

    def facts(self) -> dict[str, str | float | bool]:
        """Where the mask is from and how much of the latent it covers."""
        return {"mask_from": "manifest", "mask_share": float(self.cells.float().mean())}
