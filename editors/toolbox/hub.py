"""Repositories of the Hugging Face hub: a branch to its commit, a commit to files on this machine, a failure to one line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from logging import ERROR
from pathlib import Path
from typing import Any, Literal

from editors.task import EditorError

__all__ = ["HubError", "Repository", "explained", "first_place", "known_reason", "pinning"]

COMMIT = re.compile(r"[0-9a-f]{40}")
HTTP_LIBRARIES = ("httpx2", "httpx", "httpcore2", "httpcore", "requests", "urllib3")
LOG_IN = "log in with `hf auth login` or set HF_TOKEN"

_PINS: ContextVar[tuple[Mapping[str, str], dict[str, str]] | None] = ContextVar("pins", default=None)
"""Commits that are known, and those that were asked for, by what names them."""


class HubError(EditorError):
    """The hub does not give a repository, a revision or a file; the line says why and what to do."""


@dataclass(frozen=True)
class Repository:
    """A repository ``owner/name`` at a revision (branch, tag or commit), and what of it is read.

    ``files`` and ``ignored`` are glob patterns, no ``files`` means all. ``index`` is a small file without which it is of no use.
    """

    name: str
    revision: str = "main"
    files: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    index: str = ""
    kind: Literal["model", "dataset"] = "model"

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}"

    @property
    def page(self) -> str:
        """Where a browser finds it."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"

    @property
    def _what(self) -> dict[str, Any]:
        patterns = {"allow_patterns": list(self.files) or None, "ignore_patterns": list(self.ignored) or None}
        return {"repo_type": self.kind, "revision": self.revision, **patterns}

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which never moves."""
        return COMMIT.fullmatch(self.revision) is not None

    def pinned(self) -> Repository:
        """The same at the commit that the revision is now: asked once within ``pinning``, never where it is a commit.

        Where the hub cannot be reached it is the commit of the last look. Raises ``HubError``.
        """
        if self.is_pinned:
            return self
        from huggingface_hub import HfApi

        known, asked = _PINS.get() or ({}, {})
        name = f"{self.kind} {self}"
        if name not in asked:
            with explained(self):
                asked[name] = known.get(name) or (
                    HfApi().resolve_revision(self.name, repo_type=self.kind, revision=self.revision).resolved
                )
        return replace(self, revision=asked[name])

    def is_listed(self) -> bool:
        """Whether the listing of the commit is on this machine, without which nobody can tell a part of it from the whole."""
        from huggingface_hub import get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError

        with suppress(CachedRepoTreeNotFoundError, ValueError):
            return bool(get_cached_repo_tree(self.name, repo_type=self.kind, revision=self.revision))
        return False

    def fetch(self) -> Path:
        """The local folder with all that is read, fetched as far as it is not there. Raises ``HubError``, and leaves no folder then
        that would be taken for whole."""
        from huggingface_hub import snapshot_download

        at = self.pinned()
        with suppress(OSError):
            if at.is_listed():
                return Path(snapshot_download(at.name, local_files_only=True, **at._what))
        with explained(at):
            return Path(snapshot_download(at.name, **at._what))

    def missing(self) -> int:
        """Bytes of what is read that are not on this machine yet. Raises ``HubError``."""
        from huggingface_hub import snapshot_download

        at = self.pinned()
        with explained(at), _without_bars():
            snapshot_download(at.name, **{**at._what, "allow_patterns": ["/"]})  # no file, but the listing, which stays for later
            files = snapshot_download(at.name, dry_run=True, **at._what)
        return sum(file.file_size or 0 for file in files if file.will_download)

    def reached(self) -> Repository:
        """``pinned``, once its index is on this machine, which tells a gate before gigabytes are counted. Raises ``HubError``."""
        from huggingface_hub import hf_hub_download

        at = self.pinned()
        if at.index:
            with explained(at):
                hf_hub_download(at.name, at.index, repo_type=at.kind, revision=at.revision)
        return at


@contextmanager
def pinning(known: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """Within the block a revision means one commit: that of ``known`` or that of the first look. Yields those that were asked for, by
    ``"<kind> <owner/name>@<revision>"``."""
    asked: dict[str, str] = {}
    token = _PINS.set((known or {}, asked))
    try:
        yield asked
    finally:
        _PINS.reset(token)


def first_place(names: str, wanted: Repository) -> Path | Repository:
    """The first of several folders or hub ids, separated by commas, that is there or that the hub gives, at its commit.

    An id may name its revision, ``owner/name@revision``, else it is that of ``wanted``. Raises ``HubError`` with every reason.
    """
    reasons = []
    for name in filter(None, [names] if Path(names).is_dir() else [name.strip() for name in names.split(",")]):
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder
        try:
            owned, _, revision = name.partition("@")
            if owned.count("/") != 1 or owned.startswith((".", "/", "~")):
                raise HubError(f"{name}: no such folder, and not a hub id of the form owner/name")
            return replace(wanted, name=owned, revision=revision or wanted.revision).reached()
        except HubError as error:
            reasons.append(str(error))
    raise HubError("; ".join(reasons) or "no folder and no hub id is given")


@contextmanager
def explained(repository: Repository) -> Iterator[None]:
    """Turn what the hub's libraries raise within the block into a ``HubError``; they do not log each try that fails on the way."""
    from huggingface_hub.errors import HfHubHTTPError, RevisionResolutionError
    from huggingface_hub.utils import logging

    # the bases tell the error of the HTTP library that huggingface_hub is built on; not all of its kinds are OSErrors
    bases = tuple(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))
    failures: tuple[type[Exception], ...] = (*bases, OSError, RevisionResolutionError, ValueError, RuntimeError)
    verbosity = logging.get_verbosity()
    logging.set_verbosity(ERROR)
    try:
        yield
    except failures as error:
        why = known_reason(error, repository) or _line(error)
        raise HubError(f"{repository.name}: not a local folder, and the hub does not give it: {why}") from error
    finally:
        logging.set_verbosity(verbosity)


@contextmanager
def _without_bars() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hidden = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            enable_progress_bars()


def known_reason(error: BaseException, repository: Repository) -> str:
    """Why the hub did not give something, in one line that says what to do, or "". What a library wraps is looked for beneath."""
    chain: list[BaseException] = []
    beneath: BaseException | None = error
    while beneath is not None and beneath not in chain:
        chain.append(beneath)
        beneath = beneath.__cause__ or beneath.__context__
    return next(filter(None, (_known(each, repository) for each in chain)), "")


def _known(error: BaseException, repository: Repository) -> str:
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    where, page = constants.ENDPOINT, repository.page
    status = getattr(getattr(error, "response", None), "status_code", 0)
    text = ""
    match error:
        case hub.GatedRepoError():
            text = f"it is gated ({status}): accept its terms at {page} and {LOG_IN}"
        case _ if type(error).__name__ == "DatasetNotFoundError" and "is a gated" in str(
            error
        ):  # of datasets, which drops its cause
            text = f"it is gated: accept its terms at {page} and {LOG_IN}"
        case hub.RepositoryNotFoundError():
            text = f"there is no {repository.kind} repository of that name ({status}); mend it, or, if it is private, {LOG_IN}"
        case hub.RevisionNotFoundError():
            text = f"it has no revision {repository.revision!r}; name a branch, a tag or a commit of {page}"
        case hub.OfflineModeIsEnabled():
            text = f"it is not in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set; unset it, or give a folder"
        case hub.EntryNotFoundError() if status == 404:
            text = f"its revision {repository.revision} lacks {repository.index or 'a file'}; look at {page}"
        case hub.HfHubHTTPError() if status in (401, 403):
            text = f"access is refused ({status}): accept its terms at {page} and {LOG_IN}"
        case hub.HfHubHTTPError() if status >= 500:
            text = f"{where} answers {status}; try again later, what was fetched is kept"
        case hub.HFValidationError():
            text = f"not a hub id of the form owner/name; {_line(error)}"
        case _ if not status and type(error).__module__.split(".")[0] in HTTP_LIBRARIES:
            text = (
                f"the connection to {where} fails ({type(error).__name__}: {_line(error)}); run again, what was fetched is kept"
            )
    return text


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
