"""A judged score as a metric with a card: forms of one class.

`judge` says who judges; several make a panel:

    local-dir:PATH              an image-text network and the scenes that it can tell apart, as ToyBox's (`metrics.judges.toybox`)
    folder:PATH                 a vision-language model on disk, through transformers (`metrics.judges.local`)
    {server: URL, model: NAME}  any server that speaks OpenAI's chat completions (`metrics.judges.server`)

`score` gives NaN where there is no verdict, as the contract of a metric has it. Who wants the reasons calls `verdicts`; a harness keeps no
score there, so that the edit counts as missing and not as one that the metric leaves undefined.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Bounds, Card, Embedded, MetricError, PairBatch, PairMetric
from metrics.judges.answers import Failure
from metrics.judges.forms import QUESTIONS, RUBRIC, VIE, Form, question_list
from metrics.judges.opening import JudgeSpec, open_judges
from metrics.judges.panel import Panel, Row, Verdict
from metrics.judges.parsing import VERSION
from metrics.judges.published import published_forms
from metrics.networks.images import check_images

__all__ = ["JudgeCard", "JudgedMetric", "JudgedPrompts", "JudgedQuestions", "JudgedRubric", "JudgedVIE"]


@dataclass(frozen=True)
class JudgeCard(Card):
    """The card of a judged score; all of these are part of the fingerprint.

    Attributes:
        judges: name and exact snapshot of every judge.
        prompt: digest of every word that is sent.
        sampling: temperature, seed and limits of every judge.
        panel: repeats, aggregation, and the valid answers needed.
    """

    judges: str
    prompt: str
    sampling: str
    panel: str


class JudgedMetric(PairMetric):
    """What the judged metrics share.

    Args:
        judge: who judges, or a list of judges (see the module).
        repeats: how often each is asked, with seeds that rise by one.
        aggregate: mean, median or majority of the valid answers.
        least: valid answers that a score needs; None is more than half of all.
        device: torch device of local judges.

    Raises:
        MetricError: a judge cannot be opened, or a number cannot be.
    """

    reads = frozenset({"sources", "target_texts"})
    embedded: ClassVar[Embedded] = {"judge": "judge"}
    source: ClassVar[str]
    wording: ClassVar[str] = "this project's own wording"
    card: JudgeCard

    def __init__(
        self,
        judge: JudgeSpec | Sequence[JudgeSpec],
        *,
        repeats: int = 1,
        aggregate: str = "mean",
        least: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.form = self._form()
        self.panel = Panel(open_judges(judge, device), repeats=repeats, aggregate=aggregate, least=least)
        self.bounds: Bounds = self.form.bounds
        judges = self.panel.judges
        sights = [each.sight for each in judges]

        def joined(name: str) -> str:
            return "; ".join(dict.fromkeys(str(sight[name]) for sight in sights))  # type: ignore[literal-required]

        self.card = JudgeCard(
            name=self.name,
            version=f"1 parsing={VERSION}",
            network=joined("network"),
            weights=joined("weights"),
            resolution=joined("resolution"),
            resize=joined("resize"),
            value_range=joined("value_range"),
            scale="{}, {:g}..{:g}".format(self.form.rule, *self.form.bounds),
            masking="whole picture",
            nan_rule="no verdict: too few valid answers, or no majority",
            higher_is_better=True,
            definition=f"A judge's answers to {self.form.name} in {self.wording}.",
            source=self.source,
            judges="; ".join(f"{each.name} @ {each.snapshot}" for each in judges),
            prompt=self.form.digest,
            sampling="; ".join(dict.fromkeys(each.sampling for each in judges)),
            panel=self.panel.rule,
        )

    @abstractmethod
    def _form(self) -> Form:
        """What is asked."""

    def verdicts(self, batch: PairBatch, *, before: int = 0) -> list[Verdict]:
        """The verdict on each row, with its failures; anew where the same was asked `before` so many times."""
        edits, sources = check_images(batch.edits, "edits"), check_images(batch.sources, "sources")
        rows = zip(batch.target_texts, edits, sources, strict=True)
        shown = [(text, {"edit": edit, "source": source}) for text, edit, source in rows]
        return self._said(shown, batch, before)

    def _said(self, shown: Sequence[Row], batch: PairBatch, before: int) -> list[Verdict]:
        """The verdicts on rows, all by the one form."""
        return self.panel.verdicts(self.form, shown, before=before)

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        return np.array([verdict.score for verdict in self.verdicts(batch)], dtype=np.float64)


class JudgedVIE(JudgedMetric):
    """VIEScore's question to a judge, in own words: semantic consistency, perceptual quality or both, 0..10; higher is better.

    Args:
        judge: who judges, or a list of judges: folder:PATH, {folder: PATH, preset: imgedit-judge or editscore} (their sampling and
            geometry as far as it could be checked; EditReward's head cannot be opened), {server: URL, model: NAME}, or
            local-dir:PATH of ToyBox's.
        part: overall, sc or pq.
        repeats: how often each is asked, with seeds that rise by one.
        aggregate: mean, median or majority of the valid answers.
        least: valid answers that a score needs; None is more than half of all.
        device: torch device of local judges.

    Raises:
        MetricError: a judge cannot be opened, `part` is none, or a number cannot be.
    """

    name: ClassVar[str] = "judge_vie"
    source = "Ku et al. 2024, arXiv 2312.14867, aggregation; own wording"

    def __init__(
        self,
        judge: JudgeSpec | Sequence[JudgeSpec],
        part: str = "overall",
        *,
        repeats: int = 1,
        aggregate: str = "mean",
        least: int | None = None,
        device: str = "cpu",
    ) -> None:
        if part not in VIE:
            raise MetricError(f"{self.name} part: expected one of {', '.join(VIE)}, got {part!r}; overall is the default")
        self._part = part
        super().__init__(judge, repeats=repeats, aggregate=aggregate, least=least, device=device)

    def _form(self) -> Form:
        return VIE[self._part]


class JudgedRubric(JudgedMetric):
    """ImgEdit's three grades by a judge, in own words: compliance, quality, coherence, 1..5; higher is better.

    Args:
        judge: who judges, or a list of judges: folder:PATH, {folder: PATH, preset: imgedit-judge or editscore} (their sampling and
            geometry as far as it could be checked; EditReward's head cannot be opened), {server: URL, model: NAME}, or
            local-dir:PATH of ToyBox's.
        repeats: how often each is asked, with seeds that rise by one.
        aggregate: mean, median or majority of the valid answers.
        least: valid answers that a score needs; None is more than half of all.
        device: torch device of local judges.

    Raises:
        MetricError: a judge cannot be opened, or a number cannot be.
    """

    name: ClassVar[str] = "judge_rubric"
    source = "ImgEdit, arXiv 2505.20275, grades and mean; own wording"

    def _form(self) -> Form:
        return RUBRIC


class JudgedQuestions(JudgedMetric):
    """Share of questions about the edit that a judge answers with yes, 0..1; higher is better.

    Args:
        judge: who judges, or a list of judges: folder:PATH, {folder: PATH, preset: imgedit-judge or editscore} (their sampling and
            geometry as far as it could be checked; EditReward's head cannot be opened), {server: URL, model: NAME}, or
            local-dir:PATH of ToyBox's.
        questions: yes/no questions; None asks about object, state, background, accessory, and what was to be kept.
        repeats: how often each is asked, with seeds that rise by one.
        aggregate: mean, median or majority of the valid answers.
        least: valid answers that a score needs; None is more than half of all.
        device: torch device of local judges.

    Raises:
        MetricError: a judge cannot be opened, a question is no text, or a number cannot be.
    """

    name: ClassVar[str] = "judge_questions"
    source = "I2EBench, arXiv 2408.14180, yes/no questions; own wording"

    def __init__(
        self,
        judge: JudgeSpec | Sequence[JudgeSpec],
        questions: Sequence[str] | None = None,
        *,
        repeats: int = 1,
        aggregate: str = "mean",
        least: int | None = None,
        device: str = "cpu",
    ) -> None:
        self._questions = QUESTIONS if questions is None else question_list(questions)
        super().__init__(judge, repeats=repeats, aggregate=aggregate, least=least, device=device)

    def _form(self) -> Form:
        return self._questions


class JudgedPrompts(JudgedMetric):
    """A benchmark's own questions, from a file of its authors' words that you have; higher is better.

    Args:
        judge: who judges, or a list of judges: folder:PATH or {server: URL, model: NAME}.
        form: viescore or imgedit, see `metrics.judges.published`: what the file holds, how replies are read and made one number.
        prompts: path of the JSON file.
        part: of viescore: overall, sc or pq.
        repeats: how often each is asked, with seeds that rise by one.
        aggregate: mean, median or majority of the valid answers.
        least: valid answers that a score needs; None is more than half of all.
        device: torch device of local judges.

    Raises:
        MetricError: a judge cannot be opened, the file is not of that form, or a number cannot be.
    """

    name: ClassVar[str] = "judge_prompts"
    reads = frozenset({"sources", "target_texts", "categories"})
    source = "the authors' words, by the digest of the prompt; VIEScore arXiv 2312.14867, ImgEdit arXiv 2505.20275"
    wording = "its authors' wording, from a file"

    def __init__(
        self,
        judge: JudgeSpec | Sequence[JudgeSpec],
        form: str,
        prompts: str,
        part: str = "overall",
        *,
        repeats: int = 1,
        aggregate: str = "mean",
        least: int | None = None,
        device: str = "cpu",
    ) -> None:
        self._kind, self._forms = form, published_forms(form, Path(prompts), part)
        super().__init__(judge, repeats=repeats, aggregate=aggregate, least=least, device=device)

    def _form(self) -> Form:
        first = next(iter(self._forms.values()))
        if len(self._forms) == 1:
            return first
        return replace(first, name=self._kind, asks=tuple(ask for form in self._forms.values() for ask in form.asks))

    def _said(self, shown: Sequence[Row], batch: PairBatch, before: int) -> list[Verdict]:
        """The verdicts on rows, by the form of each kind of edits."""
        forms = [self._forms.get("") or self._forms.get(category or "") for category in batch.categories]
        found = [Verdict(math.nan, Failure("unasked", f"of category {category}")) for category in batch.categories]
        for form in dict.fromkeys(each for each in forms if each):
            places = [place for place, own in enumerate(forms) if own == form]
            for place, verdict in zip(
                places, self.panel.verdicts(form, [shown[each] for each in places], before=before), strict=True
            ):
                found[place] = verdict
        return found
