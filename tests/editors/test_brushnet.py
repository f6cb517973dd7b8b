from __future__ import annotations

import json
import shutil
from pathlib import Path

import fake_hub
import numpy as np
import pytest
import tiny_checkpoints
import torch
from diffusers import UNet2DConditionModel
from drawn import draw
from safetensors.torch import load_file, save_file

from editors import DiffusionModel, EditTask
from editors.brushnet import BrushNet
from editors.toolbox.brushnet_model import BrushNetConfig, BrushNetModel, BrushNetUNet
from editors.toolbox.checkpoint import CheckpointError


def make(model: DiffusionModel, folder: Path, **params: object) -> BrushNet:
    return BrushNet(model, BrushNet.resolve("", {"steps": 5, "brushnet": str(folder), **params}))


def called(model: DiffusionModel, network: BrushNetModel, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """What the U-Net says without and with the network."""
    x, times, text = model.noise(1, (2, 4, 16, 16)), torch.tensor([401, 401]), model.embed(["a cat", ""])
    condition = model.noise(2, (1, 5, 16, 16))
    with torch.no_grad():
        told = BrushNetUNet(model.unet, network, condition, scale)(x, times, encoder_hidden_states=text).sample
        return model.unet(x, times, encoder_hidden_states=text).sample, told


def test_with_zero_convolutions_the_base_model_is_unchanged_to_the_bit(
    model: DiffusionModel, tiny_folder: Path, tmp_path: Path
) -> None:
    silent = BrushNetModel.load(tiny_checkpoints.brushnet(tiny_folder, tmp_path / "zero", zero=True))
    plain, told = called(model, silent)
    assert torch.equal(plain, told)


def test_every_convolution_reaches_the_result(model: DiffusionModel, tiny_folder: Path, tmp_path: Path) -> None:
    """One at a time, so that an output that is lost or added in another's place shows."""
    network = BrushNetModel.load(tiny_checkpoints.brushnet(tiny_folder, tmp_path / "zero", zero=True))
    plain, _ = called(model, network)
    convolutions = [*network.brushnet_down_blocks, network.brushnet_mid_block, *network.brushnet_up_blocks]
    assert len(convolutions) == 4 + 1 + 5
    results = []
    for convolution in convolutions:
        convolution.bias.data.fill_(0.5)
        results.append(called(model, network)[1])
        convolution.bias.data.zero_()
    assert all(not torch.equal(plain, told) for told in results)
    for number, told in enumerate(results):
        assert not any(torch.equal(told, other) for other in results[:number])


def test_residuals_land_where_the_released_code_adds_them(model: DiffusionModel, tiny_folder: Path, tmp_path: Path) -> None:
    """After the attention of a layer, in the next layer's input; the first at the door of the first block, past its skip."""
    network = BrushNetModel.load(tiny_checkpoints.brushnet(tiny_folder, tmp_path / "zero", zero=True))
    first, last = network.brushnet_down_blocks[0], network.brushnet_up_blocks[-1]
    first.bias.data.fill_(0.25)
    last.bias.data.fill_(0.5)
    seen: dict[str, torch.Tensor] = {}
    x, times, text = model.noise(1, (1, 4, 16, 16)), torch.tensor([401]), model.embed(["a cat"])

    def run(unet: object, name: str) -> None:
        assert isinstance(unet, UNet2DConditionModel)
        watched = {"conv_in": unet.conv_in, "door": unet.down_blocks[0].resnets[0], "end": unet.conv_norm_out}
        handles = [
            module.register_forward_pre_hook(lambda _m, given, key=key: seen.__setitem__(f"{name} {key}", given[0]))
            for key, module in watched.items()
        ]
        skip = (
            unet.up_blocks[-1]
            .resnets[-1]
            .register_forward_pre_hook(lambda _m, given: seen.__setitem__(f"{name} skip", given[0][:, -8:]))
        )
        told(x, times, encoder_hidden_states=text) if name == "told" else unet(x, times, encoder_hidden_states=text)
        for handle in (*handles, skip):
            handle.remove()

    told = BrushNetUNet(model.unet, network, model.noise(2, (1, 5, 16, 16)), 1.0)
    with torch.no_grad():
        run(model.unet, "plain")
        run(told.unet, "told")
    assert torch.equal(seen["told conv_in"], seen["plain conv_in"])
    assert torch.equal(seen["told door"], seen["plain door"] + 0.25)
    assert torch.equal(seen["told skip"], seen["plain skip"])
    assert not torch.equal(seen["told end"], seen["plain end"])


def test_the_scale_scales_and_zero_silences(model: DiffusionModel, brushnet_folder: Path) -> None:
    network = BrushNetModel.load(brushnet_folder)
    plain, told = called(model, network)
    assert torch.equal(plain, called(model, network, 0.0)[1])
    assert not torch.allclose(told, called(model, network, 0.5)[1])


def test_the_copy_of_the_network_shares_every_weight_and_hooks_stay_on_it(model: DiffusionModel, brushnet_folder: Path) -> None:
    told = BrushNetUNet(model.unet, BrushNetModel.load(brushnet_folder), torch.zeros(1, 5, 16, 16), 1.0)
    ours, theirs = dict(told.unet.named_parameters()), dict(model.unet.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(ours[name] is theirs[name] for name in ours)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.unet.modules())
    assert sum(len(module._forward_hooks) for module in told.unet.modules()) == 3 + 1 + 5


def test_the_tensors_are_those_of_a_unet_without_attention_and_of_the_convolutions(tiny_folder: Path) -> None:
    """As in a released checkpoint, whose own tensors are copied from a U-Net by these names."""
    unet = UNet2DConditionModel.from_pretrained(tiny_folder / "unet").state_dict()
    config = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
    network = BrushNetModel(BrushNetConfig.model_validate(config)).state_dict()
    shared = {name for name in network if not name.startswith(("brushnet_", "conv_in_condition"))}
    attention_free = {
        name for name in unet if ".attentions." not in name and not name.startswith(("conv_in", "conv_out", "conv_norm_out"))
    }
    assert shared == attention_free
    assert all(network[name].shape == unet[name].shape for name in shared)
    assert network["conv_in_condition.weight"].shape == (8, 9, 3, 3)


def test_the_released_size_has_the_released_number_of_layers() -> None:
    with torch.device("meta"):
        network = BrushNetModel(BrushNetConfig())
    assert (len(network.brushnet_down_blocks), len(network.brushnet_up_blocks)) == (12, 15)
    assert network.conv_in_condition.in_channels == 9


def test_it_sees_a_black_hole_and_a_mask_that_is_one_where_the_picture_is_known(
    model: DiffusionModel, masked: EditTask, brushnet_folder: Path
) -> None:
    assert masked.mask is not None
    state = make(model, brushnet_folder).prepare(masked)
    condition = state.model.unet.condition
    assert torch.equal(condition[:, 4:].bool(), ~state.cells)
    black = np.where(masked.mask[..., None], 0, draw()).astype(np.uint8)
    assert torch.equal(condition[:, :4], model.encode(black))


def test_foreign_and_missing_files_are_said_in_one_line(
    model: DiffusionModel, masked: EditTask, brushnet_folder: Path, controlnet_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"^brushnet: no folder.*github\.com/TencentARC/BrushNet"):
        BrushNet.assets(BrushNet.resolve())
    with pytest.raises(CheckpointError, match=r"not a BrushNet|attention"):
        make(model, controlnet_folder).prepare(masked)
    folder = Path(shutil.copytree(brushnet_folder, tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"down_block_types": ["CrossAttnDownBlock2D"] * 2}, "attention"),
        ({"addition_embed_type": "text_time"}, "Stable Diffusion XL"),
        ({"conditioning_channels": 6}, "6 channels of condition"),
        ({"block_out_channels": [8, 12]}, "not a BrushNet"),
        ({"norm_num_groups": "many"}, "norm_num_groups"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(CheckpointError, match=message) as caught:
            make(model, folder).prepare(masked)
        assert "\n" not in str(caught.value)
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file(dict(list(weights.items())[1:]), folder / "diffusion_pytorch_model.safetensors")
    with pytest.raises(CheckpointError, match=r"Missing key"):
        make(model, folder).prepare(masked)


def test_a_network_of_another_models_size_does_not_fit(model: DiffusionModel) -> None:
    config = BrushNetConfig(block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4)
    with torch.device("meta"):
        network = BrushNetModel(config)
    with pytest.raises(CheckpointError, match=r"block_out_channels is \(8, 8\), that of the U-Net .8, 16.: they do not belong"):
        BrushNetUNet(model.unet, network, torch.zeros(1, 5, 16, 16), 1.0)


def test_the_hub_is_asked_once_for_its_network(
    model: DiffusionModel, masked: EditTask, brushnet_folder: Path, tmp_path: Path
) -> None:
    with fake_hub.on_loopback(tmp_path) as hub:
        hub.add("some/moving-network", brushnet_folder)
        editor = make(model, Path("some/moving-network"))
        first = editor.prepare(masked)
        asked = len(hub.requests)
        facts = [editor.facts(state) for state in (first, editor.prepare(masked))]
        assert len(hub.requests) == asked > 0
        places = BrushNet.repositories(BrushNet.resolve("", {"brushnet": "some/moving-network"}))
        pinned = BrushNet.resolve("", {"brushnet": str(places["brushnet"])})
        assert BrushNet.repositories(pinned) == places, "a commit stays what it is"
    assert facts[0]["brushnet"] == facts[1]["brushnet"]
    assert str(facts[0]["brushnet"]).startswith("some/moving-network@")
    assert BrushNet.repositories(BrushNet.resolve("", {"brushnet": str(brushnet_folder)})) == {}
