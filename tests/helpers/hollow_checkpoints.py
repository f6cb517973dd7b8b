"""Checkpoints of published sizes whose weights are holes in their files: they take no room on a disk, and are read as zeros."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from bench.benchmarks.sizes import Size
from bench.toybox import embedded

NAMES = {torch.float16: "F16", torch.int64: "I64"}
WEIGHTS = {"text_encoder": "model.safetensors"}
"""What a part's file is called where it is not as diffusers calls it."""


def hollow(size: Size, folder: Path) -> Path:
    """A pipeline folder of that size in float16, its words and scheduler those of ToyBox."""
    shutil.copytree(embedded.generator(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    with torch.device("meta"):
        parts = size.parts(None)
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module):
            part.half().config.save_pretrained(folder / name) if name in WEIGHTS else part.half().save_config(folder / name)
            _write_holes(part, folder / name / WEIGHTS.get(name, "diffusion_pytorch_model.safetensors"))
    tokenizer = folder / "tokenizer" / "tokenizer_config.json"
    tokenizer.write_text(json.dumps({**json.loads(tokenizer.read_text()), "model_max_length": 77}))
    return folder


def _write_holes(network: torch.nn.Module, file: Path) -> None:
    """A safetensors file: the length of the header, the header, and as many bytes as it says, none of which is written."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, weight in network.state_dict().items():
        begin, end = end, end + weight.numel() * weight.element_size()
        header[name] = {"dtype": NAMES[weight.dtype], "shape": list(weight.shape), "data_offsets": [begin, end]}  # type: ignore[dict-item]
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 8)
    with file.open("wb") as out:
        out.write(len(words).to_bytes(8, "little") + words)
        out.truncate(8 + len(words) + end)
