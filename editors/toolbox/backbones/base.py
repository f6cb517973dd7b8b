"""What a family of latent models has to say of itself, so that editors need not know which one they run on."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from editors.task import FAMILIES
from editors.toolbox.compiled import Compiled
from editors.toolbox.schedule import Schedule

__all__ = ["Backbone", "Part", "encoder", "factor_of", "network", "pooled", "tokenizer", "unpooled"]


@dataclass(frozen=True)
class Part:
    """A folder of a checkpoint: what may be in it."""

    library: str
    """``diffusers`` or ``transformers``."""
    classes: tuple[str, ...]
    """Of which one is there; nothing else is looked up by a name that a checkpoint gives."""
    stem: str = ""
    """Name of the weights' file without ending; empty for what has none."""
    pickle: str = ""
    """The same of older files, which can run code."""
    optional: bool = False
    """May be absent."""

    @property
    def required_encoder(self) -> bool:
        """Whether it is a text encoder that the family cannot do without."""
        return self.library == "transformers" and bool(self.stem) and not self.optional


def network(*classes: str) -> Part:
    """A network of diffusers."""
    return Part("diffusers", classes, "diffusion_pytorch_model", "diffusion_pytorch_model")


def encoder(*classes: str, optional: bool = False) -> Part:
    """A text encoder of transformers."""
    return Part("transformers", classes, "model", "pytorch_model", optional)


def tokenizer(*classes: str, optional: bool = False) -> Part:
    """A tokenizer of transformers."""
    return Part("transformers", classes, optional=optional)


class Backbone(ABC):
    """The networks of one checkpoint and what one call of each takes.

    A text is one *context* (1, l, d), float32, whatever it is made of: the hidden states of all encoders, and where a network takes a
    pooled vector beside them, that as a row of its own (see ``pooled``). So editors interpolate, optimise, repeat and concatenate
    contexts without knowing what is in them.
    """

    family: ClassVar[str]
    """Name, one of ``editors.task.FAMILIES``."""
    parts: ClassVar[Mapping[str, Part]]
    """The folders of a checkpoint that are read, beside ``scheduler``."""
    denoiser: ClassVar[str] = "unet"
    """The part that is the network."""
    reads: ClassVar[tuple[str, int]] = ("tokenizer", 0)
    """The tokenizer that decides where a text is cut, and at how many tokens; 0 is its own number."""
    flow: ClassVar[bool] = False
    """A rectified flow (Liu et al., arXiv 2209.03003), where the network predicts a velocity, and no diffusion model."""
    embeds_guidance: ClassVar[bool] = False
    """Guidance is an input of the network, which was distilled for it: one evaluation a step, and no unconditional one."""

    def __init__(
        self, parts: Mapping[str, Any], scheduler_config: Mapping[str, Any], index: Mapping[str, Any] | None = None
    ) -> None:
        """Take the loaded parts (None for one that is absent), the scheduler's configuration and ``model_index.json``."""
        self.loaded, self.index = dict(parts), dict(index or {})
        self.compiled: Compiled | None = None
        """The network as it is called where no gradient is kept; None is the network itself."""
        self.scheduler = self.noise_levels(scheduler_config)
        self.check()

    # what it is made of

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        return self.loaded["vae"]

    @property
    def network(self) -> Any:
        """The U-Net, or the transformer in its place."""
        return self.loaded[self.denoiser]

    @property
    def called(self) -> Any:
        """What ``evaluate`` calls: the network, or what it was compiled to where no gradient is kept."""
        return self.network if self.compiled is None or torch.is_grad_enabled() else self.compiled

    @property
    def networks(self) -> list[Any]:
        """All that has weights."""
        return [self.loaded[name] for name, part in self.parts.items() if part.stem and self.loaded.get(name) is not None]

    def replaced(self, *, network: Any = None, vae: Any = None) -> Backbone:
        """The same with another network, which is not compiled, or autoencoder; the rest is shared."""
        other = copy.copy(self)
        other.compiled = self.compiled if network is None else None
        other.loaded = self.loaded | {self.denoiser: network or self.network, "vae": vae or self.vae}
        return other

    @property
    def latent_channels(self) -> int:
        """c of a latent."""
        return int(self.vae.config.latent_channels)

    @property
    def extra_channels(self) -> int:
        """Input channels of the network beside the latent."""
        return int(self.network.config.in_channels - self.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels per latent cell along a side."""
        return factor_of(self.vae.config)

    @property
    def multiple(self) -> int:
        """What the sides of a picture are multiples of, in pixels."""
        return self.factor * int(getattr(self.network.config, "patch_size", None) or 1)

    @classmethod
    def side_of(cls, network: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
        """Side in pixels of the pictures the model was trained on, from the configurations of its network and autoencoder."""
        size = network["sample_size"]
        return int(size[0] if isinstance(size, list | tuple) else size) * factor_of(vae)

    @classmethod
    def title(cls) -> str:
        """Name, as people have it."""
        return FAMILIES[cls.family]

    def check(self) -> None:  # noqa: B027 (most families have nothing to add)
        """Raise ``CheckpointError`` where the parts do not belong together or are of a kind that is not supported."""

    # what it computes

    @abstractmethod
    def noise_levels(self, config: Mapping[str, Any]) -> Any:
        """The scheduler whose tables are used. Raises ``EditorError`` where the configuration makes none."""

    @abstractmethod
    def schedule(self, steps: int, side: int) -> Schedule:
        """The noise levels of ``steps`` steps for pictures of ``side`` pixels. Raises ``EditorError`` where there are none."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Tensor:
        """The contexts of n texts, (n, l, d) float32; texts are padded, and cut to what the tokenizers take."""

    @abstractmethod
    def evaluate(self, x: Tensor, timesteps: Tensor, context: Tensor, guidance: Tensor | None, **others: Any) -> Tensor:
        """One call of the network: x (m, c + extra channels, h, w), timesteps (m,), context (m, l, d), all float32; in its own dtype
        within, float32 (m, c, h, w) out. ``guidance`` (m,) where it ``embeds_guidance``. ``others`` go to the network by name.
        """

    @property
    @abstractmethod
    def train_levels(self) -> int:
        """Number of noise levels that it was trained on."""

    @abstractmethod
    def noised(self, x0: Tensor, levels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What training shows the network and asks of it: x0 (1, c, h, w) noised to ``levels`` (m,), integers below ``train_levels``,
        by ``noise`` (m, c, h, w); the timesteps (m,); what it should predict (m, c, h, w).
        """


def factor_of(vae: Mapping[str, Any]) -> int:
    """Pixels per latent cell along a side, by the autoencoder's configuration."""
    return int(2 ** (len(vae["block_out_channels"]) - 1))


def pooled(hidden: Tensor, vector: Tensor) -> Tensor:
    """Hidden states (n, l, d) and a vector (n, p <= d) of the whole text as one context (n, l + 1, d): its last row is the vector, filled
    up with zeros.
    """
    return torch.cat([hidden, torch.nn.functional.pad(vector, (0, hidden.shape[-1] - vector.shape[-1]))[:, None]], dim=1)


def unpooled(context: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The hidden states (n, l, d) and the vector (n, width) that ``pooled`` put together."""
    return context[:, :-1], context[:, -1, :width]
