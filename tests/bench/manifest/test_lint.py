from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_copies import write_json, write_picture
from fixtures_manifest import encoded, huge_png, mask, picture, row, write_folder, write_tedbench
from PIL import Image

from bench.manifest import lint_texts as module
from bench.manifest.lint import Finding, lint
from bench.spec import ManifestRef


def found(findings: list[Finding], row: int | None, field: str, severity: str) -> list[str]:
    return [f.message for f in findings if (f.row, f.field, f.severity) == (row, field, severity)]


def one(findings: list[Finding], row: int | None, field: str, severity: str) -> str:
    messages = found(findings, row, field, severity)
    assert len(messages) == 1, findings
    return messages[0]


def test_a_good_manifest_has_no_findings(tmp_path: Path) -> None:
    assert lint(write_folder(tmp_path / "m", [row(0), row(1), row(2)])) == []


def test_every_bad_row_is_reported(tmp_path: Path) -> None:
    lines: list[Any] = [
        row(0, target_text=""),
        "{broken",
        row(1, id="sample-0", source_text=3, oops=1),
        row(2, file_name="gone.png"),
        row(2, id="truncated", file_name="truncated.png"),
        row(2, id="bomb", file_name="bomb.png"),
    ]
    target = write_folder(tmp_path / "m", lines)
    (target / "truncated.png").write_bytes(encoded(picture(8))[:900])
    (target / "bomb.png").write_bytes(huge_png())
    findings = [f for f in lint(target) if f.severity == "error"]
    assert [(f.row, f.id, f.field) for f in findings] == [
        (1, "sample-0", "target_text"),
        (2, None, ""),
        (3, "sample-0", "oops"),
        (3, "sample-0", "id"),
        (3, "sample-0", "source_text"),
        (4, "sample-2", "file_name"),
        (5, "truncated", "image"),
        (6, "bomb", "file_name"),
    ]
    assert "duplicate of the one in line 1" in findings[3].message
    assert "truncated" in findings[6].message


@pytest.mark.parametrize("data", ["", "nothing\n"])
def test_a_manifest_that_cannot_be_read_is_a_finding(tmp_path: Path, data: str) -> None:
    file = tmp_path / "x.jsonl"
    assert [f.severity for f in lint(file)] == ["error"]
    file.write_text(data)
    assert {f.severity for f in lint(file)} == {"error"}


def odd(tmp_path: Path, name: str, data: bytes) -> list[Finding]:
    """Findings for a manifest of which row 2 has this picture, and a mask of its size."""
    target = write_folder(tmp_path / "m", [row(0), row(1, file_name=name, mask_file_name="m.png", truth_file_name=None), row(2)])
    (target / name).write_bytes(data)
    with Image.open(target / name) as image:
        mask(*image.size).save(target / "m.png")
    return lint(target)


def test_extension_and_content_disagree(tmp_path: Path) -> None:
    message = one(odd(tmp_path, "x.png", encoded(picture(5), "JPEG")), 2, "image", "warning")
    assert message == "x.png is a JPEG file by its content; it is read as such"


def test_transparency(tmp_path: Path) -> None:
    data = encoded(picture(5).convert("RGBA"))
    assert "transparency (RGBA); transparent pixels are laid over white" in one(
        odd(tmp_path, "x.png", data), 2, "image", "warning"
    )


def test_other_colour_modes(tmp_path: Path) -> None:
    assert "colour mode L" in one(odd(tmp_path, "x.png", encoded(picture(5).convert("L"))), 2, "image", "info")


def test_tiny_and_huge(tmp_path: Path) -> None:
    assert "tiny, 16x16" in one(odd(tmp_path / "a", "x.png", encoded(picture(5, 16, 16))), 2, "image", "warning")
    assert "huge, 4200x40" in one(odd(tmp_path / "b", "x.png", encoded(picture(5, 4200, 40))), 2, "image", "warning")


def test_long_shapes(tmp_path: Path) -> None:
    assert "the policy's fit decides" in one(odd(tmp_path, "x.png", encoded(picture(5, 100, 40))), 2, "image", "info")


def test_animations(tmp_path: Path) -> None:
    data = encoded(picture(5), "GIF", save_all=True, append_images=[picture(6)])
    assert "2 frames" in one(odd(tmp_path, "x.gif", data), 2, "image", "warning")


def test_turned_pictures(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 3
    assert "turned upright" in one(odd(tmp_path, "x.jpg", encoded(picture(5), "JPEG", exif=exif)), 2, "image", "info")


def test_masks_without_edge(tmp_path: Path) -> None:
    target = write_folder(tmp_path / "m", [row(0), row(1), row(2)])
    Image.new("L", (40, 40), 0).save(target / "0-mask.png")
    Image.new("L", (40, 40), 255).save(target / "1-mask.png")
    findings = lint(target)
    assert "nothing may be edited" in one(findings, 1, "mask", "warning")
    assert "scores of the background are undefined" in one(findings, 2, "mask", "info")


def test_missing_here_and_missing_everywhere(tmp_path: Path) -> None:
    findings = lint(
        write_folder(tmp_path / "m", [row(i, truth_file_name=None, **({"source_text": None} if i else {})) for i in range(3)])
    )
    assert "no row has it" in one(findings, None, "truth", "info")
    assert "missing here" in one(findings, 2, "source_text", "warning")
    assert "missing here" in one(findings, 3, "source_text", "warning")
    assert len(findings) == 3


@pytest.mark.parametrize(
    ("text", "severity", "message"),
    [
        ("a [zebra] on a hill", "warning", "bracket markup"),
        ("a <b>zebra</b>", "warning", "looks like HTML"),
        ("a zebra ", "info", "spaces at an end"),
        ("a\nzebra", "warning", "control characters"),
        ("very " * 70 + "long", "warning", "71 words"),
        ("a horse on hill number 0", "warning", "the same as the source text"),
        ("A horse, on hill number 0.", "warning", "in case, spaces or punctuation only"),
    ],
)
def test_odd_texts(tmp_path: Path, text: str, severity: str, message: str) -> None:
    findings = lint(write_folder(tmp_path / "m", [row(0, target_text=text), row(1)]))
    assert message in one(findings, 1, "target_text", severity)
    assert len(findings) == 1


def test_an_instruction_is_an_order_not_a_caption(tmp_path: Path) -> None:
    lines = [row(0, instruction="A zebra on hill number 0."), row(1, instruction=None), row(2, instruction="make  it snow ")]
    findings = lint(write_folder(tmp_path / "m", lines))
    assert "is one of the captions" in one(findings, 1, "instruction", "warning")
    assert "missing here" in one(findings, 2, "instruction", "warning")
    assert "spaces at an end" in one(findings, 3, "instruction", "info")
    assert len(findings) == 3


def test_stripped_brackets_are_only_mentioned(tmp_path: Path) -> None:
    target = write_folder(tmp_path / "m", [row(0, target_text="a [zebra]")])
    assert "which is stripped" in one(lint(ManifestRef(path=str(target), strip_brackets=True)), 1, "target_text", "info")


def test_brackets_in_the_source_text(tmp_path: Path) -> None:
    assert "bracket" in one(lint(write_folder(tmp_path / "m", [row(0, source_text="a [horse]")])), 1, "source_text", "warning")


def test_repeated_pictures_and_texts(tmp_path: Path) -> None:
    lines = [
        row(0, target_text="the entrance of a house"),
        row(1, file_name="0.png", target_text="The enterance of a house."),
        row(2, file_name="0.png", target_text="the entrance of a horse"),
        row(1, id="elsewhere", target_text="The entrance of a house"),
    ]
    findings = lint(write_folder(tmp_path / "m", lines))
    assert "the same pixels as in row 1 (id 'sample-0')" in one(findings, 2, "image", "info")
    assert "nearly the text of row 1 (id 'sample-0') for the same picture" in one(findings, 2, "target_text", "warning")
    assert "the same text as in row 1 (id 'sample-0')" in one(findings, 4, "target_text", "info")
    assert not found(findings, 4, "image", "info")


def test_different_edits_of_one_picture_are_not_alike(tmp_path: Path) -> None:
    lines = [
        row(0, target_text="a red apple on a wooden table"),
        row(1, file_name="0.png", target_text="a green apple on a wooden table"),
    ]
    assert not [f for f in lint(write_folder(tmp_path / "m", lines)) if f.field == "target_text"]


def near(findings: list[Finding]) -> dict[int | None, str]:
    """Row to the row whose text is nearly its own."""
    return {f.row: f.message.split(" of row ")[1].split(" ")[0] for f in findings if "nearly the text" in f.message}


def test_a_text_that_is_there_more_than_twice_is_nearly_the_first(tmp_path: Path) -> None:
    texts = ("dogs on a hill", "a cat", "a dog on a hill", "dog on a hill", "A cat.", "dogs on a hills", "a cat")
    lines = [row(0, id=f"s{i}", target_text=text) for i, text in enumerate(texts)]
    assert near(lint(write_folder(tmp_path / "m", lines))) == {4: "1", 5: "2", 6: "1", 7: "2"}


def test_many_texts_about_one_picture_cost_no_square(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip near an end of a text is found among hundreds; a text is compared with ten others from either end."""
    compared = []

    def counted(a: str, b: str) -> bool:
        compared.append((a, b))
        return alike(a, b)

    alike = module._alike
    monkeypatch.setattr(module, "_alike", counted)
    words = ["".join(chr(97 + (7 * i * i + 3 * i + i // 5**k) % 26) for k in range(6)) for i in range(300)]
    texts = [f"a {word} on the grass" for word in words]
    texts[200], texts[250] = "enterance of a house", "seen from far, a castle"
    texts += ["entrance of a house", "seen from far, a castel", texts[7]]
    lines = [row(0, id=f"s{i}", target_text=text) for i, text in enumerate(texts)]
    findings = near(lint(write_folder(tmp_path / "m", lines)))
    assert {301: "201", 302: "251", 303: "8"}.items() <= findings.items()
    assert len(compared) <= 2 * 10 * len(texts)


def test_a_truth_that_edits_nothing(tmp_path: Path) -> None:
    findings = lint(write_folder(tmp_path / "m", [row(0, truth_file_name="0.png")]))
    assert "the ground truth is the picture itself" in one(findings, 1, "truth", "warning")


def test_tedbench_s_known_oddities(tmp_path: Path) -> None:
    findings = lint(write_tedbench(tmp_path / "tedbench"))
    assert "transparency (RGBA)" in one(findings, 1, "image", "warning")
    assert "bird.png is a JPEG file by its content" in one(findings, 2, "image", "warning")
    assert "the same pixels as in row 2" in one(findings, 3, "image", "info")
    optional = {"mask", "source_text", "instruction", "truth", "target_class", "category"}
    assert {f.field for f in findings if f.row is None} == optional
    assert not [f for f in findings if f.severity == "error"]


def test_findings_are_plain_values(tmp_path: Path) -> None:
    target = write_folder(tmp_path / "m", [row(0, target_text="")])
    from dataclasses import asdict

    assert json.loads(json.dumps([asdict(f) for f in lint(target)]))[0]["row"] == 1
    assert np.unique([f.severity for f in lint(target)]).tolist() == ["error"]


@pytest.mark.parametrize("text", ["None", "n/a", " NULL ", "...", "caption"])
def test_a_text_that_nobody_wrote_is_a_placeholder(tmp_path: Path, text: str) -> None:
    findings = lint(write_folder(tmp_path / "m", [row(0, source_text=text), row(1, target_text="an image of nothing")]))
    assert any("says nothing; a placeholder?" in message for message in found(findings, 1, "source_text", "warning"))
    assert not found(findings, 2, "target_text", "warning")


def test_one_caption_of_many_pictures_is_a_placeholder(tmp_path: Path) -> None:
    def captioned(text: str, pictures: int) -> list[str]:
        lines = [row(i, id=f"s{i}", file_name=f"{i % pictures}.png") for i in range(6)]
        bare = [{key: line[key] for key in ("id", "file_name", "target_text")} | {"source_text": text} for line in lines]
        target = write_folder(tmp_path / f"{text}-{pictures}", bare, pictures)
        return found(lint(target), None, "source_text", "warning")

    (message,) = captioned("A train station in city.", 5)
    assert message == (
        "'A train station in city.' is the caption of 5 different pictures, first of row 1 (id 's0'); a placeholder?"
    )
    assert captioned("a train station in city", 4) == []
    assert captioned("golden retriever", 5) == [], "a class has a name"


def test_the_instruction_that_a_card_declares_is_said_once(tmp_path: Path) -> None:
    write_picture(tmp_path / "000.png", 0)
    write_json(tmp_path / "basic_edit.json", {"1": {"id": "000.png", "prompt": "Remove it", "edit_type": "remove"}})
    findings = lint(ManifestRef(benchmark="imgedit-bench", root=str(tmp_path)))
    assert not found(findings, 1, "instruction", "warning")
    message = one(findings, None, "target_text", "info")
    assert message == "the instruction stands in for a caption in 1 of 1 rows, as the card of the set says"
    lines = [row(0, target_text="Remove it", instruction="Remove it")]
    assert one(lint(write_folder(tmp_path / "own", lines)), 1, "instruction", "warning").startswith("is one of the captions")


def test_a_card_declares_by_split() -> None:
    from bench.manifest.benchmarks import _stands_in, benchmarks

    cards = {name: each.card for name, each in benchmarks().items()}
    assert [_stands_in(cards["magicbrush"], split) for split in ("dev", "test")] == [True, False]
    assert _stands_in(cards["gedit-bench"], "cn")
    assert not _stands_in(cards["pie-bench"], "v1")


def test_rows_of_two_scripts_about_one_picture(tmp_path: Path) -> None:
    lines = [
        row(0, instruction="paint it red"),
        row(1, file_name="0.png", instruction="\u628a\u5b83\u6d82\u6210\u7ea2\u8272", target_text="a red zebra"),
        row(2, file_name="0.png", instruction="paint it blue"),
        row(3, file_name="1.png", instruction="\u53d8\u7ea2"),
    ]
    findings = lint(write_folder(tmp_path / "m", lines, 4))
    message = one(findings, 2, "instruction", "warning")
    assert message.startswith("in CJK script, for the picture of row 1 (id 'sample-0'), which is in LATIN; a translation")
    assert [f.row for f in findings if "script" in f.message] == [2], "another picture is another edit"


def test_one_picture_in_two_clusters(tmp_path: Path) -> None:
    lines = [
        row(0, cluster="a"),
        row(1, file_name="0.png", cluster="b"),
        row(2, file_name="0.png", cluster="a"),
        row(3, file_name="0.png"),
    ]
    findings = lint(write_folder(tmp_path / "m", lines, 4))
    where = "the same pixels as in row 1 (id 'sample-0')"
    advice = "they count as independent; give them one cluster"
    assert one(findings, 2, "cluster", "warning") == f"{where}, which is in cluster 'a', this row in cluster 'b': {advice}"
    assert one(findings, 3, "image", "info") == f"{where}; they count as one cluster"
    assert "this row in no cluster of its own" in one(findings, 4, "cluster", "warning")
    assert not found(findings, 2, "image", "info")


def test_a_mask_of_the_border_alone(tmp_path: Path) -> None:
    target = write_folder(tmp_path / "m", [row(0), row(1)])
    ring = np.zeros((40, 40), dtype=np.uint8)
    ring[[0, -1]] = ring[:, [0, -1]] = 255
    Image.fromarray(ring).save(target / "0-mask.png")
    ring[20, 20] = 255
    Image.fromarray(ring).save(target / "1-mask.png")
    findings = lint(target)
    assert "marks nothing but pixels of the outermost ring" in one(findings, 1, "mask", "warning")
    assert not any("ring" in message for message in found(findings, 2, "mask", "warning"))


def test_run_lengths_of_the_wrong_base_show_by_the_area(tmp_path: Path) -> None:
    target = write_folder(tmp_path / "m", [row(0), row(1), row(2)])
    for number, place in ((0, (0, 0)), (1, (39, 39)), (2, (20, 20))):
        levels = np.full((40, 40), 255, dtype=np.uint8)
        levels[place] = 0
        Image.fromarray(levels).save(target / f"{number}-mask.png")
    findings = lint(target)
    for line, pixel in ((1, "first"), (2, "last")):
        assert f"marks every pixel but the {pixel} one, as where run lengths" in one(findings, line, "mask", "warning")
    assert not any("run lengths" in message for message in found(findings, 3, "mask", "warning"))
