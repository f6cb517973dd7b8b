from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification, ViTImageProcessor

from metrics.accuracy import Accuracy
from metrics.base import Image, MetricError, PairBatch
from metrics.networks.classifier import open_classifier

LABELS = ["tabby, tabby cat", "tiger cat", "crane", "goldfish", "crane, machine"]
HEADED = ["object:dog", "object:hot dog", "object:cat", "background:snow", "background:grass"]


def save(folder: Path, labels: list[str]) -> Path:
    names = dict(enumerate(labels))
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 12],
        depths=[1, 1],
        layer_type="basic",
        id2label=names,
        label2id={v: k for k, v in names.items()},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        ResNetForImageClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("plain"), LABELS)


@pytest.fixture(scope="module")
def headed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("headed"), HEADED)


def batch(edits: list[Image], classes: list[Any]) -> PairBatch:
    n = len(edits)
    return PairBatch(edits, edits, ["a cat"] * n, [None] * n, [None] * n, [None] * n, target_classes=classes)


def logits(folder: Path, images: list[Image]) -> np.ndarray:
    model = ResNetForImageClassification.from_pretrained(folder).eval()
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        return model(pixels).logits.numpy()


def test_top_one_and_top_two_as_transformers_reads_them(plain: Path, pictures: list[Image]) -> None:
    order = logits(plain, pictures).argsort(axis=1)[:, ::-1]
    for place in range(3):
        rows = batch(pictures, [str(label) for label in order[:, place]])
        assert Accuracy(f"folder:{plain}").score(rows).tolist() == [float(place < 1)] * 7
        assert Accuracy(f"folder:{plain}", top=2).score(rows).tolist() == [float(place < 2)] * 7


def test_restricting_the_labels_leaves_the_others_out(plain: Path, pictures: list[Image], tmp_path: Path) -> None:
    values = logits(plain, pictures)
    wins = values[:, 3] > values[:, 1]
    rows = batch(pictures, ["goldfish"] * 7)
    restricted = Accuracy(f"folder:{plain}", labels=["tiger cat", "goldfish"])
    assert restricted.score(rows).tolist() == wins.astype(float).tolist()
    assert "2 of 5 labels" in restricted.card.scale
    (tmp_path / "labels.txt").write_text("tiger cat\n\ngoldfish\n")
    assert Accuracy(f"folder:{plain}", labels=str(tmp_path / "labels.txt")).card.fingerprint == restricted.card.fingerprint
    assert Accuracy(f"folder:{plain}").card.fingerprint != restricted.card.fingerprint
    with pytest.raises(MetricError, match=r"target_classes\[0\] is 'crane', which is not among the 2 labels allowed"):
        restricted.score(batch(pictures[:1], ["crane"]))


@pytest.mark.parametrize("name", ["tabby", "tabby cat", "tabby, tabby cat", "0"])
def test_names_of_a_label(plain: Path, pictures: list[Image], name: str) -> None:
    metric = Accuracy(f"folder:{plain}")
    assert (
        metric.score(batch(pictures, [name] * 7)).tolist() == (logits(plain, pictures).argmax(axis=1) == 0).astype(float).tolist()
    )


def test_a_whole_label_is_itself_and_unknown_classes_are_refused(plain: Path, pictures: list[Image]) -> None:
    metric = Accuracy(f"folder:{plain}")
    metric.score(batch(pictures[:1], ["crane"]))  # also a name of "crane, machine", but a label of its own
    with pytest.raises(MetricError, match=r"accuracy: target_classes\[0\]: 'zebra' is no label of the network; name a label"):
        metric.score(batch(pictures[:1], ["zebra"]))


def test_a_name_of_two_labels_is_refused(tmp_path: Path, pictures: list[Image]) -> None:
    folder = save(tmp_path, ["crane, bird", "crane, machine", "dog"])
    with pytest.raises(MetricError, match="'crane' is the name of 2 labels"):
        Accuracy(f"folder:{folder}").score(batch(pictures[:1], ["crane"]))


def test_heads_are_choices_of_their_own(headed: Path, pictures: list[Image]) -> None:
    values = logits(headed, pictures)
    objects, places = values[:, :3].argmax(axis=1), values[:, 3:].argmax(axis=1)
    scores = Accuracy(f"folder:{headed}").score(batch(pictures, ["hot dog in the snow"] * 7))
    assert scores.tolist() == (objects == 1).astype(float).tolist()
    scores = Accuracy(f"folder:{headed}", head="background").score(batch(pictures, ["grass"] * 7))
    assert scores.tolist() == (places == 1).astype(float).tolist()
    with pytest.raises(MetricError, match="head: expected one of object, background, got 'state'"):
        Accuracy(f"folder:{headed}", head="state")


def test_unknown_classes_are_undefined(plain: Path, pictures: list[Image]) -> None:
    scores = Accuracy(f"folder:{plain}").score(batch(pictures[:3], [None, "crane", None]))
    assert np.isnan(scores).tolist() == [True, False, True]
    assert np.isnan(Accuracy(f"folder:{plain}").score(batch(pictures[:2], [None, None]))).all()


def test_a_vision_transformer_with_its_own_preprocessing(tmp_path: Path, pictures: list[Image]) -> None:
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        num_labels=4,
    )
    processor = ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.4] * 3, image_std=[0.3] * 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = ViTForImageClassification(config).eval()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    classifier = open_classifier(f"folder:{tmp_path}", "net", batch_size=3)
    with torch.no_grad():
        expected = model(**processor(images=pictures, return_tensors="pt")).logits.numpy()
    np.testing.assert_allclose(classifier.logits(pictures), expected, rtol=0, atol=1e-5)  # float32, batches of 3 against 7
    assert classifier.mean == (0.4, 0.4, 0.4)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings | {"image_mean": [0.5] * 3}))
    assert open_classifier(f"folder:{tmp_path}", "net").resize != classifier.resize


def test_folders_that_cannot_be_used(tmp_path: Path, vit_folder: Path) -> None:
    with pytest.raises(MetricError, match="accuracy net: no folder at"):
        Accuracy(f"folder:{tmp_path}/nowhere")
    with pytest.raises(MetricError, match=r"lacks classifier"):
        Accuracy(f"folder:{vit_folder}")  # a trunk without its classifier


@pytest.mark.parametrize("labels", [["crane"], ["crane", "zebra"], "/nowhere.txt"])
def test_bad_label_sets(plain: Path, labels: Any) -> None:
    with pytest.raises(MetricError, match="accuracy"):
        Accuracy(f"folder:{plain}", labels=labels)
