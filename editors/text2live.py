"""Text2LIVE (Bar-Tal et al., ECCV 2022, arXiv 2204.02491): a layer of colour and opacity, painted for each picture under CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss, normalize

from editors.base import Editor, EditTask, FairPlay, Image, Knob
from editors.base import Params as AnyParams
from editors.toolbox.augment import Warp, order_of_views, views
from editors.toolbox.clip import ClipParams, RankingCLIP, clip_assets, spherical_distance
from editors.toolbox.diffusion import derive_seed, seeded, to_pictures, to_tensor

__all__ = ["Text2LIVE", "Text2LIVEParams", "Text2LIVEState"]

_GREEN = (0.0, 177 / 255, 64 / 255)
_CROP = Warp(crop=0.85, flip=0.5)
_VIEW = Warp(rotation=15, shift=0.1, crop=0.6, perspective=0.2, flip=0.5)


class Text2LIVEParams(ClipParams):
    """Parameters of Text2LIVE; the defaults are those of the published configuration."""

    steps: int = Field(1000, ge=1, description="training steps of the generator, one view of the picture each")
    lr: float = Field(2.5e-3, gt=0, description="learning rate at the start")
    lr_decay: float = Field(0.99, gt=0, le=1, description="factor on the learning rate after each step")
    min_lr: float = Field(1e-5, gt=0, description="smallest learning rate")
    composition_weight: float = Field(
        1.0, ge=0, description="weight of the composite's distance from the target text, and of its direction"
    )
    screen_weight: float = Field(
        1.0, ge=0, description="weight of the distance of the layer on a green screen from the screen text"
    )
    structure_weight: float = Field(2.0, ge=0, description="weight of the change of self-similarity between source and composite")
    sparsity_weight: float = Field(6.0, ge=0, description="weight of the opacity's sparsity")
    l0_weight: float = Field(0.01, ge=0, description="weight of its smooth L0 part")
    l1_weight: float = Field(0.01, ge=0, description="weight of its L1 part")
    bootstrap_weight: float = Field(10.0, ge=0, description="first weight of the opacity's distance from the relevance map")
    bootstrap_share: float = Field(1.0, ge=0, le=1, description="share of the steps over which that weight falls to 0; 0 = off")
    augmentations: int = Field(16, ge=1, description="views of each picture that CLIP sees")
    source_every: int = Field(75, ge=1, description="every so many steps the whole picture is shown beside a crop of it")
    screen_text: str = Field("{} over a green screen.", description="text of the screen loss; {} stands for the target text")
    width: int = Field(128, ge=4, description="channels of the generator")
    scales: int = Field(7, ge=1, description="halvings of the picture in the generator")


@dataclass(frozen=True, eq=False)
class Text2LIVEState:
    """The painted layer."""

    source: Tensor
    """Source picture, (1, 3, H, W) float32 in -1..1."""
    edit: Tensor
    """The layer's colours, (1, 3, H, W) in -1..1."""
    alpha: Tensor
    """Its opacity, (1, 1, H, W) in 0..1."""
    relevance: Tensor
    """Where the bootstrap expected the edit, (1, 1, H, W) in 0..1."""
    losses: Mapping[str, float]
    """Terms of the last step's loss, not weighted."""


@dataclass(frozen=True, eq=False)
class _Texts:
    target: Tensor
    screen: Tensor
    direction: Tensor
    """Embedding of the target text less that of the source text, (d,)."""


class Text2LIVE(Editor[Text2LIVEState]):
    """A generator is trained on views of one picture to paint a layer (colours and opacity) over it.

    composite = alpha edit + (1 - alpha) source. The loss has the paper's terms: composition (distance of the composite from the
    target text, and of the change of picture from the change of text), screen (the layer alone on a green screen), structure
    (the self-similarity of CLIP's spatial features stays), sparsity (L1 and a smooth L0 of the opacity), and a bootstrap, fading
    over the steps, that draws the opacity towards a relevance map. Distances are half the squared angle; CLIP sees random views.

    Knob: **the paper has none**. Here it scales the finished layer's opacity: 0 is the source to the bit, 1 the paper's result.
    All values share one training. The method paints over what is there; it is not meant for new objects or other layouts.

    Departures. A manifest has captions, not the paper's separate texts: the target caption serves for composition and, in the
    screen text's frame, for the layer; the source caption for the direction. There are no prompt templates. The relevance map is
    Grad-CAM for what tells the source text from the target text, where the paper has a transformer's attention relevance for the
    name of the region. Self-similarity is that of the deepest features with 16 cells or more rather than of a ViT's keys. The
    optimiser is Adam, not MADGRAD; the colours of views are not jittered; the generator normalises by groups. The diffusion
    model gives the device and the cancel hook alone: none of its networks takes part.
    """

    name = "text2live"
    version = "1"
    knob = Knob("opacity", 0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), "factor on the painted layer's opacity", zero="source")
    needs = frozenset({"source_text"})
    channels = frozenset({0, 4, 5})
    Params = Text2LIVEParams
    params: Text2LIVEParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "steps": 1000,
            "lr": 2.5e-3,
            "lr_decay": 0.99,
            "min_lr": 1e-5,
            "composition_weight": 1.0,
            "screen_weight": 1.0,
            "structure_weight": 2.0,
            "sparsity_weight": 6.0,
            "l0_weight": 0.01,
            "l1_weight": 0.01,
            "bootstrap_weight": 10.0,
            "augmentations": 16,
        },
        "fast": {"steps": 300, "augmentations": 8, "source_every": 5},
        "toybox": {
            "steps": 150,
            "augmentations": 4,
            "source_every": 2,
            "bootstrap_share": 0.5,
            "width": 24,
            "scales": 4,
            "screen_text": "{}",
            "screen_weight": 0.0,
        },
    }

    @classmethod
    def assets(cls, params: AnyParams) -> Mapping[str, str]:
        assert isinstance(params, Text2LIVEParams)
        return clip_assets(params)

    @cached_property
    def ranker(self) -> RankingCLIP:
        """The network that is optimised against."""
        return RankingCLIP.load(self.params.clip, self.model.device)

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True, clip_in_loop=True, fine_tunes=True)

    def prepare(self, task: EditTask) -> Text2LIVEState:
        self.check(task)
        assert task.source_text is not None
        p, device = self.params, self.model.device
        source = to_tensor(task.image, device)
        framed = p.screen_text.replace("{}", task.target_text)
        target, screen, present = self.ranker.embed_texts([task.target_text, framed, task.source_text])
        texts = _Texts(target, screen, target - present)
        relevance = self.ranker.relevance(source, -texts.direction)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(derive_seed(task.seed, "generator") % 2**63)
            generator = LayerGenerator(p.width, p.scales).to(device)
        losses = self._train(generator, source, relevance, texts, task.seed)
        with torch.no_grad():
            edit, alpha = generator(source)
        self.model.guard(edit, "the finished layer")
        return Text2LIVEState(source, edit, alpha, relevance, losses)

    def _train(
        self, generator: LayerGenerator, source: Tensor, relevance: Tensor, texts: _Texts, seed: int
    ) -> Mapping[str, float]:
        p = self.params
        optimiser = torch.optim.Adam(generator.parameters(), lr=p.lr)
        draws = seeded(derive_seed(seed, "views"))
        terms: dict[str, Tensor] = {}
        stacked = torch.cat([source, relevance], dim=1)
        with torch.enable_grad():
            for step in range(p.steps):
                seen = views(stacked, 2 if step % p.source_every == 0 else 1, _CROP, draws, keep_first=step % p.source_every == 0)
                x, expected = seen[:, :3], seen[:, 3:]
                edit, alpha = generator(x)
                terms = self._terms(x, edit, alpha, texts, draws)
                loss = self._weigh(terms)
                until = p.bootstrap_share * p.steps
                if p.bootstrap_weight and step < until:
                    terms["bootstrap"] = mse_loss(alpha, expected)
                    loss = loss + p.bootstrap_weight * (1 - (step + 1) / until) * terms["bootstrap"]
                self.model.guard(loss, f"layer optimisation, step {step}")
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                for group in optimiser.param_groups:
                    group["lr"] = max(p.min_lr, p.lr * p.lr_decay ** (step + 1))
        return {f"{name}_loss": term.item() for name, term in terms.items()}

    def _weigh(self, terms: Mapping[str, Tensor]) -> Tensor:
        p = self.params
        weights = {
            "composition": p.composition_weight,
            "direction": p.composition_weight,
            "screen": p.screen_weight,
            "structure": p.structure_weight,
            "l0": p.sparsity_weight * p.l0_weight,
            "l1": p.sparsity_weight * p.l1_weight,
        }
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()

    def _terms(self, x: Tensor, edit: Tensor, alpha: Tensor, texts: _Texts, draws: torch.Generator) -> dict[str, Tensor]:
        """The loss' terms for pictures x (m, 3, H, W) and their layers; those without weight that cost a pass of CLIP are left out."""
        p = self.params
        composite = alpha * edit + (1 - alpha) * x
        terms = {"l0": (2 * torch.sigmoid(5 * alpha) - 1).mean(), "l1": alpha.mean()}
        if p.composition_weight:
            seen = views(torch.cat([composite, x]), p.augmentations, _VIEW, draws).view(p.augmentations, 2, *x.shape)
            after = self.ranker.embed_images(seen[:, 0].flatten(0, 1))
            with torch.no_grad():
                before = self.ranker.embed_images(seen[:, 1].flatten(0, 1))
            terms["composition"] = spherical_distance(after, texts.target).mean()
            terms["direction"] = 1 - (normalize(after - before, dim=-1) @ normalize(texts.direction, dim=0)).mean()
        if p.screen_weight:
            green = 2 * x.new_tensor(_GREEN).view(1, 3, 1, 1) - 1
            layer = views(alpha * edit + (1 - alpha) * green, p.augmentations, _VIEW, draws)
            terms["screen"] = spherical_distance(self.ranker.embed_images(layer), texts.screen).mean()
        if p.structure_weight:
            terms["structure"] = mse_loss(self._self_similarity(composite), self._self_similarity(x))
        return terms

    def _self_similarity(self, x: Tensor) -> Tensor:
        """Cosines between all pairs of CLIP's spatial features, (m, cells, cells)."""
        features = normalize(self.ranker.spatial(x), dim=-1)
        return features @ features.transpose(1, 2)

    def render(self, state: Text2LIVEState, values: Sequence[float]) -> list[Image]:
        opacity = torch.cat([value * state.alpha for value in values])
        return to_pictures(opacity * state.edit + (1 - opacity) * state.source)

    def pictures(self, state: Text2LIVEState) -> dict[str, NDArray[Any]]:
        return {"alpha": state.alpha[0, 0].cpu().numpy(), "relevance": state.relevance[0, 0].cpu().numpy()}

    def facts(self, state: Text2LIVEState) -> dict[str, str | float | bool]:
        return {**state.losses, "opacity_share": float(state.alpha.mean()), **order_of_views(self.model.device)}


def _block(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, padding_mode="replicate"), nn.GroupNorm(1, out), nn.LeakyReLU(0.2)
    )


class LayerGenerator(nn.Module):
    """An encoder and decoder of one width, with a narrow skip connection at every scale (the paper's: width 128, 4 for skips)."""

    def __init__(self, width: int, scales: int, skip: int = 4) -> None:
        """Random weights from the global generator, which the caller forks and seeds."""
        super().__init__()
        sides = [3, *[width] * (scales - 1)]
        self.skips = nn.ModuleList(_block(channels, skip, 1) for channels in sides)
        self.downs = nn.ModuleList(nn.Sequential(_block(channels, width, 3, 2), _block(width, width, 3)) for channels in sides)
        self.ups = nn.ModuleList(nn.Sequential(_block(width + skip, width, 3), _block(width, width, 1)) for _ in sides)
        self.out = nn.Conv2d(width, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (m, 3, H, W) in -1..1 and opacity (m, 1, H, W) in 0..1 for pictures (m, 3, H, W) in -1..1, of any size."""
        kept = []
        for skip, down in zip(self.skips, self.downs, strict=True):
            kept.append(skip(x))
            x = down(x)
        for up, side in zip(reversed(self.ups), reversed(kept), strict=True):
            x = interpolate(x, side.shape[-2:], mode="bilinear", align_corners=False)
            x = up(torch.cat([x, side], dim=1))
        layer = torch.sigmoid(self.out(x))
        return 2 * layer[:, :3] - 1, layer[:, 3:]
