"""The shipped manifests are what the script writes, and every edit in them can be made."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from transformers import ResNetForImageClassification

import data_manifests
from bench.toybox.embedded import TOYBOX
from bench.toybox.evaluate import classify
from bench.toybox.manifests import CATEGORIES, SEEDS, SIZES, edits, main
from bench.toybox.stages.data import to_unit
from bench.toybox.stages.features import HEADS, labels_of
from bench.toybox.world import render


@pytest.mark.slow
def test_regenerated_bit_for_bit(tmp_path: Path) -> None:
    main(["--out", str(tmp_path)])
    for name in SIZES:
        shipped, fresh = data_manifests.path(name), tmp_path / name
        files = sorted(p.relative_to(shipped) for p in shipped.rglob("*") if p.is_file())
        assert files == sorted(p.relative_to(fresh) for p in fresh.rglob("*") if p.is_file())
        for file in files:
            if file.suffix == ".png":  # pixels, since another build of Pillow may compress otherwise
                with Image.open(shipped / file) as a, Image.open(fresh / file) as b:
                    assert a.mode == b.mode
                    assert a.tobytes() == b.tobytes(), file
            else:
                assert (shipped / file).read_bytes() == (fresh / file).read_bytes(), file


def test_small_on_disk() -> None:
    assert sum(p.stat().st_size for name in SIZES for p in data_manifests.path(name).rglob("*")) < 3_000_000


@pytest.mark.parametrize("name", SIZES)
def test_categories_are_balanced(name: str) -> None:
    rows = [json.loads(line) for line in (data_manifests.path(name) / "metadata.jsonl").read_text().splitlines()]
    count = Counter(row["category"] for row in rows)
    assert len(rows) == SIZES[name]
    assert set(count) == set(CATEGORIES)
    assert max(count.values()) - min(count.values()) <= 1


@pytest.mark.parametrize("name", SIZES)
def test_masks_cover_what_changes(name: str) -> None:
    for edit in edits(SIZES[name], SEEDS[name]):
        before, after = render(edit.source).image.astype(int), render(edit.target).image.astype(int)
        changed = np.abs(before - after).sum(2)
        # Soft rims and contact shadows reach past the mask; nine tenths of the change must be inside.
        assert changed[edit.mask].sum() > 0.8 * changed.sum(), edit
        assert 0.005 < edit.mask.mean() < 0.97


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.slow
def test_judge_and_features_agree_that_the_truth_is_the_target(name: str) -> None:
    chosen = edits(SIZES[name], SEEDS[name])
    sources = to_unit(np.stack([render(e.source).image for e in chosen]))
    truths = to_unit(np.stack([render(e.target).image for e in chosen]))
    network = ResNetForImageClassification.from_pretrained(TOYBOX / "features").float().eval()
    read = classify(network, truths)
    wanted = torch.tensor([labels_of(e.target) for e in chosen])
    for i, head in enumerate(HEADS):
        if head != "flip":  # circles and hearts have no side
            wrong = [chosen[int(k)].target.caption for k in (read[head] != wanted[:, i]).nonzero()]
            assert not wrong, head
    judge = open_clip.create_model(f"local-dir:{TOYBOX / 'judge'}", require_pretrained=True).eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{TOYBOX / 'judge'}")
    with torch.no_grad():
        text = judge.encode_text(tokenizer([e.target.caption for e in chosen]), normalize=True)
        gain = ((judge.encode_image(truths, normalize=True) - judge.encode_image(sources, normalize=True)) * text).sum(1)
    assert not [chosen[int(k)] for k in (gain <= 0).nonzero()]
