"""What a spec would fetch, told with its size, and brought; from a hub on loopback, never from a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_hub
import pytest
import torch
from fake_hub import FakeHub
from fake_specs import metric
from fixtures_manifest import encoded, picture, write_parquet
from typer.testing import CliRunner

from bench import api
from bench.cli import app
from bench.commands.fetch import Download, bring, in_words, wanted, whole
from bench.errors import ManifestError, ScoreError
from bench.progress import silent
from bench.spec import Spec
from bench.toybox.embedded import TOYBOX
from bench.workers.crew import Options
from metrics.lpips import LPIPS
from metrics.networks import inception
from metrics.networks.remote import absent_weights

CLIP = "timm/vit_base_patch32_clip_224.openai"
"""Where open_clip has ViT-B-32 of OpenAI from."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    """A model, a data set of one sample, and a file that stands where open_clip's weights are."""
    rows = [{"original_image": encoded(picture(0)), "caption": "a red ball"}]
    write_parquet(tmp_path / "set" / "data" / "val-00000-of-00001.parquet", rows, ("original_image",))
    (tmp_path / "set" / "README.md").write_text("not read")
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "open_clip_model.safetensors").write_bytes(bytes(5000))
    with fake_hub.on_loopback(tmp_path) as hub:
        hub.add("some/model", TOYBOX / "generator")
        hub.add("some/set", tmp_path / "set", "datasets")
        hub.add(CLIP, tmp_path / "clip")
        yield hub


def spec(**changes: Any) -> dict[str, Any]:
    pipeline = {"checkpoint": "some/model", "pipeline": "StableDiffusionImg2ImgPipeline", "device": "cpu"}
    content: dict[str, Any] = {
        "name": "test",
        "manifest": {"hub": "some/set", "columns": {"image": "original_image", "target_text": "caption"}},
        "model": {"hub": "some/model"},
        "device": "cpu",
        "editors": [{"name": "sdedit", "params": {"steps": 1}, "grid": [1.0]}, {"name": "pipeline", "params": pipeline}],
        "metrics": [{"name": "clip", "params": {"model": "ViT-B-32", "pretrained": "openai"}}],
    }
    return content | changes


def size_of(folder: Path, *suffixes: str) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.suffix in suffixes)


@pytest.mark.slow
def test_all_is_told_with_its_size_then_brought_and_then_enough_without_a_hub(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(json.dumps(spec()))
    downloads = {download.role: download for download in wanted(Spec.model_validate(spec()))}
    read = (
        size_of(TOYBOX / "generator", ".safetensors", ".json", ".txt")
        - (TOYBOX / "generator" / "model_index.json").stat().st_size
    )
    assert downloads.keys() == {"model", "data set", "editor pipeline: checkpoint", "metric clip"}
    assert downloads["model"].size == downloads["editor pipeline: checkpoint"].size == read
    assert downloads["data set"].size == size_of(tmp_path / "set", ".parquet")
    assert downloads["metric clip"].size == 5000
    assert downloads["model"].place == f"some/model@{hub.commit(hub.root / 'models' / 'some' / 'model')}"

    refused = CliRunner().invoke(app, ["fetch", str(file)], input="n\n")
    assert refused.exit_code == 1
    assert "data set: some/set@" in refused.output
    assert "to fetch: " in refused.output
    assert not list((hub.cache / "hub").rglob("*.safetensors"))
    done = CliRunner().invoke(app, ["fetch", str(file), "--yes"], catch_exceptions=False)
    assert done.exit_code == 0
    asked = len(hub.requests)
    fake_hub.offline(monkeypatch)
    assert CliRunner().invoke(app, ["fetch", str(file)]).output.startswith("nothing to fetch: ")
    assert len(api.plan(Spec.model_validate(spec()))[0].units) == 2
    assert len(hub.requests) == asked


@pytest.mark.slow
def test_a_run_says_what_it_fetches_before_it_does(hub: FakeHub, tmp_path: Path) -> None:
    lines: list[str] = []

    def progress(what: str, total: int, done: int = 0) -> Any:
        class Display:
            def __enter__(self) -> Any:
                return lambda steps=1, note="": lines.append(f"{what}: {note}") if note else None

            def __exit__(self, *_: object) -> None:
                pass

        return Display()

    given = Spec.model_validate(spec(editors=spec()["editors"][:1], metrics=[metric("Distance")]))
    for _ in range(2):
        run = api.run(given, tmp_path / "run", options=Options(executor="inline"), progress=progress)
    assert [record.status for record in run.records(unit.key for unit in run.plan.units)] == ["done"]
    assert [line.partition("@")[0] for line in lines] == ["fetch: model: some/model", "fetch: data set: some/set"]


def test_what_the_hub_refuses_is_said_before_anything_is_brought(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("some/refused-set", tmp_path / "set", "datasets")
    with pytest.raises(ManifestError, match=r"access is refused \(403\)"):
        wanted(Spec.model_validate(spec(manifest={"hub": "some/refused-set"})))
    assert not list((hub.cache / "hub").rglob("*.safetensors"))


def test_a_spec_on_folders_and_toybox_fetches_nothing() -> None:
    own = spec(manifest="toybox-mini", model="toybox", editors=[{"name": "sdedit"}], metrics=["clip", "lpips", "fid"])
    assert wanted(Spec.model_validate(own)) == []
    assert whole([]).startswith("nothing to fetch")


def test_trunks_and_inception_come_from_their_libraries_with_the_digest_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What downloads is torch's own; that it is called with the right address, place and digest is all that can be seen offline."""
    called: list[tuple[str, str, str]] = []

    def download(url: str, file: str, hash_prefix: str) -> None:
        called.append((url, file, hash_prefix))
        Path(file).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (trunk,) = absent_weights(LPIPS, {"net": "squeeze"})
    assert trunk.size == pytest.approx(4.729 * 2**20, abs=1)  # rounded to a byte
    trunk.bring()
    assert called == [(trunk.place, str(tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"), "b8a52dc0")]
    assert absent_weights(LPIPS, {"net": "squeeze"}) == []
    assert absent_weights(LPIPS, {"net": "folder:/somewhere"}) == absent_weights(LPIPS, {"weights": "/own.pth"}) == []

    from metrics.frechet import FID

    (network,) = absent_weights(FID, {"features": f"inception:{tmp_path / inception.FILE}"})
    network.bring()
    assert called[1][1:] == (str(tmp_path / inception.FILE), "6726825d")
    assert called[1][0].endswith(f"/{inception.FILE}")
    assert absent_weights(FID, {"features": f"inception:{tmp_path / inception.FILE}"}) == []
    (clip,) = absent_weights(FID, {"features": "clip:ViT-B-32:openai"})
    assert clip.place == CLIP


def test_weights_that_come_damaged_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, file: str, hash_prefix: str) -> None:
        raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "0")')

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    own = spec(
        manifest="toybox-mini", model=None, editors=[{"name": "copy"}], metrics=[{"name": "lpips", "params": {"net": "alex"}}]
    )
    downloads = wanted(Spec.model_validate(own))
    assert [str(download) for download in downloads] == [
        "metric lpips: https://download.pytorch.org/models/alexnet-owt-7be5be79.pth, 244 MB"
    ]
    with pytest.raises(ScoreError, match=r"^weights cannot be fetched: invalid hash value .*; run again, or bring them by hand$"):
        bring(downloads, silent)


def test_sizes_in_words() -> None:
    assert [in_words(size) for size in (0, 5000, 4_270_000_000, 123_456_789, None)] == [
        "0 kB",
        "5 kB",
        "4.27 GB",
        "123 MB",
        "size unknown",
    ]
    downloads = [Download("model", "a/b@c", 10**9, int), Download("metric x", "d/e", None, int)]
    assert whole(downloads) == "to fetch: 1 GB, and 1 of unknown size"
