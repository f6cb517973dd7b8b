"""FLUX.1 dev (Black Forest Labs, 2024): a transformer trained as a rectified flow and distilled for guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from editors.toolbox.backbones.base import Part, encoder, factor_of, network, pooled, tokenizer, unpooled
from editors.toolbox.backbones.rectified_flow import FlowBackbone
from editors.toolbox.backbones.texts import clip_hidden, t5_hidden
from editors.toolbox.untrusted import CheckpointError

__all__ = ["Flux"]

_T5_TOKENS = 512
_PATCH = 2
_SIDE = 128
"""Cells along the side of the latents it was trained on, which its configuration does not tell."""


class Flux(FlowBackbone):
    """The context is T5's last hidden states and CLIP's pooled vector. Latents are cut into patches of 2 x 2 cells within a call.

    Guidance is an input of the network: one evaluation a step, and the empty text has no part in it.
    """

    family = "flux"
    parts: ClassVar[Mapping[str, Part]] = {
        "transformer": network("FluxTransformer2DModel"),
        "vae": network("AutoencoderKL"),
        "text_encoder": encoder("CLIPTextModel"),
        "text_encoder_2": encoder("T5EncoderModel"),
        "tokenizer": tokenizer("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_2": tokenizer("T5Tokenizer", "T5TokenizerFast"),
    }
    reads = ("tokenizer_2", _T5_TOKENS)
    embeds_guidance = True
    evenly = True

    def check(self) -> None:
        if not self.network.config.guidance_embeds:
            raise CheckpointError(
                "transformer takes no guidance (FLUX.1 schnell), so that edits cannot be guided; use FLUX.1 dev"
            )

    @property
    def extra_channels(self) -> int:
        return int(self.network.config.in_channels) // _PATCH**2 - self.latent_channels

    @property
    def multiple(self) -> int:
        return self.factor * _PATCH

    @classmethod
    def side_of(cls, network: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
        return _SIDE * factor_of(vae)

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        _, vector = clip_hidden(self.loaded["tokenizer"], self.loaded["text_encoder"], texts)
        return pooled(t5_hidden(self.loaded["tokenizer_2"], self.loaded["text_encoder_2"], texts, _T5_TOKENS), vector)

    def evaluate(self, x: Tensor, timesteps: Tensor, context: Tensor, guidance: Tensor | None, **others: Any) -> Tensor:
        dtype, (m, c, h, w) = self.network.dtype, x.shape
        hidden, vector = unpooled(context.to(dtype), self.network.config.pooled_projection_dim)
        patches = x.view(m, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(m, h * w // 4, 4 * c)
        sides = (torch.arange(side // 2, device=x.device, dtype=dtype) for side in (h, w))
        rows, columns = torch.meshgrid(*sides, indexing="ij")
        places = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).view(-1, 3)
        output = self.called(
            hidden_states=patches.to(dtype),
            timestep=timesteps.to(dtype) / 1000,
            guidance=guidance,
            pooled_projections=vector,
            encoder_hidden_states=hidden,
            txt_ids=places.new_zeros(hidden.shape[1], 3),
            img_ids=places,
            **others,
        ).sample
        return output.float().view(m, h // 2, w // 2, -1, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(m, -1, h, w)
