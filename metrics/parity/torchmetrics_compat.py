"""CLIPScore and LPIPS as torchmetrics 1.9 computes them, per edit.

torchmetrics_clip   `torchmetrics.multimodal.CLIPScore`: transformers' CLIP and processor on uint8 pictures; 100 x cosine. A text over the
                    context is cut at its end, so the end mark that CLIP pools at is lost and the embedding is that of another place.
                    torchmetrics clamps the mean over all edits at 0; a value per edit has nothing to clamp there.
torchmetrics_lpips  `torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity`: feature maps divided by sqrt(sum + 1e-8) instead of
                    by norm + 1e-10, at the pictures' own size.

Differences to the metrics beside them: `clip` keeps the end mark and says which texts were cut; `lpips` looks at one recorded
resolution.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Bounds, Card, Embedded, Image, MetricError, PairBatch, PairMetric, sight_of
from metrics.networks.clip_towers import check_text, open_towers, unit
from metrics.networks.images import BATCH_SIZE, check_batch_size, check_images, exact, in_batches, open_device, to_tensor
from metrics.networks.lpips import open_lpips
from metrics.networks.openclip import LOCAL
from metrics.networks.resnet import PREFIX
from metrics.networks.weights import HUB, OFFLINE, digest_of_state, open_pretrained, readable, require_folder
from metrics.toolbox.pairs import Maps, compare_pairs
from metrics.toolbox.regions import check_pairs

__all__ = ["ClipNetwork", "TorchmetricsCLIP", "TorchmetricsLPIPS", "open_clip_pair"]

SCALE = 100.0
TOO_SMALL = "published code fails there; enlarge the pictures, or use lpips, which brings them to 256"


class ClipNetwork(Protocol):
    """Both towers of a CLIP, and the fields of the card that they determine."""

    network: str
    weights: str
    resolution: str
    resize: str
    value_range: str

    def images(self, images: list[Image]) -> NDArray[np.float32]:
        """Embeddings (n, d) of n >= 1 pictures."""

    def texts(self, texts: list[str]) -> NDArray[np.float32]:
        """Embeddings (n, d) of n >= 1 texts."""


class TransformersClip:
    """A transformers `CLIPModel` with its processor, used as torchmetrics does."""

    def __init__(self, spec: str, what: str, device: str, batch_size: int) -> None:
        folder = require_folder(spec.removeprefix(PREFIX), what, ("config.json", "model.safetensors", "preprocessor_config.json"))
        self._device, self._batch_size = open_device(device), check_batch_size(batch_size)
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

        model = open_pretrained(CLIPModel, folder, what)
        with readable(f"{what}: processor and tokenizer of {folder} are not readable"):
            self._processor: Any = CLIPImageProcessor.from_pretrained(folder, **OFFLINE)
            self._tokenizer: Any = CLIPTokenizer.from_pretrained(folder, **OFFLINE)
        self._model = model.to(device=self._device, dtype=torch.float32).eval().requires_grad_(False)
        config, settings = model.config, self._processor
        self._places = int(config.text_config.max_position_embeddings)
        vision = config.vision_config
        self.network = (
            f"transformers CLIP vision={vision.num_hidden_layers}x{vision.hidden_size} patch={vision.patch_size} "
            f"text={config.text_config.num_hidden_layers}x{config.text_config.hidden_size} act={config.text_config.hidden_act} "
            f"context_length={self._places}, texts cut without end mark"
        )
        self.weights = digest_of_state(model.state_dict())
        self.resolution = f"{settings.crop_size['height']}x{settings.crop_size['width']}"
        self.resize = f"transformers CLIPImageProcessor on uint8 tensors: size {dict(settings.size)}, centre crop"
        self.value_range = f"uint8 0..255 -> (x/255 - {list(settings.image_mean)}) / {list(settings.image_std)}"

    def images(self, images: list[Image]) -> NDArray[np.float32]:
        tensors = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
        pixels = [self._processor(images=[x], return_tensors="pt")["pixel_values"][0].numpy() for x in tensors]
        return in_batches(self._encode, pixels, batch_size=self._batch_size)

    def texts(self, texts: list[str]) -> NDArray[np.float32]:
        return np.concatenate([self._text(text) for text in texts])

    def _encode(self, pixels: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return _array(self._model.get_image_features(torch.from_numpy(np.stack(pixels)).to(self._device)))

    def _text(self, text: str) -> NDArray[np.float32]:
        ids = self._tokenizer([text], return_tensors="pt")
        short = {name: ids[name][:, : self._places].to(self._device) for name in ("input_ids", "attention_mask")}
        with exact():
            return _array(self._model.get_text_features(**short))


class OpenClip:
    """An open_clip network behind the same protocol; its tokenizer cuts a long text before the end mark."""

    def __init__(self, spec: str, device: str, batch_size: int) -> None:
        network, self.images, self.texts = open_towers(spec, None, None, device, batch_size)
        self.network, self.weights = network.network, network.weights
        self.resolution, self.resize, self.value_range = network.resolution, network.resize, network.value_range


def open_clip_pair(model: str, what: str, device: str, batch_size: int) -> ClipNetwork:
    """The CLIP that `model` names: "folder:/path" or "hub:owner/name" (transformers), or "local-dir:/path" (open_clip).

    Raises:
        MetricError: neither, or the folder cannot be read.
    """
    if model.startswith((PREFIX, HUB)):
        return TransformersClip(model, what, device, batch_size)
    if model.startswith(LOCAL):
        return OpenClip(model, device, batch_size)
    raise MetricError(
        f"{what}: expected 'folder:/path' or 'hub:owner/name' (transformers CLIPModel and processor), or 'local-dir:/path' (open_clip), "
        f"got {model!r}"
    )


class TorchmetricsCLIP(PairMetric):
    """torchmetrics' CLIPScore of edit and target text; higher is better.

    Args:
        model: "folder:/path" of a transformers CLIP with its processor (openai/clip-vit-large-patch14 is torchmetrics' default), or
            "local-dir:/path" of an open_clip network for the same arithmetic with another CLIP.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the folder cannot be read.
    """

    name: ClassVar[str] = "torchmetrics_clip"
    reads = frozenset({"target_texts"})
    bounds: Bounds = (-SCALE, SCALE)
    embedded: ClassVar[Embedded] = {"model": "judge"}
    _scale: ClassVar[str] = "100 x cosine per edit, not clamped"
    _masking: str = "whole picture"
    _nan_rule: str = "never"
    _source: ClassVar[str] = "torchmetrics 1.9 CLIPScore"

    def __init__(self, model: str, *, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        self._network = open_clip_pair(model, f"{self.name} model", device, batch_size)
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(self._network),
            scale=self._scale,
            masking=self._masking,
            nan_rule=self._nan_rule,
            higher_is_better=True,
            definition="CLIP score of the edit and the target text as published code computes it (parity mode).",
            source=self._source,
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits = check_images(batch.edits, "edits")
        texts = [check_text(text, f"target_texts[{row}]") for row, text in enumerate(batch.target_texts)]
        return self._scores(dict(enumerate(edits)), texts)

    def _scores(self, edits: dict[int, Image], texts: list[str]) -> NDArray[np.float64]:
        """Scores of all rows; NaN for those that `edits` leaves out."""
        scores = np.full(len(texts), np.nan, dtype=np.float64)
        if edits:
            asked = list(dict.fromkeys(texts[row] for row in edits))
            known = dict(zip(asked, unit(self._network.texts(asked)), strict=True))
            seen = unit(self._network.images(list(edits.values())))
            scores[list(edits)] = SCALE * np.sum(seen * np.stack([known[texts[row]] for row in edits]), axis=1)
        return scores


class TorchmetricsLPIPS(PairMetric):
    """torchmetrics' LPIPS of edit and source at their own size; 0 is identity, lower is better.

    Args:
        net: "alex", "vgg", "squeeze" or "folder:/path", see `metrics.lpips`.
        weights: file with torchvision's weights of the trunk; "" looks in torch's hub cache.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: unknown network, or weights missing; when scoring, a picture that is smaller than the network can look at.
    """

    name: ClassVar[str] = "torchmetrics_lpips"
    reads = frozenset({"sources"})
    bounds: Bounds = (0.0, None)
    embedded: ClassVar[Embedded] = {"net": "features"}
    _resolution: ClassVar[str] = "native"
    _resize: ClassVar[str] = "none"
    _masking: str = "whole picture"
    _nan_rule: str = "never"
    _source: ClassVar[str] = "torchmetrics 1.9 LearnedPerceptualImagePatchSimilarity"

    def __init__(self, net: str = "alex", *, weights: str = "", device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        self._device, self._batch_size = open_device(device), check_batch_size(batch_size)
        self._network = open_lpips(net, weights, self._device)
        self._network.unit = _divide_as_torchmetrics
        self.card = Card(
            name=self.name,
            version="1",
            network=f"{self._network.description}, feature maps divided by sqrt(sum of squares + 1e-8)",
            weights=digest_of_state(self._network.state_dict()),
            resolution=self._resolution,
            resize=self._resize,
            value_range=self._network.value_range,
            scale="plain distance, unclamped",
            masking=self._masking,
            nan_rule=self._nan_rule,
            higher_is_better=False,
            definition="LPIPS between edit and source as published code computes it (parity mode).",
            source=self._source,
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits, sources = check_pairs(batch, self.name)
        self._network.check_size(edits, "edits", TOO_SMALL)
        return self._distances(edits, sources)

    def _distances(self, edits: list[Image], sources: list[Image]) -> NDArray[np.float64]:
        def encode(images: list[Image]) -> Maps:
            return self._network.maps(to_tensor(images, self._device))

        def compare(one: Maps, two: Maps, _rows: list[int]) -> torch.Tensor:
            return torch.stack([layer.mean(dim=(1, 2, 3)) for layer in self._network.differences(one, two)]).sum(dim=0)

        return compare_pairs(encode, compare, edits, sources, self._batch_size)


def _divide_as_torchmetrics(state: torch.Tensor) -> torch.Tensor:
    return state / (state.square().sum(dim=1, keepdim=True) + 1e-8).sqrt()


def _array(features: Any) -> NDArray[np.float32]:
    """transformers 5 wraps the projected embedding; older ones return it."""
    tensor: torch.Tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    result: NDArray[np.float32] = tensor.float().cpu().numpy()
    return result
