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


def test_the_border_of_a_ball_belongs_to_it() -> None:
    reference, edits = np.array([[0.0], [1.0]]), np.array([[2.0], [9.0]])
    assert prdc(edits, reference, neighbours=1).precision == 0.5  # 2 is at distance 1, the radius, from 1


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
    inside = np.linalg.norm(edits[:, None] - reference[None], axis=2) <= radii
    found = prdc(edits, reference, neighbours=k)
    assert found.density == pytest.approx(inside.sum() / (k * 30), rel=1e-15)
    assert found.coverage == inside.any(axis=0).mean()


def test_duplicates_are_at_distance_zero(rng: np.random.Generator) -> None:
    # Distances from products would give copies of a picture distances of 1e-7, outside balls of radius 0.
    reference = np.repeat(100 + rng.standard_normal((3, 50)), 4, axis=0)
    found = prdc(reference[::4].repeat(4, axis=0), reference, neighbours=3)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)


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
    with pytest.raises(MetricError, match="more than 3 rows in each set, got 3"):
        prdc(np.zeros((3, 2)), np.zeros((9, 2)))
