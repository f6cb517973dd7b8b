"""A storm of SIGKILLs over run, score, report and packing: nothing is lost, and what comes out is what an undisturbed run gives.

    python -P tests/helpers/kill_storm.py --kills 1000 --seed 0

Commands of 1 to 4 workers are started on one run folder, and after a random time one of their processes is killed, the command itself or a
worker. When it was the command, its workers must be gone soon, and no claim be held. What a killed command left is whole: every unit that is
there, in a folder or packed, has a record and the pictures that it names, and every table can be read. Now and then the commands are left
alone; then edits and scores must be those of the undisturbed run, bit for bit, and the next round begins on an empty folder. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SECONDS_TO_GO = 30.0
"""For workers to hear that their command is gone, on a busy machine; at the next step of an edit of a fraction of a second."""
KILLS_A_ROUND = 25
COMMANDS = ("run", "run", "score", "report", "pack-units")


@dataclass
class Storm:
    """One storm on runs in `folder`."""

    folder: Path
    seed: int = 0
    seeds_of_run: int = 6
    killed: Counter[str] = field(default_factory=Counter)
    slowest_end: float = 0.0
    """Seconds that the last process of a killed command took to be gone, at the most."""
    slowest_claim: float = 0.0
    """Seconds after that in which what it held was taken for held, at the most."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._run = self.folder / "run"
        self._spec = self._written()
        self._seconds = dict.fromkeys(COMMANDS, 1.0)

    def blow(self, kills: int) -> None:
        """Kill so many processes and compare; AssertionError where something is lost, wrong or left over."""
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = self._undisturbed(self.folder / "calm")
        while (total := self.killed.total()) < kills:
            shutil.rmtree(self._run, ignore_errors=True)
            while self.killed.total() < min(total + KILLS_A_ROUND, kills):
                self._disturb(self._random.choice(COMMANDS), self._random.randint(1, 4))
            assert self._undisturbed(self._run) == wanted, "other edits or scores than those of the undisturbed run"
            print(f"{self.killed.total()} kills, all is there", flush=True)

    def _undisturbed(self, run: Path) -> dict[str, Any]:
        """What a run gives that is left alone from here on, and how long its commands take."""
        for command in dict.fromkeys(COMMANDS):
            start = time.monotonic()
            done = subprocess.run(
                self._command(command, run, 1), env=self._environment(), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}: {done.stderr}"
            if run == self.folder / "calm":
                self._seconds[command] = time.monotonic() - start
        left = [path for name in ("claims", "holders") for path in (run / name).iterdir()]
        assert left == [], "claims that nobody holds"
        return fingerprint(run)

    def _disturb(self, command: str, workers: int) -> None:
        """Start a command and kill one of its processes, if it is still at work then."""
        if command != "run" and not (self._run / "plan.parquet").is_file():
            command = "run"
        process = subprocess.Popen(
            self._command(command, self._run, workers),
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(self._random.uniform(0.2, 1.2) * self._seconds[command])
        members = _session(process.pid)
        if process.poll() is None and members:
            worker = self._random.random() < 0.5 and [pid for pid in members if pid != process.pid]
            victim = self._random.choice(worker) if worker else process.pid
            try:
                os.kill(victim, signal.SIGKILL)
                self.killed[f"{command}, {'worker' if worker else 'command'}"] += 1
            except ProcessLookupError:
                victim = 0
            if victim != process.pid and self._random.random() < 0.5:
                process.kill()  # both, else the next command would always find a mended run
        process.wait(timeout=300)
        start = time.monotonic()
        while left := _session(process.pid):
            assert time.monotonic() - start < SECONDS_TO_GO, f"orphans of {command}: {left}"
            time.sleep(0.05)
        self.slowest_end = max(self.slowest_end, time.monotonic() - start)
        self._check()

    def _check(self) -> None:
        """What dead commands left is whole, and holds nothing."""
        from bench.store import Run, claims

        run = Run(self._run)
        start = time.monotonic()
        while left := {**claims.held(run.claims), **claims.held(run.holders)}:  # one that was being written counts for a moment
            assert time.monotonic() - start < SECONDS_TO_GO, f"claims that nobody holds: {left}"
            time.sleep(0.2)
        self.slowest_claim = max(self.slowest_claim, time.monotonic() - start)
        for key in sorted(run.kept.keys()):
            record = run.record(key)
            assert record is not None, f"{key} has no sound record"
            assert record.status == "failed" or run.damaged(record) is None, f"{key} lacks pictures"
        for table in run.scores.glob("*.parquet"):
            pd.read_parquet(table)

    def _command(self, command: str, run: Path, workers: int) -> list[str]:
        start = [sys.executable, "-P", "-m", "bench.cli", command]
        more = ["--workers", str(workers), "--executor", "local" if workers > 1 else "inline"]
        match command:
            case "run":
                return [*start, str(self._spec), "--out", str(run), "--no-score", *more]
            case "score":
                return [*start, str(run), *more]
            case _:
                return [*start, str(run)]

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(ROOT), str(HERE)])
        return os.environ | {"PYTHONPATH": path, "XDG_STATE_HOME": str(self.folder / "state"), "OMP_NUM_THREADS": "1"}

    def _written(self) -> Path:
        from fixtures_manifest import row, write_folder

        self.folder.mkdir(parents=True, exist_ok=True)
        fakes = {name: f"{HERE / name}.py" for name in ("fake_editors", "fake_metrics")}
        spec = {
            "name": "storm",
            "manifest": {"path": str(write_folder(self.folder / "manifest", [row(0), row(1), row(2)]))},
            "device": "cpu",
            "seeds": list(range(self.seeds_of_run)),
            "editors": [
                {"name": f"{fakes['fake_editors']}:Fade", "params": {"seconds": 0.1}},
                {"name": f"{fakes['fake_editors']}:Crashes"},
            ],
            "metrics": [
                {"name": f"{fakes['fake_metrics']}:{name}"} for name in ("Alignment", "Distance", "ColourShift", "ColourGap")
            ],
            "reference": {"kind": "sources"},
        }
        path = self.folder / "spec.yaml"
        path.write_text(yaml.safe_dump(spec), encoding="utf-8")
        return path


def fingerprint(run: Path) -> dict[str, Any]:
    """Units with the digests of their files as they are, and the rows of all tables; nothing of time or machine."""
    from bench.scoring.tables import read_table
    from bench.store import Run

    found: dict[str, Any] = {}
    opened = Run(run)
    for unit in opened.plan.units:
        record = opened.record(unit.key)
        assert record is not None
        files = [hashlib.sha256(opened.kept.read(unit.key, edit.file)).hexdigest() for edit in record.edits]
        assert files == [edit.sha256 for edit in record.edits]
        found[unit.key] = (record.status, (record.reason or {}).get("type"), files)
    for name in ("pairs", "sets", "set_pairs"):
        table = read_table(opened, name)
        found[name] = sorted(map(repr, table.to_dict("records")))
    return found


def _session(leader: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (path / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(session) == leader and state not in "ZX":
            found.append(int(path.name))
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="processes that are killed")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="etabench-storm-") as folder:
        storm = Storm(Path(folder), given.seed)
        start = time.monotonic()
        storm.blow(given.kills)
        print(f"{storm.killed.total()} kills in {time.monotonic() - start:.0f} s, nothing lost: {dict(storm.killed)}")
        print(f"after a command was killed its last process was gone within {storm.slowest_end:.1f} s")
        print(f"what it held was free {storm.slowest_claim:.1f} s later at the most")


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(HERE)]
    main()
