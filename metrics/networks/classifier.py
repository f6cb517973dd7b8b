"""Image classification folders of transformers, opened so that labels, weights and preprocessing are what they claim to be.

A network may hold several classifiers in one vector of logits; its labels then read "head:value", as ToyBox's "object:dog",
"background:snow". Each head is a choice of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from metrics.base import Image, MetricError, fingerprint
from metrics.networks.images import (
    BATCH_SIZE,
    RESIZE_POLICY,
    check_batch_size,
    check_images,
    in_batches,
    open_device,
    resize_square,
)
from metrics.networks.resnet import PREFIX
from metrics.networks.weights import OFFLINE, digest_of_state, open_pretrained, read_text, readable, require_file, require_folder

__all__ = ["Choice", "Classifier", "open_classifier"]

PREPROCESSOR = "preprocessor_config.json"
SEPARATOR = ":"
HALF = (0.5, 0.5, 0.5)
Prepare = Callable[[Image], NDArray[np.float32]]
"""A picture to what the network reads, float32 (3, h, w)."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """A classifier in eval mode; the text fields are those of `metrics.base.Card`.

    Attributes:
        labels: name of each logit.
        mean: channel means that the network expects to be taken off x/255.
        std: channel deviations likewise.
    """

    labels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    network: str
    weights: str
    resolution: str
    resize: str
    value_range: str
    _model: Any
    _prepare: Prepare
    _device: torch.device
    _batch_size: int

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads in order; ("",) where the labels name none."""
        if all(SEPARATOR in label for label in self.labels):
            return tuple(dict.fromkeys(label.partition(SEPARATOR)[0] for label in self.labels))
        return ("",)

    def head(self, name: str) -> dict[str, int]:
        """Label to logit within one head, without the head's name; "" is the first head.

        Raises:
            MetricError: no such head.
        """
        if self.heads == ("",):
            if name:
                raise MetricError(f"head: the network's labels name no heads, got {name!r}; leave it out")
            return {label: place for place, label in enumerate(self.labels)}
        chosen = name or self.heads[0]
        if chosen not in self.heads:
            raise MetricError(f"head: expected one of {', '.join(self.heads)}, got {name!r}")
        prefix = chosen + SEPARATOR
        return {label.removeprefix(prefix): place for place, label in enumerate(self.labels) if label.startswith(prefix)}

    def logits(self, images: list[Image]) -> NDArray[np.float32]:
        """Logits (n, labels) of n >= 1 pictures uint8 (H, W, 3), in order.

        Raises:
            MetricError: a row is not a picture.
        """
        return self.run([self._prepare(image) for image in check_images(images, "images")])

    def run(self, pixels: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """`logits` of float32 (3, h, w) that are resized and normalised already."""
        return in_batches(self._forward, pixels, batch_size=self._batch_size)

    def _forward(self, pixels: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        rows = torch.from_numpy(np.stack(pixels)).to(self._device)
        logits: NDArray[np.float32] = self._model(pixel_values=rows).logits.float().cpu().numpy()
        return logits


def open_classifier(spec: str, what: str, device: str = "cpu", batch_size: int = BATCH_SIZE) -> Classifier:
    """Load "folder:/path": config.json with id2label, model.safetensors, and preprocessor_config.json where there is one.

    With a preprocessor file the pictures go through transformers' own image processor. Without one they are squashed to
    `image_size` of the config, or 64 pixels, and brought to -1..1.

    Raises:
        MetricError: something is missing or unreadable, or weights would be left random; nothing is downloaded.
    """
    folder = require_folder(spec.removeprefix(PREFIX), what, ("config.json", "model.safetensors"))
    chosen, size = open_device(device), check_batch_size(batch_size)
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model = open_pretrained(AutoModelForImageClassification, folder, what)
    has_file = (folder / PREPROCESSOR).is_file()
    with readable(f"{what}: {folder}/{PREPROCESSOR} is not readable"):
        processor = AutoImageProcessor.from_pretrained(folder, **OFFLINE) if has_file else None
    model = model.to(device=chosen, dtype=torch.float32).eval().requires_grad_(False)
    config = model.config
    settings: dict[str, Any] = {} if processor is None else json.loads(json.dumps(processor.to_dict(), default=str))
    prepare, fields = (
        _by_squashing(int(getattr(config, "image_size", 64))) if processor is None else _by_processor(processor, settings)
    )
    return Classifier(
        labels=tuple(str(config.id2label[place]) for place in range(config.num_labels)),
        network=f"transformers {type(model).__name__} config={architecture(config)}",
        weights=digest_of_state(model.state_dict()),
        mean=tuple(settings.get("image_mean") or HALF),
        std=tuple(settings.get("image_std") or HALF),
        _model=model,
        _prepare=prepare,
        _device=chosen,
        _batch_size=size,
        **fields,
    )


def _by_squashing(side: int) -> tuple[Prepare, dict[str, str]]:
    fields = {"resolution": f"{side}x{side}", "resize": RESIZE_POLICY, "value_range": "uint8 0..255 -> x/127.5 - 1"}
    return partial(_squash, side), fields


def _squash(side: int, image: Image) -> NDArray[np.float32]:
    pixels = resize_square(image, side).transpose(2, 0, 1).astype(np.float32)
    return np.ascontiguousarray(pixels / np.float32(127.5) - np.float32(1))


def _by_processor(processor: Any, settings: dict[str, Any]) -> tuple[Prepare, dict[str, str]]:
    side = settings.get("crop_size") if settings.get("do_center_crop") else settings.get("size")
    return partial(_process, processor), {
        "resolution": json.dumps(side, sort_keys=True),
        "resize": f"transformers {type(processor).__name__} settings={fingerprint(settings)}",
        "value_range": f"as its settings say: mean {settings.get('image_mean')}, std {settings.get('image_std')}",
    }


def _process(processor: Any, image: Image) -> NDArray[np.float32]:
    pixels = processor(images=PIL.Image.fromarray(image), return_tensors="np")["pixel_values"]
    return np.asarray(pixels[0], dtype=np.float32)


def architecture(config: Any) -> str:
    """Digest of what of a config determines the logits; where it was saved, by what, and in which precision does not."""
    prose = {"_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype", "problem_type"}
    settings = json.loads(json.dumps(config.to_dict(), default=str))
    return fingerprint({key: value for key, value in settings.items() if key not in prose})


class Choice:
    """The labels that a decision is between.

    Args:
        classifier: whose labels they are.
        head: "" is the first.
        labels: None allows all of the head.
        what: beginning of messages.

    Attributes:
        description: number and digest of the labels, in the words of a card.
    """

    def __init__(self, classifier: Classifier, head: str, labels: Sequence[str] | str | None, what: str) -> None:
        self._what = what
        self._headed = classifier.heads != ("",)
        self._labels = classifier.head(head)
        self._names = _names(self._labels)
        allowed = list(self._labels) if labels is None else list(dict.fromkeys(self._label(x) for x in _read(labels, what)))
        self._columns = np.array([self._labels[label] for label in allowed])
        self._allowed = {label: column for column, label in enumerate(allowed)}
        heads = f" of head {head or classifier.heads[0]}" if self._headed else ""
        self.description = f"{len(allowed)} of {len(self._labels)} labels{heads} ({fingerprint({'labels': allowed})})"

    def of(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The columns (n, allowed) of logits (n, labels)."""
        return logits[:, self._columns]

    def place(self, name: str, row: int) -> int:
        """The column of the class of a row.

        Raises:
            MetricError: the class is no label, or not an allowed one.
        """
        label = self._label(name, f"target_classes[{row}]: ")
        if label not in self._allowed:
            raise MetricError(
                f"{self._what}: target_classes[{row}] is {name!r}, which is not among the {len(self._allowed)} labels allowed; add it"
            )
        return self._allowed[label]

    def find(self, name: str) -> int | None:
        """The column of a class; None where it is no label, names several, or is not allowed."""
        found = self._meant(name)
        return self._allowed.get(next(iter(found))) if len(found) == 1 else None

    def _meant(self, name: str) -> set[str]:
        found = self._names.get(name) or self._names.get(name.strip().casefold(), set())
        if not found and self._headed:
            begins = [label for label in self._labels if name.startswith(f"{label} ")]
            found = {max(begins, key=len)} if begins else set()
        return found

    def _label(self, name: str, where: str = "") -> str:
        found = self._meant(name)
        if len(found) != 1:
            problem = "is no label of the network" if not found else f"is the name of {len(found)} labels"
            raise MetricError(
                f"{self._what}: {where}{name!r} {problem}; name a label of its config.json (such as {next(iter(self._labels))!r}) or a number"
            )
        return next(iter(found))


def _names(labels: dict[str, int]) -> dict[str, set[str]]:
    """Each name of a label in small letters, and its number, to the labels it may mean; a whole label means itself alone."""
    names: dict[str, set[str]] = {}
    for number, label in enumerate(labels):
        for name in (*(part.strip() for part in label.split(",")), str(number)):
            names.setdefault(name.casefold(), set()).add(label)
    return names | {label: {label} for label in labels}


def _read(labels: Sequence[str] | str, what: str) -> list[str]:
    if isinstance(labels, str):
        file: Path = require_file(labels, f"{what} labels", "name a text file with one label a line, or give a list")
        labels = [line.strip() for line in read_text(file, f"{what} labels").splitlines() if line.strip()]
    if len(labels) < 2:
        raise MetricError(
            f"{what} labels: expected at least two to choose between, got {list(labels)}; leave it out to allow all"
        )
    return [str(label) for label in labels]
