"""A few damaged files of each kind; `python tests/helpers/fuzz.py --cases 10000` is the whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fuzz import Fuzz

KINDS = (
    *("spec", "manifest.jsonl", "picture.png", "mask.png", "manifest.parquet", "sidecar.jsonl"),
    *("plan", "record", "edit.png", "scores/pairs.parquet", "scores/sets.parquet", "scores/set_pairs.parquet", "scores/cards.json"),
    *("run/manifest.json", "run/environment.json", "run/spec.yaml", "baseline", "bundle", "votes.parquet", "votes.csv", "study"),
)


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzz]:
    yield Fuzz(tmp_path_factory.mktemp("fuzz"))


def test_every_kind_is_tried(fuzz: Fuzz) -> None:
    assert tuple(fuzz.targets) == KINDS


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused_in_a_line_or_read_as_something_sound(fuzz: Fuzz, kind: str) -> None:
    before = fuzz.refused[kind]
    fuzz.attack(kind, cases=12, seed=1)
    assert fuzz.refused[kind] > before, "nothing of it was noticed"
