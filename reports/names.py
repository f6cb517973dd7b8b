"""How metrics are called on the page, what they mean, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from reports.data import ReportData

__all__ = ["MetricName", "metric_names"]

_KNOWN = {
    "clip": ("CLIP", "CLIP score of the edit with the target text", True),
    "clip_directional": ("CLIP direction", "whether the picture changed in the direction in which the text did", True),
    "clip_region": ("CLIP region", "CLIP score of the edited region", True),
    "one_minus_lpips": ("1 − LPIPS", "likeness to the source", True),
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
}
"""Name to title, meaning and whether higher is better."""


@dataclass(frozen=True)
class MetricName:
    """``better`` is "higher", "lower" or "" where the direction is not known."""

    title: str
    meaning: str
    better: str

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", "": ""}[self.better]


def metric_names(data: ReportData) -> Mapping[str, MetricName]:
    """Every metric of the curves, and the known ones; what is not known here is told by its card."""
    found = {name: MetricName(title, meaning, "higher" if up else "lower") for name, (title, meaning, up) in _KNOWN.items()}
    if len(data.curves):
        rows = data.curves.drop_duplicates("metric")
        for name, print_, up in zip(rows["metric"], rows["fingerprint"], rows["higher_is_better"], strict=True):
            if name not in found:
                definition = str(data.cards.get(print_, {}).get("definition", "")).partition(". ")[0].rstrip(".")
                better = "" if pd.isna(up) else "higher" if up else "lower"
                found[name] = MetricName(_title(str(name), found), definition, better)
    return found


def _title(name: str, known: Mapping[str, MetricName]) -> str:
    """The words of a name; parameters, as in ``lpips[region=background]``, stand in brackets without theirs."""
    plain, _, given = name.partition("[")
    title = known[plain].title if plain in known else plain.replace("_", " ")
    values = [part.rpartition("=")[2] for part in given.removesuffix("]").split(",")] if given else []
    return f"{title} ({', '.join(values)})" if values else title
