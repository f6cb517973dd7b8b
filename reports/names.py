"""How metrics are called on the page, what they mean, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from reports.data import ReportData

__all__ = ["MetricName", "metric_name", "metric_names"]

_KNOWN = {
    "clip": ("CLIP", "CLIP score of the edit with the target text", True),
    "clip_directional": ("CLIP direction", "whether the picture changed in the direction in which the text did", True),
    "clip_region": ("CLIP region", "CLIP score of the edited region", True),
    "lpips": ("LPIPS", "distance to the source", False),
    "psnr": ("PSNR", "peak signal-to-noise ratio to the source, in dB", True),
    "ssim": ("SSIM", "structural similarity to the source", True),
    "mse": ("MSE", "mean squared difference to the source", False),
    "l1": ("L1", "mean absolute difference to the source", False),
    "dino_structure": ("DINO structure", "distance of self-similarities to the source's", False),
    "dreamsim": ("DreamSim", "perceptual distance to the source", False),
    "fid": ("FID", "Fréchet distance of all edits to the reference set", False),
    "fd": ("FD", "Fréchet distance of all edits to the reference set", False),
    "csfid": ("CSFID", "distance of feature means to the reference, per target class", False),
    "csfid_debiased": ("CSFID debiased", "CSFID less what sampling alone adds", False),
    "kid": ("KID", "kernel distance of all edits to the reference set", False),
    "cmmd": ("CMMD", "kernel distance of CLIP embeddings to the reference set", False),
    "sfid": ("SFID", "distance of feature means to the reference, classes pooled", False),
    "hypervolume": ("hypervolume", "share of the box between copy and regenerate that the whole curve covers", True),
    "preferred": ("preferred", "strength by people's votes, a logit against the mean editor of the study", True),
    "matched_gain": ("gain on first", "editability less that of the first, at equal fidelity, over what both curves reach", True),
}
"""Name to title, meaning and whether higher is better."""
_NOUNS = {"clip": "CLIP score"}
"""What a sentence or an axis calls a metric, where that is not its title."""
_COMPARED = {
    "clip": "to the target text",
    **dict.fromkeys(("lpips", "psnr", "ssim", "mse", "l1", "dino_structure", "dreamsim"), "to the source"),
}
_SIGNS = {"one_minus_": "1 − ", "minus_": "−"}
"""How an axis is named that turns a metric round, and how it is written."""


@dataclass(frozen=True)
class MetricName:
    """``better`` is "higher", "lower" or "" where the direction is not known."""

    title: str
    meaning: str
    better: str
    noun: str = ""
    """What a sentence calls it."""
    label: str = ""
    """What an axis calls it."""

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", "": ""}[self.better]


def metric_name(name: str, definition: str = "", better: str = "", made_of: str = "") -> MetricName:
    """How a metric is called, or the axis that turns round the metric ``made_of``.

    What is not known here has the meaning and the direction that are given. Parameters, as in ``lpips[region=background]``, stand in
    brackets without their names.
    """
    if made_of:
        scored, sign = metric_name(made_of, definition), _SIGNS.get(name.removesuffix(made_of), "")
        meaning = f"{scored.meaning}, turned round" if scored.meaning else ""
        return MetricName(sign + scored.title, meaning, "higher", sign + scored.noun, sign + scored.label)
    plain, _, given = name.partition("[")
    title, meaning, up = _KNOWN.get(plain, (plain.replace("_", " "), definition, better == "higher"))
    if given:
        title = f"{title} ({', '.join(part.rpartition('=')[2] for part in given.removesuffix(']').split(','))})"
    elif plain in _KNOWN:
        definition, better = meaning, "higher" if up else "lower"
    noun = _NOUNS.get(name, title)
    return MetricName(title, definition, better, noun, f"{noun} {_COMPARED.get(plain, '')}".rstrip())


def _doubted(name: MetricName, doubt: str) -> MetricName:
    """The name with a dagger wherever it is shown, and the doubt beside its meaning."""
    marked = {part: f"{getattr(name, part)} \N{DAGGER}" for part in ("title", "noun", "label")}
    return replace(name, **marked, meaning=f"{name.meaning}; {doubt}".removeprefix("; "))


def metric_names(data: ReportData) -> Mapping[str, MetricName]:
    """Every metric of the curves and of the plane, and the known ones; what is not known here is told by its card.

    Where the card has a doubt, such as about the judge that gave the scores, a dagger marks the title, and the meaning says why.
    """
    made_of = data.plane.made_of
    found = {name: metric_name(name, made_of=made_of.get(name, "")) for name in (*_KNOWN, *data.plane.columns)}
    if len(data.curves):
        rows = data.curves.drop_duplicates("metric")
        for name, print_, up in zip(rows["metric"], rows["fingerprint"], rows["higher_is_better"], strict=True):
            card = data.cards.get(print_, {})
            definition = str(card.get("definition", "")).partition(". ")[0].rstrip(".")
            better = "" if pd.isna(up) else "higher" if up else "lower"
            own = metric_name(str(name), definition, better, made_of.get(name, ""))
            found[name] = _doubted(own, str(card["doubt"])) if card.get("doubt") else own
    return found
