"""Blended Latent Diffusion's own numbers for a run: the edits of one sample under the run's seeds are the predictions of one case.

Definitions are those of `metrics.blended_precision`. Best-result precision and diversity need several seeds; with one, the first is
batch precision itself and the second has no value.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING

from bench.devices import deterministic
from bench.errors import ScoreError
from bench.scoring.edits import Edit, Finished
from bench.store import Run
from bench.toybox import embedded

if TYPE_CHECKING:
    import pandas as pd

    from metrics.blended_precision import BlendedPrecision, Case

__all__ = ["blended_scores", "open_networks"]


def open_networks(
    run: Run, *, classifier: str = "", ranker: str = "", net: str = "", weights: str = "", device: str = "cpu"
) -> BlendedPrecision:
    """The three networks. On ToyBox those left out are its feature network, its ranker (not the judge) and its LPIPS.

    Args:
        classifier: "folder:/path" of an image classifier; decides what is right.
        ranker: an open_clip model name with its tag, "ViT-B-16:openai" (the paper's), or "local-dir:/path"; picks the best prediction.
        net: LPIPS network, "alex", "vgg", "squeeze" or "folder:/path"; `weights` its trunk where it needs a file.

    Raises:
        ScoreError: a network is not given and the run is not on ToyBox.
    """
    from metrics.blended_precision import BatchPrecision, BlendedPrecision
    from metrics.clip_region import RegionCLIP
    from metrics.lpips import LPIPS

    if embedded.on_toybox(run.spec):
        classifier, net = classifier or embedded.network("features"), net or embedded.network("features")
        ranker = ranker or embedded.network("ranker")
    for name, value in (("classifier", classifier), ("ranker", ranker), ("lpips", net)):
        if not value:
            raise ScoreError(
                f"{run.path}: blended precision needs a {name}, and the run is not on ToyBox, which has one: give --{name}"
            )
    model, _, tag = ranker.partition(":") if not ranker.startswith("local-dir:") else (ranker, "", "")
    return BlendedPrecision(
        BatchPrecision(classifier, device=device),
        LPIPS(net, weights=weights, device=device),
        RegionCLIP(model, tag or None, device=device),
    )


def blended_scores(run: Run, networks: BlendedPrecision) -> pd.DataFrame:
    """One row per editor and knob value: the three numbers, and the numbers of predictions and cases behind them.

    Samples without a mask or a target class are no cases. Raises ScoreError where there is no case at all.
    """
    import pandas as pd

    from metrics.base import MetricError

    finished = Finished.of(run)
    groups: dict[tuple[str, float], dict[str, list[Edit]]] = defaultdict(lambda: defaultdict(list))
    for edit in finished.edits:
        groups[edit.entry.label, edit.name[1]][edit.info.id].append(edit)
    rows = []
    with deterministic():
        for (editor, value), samples in groups.items():
            cases = [case for edits in samples.values() if (case := _case(edits)) is not None]
            try:
                found = networks.evaluate(cases)
            except MetricError as error:
                raise ScoreError(f"{editor} at {value:g}: {error}") from error
            rows.append({"editor": editor, "value": value, **asdict(found)})
    return pd.DataFrame(rows)


def _case(edits: list[Edit]) -> Case | None:
    """The predictions of one sample; None without a mask or a class."""
    from metrics.blended_precision import Case

    sample = edits[0].sample
    if sample.mask is None or not sample.mask.any() or sample.target_class is None:
        return None
    pictures = [edit.alone.picture for edit in edits]
    return Case(pictures, sample.mask, sample.target_class, sample.target_text)
