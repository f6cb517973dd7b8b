"""Code that a run folder's spec names runs only where it was let in before.

A spec may name code, `file.py:Class` or `module:Class`, and ask for pickled weights, which are code too. Who gives a spec of his own to
`etabench run` lets its code in, and that is remembered, name by name, in `$XDG_STATE_HOME/etabench/trusted` (by default below
`~/.local/state`). The spec *inside a run folder* nobody need have read: the folder may come from elsewhere. Where it names code that was
not let in before, the command stops and says so, unless it is told `--trust`, which lets it in. Registered names are no code of a spec.
A judge's server is let in alike: it is sent pictures, and the key that the spec says is its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import RunError

if TYPE_CHECKING:
    from bench.spec import Spec

__all__ = ["code_of_metrics", "code_of_spec", "demand", "let_in"]

JUDGE = "judge at "
_here: set[str] = set()
"""What this process let in: it counts where nothing can be written, too."""


def code_of_metrics(spec: Spec) -> list[str]:
    """Names of code among the metrics, which is all that scoring runs, and the servers that judges among them would send pictures to."""
    code = [metric.name for metric in spec.metrics if _is_code(metric.name)]
    return code + [f"{JUDGE}{server}" for metric in spec.metrics for server in _servers(metric.params.get("judge"))]


def code_of_spec(spec: Spec) -> list[str]:
    """Names of all code that a run of the spec can run."""
    editors = [name for name in (*(editor.name for editor in spec.editors), *spec.anchors) if _is_code(name)]
    model = spec.model if spec.model and spec.model.allow_pickle else None
    pickled = [f"pickled weights of {model.path or model.hub or model.name}"] if model else []
    own = [item for item in spec.editors if item.params.get("allow_pickle")]
    pickled += [f"pickled weights of {item.params.get('checkpoint', item.name)}" for item in own]
    return [*editors, *code_of_metrics(spec), *pickled]


def let_in(names: Iterable[str]) -> None:
    """Remember that this code may run; where nothing can be written, for the time of the process."""
    new = [name for name in dict.fromkeys(names) if name not in _known()]
    _here.update(new)
    path = _ledger()
    if new and path is not None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with path.open("a", encoding="utf-8") as file:
                file.write("".join(f"\n{json.dumps(name)}\n" for name in new))  # whole lines, whatever stood there


def demand(place: Path, names: Iterable[str], trust: bool = False) -> None:
    """Let the code in if told to `trust` it; RunError where `place` names code that was not let in."""
    names = list(names)
    if trust:
        let_in(names)
    strange = [name for name in dict.fromkeys(names) if name not in _known()]
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise RunError(
            f"{place} would {'ask a judge' if strange[0].startswith(JUDGE) else 'run code'} that no spec given here named before: "
            f"{strange[0]}{more}; read it, then add --trust (trust=True)"
        )


def _servers(judge: object) -> list[str]:
    """Addresses in a metric's parameter `judge`."""
    items = judge if isinstance(judge, list) else [judge]
    return [
        f"{item['server']} with ${item.get('key', 'OPENAI_API_KEY')}"
        for item in items
        if isinstance(item, dict) and "server" in item
    ]


def _is_code(name: str) -> bool:
    return ":" in name or name.endswith(".py")


def _known() -> set[str]:
    path, found = _ledger(), set(_here)
    if path is not None:
        with suppress(OSError, ValueError):
            for line in path.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError):
                    found.add(str(json.loads(line)))
    return found


def _ledger() -> Path | None:
    with suppress(RuntimeError):  # no home
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return Path(state) / "etabench" / "trusted"
    return None
