"""A folder on any file system that fsspec knows, by its URL: objects of a store like S3, which are there in full or not at all."""

from __future__ import annotations

import datetime
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeVar

from bench.errors import RunError, message_of
from bench.store.files import TEMPORARY, create_file, write_atomically

__all__ = ["Found", "Objects", "url_of"]

T = TypeVar("T")
AT_ONCE = 16
"""Requests in flight."""
SECONDS_OF_CLOCK = 600.0
"""After which the store's clock is looked at again."""
URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.DOTALL)
"""Of two letters and more: one is a drive."""
TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
"""What file systems call the time of the last change, the surest first."""


@dataclass(frozen=True)
class Found:
    """What a listing says of an object: bytes, the store's time of its last change (s), and a text that is another where its content is."""

    size: int
    modified: float
    version: str


def url_of(place: PurePath | str) -> str | None:
    """The URL that a place is, also where it went through a Path and lost a slash; None for a path."""
    found = URL.fullmatch(str(place))
    if found is None:
        return None
    scheme, rest = found.groups()
    return f"{scheme}://{'/' * (scheme in ('file', 'local'))}{rest.rstrip('/')}"


class Objects:
    """The objects below a URL, by their names relative to it.

    Every method raises RunError, which names the URL, where the store refuses or cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, root = _opened(url)
        self._root = root.rstrip("/")
        self._on_disk = "file" in self._protocols
        self._offset, self._looked = 0.0, -SECONDS_OF_CLOCK

    def get(self, names: Iterable[str]) -> dict[str, bytes]:
        """The content of those of `names` that are there."""
        asked = list(names)
        found = zip(asked, self._each(self._get, asked), strict=True)
        return {name: data for name, data in found if data is not None}

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write objects, each in full or not at all, over what is there."""
        self._each(lambda item: self._put(*item), files.items())

    def create(self, name: str, data: bytes) -> bool:
        """Write an object where there is none, and whether there was none: of many who try at a time one does."""
        path = self._path(name)
        with self._told():
            if self._on_disk:
                made = create_file(Path(path), data)
            else:
                made = True
                try:
                    self._fs.pipe_file(path, data, mode="create")
                except FileExistsError:
                    made = False
        if made and time.monotonic() - self._looked > SECONDS_OF_CLOCK:
            self._look_at_the_clock(name)
        return made

    def delete(self, names: Iterable[str]) -> None:
        """Remove those of `names` that are there."""
        self._each(self._delete, list(names))

    def about(self, name: str) -> Found | None:
        """What is known of one object, None where there is none."""
        with self._told():
            try:
                return _found(self._fs.info(self._path(name), refresh=True))
            except FileNotFoundError:
                return None

    def listing(self, folder: str = "", *, deep: bool = False) -> dict[str, Found]:
        """The objects in a folder by name, those in folders of it only if `deep`; what is being written is left out."""
        with self._told():
            self._fs.invalidate_cache()
            try:
                path = self._path(folder)
                infos = self._fs.find(path, detail=True).values() if deep else self._fs.ls(path, detail=True)
            except FileNotFoundError:
                return {}
            named = [(str(info["name"]).removeprefix(self._root).lstrip("/"), info) for info in infos if info["type"] == "file"]
            return {name: _found(info) for name, info in named if _sound(name)}

    def top(self) -> set[str]:
        """The names of the files and folders that lie just below the URL."""
        with self._told():
            self._fs.invalidate_cache()
            try:
                return {str(path).rstrip("/").rpartition("/")[2] for path in self._fs.ls(self._root, detail=False)}
            except FileNotFoundError:
                return set()

    def now(self) -> float:
        """The store's clock (s), as far as something was created there before; this machine's otherwise."""
        return time.time() + self._offset

    def demand_claims(self) -> None:
        """Raise RunError where the store writes over what it was told to create, or does not know how to create only."""
        own = next(
            (vars(cls)[name] for cls in type(self._fs).__mro__ for name in ("_pipe_file", "pipe_file") if name in vars(cls)), None
        )
        knows = self._on_disk or not getattr(own, "__module__", "fsspec.spec").startswith(("fsspec.spec", "fsspec.asyn"))
        name = f"claims/{TEMPORARY}{uuid.uuid4().hex}"
        try:
            if knows and self.create(name, b"1") and not self.create(name, b"2"):
                return
        finally:
            self.delete([name])
        raise RunError(
            f"{self.url}: this store cannot create an object only where there is none, which claims of workers rest on; use a folder"
        )

    @property
    def _protocols(self) -> tuple[str, ...]:
        protocol = self._fs.protocol
        return (protocol,) if isinstance(protocol, str) else tuple(protocol)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _get(self, name: str) -> bytes | None:
        try:
            data: bytes = self._fs.cat_file(self._path(name))
        except (FileNotFoundError, IsADirectoryError):
            return None
        return data

    def _put(self, name: str, data: bytes) -> None:
        if self._on_disk:
            write_atomically(Path(self._path(name)), data)
        else:
            self._fs.pipe_file(self._path(name), data)

    def _delete(self, name: str) -> None:
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def _look_at_the_clock(self, name: str) -> None:
        """Hold the time that the store gave an object, just created, against this machine's."""
        self._looked, now = time.monotonic(), time.time()
        if (found := self.about(name)) is not None:
            self._offset = found.modified - now

    def _each(self, call: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
        todo = list(items)
        with self._told():
            if len(todo) < 2:
                return [call(item) for item in todo]
            with ThreadPoolExecutor(min(AT_ONCE, len(todo))) as pool:
                return list(pool.map(call, todo))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever the library of a store raises, in a line."""
        try:
            yield
        except RunError:
            raise
        except Exception as error:
            raise RunError(f"{self.url}: {type(error).__name__}: {message_of(error)[:300]}; run again to continue") from error


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there. Raises RunError where fsspec or the library of the scheme is missing, or refuses."""
    scheme = url.partition(":")[0]
    try:
        from fsspec.core import url_to_fs
        from fsspec.registry import known_implementations
    except ImportError as error:
        raise RunError(f"{url} needs the package fsspec: pip install 'etabench[remote]'") from error
    try:
        fs, root = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        advice = known_implementations.get(scheme, {}).get("err", f"no library knows {scheme}://")
        raise RunError(
            f"{url} needs another package ({advice}); pip install 'etabench[remote]' has that of s3:// and gs://"
        ) from error
    except ValueError as error:
        raise RunError(
            f"{url} is no place for a run: {message_of(error)}; expected s3://, gs://, file:// or another that fsspec knows"
        ) from error
    return fs, root


def _found(info: Mapping[str, Any]) -> Found:
    when = next((info[name] for name in TIMES if info.get(name) is not None), 0.0)
    if isinstance(when, str):
        when = datetime.datetime.fromisoformat(when)
    seconds = when.timestamp() if isinstance(when, datetime.datetime) else float(when)
    size = int(info.get("size") or 0)
    return Found(size, seconds, str(info.get("ETag") or info.get("etag") or f"{size} {seconds}"))


def _sound(name: str) -> bool:
    """Whether a name of the store may be one of a run's folder, and is none of something that is being written."""
    path = PurePosixPath(name)
    return (
        bool(name)
        and not path.is_absolute()
        and ".." not in path.parts
        and "\\" not in name
        and not path.name.startswith(TEMPORARY)
    )
