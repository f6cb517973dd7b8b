"""BrushNet's network (Ju et al., ECCV 2024, arXiv 2403.06976) on diffusers' blocks, and a U-Net that takes what it gives.

The network is a copy of a U-Net without its attention: time embedding, down blocks, middle and up blocks of residual layers.
Its first convolution takes the noisy latent, the latent of the masked picture and the mask; a 1x1 convolution that starts at zero
follows every layer of every block. What they give is added to the output of the same layer of the U-Net.

Tensor names and the configuration file are those of the released checkpoints for Stable Diffusion 1.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_blocks import DownBlock2D, UNetMidBlock2D, UpBlock2D
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn

from editors.toolbox.untrusted import CheckpointError, check_config, read_config

__all__ = ["BrushNetConfig", "BrushNetModel", "BrushNetUNet"]


class BrushNetConfig(BaseModel):
    """The part of ``config.json`` that decides on the layers; other entries of the file are about layers it does not have."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    in_channels: int = 4
    conditioning_channels: int = 5
    """Latent of the masked picture, and the mask."""
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    down_block_types: tuple[str, ...] = ("DownBlock2D",) * 4
    mid_block_type: str = "MidBlock2D"
    up_block_types: tuple[str, ...] = ("UpBlock2D",) * 4
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    act_fn: str = "silu"
    downsample_padding: int = 1
    mid_block_scale_factor: float = 1.0
    resnet_time_scale_shift: str = "default"
    flip_sin_to_cos: bool = True
    freq_shift: int = 0
    addition_embed_type: str | None = None
    class_embed_type: str | None = None

    def refusal(self) -> str:
        """Why this is another kind of network; empty where it is BrushNet for Stable Diffusion 1."""
        if {*self.down_block_types, *self.up_block_types} != {"DownBlock2D", "UpBlock2D"} or self.mid_block_type != "MidBlock2D":
            return "its blocks have attention, as those of PowerPaint's second version, which is not supported"
        if self.addition_embed_type or self.class_embed_type:
            return "it wants conditions beside the picture, as that of Stable Diffusion XL, which is not supported"
        if self.conditioning_channels != self.in_channels + 1:
            return f"it takes {self.conditioning_channels} channels of condition, expected {self.in_channels + 1}"
        return ""


class BrushNetModel(nn.Module):
    """Noisy latent, timesteps and condition to one tensor for each layer of a U-Net."""

    def __init__(self, config: BrushNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, layers = config.block_out_channels, config.layers_per_block
        last, time_width = len(widths) - 1, 4 * widths[0]
        shared = {
            "temb_channels": time_width,
            "resnet_eps": config.norm_eps,
            "resnet_act_fn": config.act_fn,
            "resnet_groups": config.norm_num_groups,
            "resnet_time_scale_shift": config.resnet_time_scale_shift,
        }
        self.conv_in_condition = nn.Conv2d(config.in_channels + config.conditioning_channels, widths[0], 3, padding=1)
        self.time_proj = Timesteps(widths[0], config.flip_sin_to_cos, config.freq_shift)
        self.time_embedding = TimestepEmbedding(widths[0], time_width, act_fn=config.act_fn)
        self.down_blocks = nn.ModuleList(
            DownBlock2D(
                in_channels=widths[max(i - 1, 0)],
                out_channels=width,
                num_layers=layers,
                add_downsample=i < last,
                downsample_padding=config.downsample_padding,
                **shared,
            )
            for i, width in enumerate(widths)
        )
        self.mid_block = UNetMidBlock2D(
            in_channels=widths[-1], output_scale_factor=config.mid_block_scale_factor, add_attention=False, **shared
        )
        upward = widths[::-1]
        self.up_blocks = nn.ModuleList(
            UpBlock2D(
                in_channels=upward[min(i + 1, last)],
                prev_output_channel=upward[max(i - 1, 0)],
                out_channels=width,
                num_layers=layers + 1,
                add_upsample=i < last,
                **shared,
            )
            for i, width in enumerate(upward)
        )
        down_widths = [widths[0], *(w for i, w in enumerate(widths) for _ in range(layers + (i < last)))]
        self.brushnet_down_blocks = _zero_convolutions(down_widths)
        self.brushnet_mid_block = _zero_convolutions([widths[-1]])[0]
        self.brushnet_up_blocks = _zero_convolutions([w for i, w in enumerate(upward) for _ in range(layers + 1 + (i < last))])

    @classmethod
    def load(cls, folder: Path) -> BrushNetModel:
        """The network in ``folder``, in float32 on the CPU, frozen. Raises ``CheckpointError`` where the files are another's."""
        try:
            asked = read_config(folder / "config.json")
            check_config(asked, folder / "config.json")
            config = BrushNetConfig(**asked)
            if config.refusal():
                raise CheckpointError(f"{folder}: {config.refusal()}")
            with torch.random.fork_rng(devices=[]):
                network = cls(config)
            network.load_state_dict(load_file(folder / "diffusion_pytorch_model.safetensors"))
        except (OSError, ValueError, TypeError, RuntimeError, ValidationError) as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{folder}: not a BrushNet of Stable Diffusion 1: {reason}") from error
        return network.eval().requires_grad_(False)

    def forward(self, x: Tensor, timesteps: Tensor, condition: Tensor) -> list[Tensor]:
        """x (m, c, h, w), timesteps (m,), condition (m, c + 1, h, w) to one tensor per layer: down, middle, up, in order."""
        time = self.time_embedding(self.time_proj(timesteps).to(x.dtype))
        hidden = self.conv_in_condition(torch.cat([x, condition], dim=1))
        skips = [hidden]
        for block in self.down_blocks:
            hidden, passed = block(hidden_states=hidden, temb=time)
            skips += passed
        down = [conv(skip) for conv, skip in zip(self.brushnet_down_blocks, skips, strict=True)]
        hidden = self.mid_block(hidden, time)
        middle = self.brushnet_mid_block(hidden)
        states = []
        for block in self.up_blocks:
            for layer in _modules(block, "resnets"):
                hidden = layer(torch.cat([hidden, skips.pop()], dim=1), time)
                states.append(hidden)
            for upsampler in _modules(block, "upsamplers"):
                hidden = upsampler(hidden, skips[-1].shape[2:])
                states.append(hidden)
        up = [conv(state) for conv, state in zip(self.brushnet_up_blocks, states, strict=True)]
        return [*down, middle, *up]


def _zero_convolutions(widths: list[int]) -> nn.ModuleList:
    convolutions = nn.ModuleList(nn.Conv2d(width, width, 1) for width in widths)
    for parameter in convolutions.parameters():
        nn.init.zeros_(parameter)
    return convolutions


class BrushNetUNet:
    """A U-Net to whose layers a BrushNet adds, called like the U-Net itself.

    diffusers' U-Net takes no residuals in its up blocks, so they are added by forward hooks, on a copy of its modules that shares
    every weight: the U-Net that was given gets no hooks. The first of them is added where the first down block begins, so that the
    skip connection past all blocks stays the U-Net's own, as in the released code.
    """

    def __init__(self, unet: Any, brushnet: BrushNetModel, condition: Tensor, scale: float) -> None:
        """``condition`` is (1, c + 1, h, w), ``scale`` the factor of all that is added. Raises ``CheckpointError`` on a misfit."""
        for field in ("in_channels", "block_out_channels", "layers_per_block"):
            theirs, ours = getattr(brushnet.config, field), unet.config[field]
            if theirs != (tuple(ours) if isinstance(theirs, tuple) else ours):
                raise CheckpointError(f"brushnet: its {field} is {theirs}, that of the U-Net {ours}: they do not belong together")
        self.brushnet, self.condition, self.scale = brushnet, condition.to(unet.dtype), scale
        self.dtype, self.config = unet.dtype, unet.config
        self._added: list[Tensor] = []
        self.unet = copy.deepcopy(unet, {id(tensor): tensor for tensor in (*unet.parameters(), *unet.buffers())})
        self.unet.down_blocks[0].register_forward_pre_hook(self._at_the_door, with_kwargs=True)
        layers = [*_layers(self.unet.down_blocks), self.unet.mid_block, *_layers(self.unet.up_blocks)]
        for number, layer in enumerate(layers, start=1):
            layer.register_forward_hook(lambda _module, _given, output, number=number: self._add(output, number))

    def __call__(self, x: Tensor, timesteps: Tensor, encoder_hidden_states: Tensor) -> Any:
        given = self.brushnet(x, timesteps, self.condition.expand(len(x), -1, -1, -1))
        self._added = [self.scale * each for each in given]
        return self.unet(x, timesteps, encoder_hidden_states=encoder_hidden_states)

    def _at_the_door(self, _module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return given, {**named, "hidden_states": named["hidden_states"] + self._added[0]}

    def _add(self, output: Any, number: int) -> Any:
        if isinstance(output, tuple):
            return (output[0] + self._added[number], *output[1:])
        return output + self._added[number]


def _layers(blocks: Any) -> list[nn.Module]:
    """What each step of a walk through ``blocks`` ends with: the attention of a layer or else its residual part, then resampling."""
    found: list[nn.Module] = []
    for block in blocks:
        found += _modules(block, "attentions") or _modules(block, "resnets")
        found += _modules(block, "downsamplers") or _modules(block, "upsamplers")
    return found


def _modules(block: nn.Module, name: str) -> list[nn.Module]:
    """A list of layers of a block; empty where it has none of that name."""
    return list(getattr(block, name, None) or ())
