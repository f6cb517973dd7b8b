"""A run at a URL: what it is like to several machines, each with a folder of its own, and what a kill at any instant leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from s3_server import s3_server

from bench.errors import RunError
from bench.store import EditFile, Record, Run, claims, mirror
from bench.store.mirror import mirror_of

PICTURE = b"\x89PNG of a test"
Machine = Callable[[str], Run]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["s3", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}" if request.param == "s3" else f"file://{tmp_path}/store/run"


@pytest.fixture
def machine(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The run as the machine of that name has it: its scratch is another's only if the name is."""

    def at(name: str) -> Run:
        monkeypatch.setenv("ETABENCH_SCRATCH", str(tmp_path / name))
        run = Run(url)
        assert run.mirror is not None
        run.mirror.remember()
        run.units.mkdir(parents=True, exist_ok=True)
        return run

    return at


def record(key: str = "k1", **changes: object) -> Record:
    import hashlib

    edit = EditFile(0.5, "000.png", hashlib.sha256(PICTURE).hexdigest())
    return replace(Record(key=key, status="done", identity={"sample_id": "a"}, edits=(edit,)), **changes)  # type: ignore[arg-type]


def commit(run: Run, made: Record) -> Record:
    run.commit(made, {"000.png": PICTURE})
    return made


def now(run: Run) -> Run:
    """As it is, not as it was a moment ago."""
    assert run.mirror is not None
    run.mirror.marks(anew=True)
    run.mirror.claims.read(anew=True)
    return run


def there(run: Run) -> set[str]:
    assert run.mirror is not None
    return set(run.mirror.objects.listing(deep=True))


def test_a_unit_of_one_machine_is_another_ones(machine: Machine) -> None:
    here, elsewhere = machine("one"), machine("two")
    assert not elsewhere.finished("k1")
    made = commit(here, record())
    assert there(here) == {"units/k1/000.png", "units/k1/record.json", f"finished/k1-{digest(here)}-done"}
    assert now(elsewhere).finished("k1")
    assert not elsewhere.units.joinpath("k1").exists(), "nothing was asked for"
    assert elsewhere.record("k1") == made
    assert {path.name for path in elsewhere.units.joinpath("k1").iterdir()} == {"record.json"}
    assert elsewhere.damaged(made) is None
    assert elsewhere.edit_bytes(made, 0) == PICTURE
    assert list(elsewhere.records(["k0", "k1"])) == [made]


def test_the_first_of_two_machines_wins(machine: Machine) -> None:
    here, elsewhere = machine("one"), machine("two")
    first = commit(here, record(seconds={"prepare": 1.0}))
    commit(elsewhere, record(seconds={"prepare": 2.0}))
    assert now(elsewhere).record("k1") == first
    assert len([name for name in there(here) if name.startswith("finished/")]) == 1


def test_a_unit_taken_away_there_goes_here_and_is_not_sent_again(machine: Machine) -> None:
    """A failed unit is tried anew, whoever has its old record in a folder of his."""
    here, elsewhere = machine("one"), machine("two")
    commit(here, failed := record(status="failed", reason={"type": "E", "message": "m"}, edits=()))
    assert now(elsewhere).record("k1") == failed
    here.discard("k1")
    assert there(here) == set()
    assert here.record("k1") is None
    elsewhere.settle(["k1"])
    assert there(here) == set()
    assert elsewhere.record("k1") is None
    made = commit(here, record())
    assert now(elsewhere).record("k1") == made


def test_what_another_machine_made_anew_replaces_what_is_here(machine: Machine) -> None:
    here, elsewhere = machine("one"), machine("two")
    commit(here, record(seconds={"prepare": 1.0}))
    assert now(elsewhere).record("k1") is not None
    here.discard("k1")
    again = commit(here, record(seconds={"prepare": 2.0}))
    assert now(elsewhere).record("k1") == again


def test_what_could_not_be_sent_is_sent_later(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine("one")
    assert here.mirror is not None

    def away(files: object) -> None:
        raise RunError("the store cannot be reached")

    with monkeypatch.context() as broken:
        broken.setattr(here.mirror.objects, "put", away)
        with pytest.raises(RunError, match="cannot be reached"):
            commit(here, record())
    again = machine("one")
    assert not again.finished("k1")
    again.settle(["k0", "k1"])
    assert machine("two").record("k1") == record()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [0, 1, 2])
def test_a_kill_while_a_unit_is_sent_loses_nothing(machine: Machine, sent: int) -> None:
    """SIGKILL after the picture was sent, the record, or neither. What is sent in part is not there, and its claim is void at once."""
    here = machine("one")
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from bench.store import Run
from test_mirror import PICTURE, record
run = Run(sys.argv[1])
claim = run.claim("k1", "w-1")
put, done = run.mirror.objects.put, []
def stop(files):
    if len(done) == {sent}:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(put(files))
run.mirror.objects.put = stop
run.commit(record(), {{"000.png": PICTURE}})
"""
    helpers = Path(__file__).parents[2] / "helpers"
    path = os.pathsep.join([str(Path.cwd()), str(helpers)])
    killed = subprocess.run([sys.executable, "-c", script, str(here.name)], env=os.environ | {"PYTHONPATH": path}, check=False)
    assert killed.returncode == -9
    elsewhere = now(machine("two"))
    assert not elsewhere.finished("k1")
    assert elsewhere.deaths("k1") == 1
    claim = elsewhere.claim("k1", "w-2")
    assert claim is not None
    with claim:
        assert claim.deaths.count == 1
        assert (elsewhere.record("k1") == record()) == (sent == 2), "the record was there: only its mark is written"
    now(here).settle(["k1"])
    assert now(elsewhere).record("k1") == record()
    assert elsewhere.edit_bytes(record(), 0) == PICTURE


def test_a_record_that_differs_from_its_mark_is_made_anew(machine: Machine) -> None:
    here, elsewhere = machine("one"), machine("two")
    commit(here, record())
    assert here.mirror is not None
    here.mirror.objects.put({"units/k1/record.json": b'{"key": "k1"'})
    assert now(elsewhere).record("k1") is None
    assert not now(elsewhere).finished("k1")
    assert there(here) == set()


def test_a_picture_that_is_gone_or_other_there_is_damage_once_it_is_looked_at(machine: Machine) -> None:
    here, elsewhere = machine("one"), machine("two")
    made = commit(here, record())
    assert here.mirror is not None
    here.mirror.objects.delete(["units/k1/000.png"])
    assert now(elsewhere).damaged(made) is None, "nobody looked"
    elsewhere.bring([made])
    assert elsewhere.damaged(made) == elsewhere.units / "k1" / "000.png"
    assert elsewhere.edit_bytes(made, 0) is None


def test_claims_of_a_store_exclude_expire_and_tell_of_deaths(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "SECONDS_BETWEEN_PROBES", 0.0)
    here, elsewhere = machine("one"), machine("two")
    claim = here.claim("k1", "w-1")
    assert claim is not None
    assert now(elsewhere).claim("k1", "w-2") is None
    assert claims.held(elsewhere.claims)["k1"]["worker"] == "w-1"
    assert [place.name for place in claims.of_worker(elsewhere.claims, "w-1")] == ["k1"]
    claims.bury(claim.path, "w-1", "signal 9")
    assert now(elsewhere).deaths("k1") == 1
    second = elsewhere.claim("k1", "w-2")
    assert second is not None
    assert second.deaths == claims.Deaths(1, "signal 9")
    with second:
        assert now(here).claim("k1") is None
    assert claims.holder(here.claims / "k1") is None
    third = now(here).claim("k1", "w-3")
    assert third is not None
    note = json.loads(here.mirror.objects.get(["claims/k1"])["claims/k1"])  # type: ignore[union-attr]
    here.mirror.objects.put({"claims/k1": json.dumps(note | {"host": "elsewhere"}).encode()})  # type: ignore[union-attr]
    assert now(elsewhere).claim("k1") is None
    monkeypatch.setattr(claims, "LEASE_SECONDS", -1.0)
    assert now(elsewhere).claim("k1") is not None, "its lease is over"


def test_a_held_claim_is_kept_fresh_and_a_stolen_one_left_alone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.05)
    run = machine("one")
    assert run.mirror is not None
    objects, claim = run.mirror.objects, run.claim("k1")
    assert claim is not None
    written = list[str]()
    put = objects.put
    monkeypatch.setattr(objects, "put", lambda files: (written.extend(files), put(files)))
    with claim:
        until = time.monotonic() + 20
        while not written and time.monotonic() < until:
            time.sleep(0.02)
    assert written[:1] == ["claims/k1"]
    monkeypatch.undo()
    note = run.claims / "k2"
    stolen = claims.take(note)
    assert stolen is not None
    with stolen:
        objects.put({"claims/k2": (theirs := b'{"pid": 1, "host": "h", "token": "of another"}')})
        note.refresh(b"mine")  # type: ignore[union-attr]
        assert objects.get(["claims/k2"]) == {"claims/k2": theirs}
    assert objects.get(["claims/k2"]) == {"claims/k2": theirs}


def test_a_claim_that_is_fresh_costs_others_no_request_of_its_own(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = machine("one"), machine("two")
    assert here.claim("k1") is not None
    assert now(elsewhere).mirror is not None
    tried = list[str]()
    create = elsewhere.mirror.objects.create  # type: ignore[union-attr]
    monkeypatch.setattr(elsewhere.mirror.objects, "create", lambda name, data: (tried.append(name), create(name, data))[1])  # type: ignore[union-attr]
    assert [elsewhere.claim("k1") for _ in range(5)] == [None] * 5
    assert len(tried) <= 1, "one of them may look whether its holder is dead"


def test_workers_begin_at_different_units(machine: Machine, tmp_path: Path) -> None:
    units = {str(number): number for number in range(100)}
    run = machine("one")
    orders = {tuple(run.order(units, f"w-{number}")) for number in range(5)}
    assert len(orders) == 5
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert Run(tmp_path / "folder").order(units, "w-1") == list(range(100))


def test_files_travel_where_they_changed(machine: Machine) -> None:
    here, elsewhere = machine("one"), machine("two")
    here.write_json("scores/cards.json", {"a": 1})
    elsewhere.refresh("scores")
    assert elsewhere.read("scores/cards.json", dict[str, int]) == {"a": 1}
    with elsewhere.alone("scores", 1.0):
        elsewhere.write_json("scores/cards.json", {"a": 22})
        with pytest.raises(TimeoutError), here.alone("scores", 0.0):
            pass
    with here.alone("scores", 5.0):
        assert here.read("scores/cards.json", dict[str, int]) == {"a": 22}
    assert here.mirror is not None
    here.mirror.objects.delete(["scores/cards.json"])
    elsewhere.refresh("scores")
    assert not (elsewhere.scores / "cards.json").exists()


def test_answers_of_two_machines_are_kept(machine: Machine) -> None:
    here, elsewhere = machine("one"), machine("two")
    for run, line in ((here, b"1\n"), (elsewhere, b"2\n")):
        run.scores.mkdir()
        (run.scores / "answers.jsonl").write_bytes(line)
    for run in (here, elsewhere, here):
        with run.alone("scores", 5.0):
            pass
    assert sorted((here.scores / "answers.jsonl").read_bytes().split()) == [b"1", b"2"]
    assert sorted((elsewhere.scores / "answers.jsonl").read_bytes().split()) == [b"1", b"2"]


def test_a_folder_that_never_changes_is_made_once_and_whole_on_every_machine(machine: Machine) -> None:
    here, elsewhere = machine("one"), machine("two")
    made = list[str]()

    def exchange(run: Run) -> set[str]:
        place = run.path / "samples" / "a"

        def make() -> set[str]:
            if not place.is_dir():
                made.append(run.path.parent.name)
                place.mkdir(parents=True)
                for name in ("source.png", "sha256.json"):
                    (place / name).write_bytes(b"x")
            return {path.name for path in place.iterdir()}

        assert run.mirror is not None
        return run.mirror.files.exchange("samples/a", "sha256.json", make)

    assert here.mirror is not None
    here.mirror.objects.put({"samples/a/source.png": b"of a machine that was killed"})
    (elsewhere.path / "samples" / "a").mkdir(parents=True)
    (elsewhere.path / "samples" / "a" / "source.png").write_bytes(b"of a process that was killed")
    assert exchange(here) == exchange(here) == exchange(elsewhere) == {"source.png", "sha256.json"}
    assert made == ["one"]
    assert (elsewhere.path / "samples" / "a" / "source.png").read_bytes() == b"x"


def test_a_folder_stands_for_a_url_only_where_this_machine_made_it(machine: Machine, tmp_path: Path) -> None:
    """A folder from elsewhere leads nobody to a store."""
    run = machine("one")
    assert Run(run.path).name == run.name
    foreign = tmp_path / "foreign"
    (foreign / ".mirror").mkdir(parents=True)
    (foreign / ".mirror" / "url").write_text(run.name)
    assert mirror_of(foreign) is None
    assert Run(foreign).mirror is None


def test_another_ones_content_is_refused(machine: Machine, url: str) -> None:
    run = machine("one")
    assert run.mirror is not None
    run.mirror.objects.put({"thesis.tex": b""})
    with pytest.raises(RunError, match=r"has content but is not a run \(no plan\)"):
        Run.create(url)
    with pytest.raises(RunError, match=r"is not a run folder: no spec\.yaml"):
        Run.open(url)


def digest(run: Run) -> str:
    import hashlib

    return hashlib.sha256((run.units / "k1" / "record.json").read_bytes()).hexdigest()[:16]
