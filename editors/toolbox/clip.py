"""The image-text network that some editors optimise against or rank candidates by; never the one that scores their edits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from editors.task import EditorError, MissingInput, Params
from editors.toolbox.files import expanded
from editors.toolbox.untrusted import check_config, only, read_config, regular

__all__ = ["SELECTOR", "ClipParams", "RankingCLIP", "clip_assets", "clip_digest", "cut_out", "spherical_distance"]

SELECTOR = "CLIP similarity of the masked region"
"""How ``FairPlay.selector`` names the choice among candidates."""

_LOCAL = "local-dir:"
_CONFIG = "open_clip_config.json"
_READ = {".json", ".txt", ".model", ".safetensors"}
_HOW = "give local-dir:/folder (an open_clip folder) or <open_clip architecture>:/path/to/weights.safetensors"


class ClipParams(Params):
    """Parameter of every editor that has a CLIP in its loop."""

    clip: str = Field(
        "",
        description="network to optimise against or rank by, which must not be the judge: local-dir:/folder, or "
        "<open_clip architecture>:/path/to/weights.safetensors",
    )


def clip_digest(spec: str) -> str:
    """sha256 (64 hex) over the files that ``spec`` names. Raises ``MissingInput`` where it is empty or they are not there."""
    architecture, files = _locate(spec)
    total = hashlib.sha256(architecture.encode())
    for file in files:
        total.update(b"\0" + (file.name if architecture == _LOCAL else "weights").encode() + b"\0")
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def clip_assets(params: ClipParams, *, used: bool = True) -> Mapping[str, str]:
    """What ``Editor.assets`` says of the parameter ``clip``; where the network is not used, no file stands behind it."""
    return {"clip": clip_digest(params.clip) if used else ""}


def _locate(spec: str) -> tuple[str, list[Path]]:
    """``local-dir:`` or the architecture's name, and the files that are read."""
    if not spec:
        raise MissingInput(f"clip: this editor needs an image-text network, got none; {_HOW}")
    if spec.startswith(_LOCAL):
        folder = expanded(spec.removeprefix(_LOCAL))
        files = regular(file for file in folder.glob("*") if file.suffix in _READ)
        if not (folder / _CONFIG).is_file() or not any(file.suffix == ".safetensors" for file in files):
            raise MissingInput(f"clip: {folder} is not an open_clip folder with {_CONFIG} and safetensors weights; {_HOW}")
        settings = {file: read_config(file) for file in files if file.name.endswith("config.json")}
        check_config(settings[folder / _CONFIG], folder / _CONFIG)
        return _LOCAL, files
    architecture, colon, path = spec.partition(":")
    file = expanded(path)
    if not colon or file.suffix != ".safetensors" or not file.is_file():
        raise MissingInput(f"clip: expected an existing .safetensors file behind the architecture, got {spec!r}; {_HOW}")
    return architecture, [file]


class RankingCLIP:
    """An open_clip model in evaluation mode, float32 and frozen; gradients reach the pictures and nothing else.

    Pictures are resized as the network's own preprocessing says, by torch's antialiased filter instead of Pillow's, so
    that the gradient passes; values outside -1..1 are not clipped, for the same reason. Sources: Radford et al., arXiv
    2103.00020; open_clip.
    """

    def __init__(self, network: Any, tokenizer: Any, digest: str, device: torch.device) -> None:
        """Take a ready open_clip model and its tokenizer; ``load`` makes them from a spec."""
        self.digest = digest
        self._network = network.to(device).eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._device = device
        self._preprocess: Mapping[str, Any] = network.visual.preprocess_cfg
        size = self._preprocess["size"]
        self._size: tuple[int, int] = (size, size) if isinstance(size, int) else (size[0], size[1])
        if self._preprocess["resize_mode"] not in ("shortest", "squash"):
            raise EditorError(f"clip: resize_mode {self._preprocess['resize_mode']!r}: expected 'shortest' or 'squash'")

    @classmethod
    def load(cls, spec: str, device: str | torch.device = "cpu") -> RankingCLIP:
        """Open ``local-dir:/folder`` or ``<architecture>:/path/to/weights.safetensors``; equal specs share one network.

        Of architectures that exist with both activations the name decides: weights of OpenAI belong to ``ViT-B-16-quickgelu``.
        Raises ``MissingInput`` where there is none, ``EditorError`` where it cannot be opened.
        """
        return _open(spec, torch.device(device), clip_digest(spec))

    def embed_images(self, x: Tensor) -> Tensor:
        """Unit-norm embeddings (m, d) of pictures (m, 3, H, W), float32 around -1..1; keeps gradients."""
        embedding: Tensor = self._network.encode_image(self._standardise(x))
        return normalize(embedding.float(), dim=-1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit-norm embeddings (n, d) of texts, cut to the network's context length."""
        embedding: Tensor = self._network.encode_text(self._tokenizer(list(texts)).to(self._device))
        return normalize(embedding.float(), dim=-1)

    def spatial(self, x: Tensor) -> Tensor:
        """Features (m, cells, d) of the deepest block with a grid of at least 4x4 cells, for x as above; keeps gradients."""
        return self._deepest(self._blocks(x, intermediates_only=True)).flatten(2).transpose(1, 2)

    @torch.enable_grad()
    def relevance(self, x: Tensor, direction: Tensor) -> Tensor:
        """Where a picture (1, 3, H, W) has what ``direction`` (d,) of the embedding space says: (1, 1, H, W) in 0..1.

        Grad-CAM (Selvaraju et al., arXiv 1610.02391) on the features of ``spatial``, scaled by its largest value.
        """
        found = self._blocks(x.detach().requires_grad_(True), intermediates_only=False)
        features = self._deepest(found)
        similar = normalize(found["image_features"].float(), dim=-1) @ direction
        (gradient,) = torch.autograd.grad(similar.sum(), features)
        heat = (gradient.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu().detach()
        heat = interpolate(heat, x.shape[-2:], mode="bilinear", align_corners=False)
        return heat / heat.max().clamp(min=1e-12)

    def _blocks(self, x: Tensor, *, intermediates_only: bool) -> dict[str, Any]:
        blocks: dict[str, Any] = self._network.visual.forward_intermediates(
            self._standardise(x), intermediates_only=intermediates_only
        )
        return blocks

    @staticmethod
    def _deepest(found: dict[str, Any]) -> Tensor:
        blocks: list[Tensor] = found["image_intermediates"]
        return next((block for block in reversed(blocks) if block.shape[-2] * block.shape[-1] >= 16), blocks[0])

    def _standardise(self, x: Tensor) -> Tensor:
        x = self._resize((x + 1) / 2)
        mean, std = (x.new_tensor(self._preprocess[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        return (x - mean) / std

    def _resize(self, x: Tensor) -> Tensor:
        height, width = self._size
        if x.shape[-2:] == self._size:
            return x
        if self._preprocess["resize_mode"] == "squash":
            inner = self._size
        else:
            scale = max(height / x.shape[-2], width / x.shape[-1])
            inner = (max(height, round(x.shape[-2] * scale)), max(width, round(x.shape[-1] * scale)))
        x = interpolate(x, inner, mode=self._preprocess["interpolation"], align_corners=False, antialias=True)
        top, left = (inner[0] - height) // 2, (inner[1] - width) // 2
        return x[..., top : top + height, left : left + width]


def cut_out(x: Tensor, pixels: Tensor) -> Tensor:
    """Pictures (m, 3, H, W) around -1..1 with everything outside ``pixels`` (1, 1, H, W) bool black; keeps gradients."""
    return torch.where(pixels, x, -1.0)


def spherical_distance(x: Tensor, y: Tensor) -> Tensor:
    """Half the squared angle between unit vectors (..., d) that broadcast: 2 arcsin(|x - y| / 2)^2, (...)."""
    return 2 * ((x - y).norm(dim=-1) / 2).clamp(max=1 - 1e-6).arcsin().square()


@lru_cache(maxsize=2)
def _open(spec: str, device: torch.device, digest: str) -> RankingCLIP:
    import open_clip

    architecture, files = _locate(spec)
    if architecture != _LOCAL and architecture not in open_clip.list_models():
        raise MissingInput(f"clip: open_clip has no architecture {architecture!r}; see open_clip.list_models()")
    try:
        with torch.random.fork_rng(devices=[]), only(files[0].parent, files) as view:
            name, weights = (f"{_LOCAL}{view}", None) if architecture == _LOCAL else (architecture, str(view / files[0].name))
            network = open_clip.create_model(name, pretrained=weights, precision="fp32", require_pretrained=True)
            tokenizer = open_clip.get_tokenizer(name)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EditorError(f"clip: {spec} cannot be opened: {reason}") from error
    return RankingCLIP(network, tokenizer, digest, device)
