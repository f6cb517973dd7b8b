"""The card of a metric: everything that changes its value, and the fingerprint of all that."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypedDict

__all__ = ["PIXELS", "PROSE", "Card", "Sight", "fingerprint", "sight_of"]

PROSE = ("definition", "source")
"""Fields of a card that explain the number and do not determine it."""


@dataclass(frozen=True)
class Card:
    """The identity of a number.

    Attributes:
        name: registered name of the metric.
        version: rises whenever the same input would give another value.
        network: architecture and whatever else of it determines features (tokenizer, activation, layer); never a path.
        weights: SHA-256 hex of the weights, "" where there are none.
        resolution: pixels at which the network looks, e.g. "64x64", or "native".
        resize: filter and policy that bring a picture to that resolution.
        value_range: range and normalisation of the network's input.
        scale: factor and clamping of the value.
        masking: which pixels count.
        nan_rule: when the value is NaN, i.e. undefined.
        higher_is_better: direction; None for a number that describes the sample and has none.
        definition: one sentence (prose, outside the fingerprint).
        source: paper and reference code (prose, outside the fingerprint).
    """

    name: str
    version: str
    network: str
    weights: str
    resolution: str
    resize: str
    value_range: str
    scale: str
    masking: str
    nan_rule: str
    higher_is_better: bool | None
    definition: str
    source: str

    @property
    def fingerprint(self) -> str:
        """12 hex digits that are equal exactly when all fields but the prose are equal."""
        return fingerprint({key: value for key, value in asdict(self).items() if key not in PROSE})


class Sight(TypedDict):
    """The fields of a card that say what looks at the pictures, and how."""

    network: str
    weights: str
    resolution: str
    resize: str
    value_range: str


class _Sees(Protocol):
    """A network that knows these fields of its own card."""

    @property
    def network(self) -> str: ...
    @property
    def weights(self) -> str: ...
    @property
    def resolution(self) -> str: ...
    @property
    def resize(self) -> str: ...
    @property
    def value_range(self) -> str: ...


PIXELS: Sight = {
    "network": "none",
    "weights": "",
    "resolution": "native",
    "resize": "none",
    "value_range": "uint8 0..255 -> x/255",
}
"""No network: the pictures' own pixels."""


def sight_of(network: _Sees) -> Sight:
    """What a network says of itself."""
    return {
        "network": network.network,
        "weights": network.weights,
        "resolution": network.resolution,
        "resize": network.resize,
        "value_range": network.value_range,
    }


def fingerprint(fields: dict[str, Any]) -> str:
    """First 12 hex digits of the SHA-256 of `fields` as canonical JSON."""
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
