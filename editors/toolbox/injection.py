"""Features of one picture's generation injected into that of others beside it: rows of a layer's output take the place of others."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from editors.toolbox.diffusion import DiffusionModel
from editors.toolbox.limits import sent

__all__ = ["Injection", "inject", "twin"]


def twin(model: DiffusionModel) -> Any:
    """Another tree of modules over the very weight tensors of ``model.unet``: it costs no memory, and what is done to it is not done there."""
    weights = {id(tensor): tensor for tensor in (*model.unet.parameters(), *model.unet.buffers())}
    return copy.deepcopy(model.unet, weights)


class Injection:
    """In a call whose batch is a source and then equal groups of m edits, an edit's features are those of the source.

    ``active`` (m,) bool says of which edits; of none, nothing is changed.
    """

    def __init__(self) -> None:
        self.active = torch.zeros(0, dtype=torch.bool)

    def __call__(self, module: Any, arguments: Any, features: Tensor) -> Tensor | None:
        """A forward hook; ``features`` (1 + k m, ...) is the output of a layer."""
        if not self.active.any():
            return None
        chosen = self.active.repeat((len(features) - 1) // len(self.active)).view(-1, *(1,) * (features.ndim - 1))
        return torch.cat([features[:1], torch.where(sent(chosen, features.device), features[:1], features[1:])])


def inject(network: Any, layers: Iterable[str]) -> Injection:
    """What governs the layers of ``network``, a ``twin``, whose modules have these names."""
    injection = Injection()
    for name in layers:
        network.get_submodule(name).register_forward_hook(injection)
    return injection
