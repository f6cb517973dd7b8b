"""The spec: what to run, every key of it, validated before anything expensive starts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench import registry
from bench.errors import SpecError
from bench.spec.policy import BatchSize, OnError, Retries
from bench.spec.protocols import expand_protocol
from bench.spec.text import expand_shorthands
from bench.spec.values import Count, Label, Name, Parameters, Text
from bench.suggest import did_you_mean

__all__ = [
    "MANIFEST_FIELDS",
    "AxesSpec",
    "EditorSpec",
    "ManifestRef",
    "MetricSpec",
    "ModelRef",
    "ReferenceSpec",
    "Spec",
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


class _Strict(BaseModel):
    """Refuses unknown keys and does not turn one kind of value into another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _exactly_one(owner: BaseModel, *fields: str) -> None:
    given = [field for field in fields if getattr(owner, field) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(fields)}; got {' and '.join(given) or 'none'}")


def _repeated(values: Iterable[Hashable]) -> Hashable | None:
    seen: set[Hashable] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


class ManifestRef(_Strict):
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


class ModelRef(_Strict):
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


class EditorSpec(_Strict):
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


class MetricSpec(_Strict):
    """One metric; without parameters it takes the defaults that go with the model."""

    name: Text = Field(description="a registered metric, module:Class or path/to/file.py:Class")
    params: Parameters = Field(default_factory=dict, description="parameters of the metric")


class ReferenceSpec(_Strict):
    """The pictures that set metrics compare the edits with."""

    kind: Literal["truths", "sources", "toybox", "manifest"]
    manifest: Text | None = Field(default=None, description="name or path, for kind manifest")
    per_class: int = Field(default=24, ge=1, le=MOST_PICTURES, description="pictures per target class, for kind toybox")
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _manifest_with_its_kind(self) -> ReferenceSpec:
        if (self.kind == "manifest") != (self.manifest is not None):
            raise ValueError("kind manifest and the key manifest go together: give both or neither")
        return self


class AxesSpec(_Strict):
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


class Spec(_Strict):
    """A whole run. Samples named in ``samples`` are taken first, then the first ``limit`` of them."""

    name: Name = Field(description="what the run is called, and its folder below runs/ by default")
    description: str = ""
    protocol: Text | None = Field(
        default=None, description="a published protocol, which fills manifest, seeds, chain and metrics where they are left out"
    )
    manifest: ManifestRef
    limit: Count | None = None
    samples: list[str] | None = Field(default=None, min_length=1)
    model: ModelRef | None = Field(default=None, description="left out where no editor needs one")
    device: str = "auto"
    dtype: Literal["float32", "float16", "bfloat16", "auto"] = Field(
        default="float32", description="of the networks; auto is the device's best, looked up once"
    )
    seeds: list[Annotated[int, Field(ge=0, lt=2**63)]] = Field(default=[0], min_length=1)
    chain: Literal["truth", "own"] = Field(
        default="truth", description="what a later turn of a session edits: the true picture before it, or the editor's own"
    )
    compile: Literal["default", "reduce-overhead"] | None = Field(
        default=None, description="mode of torch.compile for the denoising network; reduce-overhead records CUDA graphs"
    )
    channels_last: bool = Field(default=False, description="weights of U-Net and VAE as tensor cores want them")
    batch: BatchSize = Field(
        default="auto",
        description="samples a worker gives to an editor at once, rounding aside the same edits; auto is 1 on a CPU, "
        "on a GPU as many as fill a call",
    )
    max_batch: BatchSize = Field(
        default="auto",
        description="items in one call of a network, halved where memory is out; auto is 64, on a GPU fewer where a measured call says so",
    )
    on_error: OnError = Field(
        default="continue", description="or stop, {count: 10}, {share: 0.05}: failed units that stop no run"
    )
    retry: Retries = Field(default={}, description="class of an error, or Transport: how often such a unit is tried again")
    unit_seconds: float | None = Field(default=None, gt=0, le=1e7, description="time limit of a unit; what takes longer fails")
    editors: list[EditorSpec] = Field(min_length=1)
    metrics: list[MetricSpec] = Field(min_length=1)
    reference: ReferenceSpec | None = None
    anchors: list[str] = []
    axes: AxesSpec = AxesSpec()

    @model_validator(mode="before")
    @classmethod
    def _long_forms(cls, data: Any) -> Any:
        try:
            return expand_protocol(expand_shorthands(data)) if isinstance(data, dict) else data
        except SpecError as error:
            raise ValueError(str(error)) from error

    @field_validator("name")
    @classmethod
    def _not_a_way_out(cls, name: str) -> str:
        if name.strip() in (".", ".."):
            raise ValueError(f"'{name}' would be a folder that is there already; give the run a name of its own")
        return name

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
            raise ValueError(f"expected auto, cpu, mps, cuda or cuda:N, got '{device}'")
        return device

    @field_validator("seeds", "samples", "anchors")
    @classmethod
    def _no_repeats(cls, values: list[Any] | None) -> list[Any] | None:
        repeated = _repeated(values or [])
        if repeated is not None:
            raise ValueError(f"{repeated!r} is there twice")
        return values

    @model_validator(mode="after")
    def _told_apart(self) -> Spec:
        label = _repeated([*(editor.label for editor in self.editors), *self.anchors])
        if label is not None:
            raise ValueError(f"two editors or anchors have the label '{label}'; give one another label")
        metric = _repeated(f"{metric.name} {metric.params}" for metric in self.metrics)
        if metric is not None:
            raise ValueError(f"metrics: the same metric is there twice: {str(metric)[:200]}")
        return self

    @model_validator(mode="after")
    def _axes_are_metrics(self) -> Spec:
        """Where all metrics are registered; those of files have names that are known when the files are read."""
        if not any(registry.is_file_target(metric.name) for metric in self.metrics):
            mistake = self.axes.mistake(self.table_names())
            if mistake:
                raise ValueError(mistake)
        return self

    @property
    def partial(self) -> bool:
        """Whether only some samples of the manifest are asked for."""
        return self.limit is not None or self.samples is not None

    def table_names(self, own: Callable[[str], str] = str) -> list[str]:
        """The names of the metrics in tables: their own, with parameters added where another has it already.

        `own` gives the name of a metric's class for its name in the spec; a registered metric has one name for both.
        """
        names: list[str] = []
        for item in self.metrics:
            name = own(item.name)
            if name in names:
                name += f"[{','.join(f'{key}={value}' for key, value in sorted(item.params.items()))}]"
            names.append(name)
        return names

    def resolved(self) -> dict[str, Any]:
        """Every value, defaults included, as plain data for YAML or JSON; ``Spec.model_validate`` reads it back."""
        return self.model_dump(mode="json")
