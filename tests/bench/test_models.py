from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_families
from transformers import CLIPTokenizer

from bench import api, models
from bench.errors import ModelError, SpecError
from bench.spec import ModelRef, Spec
from bench.toybox import embedded
from bench.workers.crew import Options
from editors.toolbox.checkpoint import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(embedded.generator(), tmp_path / "model"))


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_copy_is_the_same_checkpoint(folder: Path) -> None:
    found = models.inspect(ModelRef(path=str(folder)))
    assert (found.digest, found.resolution) == (models.inspect(ModelRef(name="toybox")).digest, 64)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("unet", {"sample_size": 1_000_000}, "sample_size is 1000000; at most 8192"),
        ("unet", {"sample_size": 8000}, r"asks for pictures of 32000 pixels a side; 8 to 8192 are made"),
        ("unet", {"sample_size": 0}, "asks for pictures of 0 pixels"),
        ("unet", {"sample_size": -64}, "asks for pictures of -"),
        ("unet", {"sample_size": "big"}, "do not tell the resolution"),
        ("unet", {"sample_size": float("inf")}, "do not tell the resolution"),
        ("unet", {"sample_size": []}, "do not tell the resolution"),
        ("vae", {"block_out_channels": [32] * 1500}, "block_out_channels has 1500 items"),
        ("vae", {"block_out_channels": [32] * 900}, "asks for pictures"),
    ],
)
def test_the_resolution_is_one_that_pictures_have(folder: Path, part: str, changes: dict[str, Any], message: str) -> None:
    change(folder / part / "config.json", **changes)
    with pytest.raises((ModelError, CheckpointError), match=message) as caught:
        models.inspect(ModelRef(path=str(folder)))
    assert len(str(caught.value)) < 400


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny FLUX.1 dev, with ToyBox's tokenizer."""
    folder = tmp_path_factory.mktemp("flow") / "flux"
    return tiny_families.tiny("flux", CLIPTokenizer.from_pretrained(embedded.generator() / "tokenizer"), folder)


def test_the_family_is_told_without_loading(flow: Path) -> None:
    found = models.inspect(ModelRef(path=str(flow)))
    assert (found.family, found.resolution) == ("flux", 512)
    assert models.inspect(ModelRef(name="toybox")).family == "sd"


def flow_spec(flow: Path, *editors: dict[str, Any]) -> Spec:
    return Spec.model_validate(
        {
            "name": "flow",
            "manifest": {"name": "toybox-mini", "size": 64},
            "limit": 1,
            "model": {"path": str(flow)},
            "device": "cpu",
            "editors": list(editors),
            "metrics": ["psnr"],
        }
    )


def test_an_editor_of_another_family_is_refused_when_a_run_is_planned(flow: Path) -> None:
    wrong = flow_spec(flow, {"name": "sdedit"}, {"name": "edict", "label": "mine"}, {"name": "ledits_pp"})
    with pytest.raises(
        SpecError, match=r"^editors: mine: it works on Stable Diffusion 1 and 2 or .* FLUX\.1 dev; ledits_pp: "
    ) as caught:
        api.plan(wrong)
    assert "sdedit" not in str(caught.value)


def test_a_run_on_a_flow_is_a_run(flow: Path, tmp_path: Path) -> None:
    quick = {"params": {"steps": 4}, "grid": [0.5, 1.0]}
    spec = flow_spec(flow, {"name": "sdedit", "preset": "flux", **quick}, {"name": "flowedit", **quick})
    run = api.run(spec, tmp_path / "run", options=Options(executor="inline"))
    records = [run.record(unit.key) for unit in run.plan.units]
    assert {record.status for record in records if record} == {"done"}
    assert len(api.score(run).pairs) >= 4


def test_a_tokenizer_of_no_known_class_is_refused(folder: Path) -> None:
    assert models.tokenizer(ModelRef(path=str(folder)))("a dog").input_ids
    change(folder / "model_index.json", tokenizer=["transformers", "AutoTokenizer"])
    with pytest.raises(CheckpointError, match="tokenizer is AutoTokenizer, expected CLIPTokenizer"):
        models.tokenizer(ModelRef(path=str(folder)))
