from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_specs import PAIR_METRICS, SpecMaker, editor, metric
from safetensors.numpy import save

from bench import api, registry
from bench.errors import ScoreError
from bench.manifest import open_manifest
from bench.scoring import read_scores
from bench.scoring.features import FeatureStore, text_key
from bench.spec import ManifestRef
from bench.store import Run
from bench.toybox.embedded import TOYBOX
from bench.workers.crew import Options
from metrics.networks.extractors import open_extractor

INLINE = Options(executor="inline")
SHIFT, WORD, SPREAD = (metric(name) for name in ("ColourShift", "ColourWord", "ColourSpread"))


def module() -> dict[str, Any]:
    """The fake metrics as the registry sees their file."""
    return vars(sys.modules[registry.load_metric(SHIFT["name"]).__module__])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run")


def rows(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array([[value, -value] for value in values], dtype=np.float32)


def test_what_is_saved_is_there_next_time(run: Run) -> None:
    store = FeatureStore(run)
    store.shelf("abc").add(["x", "y"], rows(1, 2))
    store.save()
    store.shelf("abc").add(["z"], rows(3))
    store.save()
    again = FeatureStore(run).shelf("abc")
    assert np.array_equal(again.rows(["z", "x", "z"]), rows(3, 1, 3))
    assert "w" not in again
    assert len(list((run.scores / "features" / "abc").iterdir())) == 2, "a shard is never written again"


def test_two_writers_add_up(run: Run) -> None:
    one, two = FeatureStore(run), FeatureStore(run)
    one.shelf("abc").add(["x", "y"], rows(1, 2))
    two.shelf("abc").add(["y", "z"], rows(2, 3))
    one.save()
    two.save()
    assert np.array_equal(FeatureStore(run).shelf("abc").rows(["x", "y", "z"]), rows(1, 2, 3))


def test_a_damaged_shard_is_as_if_it_were_not_there(run: Run) -> None:
    store = FeatureStore(run)
    store.shelf("abc").add(["x"], rows(1))
    store.save()
    (shard,) = (run.scores / "features" / "abc").iterdir()
    whole = shard.read_bytes()
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    assert set(header["__metadata__"]) == {"keys", "sha256"}
    assert "x" in FeatureStore(run).shelf("abc")
    flipped = bytearray(whole)
    flipped[-6] ^= 1
    renamed = whole.replace(b'[\\"x\\"]', b'[\\"y\\"]')
    unsigned = save({"rows": rows(1)}, {"keys": '["x"]'})
    for damage in (whole[:-3], b"", bytes(flipped), renamed, unsigned):
        assert damage != whole
        shard.write_bytes(damage)
        shelf = FeatureStore(run).shelf("abc")
        assert ("x" in shelf, "y" in shelf) == (False, False)
    shard.unlink()
    os.mkfifo(shard)
    assert "x" not in FeatureStore(run).shelf("abc")


def test_equal_contents_are_extracted_once(run: Run) -> None:
    calls: list[list[str]] = []

    def extract(items: list[str]) -> Any:
        calls.append(items)
        return rows(*(float(len(item)) for item in items))

    shelf = FeatureStore(run).shelf("abc")
    texts = ["a", "bb", "a"]
    shelf.fill([text_key(text) for text in texts], texts, extract)
    shelf.fill([text_key("bb")], ["bb"], extract)
    assert calls == [["a", "bb"]]


def test_an_unknown_text_is_a_row_of_nan_as_wide_as_the_others(run: Run) -> None:
    shelf = FeatureStore(run).shelf("abc")
    shelf.add(["x"], rows(1))
    found = shelf.rows([None, "x"])
    assert np.isnan(found[0]).all()
    assert np.array_equal(found[1:], rows(1))
    assert shelf.rows([None]).shape == (1, 2)


def test_an_extractor_that_changes_its_mind_is_refused(run: Run) -> None:
    shelf = FeatureStore(run).shelf("abc")
    shelf.add(["x"], rows(1))
    with pytest.raises(ScoreError, match=r"shape \(1, 3\) for 1 inputs, 2 dimensions before"):
        shelf.add(["y"], np.zeros((1, 3)))
    with pytest.raises(ScoreError, match=r"shape \(1, 2\) for 2 inputs"):
        shelf.add(["y", "z"], rows(1))


def test_extractors_with_other_keys_do_not_meet(run: Run) -> None:
    store = FeatureStore(run)
    store.shelf(("mean", 1)).add(["x"], rows(1))
    store.shelf(("mean", 2)).add(["x"], rows(2))
    store.save()
    again = FeatureStore(run)
    assert [again.shelf(("mean", n)).rows(["x"])[0, 0] for n in (1, 2)] == [1, 2]


def test_a_new_metric_touches_only_what_is_new(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(metrics=[SHIFT])
    run = api.run(spec, tmp_path / "run", options=INLINE)
    extractor, letters = module()["MeanColour"], module()["Letters"]
    before = extractor.seen
    api.score(run)
    # Nine edits, of which two are one picture (two samples share theirs, and knob value 0 leaves it as it is); two sources.
    assert extractor.seen - before == 8 + 2
    before, texts = extractor.seen, letters.seen
    api.score(api.run(make_spec(metrics=[SHIFT, WORD]), run.path, options=INLINE))
    assert extractor.seen == before, "another metric of the same extractor needs no forward pass over pictures"
    assert letters.seen - texts == 6, "three target texts and three captions"
    api.score(api.run(make_spec(metrics=[SHIFT, WORD, SPREAD], reference={"kind": "truths"}), run.path, options=INLINE))
    assert extractor.seen == before + 3, "and a set metric needs but the three truths"
    assert letters.seen - texts == 6


def test_metrics_of_one_extractor_share_one_pass(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(metrics=[SHIFT, WORD, SPREAD]), tmp_path / "run", options=INLINE)
    before = module()["MeanColour"].seen
    api.score(run)
    assert module()["MeanColour"].seen - before == 8 + 2 + 3


def test_scores_from_the_store_are_those_of_the_metric_alone(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(metrics=[SHIFT, WORD]), tmp_path / "run", options=INLINE)
    pairs = api.score(run).pairs
    manifest = open_manifest(ManifestRef(path=str(tmp_path / "manifest")))
    names = module()
    for label in ("ColourShift", "ColourWord"):
        scored = pairs[pairs["metric"] == names[label].name].to_dict("records")
        assert len(scored) == 9
        for row in scored:
            sample, record = manifest.load(manifest.index(row["sample_id"])), run.record(row["unit"])
            assert record is not None
            index = [edit.value for edit in record.edits].index(row["value"])
            texts = ([sample.target_text], [sample.source_text])
            batch = names["PairBatch"]([run.read_edit(record, index)], [sample.image], *texts, [None], [None])
            # The same float32 features through the same float64 arithmetic.
            assert names[label]().score(batch)[0] == row["score"]


def test_an_interrupted_scoring_resumes(make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.scoring.edits.PICTURES_AT_A_TIME", 2)
    run = api.run(make_spec(metrics=[SHIFT, *PAIR_METRICS]), tmp_path / "run", options=INLINE)
    extractor = module()["MeanColour"]
    monkeypatch.setattr(extractor, "dies_after", extractor.seen + 4)
    start = extractor.seen
    with pytest.raises(KeyboardInterrupt):
        api.score(run)
    assert extractor.seen - start == 4
    monkeypatch.setattr(extractor, "dies_after", None)
    scores = api.score(run)
    assert extractor.seen - start == 8 + 2, "what was extracted before the interruption is not extracted again"
    assert len(scores.pairs) == 27


def test_two_scorings_of_one_run_do_not_harm_each_other(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One scoring goes from start to end while another is under way."""
    spec = make_spec(editor("Fade"), editor("FailsOnce"), metrics=[SHIFT, WORD, SPREAD, *PAIR_METRICS])
    run, extractor, inner = api.run(spec, tmp_path / "run", options=INLINE), module()["MeanColour"], []
    plain = extractor.__call__

    def interrupted(self: Any, images: list[Any]) -> Any:
        if not inner:
            inner.append(None)
            inner[0] = api.score(run)
        return plain(self, images)

    monkeypatch.setattr(extractor, "__call__", interrupted)
    outer = api.score(run)
    monkeypatch.undo()
    on_disk, alone = read_scores(run), api.score(api.run(spec, tmp_path / "alone", options=INLINE))
    for scores in (inner[0], outer, on_disk):
        pd.testing.assert_frame_equal(scores.pairs, alone.pairs)
        pd.testing.assert_frame_equal(scores.sets, alone.sets)
    assert not list(run.scores.rglob(".tmp-*"))
    before = extractor.seen
    api.score(run)
    assert extractor.seen == before, "the shards of both are read"


def test_a_batch_mate_does_not_change_a_feature(run: Run) -> None:
    """ToyBox's feature network, its pictures one by one and in the store's batches, in two orders."""
    manifest = open_manifest(ManifestRef(name="toybox-mini"), 64)
    images = [manifest.load(i).image for i in range(11)]
    extract = open_extractor(f"folder:{TOYBOX / 'features'}")
    keys = [str(i) for i in range(len(images))]
    store = FeatureStore(run)
    store.shelf("forth").fill(keys, images, extract)
    store.shelf("back").fill(keys[::-1], images[::-1], extract)
    alone = np.concatenate([extract([image]) for image in images])
    for name in ("forth", "back"):
        # The bound that metrics.networks.images states: 1e-5 of the largest feature, in float32.
        assert np.abs(store.shelf(name).rows(keys) - alone).max() <= 1e-5 * np.abs(alone).max()
