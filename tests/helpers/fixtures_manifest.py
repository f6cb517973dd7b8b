"""Tiny manifests in every layout, made on the spot."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(seed: int, width: int = 40, height: int = 40) -> Image.Image:
    """Noise that is the same for a seed and differs between seeds."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def mask(width: int = 40, height: int = 40) -> Image.Image:
    """White in the left half."""
    array = np.zeros((height, width), dtype=np.uint8)
    array[:, : width // 2] = 255
    return Image.fromarray(array)


def huge_png(width: int = 20_000, height: int = 20_000) -> bytes:
    """A valid header and no pixels: what a decompression bomb looks like before it is decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def row(i: int, **changes: Any) -> dict[str, Any]:
    """Row ``i`` of our form, with every field; a change to None takes the field away."""
    full = {
        "file_name": f"{i}.png",
        "id": f"sample-{i}",
        "target_text": f"a zebra on hill number {i}",
        "source_text": f"a horse on hill number {i}",
        "instruction": f"turn the horse on hill number {i} into a zebra",
        "mask_file_name": f"{i}-mask.png",
        "truth_file_name": f"{i}-truth.png",
        "source_class": "horse",
        "target_class": "zebra",
        "category": "change object",
    } | changes
    return {key: value for key, value in full.items() if value is not None}


def write_folder(folder: Path, rows: list[dict[str, Any] | str], pictures: int = 3) -> Path:
    """Our form: pictures 0, 1, ... with masks and truths, and the rows; a string becomes a line as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(pictures):
        picture(i).save(folder / f"{i}.png")
        picture(100 + i).save(folder / f"{i}-truth.png")
        mask().save(folder / f"{i}-mask.png")
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_parquet(file: Path, rows: list[dict[str, Any]], pictures: tuple[str, ...] = ("image",)) -> Path:
    """A parquet file with the column types that ``datasets`` writes; picture columns hold bytes, None, or a path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture_type = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema({key: picture_type if key in pictures else pa.string() for key in rows[0]})
    features = {key: {"_type": "Image"} if key in pictures else {"dtype": "string", "_type": "Value"} for key in rows[0]}
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    cells = [{key: _cell(value) if key in pictures else value for key, value in row.items()} for row in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(cells, schema=schema), file)
    return file


def _cell(value: bytes | str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {"bytes": value, "path": None} if isinstance(value, bytes) else {"bytes": None, "path": value}


def write_tedbench(folder: Path) -> Path:
    """The authors' layout in small: an RGBA file, a JPEG named .png, and its twin by content."""
    originals = folder / "originals"
    originals.mkdir(parents=True)
    transparent = picture(1).convert("RGBA")
    transparent.putalpha(0)
    transparent.save(originals / "cat.png")
    jpeg = encoded(picture(2, 40, 41), "JPEG")
    (originals / "bird.png").write_bytes(jpeg)
    (originals / "bird.jpeg").write_bytes(jpeg)
    entries = [
        {"img_name": "cat.png", "target_text": "A cat with a hat."},
        {"img_name": "bird.png", "target_text": "A bird with spread wings."},
        {"img_name": "bird.jpeg", "target_text": "Two birds."},
    ]
    (folder / "input_list.json").write_text(json.dumps(entries))
    return folder
