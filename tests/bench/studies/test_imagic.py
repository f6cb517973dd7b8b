"""What decides Imagic: how a setting is tried, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bench.studies import imagic
from bench.studies.imagic import ETAS, JUDGED, PAGE, SETTINGS, Judged, Tried, judged, page, tuned
from bench.studies.laboratory import Laboratory, Measured
from bench.toybox.manifests import SceneEdit, edits
from editors.imagic import Imagic

SCENES = edits(4, 5)


class Made(Laboratory):
    """Curves from 1 down by a tenth with each value; half of the scenes succeed from the second value on, with guidance 5 all of them."""

    def edit(self, name: str, scenes: Sequence[SceneEdit], values: Sequence[float], **params: Any) -> Measured:
        n, k = len(scenes), len(values)
        late = np.arange(k) > 0
        success = np.stack([late & (number % 2 == 0 or params.get("guidance") == 5) for number in range(n)])
        curve = np.linspace(1.0, 1.1 - 0.1 * k, k)
        return Measured(np.tile(100 - 10 * curve, (n, 1)), np.tile(curve, (n, 1)), success)

    def ends(self, scenes: Sequence[SceneEdit]) -> Measured:
        n = len(scenes)
        return Measured(np.full((n, 2), 90.0), np.tile([1.0, 0.7], (n, 1)), np.tile([False, True], (n, 1)))


def test_a_setting_is_tried_where_the_truths_lie() -> None:
    found = tuned(Made(), SCENES, "guidance 5")
    assert (found.success, found.within) == pytest.approx((1.0, 1.0)), "with eta up to 1 the curve ends at 0.8"
    assert found.clip == pytest.approx(93.0)
    assert found.fidelity == pytest.approx((1.0, 0.5))
    preset = Imagic.resolve("toybox").model_dump()
    assert found.cost == preset["embedding_steps"] + preset["unet_steps"]
    assert tuned(Made(), SCENES, "the preset").success == pytest.approx(0.5)


def test_both_presets_are_judged_on_the_same_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagic, "FORMER", {"guidance": 5.0})
    rows = {what: (one, other, *interval) for what, one, other, interval in judged(Made(), SCENES).rows}
    one, other, difference, low, high = rows["success"]
    assert (one, other, difference) == pytest.approx((0.5, 1.0, -0.5))
    assert low < -0.5 < high
    assert rows["1-LPIPS to the source at eta 0"][2] == 0


def test_settings_differ_from_the_preset_in_what_they_name() -> None:
    preset = Imagic.resolve("toybox").model_dump()
    for name, params in SETTINGS.items():
        assert (Imagic.resolve("toybox", params).model_dump() == preset) == (name == "the preset"), name


def test_the_page_is_what_the_module_writes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    head, _ = page([], Judged(JUDGED, 0.5)).split("\n| setting", 1)
    assert text.startswith(head), "the page is stale: python -m bench.studies.imagic"
    assert text.endswith(f"\n\n{imagic.READING}")
    tried = {row.split("|")[1].strip(): row for row in text.splitlines() if row.startswith("| ")}
    for name in SETTINGS:
        assert name in tried


def test_a_row_has_a_cell_for_each_column() -> None:
    rows = page([Tried("x", 0.5, 0.25, 90.0, (0.95, 0.75), 230)], Judged(4, 0.5)).splitlines()
    (row,) = (line for line in rows if line.startswith("| x "))
    assert row == "| x | 0.50 | 0.25 | 90.0 | 0.950 | 0.750 | 230 |"
    assert row.count("|") == next(line for line in rows if line.startswith("| setting")).count("|")
    assert len(ETAS) == len(set(ETAS))
