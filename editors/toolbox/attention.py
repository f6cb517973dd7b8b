"""Prompt-to-prompt: an edit borrows attention maps from the generation of its source that runs beside it.

Source: Hertz et al., Prompt-to-Prompt (arXiv 2208.01626). Every step denoises source and edit in one call of the U-Net.
In the call the edit's attention maps are changed: cross-attention to words that both texts share is taken over
(word swap and refinement), cross-attention to the words that only the target has is scaled (re-weighting), and
self-attention is taken over. Each holds for the first steps of an edit only, a share of those it executes.

What common implementations do otherwise, and this one does not:

- They replace methods of the model's own layers and leave them replaced. Here the U-Net of a call is another tree of
  modules over the same weight tensors: it costs no memory, and the shared model is never touched.
- They denoise the source without text too, although no map of that half is ever read.
- They keep self-attention of layers above 32 x 32 (16 x 16 in the first release) free, for latents of 64 x 64. Here it is
  layers finer than half the latent's side, which means the same there and something everywhere else.
- They align texts word by word with a table of 77 tokens and treat the padding by position, which can pair it with words.
- Local blending, which pastes the source's latents back by a mask of the words named per sample, is not part of this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from editors.base import EditorError, SamplingParams
from editors.toolbox.diffusion import DiffusionModel
from editors.toolbox.injection import twin
from editors.toolbox.limits import sent
from editors.toolbox.schedule import Schedule, share_of_steps

__all__ = [
    "Alignment",
    "AttentionControl",
    "MutualSelfAttention",
    "PromptToPromptParams",
    "align",
    "attention_maps",
    "decode_beside_source",
    "rewired",
    "with_attention",
    "with_mutual_self_attention",
]


Change: TypeAlias = Callable[[Tensor, bool], Tensor]
"""(maps (b, heads, cells, keys), is_cross) -> the maps to use."""
Wants: TypeAlias = Callable[[bool, int], bool]
"""(is_cross, cells) -> whether a layer's maps are looked at or changed."""


class PromptToPromptParams(SamplingParams):
    """Sampling and attention control; the defaults are those of the PIE-Bench runs."""

    cross_replace: float = Field(0.4, ge=0, le=1, description="share of an edit's steps with the source's cross-attention")
    self_replace: float = Field(0.6, ge=0, le=1, description="share of an edit's steps with the source's self-attention")
    equaliser: float = Field(2.0, ge=0, description="factor on the attention to words that only the target text has; 1 = none")
    alignment: Literal["refine", "replace"] = Field(
        "refine",
        description="refine: shared words take the source's maps; replace: swapped words too, where both texts have as many words",
    )


@dataclass(frozen=True, eq=False)
class Alignment:
    """Which tokens of the target text stand for which of the source text; l is the tokenizer's length."""

    mapping: Tensor
    """(l, l) float32; the map of target token j is the sum over i of mapping[i, j] x the map of source token i."""
    shared: Tensor
    """(l,) bool, True where a target token has a counterpart."""
    new: Tensor
    """(l,) bool, True at tokens of words that only the target text has."""
    form: str
    """``refine`` or ``replace``: what was possible."""


def align(tokenizer: Any, source: str, target: str, form: str = "refine") -> Alignment:
    """Align two texts. ``refine`` pairs equal tokens in order; ``replace`` pairs words by their place as well.

    Texts of unequally many words cannot be paired by place and are refined. Padding pairs with padding.
    """
    length = tokenizer.model_max_length
    ids = [tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids for text in (source, target)]
    mapping = torch.zeros(length, length)
    pairs = SequenceMatcher(None, ids[0], ids[1], autojunk=False)
    for block in pairs.get_matching_blocks():
        for step in range(block.size):
            mapping[block.a + step, block.b + step] = 1
    equal = mapping.sum(0) > 0
    special = set(tokenizer.all_special_ids)
    new = ~equal & torch.tensor([token not in special for token in ids[1]])
    words = [text.split() for text in (source, target)]
    counts = [[len(tokenizer(word, add_special_tokens=False).input_ids) for word in one] for one in words]
    plain = all(
        sum(count) == sum(token not in special for token in own) for count, own in zip(counts, ids, strict=True)
    )  # texts that are cut off, or whose words do not split alone as they do together, cannot be paired by place
    if form == "replace" and len(words[0]) == len(words[1]) and plain:
        i = j = 1
        for old, word, m, n in zip(*words, *counts, strict=True):
            if old != word:
                mapping[i : i + m, :] = 0
                mapping[:, j : j + n] = 0
                mapping[i : i + m, j : j + n] = torch.eye(m) if m == n else torch.full((m, n), 1 / n)
            i, j = i + m, j + n
        return Alignment(mapping, mapping.sum(0) > 0, new, "replace")
    return Alignment(mapping, equal, new, "refine")


class AttentionControl:
    """Changes the attention maps of a call whose batch is [source, m x edit without text, m x edit with target text]."""

    def __init__(self, alignment: Alignment, *, equaliser: float, finest: int, device: torch.device) -> None:
        """``finest`` is the number of cells of the finest layer whose self-attention may be replaced."""
        self._mapping = alignment.mapping.to(device)
        self._shared = alignment.shared.float().to(device)
        self._weights = torch.where(alignment.new, equaliser, 1.0).to(device)
        self._finest = finest
        self.cross = self.self_ = torch.zeros(0, dtype=torch.bool)
        """(m,) bool: which edits have their cross- and self-attention replaced at this step."""

    def wants(self, is_cross: bool, cells: int) -> bool:
        """Whether maps of that kind and number of cells are changed at this step."""
        return bool((self.cross if is_cross else self.self_).any()) and (is_cross or cells <= self._finest)

    def __call__(self, maps: Tensor, is_cross: bool) -> Tensor:
        """``maps`` (1 + 2m, heads, cells, keys), each row a distribution over keys; returns what to use instead."""
        active = self.cross if is_cross else self.self_
        if not self.wants(is_cross, maps.shape[2]):
            return maps
        m = len(active)
        source, own = maps[:1], maps[1 + m :]
        if is_cross:
            shared = self._shared.to(maps.dtype)
            new = (source @ self._mapping.to(maps.dtype)) * shared + own * (1 - shared)
            new = new * self._weights.to(maps.dtype)
        else:
            new = source.expand_as(own)
        return torch.cat([maps[: 1 + m], torch.where(sent(active, maps.device).view(-1, 1, 1, 1), new, own)])


class _Attention:
    """An attention processor that lets a function see, and change, the maps of softmax(QK^T / sqrt(d)) that it wants.

    ``fused`` has the others never made: at 512 px one layer's self-attention takes 0.5 GiB a row in float32, at 1,024 px 8.
    """

    def __init__(self, change: Change, wants: Wants, fused: bool) -> None:
        self._change, self._wants, self._fused = change, wants, fused

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Tensor:
        is_cross = encoder_hidden_states is not None
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(x) for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        if self._fused and not self._wants(is_cross, hidden_states.shape[1]):
            query, key, value = (x.unflatten(0, (len(hidden_states), -1)) for x in (query, key, value))
            attended = scaled_dot_product_attention(query, key, value, scale=attn.scale).flatten(0, 1)
        else:
            maps = attn.get_attention_scores(query, key)
            attended = self._change(maps.unflatten(0, (len(hidden_states), -1)), is_cross).flatten(0, 1) @ value
        projection, dropout = attn.to_out
        result: Tensor = dropout(projection(attn.batch_to_head_dim(attended)))
        return result


def with_attention(
    model: DiffusionModel, change: Change, wants: Wants = lambda is_cross, cells: True, *, fused: bool | None = None
) -> DiffusionModel:
    """The model with a U-Net in which ``change(maps (b, heads, cells, keys), is_cross)`` stands in every attention layer.

    Where ``wants(is_cross, cells)`` says no, ``change`` gives maps back as they are, and may not be called: a ``fused`` kernel then makes
    none. By default that is so everywhere but on a CPU, where the kernel would round otherwise than the maps do.
    Its weights are the very tensors of ``model.unet``, whose own layers stay as they are.
    Raises ``EditorError`` where the U-Net has attention of another kind than Stable Diffusion's.
    """
    processor = _Attention(change, wants, model.device.type != "cpu" if fused is None else fused)
    return rewired(model, lambda name: processor)


def rewired(model: DiffusionModel, processor_of: Callable[[str], Any]) -> DiffusionModel:
    """The model with another U-Net over the same weight tensors, whose attention layers have the processors of their names."""
    unet = twin(model)
    for name in unet.attn_processors:
        layer = unet.get_submodule(name.removesuffix(".processor"))
        plain = layer.group_norm is None and layer.spatial_norm is None and layer.added_kv_proj_dim is None
        if not plain or layer.norm_cross or layer.residual_connection or layer.rescale_output_factor != 1:
            raise EditorError(f"unet: the attention of {name.removesuffix('.processor')} is not plain; its maps cannot be edited")
    unet.set_attn_processor({name: processor_of(name) for name in unet.attn_processors})
    return model.variant(unet=unet)


class MutualSelfAttention:
    """In a call whose batch is m sources and then equal groups of m, item i of every group looks at keys and values of source i.

    Source: Cao et al., MasaCtrl (arXiv 2304.08465), Section 3.2. ``active`` (m,) bool says for which items; for none it is plain attention.
    """

    def __init__(self) -> None:
        self.active = torch.zeros(0, dtype=torch.bool)

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        if encoder_hidden_states is None and self.active.any():
            m, chosen = len(self.active), sent(self.active, query.device).view(-1, 1, 1, 1)
            key, value = (
                torch.cat([x[:m], *(torch.where(chosen, x[:m], group) for group in x[m:].split(m))]) for x in (key, value)
            )
        attended = scaled_dot_product_attention(query, key, value, scale=attn.scale).transpose(1, 2).flatten(2)
        projection, dropout = attn.to_out
        result: Tensor = dropout(projection(attended))
        return result


def with_mutual_self_attention(model: DiffusionModel, free_layers: float) -> tuple[DiffusionModel, MutualSelfAttention]:
    """The model with a U-Net whose self-attention layers, but for a share of them that come first, are governed by the second result.

    Layers are counted in the order they are passed through. Raises ``EditorError`` as ``with_attention`` does.
    """
    parts = ("down_blocks", "mid_block", "up_blocks")
    layers = [name for name in model.unet.attn_processors if name.endswith("attn1.processor")]
    ordered = sorted(layers, key=lambda name: parts.index(name.partition(".")[0]))  # of a part they are in order
    governed = set(ordered[share_of_steps(free_layers, len(ordered)) :])
    control, plain = MutualSelfAttention(), MutualSelfAttention()
    return rewired(model, lambda name: control if name in governed else plain), control


def attention_maps(model: DiffusionModel, cells: int) -> tuple[DiffusionModel, list[Tensor], set[int]]:
    """The model, a list that every call of its U-Net extends by the cross-attention maps (b, cells, l) of its layers with so many
    cells, mean of heads, and a set of the numbers of cells that its layers have.
    """
    seen: list[Tensor] = []
    sizes: set[int] = set()

    def wants(is_cross: bool, own: int) -> bool:
        sizes.add(own)
        return is_cross and own == cells

    def keep(maps: Tensor, is_cross: bool) -> Tensor:
        if wants(is_cross, maps.shape[2]):
            seen.append(maps.float().mean(1))
        return maps

    return with_attention(model, keep, wants), seen, sizes


@torch.no_grad()
def decode_beside_source(
    model: DiffusionModel,
    schedule: Schedule,
    params: PromptToPromptParams,
    alignment: Alignment,
    *,
    source: Sequence[Tensor],
    starts: Sequence[int],
    texts: tuple[Tensor, Tensor],
    unconds: Sequence[Tensor],
) -> Tensor:
    """Denoise an edit from each start level to 0, all in one loop, beside the source; (n, c, h, w) in order of ``starts``.

    ``source`` holds the latents (1, c, h, w) that the source's own generation passes through, by level: that is where an
    edit starts and what its attention is borrowed from. ``texts`` are the source's and the target's embeddings (1, l, d),
    ``unconds`` the embedding (1, l, d) that stands for no text at each level (level k at index k; 0 is not read).
    """
    cells = source[0].shape[-2] * source[0].shape[-1]
    control = AttentionControl(alignment, equaliser=params.equaliser, finest=cells // 4, device=model.device)
    controlled = with_attention(model, control, control.wants)
    latents = [source[start] for start in starts]

    def step(level: int, some: Sequence[int]) -> None:
        m, x = len(some), torch.cat([latents[i] for i in some])
        control.cross, control.self_ = (
            torch.tensor([starts[i] - level < share_of_steps(share, starts[i]) for i in some])
            for share in (params.cross_replace, params.self_replace)
        )
        output = controlled.unet_output(
            torch.cat([source[level], x, x]),
            torch.full((1 + 2 * m,), schedule.timestep(level), device=model.device),
            torch.cat([texts[0], unconds[level].expand(m, -1, -1), texts[1].expand(m, -1, -1)]),
        )
        empty, conditional = output[1:].chunk(2)
        guided = empty + params.guidance * (conditional - empty)
        x = model.guard(schedule.ddim_step(x, guided, level), f"decoding to level {level - 1}")
        for i, latent in zip(some, torch.split(x, 1), strict=True):
            latents[i] = latent

    for level in range(max(starts, default=0), 0, -1):
        items = [i for i, start in enumerate(starts) if start >= level]
        model.limits.each("edits beside the source", (model.max_batch - 1) // 2, items, partial(step, level))
    return torch.cat(latents)
