"""Writers of tiny copies: JSON beside pictures, and tables as the hub lays them out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fixtures_manifest import encoded, picture

from bench.manifest import Manifest, open_manifest
from bench.spec import ManifestRef


def opened(benchmark: str, root: Path, split: str | None = None) -> Manifest:
    """A copy that may lack rows."""
    return open_manifest(ManifestRef(benchmark=benchmark, root=str(root), split=split), partial=True)


def write_json(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def write_picture(file: Path, seed: int, width: int = 40, height: int = 40) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, width, height).save(file)


def png(seed: int, width: int = 40, height: int = 40) -> dict[str, Any]:
    """A cell of an image column."""
    return {"bytes": encoded(picture(seed, width, height)), "path": f"{seed}.png"}


def write_split(folder: Path, split: str, rows: Sequence[Mapping[str, Any]], pictures: Sequence[str]) -> None:
    """One split as `datasets` writes it: `data/<split>-00000-of-00001.parquet` with image columns."""
    import datasets

    features = {name: datasets.Image() if name in pictures else datasets.Value(_kind(rows[0][name])) for name in rows[0]}
    table = datasets.Dataset.from_list([dict(row) for row in rows], features=datasets.Features(features))
    (folder / "data").mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")


def _kind(value: object) -> str:
    return "int32" if isinstance(value, int) else "string"
