"""Stable Diffusion XL (Podell et al., arXiv 2307.01952): two text encoders, and a U-Net that is told the size of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from editors.toolbox.backbones.base import Part, encoder, network, pooled, tokenizer, unpooled
from editors.toolbox.backbones.stable_diffusion import DiffusionBackbone
from editors.toolbox.backbones.texts import clip_hidden
from editors.toolbox.limits import sent
from editors.toolbox.untrusted import CheckpointError

__all__ = ["StableDiffusionXL"]


class StableDiffusionXL(DiffusionBackbone):
    """The base model, without the refiner.

    The context is the last but one hidden states of both encoders side by side, and the second's pooled vector. The empty text is
    all zeros, as the base model was trained, unless ``model_index.json`` says otherwise (``force_zeros_for_empty_prompt``, which its
    pipelines too take to be true). The U-Net is told that the picture has the size it has and is not cropped, for both halves of
    guidance, as the common pipelines do.
    """

    family = "sdxl"
    parts: ClassVar[Mapping[str, Part]] = {
        "unet": network("UNet2DConditionModel"),
        "vae": network("AutoencoderKL"),
        "text_encoder": encoder("CLIPTextModel"),
        "text_encoder_2": encoder("CLIPTextModelWithProjection"),
        "tokenizer": tokenizer("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_2": tokenizer("CLIPTokenizer", "CLIPTokenizerFast"),
    }

    def check(self) -> None:
        super().check()
        config = self.network.config
        if config.addition_embed_type != "text_time" or self.index.get("requires_aesthetics_score"):
            raise CheckpointError("unet is not that of Stable Diffusion XL's base model; refiners are not supported")
        told = config.projection_class_embeddings_input_dim - self._vector
        if told != 6 * config.addition_time_embed_dim:
            raise CheckpointError(
                f"unet takes {told} numbers on the picture's size beside the text, which is not the base model's"
            )

    @property
    def _vector(self) -> int:
        """Length of the pooled vector."""
        return int(self.loaded["text_encoder_2"].config.projection_dim)

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        hidden, vector = zip(
            *(clip_hidden(self.loaded[f"tokenizer{n}"], self.loaded[f"text_encoder{n}"], texts) for n in ("", "_2")), strict=True
        )
        context = pooled(torch.cat(hidden, dim=-1), vector[1])
        if self.index.get("force_zeros_for_empty_prompt", True):
            context[torch.tensor([not text for text in texts])] = 0
        return context

    def evaluate(self, x: Tensor, timesteps: Tensor, context: Tensor, guidance: Tensor | None, **others: Any) -> Tensor:
        dtype = self.network.dtype
        hidden, vector = unpooled(context.to(dtype), self._vector)
        height, width = (self.factor * side for side in x.shape[-2:])
        size = sent(torch.tensor([[height, width, 0, 0, height, width]], dtype=dtype), x.device).expand(len(x), -1)
        conditions = {"text_embeds": vector, "time_ids": size}
        output: Tensor = self.called(
            x.to(dtype), timesteps, encoder_hidden_states=hidden, added_cond_kwargs=conditions, **others
        ).sample
        return output.float()
