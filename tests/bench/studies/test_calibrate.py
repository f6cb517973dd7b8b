from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.studies.calibrate import PAGE, measure, page, read_page

pytestmark = pytest.mark.slow


def test_every_metric_still_gives_the_calibration_that_is_written_down(tmp_path: Path) -> None:
    """Relative 1e-3 and absolute 1e-4: the page rounds to five digits, and other processors' kernels differ in the fifth."""
    table, written = measure(tmp_path / "run"), read_page(PAGE.read_text(encoding="utf-8"))
    assert list(table.index) == list(written.index)
    assert list(table.columns) == list(written.columns)
    np.testing.assert_allclose(table.to_numpy(float), written.to_numpy(float), rtol=1e-3, atol=1e-4)
    again = read_page(page(table))
    np.testing.assert_allclose(again.to_numpy(float), table.to_numpy(float), rtol=1e-4)


def test_the_anchors_lie_where_they_must() -> None:
    """What the words mean: the source is nearest to itself, the truth succeeds, and everything else lies between."""
    table = read_page(PAGE.read_text(encoding="utf-8"))
    assert table.loc["lpips", "copy"] == table.loc["mse", "copy"] == table.loc["toybox_truth_distance", "oracle"] == 0
    assert table.loc["toybox_success", "copy"] == 0
    assert table.loc["toybox_success", "oracle"] == 1
    assert table.loc["clip", "oracle"] > table.loc["clip", "copy"]
    assert table.loc["lpips", "retrieve"] > table.loc["lpips", "oracle"] > table.loc["lpips", "vae_round_trip"]
    assert np.isnan(table.loc["clip_directional", "copy"]), "an edit equal to its source has no direction"
