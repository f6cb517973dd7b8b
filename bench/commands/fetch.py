"""What a spec reads and this machine lacks: named with its size, and brought before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench import models, registry
from bench.errors import ScoreError
from bench.manifest.benchmarks import on_hub
from bench.manifest.sources import read_source
from bench.manifest.tables import hub_repository
from bench.plan.entries import assets_of, resolve_params
from bench.plan.pins import pin
from bench.progress import Progress
from bench.toybox import embedded

if TYPE_CHECKING:
    from bench.spec import Spec
    from editors.toolbox.hub import Repository

__all__ = ["Download", "bring", "in_words", "lacking", "wanted", "weights_lacking", "whole"]

SECONDS = 5.0
"""How long an address may take to tell how much lies behind it."""


@dataclass(frozen=True)
class Download:
    """Something to bring: what it is for, where it is from, bytes to come (None where nobody tells), and how."""

    role: str
    place: str
    size: int | None
    bring: Callable[[], object]

    def __str__(self) -> str:
        return f"{self.role}: {self.place}, {in_words(self.size)}"


def wanted(spec: Spec) -> list[Download]:
    """All that a spec reads and this machine lacks; its branches of the hub are looked up now. Raises as `lacking` and
    `weights_lacking`."""
    pinned, _ = pin(spec)
    return [*lacking(pinned), *weights_lacking(pinned)]


def whole(downloads: list[Download]) -> str:
    """The last line of a list of downloads: how much they are together."""
    if not downloads:
        return "nothing to fetch: all of it is here, or lies in folders of yours"
    known = in_words(sum(download.size or 0 for download in downloads))
    unknown = sum(download.size is None for download in downloads)
    return f"to fetch: {known}" + (f", and {unknown} of unknown size" if unknown else "")


def lacking(spec: Spec) -> list[Download]:
    """The model, the data set and the editors' own networks of a pinned spec, as far as they are the hub's and not here whole.

    Raises ModelError, CheckpointError, ManifestError and SpecError.
    """
    return [download for download in _hub(spec) if download.size != 0]


def weights_lacking(spec: Spec) -> list[Download]:
    """The weights of metrics that their libraries publish and that are not here. Raises RegistryError."""
    from editors.toolbox.hub import Repository
    from metrics.networks.remote import absent_weights

    found: dict[str, Download] = {}
    for item in spec.metrics:
        metric = registry.load_metric(item.name)
        networks = embedded.metric_networks(metric) if embedded.on_toybox(spec) else {}
        for weights in absent_weights(metric, networks | item.params):
            place = Repository(weights.place, files=weights.files) if weights.files else None
            size = _missing(place) if place else weights.size or _length(weights.place)
            found.setdefault(
                weights.place, Download(f"metric {item.name}", weights.place, size, partial(_brought, weights.bring, place))
            )
    return [download for download in found.values() if download.size != 0]


def bring(downloads: list[Download], progress: Progress) -> None:
    """Bring what is lacking, one after another, each named with its size before. Raises as `lacking`, and ScoreError for weights of
    metrics; what is brought stays."""
    if not downloads:
        return
    with progress("fetch", len(downloads)) as advance:
        for download in downloads:
            advance(0, str(download))
            download.bring()
            advance(1)


def in_words(size: int | None) -> str:
    """Bytes as kB, MB or GB."""
    if size is None:
        return "size unknown"
    unit, name = next((u, n) for u, n in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")) if size >= u or n == "kB")
    return f"{size / unit:.3g} {name}"


def _hub(spec: Spec) -> Iterator[Download]:
    from dataclasses import replace

    users = [item.name for item in spec.editors if registry.load_editor(item.name).needs_model]
    users += [name for name in spec.anchors if registry.load_editor(name).needs_model]
    if users:
        ref = models.reference(spec, *users)
        if place := models.repository(ref):
            yield Download("model", str(place), _missing(place), partial(models.inspect, ref))
    if table := hub_repository(on_hub(spec.manifest)):
        data = replace(table, ignored=(".*", "*.md"))  # what describes a data set is not read
        yield Download("data set", str(data), _missing(data), partial(read_source, spec.manifest))
    for item in spec.editors:
        cls, params = resolve_params(item, embedded.on_toybox(spec))
        for name, place in cls.repositories(params).items():
            yield Download(f"editor {item.label}: {name}", str(place), _missing(place), partial(assets_of, cls, params))


def _missing(place: Repository) -> int | None:
    """Bytes to come; None where the hub does not tell, which is for the download itself to explain."""
    from editors.toolbox.hub import HubError

    try:
        return place.missing()
    except HubError:
        return None


def _length(url: str) -> int | None:
    """Bytes behind an address; None where it does not tell."""
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(url, method="HEAD"), timeout=SECONDS) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, ValueError, TypeError):
        return None


def _brought(work: Callable[[], object], place: Repository | None) -> object:
    """`work`, once the hub answers for the place that it reads. What goes wrong is one line. Raises ScoreError."""
    from editors.toolbox.hub import HubError, explained

    try:
        if place is None:
            return work()
        with explained(place.pinned()):
            return work()
    except (OSError, RuntimeError, ValueError, HubError) as error:
        why = (
            str(error)
            if isinstance(error, HubError)
            else f"{' '.join(str(error).split())[:300]}; run again, or bring them by hand"
        )
        raise ScoreError(f"weights cannot be fetched: {why}") from error
