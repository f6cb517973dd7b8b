"""What two and more text encoders are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

__all__ = ["clip_hidden", "t5_hidden"]


def clip_hidden(tokenizer: Any, text_encoder: Any, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The last but one hidden states (n, l, d) of a CLIP text encoder and its pooled vector (n, p), projected where it projects; float32."""
    tokens = tokenizer(
        list(texts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    output = text_encoder(tokens.input_ids.to(text_encoder.device), output_hidden_states=True)
    vector = output.text_embeds if hasattr(output, "text_embeds") else output.pooler_output
    return output.hidden_states[-2].float(), vector.float()


def t5_hidden(tokenizer: Any, text_encoder: Any, texts: Sequence[str], length: int) -> Tensor:
    """The last hidden states (n, length, d) of a T5 encoder, which also looks at the padding, as its users were trained; float32."""
    tokens = tokenizer(list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    hidden: Tensor = text_encoder(tokens.input_ids.to(text_encoder.device)).last_hidden_state
    return hidden.float()
