"""What a stranger's checkpoint could slip in: weights and code that no check and no digest sees, numbers that eat the memory, pipes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from bench.toybox.embedded import TOYBOX
from editors import DiffusionModel
from editors.brushnet import BrushNet
from editors.controlnet_inpaint import ControlNetInpaint
from editors.pipeline import Pipeline
from editors.toolbox.checkpoint import CheckpointError, digest, load_tokenizer, tree_digest
from editors.toolbox.clip import RankingCLIP, clip_digest

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def zeros(file: Path) -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(value) for name, value in load_file(file).items()}


def as_index(part: Path, target: str, stem: str = WEIGHTS) -> Path:
    """An index beside the weights, which diffusers prefers to them, that maps every tensor to `target`."""
    index = part / f"{stem}.index.json"
    names = load_file(part / WEIGHTS)
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, target)}))
    return index


def same(one: DiffusionModel, two: DiffusionModel) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.unet.parameters(), two.unet.parameters(), strict=True))


@pytest.mark.parametrize(
    "target", ["evil.bin", "../../outside.safetensors", "../outside.safetensors", "/outside.safetensors", 7, None]
)
@pytest.mark.parametrize("allow_pickle", [False, True])
def test_an_index_names_safetensors_beside_it_or_is_refused(folder: Path, target: Any, allow_pickle: bool) -> None:
    torch.save(zeros(folder / "unet" / WEIGHTS), folder / "unet" / "evil.bin")
    for outside in (folder.parent, folder):
        save_file(zeros(folder / "unet" / WEIGHTS), outside / "outside.safetensors")
    index = as_index(folder / "unet", target)
    for read in (digest, tree_digest, lambda *given: DiffusionModel.load(given[0], allow_pickle=given[1])):
        with pytest.raises(CheckpointError, match=f"{index.name}: names .*beside their index and end in .safetensors"):
            read(folder, allow_pickle)
    with pytest.raises(CheckpointError, match="beside their index"):
        Pipeline.assets(Pipeline.resolve("", {"checkpoint": str(folder), "pipeline": "StableDiffusionImg2ImgPipeline"}))


def test_shards_are_loaded_and_hashed_whatever_they_are_called(folder: Path, tiny_folder: Path) -> None:
    shard = folder / "unet" / "half.safetensors"
    save_file(load_file(folder / "unet" / WEIGHTS), shard)
    as_index(folder / "unet", shard.name)
    before = digest(folder)
    assert same(DiffusionModel.load(folder), DiffusionModel.load(tiny_folder))
    save_file(zeros(shard), shard)
    assert digest(folder) != before
    assert not DiffusionModel.load(folder).unet.conv_in.weight.any(), "the index is what is read"
    shard.unlink()
    with pytest.raises(CheckpointError, match=r"half\.safetensors: not a regular file"):
        digest(folder)


def test_an_index_of_pickles_is_not_read_unless_pickles_are_allowed(folder: Path, tiny_folder: Path) -> None:
    as_index(folder / "unet", "../evil.bin", "diffusion_pytorch_model.bin")
    assert digest(folder) == digest(tiny_folder)
    assert same(DiffusionModel.load(folder), DiffusionModel.load(tiny_folder))
    with pytest.raises(CheckpointError, match=r"beside their index and end in \.bin"):
        digest(folder, allow_pickle=True)


def test_what_lies_beside_the_files_that_are_hashed_is_not_read(folder: Path, tiny_folder: Path) -> None:
    """An adapter names a base network anywhere, and transformers would load that in place of the folder's own."""
    (folder / "text_encoder" / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "/nowhere", "peft_type": "LORA"})
    )
    (folder / "unet" / "diffusers.py").write_text("raise SystemExit(3)")
    assert digest(folder) == digest(tiny_folder)
    found, own = (DiffusionModel.load(place).text_encoder.state_dict() for place in (folder, tiny_folder))
    assert all(value.equal(own[name]) for name, value in found.items())


@pytest.mark.parametrize(
    ("part", "entry"),
    [
        ("text_encoder", ["transformers", "pipeline"]),
        ("text_encoder", ["transformers", "AutoModel"]),
        ("text_encoder", ["os", "system"]),
        ("text_encoder", "CLIPTextModel"),
        ("text_encoder", None),
        ("tokenizer", ["transformers", "AutoTokenizer"]),
        ("tokenizer", ["transformers"]),
        ("tokenizer", [{}, []]),
        ("vae", ["diffusers", "x" * 10_000]),
    ],
)
def test_classes_are_those_of_the_family(folder: Path, part: str, entry: Any) -> None:
    change(folder / "model_index.json", **{part: entry})
    with pytest.raises(CheckpointError, match=rf"{part} is .*expected .*\(Stable Diffusion 1 and 2\)") as caught:
        DiffusionModel.load(folder)
    assert len(str(caught.value)) < 400
    if part == "tokenizer":
        with pytest.raises(CheckpointError, match="tokenizer is"):
            load_tokenizer(folder)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("unet/config.json", {"sample_size": 1_000_000}, "sample_size is 1000000; at most 8192 is taken"),
        ("unet/config.json", {"sample_size": [8, 10**30]}, "sample_size is a number of more than 18 digits"),
        ("unet/config.json", {"layers_per_block": 100_000}, "layers_per_block is 100000"),
        ("unet/config.json", {"block_out_channels": [2**40]}, "block_out_channels is"),
        ("unet/config.json", {"down_block_types": ["DownBlock2D"] * 2000}, "down_block_types has 2000 items"),
        ("unet/config.json", {"cross_attention_dim": 10**5}, "cross_attention_dim is 100000; at most 65536 is taken"),
        ("vae/config.json", {"latent_channels": 10**6}, "latent_channels is 1000000; at most 1024 is taken"),
        ("text_encoder/config.json", {"hidden_size": 10**6}, "hidden_size is 1000000; at most 16384 is taken"),
        ("text_encoder/config.json", {"intermediate_size": 10**6}, "intermediate_size is 1000000; at most 131072 is taken"),
        ("text_encoder/config.json", {"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000"),
        ("text_encoder/config.json", {"auto_map": {"AutoModel": "x.X"}}, "auto_map asks for code of the checkpoint"),
        (
            "scheduler/scheduler_config.json",
            {"num_train_timesteps": 10**10},
            "num_train_timesteps is 10000000000; at most 100000",
        ),
    ],
)
def test_a_configuration_asks_for_no_more_than_a_network_needs(
    folder: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    change(folder / file, **changes)
    with pytest.raises(CheckpointError, match=message):
        DiffusionModel.load(folder)


def test_a_network_that_asks_for_too_much_is_never_built(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is allocated before the numbers are looked at."""
    change(folder / "vae" / "config.json", latent_channels=10**6)
    for library in (diffusers.AutoencoderKL, diffusers.UNet2DConditionModel, transformers.CLIPTextModel):
        monkeypatch.setattr(library, "__init__", lambda *given, **named: pytest.fail("a network was built"))
    with pytest.raises(CheckpointError, match="latent_channels is 1000000"):
        DiffusionModel.load(folder)


@pytest.mark.parametrize(
    "name", ["tokenizer/vocab.json", "unet/config.json", f"vae/{WEIGHTS}", "model_index.json", "scheduler/x.json"]
)
def test_a_pipe_among_the_files_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(CheckpointError, match=r"not a regular file|no model_index|found no weights|pipe"):
        DiffusionModel.load(folder)
    with pytest.raises(CheckpointError, match=r"not a regular file|pipe"):
        digest(folder)


def _foreign(folder: Path) -> None:
    change(folder / "model_index.json", unet=["os", "UNet2DConditionModel"])


def _code(folder: Path) -> None:
    (folder / "unet" / "diffusers.py").write_text("raise SystemExit(3)")


def _adapter(folder: Path) -> None:
    (folder / "text_encoder" / "adapter_config.json").write_text("{}")


def _auto(folder: Path) -> None:
    change(folder / "tokenizer" / "tokenizer_config.json", auto_map={"AutoTokenizer": ["x.X", None]})


def _huge(folder: Path) -> None:
    change(folder / "vae" / "config.json", sample_size=10**6)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_foreign, "unet is of 'os'; only classes of diffusers and transformers"),
        (_code, r"diffusers\.py: code of the checkpoint is never run"),
        (_adapter, "an adapter, which names a network elsewhere"),
        (_auto, "auto_map asks for code"),
        (_huge, "sample_size is 1000000"),
    ],
)
def test_a_pipeline_of_any_family_is_checked_before_it_is_loaded(
    folder: Path, spoil: Callable[[Path], None], message: str
) -> None:
    params = Pipeline.resolve("", {"checkpoint": str(folder), "pipeline": "StableDiffusionImg2ImgPipeline"})
    Pipeline.assets(params)
    spoil(folder)
    with pytest.raises(CheckpointError, match=message):
        Pipeline.assets(params)
    with pytest.raises(CheckpointError, match=message):
        _ = Pipeline(None, params)._hosted.pipeline


def test_a_network_beside_the_model_is_read_from_the_files_that_are_hashed(
    model: DiffusionModel, controlnet_folder: Path, brushnet_folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(controlnet_folder, tmp_path / "controlnet"))
    save_file(zeros(copy / WEIGHTS), copy / "other.safetensors")
    as_index(copy, "other.safetensors")
    params = ControlNetInpaint.resolve("", {"controlnet": str(copy)})
    assert (
        ControlNetInpaint.assets(params)["controlnet"]
        == ControlNetInpaint.assets(ControlNetInpaint.resolve("", {"controlnet": str(controlnet_folder)}))["controlnet"]
    )
    assert ControlNetInpaint(model, params)._controlnet.conv_in.weight.any()
    for cls, name, given in ((ControlNetInpaint, "controlnet", copy), (BrushNet, "brushnet", brushnet_folder)):
        spoilt = Path(shutil.copytree(given, tmp_path / f"spoilt-{name}"))
        change(spoilt / "config.json", layers_per_block=10**6)
        with pytest.raises(CheckpointError, match="layers_per_block is 1000000"):
            getattr(cls(model, cls.resolve("", {name: str(spoilt)})), f"_{name}")


def test_a_ranker_is_read_from_the_files_that_are_hashed(tmp_path: Path) -> None:
    """open_clip prefers a pickle of a known name to safetensors of another, and hands what a configuration says to transformers."""
    folder = Path(shutil.copytree(TOYBOX / "ranker", tmp_path / "ranker"))
    weights = (folder / "open_clip_model.safetensors").rename(folder / "mine.safetensors")
    before = clip_digest(f"local-dir:{folder}")
    torch.save(zeros(weights), folder / "open_clip_pytorch_model.bin")
    assert clip_digest(f"local-dir:{folder}") == before
    expected, found = (RankingCLIP.load(f"local-dir:{place}").embed_texts(["a dog"]) for place in (TOYBOX / "ranker", folder))
    assert expected.equal(found)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="trust_remote_code asks for code"):
        RankingCLIP.load(f"local-dir:{folder}")
    config["model_cfg"]["text_cfg"] |= {"tokenizer_kwargs": {}, "context_length": 10**6}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="context_length is 1000000"):
        RankingCLIP.load(f"local-dir:{folder}")
