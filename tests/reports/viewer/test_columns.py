"""What the viewer is told of a run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from reports import Heat, ReportData
from reports.style import looks
from reports.viewer.columns import as_json, columns
from reports.viewer.grid import Grid
from reports.viewer.heat import heat_scale
from reports.viewer.pictures import State

from .conftest import SAMPLES, SEEDS, VALUES, score

LOOK = looks(["alpha", "beta<&>"], ["copy", "oracle"])


@pytest.fixture(scope="module")
def grid(looked_at: ReportData) -> Grid:
    return Grid.of(looked_at, LOOK)


def told(data: ReportData, grid: Grid) -> dict:
    states = {name: State.WHOLE for name, _ in grid.pictures(data)}
    return json.loads(as_json(columns(data, grid, LOOK, states)))


def test_the_grid_has_every_editor_that_has_rows_in_the_order_of_looks(grid: Grid) -> None:
    assert grid.editors == ("alpha", "beta<&>", "copy")
    assert grid.values == (VALUES, VALUES, (0.0,))
    assert (grid.first, grid.cells, grid.seeds) == ((0, 3, 6, 7), 7, SEEDS)


def test_every_picture_has_a_name_of_its_own_made_of_numbers(looked_at: ReportData, grid: Grid) -> None:
    names = [name for name, _ in grid.pictures(looked_at)]
    assert len(names) == len(set(names))
    assert {character for name in names for character in name} <= set("0123456789-/sourcetruthmaskp")
    assert ("00001/1-4", VALUES[1]) == ("00001/1-4", grid.values[1][4 - grid.first[1]])


def test_maps_stand_at_their_edits(looked_at: ReportData, grid: Grid) -> None:
    maps = told(looked_at, grid)["maps"]
    assert len(maps) == SAMPLES * 2 * 7
    assert {maps[at : at + 7] for at in range(0, len(maps), 7)} == {"ww....."}
    assert told(replace(looked_at, heat=Heat(why="none")), grid)["maps"] == ""


def test_the_scale_says_what_greys_stand_for() -> None:
    scale = heat_scale(Heat("LPIPS", 0.25))
    assert scale is not None
    assert scale.ticks[0] == (0.0, "0")
    assert dict(scale.ticks)[80.0] == "1", "0.8 = 1 / (1 + 0.25)"
    assert scale.ticks[-1] == (100.0, "∞")
    assert {len(channel.split()) for channel in (scale.red, scale.green, scale.blue)} == {17}
    assert heat_scale(Heat(why="none")) is None


def test_scores_stand_at_their_edits(looked_at: ReportData, grid: Grid) -> None:
    (clip,) = told(looked_at, grid)["metrics"]
    assert (clip["title"], len(clip["scores"])) == ("CLIP", SAMPLES * 2 * 7)
    for sample, seed, editor, value in ((0, 0, 0, 1), (11, 1, 1, 2), (39, 1, 0, 0)):
        edit = (sample * 2 + seed) * 7 + grid.first[editor] + value
        # Five significant digits.
        assert clip["scores"][edit] == pytest.approx(score(sample, editor, VALUES[value], SEEDS[seed]), rel=1e-4)


def test_missing_and_undefined_are_two_things_and_no_numbers(looked_at: ReportData, grid: Grid) -> None:
    content = told(looked_at, grid)
    (clip,) = content["metrics"]
    failed, undefined = (2 * 2 * 7) + 3, (4 * 2 * 7)
    assert clip["scores"][failed] is None
    assert clip["scores"][undefined] is None
    assert failed not in clip["undefined"]
    assert undefined in clip["undefined"]
    assert content["edits"][failed] == State.NONE
    assert content["failures"] == {"reasons": ["failed: NotFinite at <step 3>"], "units": {str(2 * 2 * 3 + 1): 0}}


def test_infinity_is_valid_json(looked_at: ReportData, grid: Grid) -> None:
    pairs = looked_at.pairs.assign(score=np.where(looked_at.pairs["value"] == 0.5, -np.inf, 2e-7))
    (clip,) = told(replace(looked_at, pairs=pairs), grid)["metrics"]
    assert clip["scores"][:3] == [2e-7, -1e308, 2e-7]


def test_no_tag_can_begin_in_the_data() -> None:
    assert json.loads(as_json({"x": "</script><!--"})) == {"x": "</script><!--"}
    assert "<" not in as_json({"x": "</script><!--"})


def test_a_run_without_scores_or_with_strangers_in_its_tables_is_told_too(looked_at: ReportData, grid: Grid) -> None:
    assert told(replace(looked_at, pairs=looked_at.pairs[:0]), grid)["metrics"] == []
    strangers = looked_at.pairs.assign(sample_id="nobody's")
    (clip,) = told(replace(looked_at, pairs=strangers), grid)["metrics"]
    assert set(clip["scores"]) == {None}


def test_the_viewer_begins_at_operating_points(looked_at: ReportData, grid: Grid) -> None:
    board = looked_at.leaderboard.assign(value=[1.0, np.nan, np.nan, np.nan])
    editors = told(replace(looked_at, leaderboard=board), grid)["editors"]
    assert [each["at"] for each in editors] == [2, 1, 0]
