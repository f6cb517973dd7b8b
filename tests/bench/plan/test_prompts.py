from __future__ import annotations

from dataclasses import replace

import pytest

from bench import api, models
from bench.plan.prompts import cut_prompts, prompts_of, tokens_cut
from bench.spec import ModelRef, Spec

LONG = "a red ball " * 20


@pytest.fixture(scope="module")
def spec() -> Spec:
    content = {"name": "t", "manifest": "toybox-mini", "model": "toybox", "metrics": ["clip"], "limit": 2, "device": "cpu"}
    return Spec.model_validate(content | {"editors": [{"name": "sdedit", "preset": "fast"}], "anchors": ["copy"]})


def test_tokens_beyond_the_encoder_s_length_are_counted() -> None:
    tokenizer = models.tokenizer(ModelRef(name="toybox"))
    within = len(tokenizer("a red ball").input_ids)
    assert tokens_cut(tokenizer, ["a red ball", ""]) == 0
    more = len(tokenizer(LONG, verbose=False).input_ids)
    assert more > tokenizer.model_max_length > within
    assert tokens_cut(tokenizer, ["a red ball", LONG, LONG]) == 2 * (more - tokenizer.model_max_length)


def test_a_plan_tells_which_editors_read_a_cut_prompt(spec: Spec) -> None:
    plan = api.plan(spec)[0]
    assert cut_prompts(spec, plan) == []
    longer = replace(plan, samples=(replace(plan.samples[0], target_text=LONG), plan.samples[1]))
    (line,) = cut_prompts(spec, longer)
    assert line == "the prompts of 1 of 2 samples are longer than the model's 20 tokens and are cut there: sdedit"


def test_an_editor_reads_the_texts_it_needs(spec: Spec) -> None:
    plan = api.plan(spec)[0]
    sample = replace(plan.samples[0], target_text="t", source_text="s", instruction="i")
    texts = [prompts_of(replace(plan.entries[0], needs=needs), sample) for needs in ((), ("source_text", "instruction"))]
    assert texts == [["t"], ["t", "s", "i"]]
