"""Unified attention control: an edit and its layout, generated beside the source.

Source: Xu et al., InfEdit (arXiv 2312.04965), and its authors' code, which this holds to but for pasting by words. A call's
batch is two equal halves, without and with text, each of a source, m edits and their m layouts.

- *Self-attention*: while ``self_`` holds, queries and keys of edit and layout are the source's, and the layout's values too; after it
  the layout has the edit's queries and the source's keys and values, and the edit is free.
- *Cross-attention*: while ``cross`` holds, an edit's maps to words that both texts share are those of its layout, in the half with text.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from editors.toolbox.attention import Alignment, rewired
from editors.toolbox.diffusion import DiffusionModel
from editors.toolbox.limits import sent

__all__ = ["UnifiedAttention", "with_unified_attention"]


class UnifiedAttention:
    """An attention processor. ``self_`` and ``cross`` (m,) bool say of which edits the first and the second are taken over at this step."""

    def __init__(self, alignment: Alignment, device: torch.device) -> None:
        self._mapping = alignment.mapping.to(device)
        self._shared = alignment.shared.float().to(device)
        self.cross = self.self_ = torch.zeros(0, dtype=torch.bool)

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Tensor:
        is_cross = encoder_hidden_states is not None
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        if is_cross and self.cross.any():
            maps = attn.get_attention_scores(query.flatten(0, 1), key.flatten(0, 1)).unflatten(0, (len(query), -1))
            attended = self._taken_over(maps) @ value
        else:
            if not is_cross:
                query, key, value = self._borrowed(query, key, value)
            attended = scaled_dot_product_attention(query, key, value, scale=attn.scale)
        projection, dropout = attn.to_out
        result: Tensor = dropout(projection(attended.transpose(1, 2).flatten(2)))
        return result

    def _borrowed(self, *features: Tensor) -> list[Tensor]:
        """Queries, keys and values (2 + 4m, heads, cells, d) of self-attention, with those that edits and layouts borrow."""
        early = sent(self.self_, features[0].device).view(-1, 1, 1, 1)
        found = []
        for kind, x in zip("qkv", features, strict=True):
            rows = []
            for half in x.chunk(2):
                source, edit, _ = torch.split(half, [1, len(early), len(early)])
                own = edit if kind == "v" else torch.where(early, source, edit)
                rows += [source, own, torch.where(early, source, edit) if kind == "q" else source.expand_as(edit)]
            found.append(torch.cat(rows))
        return found

    def _taken_over(self, maps: Tensor) -> Tensor:
        """Cross-attention maps (2 + 4m, heads, cells, l), an edit's with those of its layout."""
        m, shared = len(self.cross), self._shared.to(maps.dtype)
        *before, edit, layout = torch.split(maps, [1 + 2 * m, 1, m, m])
        new = (layout @ self._mapping.to(maps.dtype)) * shared + edit * (1 - shared)
        return torch.cat([*before, torch.where(sent(self.cross, maps.device).view(-1, 1, 1, 1), new, edit), layout])


def with_unified_attention(model: DiffusionModel, alignment: Alignment) -> tuple[DiffusionModel, UnifiedAttention]:
    """The model with a U-Net whose attention is governed by the second result. Raises ``EditorError`` where it is not plain attention."""
    control = UnifiedAttention(alignment, model.device)
    return rewired(model, lambda name: control), control
