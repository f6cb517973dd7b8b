from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from metrics.base import Image, MetricError, PairBatch
from metrics.lpips import LPIPS
from metrics.toolbox.regions import weights_of

Pairs = Callable[..., PairBatch]


@pytest.fixture
def smooth() -> Image:
    rows, columns = np.mgrid[0:64, 0:64] / 63
    return np.rint(np.stack([rows, columns, 1 - rows], axis=2) * 180 + 30).astype(np.uint8)


def test_identity_is_exactly_zero(resnet_folder: Path, pictures: list[Image], pairs: Pairs) -> None:
    scores = LPIPS(f"folder:{resnet_folder}").score(pairs(pictures))
    assert scores.dtype == np.float64
    assert scores.tolist() == [0.0] * len(pictures)


def test_symmetric(resnet_folder: Path, pictures: list[Image], pairs: Pairs) -> None:
    metric = LPIPS(f"folder:{resnet_folder}")
    there, back = metric.score(pairs(pictures, pictures[::-1])), metric.score(pairs(pictures[::-1], pictures))
    assert there[0] > 0
    assert there.tolist() == back.tolist()  # squares of a difference and of its negative are the same floats


def test_grows_with_noise(resnet_folder: Path, smooth: Image, noisy: Callable[[Image, float], Image], pairs: Pairs) -> None:
    edits = [noisy(smooth, strength) for strength in (0, 2, 8, 25)]
    scores = LPIPS(f"folder:{resnet_folder}").score(pairs(edits, [smooth] * 4))
    assert scores[0] == 0
    assert (np.diff(scores) > 0).all()


def test_folder_form_follows_its_formula(resnet_folder: Path, pictures: list[Image], pairs: Pairs) -> None:
    from transformers import ResNetForImageClassification

    model = ResNetForImageClassification.from_pretrained(resnet_folder).eval()

    def states(image: Image) -> list[np.ndarray]:
        pixels = (torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255 - 0.5) / 0.5
        with torch.no_grad():
            return [state[0].numpy() for state in model.double()(pixels, output_hidden_states=True).hidden_states]

    expected = 0.0
    for weight, one, two in zip([0.5, 1.0, 2.0], states(pictures[0]), states(pictures[1]), strict=True):
        unit1, unit2 = one / np.linalg.norm(one, axis=0), two / np.linalg.norm(two, axis=0)
        expected += weight * ((unit1 - unit2) ** 2).sum(axis=0).mean()
    score = LPIPS(f"folder:{resnet_folder}").score(pairs(pictures[:1], pictures[1:2]))[0]
    assert score == pytest.approx(expected, rel=1e-5)  # float32 network against float64


def test_batch_mates_do_not_change_a_score(resnet_folder: Path, pictures: list[Image], pairs: Pairs) -> None:
    metric = LPIPS(f"folder:{resnet_folder}", batch_size=3)
    together = metric.score(pairs(pictures, pictures[::-1]))
    alone = np.concatenate([metric.score(pairs([a], [b])) for a, b in zip(pictures, pictures[::-1], strict=True)])
    np.testing.assert_allclose(
        together, alone, rtol=0, atol=1e-5 * together.max()
    )  # the bound that metrics.networks.images states


def test_floats_and_wrong_shapes_are_refused(resnet_folder: Path, pictures: list[Image], pairs: Pairs) -> None:
    metric = LPIPS(f"folder:{resnet_folder}")
    with pytest.raises(MetricError, match=r"sources\[1\]: expected uint8 .* got float64"):
        metric.score(pairs(pictures[:2], [pictures[0], pictures[1] / 255]))
    with pytest.raises(MetricError, match=r"edits\[0\]: expected uint8"):
        metric.score(pairs([pictures[0][..., 0]], [pictures[0]]))


def test_resolution_is_applied_and_recorded(resnet_folder: Path, pictures: list[Image], pairs: Pairs) -> None:
    own, half, native = (LPIPS(f"folder:{resnet_folder}", resolution=size) for size in (None, 32, "native"))
    assert [metric.card.resolution for metric in (own, half, native)] == ["64x64", "32x32", "native"]
    assert len({metric.card.fingerprint for metric in (own, half, native)}) == 3
    batch = pairs(pictures[:2], pictures[2:4])
    assert own.score(batch).tolist() == native.score(batch).tolist()
    assert not np.allclose(own.score(batch), half.score(batch), rtol=1e-3)


def test_pictures_of_two_sizes_need_a_resolution(resnet_folder: Path, pictures: list[Image], pairs: Pairs) -> None:
    doubled = np.repeat(np.repeat(pictures[0], 2, axis=0), 2, axis=1)
    with pytest.raises(MetricError, match=r"edits\[0\] is \(128, 128\), sources\[0\] \(64, 64\)"):
        LPIPS(f"folder:{resnet_folder}", resolution="native").score(pairs([doubled], [pictures[0]]))
    assert LPIPS(f"folder:{resnet_folder}").score(pairs([doubled], [pictures[0]]))[0] >= 0


@pytest.mark.parametrize("resolution", [0, 8, True, 64.0, "large"])
def test_bad_resolutions_are_refused(resnet_folder: Path, resolution: object) -> None:
    with pytest.raises(MetricError, match="lpips resolution: expected"):
        LPIPS(f"folder:{resnet_folder}", resolution=resolution)  # type: ignore[arg-type]


def test_fingerprint_follows_trunk_and_layer_weights(
    resnet_folder: Path, resnet_copy: Path, change_weights: Callable[[Path], None]
) -> None:
    fingerprints = [LPIPS(f"folder:{folder}").card.fingerprint for folder in (resnet_folder, resnet_copy)]
    assert fingerprints[0] == fingerprints[1]
    change_weights(resnet_copy / "lpips.safetensors")
    fingerprints.append(LPIPS(f"folder:{resnet_copy}").card.fingerprint)
    change_weights(resnet_copy / "model.safetensors")
    fingerprints.append(LPIPS(f"folder:{resnet_copy}").card.fingerprint)
    assert len(set(fingerprints)) == 3


@pytest.mark.parametrize(
    "tensors", [{"weights": torch.ones(2)}, {"weights": torch.tensor([1.0, -1.0, 1.0])}, {"other": torch.ones(3)}]
)
def test_bad_layer_weights_are_refused(resnet_copy: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, resnet_copy / "lpips.safetensors")
    with pytest.raises(MetricError, match=r"should hold a tensor 'weights' of shape \(3,\)"):
        LPIPS(f"folder:{resnet_copy}")


def test_missing_layer_weights_are_named(resnet_copy: Path) -> None:
    (resnet_copy / "lpips.safetensors").unlink()
    with pytest.raises(MetricError, match=r"lacks lpips.safetensors"):
        LPIPS(f"folder:{resnet_copy}")


def test_package_network_gives_the_packages_numbers(squeeze_file: Path, pictures: list[Image], pairs: Pairs) -> None:
    from torchvision.models import squeezenet1_1

    metric = LPIPS("squeeze", weights=str(squeeze_file), resolution="native")
    reference = metric._network.network
    trunk = squeezenet1_1(weights=None)
    trunk.load_state_dict(torch.load(squeeze_file))
    pixels = [torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1 for image in pictures[:2]]
    with torch.no_grad():
        expected = float(reference(*pixels))
        scaled = reference.scaling_layer(pixels[0])
        # the trunk inside is the one of the file: the last of its seven outputs is the whole feature stack
        assert torch.equal(reference.net(scaled)[-1], trunk.eval().features(scaled))
    assert metric.score(pairs(pictures[:1], pictures[1:2]))[0] == pytest.approx(expected, rel=1e-5)  # batch of 8 against 1
    assert metric.score(pairs(pictures[:1]))[0] == 0.0


def test_package_network_looks_at_256_pixels_by_default(squeeze_file: Path) -> None:
    assert LPIPS("squeeze", weights=str(squeeze_file)).card.resolution == "256x256"


def test_building_a_package_network_leaves_the_random_state_alone(squeeze_file: Path) -> None:
    before = torch.random.get_rng_state()
    LPIPS("squeeze", weights=str(squeeze_file))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_missing_trunks_say_which_file_and_where(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        MetricError, match=rf"lpips {net}: no file at .*nothing is downloaded: put torchvision's .*\.pth .* or name it"
    ):
        LPIPS(net)


def test_hub_cache_is_used_and_its_hash_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"broken")
    with pytest.raises(MetricError, match="SHA-256 that begins with b8a52dc0"):
        LPIPS("squeeze")


def test_trunk_of_another_network_is_refused(squeeze_file: Path) -> None:
    with pytest.raises(MetricError, match="does not hold the alex trunk"):
        LPIPS("alex", weights=str(squeeze_file))


def test_unknown_nets_and_needless_weights_are_refused(resnet_folder: Path) -> None:
    with pytest.raises(MetricError, match="expected alex, vgg, squeeze or 'folder:/path', got 'resnet'"):
        LPIPS("resnet")
    with pytest.raises(MetricError, match="the folder holds its own"):
        LPIPS(f"folder:{resnet_folder}", weights="x.pth")


class TestRegions:
    """LPIPS over the background or the edited region."""

    @pytest.fixture
    def half(self) -> NDArray[np.bool_]:
        mask = np.zeros((64, 64), dtype=np.bool_)
        mask[:, :32] = True
        return mask

    def masked(self, edits: list[Image], sources: list[Image], masks: list[NDArray[np.bool_] | None]) -> PairBatch:
        n = len(edits)
        return PairBatch(edits, sources, ["a cat"] * n, [None] * n, masks, [None] * n)

    @pytest.mark.parametrize("region", ["background", "edited"])
    def test_is_the_packages_spatial_map_averaged_over_the_region(
        self, squeeze_file: Path, pictures: list[Image], half: NDArray[np.bool_], region: str
    ) -> None:
        edit, source = pictures[:2]
        inside = (half if region == "edited" else ~half)[..., None]
        for surroundings, shown in (("source", np.where(inside, edit, source)), ("edit", edit)):
            metric = LPIPS("squeeze", region, surroundings=surroundings, weights=str(squeeze_file), resolution="native")
            reference = metric._network.network
            reference.spatial = True
            pixels = [torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1 for image in (shown, source)]
            with torch.no_grad():
                spatial = reference(*pixels)[0, 0].double().numpy()
            score = metric.score(self.masked([edit], [source], [half]))[0]
            assert score == pytest.approx(spatial[inside[..., 0]].mean(), rel=1e-5)  # float32, batch of 8 against 1

    @pytest.mark.parametrize("resolution", ["native", 32, 100])
    def test_a_kept_background_is_at_zero_and_the_edited_region_does_not_see_it(
        self, squeeze_file: Path, pictures: list[Image], half: NDArray[np.bool_], resolution: int | str
    ) -> None:
        inside, outside = (np.where(side[..., None], pictures[0], pictures[1]) for side in (half, ~half))
        batch = self.masked([inside, outside, pictures[0]], [pictures[1]] * 3, [half] * 3)
        background, edited = (
            LPIPS("squeeze", region, weights=str(squeeze_file), resolution=resolution).score(batch)
            for region in ("background", "edited")
        )
        assert background[0] == 0.0 == edited[1]
        assert background[1] == background[2] > 0
        assert edited[0] == edited[2] > 0
        leaking = LPIPS("squeeze", "background", surroundings="edit", weights=str(squeeze_file), resolution=resolution)
        assert leaking.score(batch)[0] > 0.02 * background[1], "what the replacement is for"

    def test_pictures_of_two_sizes_have_no_region_in_place(
        self, resnet_folder: Path, pictures: list[Image], half: NDArray[np.bool_]
    ) -> None:
        doubled = np.repeat(np.repeat(pictures[1], 2, axis=0), 2, axis=1)
        with pytest.raises(MetricError, match=r"lpips of a region: edits\[0\] is \(64, 64\), sources\[0\] \(128, 128\)"):
            LPIPS(f"folder:{resnet_folder}", "edited").score(self.masked(pictures[:1], [doubled], [half]))

    def test_a_coarser_picture_weighs_cells_by_the_share_that_the_region_covers(self) -> None:
        mask = np.zeros((4, 4), dtype=np.bool_)
        mask[0, :3] = True
        assert weights_of(mask, 2).tolist() == [[0.5, 0.25], [0.0, 0.0]]
        assert weights_of(mask, 8)[:2, :6].min() == 1 == weights_of(mask, 8).sum() / 12

    def test_unknown_and_empty_regions_are_undefined_and_leave_the_others_alone(
        self, resnet_folder: Path, pictures: list[Image], half: NDArray[np.bool_]
    ) -> None:
        metric = LPIPS(f"folder:{resnet_folder}", "edited")
        masks = [half, None, np.zeros((64, 64), dtype=np.bool_), half]
        scores = metric.score(self.masked(pictures[:4], pictures[1:5], masks))
        assert np.isnan(scores).tolist() == [False, True, True, False]
        alone = metric.score(self.masked(pictures[3:4], pictures[4:5], [half]))[0]
        assert scores[3] == pytest.approx(alone, rel=1e-5)  # the bound that metrics.networks.images states

    def test_growing_the_mask_over_even_damage_moves_nothing_but_zero_filling(
        self, resnet_folder: Path, pictures: list[Image], noisy: Callable[[Image, float], Image]
    ) -> None:
        source, edit = pictures[0] // 2 + 60, noisy(pictures[0] // 2 + 60, 12)
        masks = [np.arange(64)[None] < np.full((64, 1), columns) for columns in (4, 16, 32, 48)]
        true = LPIPS(f"folder:{resnet_folder}", "background").score(self.masked([edit] * 4, [source] * 4, list(masks)))
        filled = [image * ~mask[..., None] for mask in masks for image in (edit, source)]
        zero_filled = LPIPS(f"folder:{resnet_folder}").score(self.masked(filled[::2], filled[1::2], [None] * 4))
        # The last background is two columns of the coarsest layer's eight, one of them at the border: a third is scatter and padding.
        assert true.max() / true.min() < 1.5
        assert zero_filled.max() / zero_filled.min() > 2.5

    def test_region_is_in_the_fingerprint(self, resnet_folder: Path) -> None:
        cards = [LPIPS(f"folder:{resnet_folder}", region).card for region in ("whole", "background", "edited")]
        cards.append(LPIPS(f"folder:{resnet_folder}", "edited", surroundings="edit").card)
        assert len({card.fingerprint for card in cards}) == 4
        assert [card.version for card in cards] == ["1", "2", "2", "1"], "the first and the last are what they were"
        with pytest.raises(MetricError, match="lpips surroundings: expected source or edit, got 'black'"):
            LPIPS(f"folder:{resnet_folder}", "edited", surroundings="black")
        with pytest.raises(MetricError, match="lpips region: expected whole, background or edited, got 'inside'"):
            LPIPS(f"folder:{resnet_folder}", "inside")

    def test_masks_of_another_shape_or_kind_are_refused(self, resnet_folder: Path, pictures: list[Image]) -> None:
        metric = LPIPS(f"folder:{resnet_folder}", "edited")
        for mask, got in ((np.zeros((32, 64), np.bool_), r"bool \(32, 64\)"), (np.zeros((64, 64), np.uint8), "uint8")):
            with pytest.raises(MetricError, match=rf"masks\[0\]: expected bool \(64, 64\) like the edit, got {got}"):
                metric.score(self.masked(pictures[:1], pictures[1:2], [mask]))


def test_a_source_is_computed_once_for_all_its_edits(
    resnet_folder: Path, pictures: list[Image], pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = LPIPS(f"folder:{resnet_folder}", batch_size=4)
    batches: list[int] = []
    encode = LPIPS._encode
    monkeypatch.setattr(LPIPS, "_encode", lambda self, images: batches.append(len(images)) or encode(self, images))
    edits = [picture // 2 for picture in pictures] + pictures[1:]
    sources = [pictures[0]] * len(edits)
    scores = metric.score(pairs(edits, sources))
    assert len(edits) == 13
    assert batches == [4] * 5  # one for the source, four for thirteen edits; two at a time would be eight
    alone = np.concatenate([metric.score(pairs([edit], [pictures[0]])) for edit in edits])
    np.testing.assert_allclose(scores, alone, rtol=0, atol=1e-5 * scores.max())  # the bound that metrics.networks.images states


@pytest.mark.parametrize("resolution", [None, "native", 96])
def test_the_mean_of_a_map_is_the_score(resnet_folder: Path, rng: np.random.Generator, pairs: Pairs, resolution: object) -> None:
    """To the rounding of sums of float32; a map is coarse where the network looks at many pixels, and no larger than what it looks at."""
    sources = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((48, 80, 3), (96, 160, 3), (96, 160, 3))]
    edits = [255 - sources[0], np.minimum(sources[1], 200), sources[2]]
    metric = LPIPS(f"folder:{resnet_folder}", resolution=resolution)  # type: ignore[arg-type]
    scores, maps = metric.score_maps(pairs(edits, sources))
    np.testing.assert_array_equal(scores, metric.score(pairs(edits, sources)))
    assert all(each.dtype == np.float32 and each.min() >= 0 for each in maps)
    np.testing.assert_allclose([each.mean() for each in maps], scores, rtol=1e-5)
    assert [max(each.shape) for each in maps] == [64 if resolution else min(64, metric._network.size)] * 3
    if resolution == "native":
        assert [each.shape for each in maps] == [(38, 64)] * 3


def test_a_map_is_large_where_the_edit_is(resnet_folder: Path, smooth: Image, pairs: Pairs) -> None:
    edit = smooth.copy()
    edit[:16, 48:] = 255 - edit[:16, 48:]
    (score,), (where,) = LPIPS(f"folder:{resnet_folder}").score_maps(pairs([edit], [smooth]))
    quarter = [where[:16, 48:].mean(), where[48:, :16].mean()]
    assert quarter[0] > 2 * score > 20 * quarter[1]


def test_a_map_of_a_region_is_refused(resnet_folder: Path, pictures: list[Image], pairs: Pairs) -> None:
    metric = LPIPS(f"folder:{resnet_folder}", region="background")
    assert not metric.spatial
    with pytest.raises(MetricError, match="of a region has no maps"):
        metric.score_maps(pairs(pictures))
