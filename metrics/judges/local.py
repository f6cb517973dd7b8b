"""Judges on disk: vision-language models that transformers opens for image-text-to-text, such as Qwen2.5-VL and what was fine-tuned from it.

The folder holds the model, its processor and a chat template, as `save_pretrained` or the hub leave them; nothing is downloaded and no code of
the folder is run. Questions are answered one at a time, so that none depends on another.

A preset brings what was seen in the code of a published judge of how it looks at pictures and draws its words; the wording and the scale stay
this project's, and so does the name of the number. A reward model whose head is no part of such a model (EditReward) cannot be opened here
and is refused, and so is an adapter that was not merged into its model.

    imgedit-judge   ImgEdit_Judge, Qwen2.5-VL-7B: min_pixels, max_pixels and max_new_tokens of the ImgEdit README (547185d); how it draws
                    tokens stands in the folder and was not seen, so that the likeliest token is taken
    editscore       EditScore, adapters for Qwen2.5-VL and Qwen3-VL: temperature, top_p, top_k, max_new_tokens, dtype and first seed of
                    editscore/ (6e0f1b9); its passes are `repeats`; asked there on 0..25 in its authors' words
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
from pydantic import Field

from metrics.base import MetricError
from metrics.card import Sight, fingerprint
from metrics.judges.answers import Failure, Judge, Question, Reply, Take
from metrics.judges.params import Strict
from metrics.judges.pictures import ENCODING, geometry, shrunk
from metrics.networks.classifier import architecture
from metrics.networks.images import exact, open_device
from metrics.networks.weights import OFFLINE, digest_of_state, first_line, open_pretrained, readable, require_folder

__all__ = ["PRESETS", "LocalJudge", "LocalParams"]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "imgedit-judge": {"min_pixels": 1_016_064, "max_pixels": 1_354_752, "max_tokens": 2048},
    "editscore": {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "max_tokens": 512, "dtype": "bfloat16", "seed": 42},
}
"""Name to parameters, where the spec does not give its own."""


class LocalParams(Strict):
    """A model in a folder."""

    folder: str = Field(min_length=1, description="model, processor and chat template")
    preset: Literal["", "imgedit-judge", "editscore"] = Field(default="", description="parameters of a published judge")
    temperature: float = Field(default=0.0, ge=0, le=2, description="0 takes the likeliest token")
    top_p: float = Field(default=1.0, gt=0, le=1, description="share of the likeliest tokens that are drawn from, by probability")
    top_k: int = Field(default=50, ge=0, description="number of the likeliest tokens that are drawn from; 0 is all")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the first repeat")
    max_tokens: int = Field(default=512, ge=16)
    side: int = Field(default=0, ge=0, le=8192, description="longest side of a picture in pixels; 0 leaves it as it is")
    min_pixels: int | None = Field(default=None, ge=1, description="of a picture, for processors that take it")
    max_pixels: int | None = Field(default=None, ge=1, description="likewise")
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"

    @property
    def resolved(self) -> LocalParams:
        """With the values of the preset where none were given."""
        own = {name: value for name, value in PRESETS[self.preset].items() if name not in self.model_fields_set}
        return self.model_copy(update=own)

    @property
    def sampling(self) -> str:
        """How words are drawn, in the words of a card."""
        drawn = "" if (self.top_p, self.top_k) == (1.0, 50) else f" top_p={self.top_p:g} top_k={self.top_k}"
        return f"temperature={self.temperature:g}{drawn} seed={self.seed}+repeat max_tokens={self.max_tokens}"


class LocalJudge(Judge):
    """Ask a model on this machine.

    Args:
        params: which model, and how.
        device: torch device.

    Raises:
        MetricError: the folder cannot be read, or holds no model that takes pictures and text and answers in text.
    """

    def __init__(self, params: LocalParams, device: str = "cpu") -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        folder = require_folder(params.folder, "judge", ("config.json",))
        params = params.resolved
        self._params, self._device = params, open_device(device)
        pixels = {name: given for name in ("min_pixels", "max_pixels") if (given := getattr(params, name)) is not None}
        model = open_pretrained(AutoModelForImageTextToText, folder, "judge", dtype=getattr(torch, params.dtype))
        with readable(f"judge: {folder} has no readable processor"):
            self._processor = AutoProcessor.from_pretrained(folder, **OFFLINE, **pixels)
        if not getattr(self._processor, "chat_template", None):
            raise MetricError(f"judge: {folder} has no chat template; save the processor that belongs to the model there")
        self._tokenizer = getattr(self._processor, "tokenizer", self._processor)
        weights = digest_of_state(model.state_dict())
        self._model = model.to(self._device).eval().requires_grad_(False)
        self.name, self.snapshot = folder.name, weights[:12]
        self.sampling = params.sampling
        images = getattr(self._processor, "image_processor", None)
        own = fingerprint({"images": str(images.to_dict() if images else None), "chat": str(self._processor.chat_template)})
        shape = geometry(params.side)
        self.sight = Sight(
            network=f"transformers {type(model).__name__} config={architecture(model.config)} {params.dtype}",
            weights=weights,
            resolution=shape["resolution"],
            resize=f"{shape['resize']}; then the model's own processor {own}",
            value_range=ENCODING.partition(",")[0],
        )

    def ask(self, questions: Sequence[Question], take: Take) -> None:
        for place, question in enumerate(questions):
            began = time.monotonic()
            try:
                text, tokens = self._answer(question)
            except (RuntimeError, ValueError, IndexError) as error:
                raise MetricError(f"judge {self.name}: cannot answer ({first_line(error)})") from error
            cut = tokens >= self._params.max_tokens
            failure = Failure("cut_off", f"at {tokens} tokens") if cut else None
            take(place, Reply(text, failure, self.name, {"seconds": round(time.monotonic() - began, 3), "tokens": tokens}))

    def _answer(self, question: Question) -> tuple[str, int]:
        """The judge's words, and how many tokens they have."""
        p = self._params
        pictures = [PIL.Image.fromarray(shrunk(np.ascontiguousarray(image), p.side)) for image in question.pictures]
        content = [*({"type": "image", "image": image} for image in pictures), {"type": "text", "text": question.prompt}]
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._device)
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []), exact():
            torch.manual_seed(p.seed + question.repeat)
            found = self._model.generate(**inputs, generation_config=self._settings())
        fresh = found[0, inputs["input_ids"].shape[1] :]
        return self._processor.decode(fresh, skip_special_tokens=True), len(fresh)

    def _settings(self) -> Any:
        """How tokens are chosen; of the folder's own settings only its end marks count."""
        from transformers import GenerationConfig

        p, own = self._params, self._model.generation_config
        drawn = {"do_sample": True, "temperature": p.temperature, "top_p": p.top_p, "top_k": p.top_k}
        chosen = drawn if p.temperature else {"do_sample": False}
        pad = own.pad_token_id if own.pad_token_id is not None else getattr(self._tokenizer, "pad_token_id", None)
        return GenerationConfig(max_new_tokens=p.max_tokens, eos_token_id=own.eos_token_id, pad_token_id=pad, **chosen)
