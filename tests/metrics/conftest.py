"""Tiny networks in the real file formats, made on the spot with random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from metrics.base import Image, PairBatch

CONTEXT = 12
WORDS = ["red", "cat", "dog", "on", "grass", "snow", "photo"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240)


@pytest.fixture
def pictures(rng: np.random.Generator) -> list[Image]:
    """Seven noise pictures of the tiny networks' own size: more than one batch of three."""
    return [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(7)]


@pytest.fixture
def pairs() -> Callable[..., PairBatch]:
    """Make a batch of edits, sources and texts; what is not given is None or a copy."""

    def make(edits: list[Image], sources: list[Image] | None = None, texts: list[str] | None = None) -> PairBatch:
        n = len(edits)
        return PairBatch(edits, sources or edits, texts or ["a red cat"] * n, [None] * n, [None] * n, [None] * n)

    return make


def byte_characters() -> list[str]:
    """The 256 printable characters that stand for bytes in a CLIP vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(hidden))]


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokens = [*byte_characters(), *(character + "</w>" for character in byte_characters())]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            if (parts[0], parts[1]) not in merges:
                merges.append((parts[0], parts[1]))
                tokens.append(parts[0] + parts[1])
            parts = [parts[0] + parts[1], *parts[2:]]
    tokens = list(dict.fromkeys([*tokens, "<|startoftext|>", "<|endoftext|>"]))
    return {token: place for place, token in enumerate(tokens)}, merges


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open_clip folder: ModifiedResNet, small text tower, own CLIP tokenizer with twelve tokens of context."""
    import open_clip
    from transformers import CLIPTokenizer

    folder = tmp_path_factory.mktemp("judge")
    tokens, merges = vocabulary()
    tokenizer = CLIPTokenizer(vocab=tokens, merges=merges, model_max_length=CONTEXT)
    tokenizer.save_pretrained(folder)
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32}
    text = {
        "context_length": CONTEXT,
        "vocab_size": len(tokenizer),
        "hf_tokenizer_name": "clip",
        "width": 32,
        "heads": 2,
        "layers": 1,
    }
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    preprocess = {"size": 64, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = open_clip.CLIP(**config)
        for name, tensor in model.state_dict().items():
            if name.endswith("bn3.weight"):
                tensor.fill_(1.0)  # a fresh ModifiedResNet has these at zero and sees next to nothing
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def sigmoid_folder(judge_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The judge as if it had been trained with a sigmoid loss: with a bias."""
    from safetensors.torch import load_file

    folder = Path(shutil.copytree(judge_folder, tmp_path_factory.mktemp("sigmoid") / "judge"))
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["init_logit_bias"] = -10.0
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    state = load_file(folder / "open_clip_model.safetensors")
    save_file(state | {"logit_bias": torch.tensor(-2.0)}, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def aesthetic_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head of one linear layer for the judge's sixteen features, in the form of LAION's files."""
    file = tmp_path_factory.mktemp("head") / "linear.pth"
    torch.save({"weight": torch.linspace(-1, 1, 16)[None], "bias": torch.tensor([5.0])}, file)
    return file


@pytest.fixture
def judge_copy(judge_folder: Path, tmp_path: Path) -> Path:
    """A judge folder that a test may spoil."""
    return Path(shutil.copytree(judge_folder, tmp_path / "judge"))


@pytest.fixture(scope="session")
def resnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet folder with the weights of its LPIPS."""
    from transformers import ResNetConfig, ResNetForImageClassification

    folder = tmp_path_factory.mktemp("features")
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        ResNetForImageClassification(config).save_pretrained(folder)
    save_file({"weights": torch.tensor([0.5, 1.0, 2.0])}, folder / "lpips.safetensors")
    return folder


@pytest.fixture(scope="session")
def squeeze_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random SqueezeNet trunk in torchvision's format."""
    from torchvision.models import squeezenet1_1

    file = tmp_path_factory.mktemp("trunk") / "squeezenet-random.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        torch.save(squeezenet1_1(weights=None).state_dict(), file)
    return file


@pytest.fixture(scope="session")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT folder: two layers, two heads, patches of eight pixels, trained for 32 pixels."""
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("vit")
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        model = ViTModel(config, add_pooling_layer=False)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def transformers_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers CLIP with its processor: pictures of 64 pixels, twelve tokens of context, pooling at the end mark."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    folder = tmp_path_factory.mktemp("transformers-clip")
    tokens, merges = vocabulary()
    tokenizer = CLIPTokenizer(vocab=tokens, merges=merges, model_max_length=1000)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    marks = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = small | marks | {"vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT}
    config = CLIPConfig(text_config=text, vision_config=small | {"image_size": 64, "patch_size": 16}, projection_dim=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = CLIPModel(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    images.save_pretrained(folder)
    return folder


@pytest.fixture
def resnet_copy(resnet_folder: Path, tmp_path: Path) -> Path:
    """A ResNet folder that a test may spoil."""
    return Path(shutil.copytree(resnet_folder, tmp_path / "features"))


def nudge(file: Path) -> None:
    """Change one number in the last tensor, by name, of a safetensors file (in a ResNet a feature layer, not the head)."""
    from safetensors.torch import load_file

    state = {name: tensor.clone() for name, tensor in load_file(file).items()}
    name = max(name for name in state if state[name].is_floating_point())
    state[name].view(-1)[0] += 1.0
    save_file(state, file, metadata={"format": "pt"})


@pytest.fixture
def change_weights() -> Callable[[Path], None]:
    return nudge


@pytest.fixture
def noisy(rng: np.random.Generator) -> Callable[[Image, float], Image]:
    """Add the same noise pattern at a given strength (grey levels) to a smooth picture."""
    pattern: NDArray[np.float64] = rng.standard_normal((64, 64, 3))
    return lambda image, strength: np.clip(np.rint(image + strength * pattern), 0, 255).astype(np.uint8)
