"""Scoring of a run against a loop over its pictures with the packages' own calls: same pictures, same networks.

The edits are no editor's: every source of the manifest ``toybox`` is faded into its ground truth, by as much as the knob value says,
under Gaussian noise of 8 grey levels. They enter a run folder as edits made elsewhere (the editor ``folder``) and lie beside it as PNG
files for the loop, so sources, texts and references repeat as in any run of an editor.

``first`` is CLIP score, LPIPS, PSNR and SSIM of every edit and FID of every knob value, against the ground truths; ``one metric more``
is directional CLIP similarity, when the rest has been scored: ours scores the folder again, the loop runs for that metric alone.
Reading files and networks counts on all sides, and on ours so do identities, feature store, tables and an interval for every FID, which
the loop does not have. The loop takes a knob value after the other, as evaluation scripts do, edit by edit or in batches; a picture is
read once for all metrics, and the reference of FID is embedded once. It calls open_clip with its own preprocessing and tokenizer,
torchmetrics for PSNR, SSIM and FID, and for LPIPS the network of ours the way the package ``lpips``, which knows ImageNet trunks
only, calls its own: both pictures of each pair. SSIM is averaged without the border, where torchmetrics' mean counts mirrored pixels.

All values of all sides are compared; a difference beyond `TOLERANCE` is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.benchmarks.measure import Outcome, answer, in_turn, measured, table

if TYPE_CHECKING:
    import torch

    from bench.scoring import Scores

__all__ = ["add_arguments", "run"]

OURS = "etabench"
LOOPS = {"loop, edit by edit": 1, "loop, batches of 8": 8}
"""Side to rows per call."""
FIRST = ("clip", "lpips", "psnr", "ssim", "fid")
MORE = "clip_directional"
NOISE = 8.0
TOLERANCE = {"clip": 1e-2, "lpips": 1e-4, "psnr": 1e-3, "ssim": 1e-4, "fid": 1e-2, "clip_directional": 1e-3}
"""Largest difference between sides. The loop computes in float32, ours takes PSNR, SSIM and statistics in float64, and the networks
see other batches; of 100 x cosine, of decibels and of FID that is more than of numbers up to 1."""

Values = dict[str, list[float]]
"""Metric to its values, in the order of knob values and then of samples; FID has one per knob value."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--values", type=int, default=10, help="knob values; there are samples x values edits")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")


def run(given: argparse.Namespace) -> None:
    """Measure, compare the values and print."""
    grid = [round((k + 1) / given.values, 4) for k in range(given.values)]
    edits = f"{given.samples * given.values} edits ({given.samples} samples, {given.values} knob values)"
    print(f"{edits}, {given.threads} threads, {given.device}; medians of {given.repeats} runs", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"folder": folder, "threads": given.threads, "device": given.device}
        _make(Path(folder, "whole"), given.samples, grid)
        _make(Path(folder, "small"), 2, grid[:2])
        found = in_turn("bench.benchmarks.scoring", [*LOOPS, OURS], settings, given.repeats)
    for job, metrics in (("first", ", ".join(FIRST)), ("one metric more", MORE)):
        print(f"\n{job}: {metrics}\n{table({side: outcome.costs[job] for side, outcome in found.items()}, OURS)}", flush=True)
    _agree({side: outcome.values for side, outcome in found.items()})


def _agree(values: dict[str, Values]) -> None:
    """Print the largest difference of each metric between any two sides; SystemExit where one is beyond its tolerance."""
    import numpy as np

    far = []
    print("\nlargest difference between the sides, and what is allowed")
    for metric, allowed in TOLERANCE.items():
        rows = np.array([side[metric] for side in values.values()])
        apart = float(np.ptp(rows, axis=0).max())
        print(f"  {metric:<18}{apart:>10.1e}{allowed:>10.0e}   values {rows.min():.4g} to {rows.max():.4g}", flush=True)
        if not apart <= allowed:
            far.append(metric)
    if far:
        raise SystemExit(f"the sides differ in {', '.join(far)}: their costs cannot be compared")


def _make(folder: Path, samples: int, grid: Sequence[float]) -> None:
    """Pictures and `rows.json` for the loop, and the run of the same edits."""
    import numpy as np
    from PIL import Image

    from bench.manifest import open_manifest

    manifest, rows, random = open_manifest("toybox"), [], np.random.default_rng(0)
    for i in range(samples):
        sample = manifest.load(i)
        assert sample.truth is not None
        source, truth = sample.image.astype(np.float64), sample.truth.astype(np.float64)
        pictures = {"source": source, "truth": truth}
        for value in grid:
            pictures[str(value)] = (1 - value) * source + value * truth + random.normal(0, NOISE, source.shape)
        for name, picture in pictures.items():
            place = folder / ("edits" if name not in ("source", "truth") else "given") / sample.id
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(picture.round(), 0, 255).astype(np.uint8)).save(place / f"{name}.png")
        given = folder / "given" / sample.id
        about = {"id": sample.id, "target_text": sample.target_text, "source_text": sample.source_text}
        about |= {name: str(given / f"{name}.png") for name in ("source", "truth")}
        rows += [about | {"value": value, "edit": str(folder / "edits" / sample.id / f"{value}.png")} for value in grid]
    rows.sort(key=lambda row: float(str(row["value"])))
    (folder / "rows.json").write_text(json.dumps(rows))
    _plan(folder, FIRST)


def _plan(folder: Path, metrics: Sequence[str]) -> Any:
    """The run in the folder, made where it is not there yet, with these metrics in its spec."""
    from bench import api
    from bench.spec import Spec
    from bench.workers.crew import Options

    rows = json.loads((folder / "rows.json").read_text())
    content = {
        "name": "scoring",
        "manifest": "toybox",
        "samples": list(dict.fromkeys(row["id"] for row in rows)),
        "model": "toybox",
        "device": "cpu",
        "editors": [{"name": "folder", "params": {"path": str(folder / "edits")}}],
        "metrics": list(metrics),
        "reference": {"kind": "truths"},
    }
    return api.run(Spec.model_validate(content), folder / "run", options=Options(executor="inline"))


def _one_side(settings: dict[str, Any]) -> Outcome:
    os.environ["OMP_NUM_THREADS"] = str(settings["threads"])
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(settings["threads"])
    side, device = _ours if settings["side"] == OURS else _loop, settings["device"]
    rows_at_once = LOOPS.get(settings["side"], 0)
    side(Path(settings["folder"], "small"), device, rows_at_once)
    return side(Path(settings["folder"], "whole"), device, rows_at_once)


def _ours(folder: Path, device: str, _: int) -> Outcome:
    from bench.scoring import score_run

    tables: list[Scores] = []
    scored = _plan(folder, FIRST)
    shutil.rmtree(scored.scores, ignore_errors=True)
    first = measured(lambda: tables.append(score_run(scored, device=device)), device)
    again = _plan(folder, (*FIRST, MORE))
    more = measured(lambda: tables.append(score_run(again, device=device)), device)
    known = {(row["metric"], row["sample_id"], row["value"]): row["score"] for row in tables[-1].pairs.to_dict("records")}
    rows = json.loads((folder / "rows.json").read_text())
    values = {name: [float(known[name, row["id"], row["value"]]) for row in rows] for name in (*FIRST, MORE) if (name != "fid")}
    values["fid"] = tables[-1].sets.sort_values("value")["score"].tolist()
    return Outcome({"first": first, "one metric more": more}, values)


def _loop(folder: Path, device: str, rows_at_once: int) -> Outcome:
    found: Values = {}
    rows = json.loads((folder / "rows.json").read_text())
    first = measured(lambda: found.update(_first(rows, device, rows_at_once)), device)
    more = measured(lambda: found.update(_more(rows, device, rows_at_once)), device)
    return Outcome({"first": first, "one metric more": more}, found)


def _first(rows: list[dict[str, Any]], device: str, rows_at_once: int) -> Values:
    import torch
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
    from torchmetrics.image.fid import FrechetInceptionDistance

    from bench.toybox.embedded import TOYBOX
    from metrics.networks.lpips import open_lpips
    from metrics.networks.resnet import FolderExtractor

    class Features(torch.nn.Module):
        """The feature network as torchmetrics wants it: uint8 (n, 3, 64, 64) to (n, num_features)."""

        def __init__(self) -> None:
            super().__init__()
            network = FolderExtractor(f"folder:{TOYBOX / 'features'}", device)
            self.network, self.num_features = network._network, network.dimensions

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.network.hidden_states(self.network.normalise(pixels))[-1].mean(dim=(2, 3))

    clip = _Clip(device)
    lpips = open_lpips(f"folder:{TOYBOX / 'features'}", "", torch.device(device))
    fid = FrechetInceptionDistance(feature=Features(), reset_real_features=False).to(device)
    found: Values = {name: [] for name in FIRST}
    with torch.no_grad():
        truths = list(dict.fromkeys(row["truth"] for row in rows))
        for start in range(0, len(truths), rows_at_once):
            fid.update(_pixels(truths[start : start + rows_at_once], device)[1], real=True)
        for cell in _cells(rows):
            for start in range(0, len(cell), rows_at_once):
                some = cell[start : start + rows_at_once]
                pictures, edits = _pixels([row["edit"] for row in some], device)
                _, sources = _pixels([row["source"] for row in some], device)
                shown = torch.cosine_similarity(clip.images(pictures), clip.texts([row["target_text"] for row in some]))
                found["clip"] += (100 * shown).tolist()
                layers = lpips.differences(lpips.maps(edits), lpips.maps(sources))
                found["lpips"] += torch.stack([layer.mean(dim=(1, 2, 3)) for layer in layers]).sum(dim=0).tolist()
                x, y = edits.float() / 255, sources.float() / 255
                found["psnr"] += peak_signal_noise_ratio(x, y, data_range=1.0, reduction="none", dim=(1, 2, 3)).tolist()
                _, places = structural_similarity_index_measure(x, y, data_range=1.0, reduction="none", return_full_image=True)
                found["ssim"] += places[:, :, 5:-5, 5:-5].mean(dim=(1, 2, 3)).tolist()
                fid.update(edits, real=False)
            found["fid"].append(fid.compute().item())
            fid.reset()
    return found


def _more(rows: list[dict[str, Any]], device: str, rows_at_once: int) -> Values:
    import torch

    clip, found = _Clip(device), []
    with torch.no_grad():
        for cell in _cells(rows):
            for start in range(0, len(cell), rows_at_once):
                some = cell[start : start + rows_at_once]
                seen, given = (clip.images(_pixels([row[name] for row in some], device)[0]) for name in ("edit", "source"))
                said, told = (clip.texts([row[name] for row in some]) for name in ("target_text", "source_text"))
                found += torch.cosine_similarity(seen - given, said - told).tolist()
    return {MORE: found}


class _Clip:
    """The judge, opened and called as open_clip's users do; embeddings have length 1."""

    def __init__(self, device: str) -> None:
        import open_clip

        from bench.toybox.embedded import TOYBOX

        name = f"local-dir:{TOYBOX / 'judge'}"
        self.device = device
        model, _, self.preprocess = open_clip.create_model_and_transforms(name, device=device)
        self.model, self.tokenizer = model.eval(), open_clip.get_tokenizer(name)

    def images(self, pictures: Sequence[Any]) -> torch.Tensor:
        """Of PIL pictures, (n, d)."""
        import torch

        found: torch.Tensor = self.model.encode_image(
            torch.stack([self.preprocess(picture) for picture in pictures]).to(self.device), normalize=True
        )
        return found

    def texts(self, texts: list[str]) -> torch.Tensor:
        """(n, d)."""
        found: torch.Tensor = self.model.encode_text(self.tokenizer(texts).to(self.device), normalize=True)
        return found


def _cells(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The rows of each knob value."""
    for value in dict.fromkeys(row["value"] for row in rows):
        yield [row for row in rows if row["value"] == value]


def _pixels(files: Sequence[str], device: str) -> tuple[list[Any], torch.Tensor]:
    """The pictures in these files, as PIL has them and as uint8 (n, 3, H, W)."""
    import numpy as np
    import torch
    from PIL import Image

    pictures = [Image.open(file).convert("RGB") for file in files]
    return pictures, torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).to(device)


if __name__ == "__main__":
    answer(_one_side(json.loads(sys.argv[1])))
