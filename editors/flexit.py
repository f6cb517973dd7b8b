"""FlexIT (Couairon et al., CVPR 2022, arXiv 2203.04705) on a VAE latent: optimisation towards a target point of CLIP space."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from editors.base import Editor, EditorError, EditTask, FairPlay, Image, Knob, MissingInput
from editors.base import Params as AnyParams
from editors.toolbox.augment import Warp, order_of_views, views
from editors.toolbox.clip import ClipParams, RankingCLIP, clip_assets
from editors.toolbox.diffusion import derive_seed, seeded, to_tensor
from editors.toolbox.files import expanded

__all__ = ["FlexIT", "FlexITParams", "FlexITState"]

_WARP = Warp(rotation=10, crop=0.8, flip=0.5)

Distance = Callable[[Tensor], Tensor]
"""Perceptual distance (m,) of pictures (m, 3, H, W) in -1..1 from the source."""


class FlexITParams(ClipParams):
    """Parameters of FlexIT; the defaults are those of the published configuration."""

    lr: float = Field(0.05, gt=0, description="length of a step as a share of the norm of the source latent")
    target_weight: float = Field(1.0, ge=0, description="weight of the target text's embedding in the target point")
    image_weight: float = Field(0.2, ge=0, description="weight of the source picture's embedding in the target point")
    source_weight: float = Field(0.4, ge=0, description="weight of the source text's embedding, which is subtracted")
    perceptual_weight: float = Field(0.15, ge=0, description="weight of the perceptual distance from the source")
    latent_weight: float = Field(0.05, ge=0, description="weight of the latent's L2,1 distance from the source's")
    augmentations: int = Field(1, ge=1, description="random views of the picture in each step")
    lpips_vgg: str = Field(
        "",
        description="torchvision VGG-16 weights (.safetensors with features.N.weight and .bias) for the LPIPS term; "
        "empty = features of the model's own VAE encoder stand in",
    )


@dataclass(frozen=True, eq=False)
class FlexITState:
    """The starting point, the target point and the distance to keep small."""

    z0: Tensor
    """Source latent, (1, c, h, w)."""
    goal: Tensor
    """Target point of CLIP space, (d,), not of unit length."""
    distance: Distance
    seed: int


class FlexIT(Editor[FlexITState]):
    """Gradient steps on a latent that move the picture's embedding towards 1.0 E(target) + 0.2 E(image) - 0.4 E(source).

    loss = -<E(decoded), goal> + 0.15 LPIPS(decoded, source) + 0.05 |z - z0|_{2,1} / |z0|_{2,1}, where the last is the sum over cells
    of the length of a cell's vector; each step is z <- z - 0.05 |z0| g / |g|. Random views of the decoded picture (rotation of
    10 degrees, crop of 0.8 to 1 of the area, mirroring) stand between it and CLIP.

    Knob: iterations; 0 is the VAE round trip. All values are points of one optimisation path, so a curve costs what its last
    point does. The authors show 16, 32, 64 and 160.

    Departures. The latent is that of the diffusion model's VAE, not of a VQGAN with 16 pixels a cell, so a step of the published
    length says less about the picture; one CLIP network is optimised against, not five; pictures keep their size. The
    perceptual term is LPIPS (VGG) of the ``lpips`` package where ``lpips_vgg`` names the backbone's weights. Where it does not,
    unit-normalised features of the VAE encoder's blocks take its place, in LPIPS' form without its learned weights;
    ``facts`` says which. No U-Net takes part.
    """

    name = "flexit"
    version = "1"
    knob = Knob("iterations", 0, 256, (0, 16, 32, 64, 160), "optimisation steps", zero="round trip")
    needs = frozenset({"source_text"})
    channels = frozenset({0, 4, 5})
    Params = FlexITParams
    params: FlexITParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "lr": 0.05,
            "target_weight": 1.0,
            "image_weight": 0.2,
            "source_weight": 0.4,
            "perceptual_weight": 0.15,
            "latent_weight": 0.05,
            "augmentations": 1,
        },
        "fast": {},
        "toybox": {"augmentations": 4, "lr": 0.02},
    }

    @classmethod
    def assets(cls, params: AnyParams) -> Mapping[str, str]:
        assert isinstance(params, FlexITParams)
        return {**clip_assets(params), "lpips_vgg": _file_digest(params.lpips_vgg) if params.lpips_vgg else ""}

    @cached_property
    def ranker(self) -> RankingCLIP:
        """The network that is optimised against."""
        return RankingCLIP.load(self.params.clip, self.model.device)

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True, clip_in_loop=True)

    @torch.no_grad()
    def prepare(self, task: EditTask) -> FlexITState:
        self.check(task)
        assert task.source_text is not None
        p = self.params
        source = to_tensor(task.image, self.model.device)
        wanted, present = self.ranker.embed_texts([task.target_text, task.source_text])
        goal = p.target_weight * wanted + p.image_weight * self.ranker.embed_images(source)[0] - p.source_weight * present
        distance = self._lpips(source) if p.lpips_vgg else self._encoder_distance(source)
        return FlexITState(self.model.encode(task.image), goal, distance, task.seed)

    def check_values(self, values: Sequence[float]) -> None:
        super().check_values(values)
        for value in values:
            if value != int(value):
                raise EditorError(f"{self.name}: iterations must be whole numbers, got {value!r}")

    def render(self, state: FlexITState, values: Sequence[float]) -> list[Image]:
        length = self.params.lr * state.z0.norm()
        z, kept = state.z0, {0: state.z0}
        for iteration in range(int(max(values, default=0))):
            g = self._gradient(state, z, iteration)
            z = z - length * g / g.norm().clamp(min=1e-12)
            if iteration + 1 in values:
                kept[iteration + 1] = z
        return self.model.decode(torch.cat([kept[int(value)] for value in values]))

    @torch.enable_grad()
    def _gradient(self, state: FlexITState, z: Tensor, iteration: int) -> Tensor:
        z = z.detach().requires_grad_(True)
        shown = self.model.decode_tensor(z)
        generator = seeded(derive_seed(state.seed, f"views {iteration}"))
        seen = views(shown, self.params.augmentations, _WARP, generator)
        loss = -(self.ranker.embed_images(seen) @ state.goal).mean()
        loss = loss + self.params.perceptual_weight * state.distance(shown).mean()
        # keeps the length's gradient finite where a cell has not moved yet
        moved = ((z - state.z0).square().sum(1) + 1e-12).sqrt().sum()
        loss = loss + self.params.latent_weight * moved / state.z0.square().sum(1).sqrt().sum()
        self.model.guard(loss, f"iteration {iteration}")
        (gradient,) = torch.autograd.grad(loss, z)
        return gradient

    def _encoder_distance(self, source: Tensor) -> Distance:
        """Sum over the VAE encoder's blocks of the mean squared difference of unit-normalised features."""
        encoder = self.model.vae.encoder

        def features(x: Tensor) -> list[Tensor]:
            found = [encoder.conv_in(x.to(self.model.vae.dtype))]
            for block in encoder.down_blocks:
                found.append(block(found[-1]))
            return [normalize(each.float(), dim=1) for each in found]

        reference = features(source)

        def distance(x: Tensor) -> Tensor:
            gaps = [(a - b).square().sum(1).mean((1, 2)) for a, b in zip(features(x), reference, strict=True)]
            return torch.stack(gaps).sum(0)

        return distance

    def _lpips(self, source: Tensor) -> Distance:
        network = _open_lpips(self.params.lpips_vgg).to(self.model.device)
        return lambda x: network(x, source.expand_as(x)).flatten()

    def facts(self, state: FlexITState) -> dict[str, str | float | bool]:
        own = "LPIPS VGG" if self.params.lpips_vgg else "VAE encoder features, unweighted"
        return {"latent": "VAE", "perceptual": own, **order_of_views(self.model.device)}


def _file_digest(path: str) -> str:
    file = expanded(path)
    if file.suffix != ".safetensors" or not file.is_file():
        raise MissingInput(f"lpips_vgg: expected an existing .safetensors file of torchvision VGG-16 weights, got {path!r}")
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _open_lpips(path: str) -> Any:
    """The ``lpips`` package's network (VGG, v0.1 with its learned weights) on the backbone weights of a file."""
    import warnings

    import lpips
    from safetensors.torch import load_file

    _file_digest(path)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    weights = load_file(expanded(path))
    wanted = network.net.state_dict()
    try:
        network.net.load_state_dict({key: weights[f"features.{key.split('.', 1)[1]}"] for key in wanted})
    except (KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EditorError(f"lpips_vgg: {path} does not hold torchvision's VGG-16 ({reason})") from None
    return network.eval().requires_grad_(False)
