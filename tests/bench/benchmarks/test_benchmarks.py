"""The parts of `make bench` at tiny sizes: they run, their tables can be read, and all sides compute the same. No timings."""

from __future__ import annotations

import argparse
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.benchmarks import __main__ as command
from bench.benchmarks import frechet, scoring
from bench.benchmarks.measure import Cost, measured, passes, table

HEADS = ["wall s", "CPU s", "peak MiB", "job MiB"]


def read(text: str, side: str) -> list[str]:
    """The cells of a side's line."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"{side:<34}")]
    return line[34:].split()


def test_a_table_has_a_line_for_each_side_and_ratios_to_ours() -> None:
    ours = Cost(wall=2.0, cpu=4.0, peak=100.0, extra=0.0, counts={"calls": 10.0})
    text = table({"theirs": replace(ours, wall=3.0, cpu=2.0, counts={"calls": 5.0}), "ours": ours}, "ours")
    assert all(head in text.splitlines()[0] for head in [*HEADS, "calls"])
    assert read(text, "ours") == ["2.00", "4.00", "100", "0", "10"]
    assert read(text, "  theirs / ours") == ["1.50", "0.50", "1.00", "-", "0.50"]
    assert "/" not in table({"theirs": ours}, "ours"), "without our side there is nothing to compare with"


def test_a_job_runs_once_and_its_passes_are_counted() -> None:
    unet = torch.nn.Conv2d(1, 1, 1)
    ran: list[int] = []

    def job() -> None:
        ran.append(1)
        for n in (2, 3):
            unet(torch.zeros(n, 1, 4, 4))

    with passes(unet) as counts:
        cost = measured(job)
    unet(torch.zeros(7, 1, 4, 4))
    assert ran == [1]
    assert counts == {"U-Net samples": 5, "calls": 2}
    assert cost.peak >= cost.extra >= 0


def test_without_a_part_all_parts_run_with_their_defaults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[tuple[str, int]] = []

    def part(name: str) -> types.SimpleNamespace:
        def add_arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--size", type=int, default=len(name))

        return types.SimpleNamespace(
            __doc__=f"About {name}.", add_arguments=add_arguments, run=lambda given: ran.append((name, given.size))
        )

    monkeypatch.setattr(command, "PARTS", {"one": part("one"), "three": part("three")})
    command.main([])
    assert ran == [("one", 3), ("three", 5)]
    assert "== three: About three." in capsys.readouterr().out
    command.main(["one", "--size", "9"])
    assert ran[2:] == [("one", 9)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_all_sides_of_the_frechet_part_give_one_value() -> None:
    values = {side: frechet._one(side, edits=12, reference=40, dimensions=8).values for side in frechet.SIDES}
    # Full rank: torch-fidelity's and scipy's roots are then good to rounding of the features' means, which
    # torch-fidelity takes in float32.
    assert values["torch-fidelity"] == pytest.approx(values[frechet.OURS], rel=1e-5)
    assert values["scipy sqrtm"] == pytest.approx(values[frechet.OURS], rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_scoring_and_the_loop_give_the_same_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scoring._make(tmp_path, 3, [0.5, 1.0])
    found = {side: scoring._loop(tmp_path, "cpu", rows) for side, rows in scoring.LOOPS.items()}
    found["ours"] = scoring._ours(tmp_path, "cpu", 0)
    values = {side: outcome.values for side, outcome in found.items()}
    for side, columns in values.items():
        assert {name: len(column) for name, column in columns.items()} == {
            name: 2 if name == "fid" else 6 for name in scoring.TOLERANCE
        }, side
        assert set(found[side].costs) == {"first", "one metric more"}
    scoring._agree(values)
    text = capsys.readouterr().out
    assert all(name in text for name in scoring.TOLERANCE)


def test_sides_that_differ_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    mine = {name: [0.5, 0.25] for name in scoring.TOLERANCE}
    scoring._agree({"loop": dict(mine), "ours": mine})
    with pytest.raises(SystemExit, match="differ in lpips:"):
        scoring._agree({"loop": mine | {"lpips": [0.5, 0.2502]}, "ours": mine})
    with pytest.raises(SystemExit, match="differ in fid:"):
        scoring._agree({"loop": mine | {"fid": [0.5, float("nan")]}, "ours": mine})
    assert "lpips" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sides", "columns"),
    [
        ("editors --sweeps sdedit --samples 1 2 --steps 10", ["img2img pipeline", "etabench"], 6),
        ("scoring --samples 2 --values 2", [*scoring.LOOPS, "etabench"], 4),
        ("frechet --edits 12 --reference 40 --dimensions 8", list(frechet.SIDES), 4),
    ],
)
def test_each_part_prints_two_tables(arguments: str, sides: list[str], columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(arguments.split())
    text = capsys.readouterr().out
    tables = [f"wall s{part}" for part in text.split("wall s")[1:]]
    assert len(tables) == 2, text
    for one in tables:
        for side in sides:
            cells = [float(cell) for cell in read(one, side)]
            assert len(cells) == columns
            assert all(cell >= 0 for cell in cells)
        assert sum("/ etabench" in line for line in one.splitlines()) == len(sides) - 1
