"""Prompts that are longer than the text encoder reads: counted and told, since the encoder cuts them without a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.manifest import Sample
    from bench.plan.entries import Entry
    from bench.plan.plan import Plan, SampleInfo
    from bench.spec import Spec

__all__ = ["cut_prompts", "prompts_of", "tokens_cut"]

TEXTS = ("source_text", "instruction")


def prompts_of(entry: Entry, sample: Sample | SampleInfo) -> list[str]:
    """The texts of a sample that an editor is sure to read: the target text and those it needs."""
    return [sample.target_text, *(text for name in TEXTS if name in entry.needs and (text := getattr(sample, name)))]


def tokens_cut(tokenizer: Any, texts: Sequence[str]) -> int:
    """How many tokens of `texts` the text encoder never sees, marks of start and end included in its limit."""
    ids = tokenizer(list(texts), truncation=False, verbose=False).input_ids
    return sum(max(len(each) - tokenizer.model_max_length, 0) for each in ids)


def cut_prompts(spec: Spec, plan: Plan) -> list[str]:
    """A line for each set of editors of which some prompts are cut by the model's tokenizer; none, if no editor uses a model."""
    from bench import models

    users = [entry for entry in plan.entries if entry.needs_model]
    if not users:
        return []
    tokenizer = models.tokenizer(models.reference(spec))
    cut: dict[int, list[str]] = {}
    for entry in users:
        number = sum(tokens_cut(tokenizer, prompts_of(entry, sample)) > 0 for sample in plan.samples)
        cut.setdefault(number, []).append(entry.label)
    limit = tokenizer.model_max_length
    return [
        f"the prompts of {number} of {len(plan.samples)} samples are longer than the model's {limit} tokens and are cut there: "
        f"{', '.join(labels)}"
        for number, labels in cut.items()
        if number
    ]
