"""A study drawn from runs: which edits are laid before raters, and which trials test the raters.

Every sample that has the edits of two editors gives an item for them; what an editor failed on is left out and counted, never shown as a
blank. An editor is shown at its operating point, or at the value that is given for it, or for it and the sample.

A gold item has an answer that who looks cannot miss. On one side lies the ground truth of the sample (where there is none, the edit of one of
the editors), on the other the same of another sample: a good picture of something else, so that who does not read the text or look at the
source gets it wrong. As a rating it is the other sample's picture alone, whose semantic consistency is 0.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import RunError, ScoreError
from bench.raters.study import CONSENT, Item, Shown, Study, StudyFolder
from bench.suggest import did_you_mean

if TYPE_CHECKING:
    from typing import Literal

    import numpy as np
    from numpy.typing import NDArray

    from bench.plan import Entry, SampleInfo
    from bench.store import Record, Run

__all__ = ["Draw", "draw_study", "read_values"]

GOLDS = 12
"""Gold items of a study, as far as it has the samples."""


@dataclass(frozen=True)
class Draw:
    """How a study is drawn.

    editors: labels, all that are no anchors where empty.  against: the one editor that all pairs have, as where one method is compared with its
    rivals; none where empty.  values: knob values by editor, or by (editor, sample id), which goes before.  samples: how many, drawn at
    random; None for all.
    """

    form: Literal["pairs", "ratings"] = "pairs"
    seed: int = 0
    votes: int = 3
    trials: int = 20
    duplicates: int = 1
    golds: int = 1
    editors: tuple[str, ...] = ()
    against: str = ""
    values: Mapping[str | tuple[str, str], float] = field(default_factory=dict)
    samples: int | None = None
    consent: str = CONSENT
    completion_code: str = ""
    completion_url: str = ""


@dataclass(frozen=True)
class Contestant:
    """An editor of a study: the label it has there, and where its edits are. `value` is None where none is known."""

    label: str
    run: Run
    index: int
    entry: Entry
    records: Mapping[str, Record]
    """By sample id, of the run's first seed."""
    value: float | None


def draw_study(runs: Sequence[Run], folder: Path, asked: Draw) -> Study:
    """Draw a study from `runs` into `folder`, which must be new or empty, and return it.

    Raises RunError where the runs hold different samples or no pair of edits, ScoreError where a knob value is not known.
    """
    import numpy as np

    contestants = _contestants(runs, asked)
    infos = _samples(runs)
    rng = np.random.default_rng(asked.seed)
    chosen = sorted(rng.permutation(len(infos))[: asked.samples].tolist())
    wanted = [infos[number] for number in chosen]
    target = StudyFolder.create(folder)
    items, left_out = _items(contestants, wanted, asked, target)
    if not items:
        raise RunError("no sample has the edits that the study needs; see `etabench report` for what failed")
    golds = _golds(contestants, wanted, asked, target, rng) if asked.golds else []
    if len(golds) < asked.golds:
        raise RunError("gold trials need two samples with different pictures and texts: add samples, or give --golds 0")
    study = Study(
        folder.resolve().name,
        asked.form,
        asked.seed,
        asked.votes,
        min(asked.trials, len(items)),
        min(asked.duplicates, asked.trials, len(items)),
        asked.golds,
        (*items, *golds),
        tuple(str(run.path) for run in runs),
        left_out,
        asked.consent,
        asked.completion_code,
        asked.completion_url,
    )
    target.write(study)
    return study


def read_values(path: Path) -> dict[str | tuple[str, str], float]:
    """Knob values from a CSV file with the columns editor, value and, for a value of one sample, sample_id."""
    found: dict[str | tuple[str, str], float] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for number, row in enumerate(csv.DictReader(stream), 2):
                try:
                    sample = row.get("sample_id") or ""
                    found[(row["editor"], sample) if sample else row["editor"]] = float(row["value"])
                except (KeyError, TypeError, ValueError) as error:
                    raise ScoreError(
                        f"{path}, line {number}: needs editor and a number as value, and may have sample_id"
                    ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ScoreError(f"{path} cannot be read: {error}") from error
    return found


def _contestants(runs: Sequence[Run], asked: Draw) -> list[Contestant]:
    """The editors of the study. A label that several runs have gets the name of the run before it."""
    labels = [entry.label for run in runs for entry in run.plan.entries]
    found: dict[str, Contestant] = {}
    for run in runs:
        points = _points(run, asked)
        for index, entry in enumerate(run.plan.entries):
            label = entry.label if labels.count(entry.label) == 1 else f"{run.path.resolve().name}/{entry.label}"
            if label in found:
                raise RunError(
                    f"two runs are called {run.path.resolve().name!r} and have {entry.label!r}: rename one of the folders"
                )
            value = asked.values.get(label, points.get(entry.label))
            found[label] = Contestant(label, run, index, entry, _records(run, index), value)
    given = [name if isinstance(name, str) else name[0] for name in asked.values]
    for name in (*asked.editors, *([asked.against] if asked.against else []), *given):
        if name not in found:
            raise RunError(f"no run has an editor {name!r}; {did_you_mean(name, found)}")
    names = asked.editors or tuple(label for label, each in found.items() if not each.entry.anchor)
    names = tuple(dict.fromkeys([*names, *([asked.against] if asked.against else [])]))
    if asked.form == "pairs" and len(names) < 2:
        raise RunError(f"pairs need two editors; there is {', '.join(names) or 'none'}: add a run, or name editors (anchors too)")
    return [found[name] for name in names]


def _points(run: Run, asked: Draw) -> dict[str, float]:
    """Operating points of a run, as far as it is scored; editors of one value are shown at it."""
    from bench.scoring import read_scores
    from bench.scoring.axes import Axes, mean_table, operating_points

    single = {entry.label: entry.values[0] for entry in run.plan.entries if len(entry.values) == 1}
    scores = read_scores(run)
    if not len(scores.pairs):
        return single
    axes = Axes.of(run.spec.axes, scores)
    return operating_points(run.plan, mean_table(scores.pairs, axes), axes) | single


def _records(run: Run, index: int) -> dict[str, Record]:
    units = (unit for unit in run.plan.units if unit.entry == index and unit.seed == run.plan.first_seed)
    records = ((run.plan.samples[unit.sample].id, run.record(unit.key)) for unit in units)
    return {name: record for name, record in records if record is not None and record.status == "done"}


def _samples(runs: Sequence[Run]) -> list[SampleInfo]:
    """The samples that all runs have, in the order of the first. RunError where one is not the same everywhere."""
    first, *rest = ({sample.id: sample for sample in run.plan.samples} for run in runs)
    for run, other in zip(runs[1:], rest, strict=True):
        for name in first.keys() & other.keys():
            if first[name].digest != other[name].digest:
                raise RunError(
                    f"sample {name!r} is not the same in {runs[0].path} and {run.path} (picture, size or text): "
                    "compare runs of one manifest at one resolution"
                )
    found = [info for name, info in first.items() if all(name in other for other in rest)]
    if not found:
        raise RunError(f"no sample is in all of {', '.join(str(run.path) for run in runs)}")
    return found


def _edit(each: Contestant, info: SampleInfo, asked: Draw) -> tuple[float, NDArray[np.uint8]] | None:
    """The edit that is shown of a sample with its knob value; None where the editor has none. ScoreError where no value is known."""
    value = asked.values.get((each.label, info.id), each.value)
    if value is None:
        raise ScoreError(
            f"{each.run.path} has no scores to choose a knob value of {each.label} by: run `etabench score {each.run.path}`, "
            f"or give one of {', '.join(f'{known:g}' for known in each.entry.values)} with --value {each.label}=..."
        )
    if value not in each.entry.values:
        known = ", ".join(f"{known:g}" for known in each.entry.values)
        raise ScoreError(f"{each.label} has no edits at {value:g}; it has them at {known}")
    record = each.records.get(info.id)
    values = [edit.value for edit in record.edits] if record else []
    if record is None or value not in values:
        return None
    return value, each.run.read_edit(record, values.index(value))


def _items(
    contestants: Sequence[Contestant], infos: Sequence[SampleInfo], asked: Draw, folder: StudyFolder
) -> tuple[list[Item], dict[str, int]]:
    """All items with their pictures put into the folder, and how many samples each pair (or editor) lacks."""
    pairs = [
        (one, other)
        for one, other in combinations(contestants, 2)
        if not asked.against or asked.against in {one.label, other.label}
    ]
    if asked.form == "pairs":
        matches: list[tuple[Contestant, ...]] = [*pairs]
    else:
        matches = [(each,) for each in contestants]
    items, left_out = [], dict.fromkeys((" / ".join(each.label for each in match) for match in matches), 0)
    for info in infos:
        edits = {each.label: _edit(each, info, asked) for each in contestants}
        source = folder.put(contestants[0].run.sample(info).image)
        shown = {label: Shown(label, edit[0], folder.put(edit[1])) for label, edit in edits.items() if edit is not None}
        for match in matches:
            if any(each.label not in shown for each in match):
                left_out[" / ".join(each.label for each in match)] += 1
                continue
            items.append(_item("trial", info, source, *(shown[each.label] for each in match)))
    return items, {name: number for name, number in left_out.items() if number}


def _golds(
    contestants: Sequence[Contestant], infos: Sequence[SampleInfo], asked: Draw, folder: StudyFolder, rng: np.random.Generator
) -> list[Item]:
    """Gold items over samples in random order; see the module."""
    good = {}
    for number in rng.permutation(len(infos)).tolist():
        if (picture := _good(contestants, infos[number], asked)) is not None:
            good[infos[number].id] = picture
        if len(good) > GOLDS:
            break
    usable = [info for info in infos if info.id in good]
    items: list[Item] = []
    for info in usable:
        others = [other for other in usable if _unlike(info, other) and good[other.id].shape == good[info.id].shape]
        if not others or len(items) == GOLDS:
            continue
        other = others[int(rng.integers(len(others)))]
        right, wrong = (Shown(name, 0.0, folder.put(good[each.id])) for name, each in (("(right)", info), ("(wrong)", other)))
        source = folder.put(contestants[0].run.sample(info).image)
        if asked.form == "pairs":
            items.append(_item("gold", info, source, right, wrong, expected="first"))
        else:
            items.append(_item("gold", info, source, wrong, expected="0"))
    return items


def _good(contestants: Collection[Contestant], info: SampleInfo, asked: Draw) -> NDArray[np.uint8] | None:
    """A picture that surely fits its own sample better than another's: the ground truth, or else the edit of the first editor with one."""
    first, *_ = contestants
    truth = first.run.sample(info).truth
    if truth is not None:
        return truth
    return next((edit[1] for each in contestants if (edit := _edit(each, info, asked)) is not None), None)


def _unlike(info: SampleInfo, other: SampleInfo) -> bool:
    return info.source_id != other.source_id and info.target_text != other.target_text


def _item(kind: Literal["trial", "gold"], info: SampleInfo, source: str, *shown: Shown, expected: str = "") -> Item:
    """An item of one or two edits. Its id is the same in every study that shows the same edits."""
    first, second = shown[0], shown[1] if len(shown) > 1 else None
    parts = [kind, info.digest, *(part for each in shown for part in (each.editor, each.picture))]
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    text = info.instruction or info.target_text
    return Item(
        name, kind, info.id, info.source_id, info.category or "", info.source_text or "", text, source, first, second, expected
    )
