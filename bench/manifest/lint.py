"""Everything that is wrong or odd in a manifest, all rows reported: what to mend before a run, what to know of its results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ManifestError
from bench.manifest.lint_masks import Severity, mask_oddities, polarity
from bench.manifest.lint_texts import near_texts, placeholders, plain, row_oddities, script_of
from bench.manifest.manifest import policy_of, source_id
from bench.manifest.pictures import RGB, Header, PictureError, PictureFile, Policy, read_header, read_mask, read_rgb
from bench.manifest.rows import Examined, SampleRow, examine
from bench.manifest.sources import as_ref, read_source
from bench.spec import ManifestRef
from editors.toolbox.pictures import Alpha

__all__ = ["Finding", "Severity", "lint"]

_SMALL, _LARGE = 32, 4096
"""Sides in pixels below and above which a picture is called tiny or huge."""
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
            for severity, name, message in row_oddities(examined.accepted, policy.strip_brackets, source.stands_in):
                findings.append(_finding(examined.accepted, severity, name, message))
            if key:
                rows.append(_Row(examined.accepted, key))
    counted = [Finding("info", None, None, "", source.about)] if source.about else []
    return [*findings, *_missing([row.entry for row in rows]), *_repeated(rows), *_whole(rows, source.stands_in), *counted]


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
    near = {entry.row: other for entries in by_picture.values() for entry, other in near_texts(entries)}
    by_text: dict[str, SampleRow] = {}
    for row in rows:
        entry, first = row.entry, by_picture[row.source_id][0]
        if first is not entry:
            yield _same_pixels(entry, first)
            yield from _translation(entry, first)
        text = plain(entry.target_text)
        if entry.row in near:
            other = near[entry.row]
            message = f"nearly the text of row {other.row} (id '{other.id}') for the same picture: '{other.target_text}'"
            yield _finding(entry, "warning", "target_text", message)
        elif text in by_text:
            other = by_text[text]
            yield _finding(entry, "info", "target_text", f"the same text as in row {other.row} (id '{other.id}')")
        by_text.setdefault(text, entry)


def _same_pixels(entry: SampleRow, first: SampleRow) -> Finding:
    """That a picture is that of an earlier row, and whether statistics know it."""
    where = f"the same pixels as in row {first.row} (id '{first.id}')"
    if entry.cluster == first.cluster:
        return _finding(entry, "info", "image", f"{where}; they count as one cluster")
    theirs, own = (f"cluster '{each.cluster}'" if each.cluster else "no cluster of its own" for each in (first, entry))
    message = f"{where}, which is in {theirs}, this row in {own}: they count as independent; give them one cluster"
    return _finding(entry, "warning", "cluster", message)


def _translation(entry: SampleRow, first: SampleRow) -> Iterator[Finding]:
    """That two rows about one picture are written in two scripts."""
    name = "instruction" if entry.instruction and first.instruction else "target_text"
    own, theirs = (script_of(getattr(each, name)) for each in (entry, first))
    if own and theirs and own != theirs:
        message = f"in {own} script, for the picture of row {first.row} (id '{first.id}'), which is in {theirs}"
        yield _finding(entry, "warning", name, f"{message}; a translation is the same edit twice: take one language")


def _whole(rows: list[_Row], stands_in: bool) -> Iterator[Finding]:
    """What texts are to the manifest as a whole."""
    standing = sum(row.entry.instruction == row.entry.target_text for row in rows)
    if stands_in and standing:
        message = f"the instruction stands in for a caption in {standing} of {len(rows)} rows, as the card of the set says"
        yield Finding("info", None, None, "target_text", message)
    for name, message in placeholders([(row.source_id, row.entry) for row in rows]):
        yield Finding("warning", None, None, name, message)
