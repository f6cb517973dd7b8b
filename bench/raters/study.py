"""The folder of a study: what is asked, and the pictures that are shown.

study.json       the design: items, questions, how many votes each wants
pictures/        every picture once, under the SHA-256 of its bytes
votes.sqlite     who is shown what, and every vote (`ledger`)
token            what the address of the study must carry
report/          made from the votes, and always makeable again
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.errors import RunError
from bench.store import png_bytes, write_atomically
from bench.store.files import json_bytes
from bench.store.shapes import read_as

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CONSENT", "Item", "Shown", "Study", "StudyFolder"]

CONSENT = (
    "You will see pictures that computer programs edited, and say which edit you find better. It takes a few minutes. Your answers and the time "
    "they take are stored without your name and may be published. Taking part is voluntary: you may stop at any time by closing the page."
)


@dataclass(frozen=True)
class Shown:
    """An edit that is shown: whose, at which knob value, and the name of its picture."""

    editor: str
    value: float
    picture: str


@dataclass(frozen=True)
class Item:
    """What is judged: two edits of a sample, or one. `expected` is the right answer of a gold item, "" otherwise."""

    id: str
    kind: Literal["trial", "gold"]
    sample_id: str
    source_id: str
    category: str
    source_text: str
    target_text: str
    source: str
    first: Shown
    second: Shown | None = None
    expected: str = ""


@dataclass(frozen=True)
class Study:
    """`study.json`. form: `pairs`, two edits side by side, or `ratings`, one edit on two scales.

    votes: how many raters see each item.  trials, duplicates, golds: how many a session has.  release_minutes: after how long without a sign
    of life the open trials of a session go to others.  left_out: pairs of editors (or editors) to the samples that lack an edit.
    """

    name: str
    form: Literal["pairs", "ratings"]
    seed: int
    votes: int
    trials: int
    duplicates: int
    golds: int
    items: tuple[Item, ...]
    runs: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    consent: str = CONSENT
    completion_code: str = ""
    completion_url: str = ""
    release_minutes: float = 60.0

    @property
    def real(self) -> list[Item]:
        """The items that count."""
        return [item for item in self.items if item.kind == "trial"]

    @property
    def gold(self) -> list[Item]:
        """The items whose right answer is known."""
        return [item for item in self.items if item.kind == "gold"]


class StudyFolder:
    """A study on disk."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.pictures = self.path / "pictures"
        self.ledger = self.path / "votes.sqlite"
        self.report = self.path / "report"

    @classmethod
    def create(cls, path: Path | str) -> StudyFolder:
        """An empty folder for a study. RunError where there is something already: a study is never drawn over."""
        folder = cls(path)
        if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
            raise RunError(f"{path} is there already; a study is never drawn over another: choose another folder with --out")
        folder.pictures.mkdir(parents=True)
        return folder

    def read(self) -> Study:
        """The design. RunError where there is none or it is damaged."""
        return read_as(self.path / "study.json", Study, f"make a study with `etabench study make RUN --out {self.path}`")

    def write(self, study: Study) -> None:
        """Write the design: last, so that a folder with one is whole."""
        write_atomically(self.path / "study.json", json_bytes(asdict(study)))

    def put(self, image: NDArray[np.uint8]) -> str:
        """Keep a picture (H, W, 3), encoded anew and without metadata; its name."""
        data = png_bytes(image)
        name = hashlib.sha256(data).hexdigest()
        if not (self.pictures / f"{name}.png").is_file():
            write_atomically(self.pictures / f"{name}.png", data)
        return name

    def picture(self, name: str) -> bytes:
        """The PNG of that name. RunError where it is gone or is not what it was."""
        try:
            data = (self.pictures / f"{name}.png").read_bytes()
        except OSError as error:
            raise RunError(
                f"{self.pictures / name}.png is gone: take it from a copy of the study, or draw the study anew"
            ) from error
        if hashlib.sha256(data).hexdigest() != name:
            raise RunError(f"{self.pictures / name}.png was changed: take it from a copy of the study, or draw the study anew")
        return data

    def token(self) -> str:
        """What the address must carry; made on first use, and the same ever after, so that links that were sent stay good."""
        path = self.path / "token"
        if not path.is_file():
            path.touch(mode=0o600)
            write_atomically(path, secrets.token_urlsafe(16).encode())
            path.chmod(0o600)
        return path.read_text(encoding="utf-8").strip()
