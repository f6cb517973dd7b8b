from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from grey_level import Level, LevelGap, level_gap, pixels, take_part
from numpy.typing import NDArray
from torchmetrics import MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio
from torchmetrics.wrappers import BootStrapper, Running

from metrics.base import FeatureSet, Image, MetricError, PairBatch, PairMetric
from metrics.csfid import CSFID
from metrics.lpips import LPIPS
from metrics.pixels import L1, MSE, PSNR, SSIM
from metrics.torch_wrapper import PairTorchMetric, SetTorchMetric, as_torchmetric


def test_pair_metric_is_the_mean_over_defined_scores_of_all_updates() -> None:
    wrapped = as_torchmetric(Level())
    assert isinstance(wrapped, PairTorchMetric)
    wrapped.update(pixels(4, 0))
    wrapped.update([np.full((6, 5, 3), 8, dtype=np.uint8)])
    torch.testing.assert_close(wrapped.per_sample(), torch.tensor([4.0, float("nan"), 8.0], dtype=torch.float64), equal_nan=True)
    assert wrapped.compute() == 6
    assert wrapped.higher_is_better
    wrapped.reset()
    wrapped.update(pixels(0))
    assert torch.isnan(wrapped.compute())


def test_forward_gives_the_value_of_the_batch_and_keeps_all() -> None:
    wrapped = as_torchmetric(Level())
    assert wrapped(pixels(2)) == 2
    assert wrapped(pixels(4, 6)) == 5
    assert wrapped.compute() == 4


def test_real_pair_metric_sees_what_it_is_given(
    resnet_folder: Path, pictures: list[Image], pairs: Callable[..., PairBatch]
) -> None:
    metric = LPIPS(f"folder:{resnet_folder}")
    tensor = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    wrapped = as_torchmetric(metric)
    wrapped.update(tensor[:3], sources=tensor[1:4])
    expected = metric.score(pairs(pictures[:3], pictures[1:4]))
    np.testing.assert_array_equal(wrapped.per_sample().numpy(), expected)
    assert (expected > 0).all()
    assert not wrapped.higher_is_better


def test_every_member_of_a_batch_reaches_the_metric() -> None:
    class Sees(Level):
        def score(self, batch: PairBatch) -> NDArray[np.float64]:
            self.seen = batch
            return super().score(batch)

    metric = Sees()
    masks = torch.zeros(2, 6, 5, dtype=torch.bool)
    as_torchmetric(metric).update(
        pixels(1, 2), sources=pixels(3, 4), target_texts=["a", "b"], source_texts=["c", None], masks=masks,
        truths=pixels(5, 6), source_classes=["cat", None], target_classes=["dog", "owl"],
    )  # fmt: skip
    seen = metric.seen
    assert [image[0, 0, 0] for image in (*seen.edits, *seen.sources)] == [1, 2, 3, 4]
    assert [truth[0, 0, 0] for truth in seen.truths if truth is not None] == [5, 6]
    assert (seen.target_texts, seen.source_texts) == (["a", "b"], ["c", None])
    assert (seen.source_classes, seen.target_classes) == (["cat", None], ["dog", "owl"])
    assert seen.masks[1] is not None
    assert seen.masks[1].shape == (6, 5)


@pytest.mark.parametrize("metric", [PSNR(), SSIM(), L1(), MSE(), L1("background")], ids=lambda metric: metric.name)
def test_what_a_metric_reads_is_not_left_out(metric: PairMetric) -> None:
    edits, sources = torch.randint(0, 256, (2, 2, 3, 20, 20), dtype=torch.uint8)
    masks = torch.zeros(2, 20, 20, dtype=torch.bool)
    wrapped = as_torchmetric(metric)
    lacks = r"it reads sources, and update\(\) was given none; give sources= \(or target=\), one per edit"
    with pytest.raises(MetricError, match=lacks):
        wrapped.update(edits, masks=masks)
    if "masks" in metric.reads:
        with pytest.raises(MetricError, match=r"l1: it reads masks, .* give masks=, one per edit, with None where unknown"):
            wrapped.update(edits, sources)
    wrapped.update(edits, sources, masks=masks)
    assert torch.isfinite(wrapped.compute())


def test_a_metric_that_does_not_say_what_it_reads_is_stopped_when_it_does() -> None:
    class Gap(Level):
        def score(self, batch: PairBatch) -> NDArray[np.float64]:
            return super().score(batch) - [source.mean() for source in batch.sources]

    assert "sources" not in Gap.reads
    with pytest.raises(MetricError, match="level: it reads sources, and update"):
        as_torchmetric(Gap()).update(pixels(1))
    with pytest.raises(MetricError, match="expected edits or preds, which is torchmetrics' name of it, got both"):
        as_torchmetric(Gap()).update(pixels(1), preds=pixels(1))
    with pytest.raises(MetricError, match=r"level: expected edits \(or preds\), got none"):
        as_torchmetric(Gap()).update(sources=pixels(1))


def test_set_metrics_that_use_classes_want_them(resnet_folder: Path, pictures: list[Image]) -> None:
    wrapped = as_torchmetric(CSFID(f"folder:{resnet_folder}"), pictures[:2], ["cat", "dog"])
    with pytest.raises(MetricError, match="csfid: it reads target_classes, and update"):
        wrapped.update(pictures[2:])


@pytest.mark.parametrize("named", [True, False])
def test_a_collection_gives_all_metrics_the_same_pictures(named: bool) -> None:
    """Ours take torchmetrics' names; theirs are what ours say of the same pictures."""
    edits, sources = torch.randint(0, 256, (2, 2, 3, 20, 20), dtype=torch.uint8)
    theirs = PeakSignalNoiseRatio(data_range=255.0, reduction="elementwise_mean", dim=(1, 2, 3))
    collection = MetricCollection(
        {"ours": as_torchmetric(PSNR()), "theirs": theirs, "levels": level_gap(), "l1": as_torchmetric(L1())}
    )
    for _ in range(2):
        if named:
            collection.update(preds=edits, target=sources, target_classes=["cat", "dog"])
        else:
            collection.update(edits, sources, target_classes=["cat", "dog"])
    values = collection.compute()
    assert float(values["ours"]) == pytest.approx(float(values["theirs"]), rel=1e-6)  # theirs is float32
    assert float(values["l1"]) == pytest.approx(float((edits.double() - sources.double()).abs().mean()) / 255, rel=1e-12)


def test_a_collection_keeps_metrics_apart_that_agree_on_the_first_pictures() -> None:
    """torchmetrics takes metrics for one whose states are equal after the first update, as here, where nothing was edited."""
    collection = MetricCollection({"l1": as_torchmetric(L1()), "mse": as_torchmetric(MSE())})
    collection.update(pixels(51), pixels(51))
    collection.update(pixels(51), pixels(0))
    values = collection.compute()
    assert float(values["l1"]) == pytest.approx(0.1, rel=1e-12)
    assert float(values["mse"]) == pytest.approx(0.02, rel=1e-12)


def test_running_is_the_mean_of_the_last_updates() -> None:
    running = Running(as_torchmetric(Level()), window=2)
    for level, expected in ((4, 4), (8, 6), (20, 14), (2, 11)):
        assert running(pixels(level)) == level
        assert running.compute() == expected
    running.reset()
    running.update(pixels(50))
    assert running.compute() == 50


def test_a_bootstrapper_draws_rows_of_tensors_and_is_refused_with_lists() -> None:
    edits, sources = pixels(*range(10, 30)), pixels(*[5] * 20)
    boot = BootStrapper(as_torchmetric(L1()), num_bootstraps=6, raw=True, sampling_strategy="multinomial")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        boot.update(edits, sources=sources)
        drawn = boot.compute()["raw"] * 255
        assert len(set(drawn.tolist())) > 1
        assert all(5 < value < 24 for value in drawn.tolist())
        with pytest.raises(MetricError, match="l1: a BootStrapper draws rows of tensors alone, got target_texts as a list"):
            boot.update(edits, sources=sources, target_texts=["a cat"] * 20)
        with pytest.raises(MetricError, match="got edits as a list"):
            boot.update(sources=sources, edits=list(edits.permute(0, 2, 3, 1).numpy()))
        classes = BootStrapper(level_gap(), num_bootstraps=2)
        with pytest.raises(MetricError, match="level_gap: a BootStrapper draws rows of tensors alone, got target_classes"):
            classes.update(pixels(1, 2), target_classes=["cat", "dog"])


def test_set_metric_keeps_features_and_classes_between_updates() -> None:
    wrapped = level_gap()
    wrapped.update(pixels(11, 23), target_classes=["cat", "dog"])
    wrapped.update(pixels(15), target_classes=["cat"])
    assert wrapped.compute() == (1 + 3 + 5) / 3
    assert [part.shape for part in wrapped.features] == [(2, 2), (1, 2)]
    wrapped.reset()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert torch.isnan(wrapped.compute())


def test_real_set_metric_agrees_with_itself(resnet_folder: Path, pictures: list[Image]) -> None:
    metric, names = CSFID(f"folder:{resnet_folder}"), ["cat", "dog", "cat", "dog"]
    reference = FeatureSet(metric.features(pictures[:4]), names)
    wrapped = as_torchmetric(metric, reference)
    wrapped.update(pictures[4:], target_classes=["dog", "cat", "dog"])
    assert wrapped.compute() == metric.value(FeatureSet(metric.features(pictures[4:]), ["dog", "cat", "dog"]), reference)


@pytest.mark.parametrize("make", [lambda: as_torchmetric(Level()), level_gap])
def test_copies_pickles_and_state_dicts_carry_the_state(make: Callable[[], PairTorchMetric | SetTorchMetric]) -> None:
    wrapped = make()
    options = {"target_classes": ["dog", "cat"]}
    wrapped.update(pixels(25, 16), **options)
    value = wrapped.compute()
    for copy in (wrapped.clone(), pickle.loads(pickle.dumps(wrapped))):
        assert copy.compute() == value
        copy.update(pixels(90, 90), **options)
        assert copy.compute() != value
        assert wrapped.compute() == value, "a copy has a state of its own"
    assert not wrapped.state_dict()
    wrapped.persistent(True)
    again = make()
    again.persistent(True)
    again.load_state_dict(wrapped.state_dict())
    again.update(pixels(25, 16), **options)
    assert again.compute() == value
    assert len(again.state_dict()) == (1 if isinstance(again, PairTorchMetric) else 2)


def test_bad_input_is_refused_with_advice() -> None:
    with pytest.raises(MetricError, match="compares with a reference, got none"):
        as_torchmetric(LevelGap())
    with pytest.raises(MetricError, match="scores each edit by itself, got a reference"):
        as_torchmetric(Level(), pixels(1))
    with pytest.raises(MetricError, match="a FeatureSet has its own classes"):
        as_torchmetric(LevelGap(), FeatureSet(np.zeros((1, 2)), [None]), ["cat"])
    with pytest.raises(MetricError, match=r"expected a uint8 tensor \(n, 3, H, W\) in 0..255, got torch.float32 \(1, 3, 6, 5\)"):
        as_torchmetric(Level()).update(pixels(1).float())
    with pytest.raises(MetricError, match=r"masks: expected a bool tensor \(n, H, W\), got torch.float32"):
        as_torchmetric(Level()).update(pixels(1), masks=torch.zeros(1, 6, 5))
    with pytest.raises(MetricError, match=r"target_classes\[1\]: the reference has no class 'owl'"):
        level_gap().update(pixels(1, 2), target_classes=["cat", "owl"])
    with pytest.raises(MetricError, match="target_classes: expected 2, one per edit, got 1"):
        level_gap().update(pixels(1, 2), target_classes=["cat"])


@pytest.mark.slow
def test_two_processes_agree_on_what_one_would_say(tmp_path: Path) -> None:
    other = torch.multiprocessing.get_context("spawn").Process(target=take_part, args=(1, str(tmp_path)))
    other.start()
    take_part(0, str(tmp_path))
    other.join()
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    expected_pair, expected_set = (4 + 8 + 100) / 3, (4 - 10 + 0 - 20 + 8 - 10 + 100 - 20) / 4
    assert [row[:2] for row in found] == [[expected_pair, expected_set]] * 2
    assert [row[2] for row in found] == [7, 7], "a process without data takes part"
    assert [row[3:] for row in found] == [[4, 3], [4, 1]], "and has its own state again after a sync"
