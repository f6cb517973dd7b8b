from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from metrics.base import MetricError
from metrics.networks.classifier import open_classifier
from metrics.networks.openclip import open_clip_network
from metrics.networks.weights import digest_of_file, digest_of_state, read_state, read_text, require_file, require_folder


def test_digest_of_state_is_the_same_in_any_file_format(tmp_path: Path) -> None:
    state = {
        "b": torch.arange(6.0).reshape(2, 3),
        "a": torch.tensor(3, dtype=torch.int64),
        "c": torch.ones(2, dtype=torch.bfloat16),
    }
    torch.save(state, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    digests = {digest_of_state(read_state(tmp_path / name, "w")) for name in ("w.pth", "w.safetensors")}
    assert digests == {digest_of_state(dict(reversed(state.items())))}


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([1.0, 2.0, 3.5, 4.0])},
        {"b": torch.tensor([1.0, 2.0, 3.0, 4.0])},
        {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]])},
        {"a": torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)},
    ],
)
def test_digest_of_state_sees_value_name_shape_and_dtype(other: dict[str, torch.Tensor]) -> None:
    assert digest_of_state(other) != digest_of_state({"a": torch.tensor([1.0, 2.0, 3.0, 4.0])})


def test_hash_in_a_file_name_must_be_true(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    for prefix in (digest[:8], "00000000"):
        (tmp_path / f"net-{prefix}.pth").write_bytes(b"weights")
    good = require_file(tmp_path / f"net-{digest[:8]}.pth", "net", "")
    assert digest_of_file(good) == digest
    with pytest.raises(MetricError, match=f"begins with 00000000, got {digest[:8]}"):
        require_file(tmp_path / "net-00000000.pth", "net", "")


def test_files_with_anything_but_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "number.pth")
    with pytest.raises(MetricError, match="should hold a state dict of tensors"):
        read_state(tmp_path / "number.pth", "net")
    torch.save({"a": Path("x")}, tmp_path / "object.pth")
    with pytest.raises(MetricError, match=r"cannot read .* as plain tensors"):
        read_state(tmp_path / "object.pth", "net")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", '{"image_size": 1000000}', "image_size is 1000000, expected 1 to 4096 pixels"),
        ("config.json", '{"vision_config": {"image_size": [224, 100000]}}', "image_size is 100000"),
        ("preprocessor_config.json", '{"size": {"height": 1e12, "width": 8}}', "height is 1000000000000.0"),
        ("preprocessor_config.json", '{"size": "1000000"}', "size is 1000000"),
        ("config.json", '{"auto_map": {"AutoModel": "x.X"}}', "auto_map asks for code of the folder"),
        (
            "open_clip_config.json",
            '{"a": [{"tokenizer_kwargs": {"trust_remote_code": true}}]}',
            "trust_remote_code asks for code",
        ),
        ("adapter_config.json", "{}", "holds an adapter, which names a network elsewhere"),
        ("config.json", "[" * 100_000, "is not JSON"),
        ("config.json", "{", "is not JSON"),
    ],
)
def test_a_folder_asks_for_no_code_and_no_pictures_without_measure(tmp_path: Path, name: str, content: str, message: str) -> None:
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text('{"size": 1e30, "model_max_length": 1000000000000000019884624838656}')
    assert require_folder(tmp_path, "net", ("config.json", "model.safetensors")) == tmp_path
    (tmp_path / name).write_text(content)
    with pytest.raises(MetricError, match=message) as caught:
        require_folder(tmp_path, "net", ("config.json", "model.safetensors"))
    assert "\n" not in str(caught.value)


def test_text_is_a_regular_file_of_bounded_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "giant.json").touch()
    os.truncate(tmp_path / "giant.json", 5 << 30)
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    for name, message in (
        ("pipe", "no regular file"),
        ("giant", "larger than 64 MiB"),
        ("bytes", "UTF-8"),
        ("gone", "no regular file"),
    ):
        with pytest.raises(MetricError, match=message):
            read_text(tmp_path / f"{name}.json", "labels")


@pytest.mark.parametrize("name", ["auto_map", "image_size"])
def test_networks_are_refused_before_they_are_built(resnet_folder: Path, judge_copy: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(resnet_folder, tmp_path / "net"))
    value = {"auto_map": {"AutoModelForImageClassification": "x.X"}, "image_size": 10**6}[name]
    for place, file in ((folder, "config.json"), (judge_copy, "open_clip_config.json")):
        config = json.loads((place / file).read_text())
        (place / file).write_text(json.dumps(config | {name: value}))
    for read in (
        lambda: open_classifier(f"folder:{folder}", "accuracy"),
        lambda: open_clip_network(f"local-dir:{judge_copy}", None, None, torch.device("cpu")),
    ):
        with pytest.raises(MetricError, match=name):
            read()


def cached(cache: Path, name: str, **files: bytes) -> Path:
    """A repository as the hub's cache has it."""
    folder = cache / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    for file, content in files.items():
        (snapshot / file.replace("__", ".")).write_bytes(content)
    return snapshot


def test_a_network_of_the_hub_is_its_folder_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = cached(tmp_path, "them/net", config__json=b"{}")
    for place in ("hub:them/net", f"hub:them/net@{'a' * 40}"):
        assert require_folder(place, "net", ("config.json",)) == snapshot
    with pytest.raises(MetricError, match=r"net: .* lacks model.safetensors"):
        require_folder("hub:them/net", "net", ("config.json", "model.safetensors"))
    for place, name in (("hub:them/other", "them/other"), ("hub:them/net@v2", "them/net"), ("hub:a/b/c", "a/b/c")):
        with pytest.raises(MetricError, match=f"net: {name} of the hub is not on this machine; `etabench fetch SPEC` brings it"):
            require_folder(place, "net", ("config.json",))


def test_networks_of_the_hub_are_named_for_fetching() -> None:
    from metrics.networks.remote import absent_weights
    from metrics.parity.pie_bench import PieBenchStructure
    from metrics.pickscore import PickScore

    (found,) = absent_weights(PieBenchStructure, {"net": "hub:facebook/dino-vitb8@v1"})
    assert (found.place, found.files) == ("facebook/dino-vitb8", ("*.json", "*.txt", "model.safetensors"))
    model, processor = absent_weights(PickScore, {})
    assert "model.safetensors" in model.files
    assert "model.safetensors" not in processor.files, "of a processor the weights are not read"
    assert absent_weights(PieBenchStructure, {"net": "folder:/mine"}) == []
