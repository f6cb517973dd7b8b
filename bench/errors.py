"""What the conductor raises for bad input: one clear line that says what is wrong, where, and what to do."""

from __future__ import annotations

__all__ = [
    "BaselineError",
    "EtabenchError",
    "ManifestError",
    "ModelError",
    "RegistryError",
    "RunError",
    "ScoreError",
    "SpecError",
]


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
