"""Networks that describe a picture or find something in it, from transformers' folders: safetensors only, no code of theirs is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import ModelError
from editors.toolbox.digests import files_digest
from editors.toolbox.hub import Repository, first_place

__all__ = ["Captioner", "Folder", "Segmenter", "opened"]

FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
"""What is read of a folder, and what its digest covers."""
MOST_TOKENS = 64


@dataclass(frozen=True)
class Folder:
    """A network's folder: its name as a sidecar has it, where it lies, and the sha256 (64 hex) of what is read of it."""

    name: str
    path: Path
    digest: str


def opened(name: str) -> Folder:
    """The folder that `name` means: one on this machine, or `owner/name` or `owner/name@revision` of the hub, which is fetched.

    Raises HubError where there is none, ModelError where it holds no weights that are read.
    """
    place = first_place(name, Repository("", files=FILES, index="config.json"))
    found = place.fetch() if isinstance(place, Repository) else place
    files = [file for pattern in FILES for file in found.glob(pattern) if file.is_file()]
    if not any(file.suffix == ".safetensors" for file in files):
        raise ModelError(f"{found}: holds no .safetensors; save the network there with save_pretrained")
    return Folder(str(place) if isinstance(place, Repository) else found.resolve().name, found, files_digest(found, files))


class Captioner:
    """Pictures to captions, greedily: BLIP and its like, which continue the prompt, or a model that is spoken to.

    Args:
        folder: of a network that AutoModelForImageTextToText knows, with its processor.
        prompt: beginning of the caption, or the question where the processor has a template for chats, which needs one.
        device: torch device.

    Raises:
        ModelError: the folder cannot be read as one, or the prompt that it needs is missing.
    """

    field, by = "source_text", "caption"

    def __init__(self, folder: Folder, prompt: str = "", device: str = "cpu") -> None:
        from transformers import AutoModelForImageTextToText, pipeline

        model, processor = _read(AutoModelForImageTextToText, folder)
        self._chats = getattr(processor, "chat_template", None) is not None
        if self._chats and not prompt:
            raise ModelError(f"{folder.name} is spoken to: give --prompt, such as 'Describe the picture in one short sentence.'")
        self.folder, self.prompt = folder, prompt
        self._pipeline: Any = pipeline("image-text-to-text", model=model, processor=processor, device=device)

    def __call__(self, picture: NDArray[np.uint8], **_texts: str | None) -> str:
        """The caption of uint8 (H, W, 3); empty where the network says nothing."""
        from PIL import Image

        image = Image.fromarray(picture)
        told = {"max_new_tokens": MOST_TOKENS, "generate_kwargs": {"do_sample": False}, "return_full_text": False}
        if self._chats:
            asked = [{"type": "image", "image": image}, {"type": "text", "text": self.prompt}]
            answer = self._pipeline(text=[{"role": "user", "content": asked}], **told)
            return " ".join(str(answer[0]["generated_text"]).split())
        answer = self._pipeline(images=image, text=self.prompt, **told)
        return " ".join(f"{self.prompt} {answer[0]['generated_text']}".split())


class Segmenter:
    """Pictures and phrases to masks by CLIPSeg (Lueddecke and Ecker 2022, arXiv 2112.10003).

    Args:
        folder: of a CLIPSegForImageSegmentation with its processor.
        prompt: the phrase to find, in which {source_class}, {target_class}, {source_text}, {target_text} and {instruction} stand for
            the sample's.
        threshold: probability from which a pixel belongs to it, 0..1.
        device: torch device.

    Raises:
        ModelError: the folder cannot be read as one, or the phrase names what no sample has.
    """

    field, by = "mask", "segment"

    def __init__(self, folder: Folder, prompt: str = "{source_class}", threshold: float = 0.4, device: str = "cpu") -> None:
        from transformers import CLIPSegForImageSegmentation

        model, self._processor = _read(CLIPSegForImageSegmentation, folder)
        self.folder, self.prompt, self._threshold, self._device = folder, prompt, threshold, device
        self._model: Any = model.to(device).eval().requires_grad_(False)

    def __call__(self, picture: NDArray[np.uint8], **texts: str | None) -> NDArray[np.bool_]:
        """The mask, bool (H, W), of uint8 (H, W, 3). Raises ModelError where the sample lacks what the phrase names, or nothing is found."""
        import torch
        from PIL import Image

        phrase = self._phrase(texts)
        inputs = self._processor(text=[phrase], images=[Image.fromarray(picture)], return_tensors="pt").to(self._device)
        with torch.no_grad():
            logits = self._model(**inputs).logits.float()
        rows, columns = logits.shape[-2:]
        full = torch.nn.functional.interpolate(
            logits.reshape(1, 1, rows, columns), picture.shape[:2], mode="bilinear", align_corners=False
        )
        mask: NDArray[np.bool_] = (full[0, 0].sigmoid() >= self._threshold).cpu().numpy()
        if not mask.any():
            raise ModelError(f"found no '{phrase}' from a probability of {self._threshold:g} on")
        return mask

    def _phrase(self, texts: dict[str, str | None]) -> str:
        try:
            lacking = [name for name, text in texts.items() if text is None and f"{{{name}}}" in self.prompt]
            if lacking:
                raise ModelError(f"the sample has no {', '.join(lacking)}")
            return self.prompt.format_map(texts)
        except (KeyError, ValueError, IndexError) as error:
            names = ", ".join(f"{{{name}}}" for name in texts)
            raise ModelError(f"prompt '{self.prompt}': {error}; it may name {names}") from error


def _read(cls: Any, folder: Folder) -> tuple[Any, Any]:
    """Model and processor of a folder. Raises ModelError."""
    from transformers import AutoProcessor

    from metrics.base import MetricError
    from metrics.networks.weights import OFFLINE, open_pretrained, readable, require_folder

    try:
        require_folder(folder.path, folder.name, ("config.json",))
        model = open_pretrained(cls, folder.path, folder.name)
        with readable(f"{folder.name}: no processor can be read in {folder.path}"):
            return model, AutoProcessor.from_pretrained(folder.path, **OFFLINE)
    except MetricError as error:
        raise ModelError(str(error)) from error
