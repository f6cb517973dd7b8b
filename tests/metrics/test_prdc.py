from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.base import FeatureSet, MetricError, MetricWarning
from metrics.prdc import Coverage, Density, NeighbourMetric, Precision, Recall, prdc


def plain(features: np.ndarray) -> FeatureSet:
    return FeatureSet(features, [None] * len(features))


def test_a_line_by_hand() -> None:
    reference = np.array([[0.0], [1.0], [2.0], [10.0]])  # radii to the nearest: 1, 1, 1, 8
    edits = np.array([[0.5], [2.5], [30.0], [31.0]])  # radii: 2, 2, 1, 1
    found = prdc(edits, reference, neighbours=1)
    assert found.precision == 2 / 4  # 0.5 lies in the balls of 0 and 1, 2.5 in those of 2 and 10
    assert found.density == 4 / 4
    assert found.coverage == 4 / 4  # each reference picture but none beyond: 10's ball holds 2.5
    assert found.recall == 3 / 4  # 0, 1 and 2 are within 2 of an edit, 10 is not


def test_the_border_of_a_ball_belongs_to_it_for_precision_and_recall_alone() -> None:
    reference, edits = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    found = prdc(edits, reference, neighbours=1)  # 2 is at distance 1, the radius, from 1, and 1 from 2
    assert (found.precision, found.recall) == (0.5, 0.5)
    assert (found.density, found.coverage) == (0, 0)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_a_set_against_itself_has_density_one(rng: np.random.Generator, k: int) -> None:
    rows = rng.standard_normal((40, 6))
    found = prdc(rows, rows, neighbours=k)
    assert (found.precision, found.recall, found.density, found.coverage) == (1, 1, 1, 1)


def test_agrees_with_torch_fidelity_on_the_same_features(rng: np.random.Generator) -> None:
    from torch_fidelity.metric_prc import prc_features_to_metric

    edits, reference = rng.standard_normal((120, 6)), 0.7 * rng.standard_normal((90, 6)) + 0.3
    theirs = prc_features_to_metric(torch.from_numpy(edits), torch.from_numpy(reference), verbose=False, save_cpu_ram=False)
    found = prdc(edits, reference, neighbours=3)
    # Counts over counts; torch-fidelity's means are float32.
    assert (found.precision, found.recall) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-7)
    assert 0.1 < found.precision < 0.99
    assert 0.1 < found.recall < 0.99


def test_density_and_coverage_agree_with_their_definitions(rng: np.random.Generator) -> None:
    edits, reference, k = rng.standard_normal((30, 4)), rng.standard_normal((40, 4)) + 0.5, 5
    radii = np.sort(np.linalg.norm(reference[:, None] - reference[None], axis=2), axis=1)[:, k]
    inside = np.linalg.norm(edits[:, None] - reference[None], axis=2) < radii  # as in the prdc package
    found = prdc(edits, reference, neighbours=k)
    assert found.density == pytest.approx(inside.sum() / (k * 30), rel=1e-15)
    assert found.coverage == inside.any(axis=0).mean()


def test_repeated_pictures_count_once(rng: np.random.Generator) -> None:
    """One source with five prompts: its copies would fill balls of radius 0, and an edit 2 % away would be no real picture."""
    sources = 100 + rng.standard_normal((12, 50))
    edits = sources + 0.02 * rng.standard_normal((12, 50))
    once = prdc(edits, sources, neighbours=3)
    assert (once.precision, once.coverage) == (1, 1)
    assert prdc(edits, np.repeat(sources, 5, axis=0), neighbours=3) == once
    assert prdc(np.tile(edits, (4, 1)), np.repeat(sources, 5, axis=0), neighbours=3) == once
    assert prdc(np.array([[0.0], [1.0], [-0.0]]), np.array([[0.0], [1.0]]), neighbours=1).density == 1


@pytest.mark.parametrize("kind", [Precision, Recall, Density, Coverage])
def test_metrics_say_how_many_pictures_were_merged(
    resnet_folder: Path, rng: np.random.Generator, kind: type[NeighbourMetric]
) -> None:
    metric = kind(f"folder:{resnet_folder}", neighbours=2)
    assert (metric.card.version, "counted once" in metric.card.scale) == ("2", True)
    edits, reference = rng.standard_normal((9, 12)), rng.standard_normal((8, 12))
    twice = plain(np.tile(edits, (2, 1)))
    value = metric.value(plain(edits), plain(reference))
    with pytest.warns(MetricWarning, match="9 of 18 edits and 16 of 24 references are equal to another one; they count once"):
        assert metric.value(twice, plain(np.repeat(reference, 3, axis=0))) == value
    few = np.zeros(18, dtype=np.bool_)
    few[[0, 9, 1, 10]] = True  # two pictures, each twice
    found = metric.values(twice, plain(np.repeat(reference, 3, axis=0)), np.stack([np.ones(18, dtype=np.bool_), few]))
    assert found[0] == value
    assert np.isnan(found[1])
    with pytest.warns(MetricWarning) as said:
        assert np.isnan(metric.value(twice.subset(few), plain(reference)))
    assert "2 edits against 8 references, fewer than 3: no value" in str(said[-1].message)


def test_blocks_of_rows_do_not_change_the_values(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    import metrics.prdc as module

    edits, reference = rng.standard_normal((23, 4)), rng.standard_normal((17, 4))
    whole = prdc(edits, reference)
    monkeypatch.setattr(module, "BLOCK", 5)
    assert prdc(edits, reference) == whole


@pytest.mark.parametrize("kind", [Precision, Recall, Density, Coverage])
def test_metrics_are_the_values_of_the_function(
    resnet_folder: Path, rng: np.random.Generator, kind: type[NeighbourMetric]
) -> None:
    edits, reference = plain(rng.standard_normal((20, 12))), plain(rng.standard_normal((25, 12)))
    metric = kind(f"folder:{resnet_folder}", neighbours=2)
    assert metric.value(edits, reference) == getattr(prdc(edits.features, reference.features, 2), metric.name)
    assert metric.card.higher_is_better
    assert "k = 2" in metric.card.scale
    assert kind(f"folder:{resnet_folder}").card.fingerprint != metric.card.fingerprint
    with pytest.warns(MetricWarning, match="2 edits against 25 references, fewer than 3: no value"):
        assert np.isnan(metric.value(edits.subset(np.arange(20) < 2), reference))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(MetricError, match="more than 3 different rows in each set, got 3"):
        prdc(np.eye(3), np.arange(27.0).reshape(9, 3))
