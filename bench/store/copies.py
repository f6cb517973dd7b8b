"""A run's own copies of its samples, as editors and metrics see them.

    samples/<digest>/source.png truth.png mask.png   as far as the sample has them
    samples/<digest>/sha256.json                     picture to the SHA-256 of its file, written last

A copy that is cut or changed is made again from the manifest. Copies that were made before their digests were kept are taken as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import ManifestError, RunError
from bench.store.files import json_bytes, own, png_bytes, write_atomically

if TYPE_CHECKING:
    from bench.manifest import Manifest, Sample
    from bench.plan import SampleInfo

__all__ = ["DIGESTS", "keep", "sample"]

DIGESTS = "sha256.json"


def sample(run: Path, info: SampleInfo, manifest: Callable[[], Manifest]) -> Sample:
    """A planned sample of the run in the folder `run`, decoded. Raises RunError as `keep` does."""
    from bench.manifest import Sample
    from bench.manifest.pictures import PictureFile, read_mask, read_rgb

    paths = keep(run, info, manifest)
    files = {name: PictureFile(str(path), path) for name, path in paths.items()}
    texts = {name: getattr(info, name) for name in ("id", "row", "target_text", "source_text", "source_class", "target_class")}
    return Sample(
        **texts,
        category=info.category,
        image=read_rgb(files["source"]),
        mask=read_mask(files["mask"]) if info.has_mask else None,
        truth=read_rgb(files["truth"]) if info.has_truth else None,
        source_id=info.source_id,
        digest=info.digest,
        instruction=info.instruction,
        previous=info.previous,
        provenance=info.provenance,
    )


def keep(run: Path, info: SampleInfo, manifest: Callable[[], Manifest]) -> dict[str, Path]:
    """Where the copy of a planned sample is: `source` and, as far as the sample has them, `truth` and `mask`; made if need be.

    `manifest` is asked for only then.

    Raises RunError where there is no whole copy and the manifest's sample is gone or is no longer what was planned.
    """
    folder = run / "samples" / info.digest[:24]
    wanted = {"source": True, "truth": info.has_truth, "mask": info.has_mask}
    paths = {name: folder / f"{name}.png" for name, there in wanted.items() if there}
    for path in paths.values():
        own(run, path)
    there = all(path.is_file() for path in paths.values())
    if there and _whole(folder, paths):
        return paths
    try:
        opened = manifest()
        loaded = opened.load(opened.index(info.id))
    except ManifestError as error:
        lacks = f"{folder} differs from what was kept of" if there else f"{run} has no copy of"
        raise RunError(f"{lacks} sample {info.id}, and the manifest does not give it: {error}") from error
    if loaded.digest != info.digest:
        where = f"sample {info.id} of manifest {opened.name}"
        raise RunError(f"{where} changed since {run} was planned; `etabench run` plans it anew")
    pictures = {"source": loaded.image, "truth": loaded.truth, "mask": loaded.mask}
    digests = {}
    for name, path in paths.items():
        if (picture := pictures[name]) is not None:
            data = png_bytes(picture)
            digests[name] = hashlib.sha256(data).hexdigest()
            write_atomically(path, data)
    write_atomically(folder / DIGESTS, json_bytes(digests))
    return paths


def _whole(folder: Path, paths: dict[str, Path]) -> bool:
    """Whether the copies are what was written."""
    from editors.toolbox.files import MOST_BYTES, read_regular

    try:
        known = json.loads(read_regular(folder / DIGESTS, MOST_BYTES))
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RecursionError):
        return False
    try:
        found = {name: hashlib.sha256(read_regular(path, MOST_BYTES)).hexdigest() for name, path in paths.items()}
    except OSError:
        return False
    return bool(known == found)
