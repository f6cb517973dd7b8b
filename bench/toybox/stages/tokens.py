"""The vocabulary of ToyBox as a CLIP tokenizer: every word of the grammar is one token, any other word falls into pieces and bytes."""

from __future__ import annotations

import json
from functools import cache

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from bench.toybox.vocabulary import all_captions

__all__ = ["CONTEXT", "build_tokenizer"]

CONTEXT = 20
"""Tokens of a caption with start and end; the longest caption of the grammar needs 15."""


@cache
def _learned() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-pair vocabulary and merges learned from the grammar until every one of its words is whole."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        min_frequency=1,
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
        special_tokens=[f"{c}</w>" for c in letters],
        show_progress=False,
    )
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    learner.train_from_iterator(all_captions(), trainer)
    state = json.loads(learner.to_str())["model"]
    pairs = (m.split(" ") if isinstance(m, str) else m for m in state["merges"])
    return dict(state["vocab"]), [(str(left), str(right)) for left, right in pairs]


def build_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer with the ToyBox vocabulary; the end token has the largest id, as CLIP's pooling expects."""
    vocabulary, merges = _learned()
    entries = {token: i for i, token in enumerate(sorted(vocabulary, key=vocabulary.__getitem__))}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        entries[special] = len(entries)
    return CLIPTokenizer(vocab=entries, merges=merges, model_max_length=CONTEXT)
