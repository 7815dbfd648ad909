"""The finished stages of a run, in all its repetitions, judged: the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stackae.data.features import read_array
from stackae.plan import Plan, Stage
from stackae.plan.baselines import Baseline
from stackae.report.advice import Advice, Candidates, Judged, advise
from stackae.report.verdict import verdict
from stackae.stages.means import best_mean, stack_probabilities
from stackae.store import Entry


@dataclass(frozen=True)
class Outcome:
    """A stage of the plan as it ended: its entry in the store, and whether it was there before."""

    stage: Stage
    entry: Entry
    reused: bool


@dataclass(frozen=True)
class Repetition:
    """A repetition of what sees labels, as it ended: its plan, and its stages, shared ones included."""

    plan: Plan
    outcomes: Sequence[Outcome]

    @property
    def entries(self) -> dict[str, Entry]:
        """The finished stages by name."""
        return {outcome.stage.name: outcome.entry for outcome in self.outcomes}


def draw_verdict(repetitions: Sequence[Repetition]) -> dict[str, Any] | None:
    """Compare the pretrained network with the control, and with the best baseline, where there are any."""
    pretrained = _right(repetitions, "finetune")
    scratch = _right(repetitions, "scratch")
    compared = verdict(pretrained, scratch) if pretrained and scratch else None
    advice = _advice(repetitions)
    if compared is None and advice is None:
        return None
    figures = asdict(compared) if compared else {"gain": None, "ci95": None, "p": None}
    sentences = [each.text for each in (compared, advice) if each is not None]
    return figures | {"text": " ".join(sentences), "baseline": None if advice is None else asdict(advice)}


def _right(repetitions: Sequence[Repetition], name: str) -> list[np.ndarray]:
    found = [_correct(each, name) for each in repetitions]
    return [each for each in found if each is not None]


def _advice(repetitions: Sequence[Repetition]) -> Advice | None:
    found = [_candidates(each) for each in repetitions]
    judged = [each for each in found if each is not None]
    labels, entries = repetitions[0].plan.labels, repetitions[0].entries
    if labels is None or len(judged) < len(found):
        return None
    blended = entries["blend"].metrics["with"] if "blend" in entries else None
    return advise(judged, folds=labels.folds > 0, blended=blended)


def _correct(repetition: Repetition, name: str) -> np.ndarray | None:
    """Tell which test rows a network got right, `finetune` or `scratch`; None where there is none."""
    entries = repetition.entries
    if name not in entries:
        return None
    y = read_array(entries["data"].file("labels-test.npy"))
    correct: np.ndarray = read_array(entries[name].file("logits-test.npy"), mapped=True).argmax(1) == y
    return correct


def _candidates(repetition: Repetition) -> Candidates | None:
    """Judge the fine-tuned network, each baseline, and the mean of all; None where there are no baselines."""
    plan, entries = repetition.plan, repetition.entries
    fitted = plan.labelled.chosen.fitted
    if not fitted or plan.labels is None:
        return None
    data = entries["data"]
    y = np.concatenate([read_array(data.file(f"labels-{part}.npy")) for part in ("train", "val")])
    truth = {"val": y[plan.labels.judged], "test": read_array(data.file("labels-test.npy"))}

    def judged(shares: Mapping[str, np.ndarray]) -> Judged:
        return Judged(*(shares[part].argmax(1) == truth[part] for part in ("val", "test")))

    def of(baseline: Baseline) -> dict[str, np.ndarray]:
        stage = entries["baselines" if baseline.on == "columns" else "baselines-codes"]
        return {part: read_array(stage.file(f"probabilities-{part}-{baseline.name}.npy")) for part in truth}

    mean = best_mean(plan, entries)
    return Candidates(
        judged({part: stack_probabilities(plan, entries, part) for part in truth}),
        {each: judged(of(each)) for each in fitted},
        None if mean is None else judged({"val": mean.val, "test": mean.test}),
        None if mean is None else str(mean),
    )
