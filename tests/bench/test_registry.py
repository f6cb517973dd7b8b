from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench import registry
from bench.errors import RegistryError

PLUGIN = """
from editors import Editor
from metrics import PairMetric

class Mine(Editor):
    def prepare(self, task): ...
    def render(self, state, values): ...

class Scorer(PairMetric):
    def score(self, batch): ...

class Half(Editor):
    def prepare(self, task): ...

class Neither: ...

value = 3
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "my_editor.py"
    file.write_text(PLUGIN)
    return file


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The entry points the registry sees: none until a test adds some."""
    listed: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: [p for p in listed if p.group == group])
    return listed


def test_built_ins_are_listed_with_their_targets() -> None:
    assert registry.editors()["imagic"].value == "editors.imagic:Imagic"
    assert registry.metrics()["clip"].value == "metrics.clip:CLIPScore"
    assert list(registry.editors()) == sorted(registry.editors())


def test_listing_imports_neither_torch_nor_the_plug_ins() -> None:
    code = (
        "import sys, bench.registry as r, bench.spec; r.editors(); r.metrics();"
        "assert not {'torch', 'editors', 'metrics', 'datasets', 'pandas'} & sys.modules.keys()"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_typo_gets_a_suggestion() -> None:
    with pytest.raises(RegistryError, match="unknown editor 'imagc'; did you mean 'imagic'"):
        registry.load_editor("imagc")


def test_a_name_like_no_other_gets_the_list() -> None:
    with pytest.raises(RegistryError, match=r"unknown metric 'qqqqqq'; choose from .*clip.*lpips"):
        registry.load_metric("qqqqqq")


def test_nothing_registered_says_how_to_install(points: list[EntryPoint]) -> None:
    with pytest.raises(RegistryError, match="install the package"):
        registry.load_editor("imagic")


def test_a_target_that_cannot_be_imported_names_it(points: list[EntryPoint]) -> None:
    points.append(EntryPoint("broken", "no_such_module_at_all:X", registry.EDITOR_GROUP))
    with pytest.raises(
        RegistryError, match=r"editor 'broken' \(no_such_module_at_all:X\) cannot be imported: ModuleNotFoundError"
    ):
        registry.load_editor("broken")


def test_two_packages_with_one_name_are_refused(points: list[EntryPoint]) -> None:
    points += [EntryPoint("clip", target, registry.METRIC_GROUP) for target in ("a:A", "b:B")]
    with pytest.raises(RegistryError, match=r"two installed packages register 'clip'.*a:A and b:B"):
        registry.metrics()


def test_a_class_from_a_file(plugin: Path) -> None:
    loaded = registry.load_editor(f"{plugin}:Mine")
    assert loaded.__name__ == "Mine"
    assert registry.load_editor(f"{plugin}:Mine") is loaded, "one import, so that classes compare equal"
    assert sys.modules[loaded.__module__].Mine is loaded, "pickling finds the class again"
    assert registry.load_metric(f"{plugin}:Scorer").__name__ == "Scorer"


def test_files_of_one_name_do_not_shadow_each_other(plugin: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / plugin.name
    other.parent.mkdir()
    other.write_text(PLUGIN + "\nMine.mark = 1\n")
    assert hasattr(registry.load_editor(f"{other}:Mine"), "mark")
    assert not hasattr(registry.load_editor(f"{plugin}:Mine"), "mark")


def test_a_changed_file_is_read_again(plugin: Path) -> None:
    before = registry.load_editor(f"{plugin}:Mine")
    plugin.write_text(PLUGIN + "\nMine.mark = 1\n")
    assert hasattr(registry.load_editor(f"{plugin}:Mine"), "mark")
    assert not hasattr(before, "mark")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere.py:Mine", "no such file"),
        ("my_editor.py", "needs the class too"),
        ("my_editor.py:Mien", "has no 'Mien'; did you mean 'Mine'"),
        ("my_editor.py:Neither", "class Neither is no editor: derive it from editors.base.Editor"),
        ("my_editor.py:Half", "class Half lacks render"),
        ("my_editor.py:value", "not a class but int"),
    ],
)
def test_bad_file_targets(plugin: Path, monkeypatch: pytest.MonkeyPatch, target: str, message: str) -> None:
    monkeypatch.chdir(plugin.parent)
    with pytest.raises(RegistryError, match=message):
        registry.load_editor(target)


def test_an_editor_is_no_metric(plugin: Path) -> None:
    with pytest.raises(
        RegistryError, match=r"is no metric: derive it from metrics\.base\.PairMetric or metrics\.base\.SetMetric"
    ):
        registry.load_metric(f"{plugin}:Mine")


def test_a_file_that_fails_is_named_and_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "failing.py"
    file.write_text("1 / 0")
    with pytest.raises(RegistryError, match=r"failing.py cannot be imported: ZeroDivisionError"):
        registry.load_editor(f"{file}:X")
    assert not [name for name in sys.modules if "etabench_plugin_failing" in name]


@pytest.mark.parametrize("way_out", ["import sys; sys.exit(0)", "raise KeyboardInterrupt", "raise GeneratorExit"])
def test_a_plug_in_that_exits_cannot_be_imported(tmp_path: Path, way_out: str) -> None:
    file = tmp_path / "leaves.py"
    file.write_text(way_out)
    with pytest.raises(RegistryError, match=r"leaves\.py cannot be imported: (SystemExit: 0|KeyboardInterrupt|GeneratorExit)"):
        registry.load_editor(f"{file}:Any")


def test_ctrl_c_while_a_plug_in_is_imported_is_the_user_s(tmp_path: Path) -> None:
    file = tmp_path / "slow.py"
    file.write_text("import signal; signal.raise_signal(signal.SIGINT)")
    with pytest.raises(KeyboardInterrupt):
        registry.load_editor(f"{file}:Any")
