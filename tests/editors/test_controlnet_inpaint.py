from __future__ import annotations

import json
import shutil
from pathlib import Path

import fake_hub
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from editors import DiffusionModel, EditTask
from editors.controlnet_inpaint import ControlNetInpaint
from editors.sd_inpaint import SDInpaint
from editors.toolbox.checkpoint import CheckpointError


def make(model: DiffusionModel, **params: object) -> ControlNetInpaint:
    return ControlNetInpaint(model, ControlNetInpaint.resolve("", {"steps": 5, **params}))


def test_without_weight_it_is_plain_inpainting(model: DiffusionModel, masked: EditTask, controlnet_folder: Path) -> None:
    plain = SDInpaint(model, SDInpaint.resolve("", {"steps": 5}))
    expected = plain.render(plain.prepare(masked), (1.0,))[0]
    silent = make(model, controlnet=str(controlnet_folder), conditioning_scale=0.0)
    assert np.array_equal(silent.render(silent.prepare(masked), (1.0,))[0], expected)
    heard = make(model, controlnet=str(controlnet_folder))
    assert not np.array_equal(heard.render(heard.prepare(masked), (1.0,))[0], expected)


def test_the_digest_is_that_of_the_network_wherever_it_lies(controlnet_folder: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(controlnet_folder, tmp_path / "moved"))
    first = ControlNetInpaint.assets(ControlNetInpaint.resolve("", {"controlnet": str(controlnet_folder)}))
    assert ControlNetInpaint.assets(ControlNetInpaint.resolve("", {"controlnet": f"{tmp_path}/gone, {moved}"})) == first
    weights = load_file(moved / "diffusion_pytorch_model.safetensors")
    next(iter(weights.values())).view(-1)[0] += 1
    save_file(weights, moved / "diffusion_pytorch_model.safetensors")
    assert ControlNetInpaint.assets(ControlNetInpaint.resolve("", {"controlnet": str(moved)})) != first


def test_the_network_that_was_taken_is_a_fact(model: DiffusionModel, masked: EditTask, controlnet_folder: Path) -> None:
    editor = make(model, controlnet=f"/nowhere, {controlnet_folder}")
    facts = editor.facts(editor.prepare(masked))
    assert facts["controlnet"] == controlnet_folder.name
    assert facts["form"] == "4 channels"


def test_what_is_missing_or_foreign_is_said_in_one_line(
    model: DiffusionModel, masked: EditTask, controlnet_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"^controlnet: no folder.*control_v11p_sd15_inpaint"):
        ControlNetInpaint.assets(ControlNetInpaint.resolve())
    with pytest.raises(CheckpointError, match=r"no config\.json and no diffusion_pytorch_model\.safetensors"):
        ControlNetInpaint.assets(ControlNetInpaint.resolve("", {"controlnet": str(tmp_path)}))
    folder = Path(shutil.copytree(controlnet_folder, tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file(dict(list(weights.items())[1:]), folder / "diffusion_pytorch_model.safetensors")
    with pytest.raises(CheckpointError, match=r"controlnet: .* lacks "):
        make(model, controlnet=str(folder)).render(make(model, controlnet=str(folder)).prepare(masked), (1.0,))
    (folder / "config.json").write_text(json.dumps({**config, "cross_attention_dim": 24}))
    with pytest.raises(CheckpointError) as caught:
        make(model, controlnet=str(folder)).prepare(masked)
    assert "\n" not in str(caught.value)


def test_the_hub_is_asked_once_for_its_network(
    model: DiffusionModel, masked: EditTask, controlnet_folder: Path, tmp_path: Path
) -> None:
    with fake_hub.on_loopback(tmp_path) as hub:
        hub.add("some/moving-network", controlnet_folder)
        editor = make(model, controlnet="some/moving-network")
        first = editor.prepare(masked)
        asked = len(hub.requests)
        facts = [editor.facts(state) for state in (first, editor.prepare(masked))]
        assert len(hub.requests) == asked > 0
        places = ControlNetInpaint.repositories(ControlNetInpaint.resolve("", {"controlnet": "some/moving-network"}))
        pinned = ControlNetInpaint.resolve("", {"controlnet": str(places["controlnet"])})
        assert ControlNetInpaint.repositories(pinned) == places, "a commit stays what it is"
    assert facts[0]["controlnet"] == facts[1]["controlnet"]
    assert str(facts[0]["controlnet"]).startswith("some/moving-network@")
    assert ControlNetInpaint.repositories(ControlNetInpaint.resolve("", {"controlnet": str(controlnet_folder)})) == {}
