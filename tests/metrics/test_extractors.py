from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metrics.base import Image, MetricError
from metrics.extractors import FolderExtractor, InceptionExtractor, open_extractor


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
    # The bound that metrics.images states: same kernels, position in the batch may cost float32 rounding.
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


@pytest.mark.parametrize("spec", ["", "inception", "clip:x", None])
def test_unknown_extractors_are_refused_with_the_known_ones(spec: Any) -> None:
    with pytest.raises(MetricError, match=r"expected 'folder:/path' .* or 'inception:/path/to/weights-inception"):
        open_extractor(spec)


def test_no_pictures_and_float_pictures_are_refused(resnet_folder: Path, pictures: list[Image]) -> None:
    extractor = open_extractor(f"folder:{resnet_folder}")
    with pytest.raises(MetricError, match="at least one picture"):
        extractor([])
    with pytest.raises(MetricError, match=r"images\[0\]: expected uint8"):
        extractor([pictures[0] / 255])  # type: ignore[list-item]


def test_missing_inception_weights_say_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        MetricError, match=r"nothing is downloaded: put weights-inception-2015-12-05-6726825d.pth .*inception:/path"
    ):
        open_extractor(f"inception:{tmp_path}/weights-inception-2015-12-05-6726825d.pth")


def test_inception_file_must_have_the_hash_in_its_name(tmp_path: Path) -> None:
    file = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    file.write_bytes(b"half a download")
    with pytest.raises(MetricError, match="SHA-256 that begins with 6726825d"):
        open_extractor(f"inception:{file}")


def test_inception_file_with_code_or_other_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": Path("not a tensor")}, tmp_path / "code.pth")
    with pytest.raises(MetricError, match=r"cannot read .*code\.pth as plain tensors"):
        open_extractor(f"inception:{tmp_path}/code.pth")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(MetricError, match=r"other.pth does not hold torch-fidelity's InceptionV3 weights"):
        open_extractor(f"inception:{tmp_path}/other.pth")


def test_inception_is_torch_fidelitys_own_network(tmp_path: Path, pictures: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity import feature_extractor_inceptionv3 as module

    with torch.random.fork_rng(devices=[]), monkeypatch.context() as patch:
        torch.manual_seed(3)
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    torch.save(network.state_dict(), tmp_path / "random.pth")
    extractor = InceptionExtractor(f"inception:{tmp_path}/random.pth", batch_size=1)
    with torch.no_grad():
        expected = network(torch.from_numpy(pictures[0]).permute(2, 0, 1)[None])[0].numpy()
    np.testing.assert_array_equal(extractor(pictures[:1]), expected)  # the same network on the same input
    assert expected.shape == (1, 2048)
    assert len(extractor.identity.weights) == 64
