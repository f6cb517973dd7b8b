from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unicodedata import normalize

import pytest

from editors.toolbox.files import find_file, text_of

NAME = "Zoë à la plage.png"
COMPOSED, APART = normalize("NFC", NAME), normalize("NFD", NAME)


@pytest.mark.parametrize(("wanted", "there"), [(COMPOSED, APART), (APART, COMPOSED), (COMPOSED, COMPOSED), (APART, APART)])
def test_accents_composed_or_not(tmp_path: Path, wanted: str, there: str) -> None:
    assert COMPOSED != APART
    folder = tmp_path / there.removesuffix(".png")
    folder.mkdir()
    (folder / there).touch()
    assert find_file(tmp_path, f"{wanted.removesuffix('.png')}/{wanted}") == folder / there


def test_of_two_spellings_the_very_one(tmp_path: Path) -> None:
    for name in (COMPOSED, APART):
        (tmp_path / name).touch()
    for name in (COMPOSED, APART):
        assert find_file(tmp_path, name).name == name


def test_backslashes_are_separators_unless_a_name_has_them(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.png").touch()
    assert find_file(tmp_path, "a\\b\\c.png") == tmp_path / "a" / "b" / "c.png"
    (tmp_path / "a\\b\\c.png").touch()
    assert find_file(tmp_path, "a\\b\\c.png") == tmp_path / "a\\b\\c.png"


def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    assert find_file(tmp_path, COMPOSED) == tmp_path / COMPOSED, "the plain path where there is none"
    (tmp_path / APART).touch()
    about = tmp_path.stat()
    os.utime(tmp_path, ns=(about.st_atime_ns, about.st_mtime_ns + 10**9))  # file systems with coarse clocks
    assert find_file(tmp_path, COMPOSED) == tmp_path / APART


@pytest.mark.parametrize("name", ["a\0b", "half \ud83d"])
def test_what_cannot_be_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"null|surrogates"):
        find_file(tmp_path, name).resolve()


def test_too_long_is_not_there(tmp_path: Path) -> None:
    for name in ("x" * 5000, "é" * 5000, "x/" * 5000):
        assert not find_file(tmp_path, name).name.startswith("y")


def test_a_locale_without_the_letters(tmp_path: Path) -> None:
    (tmp_path / "папка").mkdir()
    (tmp_path / "папка" / "кот.png").touch()
    code = (
        "import sys; from pathlib import Path; from editors.toolbox.files import find_file, text_of\n"
        "assert sys.getfilesystemencoding() == 'ascii'\n"
        "assert text_of(sys.argv[2]) == 'папка'.encode().decode() == text_of('папка')\n"
        "print(find_file(Path(sys.argv[1]), 'папка\\\\кот.png').is_file())"
    )
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONPATH": str(Path(__file__).parents[3])}
    env.pop("PYTHONIOENCODING", None)
    (tmp_path / "code.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "code.py"), str(tmp_path), "папка"], env=env, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("True", "")


def test_text_is_left_alone_in_utf8() -> None:
    assert text_of(COMPOSED) == COMPOSED
    assert text_of(APART) == APART
