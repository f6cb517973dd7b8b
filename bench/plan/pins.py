"""What a run looks up once, when it is planned, and never anew: the commits of what it reads of the hub, and the dtype of `dtype: auto`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench import models, registry
from bench.devices import AUTO, best_dtype, pick_device
from bench.manifest.benchmarks import on_hub
from bench.manifest.tables import hub_repository
from bench.plan.entries import repositories_of, resolve_params
from bench.toybox import embedded

if TYPE_CHECKING:
    from bench.spec import EditorSpec, ManifestRef, ModelRef, Spec

__all__ = ["pin"]


def pin(spec: Spec, known: Mapping[str, str] | None = None) -> tuple[Spec, dict[str, str]]:
    """The spec with a commit in place of every branch and tag of the hub that it would read and a dtype in place of `auto`, and what was
    looked up for it.

    `known` is what an earlier plan looked up, which stays. Both are by "<kind> <owner/name>@<revision>" and "dtype auto". A model that no
    editor uses is left as it is. Raises ModelError or CheckpointError, ManifestError and SpecError.
    """
    from editors.toolbox.hub import pinning

    with pinning(known) as pins:
        needed = any(registry.load_editor(name).needs_model for name in (*(item.name for item in spec.editors), *spec.anchors))
        changed: dict[str, Any] = {
            "manifest": _manifest(spec.manifest),
            "model": _model(spec.model) if spec.model is not None and needed else spec.model,
            "editors": [_editor(item, embedded.on_toybox(spec)) for item in spec.editors],
        }
    if spec.dtype == AUTO:
        key = f"dtype {AUTO}"
        changed["dtype"] = pins[key] = (known or {}).get(key) or best_dtype(pick_device(spec.device))
    return spec.model_copy(update=changed), pins


def _manifest(ref: ManifestRef) -> ManifestRef:
    found = hub_repository(on_hub(ref))
    return ref if found is None else ref.model_copy(update={"revision": found.revision})


def _model(ref: ModelRef) -> ModelRef:
    found = models.repository(ref)
    return ref if found is None else ref.model_copy(update={"hub": found.name, "revision": found.revision})


def _editor(item: EditorSpec, on_toybox: bool) -> EditorSpec:
    found = repositories_of(item, *resolve_params(item, on_toybox))
    return item.model_copy(update={"params": item.params | found}) if found else item
