from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from editors import DiffusionModel
from editors.toolbox.checkpoint import CheckpointError, digest, locate, origin


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def test_the_digest_is_that_of_the_content(folder: Path, tiny_folder: Path) -> None:
    assert digest(folder) == digest(tiny_folder) == DiffusionModel.load(folder).digest
    (folder / "notes.txt").write_text("not read")
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"another variant, not read")
    assert digest(folder) == digest(tiny_folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] += 1e-3
    save_file(tensors, weights)
    assert digest(folder) != digest(tiny_folder)


def test_loading_leaves_the_global_generator_alone(folder: Path) -> None:
    state = torch.get_rng_state()
    DiffusionModel.load(folder)
    assert torch.equal(state, torch.get_rng_state())


def test_loaded_weights_are_frozen_and_in_evaluation_mode(folder: Path) -> None:
    model = DiffusionModel.load(folder)
    for network in (model.vae, model.unet, model.text_encoder):
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())


def test_pickles_are_refused_unless_asked_for(folder: Path) -> None:
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), folder / "vae" / "diffusion_pytorch_model.bin")
    safe = DiffusionModel.load(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.bin: pickle .* allow_pickle"):
        DiffusionModel.load(folder)
    unsafe = DiffusionModel.load(folder, allow_pickle=True)
    assert all(torch.equal(a, b) for a, b in zip(safe.vae.parameters(), unsafe.vae.parameters(), strict=True))
    assert unsafe.digest != safe.digest


def test_what_is_no_checkpoint_is_said_in_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no such folder"):
        locate(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no model_index\.json"):
        locate(folder / "vae")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
        DiffusionModel.load(folder)
    assert "\n" not in str(caught.value)
    shutil.rmtree(folder / "unet")
    with pytest.raises(CheckpointError, match=r"unet: expected diffusion_pytorch_model\.safetensors"):
        locate(folder)


@pytest.mark.parametrize(("says", "vae"), [(True, torch.float32), (False, torch.float16), (None, torch.float16)])
def test_a_vae_that_asks_for_it_stays_float32(folder: Path, says: bool | None, vae: torch.dtype) -> None:
    file = folder / "vae" / "config.json"
    config = {key: value for key, value in json.loads(file.read_text()).items() if key != "force_upcast"}
    file.write_text(json.dumps(config if says is None else {**config, "force_upcast": says}))
    model = DiffusionModel.load(folder, dtype=torch.float16)
    assert (model.vae.dtype, model.unet.dtype, model.text_encoder.dtype) == (vae, torch.float16, torch.float16)
    assert DiffusionModel.load(folder).vae.dtype == torch.float32


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"unet": ["diffusers", "FluxTransformer2DModel"]}, "unet is FluxTransformer2DModel"),
        ({"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}, "text_encoder_2: expected model"),
        ({"transformer": ["diffusers", "QwenImageTransformer2DModel"], "unet": [None, None]}, "unet is None, expected UNet2D"),
    ],
)
def test_other_families_are_refused(folder: Path, entry: dict[str, list[str]], message: str) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), **entry}))
    with pytest.raises(CheckpointError, match=message):
        DiffusionModel.load(folder)


def test_the_first_checkpoint_that_can_be_had_is_taken(folder: Path, tiny_folder: Path, tmp_path: Path) -> None:
    assert locate(f"{tmp_path}/gone, {folder}, {tiny_folder}") == folder
    with pytest.raises(CheckpointError, match=r"gone: no such folder.*lost: no such folder"):
        locate(f"{tmp_path}/gone, {tmp_path}/lost")
    with pytest.raises(CheckpointError, match="no folder and no hub id is given"):
        locate("")
    comma = folder.rename(tmp_path / "a, b")
    assert locate(comma) == comma


def test_inpainting_and_instruction_folders_load_like_any_other(inpainting_folder: Path, instruct_folder: Path) -> None:
    assert DiffusionModel.load(inpainting_folder).extra_channels == 5
    assert DiffusionModel.load(instruct_folder).extra_channels == 4


def test_where_a_folder_came_from() -> None:
    assert origin(Path("/cache/hub/models--owner--some--name/snapshots/0123456789abcdef")) == "owner/some--name@0123456789ab"
    assert origin(Path("/data/sd-inpainting")) == "sd-inpainting"
