"""The spec: what to run, every key of it, validated before anything expensive starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from bench import registry
from bench.errors import SpecError
from bench.spec.parts import AxesSpec, EditorSpec, ManifestRef, MetricSpec, ModelRef, ReferenceSpec, Strict
from bench.spec.policy import BatchSize, OnError, Retries
from bench.spec.protocols import expand_protocol, fill_given
from bench.spec.text import expand_shorthands
from bench.spec.values import Count, Name, Text

__all__ = ["Spec"]


def _repeated(values: Iterable[Hashable]) -> Hashable | None:
    seen: set[Hashable] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


class Spec(Strict):
    """A whole run. Samples named in ``samples`` are taken first, then the first ``limit`` of them."""

    name: Name = Field(description="what the run is called, and its folder below runs/ by default")
    description: str = ""
    protocol: Text | None = Field(
        default=None, description="a published protocol, which fills manifest, seeds, chain and metrics where they are left out"
    )
    given: dict[str, Any] = Field(
        default={}, description="what the protocol needs and only you have, such as a judge or the authors' prompt file"
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
    pack_above: int = Field(
        default=10_000, ge=0, description="pack finished units into shards whenever more of them have a folder; 0: never"
    )
    unit_seconds: float | None = Field(default=None, gt=0, le=1e7, description="time limit of a unit; what takes longer fails")
    editors: list[EditorSpec] = Field(min_length=1)
    metrics: list[MetricSpec] = Field(min_length=1)
    reference: ReferenceSpec | None = None
    anchors: list[str] = Field(default=[])
    axes: AxesSpec = AxesSpec()

    @model_validator(mode="before")
    @classmethod
    def _long_forms(cls, data: Any) -> Any:
        try:
            return fill_given(expand_protocol(expand_shorthands(data))) if isinstance(data, dict) else data
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
