"""What the hub does wrong, and what becomes of it: one line each, and nothing half loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import fake_hub
import pytest
from fake_hub import FakeHub

from editors.toolbox.checkpoint import CheckpointError, digest, locate, locate_network, model_repository, origin
from editors.toolbox.hub import Repository, pinning


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    with fake_hub.on_loopback(tmp_path) as hub:
        yield hub


@pytest.mark.parametrize("name", ["some/model", "some/flaky-model"])
def test_a_model_is_fetched_with_what_is_read_of_it_and_its_commit(
    hub: FakeHub, tiny_folder: Path, tmp_path: Path, name: str
) -> None:
    source = Path(shutil.copytree(tiny_folder, tmp_path / "source"))
    (source / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"another variant")
    place = hub.add(name, source)
    found = model_repository(name)
    assert found is not None
    assert found.revision == hub.commit(place)
    size = found.missing()
    folder = locate(name)
    assert digest(folder) == digest(tiny_folder)
    assert not list(folder.rglob("*.fp16.*"))
    assert origin(folder) == f"{name}@{hub.commit(place)[:12]}"
    files = [
        file for file in folder.rglob("*") if file.is_file() and file.name != "model_index.json"
    ]  # that one was here already
    assert size == sum(file.stat().st_size for file in files)
    assert found.missing() == 0
    asked = len(hub.requests)
    assert locate(str(found)) == folder
    assert len(hub.requests) == asked, "a commit does not move, and all of it is here"


def test_a_branch_means_one_commit_within_a_plan(hub: FakeHub, tiny_folder: Path) -> None:
    hub.add("some/moving-model", tiny_folder)
    with pinning() as pins:
        first, second = Repository("some/moving-model").pinned(), Repository("some/moving-model").pinned()
    assert first == second
    assert pins == {"model some/moving-model@main": first.revision}
    assert Repository("some/moving-model").pinned() != first
    with pinning(pins) as again:
        assert Repository("some/moving-model").pinned() == first
        assert again == pins
        assert locate("some/moving-model").name == first.revision


LINES = {
    "some/gated-model": r"it is gated \(401\): accept its terms at http://127\S+/some/gated-model and log in with `hf auth login`",
    "some/refused-model": r"access is refused \(403\): accept its terms at \S+ and log in",
    "some/missing-model": r"there is no model repository of that name \(404\); mend it, or, if it is private, log in",
    "some/down-model": r"http://127\S+ answers 503; try again later",
    "some/dropped-model": r"the connection to http://127\S+ fails \(RemoteProtocolError: .*\); run again, what was fetched is kept",
    "some/model@v9": r"it has no revision 'v9'; name a branch, a tag or a commit of http://127\S+/some/model",
    "some/mo del": r"not a hub id of the form owner/name",
    "some/empty-model": r"its revision [0-9a-f]{40} lacks model_index\.json",
}


@pytest.mark.parametrize("name", LINES)
def test_each_failure_is_one_line_that_says_what_to_do(hub: FakeHub, tiny_folder: Path, tmp_path: Path, name: str) -> None:
    served = name.partition("@")[0]
    if "missing" not in name:
        (tmp_path / "nothing").mkdir()
        (tmp_path / "nothing" / "README.md").touch()
        hub.add(served, tmp_path / "nothing" if "empty" in name else tiny_folder)
    with pytest.raises(CheckpointError, match=LINES[name]) as caught:
        locate(name)
    assert str(caught.value).startswith(f"{served}: not a local folder, and the hub does not give it: ")
    assert "\n" not in str(caught.value)


def test_no_network_at_all_is_said_too(hub: FakeHub, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("some/model", tiny_folder)
    monkeypatch.setattr(fake_hub.hf_api.api, "endpoint", "http://127.0.0.1:9")
    monkeypatch.setattr(fake_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # the port that discards
    with pytest.raises(CheckpointError, match=r"the connection to http://127.0.0.1:9 fails \(ConnectError: .*\); run again"):
        locate("some/model")


def test_a_fetch_that_broke_off_is_never_taken_for_whole(
    hub: FakeHub, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = hub.add("some/dropped-model", tiny_folder)
    with pytest.raises(CheckpointError, match="the connection"):
        locate("some/dropped-model")
    with monkeypatch.context() as patch:
        fake_hub.offline(patch)
        with pytest.raises(CheckpointError, match=r"some/dropped-model: not a local folder") as caught:
            locate("some/dropped-model")
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(fake_hub, "LARGE", 2**30)  # the line holds again
    fake_hub.huggingface_hub.close_session()
    assert digest(locate("some/dropped-model")) == digest(tiny_folder)
    assert hub.commit(place) == locate("some/dropped-model").name


def test_offline_a_warm_cache_serves_and_a_cold_one_is_said(
    hub: FakeHub, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("some/model", tiny_folder)
    folder = locate("some/model")
    asked = len(hub.requests)
    fake_hub.offline(monkeypatch)
    assert locate("some/model") == folder
    with pytest.raises(
        CheckpointError, match=r"some/other: .* it is not in \S+, and HF_HUB_OFFLINE is set; unset it, or give a folder"
    ):
        locate("some/other")
    assert len(hub.requests) == asked


def test_a_warm_cache_outlives_the_hub_and_the_repository(hub: FakeHub, tiny_folder: Path) -> None:
    place = hub.add("some/model", tiny_folder)
    folder = locate("some/model")
    hub.down = True
    assert locate("some/model") == folder, "the commit of the last look"
    hub.down = False
    place.unlink()
    with pytest.raises(CheckpointError, match="no model repository of that name"):
        locate("some/model")
    assert locate(f"some/model@{folder.name}") == folder


def test_the_first_of_several_that_the_hub_gives_is_taken(hub: FakeHub, tiny_folder: Path, controlnet_folder: Path) -> None:
    hub.add("some/gated-model", tiny_folder)
    hub.add("other/model", tiny_folder)
    assert origin(locate("gone/missing, some/gated-model, other/model")).startswith("other/model@")
    with pytest.raises(CheckpointError, match=r"gone/missing: .*404.*; some/gated-model: .*401"):
        locate("gone/missing, some/gated-model")
    hub.add("some/network", controlnet_folder)
    assert origin(locate_network("gone/missing, some/network", "controlnet", "a network")).startswith("some/network@")
    with pytest.raises(CheckpointError, match=r"^controlnet: gone/missing: .*404.*; it takes a network"):
        locate_network("gone/missing", "controlnet", "a network")
