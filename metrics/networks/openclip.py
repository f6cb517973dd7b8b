"""open_clip networks, opened so that nothing is left to chance: weights present, activation as trained, tokenizer that fits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import MetricError, fingerprint
from metrics.networks.weights import digest_of_state, expanded, require_file, require_folder

__all__ = ["OpenClipNetwork", "is_cached", "open_clip_network", "place_of"]

LOCAL = "local-dir:"
QUICK = "-quickgelu"
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
PUBLISHED = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of open_clip's weights in a repository of the hub, the first choice first."""
BY_URL = Path("~/.cache/clip")
"""Where open_clip keeps what it has from elsewhere than the hub."""
PROBE = ["a photo of a red cat, sitting on the grass", "Two DOGS & 1 bird: don't run!", "a"]
"""Texts whose token ids, with the vocabulary, identify a tokenizer."""

_OPEN: WeakValueDictionary[tuple[object, ...], OpenClipNetwork] = WeakValueDictionary()
"""Networks in use, so that metrics on the same one share its memory."""


@dataclass(frozen=True, eq=False)
class OpenClipNetwork:
    """A model in eval mode with its own preprocessing and tokenizer; the text fields are those of `metrics.base.Card`.

    Attributes:
        model: open_clip model with `encode_image` and `encode_text`.
        preprocess: Pillow RGB picture to float32 (3, h, w).
        tokenizer: open_clip tokenizer.
        context_length: tokens per text, marks included.
    """

    model: Any
    preprocess: Callable[[Any], torch.Tensor]
    tokenizer: Any
    context_length: int
    network: str
    weights: str
    resolution: str
    resize: str
    value_range: str

    def tokenise(self, texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Token ids (n, context_length), and for each text whether it was longer than that and lost its end.

        A text fits exactly when one more place changes nothing but the padding: where it does not, the last place holds the end
        mark in the short form and a word in the longer one.
        """
        tokens = self.tokenizer(texts, context_length=self.context_length)
        longer = self.tokenizer(texts, context_length=self.context_length + 1)[:, : self.context_length]
        return tokens.numpy().astype(np.int64), (tokens != longer).any(dim=1).numpy()


def open_clip_network(model: str, pretrained: str | None, quick_gelu: bool | None, device: torch.device) -> OpenClipNetwork:
    """Open an open_clip model by name and tag or weight file, or from "local-dir:/path"; one already in use is shared.

    Weights of a tag are those that open_clip has on this machine already; nothing is downloaded and nobody is asked.

    Raises:
        MetricError: unknown name or tag, weights missing or not fitting, an activation other than the trained one, or a
            tokenizer that does not belong to the model.
    """
    _check_names(model, pretrained)
    key = (model, pretrained, quick_gelu, str(device), _stamp(model, pretrained))
    network = _OPEN.get(key)
    if network is None:
        network = _OPEN[key] = _open(model, pretrained, quick_gelu, device)
    return network


def _stamp(model: str, pretrained: str | None) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of change of the files that make the network, so that a changed one is read again."""
    folder, file = expanded(model.removeprefix(LOCAL)), expanded(pretrained or "")
    files = [*folder.iterdir()] if model.startswith(LOCAL) else [file] if file.is_file() else []
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(files))


def _open(model: str, pretrained: str | None, quick_gelu: bool | None, device: torch.device) -> OpenClipNetwork:
    import open_clip

    local = model.startswith(LOCAL)
    try:
        config: dict[str, Any] = open_clip.get_model_config(model)
        text_config, quick = config["text_cfg"], _activation(model, pretrained, quick_gelu, config)
        with _hub_is_not_asked():
            network, _, preprocess = open_clip.create_model_and_transforms(
                model,
                pretrained=pretrained or None,
                precision="fp32",
                device=device,
                force_quick_gelu=quick,
                require_pretrained=True,
                **_preprocessing(model, pretrained),
            )
            tokenizer = open_clip.get_tokenizer(model)
    except MetricError:
        raise
    except Exception as error:
        raise MetricError(_advice(model, pretrained, error)) from error
    if local and text_config.get("hf_tokenizer_name"):
        _check_tokenizer(tokenizer, text_config, expanded(model.removeprefix(LOCAL)))
    network = network.eval().requires_grad_(False)
    used = network.visual.preprocess_cfg
    height, width = used["size"] if isinstance(used["size"], tuple | list) else (used["size"],) * 2
    architecture = {key: value for key, value in config.items() if key != "quick_gelu"}
    architecture["text_cfg"] = {key: value for key, value in text_config.items() if key != "hf_tokenizer_name"}
    return OpenClipNetwork(
        model=network,
        preprocess=preprocess,
        tokenizer=tokenizer,
        context_length=tokenizer.context_length,
        network=(
            f"open_clip {'local' if local else model.removesuffix(QUICK)} config={fingerprint(architecture)} quick_gelu={quick} "
            f"context_length={tokenizer.context_length} tokenizer={_tokenizer_digest(tokenizer)}"
        ),
        weights=digest_of_state(network.state_dict()),
        resolution=f"{height}x{width}",
        resize=f"own: {used['resize_mode']} {used['interpolation']} (Pillow, antialiased), centre crop if sides differ",
        value_range=f"uint8 0..255 -> (x/255 - {list(used['mean'])}) / {list(used['std'])}",
    )


def _check_names(model: str, pretrained: str | None) -> None:
    """Refuse a model and weights that cannot be meant, before anything is built."""
    import open_clip

    if model.startswith(LOCAL):
        folder = require_folder(model.removeprefix(LOCAL), "clip model", ("open_clip_config.json",))
        if not any(folder.glob("*.safetensors")):
            raise MetricError(f"clip model: {folder} holds no .safetensors weights; save them as open_clip_model.safetensors")
        if pretrained:
            raise MetricError(
                f"clip pretrained: expected none beside {model}, got {pretrained!r}; the folder holds its own weights"
            )
    elif model not in open_clip.list_models():
        raise MetricError(f"clip model: open_clip has no model {model!r}; see open_clip.list_models(), or use local-dir:/path")
    elif not pretrained:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise MetricError(
            f"clip pretrained: {model} needs a weight file or one of its tags ({tags}), got none; "
            "without weights it would be random"
        )
    elif _is_file(model, pretrained):
        require_file(pretrained, "clip pretrained", "name an existing weight file or a tag of the model")
    elif (tag := open_clip.get_pretrained_cfg(model, pretrained)) and not is_cached(tag):
        raise MetricError(
            f"clip pretrained: weights {pretrained!r} of {model} are not on this machine; `etabench fetch SPEC` brings them, "
            "or name a weight file, or a folder as model: local-dir:/path"
        )


def is_cached(tag: dict[str, Any]) -> bool:
    """Whether the weights of an open_clip tag (`open_clip.get_pretrained_cfg`) are on this machine; no network is asked."""
    from huggingface_hub import try_to_load_from_cache

    if "file" in tag:
        return Path(tag["file"]).is_file()
    place, names = place_of(tag)
    if not place:
        return (expanded(BY_URL) / Path(tag.get("url", "")).name).is_file()
    return any(isinstance(try_to_load_from_cache(place, name), str) for name in names)


def place_of(tag: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Repository of the hub that an open_clip tag names, and the files of which its weights are the first that is there; "" and none where
    it names a URL."""
    place, file = os.path.split(tag.get("hf_hub", ""))
    if not place:
        return "", ()
    return place, tuple(dict.fromkeys((str(Path(file).with_suffix(".safetensors")), file))) if file else PUBLISHED


@contextmanager
def _hub_is_not_asked() -> Iterator[None]:
    """The hub's libraries take what they have here: a branch that moved changes no metric, and a hub that is down costs no minutes."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _is_file(model: str, pretrained: str) -> bool:
    """Whether `pretrained` means a file and not a tag; a path that does not exist still does, where it looks like one."""
    import open_clip

    if open_clip.get_pretrained_cfg(model, pretrained):
        return False
    return Path(pretrained).is_file() or os.sep in pretrained or bool(Path(pretrained).suffix)


def _activation(model: str, pretrained: str | None, wanted: bool | None, config: dict[str, Any]) -> bool:
    """Whether the model must run with QuickGELU: as tag, else user, else config say."""
    import open_clip

    built = bool(config.get("quick_gelu", False))
    tag = {} if pretrained is None else open_clip.get_pretrained_cfg(model, pretrained)
    if tag:
        trained = bool(tag.get("quick_gelu", False))
    elif model.startswith(LOCAL):
        trained = built
    else:
        if wanted is None and f"{model}{QUICK}" in open_clip.list_models():
            raise MetricError(
                f"clip quick_gelu: weight files for {model} exist with both activations and do not tell which; "
                "set quick_gelu to true (OpenAI and DFN weights) or false (LAION and DataComp weights)"
            )
        trained = built if wanted is None else wanted
    if wanted is not None and wanted != trained:
        raise MetricError(f"clip quick_gelu: {model} {pretrained or ''} was trained with {trained}, got {wanted}; leave it out")
    if built and not trained:
        raise MetricError(
            f"clip model: these weights were trained without QuickGELU; use {model.removesuffix(QUICK)!r}, got {model!r}"
        )
    return trained


def _preprocessing(model: str, pretrained: str | None) -> dict[str, Any]:
    """For a bare weight file: what all published weights of the architecture share (open_clip would take OpenAI's)."""
    import open_clip

    if model.startswith(LOCAL) or pretrained is None or open_clip.get_pretrained_cfg(model, pretrained):
        return {}
    names = {"mean": "image_mean", "std": "image_std", "interpolation": "image_interpolation", "resize_mode": "image_resize_mode"}
    known = [open_clip.get_pretrained_cfg(model, tag) for tag in open_clip.list_pretrained_tags_by_model(model)]
    choices = {tuple(entry[key] if isinstance(entry[key], str) else tuple(entry[key]) for key in names) for entry in known}
    if len(choices) > 1:
        raise MetricError(
            f"clip pretrained: published weights of {model} use {len(choices)} kinds of preprocessing, "
            f"and {pretrained} does not say which; "
            "put it into a folder with an open_clip_config.json that has preprocess_cfg, and use local-dir:/path"
        )
    return dict(zip(names.values(), choices.pop(), strict=True)) if choices else {}


def _check_tokenizer(tokenizer: Any, text_config: dict[str, Any], folder: Path) -> None:
    """Refuse what transformers and open_clip let pass: an empty tokenizer for want of files, a highest id that is no end mark."""
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise MetricError(
            f"clip model: {folder} holds no tokenizer ({', '.join(TOKENIZER_FILES[:2])}); save it there with save_pretrained"
        )
    inner, rows = tokenizer.tokenizer, int(text_config.get("vocab_size", 49408))
    if len(inner) > rows:
        raise MetricError(
            f"clip model: the tokenizer in {folder} has {len(inner)} tokens, the model reads {rows}; "
            "save the model's own tokenizer"
        )
    if text_config.get("hf_model_name") or text_config.get("pool_type", "argmax") != "argmax":
        return
    pooled = {int(row.max()) for row in tokenizer(PROBE)}
    if pooled != {inner.eos_token_id}:
        raise MetricError(
            f"clip model: the text tower in {folder} pools at the highest token id, which is not the end mark "
            f"{inner.eos_token!r} ({inner.eos_token_id}); "
            "give the end mark the highest id, or set text_cfg pool_type 'eos' and eos_id"
        )


def _tokenizer_digest(tokenizer: Any) -> str:
    vocabulary = tokenizer.encoder if hasattr(tokenizer, "encoder") else tokenizer.tokenizer.get_vocab()
    return fingerprint({"vocabulary": dict(vocabulary), "probe": tokenizer(PROBE).tolist()})


def _advice(model: str, pretrained: str | None, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if model.startswith(LOCAL):
        needs = "open_clip_config.json, open_clip_model.safetensors and a tokenizer"
        return f"clip model: {model} cannot be opened ({reason}); it needs {needs}"
    return (
        f"clip model: {model} with pretrained {pretrained!r} cannot be opened ({reason}); "
        "`etabench fetch SPEC` brings what of it is not on this machine; or name a folder as model: local-dir:/path"
    )
