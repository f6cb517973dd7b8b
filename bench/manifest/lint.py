"""Everything that is wrong or odd in a manifest, all rows reported: what to mend before a run, what to know of its results."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.errors import ManifestError
from bench.manifest.lint_masks import Severity, mask_oddities, polarity
from bench.manifest.manifest import policy_of, source_id
from bench.manifest.pictures import RGB, Header, PictureError, PictureFile, Policy, read_header, read_mask, read_rgb
from bench.manifest.rows import Examined, SampleRow, examine
from bench.manifest.sources import as_ref, read_source
from bench.spec import ManifestRef
from editors.toolbox.pictures import Alpha

__all__ = ["Finding", "Severity", "lint"]

_SMALL, _LARGE = 32, 4096
"""Sides in pixels below and above which a picture is called tiny or huge."""
_MANY_WORDS = 60
"""More words than a CLIP text encoder can surely take: it reads 77 tokens."""
_SPELLING = 0.8
"""Likeness (difflib ratio) from which two words are taken for spellings of one: enterance and entrance, dog and dogs."""
_NEIGHBOURS = 10
"""How many texts on either side, in alphabetical order, a text about the same picture is compared with."""
_EXTENSIONS = {
    "PNG": {".png"},
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".mpo"},
    "WEBP": {".webp"},
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
    "PPM": {".ppm", ".pgm", ".pbm", ".pnm"},
}


@dataclass(frozen=True)
class Finding:
    """One thing to know. ``error``: a run refuses the manifest; ``warning``: probably a mistake; ``info``: worth knowing."""

    severity: Severity
    row: int | None
    """From 1, in a JSONL file the line; None for the manifest as a whole."""
    id: str | None
    field: str
    message: str


@dataclass(frozen=True)
class _Row:
    entry: SampleRow
    source_id: str


def lint(ref: str | Path | ManifestRef) -> list[Finding]:
    """All findings about a manifest, in the order of its rows and then those about the whole. Decodes every picture."""
    try:
        ref = as_ref(ref)
        source = read_source(ref, partial=True)
    except ManifestError as error:
        return [Finding("error", None, None, "", str(error))]
    if not source.rows:
        return [Finding("error", None, None, "", "empty; a manifest needs at least one sample")]
    findings: list[Finding] = []
    rows: list[_Row] = []
    policy = policy_of(ref, source)
    for examined in examine(source, policy):
        findings += _problems(examined)
        if examined.accepted:
            found, key = _pictures(examined.accepted, policy)
            findings += found
            findings += _texts(examined.accepted, policy.strip_brackets)
            if key:
                rows.append(_Row(examined.accepted, key))
    counted = [Finding("info", None, None, "", source.about)] if source.about else []
    return [*findings, *_missing([row.entry for row in rows]), *_repeated(rows), *counted]


def _problems(examined: Examined) -> list[Finding]:
    return [Finding("error", examined.row.number, examined.id, problem.field, problem.message) for problem in examined.problems]


def _finding(entry: SampleRow, severity: Severity, name: str, message: str) -> Finding:
    return Finding(severity, entry.row, entry.id, name, message)


def _pictures(entry: SampleRow, policy: Policy) -> tuple[list[Finding], str | None]:
    """Findings about the pictures of a row, and its source id, None when the picture cannot be decoded."""
    findings: list[Finding] = []
    decoded: dict[str, RGB] = {}
    for name, file in (("image", entry.image), ("mask", entry.mask), ("truth", entry.truth)):
        if file is None:
            continue
        try:
            header = read_header(file)
            if name == "mask":
                oddities = [*_file_oddities(file, header), *mask_oddities(file, header, policy)]
            else:
                decoded[name] = read_rgb(file, policy.alpha)
                oddities = list(_oddities(file, header, policy.alpha))
            findings += [_finding(entry, severity, name, message) for severity, message in oddities]
        except PictureError as error:
            findings.append(_finding(entry, "error", name, str(error)))
    if "image" not in decoded:
        return findings, None
    if "truth" in decoded:
        findings += _truth(entry, decoded["image"], decoded["truth"])
    return findings, source_id(decoded["image"])


def _truth(entry: SampleRow, source: RGB, truth: RGB) -> Iterator[Finding]:
    if source_id(source) == source_id(truth):
        yield _finding(entry, "warning", "truth", "the ground truth is the picture itself; nothing is edited")
    if entry.mask is None:
        return
    with suppress(PictureError):  # said already
        mask = read_mask(entry.mask)
        if mask.shape == source.shape[:2] == truth.shape[:2] and (message := polarity(mask, source, truth)):
            yield _finding(entry, "warning", "mask", message)


def _file_oddities(file: PictureFile, header: Header) -> Iterator[tuple[Severity, str]]:
    suffix = Path(file.label).suffix.lower()
    if suffix and suffix not in _EXTENSIONS.get(header.format, {suffix}):
        yield "warning", f"{file.label} is a {header.format} file by its content; it is read as such"
    if header.frames > 1:
        yield "warning", f"{file.label} has {header.frames} frames; the first is used"
    if header.turned:
        yield "info", f"{file.label} is turned upright by its EXIF orientation"


def _oddities(file: PictureFile, header: Header, alpha: Alpha) -> Iterator[tuple[Severity, str]]:
    yield from _file_oddities(file, header)
    if header.transparent:
        how = "transparent pixels are laid over white" if alpha == "white" else "its alpha channel is dropped"
        yield "warning", f"{file.label} has transparency ({header.mode}); {how}"
    elif header.mode != "RGB":
        yield "info", f"{file.label} has colour mode {header.mode}; it is converted to RGB"
    if min(header.width, header.height) < _SMALL:
        yield "warning", f"{file.label} is tiny, {header.size} pixels"
    if max(header.width, header.height) > _LARGE:
        yield "warning", f"{file.label} is huge, {header.size} pixels"
    if max(header.width, header.height) > 2 * min(header.width, header.height):
        yield "info", f"{file.label} is {header.size} pixels; the policy's fit decides what of it is seen"


def _texts(entry: SampleRow, strip_brackets: bool) -> list[Finding]:
    findings = []
    texts = {"target_text": entry.raw_target_text, "source_text": entry.source_text, "instruction": entry.instruction}
    for name, text in texts.items():
        for severity, message in _text_oddities(text or "", strip_brackets):
            findings.append(_finding(entry, severity, name, message))
    if entry.source_text is not None:
        if entry.source_text == entry.target_text:
            findings.append(_finding(entry, "warning", "target_text", "the same as the source text; nothing is asked for"))
        elif _plain(entry.source_text) == _plain(entry.target_text):
            message = "differs from the source text in case, spaces or punctuation only"
            findings.append(_finding(entry, "warning", "target_text", message))
    captions = {_plain(text) for text in (entry.target_text, entry.source_text) if text}
    if entry.instruction is not None and _plain(entry.instruction) in captions:
        message = "is one of the captions; an instruction is an order, such as 'make it snow'"
        findings.append(_finding(entry, "warning", "instruction", message))
    return findings


def _text_oddities(text: str, strip_brackets: bool) -> Iterator[tuple[Severity, str]]:
    if "[" in text or "]" in text:
        yield (
            ("info", "bracket markup, which is stripped")
            if strip_brackets
            else (
                "warning",
                "bracket markup goes to the editors as it is; set strip_brackets: true if it marks changed words",
            )
        )
    if "<" in text and ">" in text:
        yield "warning", "looks like HTML; it goes to the editors as it is"
    if text and (text != text.strip() or "  " in text):
        yield "info", "spaces at an end or double spaces"
    if not text.isprintable():
        yield "warning", "has control characters, such as a line break"
    if len(text.split()) > _MANY_WORDS:
        yield "warning", f"{len(text.split())} words; a CLIP text encoder reads 77 tokens and cuts the rest"


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def _missing(entries: list[SampleRow]) -> Iterator[Finding]:
    """What some rows have and others lack, and what none has."""
    optional: dict[str, tuple[Callable[[SampleRow], object], str]] = {
        "mask": (lambda entry: entry.mask, "editors that use one must find their own"),
        "source_text": (lambda entry: entry.source_text, "editors that need a source caption cannot run"),
        "instruction": (lambda entry: entry.instruction, "editors that follow instructions cannot run"),
        "truth": (lambda entry: entry.truth, "the oracle and the reference set 'truths' are not available"),
        "target_class": (lambda entry: entry.target_class, "class-conditional metrics are not available"),
        "category": (lambda entry: entry.category, "no tables by category"),
    }
    for name, (get, consequence) in optional.items():
        lacking = [entry for entry in entries if get(entry) is None]
        if entries and len(lacking) == len(entries):
            yield Finding("info", None, None, name, f"no row has it: {consequence}")
        else:
            for entry in lacking:
                yield _finding(entry, "warning", name, f"missing here, while other rows have it: {consequence}")


def _repeated(rows: list[_Row]) -> Iterator[Finding]:
    """Pictures and texts that are there more than once."""
    by_picture: dict[str, list[SampleRow]] = defaultdict(list)
    for row in rows:
        by_picture[row.source_id].append(row.entry)
    near = {entry.row: other for entries in by_picture.values() for entry, other in _near(entries)}
    by_text: dict[str, SampleRow] = {}
    for row in rows:
        entry, first = row.entry, by_picture[row.source_id][0]
        if first is not entry:
            yield _finding(
                entry, "info", "image", f"the same pixels as in row {first.row} (id '{first.id}'); they count as one cluster"
            )
        plain = _plain(entry.target_text)
        if entry.row in near:
            other = near[entry.row]
            message = f"nearly the text of row {other.row} (id '{other.id}') for the same picture: '{other.target_text}'"
            yield _finding(entry, "warning", "target_text", message)
        elif plain in by_text:
            other = by_text[plain]
            yield _finding(entry, "info", "target_text", f"the same text as in row {other.row} (id '{other.id}')")
        by_text.setdefault(plain, entry)


def _near(entries: list[SampleRow]) -> Iterator[tuple[SampleRow, SampleRow]]:
    """Rows about one picture, each with the first before it whose text is the same but for its spelling.

    A text is compared with its `_NEIGHBOURS` in alphabetical order, read forwards and backwards: with all, if they are few, and in any case
    with those that differ from it near an end. What that costs grows with the rows, not with their square.
    """
    texts = [_plain(entry.target_text) for entry in entries]
    first = {text: place for place, text in reversed(list(enumerate(texts)))}
    nearest = dict(first)
    for order in (sorted(first), sorted(first, key=lambda text: text[::-1])):
        for place, text in enumerate(order):
            for other in order[place + 1 : place + 1 + _NEIGHBOURS]:
                if _alike(text, other):
                    older, newer = sorted((text, other), key=first.__getitem__)
                    nearest[newer] = min(nearest[newer], first[older])
    return (
        (entry, entries[nearest[text]])
        for place, (entry, text) in enumerate(zip(entries, texts, strict=True))
        if nearest[text] < place
    )


def _alike(a: str, b: str) -> bool:
    """Whether two plain texts are the same but for the spelling of their words."""
    words_a, words_b = a.split(), b.split()
    return len(words_a) == len(words_b) and all(x == y or _one_word(x, y) for x, y in zip(words_a, words_b, strict=True))


@lru_cache(maxsize=65536)
def _one_word(a: str, b: str) -> bool:
    matcher = difflib.SequenceMatcher(None, a, b)
    return matcher.real_quick_ratio() >= _SPELLING and matcher.quick_ratio() >= _SPELLING and matcher.ratio() >= _SPELLING
