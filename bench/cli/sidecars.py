"""Commands that write what a manifest lacks into a sidecar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import Settings, app
from bench.commands import console

if TYPE_CHECKING:
    from bench.manifest import Manifest
    from bench.sidecars import Written

__all__ = ["caption", "segment"]

Source = Annotated[str, typer.Argument(metavar="SPEC|MANIFEST", help="a spec, or a shipped manifest, a file or a folder")]
Model = Annotated[str, typer.Option("--model", metavar="NETWORK", help="a folder, or owner/name[@revision] of the hub")]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="the sidecar; one that is there is continued")]
Limit = Annotated[int | None, typer.Option(min=1, help="only the first N samples")]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:N")]


@app.command()
def caption(
    manifest: Source,
    *,
    model: Model,
    folder: Out,
    prompt: Annotated[str, typer.Option(help="beginning of the caption, or the question to a network that is spoken to")] = "",
    limit: Limit = None,
    device: Device = "auto",
    settings: Settings = None,
) -> None:
    """Write captions of the pictures that have no source_text into a sidecar, which `manifest: {..., sidecar: FILE}` reads."""
    from bench.devices import pick_device
    from bench.progress import shown
    from bench.sidecars import Captioner, opened, write

    rows = _manifest(manifest, settings)
    _tell(write(Captioner(opened(model), prompt, pick_device(device)), rows, folder, limit, shown(console.log)), folder)


@app.command()
def segment(
    manifest: Source,
    *,
    model: Model,
    folder: Out,
    phrase: Annotated[
        str, typer.Option(help="what to find; {source_class}, {source_text}, {instruction}, ... are the sample's")
    ] = "{source_class}",
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="probability from which a pixel belongs to it")] = 0.4,
    limit: Limit = None,
    device: Device = "auto",
    settings: Settings = None,
) -> None:
    """Write masks of what a phrase names, by CLIPSeg, for the samples that have none into a sidecar; its PNG files lie beside it."""
    from bench.devices import pick_device
    from bench.progress import shown
    from bench.sidecars import Segmenter, opened, write

    rows = _manifest(manifest, settings)
    network = Segmenter(opened(model), phrase, threshold, pick_device(device))
    _tell(write(network, rows, folder, limit, shown(console.log)), folder)


def _manifest(name: str, settings: list[str] | None) -> Manifest:
    """The manifest of a spec, or the one of that name or place, without a sidecar."""
    from bench.manifest import open_manifest
    from bench.manifest.sources import as_ref
    from bench.spec import load_spec, shipped_specs

    spec = name in shipped_specs() or Path(name).suffix in (".yaml", ".yml")
    if not spec and settings:
        raise typer.BadParameter("--set changes a spec, and this is a manifest")
    ref = load_spec(name, settings or []).manifest if spec else as_ref(name)
    return open_manifest(ref.model_copy(update={"sidecar": None}), partial=True)


def _tell(written: Written, file: Path) -> None:
    console.out.print(f"{file}: {written}", markup=False, highlight=False, soft_wrap=True)
    if written.failed:
        raise typer.Exit(1)
