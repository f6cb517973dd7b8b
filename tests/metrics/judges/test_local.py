"""A judge on disk: the architecture of Qwen2.5-VL with random weights, whose words are noise and whose failures are typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_vlm import save_tiny_vlm

from metrics.base import MetricError
from metrics.judges.answers import Failure, Question, Reply
from metrics.judges.forms import VIE
from metrics.judges.local import PRESETS, LocalJudge, LocalParams
from metrics.judges.opening import open_judge
from metrics.judges.parsing import read

pytestmark = pytest.mark.slow
ASK = VIE["sc"].asks[0]


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vlm(tmp_path_factory.mktemp("vlm"))


def judge(folder: Path, **more: Any) -> LocalJudge:
    found = open_judge({"folder": str(folder), "max_tokens": 16, "dtype": "float32"} | more)
    assert isinstance(found, LocalJudge)
    return found


def question(seed: int = 0, repeat: int = 0) -> Question:
    rng = np.random.default_rng(seed)
    pictures = tuple(rng.integers(0, 256, (64, 48, 3), dtype=np.uint8) for _ in range(2))
    return Question(ASK, "a dog", pictures, repeat)


def asked(who: LocalJudge, *questions: Question) -> list[Reply]:
    found: dict[int, Reply] = {}
    who.ask(questions, found.__setitem__)
    return [found[place] for place in range(len(questions))]


def test_noise_is_cut_off_or_unparsable_and_no_number(vlm: Path) -> None:
    (reply,) = asked(judge(vlm), question())
    assert reply.text
    failure = read(ASK, reply)
    assert isinstance(failure, Failure)
    assert failure.kind == "cut_off"
    whole = read(ASK, Reply(reply.text))
    assert isinstance(whole, Failure)
    assert whole.kind == "unparsable"


def test_an_answer_depends_on_its_question_alone(vlm: Path) -> None:
    who = judge(vlm, temperature=1.0)
    alone = asked(who, question(1))[0].text
    assert asked(who, question(2), question(1))[1].text == alone
    assert asked(who, question(1, repeat=1))[0].text != alone
    assert asked(judge(vlm, temperature=1.0, seed=1), question(1))[0].text == asked(who, question(1, repeat=1))[0].text


def test_sampling_leaves_the_callers_random_numbers_alone(vlm: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    asked(judge(vlm, temperature=1.0), question())
    assert torch.equal(torch.rand(2), expected)


def test_the_pictures_are_seen(vlm: Path) -> None:
    greedy = judge(vlm)
    texts = {asked(greedy, question(seed))[0].text for seed in range(6)}
    assert len(texts) > 1


def test_the_identity_holds_weights_geometry_and_preset(vlm: Path, tmp_path: Path) -> None:
    plain = judge(vlm)
    assert plain.snapshot == plain.identity["weights"][:12]
    others = [
        judge(vlm, side=32),
        judge(vlm, preset="imgedit-judge"),
        judge(vlm, seed=1),
        judge(vlm, dtype="bfloat16"),
        judge(vlm, preset="editscore"),
    ]
    assert len({json.dumps(each.identity) for each in (plain, *others)}) == 6
    moved = Path(shutil.copytree(vlm, tmp_path / vlm.name))
    assert judge(moved).identity == plain.identity


def test_a_preset_has_what_the_authors_code_has_and_the_spec_has_the_last_word() -> None:
    """EditScore 6e0f1b9, editscore/mllm_tools/qwen25vl.py and editscore/__init__.py; ImgEdit 547185d, README."""
    words = {preset: LocalParams(folder="x", preset=preset).resolved.sampling for preset in PRESETS}
    assert words["editscore"] == "temperature=0.7 top_p=0.9 top_k=20 seed=42+repeat max_tokens=512"
    assert words["imgedit-judge"] == "temperature=0 seed=0+repeat max_tokens=2048"
    assert words[""] == "temperature=0 seed=0+repeat max_tokens=512"
    own = LocalParams(folder="x", preset="imgedit-judge", max_tokens=16, min_pixels=4).resolved
    assert (own.max_tokens, own.min_pixels, own.max_pixels) == (16, 4, 1_354_752)


def test_words_are_drawn_from_the_likeliest_alone(vlm: Path) -> None:
    greedy = asked(judge(vlm), question())[0].text
    narrow = judge(vlm, temperature=2.0, top_k=1)
    assert asked(narrow, question())[0].text == greedy
    assert asked(judge(vlm, temperature=2.0), question())[0].text != greedy


def test_a_folder_that_is_no_judge_is_refused(vlm: Path, tmp_path: Path, resnet_folder: Path) -> None:
    with pytest.raises(MetricError, match="judge"):
        judge(resnet_folder)
    copy = Path(shutil.copytree(vlm, tmp_path / "vlm"))
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(MetricError, match="no chat template"):
        judge(copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(MetricError, match="asks for code of the folder"):
        judge(copy)
