"""What is decided because a model or a manifest is ToyBox: all of it, and here alone.

A run on the embedded model gets the networks that come with it where the user leaves them open: metrics the `judge` and the `features`,
which the generator never saw, editors with a CLIP in the loop the `ranker`, so that the judge never guides what it judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import data_manifests
from bench.errors import ModelError

if TYPE_CHECKING:
    from bench.spec import ModelRef, Spec

__all__ = [
    "NAME",
    "NETWORKS",
    "TOYBOX",
    "Kind",
    "generator",
    "health",
    "is_embedded",
    "metric_networks",
    "named",
    "network",
    "on_toybox",
    "present",
    "preset_of",
    "with_ranker",
]

NAME = "toybox"
"""The model's name in a spec, and the name of the preset that suits it."""

TOYBOX = Path(__file__).parent / "models"
"""Folder of the embedded models, one folder for each of `NETWORKS`."""

NETWORKS: Mapping[str, str] = {
    "generator": "model_index.json",
    "judge": "open_clip_model.safetensors",
    "features": "model.safetensors",
    "ranker": "open_clip_model.safetensors",
}
"""The embedded networks, and the file without which each is not there: a diffusers pipeline, two open_clip folders, a ResNet folder."""

Kind = Literal["judge", "features", "ranker"]
_SCHEME: Mapping[Kind, str] = {"judge": "local-dir:", "features": "folder:", "ranker": "local-dir:"}


def is_embedded(model: ModelRef) -> bool:
    """Whether a model is the embedded one."""
    return model.name == NAME


def on_toybox(spec: Spec) -> bool:
    """Whether a run is one on ToyBox: its model is the embedded one, or it has no model and edits a shipped manifest."""
    return is_embedded(spec.model) if spec.model is not None else spec.manifest.name in data_manifests.names()


def present(name: str) -> bool:
    """Whether the network of that name is in its folder."""
    return (TOYBOX / name / NETWORKS[name]).is_file()


def generator() -> Path:
    """The diffusers folder. Raises ModelError where it is not there."""
    if not present("generator"):
        raise ModelError(f"the embedded model is not in {TOYBOX / 'generator'}; run `make train-toybox` or reinstall")
    return TOYBOX / "generator"


def network(kind: Kind) -> str:
    """An embedded network as metrics and editors name one: `folder:PATH` or `local-dir:PATH`."""
    return f"{_SCHEME[kind]}{TOYBOX / kind}"


def preset_of(presets: Mapping[str, Any]) -> str:
    """The preset of an editor that suits ToyBox, "" where it has none."""
    return NAME if NAME in presets else ""


def metric_networks(metric: type[Any]) -> dict[str, str]:
    """The embedded networks for the parameters of a metric that name one (`metrics.base.Embedded`)."""
    return {parameter: network(kind) for parameter, kind in metric.embedded.items()}


def named(metric: type[Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a metric with the embedded network where one that names a network says "toybox", alone or in a list."""

    def filled(value: Any, kind: Kind) -> Any:
        if isinstance(value, list):
            return [filled(each, kind) for each in value]
        return network(kind) if value == NAME else value

    return {name: filled(value, metric.embedded[name]) if name in metric.embedded else value for name, value in params.items()}


def with_ranker(editor: type[Any], params: Any) -> Any:
    """An editor's parameters with the ranker for a CLIP that they leave open, if the editor reads one with these parameters.

    Raises ModelError where it does and the ranker is not there.
    """
    if getattr(params, "clip", None) != "":
        return params
    filled = params.model_copy(update={"clip": network("ranker")})
    try:
        reads = "clip" in editor.assets(filled)
    except Exception as error:
        if present("ranker"):
            raise
        raise ModelError(f"the embedded ranking network is not in {TOYBOX / 'ranker'}; run `make train-toybox`") from error
    return filled if reads else params


def health() -> Iterator[tuple[str, bool, Path]]:
    """Name, presence and folder of every embedded network."""
    return ((name, present(name), TOYBOX / name) for name in NETWORKS)
