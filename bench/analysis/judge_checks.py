"""What a judge can see, tried before it is believed: a table of checks, each passed or failed.

The pictures are ToyBox's, whose right edits are known, drawn larger for judges that want more pixels. Each check is a share of samples on which
the judge does what any judge must, with the project's interval for shares. It is passed where the interval lies above `LEAST` and no more
than one sample in ten went without an answer; a tie where there is a better one is no pass, and a failure to answer is counted, not scored.

    black picture           the right edit scores above a black picture
    source copied           ... above the source, untouched
    another text            ... with its own text above what it scores with another sample's
    text removed            ... with its text above what it scores with none; a judge that declines to judge without a text has seen it
    ground truth            the right edit scores in the upper half of the scale
    object, state, ...      ... above an edit that is right but for the object, its state, the background, the accessory
    repeated call           asked again, with another seed, the score stays within a tenth of the scale
    re-encoded              so it does when the right edit comes out of a JPEG of quality 90
    swapped order           of the right edit and the source, the same one is preferred in both orders
    right one preferred     ... and it is the right edit
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from bench.analysis.intervals import Range, mean_interval
from bench.toybox.manifests import SEEDS, SceneEdit, edits
from bench.toybox.vocabulary import BACKGROUNDS, OBJECTS, object_named, wears_hat
from bench.toybox.world import Scene, render

if TYPE_CHECKING:
    from bench.progress import Progress
    from metrics.judges.metric import JudgedMetric
    from metrics.judges.panel import Verdict

__all__ = ["ANSWERED", "COLUMNS", "LEAST", "failed", "judge_checks", "samples"]

LEAST = 0.75
"""Share of samples above which the interval of a passed check lies."""
ANSWERED = 0.9
"""Share of samples that must have an answer."""
NEAR = 0.1
"""Of the scale: how far apart two scores of one picture may be."""
QUALITY = 90
COLUMNS = {
    "check": "name of the check",
    "right": "share of the answered samples on which the judge was right",
    "low": "lower end of its 95 % interval",
    "high": "upper end of it",
    "answered": "samples with an answer",
    "asked": "samples that were asked about",
    "failures": "kinds of failures, with how often",
    "passed": "whether the interval lies above 0.75, with nine samples in ten answered",
}
Picture = NDArray[np.uint8]
Scored = Sequence["Verdict | None"]
"""A verdict for each sample, None where it was not asked about."""


def samples(number: int) -> list[SceneEdit]:
    """That many edits of ToyBox, those of its large manifest first."""
    return edits(number, SEEDS["toybox"])


def judge_checks(metric: JudgedMetric, trials: Sequence[SceneEdit], size: int, progress: Progress) -> pd.DataFrame:
    """One row a check, in `COLUMNS`; ``size`` is the side of the pictures in pixels."""
    scores = _scores(metric, trials, size, progress)
    low, high = metric.form.bounds
    middle, near = (low + high) / 2, NEAR * (high - low)
    truth = scores["ground truth"]

    def above(other: float, own: float) -> bool:
        return own > other

    def close(other: float, own: float) -> bool:
        return abs(own - other) <= near

    rows = [
        _row("black picture", scores["black picture"], truth, above),
        _row("source copied", scores["source copied"], truth, above),
    ]
    rows += [
        _row("another text", scores["another text"], truth, above),
        _row("text removed", scores["text removed"], truth, above, declining=True),
        _row("ground truth", truth, truth, lambda _, own: own > middle),
    ]
    rows += [_row(part, scores[part], truth, above) for part in _PARTS]
    rows += [_row(name, scores[name], truth, close) for name in ("repeated call", "re-encoded")]
    rows += _preferred(metric, trials, size, progress)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def failed(table: pd.DataFrame) -> list[str]:
    """Names of the checks that were not passed."""
    return [str(name) for name in table.loc[~table["passed"].astype(bool), "check"]]


def _scores(metric: JudgedMetric, trials: Sequence[SceneEdit], size: int, progress: Progress) -> dict[str, Scored]:
    sources = [_picture(trial.source, size) for trial in trials]
    truths = [_picture(trial.target, size) for trial in trials]
    texts = [trial.target.caption for trial in trials]
    others = [_other_text(texts, place) for place in range(len(texts))]
    near: dict[str, list[Picture | None]] = {
        part: [None if (scene := wrong(trial)) is None else _picture(scene, size) for trial in trials]
        for part, wrong in _PARTS.items()
    }
    given: list[tuple[str, Sequence[Picture | None], Sequence[str], int]] = [
        ("ground truth", truths, texts, 0),
        ("black picture", [np.zeros_like(truth) for truth in truths], texts, 0),
        ("source copied", sources, texts, 0),
        ("another text", truths, others, 0),
        ("text removed", truths, [""] * len(texts), 0),
        *((part, pictures, texts, 0) for part, pictures in near.items()),
        ("repeated call", truths, texts, metric.panel.repeats),
        ("re-encoded", [_jpeg(truth) for truth in truths], texts, 0),
    ]
    found: dict[str, Scored] = {}
    with progress("judge pictures", len(given)) as advance:
        for name, pictures, told, before in given:
            found[name] = _verdicts(metric, pictures, sources, told, before)
            advance()
    return found


def _verdicts(
    metric: JudgedMetric, pictures: Sequence[Picture | None], sources: Sequence[Picture], texts: Sequence[str], before: int
) -> Scored:
    from metrics.base import PairBatch

    there = [place for place, picture in enumerate(pictures) if picture is not None]
    unknown = [None] * len(there)
    batch = PairBatch(
        [picture for picture in pictures if picture is not None],
        [sources[place] for place in there],
        [texts[place] for place in there],
        list(unknown),
        list(unknown),
        list(unknown),
    )
    said = dict(zip(there, metric.verdicts(batch, before=before) if there else [], strict=True))
    return [said.get(place) for place in range(len(pictures))]


def _row(
    name: str, other: Scored, own: Scored, right: Callable[[float, float], bool], *, declining: bool = False
) -> dict[str, object]:
    """The share of samples whose two scores stand to each other as they should; `declining` to score the other is right too."""
    marks, kinds = list[float](), Counter[str]()
    for one, two in zip(other, own, strict=True):
        if one is None or two is None:
            continue
        lacking = one.failure or two.failure
        if declining and two.failure is None and one.failure is not None and one.failure.kind == "refused":
            marks.append(1.0)
        elif lacking is not None:
            kinds[lacking.kind] += 1
            marks.append(np.nan)
        else:
            marks.append(float(right(one.score, two.score)))
    return _share(name, marks, kinds)


def _preferred(metric: JudgedMetric, trials: Sequence[SceneEdit], size: int, progress: Progress) -> list[dict[str, object]]:
    """Both rows about preferences. A panel is right where more than half of its answers are, and turns where any of them does."""
    from metrics.judges.pairwise import Trial, majority, preferences

    shown = [
        Trial(t.target.caption, _picture(t.source, size), _picture(t.target, size), _picture(t.source, size)) for t in trials
    ]
    with progress("compare pairs", 1) as advance:
        said = preferences(metric.panel, shown)
        advance()
    steady, right, kinds = list[float](), list[float](), Counter[str]()
    for each in said:
        kinds.update(answer.failure.kind for answer in each if answer.failure)
        outcomes = [answer.outcome for answer in each if answer.outcome]
        enough = len(outcomes) >= metric.panel.least
        steady.append(float("flip" not in outcomes) if enough else np.nan)
        right.append(float(majority(each, metric.panel.least) == "first") if enough else np.nan)
    return [_share("swapped order", steady, kinds), _share("right one preferred", right, kinds)]


def _share(name: str, marks: Sequence[float], kinds: Mapping[str, int]) -> dict[str, object]:
    interval = mean_interval(marks, [str(place) for place in range(len(marks))], within=Range(0.0, 1.0, binary=True))
    answered = interval.n / len(marks) if marks else 0.0
    failures = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in sorted(kinds.items()))
    return {
        "check": name,
        "right": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "answered": interval.n,
        "asked": len(marks),
        "failures": failures,
        "passed": bool(interval.low > LEAST and answered >= ANSWERED),
    }


def _picture(scene: Scene, size: int) -> Picture:
    image = render(scene).image
    if image.shape[0] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC), dtype=np.uint8)


def _jpeg(image: Picture) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=QUALITY)
    with Image.open(buffer) as picture:
        return np.asarray(picture.convert("RGB"))


def _other_text(texts: Sequence[str], place: int) -> str:
    """The next text that is another."""
    return next((text for text in (*texts[place + 1 :], *texts[:place]) if text != texts[place]), "a picture of something else")


def _wrong_object(trial: SceneEdit) -> Scene | None:
    """Another kind of thing in the same place, wearing the same."""
    thing, target = object_named(trial.target.object), trial.target
    names = [o.name for o in OBJECTS if o.kind != thing.kind and (target.accessory != "hat" or wears_hat(o.name))]
    return replace(target, object=names[target.seed % len(names)])


def _wrong_state(trial: SceneEdit) -> Scene | None:
    """The same kind of thing in another state or colour, None where there is none."""
    thing = object_named(trial.target.object)
    names = [o.name for o in OBJECTS if o.kind == thing.kind and o.name != thing.name]
    return replace(trial.target, object=names[trial.target.seed % len(names)]) if names else None


def _wrong_background(trial: SceneEdit) -> Scene | None:
    names = [b.name for b in BACKGROUNDS if b.name != trial.target.background]
    return replace(trial.target, background=names[trial.target.seed % len(names)])


def _wrong_accessory(trial: SceneEdit) -> Scene | None:
    """One more, or the one that was there gone."""
    return replace(trial.target, accessory="balloon" if trial.target.accessory == "none" else "none")


_PARTS: Mapping[str, Callable[[SceneEdit], Scene | None]] = {
    "object": _wrong_object,
    "state": _wrong_state,
    "background": _wrong_background,
    "accessory": _wrong_accessory,
}
"""Edits that are right but for one part."""
