"""Quality without a reference: pyiqa's measures of a picture by itself (NIQE, BRISQUE, PIQE, MUSIQ, ...).

Reference code: github.com/chaofengc/IQA-PyTorch, which the extra `quality` installs. Its licence is PolyForm Noncommercial 1.0.0, parts of it
under S-Lab's, which is non-commercial too: not for commercial use. So are the weights of some measures.

They look at the edit alone. They were made for photographs with noise, blur and compression, know nothing of what was asked, and call an
untouched source good: beside a metric of editability they tell what an editor does to pictures, and by themselves nothing.

The library fetches weights when a measure is made; here it may not, and says what it lacks. A measure that draws at random draws the same
for every picture, and the generators of the process are left as they were.

Fingerprint: the measure, pyiqa's version, and a digest of every parameter and constant of the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Bounds, Card, Image, MetricError, PairBatch, PairMetric
from metrics.networks.images import check_images, exact, open_device
from metrics.networks.weights import digest_of_state, first_line, require_file

__all__ = ["NoReference"]

LICENCE = "PolyForm Noncommercial 1.0.0: not for commercial use"


class NoReference(PairMetric):
    """pyiqa's measure of the edit alone; its card says which way is better.

    Args:
        measure: name in pyiqa of one without a reference, such as niqe, brisque, piqe or musiq.
        weights: file of its parameters, for measures that take one; "" looks in pyiqa's cache.
        device: torch device.

    Raises:
        MetricError: pyiqa is not installed, has no such measure, or lacks its weights.
    """

    name: ClassVar[str] = "pyiqa"
    reads: frozenset[str] = frozenset()

    def __init__(self, measure: str, *, weights: str = "", device: str = "cpu") -> None:
        try:
            import pyiqa
        except ImportError:
            raise MetricError(
                "pyiqa needs the extra quality: pip install 'etabench[quality]' (its licence is non-commercial)"
            ) from None
        known = pyiqa.list_models("NR")
        if measure not in known:
            raise MetricError(f"pyiqa measure: expected one without a reference, {', '.join(known)}; got {measure!r}")
        self._device = open_device(device)
        given = (
            {"pretrained_model_path": str(require_file(weights, "pyiqa weights", "leave it out for pyiqa's cache"))}
            if weights
            else {}
        )
        with _nothing_fetched(measure), _own_draws():
            try:
                self._measure = pyiqa.create_metric(measure, device=self._device, **given)
            except MetricError:
                raise
            except Exception as error:
                raise MetricError(f"pyiqa {measure} cannot be made: {first_line(error)}") from error
        self.bounds: Bounds = _bounds(self._measure.score_range)
        self.card = Card(
            name=self.name,
            version="1",
            network=f"pyiqa {pyiqa.__version__} {measure}, {type(self._measure.net).__name__}",
            weights=digest_of_state(_constants(self._measure.net)),
            resolution="native",
            resize="the measure's own",
            value_range="uint8 0..255 -> x/255",
            scale=f"pyiqa's, {self._measure.score_range or 'unbounded'}",
            masking="whole picture",
            nan_rule="where pyiqa gives none",
            higher_is_better=not self._measure.lower_better,
            definition="A measure of the edit's quality without a reference; the source is not looked at.",
            source=f"chaofengc/IQA-PyTorch ({LICENCE})",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        return np.array([self._one(image, row) for row, image in enumerate(check_images(batch.edits, "edits"))], dtype=np.float64)

    def _one(self, image: Image, row: int) -> float:
        pixels = torch.from_numpy(image.astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None].contiguous()
        try:
            with _own_draws(), torch.no_grad(), exact():
                found = self._measure.net(pixels.to(self._device))  # its wrapper sets flags of cuDNN that ours exclude
        except Exception as error:
            raise MetricError(f"edits row {row}: pyiqa {self._measure.metric_name}: {first_line(error)}") from error
        values = found.detach().double().cpu().numpy().ravel()
        if len(values) != 1:
            raise MetricError(
                f"pyiqa {self._measure.metric_name}: expected one number a picture, got {len(values)}; name another measure"
            )
        return float(values[0])


def _constants(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Everything that a network computes with: its state, and tensors and arrays that it holds beside it."""
    found = dict(network.state_dict())
    for place, part in network.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                found[f"{place}.{name}"] = value
            elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
                found[f"{place}.{name}"] = torch.from_numpy(np.ascontiguousarray(value))
    return found


def _bounds(said: str | None) -> Bounds:
    """Ends of a range that is told exactly, "0, 100"; of "~0, ~100" nothing is known."""
    try:
        low, high = (float(end) for end in (said or "").split(","))
    except ValueError:
        return (None, None)
    return (low, high)


@contextmanager
def _nothing_fetched(measure: str) -> Iterator[None]:
    """Within it pyiqa has what its cache holds: it and the hub's library ask nobody."""
    from huggingface_hub import constants
    from pyiqa.utils import download_util

    def refuse(url: str, file: str | Path, *_: Any, **__: Any) -> NoReturn:
        raise MetricError(f"pyiqa {measure} lacks {Path(file).name}; fetch {url} and give it as weights, or put it at {file}")

    kept = download_util.download_url_to_file, constants.HF_HUB_OFFLINE
    download_util.download_url_to_file, constants.HF_HUB_OFFLINE = refuse, True
    try:
        yield
    finally:
        download_util.download_url_to_file, constants.HF_HUB_OFFLINE = kept


@contextmanager
def _own_draws() -> Iterator[None]:
    """Within it torch and NumPy draw from seed 0; afterwards as if nothing had been drawn."""
    before = np.random.get_state()  # noqa: NPY002 - the library's own generator
    with torch.random.fork_rng():
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
