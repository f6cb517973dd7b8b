"""How many pictures tell two editors apart: the power that is promised is the power that sign flips have."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from fake_specs import SpecMaker, editor
from fixtures_manifest import row, write_folder
from made_scores import entry, plan_of, scores_of

from bench import api
from bench.analysis.paired import sign_flip
from bench.analysis.sample_size import LEVEL, Spread, difference_told, needed, power, power_of, spread_of
from bench.errors import RunError
from bench.workers.crew import Options

SPREAD = Spread("a", "b", "clip", 1.0, 2.0, 3.0, 12, 2.0, 1)


def found(spread: Spread, difference: float, pictures: int, seeds: int, level: float) -> float:
    """How often sign flips tell the difference in benchmarks drawn with this spread."""
    rng, size, trials = np.random.default_rng(pictures), int(spread.samples), 600
    own = difference + spread.picture_sd * rng.standard_normal((trials, pictures, 1))
    noise = spread.seed_sd * rng.standard_normal((trials, pictures, size, seeds)).mean(axis=3)
    return float((sign_flip((own + noise).sum(axis=2)) <= level).mean())


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize("chance", [0.8, 0.9])
@pytest.mark.parametrize("difference", [1.0, 2.5])
@pytest.mark.parametrize("pairs", [1, 6])
def test_the_power_that_is_promised_is_held(seeds: int, chance: float, difference: float, pairs: int) -> None:
    """600 trials: a share near 0.85 is good to 1.5 points, three of them; and Student's power is that of flips to two points."""
    pictures = needed(SPREAD, difference, seeds, chance, LEVEL / pairs)
    assert pictures is not None
    assert found(SPREAD, difference, pictures, seeds, LEVEL / pairs) == pytest.approx(chance, abs=0.065)


@pytest.mark.slow
def test_the_smallest_difference_told_is_told() -> None:
    told = difference_told(SPREAD, 12, 2, 0.8, LEVEL)
    assert found(SPREAD, told, 12, 2, LEVEL) == pytest.approx(0.8, abs=0.07)


def test_a_level_that_no_pattern_reaches_has_no_power() -> None:
    """Five pictures have 16 patterns that differ by more than a turn: p is 1/16 at the least."""
    assert power_of(100.0, 1.0, 5, LEVEL) == 0
    assert power_of(100.0, 1.0, 6, LEVEL) > 0.99
    assert difference_told(SPREAD, 5, 1, 0.8, LEVEL) == math.inf
    assert needed(SPREAD, 1000.0, 1, 0.8, LEVEL) == 6
    assert power_of(0.0, 0.0, 20, LEVEL) == 0
    assert power_of(0.1, 0.0, 20, LEVEL) == 1


def test_no_difference_is_never_told() -> None:
    assert needed(SPREAD, 0.0, 1, 0.8, LEVEL) is None


def test_seeds_help_as_far_as_they_are_the_larger_part() -> None:
    many = [needed(SPREAD, 1.0, seeds, 0.8, LEVEL) for seeds in (1, 2, 4, 1000)]
    assert many == sorted(many, reverse=True)  # type: ignore[type-var]
    # (z + z')^2 (2^2 + 3^2 / 2 / M): 7.85 x 8.5 and 7.85 x 4, and two more for Student's
    assert many[0] == pytest.approx(7.85 * 8.5 + 2, abs=1)
    assert many[-1] == pytest.approx(7.85 * 4 + 2, abs=1)


def test_the_parts_of_the_spread_are_found() -> None:
    """Pictures 2 and seeds 3 apart, two samples a picture: a deviation of 200 pictures is good to 5 %, of seeds to 3 %."""
    rng, plan = np.random.default_rng(4), plan_of(entry("a"), entry("b"), samples=400)
    pictures = 2 * rng.standard_normal(200)

    def make(label: str, value: float, number: int, seed: int) -> tuple[float, float]:
        return (1.0 + pictures[number // 2] + 3 * rng.standard_normal() if label == "a" else 0.0), 0.5

    spread = spread_of(plan, scores_of(plan, make, seeds=3), "clip", ("a", 0.5), ("b", 0.5))
    assert spread is not None
    assert (spread.pictures, spread.samples, spread.seeds) == (200, 2.0, 3)
    assert spread.picture_sd == pytest.approx(2.0, rel=0.16)
    assert spread.seed_sd == pytest.approx(3.0, rel=0.1)
    assert spread.difference == pytest.approx(1.0, abs=3 * math.sqrt((4 + 9 / 6) / 200))


def test_an_editor_without_seeds_is_compared_with_all_of_the_other() -> None:
    plan = plan_of(entry("a"), entry("copy", (0.0,), True), samples=8)
    scores = scores_of(plan, lambda label, value, number, seed: (10.0 * seed if label == "a" else 1.0, 0.0), seeds=2)
    for pair, sign in (((("a", 0.5), ("copy", 0.0)), 1), ((("copy", 0.0), ("a", 0.5)), -1)):
        spread = spread_of(plan, scores, "clip", *pair)
        assert spread is not None
        assert (spread.difference, spread.seeds) == (4.0 * sign, 2)
        assert spread.seed_sd == pytest.approx(math.sqrt(50))


def test_undefined_scores_and_single_pictures() -> None:
    plan = plan_of(entry("a"), entry("b"), samples=4)
    scores = scores_of(plan, lambda label, value, number, seed: (np.nan if number < 2 else float(number), 0.0))
    assert spread_of(plan, scores, "clip", ("a", 0.5), ("b", 0.5)) is None, "one picture is left"


def test_a_run_says_what_it_takes(make_spec: SpecMaker, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "eight", [row(i) for i in range(8)], pictures=8)
    editors = [editor("Fade", grid=[0.5]), editor("Fade", label="loud", preset="loud", grid=[0.5]), editor("Several", grid=[0.5])]
    spec = make_spec(*editors, manifest={"path": str(folder)}, seeds=[0, 1])
    run = api.run(spec, tmp_path / "run", options=Options(executor="inline"))
    api.score(run)
    rows = power(run, first="loud", second="Fade", metric="lpips")
    assert [row["seeds"] for row in rows] == [1, 2, 4, 8]
    assert {(row["first"], row["second"], row["metric"], row["of"]) for row in rows} == {("loud", "Fade", "lpips", 8)}
    assert {row["unit"] for row in rows} == {"mean absolute difference"}
    assert {(row["first"], row["second"]) for row in power(run, first="loud")} == {("Fade", "loud"), ("loud", "Several")}
    harder = power(run, first="loud", second="Fade", metric="lpips", difference=1e-9)
    assert {row["pictures_80"] for row in harder} == {None}
    for arguments, words in (
        ({"first": "lod"}, "has no editor 'lod'; did you mean 'loud'"),
        ({"metric": "lpip"}, "has no scores of 'lpip'; did you mean 'lpips'"),
        ({"first": "loud", "second": "loud"}, "'loud' is one editor; name two"),
        ({"difference": math.nan}, "a difference of nan is none"),
        ({"difference": 0.0}, "a difference of 0 is none"),
    ):
        with pytest.raises(RunError, match=words):
            power(run, **arguments)
