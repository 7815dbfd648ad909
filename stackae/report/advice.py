"""What to use: the stack, the best baseline, or the mean of both, by rows that none was fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stackae.plan.baselines import Baseline, named
from stackae.report.verdict import paired, repeated


@dataclass(frozen=True)
class Advice:
    """The best baseline beside the stack; `use` is what is best on the rows of `val`:
    `stack`, `baseline` or `mean`.

    `val` and `test` have the accuracies of the `baseline`, of the `stack`, and of the `mean` of the stack's
    probabilities and those of `mean_with`, baselines in the shares that suit it best; the test rows decide
    nothing. `p` is McNemar's, of baseline and stack on the rows of `val`. Over several repetitions
    the accuracies are means, and `p` is that of the paired t-test of those of `val`.
    """

    name: str
    on: str
    use: str
    mean_with: str | None
    val: Mapping[str, float | None]
    test: Mapping[str, float | None]
    p: float
    text: str


@dataclass(frozen=True, eq=False)
class Judged:
    """Whether a classifier was right: boolean (rows,), of the rows that validate and of the test."""

    val: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class Candidates:
    """What may be used after one repetition; `mean` is the stack's with the baselines `mean_with`, if any."""

    stack: Judged
    baselines: Mapping[Baseline, Judged]
    mean: Judged | None = None
    mean_with: str | None = None


def advise(repetitions: Sequence[Candidates], *, folds: bool, blended: str | None = None) -> Advice | None:
    """Say what to use, by the mean over the repetitions.

    `blended` are the baselines that the model holds already. None where no rows validate, or no baseline is
    among those of all repetitions.
    """
    baselines = _in_all([each.baselines for each in repetitions])
    if not baselines or not all(len(each.stack.val) for each in repetitions):
        return None
    best = max(baselines, key=lambda each: _accuracy(baselines[each], "val"))
    judged = {"baseline": baselines[best], "stack": [each.stack for each in repetitions]}
    means = [each.mean for each in repetitions if each.mean is not None]
    # Of several repetitions those of the first, whose model is kept.
    mean_with = repetitions[0].mean_with if len(means) == len(repetitions) else None
    if mean_with is not None:
        judged["mean"] = means
    val = {name: _accuracy(each, "val") for name, each in judged.items()}
    test = {name: _accuracy(each, "test") for name, each in judged.items()}
    certainty = _certainty(judged["baseline"], judged["stack"])
    use = max(("stack", "baseline", "mean"), key=lambda name: val.get(name, 0.0))
    how = "cross-validation" if folds else "the rows held out"
    over = f", means of {len(repetitions)} repetitions" if len(repetitions) > 1 else ""
    better = blended is not None and val.get("mean", 0.0) >= val["baseline"]
    text = _compared(best, val, test, certainty, f"{how}{over}", use_it=not better)
    if blended is not None:
        figures = ""
        if mean_with is not None:
            figures = f": {_percent(val['mean'])}, and {_percent(test['mean'])} on the test rows"
        text += f" The model averages the stack's probabilities with those of {named(blended)}{figures}."
    elif use == "mean" and mean_with is not None:
        figures = f"{_percent(val['mean'])}; {_percent(test['mean'])} on the test rows"
        text += (
            f" Better still by {how} is the mean of the probabilities of the stack and of "
            f"{named(mean_with)} ({figures}): set finetune.blend: auto."
        )
    none: dict[str, float | None] = {"mean": None}
    return Advice(best.name, best.on, use, mean_with, {**none, **val}, {**none, **test}, certainty.p, text)


@dataclass(frozen=True)
class _Certainty:
    """The p-value of a paired test, and the test's name."""

    p: float
    test: str


def _certainty(first: Sequence[Judged], second: Sequence[Judged]) -> _Certainty:
    pairs = [(one.val, other.val) for one, other in zip(first, second, strict=True)]
    if len(pairs) == 1:
        return _Certainty(paired(*pairs[0]).p, "McNemar")
    gains = [float(one.mean() - other.mean()) for one, other in pairs]
    return _Certainty(repeated(gains, len(pairs[0][0])).p, "paired t-test")


def _in_all(repetitions: Sequence[Mapping[Baseline, Judged]]) -> dict[Baseline, list[Judged]]:
    """Gather what all repetitions have."""
    first = repetitions[0]
    return {
        name: [each[name] for each in repetitions]
        for name in first
        if all(name in each for each in repetitions)
    }


def _accuracy(repetitions: Sequence[Judged], part: Literal["val", "test"]) -> float:
    return float(np.mean([getattr(each, part).mean() for each in repetitions]))


def _compared(
    best: Baseline,
    val: Mapping[str, float],
    test: Mapping[str, float],
    certainty: _Certainty,
    how: str,
    *,
    use_it: bool,
) -> str:
    """Say in a sentence whether the best baseline or the stack is ahead and, with `use_it`, what to do."""
    ahead = val["baseline"] > val["stack"]
    first, second = ("baseline", "stack") if ahead else ("stack", "baseline")
    sure = ""
    if certainty.p >= 0.05:
        sure = f"; no clear difference, {certainty.test} p = {certainty.p:.2g}"
    figures = (
        f"({_percent(val[first])} to {_percent(val[second])} by {how}{sure}; "
        f"{_percent(test[first])} to {_percent(test[second])} on the test rows)"
    )
    several = best.name == "extra_trees"
    if ahead:
        is_ahead, it = ("are", "them") if several else ("is", "it")
        end = f": use {it} instead" if use_it and not sure else ""
        return f"{_upper(str(best))} {is_ahead} ahead of the stack {figures}{end}."
    if val["baseline"] == val["stack"]:
        return (
            f"The best of the baselines, {best}, {'are' if several else 'is'} as good as the stack {figures}."
        )
    return f"The stack is ahead of the best of the baselines, {best} {figures}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
