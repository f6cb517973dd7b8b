"""Every metric with a region: what happened outside it has no part in the value."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from metrics.base import Image, PairBatch, PairMetric

REGIONAL = [point for point in entry_points(group="etabench.metrics") if "region" in inspect.signature(point.load()).parameters]


def scored(metric: PairMetric, edit: Image, source: Image, mask: NDArray[np.bool_]) -> float:
    return float(metric.score(PairBatch([edit], [source], ["a red cat"], [None], [mask], [None]))[0])


@pytest.mark.parametrize("point", REGIONAL, ids=lambda point: point.name)
@pytest.mark.parametrize("region", ["background", "edited"])
def test_a_change_outside_the_region_changes_nothing(
    point: EntryPoint, region: str, resnet_folder: Path, judge_folder: Path, pictures: list[Image]
) -> None:
    networks = {"net": f"folder:{resnet_folder}", "model": f"local-dir:{judge_folder}"}
    kind = point.load()
    taken = {name: value for name, value in networks.items() if name in inspect.signature(kind).parameters}
    parameters: dict[str, Any] = taken | {"region": region}
    metric = kind(**parameters)
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[10:40, 20:50] = True
    counts = mask if region == "edited" else ~mask
    frame = np.zeros((64, 64), dtype=np.bool_)
    frame[1:-1, 1:-1] = True  # PIE-Bench counts the outermost pixels as edited, whatever the mask says
    source = pictures[0]
    outside, within = (np.where((side & frame)[..., None], pictures[1], source) for side in (~counts, counts))
    unchanged = scored(metric, source, source, mask)
    np.testing.assert_equal(scored(metric, outside, source, mask), unchanged)
    assert scored(metric, within, source, mask) != unchanged


def test_the_metrics_with_a_region_are_found() -> None:
    assert {"lpips", "psnr", "ssim", "mse", "l1", "pie_bench_lpips", "pie_bench_clip"} <= {point.name for point in REGIONAL}
