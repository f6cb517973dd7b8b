"""The papers' findings that hold on ToyBox, measured again on fewer scenes than docs/findings.md has."""

from __future__ import annotations

import numpy as np
import pytest

from bench.studies import findings
from bench.studies.findings import PAGE, PaperClaim
from bench.studies.laboratory import Laboratory, Measured, scenes


@pytest.fixture(scope="module")
def lab() -> Laboratory:
    return Laboratory()


def about(found: list[PaperClaim], says: str) -> PaperClaim:
    return next(claim for claim in found if claim.says == says)


@pytest.mark.slow
def test_diffedit_lies_above_encode_decode_above_sdedit(lab: Laboratory) -> None:
    """20 scenes: the intervals are 1.4 times as wide as on the page, and still clear of zero."""
    found = findings.tradeoffs(lab, 20, leave_out=("DiffEdit without encoding", "threshold 0.25"))
    for claim in ("DiffEdit lies above Encode-Decode", "Encode-Decode lies above SDEdit", "threshold 0.75 edits less than 0.5"):
        assert about(found, claim).verdict == "holds", about(found, claim)
    assert about(found, "threshold 0.75 edits less than 0.5").p < 0.01


@pytest.mark.slow
def test_the_automatic_mask_finds_what_changes_and_a_text_sharpens_it(lab: Laboratory) -> None:
    mask, sharper, *_ = findings.masks(lab, 48)
    assert mask.verdict == "holds"
    assert mask.p < 0.01, "better than a random mask of the same area"
    assert sharper.difference > 0


@pytest.mark.slow
def test_fine_tuning_brings_the_source_back(lab: Laboratory) -> None:
    """Figure 7 of the paper at eta 0; by 0.1 of 1-LPIPS at least, where the page has 0.17."""
    drawn = scenes(2, "state")
    tuned, frozen = (lab.edit("imagic", drawn, (0.0,), unet_steps=steps, steps=15).fidelity for steps in (120, 0))
    assert (tuned - frozen).min() > 0.05
    assert (tuned - frozen).mean() > 0.1


def test_success_is_compared_where_the_true_edits_lie() -> None:
    """One curve comes down to the truths' 0.8 halfway between its points; the other never does, and counts with its end."""
    clip, success = np.zeros((6, 2)), np.array([[0, 1], [0, 1], [0, 1], [0, 1], [0, 0], [0, 0]], dtype=bool)
    far, near = (Measured(clip, np.tile([0.9, end], (6, 1)), success) for end in (0.7, 0.85))
    truths = np.full(6, 0.8)
    claim = findings._success(far, near, truths, "")
    assert claim.difference == pytest.approx(1 / 3 - 2 / 3)
    assert claim.low < claim.difference < claim.high
    assert claim.measure.endswith("(0.80); 0.33 and 0.67")
    assert findings._success(far, far, truths, "").difference == 0


def test_the_page_is_what_the_module_writes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    head, _ = findings.page([]).split("\n| paper", 1)
    assert text.startswith(head), "the page is stale: python -m bench.studies.findings"
    assert text.endswith(f"\n\n{findings.READING}")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| paper")]
    assert rows
    assert {row.split("|")[-2].strip() for row in rows} <= {"holds", "contradicted", "not shown"}
    for row in rows:
        interval = row.split("|")[5].strip()
        low, _, high = ("nan to nan" if interval == "none" else interval).partition(" to ")
        verdict = "holds" if float(low) > 0 else "contradicted" if float(high) < 0 else "not shown"
        assert row.split("|")[-2].strip() == verdict or np.isclose(float(low) * float(high), 0, atol=0.01)
