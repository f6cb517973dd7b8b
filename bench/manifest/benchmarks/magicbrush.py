"""MagicBrush (Zhang et al. 2023, arXiv 2306.10012): sessions of one to three edits, with masks and true edits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values
from bench.manifest.benchmarks.layout import STANDS_IN, brought_to, entries_of, read_json, table
from bench.manifest.pictures import PictureFile
from bench.suggest import kind_of

__all__ = ["MagicBrush"]


class MagicBrush(Benchmark):
    """A row a turn, with the true picture of the turn before it: the source of the authors' all-turn protocol (their `inde_` outputs).

    `dev` is read from the hub or a copy of it, `test` from the unpacked archive. Masks stand in the alpha channel: the
    transparent part is to be edited. Pictures are brought to the size of the true edit, as the official scorer does with outputs.
    """

    name = "magicbrush"
    card = Card(
        title="MagicBrush",
        where="osunlp/MagicBrush on the hub; its test archive, with a password, from the links of the README",
        licence="CC-BY-4.0",
        splits={"dev": Split(528), "test": Split(None)},
        fields={
            "id": "session and turn",
            "image": "source_img; input of a turn",
            "instruction": "instruction",
            "target_text": f"test: the global description of the true edit; dev: {STANDS_IN}",
            "source_text": "test: the global description of the turn's input",
            "mask": "mask_img; mask of a turn: transparent = edit",
            "truth": "target_img; output of a turn",
            "category": "turn",
            "cluster": "session",
            "previous": "the turn before",
        },
        made_by="instructions, masks and edits by people with DALL-E 2; descriptions by a language model",
        cluster="session",
        source="card of the data set; MagicBrush fcfc892; ImagenHub and eta-inversion, which read the masks by alpha",
        hub="osunlp/MagicBrush",
        faults=(
            "mask_img read as brightness gives a wrong mask, although the card speaks of a white region",
            "the paper's CLIP-T takes local descriptions, the command of the README global ones",
            "the first source of a session keeps COCO's size, masks and edits are 1024 px",
        ),
        unverified={
            "rows": "the test archive holds 535 sessions; the number of its turns was not seen",
            "image": "whether the first source was cropped or squashed before its edit: it is squashed here",
            "source_text": "names of the files of descriptions differ by place: they are found by their content",
        },
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        yield from _archive(copy) if copy.split == "test" else _table(copy)


def _table(copy: Copy) -> Iterator[Values]:
    columns = {"session": "img_id", "turn": "turn_index", "instruction": "instruction"}
    pictures = {"image": "source_img", "mask": "mask_img", "truth": "target_img"}
    for row in table(copy, columns | pictures):
        values = dict(row)
        session, turn = str(values.pop("session")), values.pop("turn")
        image, truth = values["image"], values["truth"]
        if isinstance(image, PictureFile) and isinstance(truth, PictureFile):
            values["image"] = brought_to(image, truth)
        about = {"id": f"{session}-{turn}", "category": f"turn {turn}", "cluster": session, "previous": _before(session, turn)}
        yield values | about | {"target_text": values["instruction"]}


def _archive(copy: Copy) -> Iterator[Values]:
    if copy.root is None:
        raise ManifestError(
            f"magicbrush test: give root, the folder of the unpacked archive; it is to be had from {MagicBrush.card.where}"
        )
    file, sessions = read_json(copy, dict, "edit_sessions.json")
    captions = _descriptions(copy)
    for session, turns in sessions.items():
        if not isinstance(turns, list):
            raise ManifestError(f"{file} '{session}': expected a list of turns, got {kind_of(turns)}")
        numbered = {str(number): turn for number, turn in enumerate(turns, 1)}
        for number, turn in entries_of(file, numbered, "input", "mask", "output", "instruction"):
            files = {name: _file(copy, session, str(turn[name])) for name in ("input", "mask", "output")}
            described = captions.get(session, {})
            yield {
                "id": f"{session}-{number}",
                "image": brought_to(files["input"], files["output"]),
                "mask": files["mask"],
                "truth": files["output"],
                "instruction": turn["instruction"],
                "target_text": described.get(turn["output"], turn["instruction"]),
                "source_text": described.get(turn["input"]),
                "category": f"turn {number}",
                "cluster": session,
                "previous": _before(session, number),
            }


def _before(session: str, turn: object) -> str | None:
    """The id of the turn before; None for a first one."""
    number = int(str(turn))
    return f"{session}-{number - 1}" if number > 1 else None


def _file(copy: Copy, session: str, name: str) -> PictureFile:
    inside = f"images/{session}/{name}"
    path = (copy.folder / inside).resolve()
    if not path.is_relative_to(copy.folder.resolve()):
        raise ManifestError(f"{copy.folder}: edit_sessions.json '{session}': {name} leaves the folder")
    return PictureFile(inside, path=path)


def _descriptions(copy: Copy) -> dict[str, dict[str, Any]]:
    """The global descriptions, session to file to text; none where the copy has no file of that form and name."""
    for candidate in sorted(copy.folder.glob("*global*.json")):
        _, content = read_json(copy, dict, candidate.name)
        if all(isinstance(each, dict) for each in content.values()):
            return content
    return {}
