"""From fitted classifiers of scikit-learn to modules of torch with the same probabilities."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch

from stackae.baseline import Baseline, Kernel, Linear, Neighbours, Trees
from stackae.config import BaselineName

Module = TypeVar("Module", Linear, Kernel, Trees, Neighbours)


def as_module(name: BaselineName, model: Any, sharpness: float = 1.0) -> Baseline:
    """Turn a fitted classifier into a module, of the classes that it has seen."""
    match name:
        case "logistic_regression":
            return _linear(model)
        case "svm":
            return _kernel(model, sharpness)
        case "extra_trees":
            return _forest(model)
        case "boosting":
            return _boosting(model)
        case "label_spreading":
            return _neighbours(model)


def _neighbours(model: Any) -> Neighbours:
    rows, columns = model.rows.shape
    module = Neighbours(columns, len(model.classes_), rows=rows, nearest=model.nearest)
    return _filled(module, scale=model.scale, places=model.rows, shares=model.shares)


def _linear(model: Any) -> Linear:
    scaler, regression = model
    weight = regression.coef_ / scaler.scale_
    bias = regression.intercept_ - weight @ scaler.mean_
    if len(weight) == 1:
        # Of two classes the sign is that of the second.
        weight, bias = np.vstack([0 * weight, weight]), np.append(0.0, bias)
    module = Linear(weight.shape[1], len(weight))
    return _filled(module, weight=weight, bias=bias)


def _kernel(model: Any, sharpness: float) -> Kernel:
    classes, vectors = len(model.classes_), model.support_vectors_
    ends = np.cumsum(np.append(0, model.n_support_))
    own = [slice(*pair) for pair in pairwise(ends)]
    pairs = [(one, other) for one in range(classes) for other in range(one + 1, classes)]
    weight = np.zeros((len(pairs), len(vectors)))
    # libsvm keeps a vector's weight against each other class in one column (scikit-learn's guide, 1.4.7.4).
    for row, (one, other) in enumerate(pairs):
        weight[row, own[one]] = model.dual_coef_[other - 1, own[one]]
        weight[row, own[other]] = model.dual_coef_[one, own[other]]
    bias = np.atleast_1d(model.intercept_)
    module = Kernel(vectors.shape[1], classes, len(vectors))
    return _filled(
        module,
        vectors=vectors,
        weight=weight,
        bias=bias,
        gamma=np.array([model.gamma]),
        sharpness=np.array([sharpness]),
    )


def _forest(model: Any) -> Trees:
    trees = [estimator.tree_ for estimator in model.estimators_]
    values = [tree.value[:, 0] / len(trees) for tree in trees]
    leaf = np.concatenate([tree.children_left < 0 for tree in trees])
    shares = np.concatenate(values) * leaf[:, None]
    entries = max(1, int((shares > 0).sum(1).max()))
    # The classes that a leaf adds to, first.
    kind = np.argsort(-shares, axis=1, kind="stable")[:, :entries]
    value = np.take_along_axis(shares, kind, 1)
    return _trees(
        [(tree.feature, tree.threshold, tree.children_left, tree.children_right) for tree in trees],
        leaf,
        kind,
        value,
        np.zeros(len(model.classes_)),
        columns=model.n_features_in_,
        depth=max(tree.max_depth for tree in trees),
        sums="probabilities",
    )


def _boosting(model: Any) -> Trees:
    classes = len(model.classes_)
    nodes, kinds = [], []
    for iteration in model._predictors:
        for kind, predictor in enumerate(iteration):
            nodes.append(predictor.nodes)
            # Of two classes the sign is that of the second.
            kinds.append(np.full(len(predictor.nodes), 1 if classes == 2 else kind))
    every = np.concatenate(nodes)
    leaf = every["is_leaf"].astype(bool)
    start = np.ravel(model._baseline_prediction)
    return _trees(
        [(each["feature_idx"], each["num_threshold"], each["left"], each["right"]) for each in nodes],
        leaf,
        np.concatenate(kinds)[:, None],
        (every["value"] * leaf)[:, None],
        np.append(0.0, start) if classes == 2 else start,
        columns=model.n_features_in_,
        depth=int(every["depth"].max()),
        sums="logits",
    )


def _trees(
    trees: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    leaf: np.ndarray,
    kind: np.ndarray,
    value: np.ndarray,
    start: np.ndarray,
    *,
    columns: int,
    depth: int,
    sums: Any,
) -> Trees:
    """Put trees (feature, threshold, left, right) one after the other; the rest is of all their nodes."""
    sizes = [len(feature) for feature, *_ in trees]
    root = np.cumsum([0, *sizes])[:-1]
    offset = np.repeat(root, sizes)
    columnwise = zip(*trees, strict=True)
    feature, threshold, *sides = (np.concatenate(each).astype(np.float64) for each in columnwise)
    own = np.arange(len(leaf))
    successors = [np.where(leaf, own, side + offset) for side in sides]
    module = Trees(
        columns, len(start), trees=len(trees), nodes=len(leaf), entries=kind.shape[1], depth=depth, sums=sums
    )
    return _filled(
        module,
        root=root,
        feature=np.where(leaf, 0, feature),
        threshold=_rounded_down(np.where(leaf, 0.0, threshold)),
        next=np.stack(successors, 1).ravel(),
        kind=kind,
        value=value,
        start=start,
    )


def _rounded_down(threshold: np.ndarray) -> np.ndarray:
    """Return the greatest numbers of single precision that are not above; rows are compared the same."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _filled(module: Module, **tensors: np.ndarray) -> Module:
    buffers = dict(module.named_buffers())
    for name, values in tensors.items():
        buffers[name].copy_(torch.from_numpy(np.ascontiguousarray(values)))
    return module
