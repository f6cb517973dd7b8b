from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_specs import SpecMaker

from bench import api
from bench.errors import ScoreError
from bench.scoring.blended import blended_scores, open_networks
from bench.spec import Spec
from bench.workers.crew import Options

INLINE = Options(executor="inline")
"""In this process: how many cores the machine has, and how long processes take to start, is no matter of these tests."""


@pytest.mark.slow
def test_a_run_of_two_seeds_gives_the_three_numbers(tmp_path: Path) -> None:
    """The truth is put right and does not vary; a new picture of the right thing is right as often and varies."""
    spec = Spec.model_validate(
        {
            "name": "blended",
            "manifest": "toybox-mini",
            "limit": 4,
            "model": "toybox",
            "device": "cpu",
            "seeds": [0, 1],
            "editors": [{"name": "regenerate", "preset": "toybox", "params": {"steps": 10}}],
            "metrics": ["lpips"],
            "anchors": ["oracle", "copy"],
        }
    )
    run = api.run(spec, tmp_path / "run", options=INLINE)
    table = blended_scores(run, open_networks(run)).set_index("editor")
    assert table["cases"].tolist() == [4] * 3
    assert table.loc["oracle", "predictions"] in (4, 8), "a deterministic anchor may be made once"
    assert table.loc["regenerate", "predictions"] == 8
    assert (
        table.loc["oracle", "batch_precision"]
        == table.loc["oracle", "best_result_precision"]
        > table.loc["copy", "batch_precision"]
    )
    assert table.loc["regenerate", "batch_diversity"] > 0.01
    assert np.isnan(table.loc["oracle", "batch_diversity"]) or table.loc["oracle", "batch_diversity"] == 0


def test_networks_must_be_given_outside_toybox(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(), tmp_path / "run", options=INLINE)
    with pytest.raises(ScoreError, match=r"blended precision needs a classifier.*give --classifier"):
        open_networks(run)
