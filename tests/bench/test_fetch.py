"""What a spec would fetch, told with its size, and brought; from a hub on loopback, never from a network."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fake_hub
import open_clip
import pytest
import torch
from fake_hub import FakeHub
from fake_specs import metric
from fixtures_manifest import encoded, picture, write_parquet
from typer.testing import CliRunner

from bench import api
from bench.cli import app
from bench.commands.fetch import Download, _length, bring, in_words, wanted, whole
from bench.errors import ManifestError, ScoreError
from bench.progress import silent
from bench.spec import Spec
from bench.toybox.embedded import TOYBOX
from bench.workers.crew import Options
from metrics.base import MetricError
from metrics.clip import CLIPScore
from metrics.image_similarity import DINOImage
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


def noted(lines: list[str]) -> Any:
    """A progress display that keeps what it is told."""

    @contextmanager
    def progress(what: str, total: int, done: int = 0) -> Iterator[Any]:
        yield lambda steps=1, note="": lines.append(f"{what}: {note}") if note else None

    return progress


@pytest.fixture
def tiny_clip(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A tag of open_clip whose weights and whose tokenizer the hub has: ToyBox's judge."""
    config = json.loads((TOYBOX / "judge" / "open_clip_config.json").read_text())["model_cfg"]
    config["text_cfg"] |= {"hf_tokenizer_name": "some/tokens"}
    published = {"hf_hub": "some/tiny-clip/", "quick_gelu": config.get("quick_gelu", False)}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny", config)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", {"published": published})
    (tmp_path / "tokens").mkdir()
    for file in (TOYBOX / "judge").iterdir():
        if file.name != "open_clip_config.json" and file.suffix in (".json", ".txt"):
            shutil.copy(file, tmp_path / "tokens")
    hub.add("some/tiny-clip", TOYBOX / "judge")
    hub.add("some/tokens", tmp_path / "tokens")
    return "Tiny", "published"


def test_a_tag_of_open_clip_is_fetched_with_its_tokenizer_and_then_opened_without_the_hub(
    hub: FakeHub, tiny_clip: tuple[str, str]
) -> None:
    name, tag = tiny_clip
    with pytest.raises(MetricError, match=r"weights 'published' of Tiny are not on this machine; `etabench fetch SPEC` brings"):
        CLIPScore(name, tag)
    assert hub.requests == [], "a metric asks nobody"
    given = {"name": "clip", "params": {"model": name, "pretrained": tag}}
    own = Spec.model_validate(spec(manifest="toybox-mini", model=None, editors=[{"name": "copy"}], metrics=[given]))
    found = {download.place: download.size for download in wanted(own)}
    weights = (TOYBOX / "judge" / "open_clip_model.safetensors").stat().st_size
    assert found == {"some/tiny-clip": weights, "some/tokens": size_of(hub.root / "models" / "some" / "tokens", ".json", ".txt")}
    bring(wanted(own), silent)
    assert wanted(own) == []
    hub.down, asked = True, len(hub.requests)
    opened, embedded = CLIPScore(name, tag), CLIPScore(f"local-dir:{TOYBOX / 'judge'}")
    assert opened.card.weights == embedded.card.weights
    assert len(hub.requests) == asked, "what is here is opened without a question, so that no branch moves a score"


def test_an_address_tells_how_much_lies_behind_it(hub: FakeHub, tiny_clip: tuple[str, str]) -> None:
    file = TOYBOX / "judge" / "open_clip_model.safetensors"
    assert _length(f"{hub.url}/some/tiny-clip/resolve/main/{file.name}") == file.stat().st_size
    assert _length(f"{hub.url}/some/down-clip/resolve/main/{file.name}") is None
    assert _length("http://127.0.0.1:9/x") is None


def test_weights_that_are_here_stay_when_their_branch_moves(hub: FakeHub, tiny_clip: tuple[str, str], tmp_path: Path) -> None:
    """A run that is continued would else be scored with other networks than it began with."""
    (tmp_path / "dino").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "dino" / name).write_bytes(b"{}")
    hub.add("some/moving-dino", tmp_path / "dino")
    (absent,) = absent_weights(DINOImage, {"net": "hub:some/moving-dino"})
    absent.bring()
    asked = len(hub.requests)
    assert absent_weights(DINOImage, {"net": "hub:some/moving-dino"}) == []
    assert len(hub.requests) == asked
    (again,) = absent_weights(DINOImage, {"net": "hub:some/moving-dino@v2"})
    assert again.place == "some/moving-dino"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("some/gated-clip", r"it is gated \(401\): accept its terms"),
        ("some/missing-clip", "there is no model repository of that name"),
        ("some/dropped-clip", r"the connection to http://127\S+ fails"),
        ("some/down-clip", r"http://127\S+ answers 503; try again later"),
    ],
)
def test_weights_that_the_hub_does_not_give_are_one_line(
    hub: FakeHub, tiny_clip: tuple[str, str], monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", {"published": {"hf_hub": f"{name}/"}})
    if "missing" not in name:
        hub.add(name, TOYBOX / "judge")
    given = {"name": "clip", "params": {"model": tiny_clip[0], "pretrained": tiny_clip[1]}}
    own = spec(manifest="toybox-mini", model=None, editors=[{"name": "copy"}], metrics=[given])
    with pytest.raises(ScoreError, match=message) as caught:
        bring(wanted(Spec.model_validate(own)), silent)
    assert str(caught.value).startswith(f"weights cannot be fetched: {name}: ")
    assert "\n" not in str(caught.value)


def test_a_dry_run_says_what_it_would_fetch_and_fetches_nothing(
    hub: FakeHub, tmp_path: Path, etabench: Callable[..., tuple[int, str, str]]
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(json.dumps(spec()))
    code, out, _ = etabench("run", file, "--out", tmp_path / "run", "--dry-run")
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "model",
        "data set",
        "editor pipeline",
        "metric clip",
        "to fetch",
        "the plan and its hours can be told once it is here",
    ]
    assert not list((hub.cache / "hub").rglob("*.safetensors"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_says_what_it_fetches_before_it_does(hub: FakeHub, tmp_path: Path, tiny_clip: tuple[str, str]) -> None:
    lines: list[str] = []
    clip = {"name": "clip", "params": {"model": tiny_clip[0], "pretrained": tiny_clip[1]}}
    given = Spec.model_validate(spec(editors=spec()["editors"][:1], metrics=[metric("Distance"), clip]))
    for _ in range(2):
        run = api.run(given, tmp_path / "run", options=Options(executor="inline"), progress=noted(lines))
    assert [record.status for record in run.records(unit.key for unit in run.plan.units)] == ["done"]
    assert [re.split("[@,]", line)[0] for line in lines] == [
        "fetch: model: some/model",
        "fetch: data set: some/set",
        "fetch: metric clip: some/tiny-clip",
        "fetch: metric clip: some/tokens",
    ]


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
