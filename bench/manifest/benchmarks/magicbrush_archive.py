"""MagicBrush's test archive, unpacked: `edit_sessions.json` beside `images/<session>/`, and descriptions whose files are named in many ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Copy, Values
from bench.manifest.benchmarks.layout import brought_to, entries_of, inside, read_json, turn_of

__all__ = ["archive"]


def archive(copy: Copy) -> Iterator[Values]:
    """A row a turn. Raises ManifestError where there is no folder, or it is not the archive."""
    if copy.root is None:
        raise ManifestError(
            f"{copy.ref.benchmark} test: give root, the folder of the unpacked archive; the links of the set's README lead to it"
        )
    file, sessions = read_json(copy, dict, "edit_sessions.json")
    captions = _descriptions(copy)
    for session, turns in sessions.items():
        described = captions.get(session, {})
        for number, turn in entries_of(f"{file} '{session}'", turns, "input", "mask", "output", "instruction"):
            image, mask, truth = (inside(copy, f"images/{session}/{turn[name]}") for name in ("input", "mask", "output"))
            yield turn_of(session, number) | {
                "image": brought_to(image, truth),
                "mask": mask,
                "truth": truth,
                "instruction": turn["instruction"],
                "target_text": described.get(turn["output"], turn["instruction"]),
                "source_text": described.get(turn["input"]),
            }


def _descriptions(copy: Copy) -> dict[str, dict[str, Any]]:
    """The global descriptions, session to file to text; none where the copy has no file of that form and name."""
    for candidate in sorted(copy.folder.glob("*global*.json")):
        _, content = read_json(copy, dict, candidate.name)
        if all(isinstance(each, dict) for each in content.values()):
            return content
    return {}
