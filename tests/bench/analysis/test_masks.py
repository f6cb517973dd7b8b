"""Masks that editors make, against those of the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_editors import Fade
from fake_specs import SpecMaker, editor
from numpy.typing import NDArray

from bench import api
from bench.analysis.masks import mask_quality, overlap
from bench.analysis.summary import records_by_unit
from bench.workers.crew import Options


class Masks(Fade):
    """Finds the left half, whatever it is asked."""

    name = "masks"

    def pictures(self, state: Any) -> dict[str, NDArray[Any]]:
        mask = np.zeros(state[0].shape[:2], dtype=np.bool_)
        mask[:, : mask.shape[1] // 2] = True
        return {"mask": mask}


class Given(Masks):
    """Has its mask from the manifest, and says so."""

    name = "given"

    def facts(self, state: Any) -> dict[str, str | float | bool]:
        return {"mask_from": "manifest"}


def test_overlap_by_hand() -> None:
    made = np.array([[True, True, True, False]])
    wanted = np.array([[False, True, True, True]])
    assert overlap(made, wanted) == {"intersection over union": 0.5, "precision": 2 / 3, "recall": 2 / 3}
    empty = np.zeros_like(made)
    found = overlap(empty, wanted)
    assert (found["intersection over union"], found["recall"]) == (0, 0)
    assert np.isnan(found["precision"])
    assert np.isnan(list(overlap(empty, empty).values())).all()


@pytest.mark.slow
def test_masks_of_a_run_are_compared_where_the_manifest_has_one(make_spec: SpecMaker, tmp_path: Path) -> None:
    """Of the three samples the third has no mask; Fade makes none, and the mask that Given has was given to it."""
    spec = make_spec(*({"name": f"{__file__}:{name}", "label": name} for name in ("Masks", "Given")), editor("Fade"))
    run = api.run(spec, tmp_path / "run", options=Options(executor="inline"))
    table = mask_quality(run, run.plan, records_by_unit(run, run.plan))
    assert set(table["editor"]) == {"Masks"}
    assert table["metric"].tolist() == ["intersection over union", "precision", "recall"]
    assert table["n"].tolist() == [2, 2, 2]
    own = []
    for sample in run.plan.samples[:2]:
        from PIL import Image

        wanted = np.asarray(Image.open(run.keep(sample)["mask"]).convert("L")) > 127
        left = np.zeros_like(wanted)
        left[:, : wanted.shape[1] // 2] = True
        own.append(overlap(left, wanted)["recall"])
    assert table.set_index("metric").loc["recall", "mean"] == pytest.approx(np.mean(own))
