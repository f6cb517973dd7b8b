"""The Python API, one call per command: `run`, `score`, `report`.

import bench

finished = bench.run("demo", out="runs/demo")
bench.score(finished)
bench.report(finished)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import RunError
from bench.plan import Plan, make_plan, resolve_entries
from bench.plan.entries import check_family
from bench.progress import Progress, silent
from bench.spec import Spec, anchored, load_spec, shipped_specs
from bench.store import Run
from bench.workers.crew import Options

if TYPE_CHECKING:
    from bench.manifest import Manifest
    from bench.scoring import Scores

__all__ = ["Options", "Run", "default_folder", "open_spec", "pin", "plan", "report", "run", "score"]


ELSEWHERE = ("ray", "slurm")
"""Executors whose workers have other devices than this machine, so that a trial here would tell nothing."""


def run(
    spec: Spec | str | Path,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    options: Options | None = None,
    progress: Progress = silent,
    scorable: bool = True,
    trust: bool = False,
) -> Run:
    """Make every edit the spec asks for, in the folder `out` (by default `runs/<name>`), and return the run.

    An existing folder is continued: finished units stay, failed ones are tried again, those whose pictures are gone or differ from their
    records are made anew, and a branch of the hub means the commit that it meant when the folder was planned first. `spec` is a Spec, a
    file or a shipped name; code that the spec inside a run folder names is run where it was let in before (`bench.trust`) or with `trust`.
    Raises EtabenchError where the run cannot be made, MetricError where it could not be scored (found out before the first edit, unless
    `scorable` is False); editors that fail on single samples are recorded, not raised.
    """
    from dataclasses import replace

    from bench import environment
    from bench.commands.fetch import bring, lacking, weights_lacking
    from bench.commands.outlook import ahead
    from bench.devices import pick_device
    from bench.store.packing import packing_along
    from bench.workers.executors import execute

    resolved = anchored(spec, Path.cwd()) if isinstance(spec, Spec) else open_spec(spec, overrides, trust=trust)
    options = options or Options()
    if options.device == "auto":
        options = replace(options, device=resolved.device)
    folder = Run(out if out is not None else default_folder(resolved))
    folder.refresh()
    resolved, pins = pin(resolved, folder)
    bring(lacking(resolved), progress)
    planned, manifest = plan(resolved, pins)
    changed = _changes(folder, planned, manifest)
    keys = {unit.key for unit in planned.units}
    there, worn = 0, dict[str, Path]()
    for record in folder.records(keys):
        there += 1
        if record.status == "done" and (file := folder.damaged(record)):
            worn[record.key] = file
    if scorable and (worn or there < len(keys)):
        from bench.scoring import preflight

        bring(weights_lacking(resolved), progress)
        preflight(resolved, planned)
    here = progress is not silent and options.executor not in ELSEWHERE
    outlook = ahead(resolved, planned, manifest, folder, options.threads) if here else []
    Run.create(folder.name)
    with folder.hold(resolved, planned):
        folder.clean()
        folder.settle(keys)
        made = folder.records(keys)
        folder.discard(*[r.key for r in made if r.status == "failed" or (r.key in worn and folder.damaged(r))])
        folder.begin(resolved, planned, manifest, _as_given(spec, overrides))
        folder.share_samples()
        folder.write_json("environment.json", environment.describe(pick_device(resolved.device), resolved.dtype))
        with progress("edit", len(keys), sum(1 for _ in folder.records(keys))) as advance:
            for said in filter(None, (manifest.about, changed, _worn(worn, planned), *outlook)):
                advance(0, said)
            execute(folder, planned, options, packing_along(folder, resolved.pack_above, advance))
    return folder


def score(
    run: Run | str | Path,
    *,
    device: str | None = None,
    options: Options | None = None,
    progress: Progress = silent,
    trust: bool = False,
) -> Scores:
    """Score the finished edits of a run; what is scored already is not scored again. Returns the tables.

    `device` is where metrics compute, the run's own device where it is None. Features and scores of edits are made by as many workers as
    `options` ask for (its device does not count); one, or none said, is this process. The numbers are the same.

    Raises RunError where another spec is at work in the folder, and where its spec names metrics that are code and were not let in before
    (`bench.trust`), unless told to `trust` it.
    """
    from dataclasses import replace

    from bench.scoring import score_run
    from bench.trust import code_of_metrics, demand
    from bench.workers.crew import Task
    from bench.workers.executors import share_out

    opened = run if isinstance(run, Run) else Run.open(run)
    demand(opened.path, code_of_metrics(opened.spec), trust)
    with opened.hold(opened.spec, opened.plan):
        if options is not None and options.executor != "inline" and (options.workers > 1 or options.executor != "auto"):
            shared = replace(options, device=device or opened.spec.device)
            share_out(opened, shared, Task("score in workers", "bench.scoring.score:score_share", divided=True), progress)
        return score_run(opened, device=device, progress=progress)


def report(run: Run | str | Path, *, width: float | None = None, single_file: bool = False) -> Path:
    """Write the report of a scored run and return the path of its page; with `single_file`, that of one which holds a small run whole.

    Figures are `width` inches wide, by default as wide as a paper's text in one column. Raises RunError where another spec is at work in
    the folder, and where the pictures are too many for a single file.
    """
    from bench.commands.report import report_run

    return report_run(run if isinstance(run, Run) else Run.open(run), width=width, single_file=single_file)[0]


def open_spec(spec: str | Path, overrides: Sequence[str] = (), *, trust: bool = False) -> Spec:
    """The spec of a file or a shipped name under its overrides.

    Raises SpecError, and RunError where it is that of a run folder and names code that was not let in (see `bench.trust`).
    """
    from bench.trust import code_of_spec, demand

    resolved = load_spec(spec, overrides)
    if Path(spec).is_file() and Run(Path(spec).parent).units.is_dir():
        demand(Path(spec), code_of_spec(resolved), trust)
    return resolved


def pin(spec: Spec, folder: Run) -> tuple[Spec, dict[str, str]]:
    """The spec with a commit in place of every branch of the hub, as the run in `folder` was planned with them, and what `plan` wants to
    know of them. Raises EtabenchError, EditorError."""
    from bench.manifest import open_manifest
    from bench.manifest.folder import folder_pictures
    from bench.plan import pins

    if spec.manifest.root is not None:  # a copy that is not whole is told before gigabytes are fetched for it
        open_manifest(spec.manifest, partial=spec.partial)
    if spec.reference is not None and spec.reference.kind == "folder":
        folder_pictures(spec.reference.folder)
    try:
        known = folder.plan.pins if folder.plan_file.is_file() else {}
    except RunError:
        known = {}
    return pins.pin(spec, known)


def plan(spec: Spec, pins: Mapping[str, str] | None = None) -> tuple[Plan, Manifest]:
    """The plan of a spec and its manifest; nothing is computed or written. Without the `pins` of a spec that went through `pin`, what it
    names of the hub is looked up now. Raises EtabenchError, EditorError.
    """
    from bench import models
    from bench.manifest import open_manifest
    from bench.plan import pins as lookups

    if pins is None:
        spec, pins = lookups.pin(spec)
    users = [entry for entry in resolve_entries(spec) if entry.needs_model]
    checkpoint = models.inspect(models.reference(spec, *(entry.label for entry in users))) if users else None
    if checkpoint:
        check_family(users, checkpoint.family)
    resolution = checkpoint.resolution if checkpoint else None
    manifest = open_manifest(spec.manifest, resolution, partial=spec.partial)
    digest = checkpoint.digest if checkpoint else ""
    return make_plan(spec, manifest, model=digest, resolution=resolution, pins=pins), manifest


def default_folder(spec: Spec) -> Path:
    """`runs/<name>`."""
    return Path("runs") / spec.name.replace("/", "-")


def _changes(run: Run, planned: Plan, manifest: Manifest) -> str:
    """What is other than when the folder was planned last, in words. Raises RunError where it belongs to another manifest."""
    if not run.plan_file.is_file():
        return ""
    try:
        before = run.plan
    except RunError:
        return ""
    if not {sample.id for sample in before.samples} & set(manifest.ids):
        raise RunError(f"{run.path} belongs to {_known(run)}, which shares no sample with {manifest.name}; use another --out")
    if before.manifest_hash == planned.manifest_hash:
        return ""
    found = planned.changes(before)
    words = ", ".join(f"{number} {word}" for word, number in found.items()) or "no planned sample differs"
    return f"the manifest changed since this run was planned: {words}; what did not change is kept"


def _known(run: Run) -> str:
    """The manifest of a run in words, as far as the run still tells."""
    try:
        return f"manifest {run.head.name}"
    except RunError:
        return "another manifest"


def _worn(files: Mapping[str, Path], planned: Plan) -> str:
    """Which units are made anew because of their files, in words."""
    if not files:
        return ""
    number, first = len(files), next(iter(files.values()))
    return f"{number} of {len(planned.units)} units are made anew: their pictures are gone or differ from their records (first: {first})"


def _as_given(spec: Spec | str | Path, overrides: Sequence[str]) -> bytes:
    """The text of a spec file under its overrides; empty for a Spec made in Python."""
    if isinstance(spec, Spec):
        return b""
    source = Path(spec) if Path(spec).is_file() else shipped_specs()[str(spec)]
    return "".join(f"# --set {override}\n" for override in overrides).encode() + source.read_bytes()
