from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench import models
from bench.errors import ModelError
from bench.spec import ModelRef
from bench.toybox import embedded
from editors.toolbox.checkpoint import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(embedded.generator(), tmp_path / "model"))


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_copy_is_the_same_checkpoint(folder: Path) -> None:
    found = models.inspect(ModelRef(path=str(folder)))
    assert (found.digest, found.resolution) == (models.inspect(ModelRef(name="toybox")).digest, 64)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("unet", {"sample_size": 1_000_000}, "sample_size is 1000000; at most 8192"),
        ("unet", {"sample_size": 8000}, r"asks for pictures of 32000 pixels a side; 8 to 8192 are made"),
        ("unet", {"sample_size": 0}, "asks for pictures of 0 pixels"),
        ("unet", {"sample_size": -64}, "asks for pictures of -"),
        ("unet", {"sample_size": "big"}, "do not tell the resolution"),
        ("unet", {"sample_size": float("inf")}, "do not tell the resolution"),
        ("unet", {"sample_size": []}, "do not tell the resolution"),
        ("vae", {"block_out_channels": [32] * 1500}, "block_out_channels has 1500 items"),
        ("vae", {"block_out_channels": [32] * 900}, "asks for pictures"),
    ],
)
def test_the_resolution_is_one_that_pictures_have(folder: Path, part: str, changes: dict[str, Any], message: str) -> None:
    change(folder / part / "config.json", **changes)
    with pytest.raises((ModelError, CheckpointError), match=message) as caught:
        models.inspect(ModelRef(path=str(folder)))
    assert len(str(caught.value)) < 400


def test_a_tokenizer_of_no_known_class_is_refused(folder: Path) -> None:
    assert models.tokenizer(ModelRef(path=str(folder)))("a dog").input_ids
    change(folder / "model_index.json", tokenizer=["transformers", "AutoTokenizer"])
    with pytest.raises(CheckpointError, match="tokenizer is AutoTokenizer, expected CLIPTokenizer"):
        models.tokenizer(ModelRef(path=str(folder)))
