"""Fitted baselines as plain modules of torch: what a model holds of them, without scikit-learn.

scikit-learn's own objects would take seconds to load, and its trees trust the numbers of their nodes. These
are tensors alone, kept as all weights are, and work in an exported network too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from stackae.committee import Committee
from stackae.mixture import Mixture
from stackae.stack import Classifier, Encoder

CHUNK = 1024
"""Rows that are led through all trees at once."""


class Linear(nn.Module):
    """A logistic regression: x (rows, columns) -> logits (rows, classes)."""

    def __init__(self, columns: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Buffer(torch.zeros(classes, columns))
        self.bias = nn.Buffer(torch.zeros(classes))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.bias

    def check(self) -> None:
        """Raise ValueError where a file has filled it with what belongs to none."""


class Kernel(nn.Module):
    """An SVM with a Gaussian kernel: x (rows, columns) -> logits (rows, classes).

    Decisions of each pair of classes become votes and confidences, as libsvm and scikit-learn have them;
    logits are these, one class against the rest, times `sharpness`.
    """

    def __init__(self, columns: int, classes: int, vectors: int) -> None:
        super().__init__()
        pairs = classes * (classes - 1) // 2
        self.classes = classes
        self.vectors = nn.Buffer(torch.zeros(vectors, columns))
        self.weight = nn.Buffer(torch.zeros(pairs, vectors))
        self.bias = nn.Buffer(torch.zeros(pairs))
        self.gamma = nn.Buffer(torch.zeros(1))
        self.sharpness = nn.Buffer(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        # By sums of squares, in double precision: the exporters know no distances.
        x, vectors = x.double(), self.vectors.double()
        squares = x.square().sum(1, keepdim=True) + vectors.square().sum(1) - 2 * x @ vectors.T
        kernel = (-self.gamma.double() * squares.clamp(min=0)).exp()
        decisions = kernel @ self.weight.double().T + self.bias.double()
        if self.classes == 2:
            # Of two classes the sign is that of the second.
            logits = torch.cat([torch.zeros_like(decisions), decisions], 1)
        else:
            first, second = torch.triu_indices(self.classes, self.classes, 1)
            one = torch.nn.functional.one_hot(first, self.classes).to(decisions)
            other = torch.nn.functional.one_hot(second, self.classes).to(decisions)
            confidences = decisions @ (one - other)
            won = (decisions >= 0).to(decisions)
            votes = won @ one + (1 - won) @ other
            logits = votes + confidences / (3 * (confidences.abs() + 1))
        return (logits * self.sharpness.double()).to(self.bias.dtype)

    def check(self) -> None:
        """Raise ValueError where a file has filled it with what belongs to none."""


class Trees(nn.Module):
    """Trees whose leaves add to the classes: x (rows, columns) -> (rows, classes).

    Of a forest the sum is the probabilities, of boosting it is the logits; this returns logits either way.
    `next` has each node's two successors, beyond it, the first for values up to the threshold; a leaf is its
    own. `entries` is how many classes a leaf adds to at most, `depth` the longest way to one.
    """

    def __init__(
        self,
        columns: int,
        classes: int,
        *,
        trees: int,
        nodes: int,
        entries: int,
        depth: int,
        sums: Literal["probabilities", "logits"],
    ) -> None:
        super().__init__()
        self.columns, self.classes, self.depth, self.sums = columns, classes, depth, sums
        self.root = nn.Buffer(torch.zeros(trees, dtype=torch.int32))
        self.feature = nn.Buffer(torch.zeros(nodes, dtype=torch.int32))
        self.threshold = nn.Buffer(torch.zeros(nodes))
        self.next = nn.Buffer(torch.zeros(2 * nodes, dtype=torch.int32))
        self.kind = nn.Buffer(torch.zeros(nodes, entries, dtype=torch.int32))
        self.value = nn.Buffer(torch.zeros(nodes, entries))
        self.start = nn.Buffer(torch.zeros(classes))

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting() or len(x) <= CHUNK:
            return self._logits(x)
        return torch.cat([self._logits(part) for part in torch.split(x, CHUNK)])

    def _logits(self, x: Tensor) -> Tensor:
        node = self.root.long().expand(x.shape[0], -1)
        for _ in range(self.depth):
            beyond = x.gather(1, self.feature[node].long()) > self.threshold[node]
            node = self.next[2 * node + beyond.long()].long()
        kinds, values = self.kind[node].long().flatten(1), self.value[node].flatten(1)
        total = self.start.expand(x.shape[0], -1).scatter_add(1, kinds, values)
        if self.sums == "logits":
            return total
        return total.clamp(min=torch.finfo(torch.float32).tiny).log()

    def check(self) -> None:
        """Raise ValueError where a file has filled it with what belongs to none."""
        nodes = len(self.feature)
        own = torch.arange(nodes, dtype=torch.int32)
        low, high = self.next.view(nodes, 2).T
        leaf = (low == own) & (high == own)
        onward = (low > own) & (high > own) & (low < nodes) & (high < nodes)
        for name, wrong in {
            "next": ~(leaf | onward),
            "root": (self.root < 0) | (self.root >= nodes),
            "feature": (self.feature < 0) | (self.feature >= self.columns),
            "kind": (self.kind < 0) | (self.kind >= self.classes),
        }.items():
            if wrong.any():
                raise ValueError(f"baseline.{name} points nowhere")


class Neighbours(nn.Module):
    """Rows that are as their nearest are: x (rows, columns) -> logits (rows, classes).

    Columns are multiplied by `scale`. Of the `nearest` known places each has a say that falls with its
    distance, in units of that of the farthest among them; what it says are its `shares` of the classes.
    """

    def __init__(self, columns: int, classes: int, *, rows: int, nearest: int) -> None:
        super().__init__()
        self.nearest = nearest
        self.scale = nn.Buffer(torch.zeros(columns))
        self.places = nn.Buffer(torch.zeros(rows, columns))
        self.shares = nn.Buffer(torch.zeros(rows, classes))

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting() or len(x) <= CHUNK:
            return self._logits(x)
        return torch.cat([self._logits(part) for part in torch.split(x, CHUNK)])

    def _logits(self, x: Tensor) -> Tensor:
        # By sums of squares, in double precision: the exporters know no distances.
        x, places = (x * self.scale).double(), self.places.double()
        squares = x.square().sum(1, keepdim=True) + places.square().sum(1) - 2 * x @ places.T
        near, which = squares.clamp(min=0).topk(self.nearest, largest=False)
        say = (-near / near[:, -1:].clamp(min=1e-24)).exp()
        mean = (say[:, :, None] * self.shares.double()[which]).sum(1) / say.sum(1, keepdim=True)
        return mean.clamp(min=torch.finfo(torch.float32).tiny).log().to(self.shares.dtype)

    def check(self) -> None:
        """Raise ValueError where a file has filled it with what belongs to none."""
        if not ((self.shares >= 0) & (self.shares <= 1)).all():
            raise ValueError("baseline.shares are none")


Baseline = Linear | Kernel | Trees | Neighbours


LEAST = math.log(torch.finfo(torch.float32).tiny)
"""The least logarithm of a probability."""


class Partner(nn.Module):
    """A baseline that a classifier is averaged with: (rows, columns) -> logits (rows, classes).

    It knows the classes `seen`. It takes the columns or, `on_codes`, the codes of all depths beside them.
    """

    def __init__(self, baseline: Baseline, seen: Tensor, classes: int, *, on_codes: bool) -> None:
        super().__init__()
        self.baseline, self.classes, self.on_codes = baseline, classes, on_codes
        self.seen = nn.Buffer(seen.to(torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.baseline(x).log_softmax(1).clamp(min=LEAST).to(x.dtype)
        # Of classes that it does not know it says that they are next to impossible.
        nothing = torch.full((x.shape[0], self.classes), LEAST, dtype=x.dtype, device=x.device)
        return nothing.scatter(1, self.seen.long().expand(x.shape[0], -1), found)

    def check(self) -> None:
        """Raise ValueError where a file has filled it with what belongs to none."""
        if ((self.seen < 0) | (self.seen >= self.classes)).any():
            raise ValueError("seen points nowhere")
        self.baseline.check()


class Blend(nn.Module):
    """A classifier averaged with baselines: (rows, *shape) -> logits (rows, classes).

    The softmax of the logits is the mean of all probabilities, as the mixture has it, in which the network
    comes first. `coder` makes the codes, the pretrained encoder; None where no baseline takes any.
    """

    def __init__(
        self,
        network: Classifier | Committee,
        partners: Sequence[Partner],
        coder: Encoder | None,
        mixture: Mixture,
    ) -> None:
        super().__init__()
        self.network, self.mixture, self.coder = network, mixture, coder
        self.partners = nn.ModuleList(partners)
        # The same once more, with their type.
        self._partners = tuple(partners)

    @property
    def encoder(self) -> Encoder:
        """The network's encoder."""
        return self.network.encoder

    def forward(self, x: Tensor) -> Tensor:
        logits, columns = [self.network(x)], x.flatten(1)
        beside = columns
        if self.coder is not None:
            beside = torch.cat([columns, *(code.flatten(1) for code in self.coder.depths(x))], 1)
        logits += [each(beside if each.on_codes else columns) for each in self._partners]
        shares = [
            share * (power * each).softmax(1)
            for share, power, each in zip(self.mixture.shares, self.mixture.powers, logits, strict=True)
        ]
        mean = torch.stack(shares).sum(0)
        return mean.clamp(min=torch.finfo(torch.float32).tiny).log()

    def check(self) -> None:
        """Raise ValueError where a file has filled it with what belongs to none."""
        for each in self._partners:
            each.check()
