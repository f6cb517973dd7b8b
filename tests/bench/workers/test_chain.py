"""Own chains: a later turn edits what the same editor made of the turn before, whoever makes it and in whatever order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_specs import SpecMaker, editor
from fixtures_manifest import row, write_folder
from numpy.typing import NDArray

from bench import api
from bench.errors import SpecError
from bench.spec import Spec
from bench.store import Run
from bench.workers.crew import Options

INLINE = Options(executor="inline")


@pytest.fixture
def session(tmp_path: Path, make_spec: SpecMaker) -> SpecMaker:
    """Specs over a session of three turns and a sample by itself."""
    rows = [
        row(0),
        row(1, previous="sample-0"),
        row(2, previous="sample-1"),
        row(3, file_name="0.png", mask_file_name=None, truth_file_name=None),
    ]
    folder = write_folder(tmp_path / "session", rows)

    def make(*editors: object, **more: object) -> Spec:
        return make_spec(*editors, **{"manifest": {"path": str(folder)}} | more)  # type: ignore[arg-type]

    return make


def pictures(run: Run) -> dict[tuple[str, int], list[NDArray[np.uint8]]]:
    """Sample id and seed to the edits, by ascending knob value."""
    found = {}
    for unit in run.plan.units:
        record = run.record(unit.key)
        assert record is not None
        found[run.plan.samples[unit.sample].id, unit.seed] = [run.read_edit(record, index) for index in range(len(record.edits))]
    return found


def test_later_turns_edit_the_editors_own_pictures(session: SpecMaker, tmp_path: Path) -> None:
    run = api.run(session(editor("Negative"), chain="own"), tmp_path / "run", options=INLINE)
    first, second, third, alone = pictures(run).values()
    source = run.sample(run.plan.samples[0]).image
    assert all(np.array_equal(turn[0], source) for turn in (first, second, third))
    assert np.array_equal(first[1], 255 - source)
    assert np.array_equal(second[1], source), "the negative of a negative"
    assert np.array_equal(third[1], 255 - source)
    assert np.array_equal(alone[1], 255 - source)


def test_first_turns_keep_their_units_and_a_true_chain_knows_nothing_of_sessions(session: SpecMaker) -> None:
    own, true = (api.plan(session(editor("Negative"), chain=chain))[0] for chain in ("own", "truth"))
    same = [one.key == other.key for one, other in zip(own.units, true.units, strict=True)]
    assert same == [True, False, False, True]
    assert [unit.before for unit in own.units] == ["", own.units[0].key, own.units[1].key, ""]
    assert list(own.turns.values()) == [1, 2, 3, 1]
    assert true.turns == own.turns


@pytest.mark.parametrize(
    "options", [Options(executor="inline"), pytest.param(Options(executor="local", workers=2), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("batch", [1, 4])
def test_a_chain_is_the_same_in_batches_and_by_several_workers(
    session: SpecMaker, tmp_path: Path, options: Options, batch: int
) -> None:
    spec = session(editor("Fade"), chain="own", seeds=[0, 1])
    alone = pictures(api.run(spec, tmp_path / "alone", options=INLINE))
    other = pictures(api.run(spec.model_copy(update={"batch": batch}), tmp_path / "other", options=options))
    assert alone.keys() == other.keys()
    assert all(np.array_equal(one, two) for name in alone for one, two in zip(alone[name], other[name], strict=True))


def test_what_follows_a_failure_fails_with_its_reason_and_the_rest_goes_on(session: SpecMaker, tmp_path: Path) -> None:
    run = api.run(session(editor("FailsOnce"), chain="own"), tmp_path / "run", options=INLINE)
    records = [run.record(unit.key) for unit in run.plan.units]
    reasons = [(record.reason or {}).get("message") for record in records if record]
    broken = "the turn before failed: "
    assert reasons == ["no zeros please", f"{broken}no zeros please", f"{broken}{broken}no zeros please", None]


def test_a_chain_needs_sessions_whole(session: SpecMaker, make_spec: SpecMaker) -> None:
    with pytest.raises(SpecError, match=r"chain: own: manifest .* has no sessions"):
        api.plan(make_spec(chain="own"))
    with pytest.raises(
        SpecError, match="sample 'sample-1' follows 'sample-0', which is not planned before it; add it to samples"
    ):
        api.plan(session(chain="own", samples=["sample-1"]))
    api.plan(session(chain="own", limit=2))
