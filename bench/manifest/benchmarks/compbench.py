"""CompBench (Jia et al. 2025): instructed edits of crowded scenes, a data set of the hub for every task."""

from __future__ import annotations

from bench.manifest.benchmarks.base import Card, Split, lacking
from bench.manifest.benchmarks.layout import STANDS_IN, Tabular

__all__ = ["CompBench"]


class CompBench(Tabular):
    """The tasks whose tables have one picture, instruction and edit a row: a split is a task."""

    name = "compbench"
    card = Card(
        title="CompBench",
        where="BohanJia/CompBench and its companions on the hub, one a task; root is the copy of one",
        licence="MIT",
        splits={
            "multi-turn": Split(576, hub="BohanJia/CompBench_Multi", within="multi_turn"),
            "action": Split(89, hub="BohanJia/CompBench_action", within="train"),
        },
        fields={
            "image": "input_image",
            "truth": "edited_image",
            "instruction": "instruction",
            "target_text": STANDS_IN,
            "category": "task",
            "cluster": "image_path",
        },
        made_by="language models and people together",
        cluster="source picture",
        source="cards of the data sets",
        lacks=lacking(
            "source_text", mask="action has none; of multi-turn it is not read, as the polarity of the column mask was not seen"
        ),
        faults=(
            "in the table of several objects (72 rows) every column is a list, of which no card says what belongs together: it is not read",
            "over 3000 samples of nine tasks are published; the tables of the tasks that are not here were not seen",
        ),
        unverified={
            "target_text": "whether the column caption, which is not read, is of the whole edit or of the edited part alone",
            "cluster": "whether the turns of a session share image_path; which row follows which is not said, so none follows another",
        },
    )
