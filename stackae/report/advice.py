"""What to use: the stack, the best baseline, or the mean of both, by rows that none was fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stackae.plan.baselines import Baseline, called
from stackae.report.verdict import paired


@dataclass(frozen=True)
class Advice:
    """The best baseline beside the stack; `use` is what is best on the rows of `val`:
    `stack`, `baseline` or `mean`.

    `val` and `test` have the accuracies of the `baseline`, of the `stack`, and of the `mean` of the stack's
    probabilities and those of `mean_with`, the baseline on the columns that suits it best; the test rows
    decide nothing. `p` is McNemar's, of baseline and stack on the rows of `val`.
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


def advise(
    stack: Judged,
    baselines: Mapping[Baseline, Judged],
    means: Mapping[str, Judged],
    *,
    folds: bool,
    blended: str | None = None,
) -> Advice | None:
    """Say what to use; `means` are the stack's with each baseline on the columns, by its name.

    `blended` is the baseline that the model holds already. None where no rows validate, or there are no
    baselines.
    """
    if not baselines or not len(stack.val):
        return None
    best = max(baselines, key=lambda each: baselines[each].val.mean())
    judged = {"baseline": baselines[best], "stack": stack}
    mean_with = max(means, key=lambda each: means[each].val.mean()) if means else None
    if mean_with is not None:
        judged["mean"] = means[mean_with]
    val = {name: float(each.val.mean()) for name, each in judged.items()}
    test = {name: float(each.test.mean()) for name, each in judged.items()}
    p = paired(baselines[best].val, stack.val).p
    use = max(("stack", "baseline", "mean"), key=lambda name: val.get(name, 0.0))
    how = "cross-validation" if folds else "the rows held out"
    text = _compared(best, val, test, p, how)
    if blended is not None:
        text += f" The model averages the stack's probabilities with those of {called(blended)}."
    elif use == "mean" and mean_with is not None:
        figures = f"{_percent(val['mean'])}; {_percent(test['mean'])} on the test rows"
        text += (
            f" Better still by {how} is the mean of the probabilities of the stack and of "
            f"{called(mean_with)} ({figures}): set finetune.blend: {mean_with}."
        )
    none: dict[str, float | None] = {"mean": None}
    return Advice(best.name, best.on, use, mean_with, {**none, **val}, {**none, **test}, p, text)


def _compared(best: Baseline, val: Mapping[str, float], test: Mapping[str, float], p: float, how: str) -> str:
    """Say in a sentence whether the best baseline or the stack is ahead, and what to do."""
    ahead = val["baseline"] > val["stack"]
    first, second = ("baseline", "stack") if ahead else ("stack", "baseline")
    sure = "" if p < 0.05 else f"; no clear difference, McNemar p = {p:.2g}"
    figures = (
        f"({_percent(val[first])} to {_percent(val[second])} by {how}{sure}; "
        f"{_percent(test[first])} to {_percent(test[second])} on the test rows)"
    )
    several = best.name == "extra_trees"
    if ahead:
        is_ahead, it = ("are", "them") if several else ("is", "it")
        return f"{_upper(str(best))} {is_ahead} ahead of the stack {figures}: use {it} instead."
    if val["baseline"] == val["stack"]:
        return (
            f"The best of the baselines, {best}, {'are' if several else 'is'} as good as the stack {figures}."
        )
    return f"The stack is ahead of the best of the baselines, {best} {figures}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
