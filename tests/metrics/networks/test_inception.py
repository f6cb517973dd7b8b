from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from metrics.base import Image, MetricError
from metrics.networks.extractors import open_extractor
from metrics.networks.inception import FEEDS, SIDE, WORDS, InceptionExtractor

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> Any:
    """torch-fidelity's Inception with random weights."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(3)
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        return module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])


@pytest.fixture(scope="module")
def weights(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(network.state_dict(), file)
    return file


@pytest.fixture
def wide(rng: np.random.Generator) -> Image:
    """A picture whose resizing to a square both shrinks and enlarges."""
    return rng.integers(0, 256, (40, 420, 3), dtype=np.uint8)


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


def test_default_is_torch_fidelitys_own_network_and_resize(network: Any, weights: Path, pictures: list[Image]) -> None:
    extractor = InceptionExtractor(f"inception:{weights}", batch_size=1)
    with torch.no_grad():
        expected = network(torch.from_numpy(pictures[0]).permute(2, 0, 1)[None])[0].numpy()
    np.testing.assert_array_equal(extractor(pictures[:1]), expected)  # the same network on the same input
    assert expected.shape == (1, extractor.dimensions)
    assert len(extractor.identity.weights) == 64


@pytest.mark.slow
def test_parity_modes_run_the_same_layers_after_another_resize(network: Any, weights: Path, rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)  # at the network's own size nothing is resized
    with torch.no_grad():
        expected = network(torch.from_numpy(image).permute(2, 0, 1)[None])[0].numpy()
    for mode in ("clean-fid", "torchmetrics"):
        extractor = open_extractor(f"inception:{weights}", batch_size=1, resize=mode)
        np.testing.assert_array_equal(extractor([image]), expected, err_msg=mode)  # the same floats through the same layers
        assert extractor.identity.resize.startswith(f"parity {mode}: ")


def test_no_two_modes_share_their_words_on_a_card() -> None:
    assert set(WORDS) == {"default", *FEEDS}
    assert len(set(WORDS.values())) == len(WORDS)


def test_clean_fid_resizes_floats_by_channel_and_clips(wide: Image) -> None:
    channels = [PIL.Image.fromarray(wide[:, :, c].astype(np.float32)) for c in range(3)]
    resized = np.stack([np.asarray(c.resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC)) for c in channels])
    assert resized.min() < 0, "bicubic overshoots on noise: without the clip the test would say nothing"
    found = FEEDS["clean-fid"]([wide], CPU)[0].numpy() * 128 + 128
    np.testing.assert_allclose(found, resized.clip(0, 255), atol=1e-4)  # scaled there and back in float32
    assert np.abs(found - np.rint(found)).max() > 0.1, "not rounded back to whole grey levels"


def test_pytorch_fid_is_bilinear_without_antialias_to_minus_one_and_one(wide: Image) -> None:
    found = FEEDS["pytorch-fid"]([wide], CPU)[0].numpy()
    # Without antialias column x mixes two neighbours of (x + 1/2) 420/299 - 1/2, row 0 lies on the first row of pixels.
    place = (np.arange(SIDE) + 0.5) * 420 / SIDE - 0.5
    left, share = np.floor(place).astype(int), place - np.floor(place)
    row = wide[0].astype(np.float64)
    expected = row[left] * (1 - share)[:, None] + row[np.minimum(left + 1, 419)] * share[:, None]
    np.testing.assert_allclose(found[:, 0].T, expected / 127.5 - 1, atol=1e-4)  # positions in float32, values of size 1


def test_torchmetrics_antialiases_as_torchmetrics_does(wide: Image, weights: Path) -> None:
    from torchmetrics.image.fid import NoTrainInceptionV3

    theirs = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(weights))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(wide).permute(2, 0, 1)[None]).numpy()
    found = open_extractor(f"inception:{weights}", batch_size=1, resize="torchmetrics")([wide])
    np.testing.assert_array_equal(found, expected)  # the same operations in the same order


def test_flexit_crops_the_centre_of_the_short_side_at_256(wide: Image) -> None:
    from torchvision.transforms import v2

    steps = v2.Compose([v2.Resize(256), v2.CenterCrop(256), v2.ToImage()])
    cropped = np.ascontiguousarray(steps(PIL.Image.fromarray(wide)).permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(FEEDS["flexit"]([wide], CPU).numpy(), FEEDS["pytorch-fid"]([cropped], CPU).numpy())


def test_unknown_mode_is_refused(weights: Path) -> None:
    with pytest.raises(MetricError, match=r"resize: expected one of default, clean-fid, .* got 'clean'"):
        open_extractor(f"inception:{weights}", resize="clean")
