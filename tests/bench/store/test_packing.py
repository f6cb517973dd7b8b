"""Packed units are the units that they were, whenever a packing is killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fake_specs import SpecMaker, editor

from bench import api
from bench.bundles.pack import pack
from bench.commands.export import export_run
from bench.commands.report import report_data
from bench.commands.status import Watched
from bench.errors import RunError
from bench.scoring import read_scores
from bench.store import Record, Run, packing, shards
from bench.store.packing import pack_units
from bench.workers.crew import Options

INLINE = Options(executor="inline")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_spec: SpecMaker) -> Run:
    """A scored run that tests copy: edits, pictures beside them, anchors, and a unit that failed."""
    spec = make_spec(editor("Fade"), editor("FailsOnce"), editor("Pictures"), anchors=["copy", "oracle"])
    run = api.run(spec, tmp_path_factory.mktemp("packing") / "run", options=INLINE)
    api.score(run)
    return run


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(made.path, tmp_path / "run"))


def content(run: Run) -> dict[str, tuple[Record, dict[str, bytes]]]:
    """Every unit with a record, and its pictures."""
    found = {}
    for unit in run.plan.units:
        if (record := run.record(unit.key)) is not None:
            names = [edit.file for edit in record.edits] + list(record.pictures.values())
            found[unit.key] = record, {name: run.kept.read(unit.key, name) for name in names}
    return found
