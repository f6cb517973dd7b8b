"""The feature network: a small residual classifier whose layers serve FID, KID, CSFID and an LPIPS-style distance.

It is saved as a transformers ``ResNetForImageClassification`` folder. One logits vector holds five heads side by side (object,
state, background, accessory, flip); ``id2label`` names every logit ``head:label``. ``lpips.safetensors`` holds one weight a layer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import ResNetConfig, ResNetForImageClassification

from bench.toybox.stages.augment import distort, soften
from bench.toybox.stages.data import draw, to_unit
from bench.toybox.stages.loop import Stage, read_as_float32
from bench.toybox.vocabulary import ACCESSORIES, BACKGROUNDS, OBJECTS, STATES, object_named
from bench.toybox.world import Scene

__all__ = ["HEADS", "FeatureStage", "build_features", "calibrate", "labels_of", "layer_distances", "split_heads"]

HEADS: dict[str, tuple[str, ...]] = {
    "object": tuple(o.name for o in OBJECTS),
    "state": STATES,
    "background": tuple(b.name for b in BACKGROUNDS),
    "accessory": ACCESSORIES,
    "flip": ("no", "yes"),
}


def build_features() -> ResNetForImageClassification:
    """An untrained feature network of the shipped architecture."""
    names = [f"{head}:{label}" for head, labels in HEADS.items() for label in labels]
    return ResNetForImageClassification(
        ResNetConfig(
            embedding_size=32,
            hidden_sizes=[32, 64, 128, 256],
            depths=[1, 2, 2, 1],
            layer_type="basic",
            id2label=dict(enumerate(names)),
            label2id={name: i for i, name in enumerate(names)},
        )
    )


def split_heads(logits: Tensor) -> dict[str, Tensor]:
    """The logits of each head, (n, labels of the head), from (n, all labels)."""
    return dict(zip(HEADS, logits.split([len(labels) for labels in HEADS.values()], dim=1), strict=True))


def labels_of(scene: Scene) -> list[int]:
    """The index of the true label in every head."""
    truth = {
        "object": scene.object,
        "state": object_named(scene.object).state or "none",
        "background": scene.background,
        "accessory": scene.accessory,
        "flip": "yes" if scene.flip else "no",
    }
    return [HEADS[head].index(label) for head, label in truth.items()]


class FeatureStage(Stage):
    name = "features"
    learning_rate = 2e-3
    weight_decay = 0.02
    ema_decay = 0.995

    def __init__(self, seed: int, pool_size: int = 12_000, batch: int = 48) -> None:
        torch.manual_seed(seed)
        self.modules = nn.ModuleDict({"features": build_features()})
        self.pool = draw(pool_size, seed=3_000 + seed)
        self.labels = torch.tensor([labels_of(scene) for scene in self.pool.scenes])
        self.batch = batch
        self.seed = seed

    def loss(self, step: int, progress: float, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """The sum over heads of cross-entropy, on pictures softened and perturbed a little."""
        rows = rng.integers(len(self.pool), size=self.batch)
        network = self.modules["features"]
        x = soften(to_unit(self.pool.images[rows]), generator).to(network.device)
        labels = self.labels[rows].to(network.device)
        heads = split_heads(network(pixel_values=x).logits)
        return sum(cross_entropy(logits, labels[:, i]) for i, logits in enumerate(heads.values()))  # type: ignore[return-value]

    def export(self, folder: Path) -> None:
        network = self.modules["features"].cpu()
        weights, agreement = calibrate(network, to_unit(self.pool.images[:1000]), self.seed)
        network.half().save_pretrained(folder, safe_serialization=True)
        read_as_float32(folder)
        save_file({"weights": weights}, folder / "lpips.safetensors", metadata={"two_alternative_agreement": f"{agreement:.4f}"})


@torch.no_grad()
def layer_distances(network: ResNetForImageClassification, x: Tensor, y: Tensor) -> Tensor:
    """Squared distances of unit-normalised features, averaged over space, (n, layers), as LPIPS defines them.

    Source: Zhang et al., arXiv 1801.03924, Equation 1, before the layers are weighted.
    """
    both = zip(
        network.resnet(x, output_hidden_states=True).hidden_states,
        network.resnet(y, output_hidden_states=True).hidden_states,
        strict=True,
    )
    return torch.stack([(_unit(a) - _unit(b)).square().sum(1).mean((1, 2)) for a, b in both], dim=1)


def _unit(features: Tensor) -> Tensor:
    return features / (features.norm(dim=1, keepdim=True) + 1e-10)


def calibrate(network: ResNetForImageClassification, pictures: Tensor, seed: int) -> tuple[Tensor, float]:
    """Layer weights learned from generated two-alternative comparisons.

    Each comparison distorts one picture twice in the same manner at two known strengths; the weighted distance must call the
    stronger one farther. Weights are non-negative and scaled so that unrelated pictures are 0.7 apart on average.

    Returns float32 weights (layers,) and the share of held-out comparisons in which distance and strength agree.
    """
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    n = len(pictures)
    kinds = torch.randint(0, distort.kinds, (n,), generator=generator)
    strengths = torch.rand((n, 2), generator=generator)
    near = torch.stack(
        [distort(p, int(k), float(s), generator) for p, k, s in zip(pictures, kinds, strengths[:, 0], strict=True)]
    )
    far = torch.stack([distort(p, int(k), float(s), generator) for p, k, s in zip(pictures, kinds, strengths[:, 1], strict=True)])
    difference = layer_distances(network, pictures, far) - layer_distances(network, pictures, near)
    scale = difference.std(0)
    farther = (strengths[:, 1] > strengths[:, 0]).float()
    raw = nn.Parameter(torch.zeros(difference.shape[1]))
    optimiser = torch.optim.LBFGS([raw], max_iter=200, line_search_fn="strong_wolfe")
    half = n // 2

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits = (difference[:half] / scale) @ raw.exp()
        loss = binary_cross_entropy_with_logits(logits, farther[:half]) + 1e-3 * raw.square().mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    weights = (raw.exp() / scale).detach()
    agreement = float((((difference[half:] @ weights) > 0) == (farther[half:] > 0)).float().mean())
    unrelated = layer_distances(network, pictures, pictures.roll(1, 0)).mean(0) @ weights
    return (weights * 0.7 / unrelated).float(), agreement
