"""Metrics that fail alone: what goes wrong with one costs its own column, and its reason is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.errors import EtabenchError, RegistryError, ScoreError, origin_of

__all__ = ["Failed"]


class Failed(dict[str, str]):
    """Metrics, by their names in tables, to why they have no column, in one line."""

    @contextmanager
    def alone(self, metric: str, where: str = "") -> Iterator[None]:
        """What is raised inside is the failure of `metric`, `where` it happened; it is noted and goes no further.

        An error of the run (a picture that is gone, a spec that asks for what does not exist) is no metric's and passes, and so does an
        interruption.
        """
        try:
            yield
        except (ScoreError, RegistryError) as error:
            self._note(metric, where, str(error))
        except EtabenchError:
            raise
        except (Exception, SystemExit) as error:
            self._note(metric, where, _reason(error))

    def _note(self, metric: str, where: str, reason: str) -> None:
        self.setdefault(metric, " ".join(f"{where}{': ' if where else ''}{reason}".split()))


def _reason(error: BaseException) -> str:
    """A refusal in a metric's own words; of any other error also what it is and where it came from."""
    from metrics.base import MetricError

    if isinstance(error, MetricError):
        return str(error)
    return origin_of(error)
