"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import bench
from bench.spec import load_spec
from bench.toybox.embedded import TOYBOX
from etabench_conformance import CHECKS, Case

README = (Path(__file__).parent.parent / "README.md").read_text()


def _block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return next(block for block in blocks if containing in block)


@pytest.mark.slow
def test_the_editor_in_one_file_runs(tmp_path: Path) -> None:
    (tmp_path / "invert.py").write_text(_block("python", "class Invert"))
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nmanifest: toybox-mini\nlimit: 2\nmodel: toybox\neditors: [{name: invert.py:Invert}]\nmetrics: [lpips]\nanchors: [copy]\n"
    )
    run = bench.run(tmp_path / "mine.yaml", out=tmp_path / "run")
    bench.score(run)
    page = bench.report(run)
    assert page.is_file()
    curves = pd.read_csv(page.parent / "curves.csv")
    mine = curves[(curves["editor"] == "Invert") & (curves["metric"] == "lpips")].set_index("value")["mean"]
    assert mine[0.0] == 0.0
    assert mine[0.0] < mine[0.25] < mine[1.0]


@pytest.mark.parametrize("place", ["file", "module"])
def test_the_editor_in_one_file_conforms(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every public check, for an editor named by its file and by its module."""
    (tmp_path / "invert_of_the_readme.py").write_text(_block("python", "class Invert"))
    monkeypatch.syspath_prepend(tmp_path)
    target = f"{tmp_path / 'invert_of_the_readme.py'}:Invert" if place == "file" else "invert_of_the_readme:Invert"
    for check in CHECKS:
        check(Case(target))


@pytest.mark.slow
def test_the_metric_in_one_file_runs(tmp_path: Path) -> None:
    (tmp_path / "contrast.py").write_text(_block("python", "class Contrast"))
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nmanifest: toybox-mini\nlimit: 2\neditors: [copy]\nmetrics: [contrast.py:Contrast]\n"
    )
    run = bench.run(tmp_path / "mine.yaml", out=tmp_path / "run")
    assert (bench.score(run).pairs["score"] == 1.0).all(), "a copy has the contrast of its source"


def test_the_spec_is_valid(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(_block("yaml", "name: mine"))
    spec = load_spec(tmp_path / "mine.yaml")
    assert [editor.name for editor in spec.editors] == ["imagic", "diffedit"]


def test_a_metric_in_a_training_loop_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """With ToyBox's network in place of AlexNet's, whose weights are not here."""
    code = _block("python", "as_torchmetric").replace(
        'LPIPS("alex", weights="alexnet.safetensors")', f"LPIPS('folder:{TOYBOX / 'features'}')"
    )
    pictures = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    exec(code, {"loader": [{"image": pictures}, {"image": pictures[:1]}], "edit": lambda batch: 255 - batch["image"]})
    assert 0.1 < float(re.findall(r"[0-9.]+", capsys.readouterr().out)[0]) < 2


@pytest.mark.slow
def test_the_python_example_is_a_script(tmp_path: Path) -> None:
    """Two worker processes, and no main guard."""
    (tmp_path / "invert.py").write_text(_block("python", "class Invert"))
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nmanifest: toybox-mini\nlimit: 2\ndevice: cpu\neditors: [{name: invert.py:Invert}]\nmetrics: [psnr]\n"
    )
    script = tmp_path / "script.py"
    script.write_text(_block("python", "import bench").replace('"demo"', '"mine.yaml"'))
    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "demo" / "report" / "index.html").is_file()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make ([a-z-]+)", README, flags=re.MULTILINE))))
def test_make_targets_exist(target: str) -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
