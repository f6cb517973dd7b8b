"""What studies read off the scores of scenes."""

from __future__ import annotations

import numpy as np
import pytest

from bench.studies.laboratory import Laboratory, Measured, scenes

ONE = np.ones((1, 4))
CURVE = Measured(
    clip=np.tile([60.0, 80.0, 90.0], (4, 1)),
    fidelity=np.tile([1.0, 0.9, 0.7], (4, 1)),
    success=np.array([[0, 0, 1], [0, 1, 1], [0, 0, 0], [0, 1, 1]], dtype=bool),
)


def test_success_is_read_off_the_mean_curve_at_a_fidelity() -> None:
    for fidelity, expected in ((0.9, 0.5), (0.8, 0.625), (0.95, 0.25)):
        assert CURVE.success_at(np.array([fidelity]), ONE) == pytest.approx(expected)


def test_a_curve_that_does_not_come_so_far_counts_with_its_nearer_end() -> None:
    assert CURVE.success_at(np.array([0.5]), ONE) == pytest.approx(0.75)
    assert CURVE.up_to(2).success_at(np.array([0.5]), ONE) == pytest.approx(0.5)


def test_scenes_count_by_their_weights() -> None:
    weights = np.array([[1.0, 0, 0, 0], [0, 0, 3.0, 0], [1.0, 1.0, 0, 0]])
    assert CURVE.success_at(np.array([0.7, 0.7, 0.9]), weights).tolist() == pytest.approx([1.0, 0.0, 0.5])


def test_padlocks_are_left_out_and_the_truth_is_a_success() -> None:
    """Of 60 changes of state those that are left out are of padlocks and folders; the reader of the truths is right."""
    lab, drawn = Laboratory(), scenes(60, "state")
    kept = lab.told(drawn)
    out = {scene.source.object.split()[-1] for scene in drawn if scene not in kept}
    assert out
    assert out <= {"padlock", "folder", "person"}
    assert not any(scene.source.object.endswith("padlock") for scene in kept)
    ends = lab.ends(kept[:8])
    assert ends.success[:, 1].all()
    assert not ends.success[:, 0].any()
    assert (ends.fidelity[:, 0] == 1).all()
