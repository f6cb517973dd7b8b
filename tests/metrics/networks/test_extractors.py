from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from metrics.base import Image, MetricError
from metrics.networks.dinov2 import DINOv2Extractor
from metrics.networks.extractors import open_extractor
from metrics.networks.resnet import FolderExtractor


def test_folder_features_are_the_pooled_last_hidden_state(resnet_folder: Path, pictures: list[Image]) -> None:
    from transformers import ResNetForImageClassification

    model = ResNetForImageClassification.from_pretrained(resnet_folder).eval()
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = model(pixels, output_hidden_states=True).hidden_states[-1].mean((2, 3)).numpy()
    features = FolderExtractor(f"folder:{resnet_folder}")(pictures)
    assert features.dtype == np.float32
    # x/127.5 - 1 and (x/255 - 0.5)/0.5 differ by float32 rounding, 1e-7; a few layers may multiply that by ten.
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_batch_mates_do_not_change_a_feature(resnet_folder: Path, pictures: list[Image], batch_size: int) -> None:
    extractor = FolderExtractor(f"folder:{resnet_folder}", batch_size=batch_size)
    together, alone = extractor(pictures), np.concatenate([extractor([image]) for image in pictures])
    # The bound that metrics.networks.images states: same kernels, position in the batch may cost float32 rounding.
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5 * np.abs(together).max())


def test_batch_size_is_no_part_of_the_key_and_changes_rounding_at_most(resnet_folder: Path, pictures: list[Image]) -> None:
    small, large = (FolderExtractor(f"folder:{resnet_folder}", batch_size=size) for size in (2, 7))
    assert small.identity.key == large.identity.key
    values = large(pictures)
    np.testing.assert_allclose(small(pictures), values, rtol=0, atol=1e-5 * np.abs(values).max())  # other kernels, same sums


def test_pictures_of_several_sizes_keep_their_order(resnet_folder: Path, pictures: list[Image]) -> None:
    extractor = FolderExtractor(f"folder:{resnet_folder}")
    wide = np.repeat(pictures[1], 2, axis=1)
    features = extractor([pictures[0], wide, pictures[2]])
    np.testing.assert_allclose(features[[0, 2]], extractor([pictures[0], pictures[2]]), rtol=1e-5)
    np.testing.assert_allclose(features[1], extractor([wide])[0], rtol=1e-5)


def test_key_follows_weights_and_preprocessing_but_not_the_path(
    resnet_folder: Path, resnet_copy: Path, change_weights: Callable[[Path], None]
) -> None:
    original, copy = FolderExtractor(f"folder:{resnet_folder}"), FolderExtractor(f"folder:{resnet_copy}")
    assert copy.identity.key == original.identity.key
    (resnet_copy / "preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 32}, "image_mean": [0.4] * 3}))
    fed_otherwise = FolderExtractor(f"folder:{resnet_copy}").identity
    assert fed_otherwise.resolution == "32x32"
    assert "[0.4, 0.4, 0.4]" in fed_otherwise.value_range
    (resnet_copy / "preprocessor_config.json").unlink()
    change_weights(resnet_copy / "model.safetensors")
    keys = {original.identity.key, fed_otherwise.key, FolderExtractor(f"folder:{resnet_copy}").identity.key}
    assert len(keys) == 3


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_of_the_folder_is_named(resnet_copy: Path, name: str) -> None:
    (resnet_copy / name).unlink()
    with pytest.raises(MetricError, match=f"lacks {name}"):
        FolderExtractor(f"folder:{resnet_copy}")


def test_lacking_weights_are_refused_and_not_left_random(resnet_copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(resnet_copy / "model.safetensors")
    lost = next(name for name in sorted(state) if name.startswith("resnet.") and name.endswith(".weight"))
    save_file({key: value for key, value in state.items() if key != lost}, resnet_copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(MetricError, match=f"lacks {lost}"):
        FolderExtractor(f"folder:{resnet_copy}")


def test_a_truncated_weight_file_is_refused(resnet_copy: Path) -> None:
    file = resnet_copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(MetricError, match="not a readable ResNetForImageClassification folder"):
        FolderExtractor(f"folder:{resnet_copy}")


def test_broken_preprocessing_is_refused(resnet_copy: Path) -> None:
    (resnet_copy / "preprocessor_config.json").write_text(json.dumps({"size": {"depth": 3}}))
    with pytest.raises(MetricError, match=r"preprocessor_config.json should name size"):
        FolderExtractor(f"folder:{resnet_copy}")


@pytest.mark.parametrize("spec", ["", "inception", "dino:x", None])
def test_unknown_extractors_are_refused_with_the_known_ones(spec: Any) -> None:
    with pytest.raises(
        MetricError, match=r"expected 'folder:/path' .*, 'inception:/path/to/weights-inception.*, 'dinov2:/path' or 'clip:"
    ):
        open_extractor(spec)


def test_no_pictures_and_float_pictures_are_refused(resnet_folder: Path, pictures: list[Image]) -> None:
    extractor = open_extractor(f"folder:{resnet_folder}")
    with pytest.raises(MetricError, match="at least one picture"):
        extractor([])
    with pytest.raises(MetricError, match=r"images\[0\]: expected uint8"):
        extractor([pictures[0] / 255])  # type: ignore[list-item]


@pytest.fixture(scope="session")
def dinov2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dinov2")
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=56, patch_size=14)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        Dinov2Model(config).save_pretrained(folder)
    return folder


def test_dinov2_gives_the_class_token_of_the_whole_picture_at_224(dinov2_folder: Path, rng: np.random.Generator) -> None:
    from torchvision.transforms import v2
    from transformers import Dinov2Model

    wide = rng.integers(0, 256, (40, 90, 3), dtype=np.uint8)
    steps = [v2.Resize((224, 224), v2.InterpolationMode.BICUBIC), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    pixels = v2.Compose([*steps, v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])(PIL.Image.fromarray(wide))
    model = Dinov2Model.from_pretrained(dinov2_folder).eval()
    with torch.no_grad():
        table = model.embeddings.position_embeddings
        grid = table[:, 1:].reshape(1, 4, 4, 16).permute(0, 3, 1, 2)
        grid = torch.nn.functional.interpolate(grid, scale_factor=(16.1 / 4, 16.1 / 4), mode="bicubic")  # as the hub code
        places = torch.cat((table[:, :1], grid.permute(0, 2, 3, 1).reshape(1, 256, 16)), dim=1)
        model.embeddings.position_embeddings = torch.nn.Parameter(places)
        token = model(pixels[None]).last_hidden_state[:, 0]
    extractor = open_extractor(f"dinov2:{dinov2_folder}", batch_size=1)
    assert isinstance(extractor, DINOv2Extractor)
    assert extractor.dimensions == 16
    # The same network and pixels; the normalisation may round differently, 1e-7.
    np.testing.assert_allclose(extractor([wide]), token.numpy(), rtol=1e-5, atol=1e-6)


def test_dinov2_with_lacking_weights_is_refused(dinov2_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_bytes((dinov2_folder / "config.json").read_bytes())
    state = load_file(dinov2_folder / "model.safetensors")
    state.pop("layernorm.weight")
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(MetricError, match=r"lacks layernorm\.weight and 0 more"):
        open_extractor(f"dinov2:{tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MetricError, match="is not a readable Dinov2Model folder"):
        open_extractor(f"dinov2:{tmp_path}")


def test_clip_gives_the_embedding_of_open_clip(judge_folder: Path, pictures: list[Image]) -> None:
    import open_clip

    spec = f"local-dir:{judge_folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(spec)
    with torch.no_grad():
        expected = model.eval().encode_image(torch.stack([preprocess(PIL.Image.fromarray(image)) for image in pictures])).numpy()
    extractor = open_extractor(f"clip:{spec}")
    assert extractor.dimensions == expected.shape[1] == 16
    np.testing.assert_allclose(extractor(pictures), expected, rtol=1e-4, atol=1e-6)  # other batches, a deep float32 network


@pytest.mark.parametrize("spec", ["clip:no-such-model:tag", "clip:ViT-B-32", "clip:ViT-B-32:/no/file.pt"])
def test_clip_that_cannot_be_had_is_refused(spec: str) -> None:
    with pytest.raises(MetricError, match=r"^clip (model|pretrained|quick_gelu): "):
        open_extractor(spec)


def test_parity_modes_are_for_inception_only(resnet_folder: Path) -> None:
    with pytest.raises(MetricError, match="'clean-fid' is a parity mode of inception:"):
        open_extractor(f"folder:{resnet_folder}", resize="clean-fid")
