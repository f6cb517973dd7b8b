from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_specs import PAIR_METRICS, SpecMaker, editor
from fixtures_manifest import row, write_folder

from bench.spec import Spec


@pytest.fixture
def manifest_folder(tmp_path: Path) -> Path:
    """Three samples with everything; the third shares its picture with the second but not its text."""
    rows = [row(0), row(1), row(2, file_name="1.png", mask_file_name=None)]
    return write_folder(tmp_path / "manifest", rows)


@pytest.fixture
def make_spec(manifest_folder: Path, tmp_path: Path) -> SpecMaker:
    """A spec of fake editors and metrics over the three samples; no editor needs a model."""

    def make(*editors: dict[str, Any], **more: Any) -> Spec:
        content = {
            "name": "test",
            "manifest": {"path": str(manifest_folder)},
            "model": {"path": str(tmp_path / "no-model")},
            "device": "cpu",
            "editors": list(editors) or [editor("Fade")],
            "metrics": PAIR_METRICS,
        }
        return Spec.model_validate(content | more)

    return make


@pytest.fixture
def spec_file(make_spec: SpecMaker, tmp_path: Path) -> Callable[..., Path]:
    """The same spec as a file."""
    import yaml

    def write(*editors: dict[str, Any], **more: Any) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(make_spec(*editors, **more).resolved()))
        return path

    return write


@pytest.fixture
def etabench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command in this process: exit code, stdout, stderr."""
    from bench import cli
    from bench.commands import console

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["etabench", *map(str, arguments)])
        for name, error in (("out", False), ("log", True)):
            fresh = console.Console(stderr=error, width=200)
            monkeypatch.setattr(console, name, fresh)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return call
