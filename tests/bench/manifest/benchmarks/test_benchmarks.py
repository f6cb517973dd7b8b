"""What holds for every published set: a whole card, a small adapter, and refusals in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import ManifestError
from bench.manifest import open_manifest
from bench.manifest.benchmarks import Benchmark, benchmarks
from bench.spec import MANIFEST_FIELDS, ManifestRef

ALL = [pytest.param(each, id=name) for name, each in benchmarks().items()]


@pytest.mark.parametrize("benchmark", ALL)
def test_the_card_is_whole(benchmark: Benchmark) -> None:
    card = benchmark.card
    assert card.splits
    assert {"image"} < card.fields.keys() <= set(MANIFEST_FIELDS)
    assert card.fields.keys() & {"target_text", "instruction"}
    assert not card.fields.keys() & card.lacks.keys()
    assert card.lacks.keys() <= set(MANIFEST_FIELDS)
    words = card.title, card.where, card.licence, card.made_by, card.cluster, card.source
    assert all(word.strip() for word in words)


@pytest.mark.parametrize("benchmark", ALL)
def test_an_empty_folder_is_refused(benchmark: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as refusal:
        open_manifest(ManifestRef(benchmark=benchmark.name, root=str(tmp_path)))
    assert str(tmp_path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no benchmark 'pie-bnch'; did you mean 'pie-bench'"):
        open_manifest(ManifestRef(benchmark="pie-bnch", root=str(tmp_path)))
    with pytest.raises(ManifestError, match="no split 'dev'; it has v1"):
        open_manifest(ManifestRef(benchmark="pie-bench", root=str(tmp_path), split="dev"))
    with pytest.raises(ManifestError, match="give root, the folder of your copy"):
        open_manifest(ManifestRef(benchmark="pie-bench"))
    with pytest.raises(ManifestError, match="no such folder"):
        open_manifest(ManifestRef(benchmark="pie-bench", root=str(tmp_path / "none")))
