"""Stacks whose published figure is a classifier's error on MNIST."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from experiments.drawing import filters
from experiments.lab import Found, Lab, Run
from stackae.shallow.activations import TopK

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
HEADER = ("test error", "ours", "the same network from scratch", "published")


def mnist_k_sparse(lab: Lab) -> Found:
    """A k-sparse autoencoder of 1,000 units, 25 of them active (Makhzani & Frey 2013), with 50,000 labels: a
    softmax on its frozen features, and all fine-tuned."""
    tuned = lab.carry_out("mnist_k_sparse")
    _draw(lab, tuned, 16)
    encoder = tuned.model.encoder
    (chosen,) = (layer for layer in encoder.modules() if isinstance(layer, TopK))
    rows = []
    # The paper's features have more active units than it trains with (section 2.2).
    for kept in (chosen.k, 2 * chosen.k, 3 * chosen.k):
        chosen.k = kept
        error = f"{linear_error(tuned, encoder):.2%}"
        rows.append((f"softmax on the frozen features, {kept} active", error, "", "1.35 %"))
    return Found(
        HEADER,
        [*rows, ("fine-tuned", _error(tuned), _scratch(tuned), "")],
        notes=[_verdict(tuned)],
        why="more epochs help, 30 of them ended at 1.97 % (75 active). It is not that the authors lower the "
        "number of active units slowly: from 100 to 25 over the first half of pretraining ends at 2.07 % "
        "after 150 epochs and at 2.29 % after 30 (75 active; on validation rows 2.02 and 2.12 beside 1.85 "
        "and 1.93 without).",
    )


def mnist_linear_probe(lab: Lab) -> Found:
    """A logistic regression on the frozen features of two denoising layers of 2,000 units, with 50,000
    labels."""
    run = lab.carry_out("mnist_linear_probe")
    _draw(lab, run, 16)
    encoder = run.model.encoder
    rows = [
        ("on the pixels", f"{linear_error(run, nn.Flatten()):.2%}", ""),
        ("on the first layer's", f"{linear_error(run, encoder.layers[0]):.2%}", ""),
        ("on the second layer's", f"{linear_error(run, encoder):.2%}", "2.14 % (SubTab, Ucar et al. 2021)"),
    ]
    return Found(("test error of a logistic regression", "ours", "published"), rows)


def mnist_contractive(lab: Lab) -> Found:
    """One contractive layer of 1,000 units (Rifai et al. 2011), fine-tuned with 50,000 labels."""
    run = lab.carry_out("mnist_contractive")
    _draw(lab, run, 16)
    row = ("fine-tuned", _error(run), _scratch(run), "1.14 % (Rifai et al. 2011)")
    why = (
        "one strength of the penalty and one learning rate, where the authors searched both. Half of the "
        "sigmoid units dropped and 12 epochs of fine-tuning ended at 4.14 %."
    )
    return Found(HEADER, [row], notes=[_verdict(run)], why=why)


def mnist_sparse_kl(lab: Lab) -> Found:
    """Two layers of 200 units with KL sparsity (the UFLDL tutorial), before and after fine-tuning."""
    run = lab.carry_out("mnist_sparse_kl")
    _draw(lab, run, 16)
    probe = run.results.probe[-1]["test"]["accuracy"]
    assert run.results.classifier is not None
    tuned = run.results.classifier["test"]["accuracy"]
    return Found(
        ("test accuracy", "ours", "the UFLDL tutorial, exercise on stacked autoencoders"),
        [
            ("softmax on the second layer's features", f"{probe:.1%}", "87.7 %"),
            ("fine-tuned", f"{tuned:.1%}", "97.6 %"),
        ],
        notes=[_verdict(run)],
    )


def mnist_conv_stack(lab: Lab) -> Found:
    """Stacked convolutional autoencoders with max-pooling (Masci et al. 2011), smaller, on 20,000 images."""
    few = lab.carry_out("mnist_conv_stack")
    many = lab.carry_out(
        "mnist_conv_stack", "data.labels=10000", "finetune.epochs=15", name="mnist_conv_stack-10000"
    )
    _draw(lab, few, 16)
    return Found(
        HEADER,
        [
            ("1,000 labels", _error(few), _scratch(few), "7.23 % (Masci et al. 2011)"),
            ("10,000 labels", _error(many), _scratch(many), "1.88 % (Masci et al. 2011)"),
        ],
        notes=[
            f"1,000 labels: {_verdict(few)}",
            f"10,000 labels: {_verdict(many)}",
            "A first try with a third of the learning rate for the pretrained layers had test errors of "
            "4.94 % and 2.31 %; it was dropped after they were seen, and validation agrees (5.65 % against "
            "4.30 %, 2.75 % against 1.85 %).",
        ],
    )


@torch.no_grad()
def linear_error(run: Run, encoder: nn.Module) -> float:
    """The test error of a logistic regression on frozen features of all labelled rows.

    Of four strengths the one with the least error on the validation rows.
    """
    data = run.data
    assert data.classes is not None
    parts = [data.split.train, data.split.val, data.split.test]
    codes = [
        np.concatenate([encoder(torch.from_numpy(chunk)).numpy() for chunk in _chunks(data.rows[part])])
        for part in parts
    ]
    spread = codes[0].std(0)
    codes = [(each - codes[0].mean(0)) / np.maximum(spread, 0.1 * spread.mean()) for each in codes]
    (x, x_val, x_test), (y, y_val, y_test) = codes, (data.classes[part] for part in parts)
    fits = [LogisticRegression(C=strength, max_iter=200).fit(x, y) for strength in STRENGTHS]
    best = max(fits, key=lambda fit: fit.score(x_val, y_val))
    return float(1 - best.score(x_test, y_test))


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows.astype(np.float32), max(1, len(rows) // 2000))


def _draw(lab: Lab, run: Run, columns: int) -> None:
    """Draws what up to 64 units of the first layer look for."""
    first = next(layer for layer in run.model.encoder.modules() if isinstance(layer, nn.Linear | nn.Conv2d))
    weights = first.weight.detach().numpy()[:64]
    side = run.model.shape if isinstance(first, nn.Linear) else weights.shape[2:]
    filters(lab.picture, np.asarray(weights).reshape(len(weights), *side), columns)


def _error(run: Run) -> str:
    assert run.results.classifier is not None
    return f"{run.results.classifier['test']['error']:.2%}"


def _scratch(run: Run) -> str:
    return f"{run.results.scratch['test']['error']:.2%}" if run.results.scratch else ""


def _verdict(run: Run) -> str:
    return str(run.results.verdict["text"]) if run.results.verdict else ""
