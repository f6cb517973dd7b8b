"""What a manifest lacks is written beside it, may be edited, and says everywhere who wrote it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures_manifest import mask, picture, row, write_folder
from numpy.typing import NDArray

from bench import api
from bench.commands.report import report_data
from bench.errors import ManifestError, ModelError
from bench.manifest import open_manifest
from bench.manifest.sidecar import read_sidecar
from bench.sidecars import Captioner, Segmenter, Writer, opened, write
from bench.sidecars.networks import Folder
from bench.spec import ManifestRef, Spec
from bench.workers.crew import Options

BARE = {"source_text": None, "mask_file_name": None}
Command = Callable[..., tuple[int, str, str]]


class Says:
    """A writer of captions that counts what it was shown; it fails on what it is told to."""

    field, by, prompt = "source_text", "caption", ""

    def __init__(self, fails: int = -1, digest: str = "abc", error: BaseException | None = None) -> None:
        self.folder, self.seen, self.fails = Folder("says", Path("says"), digest), 0, fails
        self.error = error or ModelError("is blind")

    def __call__(self, picture: NDArray[np.uint8], **texts: str | None) -> str:
        self.seen += 1
        if self.seen == self.fails:
            raise self.error
        return f"picture of {picture.mean():.3f}, not {texts['target_text']}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three samples, the second with a caption of its own."""
    return write_folder(tmp_path / "manifest", [row(0, **BARE), row(1, mask_file_name=None), row(2, **BARE)])


def beside(folder: Path, file: Path) -> Any:
    return open_manifest(ManifestRef(path=str(folder), sidecar=str(file)))


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def edit(file: Path, number: int, **changes: Any) -> None:
    rows = lines(file)
    rows[number] |= changes
    file.write_text("".join(f"{json.dumps(each)}\n" for each in rows), encoding="utf-8")


def test_captions_fill_what_is_missing_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    file, writer = tmp_path / "captions.jsonl", Says()
    assert str(write(writer, open_manifest(folder), file)) == "2 written, 0 kept, 1 samples have their own"
    bare, filled = open_manifest(folder), beside(folder, file)
    first, second, third = filled
    assert first.source_text.startswith("picture of ")
    assert second.source_text == "a horse on hill number 1"
    assert first.provenance == third.provenance == {"source_text": "says (abc)"}
    assert second.provenance == {}
    assert [one == two for one, two in zip(map(bare.digest, range(3)), map(filled.digest, range(3)), strict=True)] == [
        False,
        True,
        False,
    ]
    assert filled.about == f"source_text of 2 of 3 samples from a sidecar by says (abc); sidecar {read_sidecar(file).content}"


def test_what_is_there_is_kept_and_failures_have_no_row(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "captions.jsonl"
    written = write(Says(fails=2), open_manifest(folder), file)
    assert str(written) == "1 written, 0 kept, 1 samples have their own, 1 without: sample 'sample-2': is blind"
    assert "1 still without" in beside(folder, file).about
    again = Says()
    assert str(write(again, open_manifest(folder), file)) == "1 written, 1 kept, 1 samples have their own"
    assert again.seen == 1
    with pytest.raises(ManifestError, match=r"is a sidecar of another digest \(abc, now other\); choose another --out"):
        write(Says(digest="other"), open_manifest(folder), file)


def test_an_interruption_loses_one_row_at_most(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "captions.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write(Says(fails=2, error=KeyboardInterrupt()), open_manifest(folder), file)
    with file.open("ab") as stream:
        stream.write(b'{"id": "sample-2", "pic')
    again = Says()
    assert str(write(again, open_manifest(folder), file)) == "1 written, 1 kept, 1 samples have their own"
    assert [each.get("id") for each in lines(file)] == [None, "sample-0", "sample-2"]


def test_edited_and_added_rows_are_told(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "captions.jsonl"
    write(Says(), open_manifest(folder), file, limit=1)
    edit(file, 1, source_text="a horse")
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"id": "sample-2", "source_text": "mine"}))
    manifest = beside(folder, file)
    assert [sample.source_text for sample in manifest] == ["a horse", "a horse on hill number 1", "mine"]
    assert manifest.load(0).provenance == {"source_text": "says (abc), edited by a person"}
    assert "2 edited by a person" in manifest.about
    assert str(write(Says(), open_manifest(folder), file)) == "0 written, 2 kept, 1 samples have their own", (
        "a person's row stays"
    )


def test_provenance_reaches_plan_records_and_report(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "captions.jsonl"
    write(Says(), open_manifest(folder), file)
    content = {
        "name": "test",
        "manifest": {"path": str(folder), "sidecar": str(file)},
        "device": "cpu",
        "editors": ["copy"],
        "metrics": ["mse", "psnr"],
    }
    run = api.run(Spec.model_validate(content), tmp_path / "run", options=Options(executor="inline"))
    api.score(run)
    told = {"source_text": "says (abc)"}
    assert [sample.provenance for sample in run.plan.samples] == [told, {}, told]
    records = [run.record(unit.key) for unit in run.plan.units]
    assert [record.provenance for record in records if record] == [told, {}, told]
    assert run.sample(run.plan.samples[0]).provenance == told
    data = report_data(run)
    assert data.warnings[0] == "source_text of 2 of 3 samples is from a sidecar: says (abc)."
    assert "from a sidecar by says (abc)" in data.meta["manifest"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"picture": "0" * 16}, r"\(id 'sample-0'\): was written for another picture"),
        ({"source_text": 3}, r"\(id 'sample-0'\): source_text: expected a text, got"),
        ({"id": "sample-9"}, "a row for 'sample-9', which is no sample; did you mean"),
        ({"id": "sample-2"}, "line 3: id: expected one of its own"),
    ],
)
def test_a_row_that_does_not_fit_is_named(folder: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    file = tmp_path / "captions.jsonl"
    write(Says(), open_manifest(folder), file)
    edit(file, 1, **changes)
    with pytest.raises(ManifestError, match=f"captions.jsonl.* ?{said}"):
        beside(folder, file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "expected a first line with sidecar: 1"),
        ('{"id": 1}', "expected a first line"),
        ("{", "line 1: not JSON"),
        ("[]", "line 1: expected a mapping"),
    ],
)
def test_what_is_no_sidecar_is_refused(folder: Path, tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(ManifestError, match=said):
        beside(folder, tmp_path / "x.jsonl")
    with pytest.raises(ManifestError, match="no sidecar can be read there"):
        beside(folder, tmp_path / "nowhere.jsonl")


def test_masks_lie_beside_and_a_repainted_one_is_told(folder: Path, tmp_path: Path) -> None:
    class Left(Says):
        field, by = "mask", "segment"

        def __call__(self, picture: NDArray[np.uint8], **texts: str | None) -> Any:
            found = np.zeros(picture.shape[:2], dtype=np.bool_)
            found[:, :7] = True
            return found

    file, writer = tmp_path / "masks.jsonl", Left()
    assert isinstance(writer.folder, Folder)
    assert str(write(writer, open_manifest(folder), file)).startswith("3 written")
    first = beside(folder, file).load(0)
    assert first.mask[:, :7].all()
    assert not first.mask[:, 7:].any()
    assert first.provenance == {"mask": "says (abc)"}
    mask().save(tmp_path / "masks" / "00002.png")
    assert beside(folder, file).load(1).provenance == {"mask": "says (abc), edited by a person"}
    mask(20, 20).save(tmp_path / "masks" / "00001.png")
    with pytest.raises(ManifestError, match=r"\(id 'sample-0'\): mask: expected the size of the picture, 40x40, got 20x20"):
        beside(folder, file)
    edit(file, 1, mask="../manifest/0.png")
    with pytest.raises(ManifestError, match="leaves the sidecar's folder"):
        beside(folder, file)


def test_a_captioner_continues_its_prompt(blip: Path) -> None:
    plain, led = Captioner(opened(str(blip))), Captioner(opened(str(blip)), "a photo of")
    image = np.asarray(picture(0))
    assert plain(image) == plain(image) != ""
    assert led(image).startswith("a photo of ")
    assert plain.folder.digest == led.folder.digest
    assert len(plain.folder.digest) == 64
    writer: Writer = plain
    assert (writer.field, writer.by) == ("source_text", "caption")


def test_another_network_has_another_digest(blip: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(blip, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"note": 1}))
    assert opened(str(other)).digest != opened(str(blip)).digest


def test_a_segmenter_finds_what_the_phrase_names(clipseg: Path) -> None:
    import torch
    from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

    image = np.array(picture(1, 48, 40))
    find = Segmenter(opened(str(clipseg)), "the {source_class}", threshold=0.0)
    assert find(image, source_class="cat").all()
    model, processor = CLIPSegForImageSegmentation.from_pretrained(clipseg), CLIPSegProcessor.from_pretrained(clipseg)
    with torch.no_grad():
        logits = model(**processor(text=["the cat"], images=[image], return_tensors="pt")).logits.reshape(1, 1, 32, 32)
    chance = torch.nn.functional.interpolate(logits, (40, 48), mode="bilinear").sigmoid()[0, 0].numpy()
    half = float(np.median(chance))
    found = Segmenter(opened(str(clipseg)), "the {source_class}", threshold=half)(image, source_class="cat")
    assert found.shape == (40, 48)
    assert np.array_equal(found, chance >= half)
    with pytest.raises(ModelError, match="the sample has no source_class"):
        find(image, source_class=None)
    with pytest.raises(ModelError, match=r"it may name \{source_class}"):
        Segmenter(opened(str(clipseg)), "the {klass}")(image, source_class="cat")
    with pytest.raises(ModelError, match="found no 'the cat' from a probability of 1 on"):
        Segmenter(opened(str(clipseg)), "the {source_class}", threshold=1.0)(image, source_class="cat")


def test_folders_that_are_none_are_refused(blip: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(blip, tmp_path / "bare"))
    (bare / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"bare: holds no .safetensors"):
        opened(str(bare))
    with pytest.raises(ModelError, match=r"is not a readable CLIPSegForImageSegmentation folder|lacks"):
        Segmenter(opened(str(blip)))


def test_the_commands_write_and_continue(etabench: Command, folder: Path, blip: Path, clipseg: Path, tmp_path: Path) -> None:
    file, masks = tmp_path / "captions.jsonl", tmp_path / "masks.jsonl"
    code, said, _ = etabench("caption", folder, "--model", blip, "--out", file, "--device", "cpu", "--prompt", "a photo of")
    assert (code, said.strip()) == (0, f"{file}: 2 written, 0 kept, 1 samples have their own")
    assert lines(file)[0]["model"] == blip.name
    spec = tmp_path / "mine.yaml"
    spec.write_text(f"name: mine\nmanifest: {{path: {folder}, sidecar: captions.jsonl}}\neditors: [copy]\nmetrics: [mse]\n")
    assert all(sample.source_text for sample in open_manifest(api.open_spec(spec).manifest))
    code, said, _ = etabench(
        "segment", spec, "--model", clipseg, "--out", masks, "--device", "cpu", "--threshold", "0", "--limit", "2"
    )
    assert (code, said.strip()) == (0, f"{masks}: 2 written, 0 kept, 0 samples have their own")
    code, said, _ = etabench("segment", folder, "--model", clipseg, "--out", masks, "--device", "cpu", "--phrase", "{nothing}")
    assert code == 2
    code, _, said = etabench("caption", folder, "--model", tmp_path / "nowhere", "--out", file)
    assert code == 2
    assert "no such folder" in said
