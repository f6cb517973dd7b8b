"""Stable Diffusion 3 and 3.5 (Esser et al., arXiv 2403.03206): a transformer on text and picture, trained as a rectified flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from editors.toolbox.backbones.base import Part, encoder, network, pooled, tokenizer, unpooled
from editors.toolbox.backbones.rectified_flow import FlowBackbone
from editors.toolbox.backbones.texts import clip_hidden, t5_hidden

__all__ = ["StableDiffusion3"]

_T5_TOKENS = 256


class StableDiffusion3(FlowBackbone):
    """The context is both CLIP encoders' last but one hidden states side by side, below them T5's, and the two pooled vectors as one.

    T5 may be left out of a checkpoint; zeros stand in its place, as the model was trained to bear.
    """

    family = "sd3"
    parts: ClassVar[Mapping[str, Part]] = {
        "transformer": network("SD3Transformer2DModel"),
        "vae": network("AutoencoderKL"),
        "text_encoder": encoder("CLIPTextModelWithProjection"),
        "text_encoder_2": encoder("CLIPTextModelWithProjection"),
        "text_encoder_3": encoder("T5EncoderModel", optional=True),
        "tokenizer": tokenizer("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_2": tokenizer("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_3": tokenizer("T5Tokenizer", "T5TokenizerFast", optional=True),
    }

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        hidden, vector = zip(
            *(clip_hidden(self.loaded[f"tokenizer{n}"], self.loaded[f"text_encoder{n}"], texts) for n in ("", "_2")), strict=True
        )
        width = self.network.config.joint_attention_dim
        both = torch.cat(hidden, dim=-1)
        t5 = self.loaded.get("text_encoder_3")
        long = (
            both.new_zeros(len(both), _T5_TOKENS, width)
            if t5 is None
            else t5_hidden(self.loaded["tokenizer_3"], t5, texts, _T5_TOKENS)
        )
        return pooled(torch.cat([pad(both, (0, width - both.shape[-1])), long], dim=1), torch.cat(vector, dim=-1))

    def evaluate(self, x: Tensor, timesteps: Tensor, context: Tensor, guidance: Tensor | None, **others: Any) -> Tensor:
        dtype = self.network.dtype
        hidden, vector = unpooled(context.to(dtype), self.network.config.pooled_projection_dim)
        output: Tensor = self.called(
            hidden_states=x.to(dtype), timestep=timesteps, encoder_hidden_states=hidden, pooled_projections=vector, **others
        ).sample
        return output.float()
