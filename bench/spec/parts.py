"""What a spec is made of: manifest, model, editors, metrics, reference and axes, each with its keys and what they allow."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench import registry
from bench.spec.values import Label, Parameters, Text
from bench.suggest import did_you_mean

__all__ = [
    "MANIFEST_FIELDS",
    "AxesSpec",
    "EditorSpec",
    "ManifestRef",
    "MetricSpec",
    "ModelRef",
    "ReferenceSpec",
    "Strict",
]

MANIFEST_FIELDS = (
    "id",
    "image",
    "target_text",
    "source_text",
    "instruction",
    "mask",
    "truth",
    "source_class",
    "target_class",
    "category",
    "cluster",
    "previous",
)
"""What a sample can hold; the left side of a column mapping."""

MOST_PICTURES = 10_000
"""Most reference pictures of a class; a Fréchet distance is settled by far fewer."""


class Strict(BaseModel):
    """Refuses unknown keys and does not turn one kind of value into another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _exactly_one(owner: BaseModel, *fields: str) -> None:
    given = [field for field in fields if getattr(owner, field) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(fields)}; got {' and '.join(given) or 'none'}")


class ManifestRef(Strict):
    """Where the samples come from and how their pictures and texts are brought into form."""

    name: Text | None = Field(default=None, description="a shipped manifest")
    path: Text | None = Field(default=None, description="a folder, .jsonl, .parquet or TEdBench's input_list.json")
    hub: Text | None = Field(default=None, description="a dataset id of the Hugging Face hub, or a folder laid out like one")
    benchmark: Text | None = Field(default=None, description="a published benchmark in the layout of its authors")
    root: Text | None = Field(default=None, description="folder of your copy of the benchmark, unpacked")
    revision: Text | None = Field(default=None, description="branch, tag or commit of a hub dataset; looked up once")
    subset: Text | None = Field(default=None, description="configuration of a hub dataset")
    split: Text | None = Field(
        default=None, description="split of a hub dataset or a benchmark; may be left out where there is one only"
    )
    columns: dict[str, str] = Field(default_factory=dict, description="our field: their column; unmapped columns are ignored")
    sidecar: Text | None = Field(default=None, description="a file with what the manifest lacks, as `etabench caption` writes it")
    size: int | None = Field(default=None, ge=8, le=8192, description="side of the square in pixels; None is the model's own")
    fit: Literal["center-crop", "squash", "pad"] = Field(default="center-crop", description="how a picture becomes a square")
    alpha: Literal["white", "drop"] = Field(default="white", description="transparent pixels: over white, or alpha ignored")
    strip_brackets: bool = Field(default=False, description="remove the characters [ and ] from texts")

    @field_validator("columns")
    @classmethod
    def _known_fields(cls, columns: dict[str, str]) -> dict[str, str]:
        for field in columns:
            if field not in MANIFEST_FIELDS:
                raise ValueError(f"'{field}' is not a field of a sample; {did_you_mean(field, MANIFEST_FIELDS)}")
        if columns and not {"image", "target_text"} <= columns.keys():
            raise ValueError("a column mapping must name at least image and target_text")
        return columns

    @model_validator(mode="after")
    def _one_place(self) -> ManifestRef:
        _exactly_one(self, "name", "path", "hub", "benchmark")
        if self.benchmark is not None:
            allowed = {"split", "revision"} if self.root is None else {"split", "root"}
        else:
            allowed = {"revision", "subset", "split"} if self.hub is not None else set()
        for field in {"revision", "subset", "split", "root"} - allowed:
            if getattr(self, field) is not None:
                kinds = {"root": "benchmarks", "split": "hub datasets and benchmarks"}
                raise ValueError(f"{field} applies to {kinds.get(field, 'hub datasets')} only")
        if self.benchmark is not None and self.columns:
            raise ValueError("columns are those of the benchmark; leave them out, or name the copy with path")
        return self


class ModelRef(Strict):
    """The diffusion model that all editors of a run share."""

    name: Text | None = Field(default=None, description="a model that comes with the package")
    path: Text | None = Field(default=None, description="a folder of the Stable Diffusion family in diffusers' format")
    hub: Text | None = Field(default=None, description="a model id of the Hugging Face hub")
    revision: Text | None = Field(default=None, description="branch, tag or commit of a hub model; looked up once")
    allow_pickle: bool = Field(default=False, description="accept .bin checkpoints, which can run code when they are read")

    @model_validator(mode="after")
    def _one_place(self) -> ModelRef:
        _exactly_one(self, "name", "path", "hub")
        if self.name is not None and "/" in self.name:
            raise ValueError(f"'{self.name}' is not a name; write {{path: {self.name}}} for a folder or {{hub: {self.name}}}")
        if self.hub is None and self.revision is not None:
            raise ValueError("revision applies to hub models only")
        return self


class EditorSpec(Strict):
    """One editor with its parameters and the knob values of its curve."""

    name: Text = Field(description="a registered editor, module:Class or path/to/file.py:Class")
    label: Label = Field(default="", description="its name in tables; by default the name, or the class")
    preset: str = Field(default="", description="a named set of parameters; empty for the defaults")
    params: Parameters = Field(default_factory=dict, description="parameters that differ from the preset")
    grid: list[float] | None = Field(default=None, description="knob values, ascending; None is the editor's own grid")

    @model_validator(mode="before")
    @classmethod
    def _default_label(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("label") and isinstance(data.get("name"), str):
            name = data["name"]
            return {**data, "label": name.rpartition(":")[2]}
        return data

    @field_validator("grid")
    @classmethod
    def _ascending(cls, grid: list[float] | None) -> list[float] | None:
        if grid is None:
            return None
        if not grid:
            raise ValueError("empty; give at least one knob value, or leave grid out for the editor's own")
        for value in grid:
            if not math.isfinite(value):
                raise ValueError(f"knob values must be finite, got {value}")
        if sorted(set(grid)) != grid:
            raise ValueError(f"knob values must ascend without repeats; write {sorted(set(grid))}")
        return grid


class MetricSpec(Strict):
    """One metric; without parameters it takes the defaults that go with the model."""

    name: Text = Field(description="a registered metric, module:Class or path/to/file.py:Class")
    params: Parameters = Field(default_factory=dict, description="parameters of the metric")


class ReferenceSpec(Strict):
    """The pictures that set metrics compare the edits with."""

    kind: Literal["truths", "sources", "toybox", "manifest", "folder"]
    manifest: Text | None = Field(default=None, description="name or path, for kind manifest")
    folder: Text | None = Field(default=None, description="pictures, a subfolder for each class, for kind folder")
    per_class: int = Field(default=24, ge=1, le=MOST_PICTURES, description="pictures per target class, for kind toybox")
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _manifest_with_its_kind(self) -> ReferenceSpec:
        if (self.kind == "manifest") != (self.manifest is not None):
            raise ValueError("kind manifest and the key manifest go together: give both or neither")
        if self.folder is not None and self.kind != "folder":
            raise ValueError("the key folder is for kind folder")
        return self


class AxesSpec(Strict):
    """The two pair metrics, by their names in tables, whose plane a run is drawn and its editors are compared in."""

    editability: Text = Field(default="clip", description="says how far an edit does what the text asks")
    fidelity: Text = Field(default="lpips", description="says how much of the source an edit keeps")

    @model_validator(mode="after")
    def _two(self) -> AxesSpec:
        if self.editability == self.fidelity:
            raise ValueError(f"both axes are '{self.fidelity}'; name two metrics")
        return self

    def mistake(self, pairs: Collection[str], sets: Collection[str] = (), undirected: Collection[str] = ()) -> str:
        """Why these cannot be the axes of a run with these pair and set metrics; empty where they can.

        `undirected` are pair metrics of which neither more nor less is better. A default may be absent: such a run has no
        plane, and is not told to have one.
        """
        for role, field in type(self).model_fields.items():
            name = getattr(self, role)
            if name in sets:
                return f"axes.{role}: {name} scores sets, an axis needs a score of every edit; {did_you_mean(name, pairs)}"
            if name in undirected:
                return f"axes.{role}: {name} has no direction, and on an axis more is better; name another metric"
            if name not in pairs and name != field.default:
                advice = "" if name in registry.metrics() else did_you_mean(name, pairs)
                return f"axes.{role}: no metric of the spec is called '{name}'; {advice or 'add it to metrics'}"
        return ""
