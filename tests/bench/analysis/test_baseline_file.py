"""A baseline as it is written and read back: nothing but a whole one is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_baselines import made_baseline

from bench.analysis.baseline_file import read_baseline, save_baseline
from bench.errors import BaselineError

CELL = ("a", 0.25, "clip")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    known = made_baseline(np.random.default_rng(0))
    known.pairs[CELL][2, :3] = np.nan, np.inf, -np.inf
    save_baseline(tmp_path / "b.json", known)
    return tmp_path / "b.json"


def refused(path: Path, content: dict[str, Any], words: str) -> None:
    """The file is refused in one line with these words."""
    path.write_text(json.dumps(content))
    with pytest.raises(BaselineError, match=words) as caught:
        read_baseline(path)
    assert "\n" not in str(caught.value)


def test_it_is_read_as_it_was_written_and_the_same_bytes_twice(path: Path) -> None:
    known, found = made_baseline(np.random.default_rng(0)), read_baseline(path)
    assert (found.draws, found.repeats, found.samples) == (known.draws, known.repeats, known.samples)
    assert found.pairs.keys() == known.pairs.keys()
    assert found.pairs[CELL][2, :3].tolist() == pytest.approx([np.nan, np.inf, -np.inf], nan_ok=True)
    np.testing.assert_allclose(found.pairs["b", 0.75, "lpips"], known.pairs["b", 0.75, "lpips"], rtol=1e-6)  # seven digits
    np.testing.assert_allclose(found.sets["b", 0.75, "fid"], known.sets["b", 0.75, "fid"], rtol=1e-6)
    save_baseline(path.with_name("again.json"), found)
    assert path.with_name("again.json").read_bytes() == path.read_bytes()
    assert "[null, " not in path.read_text().split('"sets"')[1]


def test_a_row_is_a_line(path: Path) -> None:
    (row,) = [line for line in path.read_text().splitlines() if line.startswith('  ["a", 0.25, "clip", "s1"')]
    assert len(json.loads(row.rstrip(","))[4]) == 5


def test_one_without_set_metrics_or_without_others_is_read(tmp_path: Path) -> None:
    from dataclasses import replace

    known = made_baseline(np.random.default_rng(0))
    kinds = ({"clip": True, "lpips": False}, {"fid": False})
    for pairs, sets, directions in ((known.pairs, {}, kinds[0]), ({}, known.sets, kinds[1])):
        prints = dict.fromkeys(directions, "x")
        save_baseline(
            tmp_path / "b.json", replace(known, pairs=pairs, sets=sets, fingerprints=prints, higher_is_better=directions)
        )
        found = read_baseline(tmp_path / "b.json")
        assert (found.pairs.keys(), found.sets.keys()) == (pairs.keys(), sets.keys())


def test_an_absent_baseline_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"no baseline at .*none.json; `etabench baseline SPEC --out .*none.json` makes one"):
        read_baseline(tmp_path / "none.json")


def test_the_first_schema_says_how_to_go_on(path: Path) -> None:
    old = {"schema": 1, "manifest_hash": "m", "tolerances": {}, "scores": []}
    refused(path, old, r"schema: is 1, whose tolerances nobody had measured; `etabench baseline SPEC --out FILE` makes it anew")
    refused(path, {"schema": 3}, r"schema: is 3, this version reads 2")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '""', '{"schema": 2}', "[" * 100_000, '{"schema": NaN}', "\xff\xfe"])
def test_what_is_no_baseline_is_one_line(path: Path, text: str) -> None:
    path.write_text(text, encoding="latin-1")
    with pytest.raises(BaselineError, match=r"not a baseline: ") as caught:
        read_baseline(path)
    assert "\n" not in str(caught.value)


def test_every_key_has_its_shape(path: Path) -> None:
    whole = json.loads(path.read_text())
    for key, value, words in (
        ("manifest_hash", None, r"manifest_hash: expected a string, got nothing"),
        ("model", [], r"model: expected a string"),
        ("fingerprints", {"clip": 1}, r"fingerprints\.clip: expected a string"),
        ("higher_is_better", whole["higher_is_better"] | {"clip": "no"}, r"higher_is_better\.clip: expected true or false"),
        ("draws", [], r"draws: empty; give at least one"),
        ("draws", [[0], [], [2], [3], [4]], r"draws\[1\]: empty"),
        ("draws", [[0], [0], [2], [3], [4]], r"draws: the same seeds are there twice"),
        ("draws", [[0], [1]], r"has 5 scores of 2 draws"),
        ("repeats", [], r"has 2 scores of 0 repeats"),
        ("scores", {}, r"scores: expected a list"),
        ("score", 0, r"score: unknown key; did you mean 'scores'\?"),
    ):
        refused(path, whole | {key: value}, words)
    refused(path, whole | {"scores": [], "sets": []}, "scores and sets are empty: there is nothing to compare with")


def test_every_row_has_its_cells_once(path: Path) -> None:
    whole = json.loads(path.read_text())
    good, rest = whole["scores"][3], whole["scores"]
    numbers = good[4][1:]
    for place, cell, words in (
        (0, 1, r"scores\[3\]\[0\]: "),
        (1, "0.5", r"scores\[3\]\[1\]: "),
        (1, True, r"scores\[3\]\[1\]: "),
        (3, None, r"scores\[3\]\[3\]: "),
        (4, ["nan", *numbers], r'scores\[3\]\[4\]\[0\]: expected a number, "inf", "-inf" or null'),
        (4, [True, *numbers], r"scores\[3\]\[4\]\[0\]: expected a number"),
        (4, [10**400, *numbers], r"scores\[3\]\[4\]\[0\]: expected a number"),
        (4, numbers, r"has 4 scores of 5 draws"),
        (3, "s0", r"\['a', 0.25, 'clip', 's0'\] is there 2 times"),
        (3, "other", r"has 16 of 17 samples|has 15 of 17 samples"),
    ):
        row = [*good[:place], cell, *good[place + 1 :]]
        refused(path, whole | {"scores": [*rest[:3], row, *rest[4:]]}, words)
    for row_ in ([], {}, None, "row", good[:5], [*good, 1]):
        refused(path, whole | {"scores": [*rest[:3], row_, *rest[4:]]}, r"scores\[3\]")
    refused(path, whole | {"scores": rest[1:]}, r"has 15 of 16 samples")


def test_the_parts_name_the_same_metrics(path: Path) -> None:
    whole = json.loads(path.read_text())
    for part in ("fingerprints", "higher_is_better"):
        refused(
            path,
            whole | {part: {"lpips": whole[part]["lpips"], "fid": whole[part]["fid"]}},
            r"do not name the same metrics: clip",
        )
    refused(path, whole | {"scores": [row for row in whole["scores"] if row[2] != "clip"]}, r"do not name the same metrics: clip")
    both = [[*row[:2], "clip", *row[3:]] for row in whole["sets"]]
    refused(path, whole | {"sets": [*whole["sets"], *both]}, r"clip is in scores and in sets; a metric is of edits or of sets")
