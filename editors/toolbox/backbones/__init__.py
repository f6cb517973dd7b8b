"""The families of latent models that editors run on: what the parts of a checkpoint are called, how a text becomes a context, what one
call of the network takes, and which noise levels it was trained on. One file a family, their contract in ``base``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from editors.toolbox.backbones.base import Backbone, Part
from editors.toolbox.backbones.flux import Flux
from editors.toolbox.backbones.stable_diffusion import StableDiffusion
from editors.toolbox.backbones.stable_diffusion_3 import StableDiffusion3
from editors.toolbox.backbones.stable_diffusion_xl import StableDiffusionXL

__all__ = ["BACKBONES", "Backbone", "Part", "StableDiffusion", "family_of"]

BACKBONES: Mapping[str, type[Backbone]] = {
    each.family: each for each in (StableDiffusion, StableDiffusionXL, StableDiffusion3, Flux)
}
"""By the names that ``Editor.families`` has."""


def family_of(index: Mapping[str, Any]) -> type[Backbone]:
    """The family of a pipeline folder whose ``model_index.json`` is ``index``: of those with its network, the last all of whose text
    encoders are there. Where none has all, the first of them, and where there is no such network, Stable Diffusion: their loaders say
    what is wrong.
    """
    named = {part: entry[1] for part, entry in index.items() if isinstance(entry, list) and len(entry) == 2 and entry[1]}
    same = [each for each in BACKBONES.values() if named.get(each.denoiser) in each.parts[each.denoiser].classes]
    whole = [each for each in same if {name for name, part in each.parts.items() if part.required_encoder} <= named.keys()]
    return whole[-1] if whole else same[0] if same else StableDiffusion
