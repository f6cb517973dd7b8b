"""Questions in the words of a benchmark's authors, which are not ours to pass on: a file of them is its user's, how it is read is here.

    viescore    VIEScore's editing task (Ku et al. 2024, arXiv 2312.14867), as GEdit-Bench asks it: {"SC": ..., "PQ": ...}, `<instruction>` in
                SC; SC sees source and edit, PQ the edit. A reply holds {"score": [two numbers of 0..10]}; SC and PQ are the smaller of their
                two, overall is sqrt(SC PQ)
    imgedit     ImgEdit-Bench's `prompts.json` (arXiv 2505.20275) as it is: a question a type of edit, `<edit_prompt>` in each; it sees source
                and edit. A reply holds three lines that end in `: ` and a grade of 1..5; the mean

The authors' scripts guess where they cannot read a reply, or take the mean of as many grades as there are; here such a reply is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metrics.base import MetricError
from metrics.judges.forms import Ask, Form

__all__ = ["FORMS", "PublishedAsk", "published_forms"]

FORMS = ("viescore", "imgedit")
PARTS: Mapping[str, tuple[str, ...]] = {"overall": ("SC", "PQ"), "sc": ("SC",), "pq": ("PQ",)}
"""Of VIEScore: the questions of a part."""
RULES = {"overall": "sqrt(min(SC) min(PQ))", "sc": "min(SC)", "pq": "min(PQ)"}


@dataclass(frozen=True)
class PublishedAsk(Ask):
    """A question whose `wording` is all that the judge reads, with what the editor was asked in the place of `slot`.

    Attributes:
        slot: what stands in the wording for the instruction.
        reply: "scores", an object with a list `score`, or "lines" that end in a number.
    """

    slot: str = ""
    reply: Literal["scores", "lines"] = "scores"

    def prompt(self, text: str) -> str:
        return self.wording.replace(self.slot, text) if self.slot else self.wording


def published_forms(name: str, file: Path, part: str = "overall") -> dict[str, Form]:
    """Category of edits to its form; "" for a form of all.

    Raises:
        MetricError: no such form or part, or the file is not one of it; the message names file and key.
    """
    from metrics.networks.weights import read_json

    if name not in FORMS:
        raise MetricError(f"judge_prompts form: expected one of {', '.join(FORMS)}, got {name!r}")
    wordings = read_json(file, "judge_prompts prompts")
    if not isinstance(wordings, dict) or not all(isinstance(each, str) and each.strip() for each in wordings.values()):
        raise MetricError(f"{file}: expected a JSON object of prompts by name, the file of the form {name}")
    return {"": _viescore(file, wordings, part)} if name == "viescore" else _imgedit(file, wordings, part)


def _viescore(file: Path, wordings: Mapping[str, str], part: str) -> Form:
    if part not in PARTS:
        raise MetricError(f"judge_prompts part: expected one of {', '.join(PARTS)}, got {part!r}; overall is the default")
    asks = []
    for key in PARTS[part]:
        slot = "<instruction>" if key == "SC" else ""
        _check(file, wordings, key, slot)
        shows: tuple[Literal["source", "edit"], ...] = ("source", "edit") if key == "SC" else ("edit",)
        asks.append(PublishedAsk(key, shows, wordings[key], ("first", "second"), (0.0, 10.0), slot=slot))
    return Form(f"viescore {part}", tuple(asks), RULES[part], (0.0, 10.0), "root" if part == "overall" else "least")


def _imgedit(file: Path, wordings: Mapping[str, str], part: str) -> dict[str, Form]:
    if part != "overall":
        raise MetricError(f"judge_prompts part: imgedit has none but overall, got {part!r}")
    if not wordings:
        raise MetricError(f"{file}: no prompt in it; expected one a type of edit")
    forms = {}
    for kind, wording in wordings.items():
        _check(file, wordings, kind, "<edit_prompt>")
        ask = PublishedAsk(
            kind, ("source", "edit"), wording, ("first", "second", "third"), (1.0, 5.0), slot="<edit_prompt>", reply="lines"
        )
        forms[kind] = Form(f"imgedit {kind}", (ask,), "mean of three grades", (1.0, 5.0), "mean")
    return forms


def _check(file: Path, wordings: Mapping[str, str], key: str, slot: str) -> None:
    if key not in wordings:
        raise MetricError(f"{file}: no prompt '{key}'; it has {', '.join(wordings) or 'none'}")
    if slot not in wordings[key]:
        raise MetricError(f"{file} '{key}': no {slot} in it, where the instruction belongs; is it the authors' own file?")
