"""MNIST with labels and unlabelled images together, over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from experiments.lab import Found, Lab

HEADER = ("test error", "mean ± sd", "each seed")
ALL_COSTS = "{type: ladder, weights: [2000, 20, 0.1, 0.1, 0.1, 0.1, 0.1], batch_size: 250}"
CONSISTENCY = "{type: consistency, epsilon: 0.3, batch_size: 250}"


def mnist_100_labels(lab: Lab) -> Found:
    """A ladder with one cost, on the input (Rasmus et al. 2015), from a pretrained stack: 10 labels of each
    digit and no other, fixed length, last weights."""
    published = "1.09 % with one cost, 1.06 % with all (Rasmus et al. 2015)"
    return _found(lab, "mnist_100_labels", published, controls=lab.seeds)


def mnist_100_labels_consistency(lab: Lab) -> Found:
    """The same with virtual adversarial training (Miyato et al. 2018) in place of the ladder, by 0.3 times
    the square root of the images' total variance, and without noise."""
    changes = [f"finetune.semi_supervised={CONSISTENCY}", "finetune.noise=0", "finetune.input_noise=0"]
    published = "1.36 % (Miyato et al. 2018)"
    called = "mnist_100_labels_consistency"
    return _found(
        lab, "mnist_100_labels", published, changes=changes, called=called, method="adversarial training"
    )


def mnist_ladder_1000(lab: Lab) -> Found:
    """The same with 100 labels of each digit and no other."""
    return _found(lab, "mnist_ladder_1000", "0.90 % with one cost, 0.84 % with all (Rasmus et al. 2015)")


def mnist_ladder_1000_all_costs(lab: Lab) -> Found:
    """The same with costs on all layers, weighted as published."""
    called, changes = "mnist_ladder_1000_all_costs", [f"finetune.semi_supervised={ALL_COSTS}"]
    published = "0.84 % (Rasmus et al. 2015)"
    return _found(lab, "mnist_ladder_1000", published, changes=changes, called=called)


def mnist_ladder_all(lab: Lab) -> Found:
    """The same with all labels."""
    return _found(lab, "mnist_ladder_all", "0.59 % with one cost, 0.57 % with all (Rasmus et al. 2015)")


def mnist_ladder_basic(lab: Lab) -> Found:
    """The same on "basic" of Larochelle et al. 2007: 10,000 images with labels and no others; 2,000 that
    validate choose the epoch, and 50,000 are the test."""
    published = "2.48 % (CAE-2, Rifai et al. 2011), 2.84 % (SDAE-3, Vincent et al. 2010)"
    return _found(lab, "mnist_ladder_basic", published)


def _found(
    lab: Lab,
    config: str,
    published: str,
    *,
    changes: Sequence[str] = (),
    called: str = "",
    method: str = "ladder",
    controls: int = 1,
) -> Found:
    """Carries out a config, with changes under another name, with each seed.

    With the first `controls` of them it is trained from random weights too.
    """
    runs = []
    for seed in range(lab.seeds):
        words = [f"seed={seed}", *["compare.scratch=false"] * (seed >= controls), *changes]
        runs.append(lab.carry_out(config, *words, name=f"{called or config}-{seed}"))
    parts = {
        f"pretrained, {method}": [run.results.classifier for run in runs],
        f"from scratch, {method}": [run.results.scratch for run in runs],
        "from scratch, labels alone": [run.results.labels_alone for run in runs],
    }
    rows = []
    for name, found in parts.items():
        errors = [100 * each["test"]["error"] for each in found if each is not None]
        if errors:
            rows.append((name, _mean(errors), ", ".join(f"{error:.2f}" for error in errors)))
    rows.append(("published", published, ""))
    minutes = sorted({f"{run.stage('finetune')['seconds'] / 60:.0f}" for run in runs}, key=int)
    notes = [
        *(f"Seed {run.results.seed}: {run.results.verdict['text']}" for run in runs if run.results.verdict),
        f"Fine-tuning took {', '.join(minutes)} minutes, on one core beside others.",
    ]
    return Found(HEADER, rows, notes)


def _mean(errors: list[float]) -> str:
    spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
    return f"{fmean(errors):.2f}{spread} %"
