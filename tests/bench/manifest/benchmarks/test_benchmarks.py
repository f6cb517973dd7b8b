"""What holds for every published set: a whole card, a small adapter, and refusals in one line."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from benchmark_copies import write_json

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


@pytest.mark.parametrize("benchmark", ALL)
def test_a_folder_of_another_set_is_refused(benchmark: Benchmark, tmp_path: Path) -> None:
    write_json(tmp_path / "mapping_file.json", {"1": {"prompt": "a cat"}})
    with pytest.raises(ManifestError) as refusal:
        open_manifest(ManifestRef(benchmark=benchmark.name, root=str(tmp_path)), partial=True)
    assert str(tmp_path) in str(refusal.value)
    assert "mapping_file.json" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("benchmark", ALL)
def test_an_adapter_is_small(benchmark: Benchmark) -> None:
    file = Path(inspect.getfile(type(benchmark)))
    assert len(file.read_text(encoding="utf-8").splitlines()) < 80


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no benchmark 'pie-bnch'; did you mean 'pie-bench'"):
        open_manifest(ManifestRef(benchmark="pie-bnch", root=str(tmp_path)))
    with pytest.raises(ManifestError, match="no split 'dev'; it has v1"):
        open_manifest(ManifestRef(benchmark="pie-bench", root=str(tmp_path), split="dev"))
    with pytest.raises(ManifestError, match="give root, the folder of your copy"):
        open_manifest(ManifestRef(benchmark="pie-bench"))
    with pytest.raises(ManifestError, match="no such folder"):
        open_manifest(ManifestRef(benchmark="pie-bench", root=str(tmp_path / "none")))
    (tmp_path / "PIE-Bench_v1.zip").write_bytes(b"PK")
    with pytest.raises(ManifestError, match="a file; root is the folder of the unpacked copy of pie-bench"):
        open_manifest(ManifestRef(benchmark="pie-bench", root=str(tmp_path / "PIE-Bench_v1.zip")))
