"""What is raised for bad input: one clear line that says what is wrong, where, and what to do.

    EtabenchError               a user can cause and mend it
        SpecError               the spec
        RegistryError           the name of an editor or a metric
        ManifestError           a manifest, or a file that it names
            PictureError            a picture (bench.manifest.pictures)
        NoRealPicture           a sample without a real picture of its class: the reason of a failed unit (bench.manifest.reference)
        BrokenChain             a turn whose turn before gave nothing to edit: the reason of a failed unit (bench.workers.chain)
        ModelError              a checkpoint, or the device it should run on
        RunError                a run folder, or the work on it
        ScoreError              scores, and tables of them
        BaselineError           a baseline
        BundleError             a submission bundle
        BoardError              runs that cannot share a leaderboard, or the file of one
    Interrupted                 a worker was told to stop; no error (bench.workers.worker)

The leaves have trees of their own, since they know nothing of the conductor; the command line prints them alike:

    EditorError                 what an editor raises on purpose; the unit becomes a failed record (editors.task)
        MissingInput            the task or the set-up lacks something
        NotFinite               NaN or infinity at a step
        Cancelled               the caller asked to stop
        HubError                the model hub does not give something (editors.toolbox.hub)
        CheckpointError         weights are missing or are not what they claim to be (editors.toolbox.untrusted)
    MetricError                 a metric cannot be built or cannot score what it was given (metrics.base)
    MetricWarning               a value that should not be trusted without reading the message; a warning (metrics.base)
    ReportError                 tables that cannot be drawn (reports.data)
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = [
    "BaselineError",
    "BoardError",
    "BundleError",
    "EtabenchError",
    "ManifestError",
    "ModelError",
    "RegistryError",
    "RunError",
    "ScoreError",
    "SpecError",
    "message_of",
    "origin_of",
]


def message_of(error: BaseException) -> str:
    """The message of anybody's error in one line that can be encoded as UTF-8, whatever its `__str__` does."""
    try:
        text = " ".join(str(error).split())
    except BaseException as worse:
        text = f"(its message cannot be read: {type(worse).__name__})"
    return text.encode("utf-8", "backslashreplace").decode()


def origin_of(error: BaseException) -> str:
    """What an error that nobody raised on purpose is, what it says, and the line of code that it came from."""
    frame = (traceback.extract_tb(error.__traceback__) or [None])[-1]
    place = f" ({Path(frame.filename).name}, line {frame.lineno})" if frame else ""
    return f"{type(error).__name__}: {message_of(error)}{place}"


class EtabenchError(Exception):
    """Base of all errors that a user can cause and mend; the command line prints it as one line and exits with 2."""

    exit_code = 2


class SpecError(EtabenchError):
    """A spec file is missing, malformed, or asks for something that does not exist."""


class RegistryError(EtabenchError):
    """No editor or metric goes by that name."""


class ManifestError(EtabenchError):
    """A manifest or a file it names cannot be read or is not what it claims to be."""


class ModelError(EtabenchError):
    """A checkpoint is missing, unreadable, or in a format that is refused."""


class RunError(EtabenchError):
    """A run folder cannot be used: it belongs to another spec, or is damaged."""


class ScoreError(EtabenchError):
    """Scores cannot be made, or cannot be put into one table."""


class BaselineError(EtabenchError):
    """A comparison with a baseline would be meaningless."""


class BundleError(EtabenchError):
    """A submission bundle cannot be made, or is none that may be opened."""


class BoardError(EtabenchError):
    """Runs cannot share a leaderboard, or the file of one cannot be read; `differences` says row by row what the runs differ in."""

    def __init__(self, message: str, differences: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message)
        self.differences = differences
