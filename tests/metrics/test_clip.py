from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch

from metrics.base import Image, MetricError, PairBatch
from metrics.clip import CLIPScore
from metrics.networks.clip_towers import ClipImages
from metrics.networks.extractors import open_extractor
from metrics.networks.openclip import OpenClipNetwork

Pairs = Callable[..., PairBatch]
TEXTS = ["a red cat", "a dog on grass", "a photo", "snow", "a red cat", "grass on snow", "dog"]
CONTEXT = 12


@pytest.fixture(scope="module")
def clip(judge_folder: Path) -> CLIPScore:
    return CLIPScore(f"local-dir:{judge_folder}", batch_size=3)


def edit_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = folder / "open_clip_config.json"
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))


def test_equals_direct_use_of_open_clip(judge_folder: Path, clip: CLIPScore, pictures: list[Image], pairs: Pairs) -> None:
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{judge_folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{judge_folder}")
    with torch.no_grad():
        model.eval()
        images = model.encode_image(torch.stack([preprocess(PIL.Image.fromarray(p)) for p in pictures]), normalize=True)
        expected = 100 * (images * model.encode_text(tokenizer(TEXTS), normalize=True)).sum(1)
    scores = clip.score(pairs(pictures, texts=TEXTS))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(
        scores, expected.numpy(), rtol=0, atol=1e-4
    )  # 100 x float32 rounding of a cosine, other batch size
    assert np.ptp(scores) > 1e-2  # the tiny network tells the rows apart, so the comparison above means something


def test_scores_are_not_clamped(clip: CLIPScore, rng: np.random.Generator, pairs: Pairs) -> None:
    edits = [np.full((64, 64, 3), level, np.uint8) for level in (0, 128, 255)] * 4
    texts = [text for text in TEXTS[:4] for _ in range(3)]
    assert (clip.score(pairs(edits, texts=texts)) < 0).any()


def test_batch_mates_do_not_change_a_score(clip: CLIPScore, pictures: list[Image], pairs: Pairs) -> None:
    together = clip.score(pairs(pictures, texts=TEXTS))
    alone = np.concatenate([clip.score(pairs([p], texts=[t])) for p, t in zip(pictures, TEXTS, strict=True)])
    # Features agree to 1e-5 of the largest (metrics.networks.images), a cosine to a few times that, on a scale of 100.
    np.testing.assert_allclose(together, alone, rtol=0, atol=5e-3)


def test_text_features_are_computed_once(
    judge_folder: Path, pictures: list[Image], pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = CLIPScore(f"local-dir:{judge_folder}")
    seen: list[str] = []
    tokenise = OpenClipNetwork.tokenise
    monkeypatch.setattr(OpenClipNetwork, "tokenise", lambda self, texts: seen.extend(texts) or tokenise(self, texts))
    first = metric.score(pairs(pictures, texts=TEXTS))
    assert metric.score(pairs(pictures, texts=TEXTS)).tolist() == first.tolist()
    assert seen == list(dict.fromkeys(TEXTS))


@pytest.mark.parametrize(("words", "over"), [(9, 0), (10, 0), (11, 1), (12, 1), (40, 1)])
def test_texts_at_and_over_the_context_are_counted(
    judge_folder: Path, pictures: list[Image], pairs: Pairs, words: int, over: int
) -> None:
    metric = CLIPScore(f"local-dir:{judge_folder}")
    text = " ".join(["cat"] * words)  # one token a word, two for the marks, twelve places
    metric.score(pairs(pictures[:2], texts=[text, text]))
    assert metric.context_length == CONTEXT
    assert metric.texts_over_context == over
    assert metric.over_context == ((text,) if over else ())


@pytest.mark.parametrize(("length", "over"), [(76, False), (77, False), (78, True)])
def test_open_clips_own_tokenizer_at_its_limit(length: int, over: bool) -> None:
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    network = OpenClipNetwork(None, lambda _: torch.zeros(0), tokenizer, 77, "", "", "", "", "")
    tokens, cut = network.tokenise([" ".join(["cat"] * (length - 2)), "a cat"])
    assert cut.tolist() == [over, False]
    assert tokens.shape == (2, 77)
    assert int(tokens[0].max()) == tokenizer.eot_token_id  # the end mark survives the cut


def test_what_is_cut_off_changes_nothing_and_what_is_not_does(clip: CLIPScore) -> None:
    fits = " ".join(["cat"] * 10)
    longer, other = f"{fits} dog", f"{fits[:-3]}dog"
    features = clip.text_extractor([fits, longer, other])
    np.testing.assert_allclose(features[0], features[1], rtol=1e-5, atol=1e-6)  # the same twelve ids
    assert not np.allclose(features[0], features[2], rtol=1e-3)


@pytest.mark.parametrize("text", ["", "  \n", None, 3])
def test_blank_texts_are_refused(clip: CLIPScore, pictures: list[Image], pairs: Pairs, text: Any) -> None:
    with pytest.raises(MetricError, match=r"target_texts\[1\]: expected a text"):
        clip.score(pairs(pictures[:2], texts=["a cat", text]))


def test_float_pictures_are_refused(clip: CLIPScore, pictures: list[Image], pairs: Pairs) -> None:
    with pytest.raises(MetricError, match=r"edits\[0\]: expected uint8 .* got float64"):
        clip.score(pairs([pictures[0] / 255]))


def test_no_rows_give_no_scores(clip: CLIPScore, pairs: Pairs) -> None:
    assert clip.score(pairs([])).shape == (0,)


def test_card_states_scale_network_and_preprocessing(clip: CLIPScore) -> None:
    card = clip.card
    assert card.scale == "100 x cosine, not clamped"
    assert card.higher_is_better
    assert card.resolution == "64x64"
    assert "shortest bicubic" in card.resize
    assert "[0.5, 0.5, 0.5]" in card.value_range
    assert f"context_length={CONTEXT}" in card.network
    assert "quick_gelu=False" in card.network
    assert len(card.weights) == 64


def test_fingerprint_follows_scale_weights_preprocessing_and_activation(
    judge_folder: Path, judge_copy: Path, change_weights: Callable[[Path], None]
) -> None:
    original = CLIPScore(f"local-dir:{judge_folder}").card.fingerprint
    assert CLIPScore(f"local-dir:{judge_copy}").card.fingerprint == original
    seen = {original, CLIPScore(f"local-dir:{judge_copy}", scale=1).card.fingerprint}
    edit_config(judge_copy, lambda config: config["preprocess_cfg"].update(mean=[0.4] * 3))
    seen.add(CLIPScore(f"local-dir:{judge_copy}").card.fingerprint)
    edit_config(judge_copy, lambda config: config["model_cfg"].update(quick_gelu=True))
    seen.add(CLIPScore(f"local-dir:{judge_copy}").card.fingerprint)
    change_weights(judge_copy / "open_clip_model.safetensors")
    seen.add(CLIPScore(f"local-dir:{judge_copy}").card.fingerprint)
    assert len(seen) == 5


def test_scale_multiplies_the_cosine(judge_folder: Path, clip: CLIPScore, pictures: list[Image], pairs: Pairs) -> None:
    batch = pairs(pictures[:2])
    cosine = CLIPScore(f"local-dir:{judge_folder}", scale=1, batch_size=3).score(batch)
    np.testing.assert_allclose(clip.score(batch), 100 * cosine, rtol=1e-12)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), True, "100"])
def test_bad_scales_are_refused(judge_folder: Path, scale: Any) -> None:
    with pytest.raises(MetricError, match="clip scale: expected a positive number"):
        CLIPScore(f"local-dir:{judge_folder}", scale=scale)


def test_a_folder_without_weights_is_refused_and_not_random(judge_copy: Path) -> None:
    (judge_copy / "open_clip_model.safetensors").unlink()
    with pytest.raises(MetricError, match=r"no \.safetensors weights"):
        CLIPScore(f"local-dir:{judge_copy}")


def test_a_folder_without_tokenizer_is_refused_and_not_empty(judge_copy: Path) -> None:
    (judge_copy / "tokenizer.json").unlink()
    with pytest.raises(MetricError, match="holds no tokenizer"):
        CLIPScore(f"local-dir:{judge_copy}")


def test_a_tokenizer_larger_than_the_model_is_refused(judge_copy: Path) -> None:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(judge_copy)
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(judge_copy)
    with pytest.raises(MetricError, match=r"has \d+ tokens, the model reads \d+"):
        CLIPScore(f"local-dir:{judge_copy}")


def test_pooling_at_the_wrong_token_is_refused(judge_copy: Path) -> None:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(judge_copy)
    tokens = tokenizer.get_vocab()
    tokens["<|startoftext|>"], tokens["<|endoftext|>"] = tokens["<|endoftext|>"], tokens["<|startoftext|>"]
    CLIPTokenizer(vocab=tokens, merges=[], model_max_length=CONTEXT).save_pretrained(judge_copy)
    with pytest.raises(MetricError, match="pools at the highest token id, which is not the end mark"):
        CLIPScore(f"local-dir:{judge_copy}")


def test_missing_folders_and_configs_are_named(tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="no folder at"):
        CLIPScore(f"local-dir:{tmp_path}/nowhere")
    with pytest.raises(MetricError, match=r"lacks open_clip_config.json"):
        CLIPScore(f"local-dir:{tmp_path}")


def test_named_models_need_weights_that_exist(judge_folder: Path) -> None:
    with pytest.raises(MetricError, match=r"ViT-B-32 needs a weight file or one of its tags \(openai, "):
        CLIPScore("ViT-B-32")
    with pytest.raises(MetricError, match="open_clip has no model 'ViT-Z-1'"):
        CLIPScore("ViT-Z-1", "openai")
    with pytest.raises(MetricError, match=r"no file at /nowhere/clip.safetensors; nothing is downloaded"):
        CLIPScore("ViT-B-32", "/nowhere/clip.safetensors")
    with pytest.raises(MetricError, match="the folder holds its own weights"):
        CLIPScore(f"local-dir:{judge_folder}", "openai")


class TestNamedModel:
    """A named architecture with a weight file: a small one is put into open_clip's registry under two names."""

    @pytest.fixture
    def weight_file(self, judge_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        config = json.loads((judge_folder / "open_clip_config.json").read_text())["model_cfg"]
        config["text_cfg"].pop("hf_tokenizer_name")
        config["text_cfg"]["vocab_size"] = 49408
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny", config)
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-quickgelu", {**config, "quick_gelu": True})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            torch.save(open_clip.CLIP(**config).state_dict(), tmp_path / "tiny.pt")
        return tmp_path / "tiny.pt"

    def test_activation_must_be_said_where_two_exist(self, weight_file: Path) -> None:
        with pytest.raises(MetricError, match="exist with both activations and do not tell which; set quick_gelu"):
            CLIPScore("Tiny", str(weight_file))

    def test_activation_changes_scores_and_fingerprint(self, weight_file: Path, pictures: list[Image], pairs: Pairs) -> None:
        plain, quick = (CLIPScore("Tiny", str(weight_file), quick_gelu=choice) for choice in (False, True))
        by_name = CLIPScore("Tiny-quickgelu", str(weight_file))
        batch = pairs(pictures[:2])
        assert plain.card.fingerprint != quick.card.fingerprint == by_name.card.fingerprint
        assert plain.score(batch).tolist() != quick.score(batch).tolist() == by_name.score(batch).tolist()

    def test_contradictions_are_refused(self, weight_file: Path) -> None:
        with pytest.raises(MetricError, match="trained without QuickGELU; use 'Tiny'"):
            CLIPScore("Tiny-quickgelu", str(weight_file), quick_gelu=False)

    def test_a_tag_knows_its_activation(self, weight_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        published = {"file": str(weight_file), "quick_gelu": True, "mean": (0.5,) * 3, "std": (0.5,) * 3}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", {"openai": published})
        assert "quick_gelu=True" in CLIPScore("Tiny", "openai").card.network

    def test_a_bare_file_is_fed_as_its_architecture_was_trained(self, weight_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        squash = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "interpolation": "bicubic", "resize_mode": "squash"}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", {"webli": squash})
        card = CLIPScore("Tiny", str(weight_file), quick_gelu=False).card
        assert "squash" in card.resize
        assert "[0.25, 0.25, 0.25]" in card.value_range
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", {"webli": squash, "b": {**squash, "std": (0.5,) * 3}})
        with pytest.raises(MetricError, match="use 2 kinds of preprocessing"):
            CLIPScore("Tiny", str(weight_file), quick_gelu=False)

    def test_unreadable_weights_are_refused(self, weight_file: Path) -> None:
        weight_file.write_bytes(b"no weights")
        with pytest.raises(MetricError, match="cannot be opened"):
            CLIPScore("Tiny", str(weight_file), quick_gelu=False)


def test_a_local_folder_with_pickled_weights_alone_is_refused(judge_copy: Path) -> None:
    weights = judge_copy / "open_clip_model.safetensors"
    weights.rename(judge_copy / "open_clip_pytorch_model.bin")
    with pytest.raises(MetricError, match=r"no \.safetensors weights"):
        CLIPScore(f"local-dir:{judge_copy}")


def test_published_scales(judge_folder: Path, clip: CLIPScore, pictures: list[Image], pairs: Pairs) -> None:
    batch = pairs(
        [np.full((64, 64, 3), level, np.uint8) for level in (0, 128, 255)] * 4, texts=[t for t in TEXTS[:4] for _ in range(3)]
    )
    cosine = clip.score(batch) / 100
    original = CLIPScore(f"local-dir:{judge_folder}", scale=2.5, clamp=True, batch_size=3)
    np.testing.assert_allclose(original.score(batch), 2.5 * np.maximum(cosine, 0), rtol=1e-12)
    assert (cosine < 0).any()
    assert original.card.scale == "2.5 x max(cosine, 0)"
    assert original.bounds == (0.0, 2.5)
    assert clip.bounds == (-100.0, 100.0)


def test_over_long_texts_can_be_told_without_embedding_them(judge_folder: Path) -> None:
    metric = CLIPScore(f"local-dir:{judge_folder}")
    long = " ".join(["cat"] * 11)
    assert metric.text_extractor.over_context([long, "a cat", long]) == [long]
    assert metric.text_extractor.over_context([]) == []
    assert metric.texts_over_context == 0


def test_image_features_are_those_of_the_extractor_of_set_metrics(
    judge_folder: Path, clip: CLIPScore, pictures: list[Image]
) -> None:
    extractor = open_extractor(f"clip:local-dir:{judge_folder}", batch_size=3)
    assert extractor.identity.key == clip.image_extractor.identity.key
    assert extractor.dimensions == clip.image_extractor.dimensions
    np.testing.assert_array_equal(extractor(pictures), clip.image_extractor(pictures))


def test_pictures_of_many_sizes_fill_batches(
    judge_folder: Path, clip: CLIPScore, pictures: list[Image], pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    encode = ClipImages._encode
    monkeypatch.setattr(ClipImages, "_encode", lambda self, pixels: batches.append(len(pixels)) or encode(self, pixels))
    sizes = [picture[: 40 + 3 * row, : 64 - row] for row, picture in enumerate(pictures)]
    together = clip.score(pairs(sizes))
    assert batches == [3, 3, 3]
    alone = np.concatenate([clip.score(pairs([picture])) for picture in sizes])
    np.testing.assert_allclose(together, alone, rtol=0, atol=5e-3)  # as for equal sizes


def test_a_changed_folder_is_read_again(judge_copy: Path, change_weights: Callable[[Path], None]) -> None:
    before = CLIPScore(f"local-dir:{judge_copy}")
    assert CLIPScore(f"local-dir:{judge_copy}").image_extractor.network is before.image_extractor.network
    change_weights(judge_copy / "open_clip_model.safetensors")
    assert CLIPScore(f"local-dir:{judge_copy}").card.weights != before.card.weights
