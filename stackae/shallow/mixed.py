"""The loss of tables: each feature is judged by what it means, a number, a yes or no, or a category."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The least probability that `inverse` tells from zero; categories may be far rarer than dark grey values.
_LEAST = 1e-4
# Where a group of logits is padded. Not minus infinity: times a target of zero that is NaN.
_NEVER = -1e30


@dataclass(frozen=True)
class Block:
    """Neighbouring features that come from one column of a table.

    `numeric`: one number; `binary`: one 0 or 1; `categorical`: one-hot, one feature per category. `column`
    is the index of the column; a numeric one with a feature for "missing" beside it has two blocks.
    """

    kind: Literal["numeric", "binary", "categorical"]
    size: int
    column: int


def columns_of(blocks: Sequence[Block]) -> tuple[int, ...] | None:
    """Return each feature's column by its index, or None where no two features share a column."""
    columns = tuple(block.column for block in blocks for _ in range(block.size))
    return columns if len(set(columns)) < len(columns) else None


class Mixed(nn.Module):
    """Squared error of numbers; cross-entropy, in nats, of logits for what is yes or no and for categories.

    Outputs, targets and weights are (rows, features), the features as `blocks` say. Targets of a categorical
    block are probabilities; where they are all zero, a category that training never saw, it costs nothing.
    """

    low, high = -math.inf, math.inf

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = tuple(blocks)
        self.layout = Layout(blocks)

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        numbers, answers, groups = self.layout.gather(output, pad=_NEVER)
        true_numbers, true_answers, true_groups = self.layout.gather(target, pad=0.0)
        squares = (numbers - true_numbers).square()
        weights = None
        if weight is not None:
            number_weights, weights, group_weights = self.layout.gather(weight, pad=0.0)
            squares = number_weights * squares
            true_groups = [
                true_group * group_weight
                for true_group, group_weight in zip(true_groups, group_weights, strict=True)
            ]
        total = squares.sum()
        total = total + F.binary_cross_entropy_with_logits(answers, true_answers, weights, reduction="sum")
        for logits, true_group in zip(groups, true_groups, strict=True):
            total = total - (true_group * logits.log_softmax(1)).sum()
        return total / len(target)

    def each(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of every row by itself, (rows,)."""
        numbers, answers, groups = self.layout.gather(output, pad=_NEVER)
        true_numbers, true_answers, true_groups = self.layout.gather(target, pad=0.0)
        total = (numbers - true_numbers).square().sum(0)
        total = total + F.binary_cross_entropy_with_logits(answers, true_answers, reduction="none").sum(0)
        for logits, true_group in zip(groups, true_groups, strict=True):
            total = total - (true_group * logits.log_softmax(1)).sum((0, 1))
        return total

    def inverse(self, mean: Tensor) -> Tensor:
        """Return the decoder's output that stands for a reconstruction (…, features), kept finite."""
        return self.layout.map(
            mean, 0.0, lambda answer: answer.logit(eps=_LEAST), lambda share: share.clamp(min=_LEAST).log()
        )

    def activation(self) -> nn.Module:
        return MixedActivation(self.blocks)


class MixedActivation(nn.Module):
    """Turns outputs (…, features) under `Mixed` into numbers and probabilities; a category's add up to 1."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.layout = Layout(blocks)

    def forward(self, output: Tensor) -> Tensor:
        return self.layout.map(output, _NEVER, torch.sigmoid, lambda logits: logits.softmax(1))


class Layout(nn.Module):
    """Where the features of each kind are; index tensors, which follow the module to its device.

    Categorical blocks are gathered by width into a few padded groups, so that dozens of blocks cost a few
    operations, and less than half of a group is padding. Features come before rows in them, because a
    softmax over short neighbouring values is several times slower. Sums over segments would be as fast,
    but on a GPU their order, and so their rounding, changes from run to run.
    """

    order: Tensor
    """What is gathered: numbers, answers, then group after group; one past the last feature is padding."""
    place: Tensor
    """Where each feature stands in that order."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        numeric: list[int] = []
        binary: list[int] = []
        groups: dict[int, list[list[int]]] = {}
        end = 0
        for block in blocks:
            features = list(range(end, end := end + block.size))
            if block.kind == "categorical":
                groups.setdefault((block.size - 1).bit_length(), []).append(features)
            else:
                (numeric if block.kind == "numeric" else binary).extend(features)
        order = [*numeric, *binary]
        self.shapes: list[tuple[int, int]] = []
        for members in groups.values():
            widest = max(map(len, members))
            self.shapes.append((len(members), widest))
            for features in members:
                order += features + [end] * (widest - len(features))
        self.sizes = [len(numeric), len(binary), *map(math.prod, self.shapes)]
        # They follow from the blocks, so checkpoints need not hold them.
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("place", torch.tensor(order).argsort(stable=True)[:end], persistent=False)

    def gather(self, x: Tensor, pad: float) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Split x (rows, features) into numbers, answers (features, rows), groups (blocks, widest, rows)."""
        padded = F.pad(x.t(), (0, 0, 0, 1), value=pad)
        numbers, answers, *groups = torch.split(padded.index_select(0, self.order), self.sizes)
        shaped = [group.view(*shape, len(x)) for group, shape in zip(groups, self.shapes, strict=True)]
        return numbers, answers, shaped

    def map(
        self,
        x: Tensor,
        pad: float,
        binary: Callable[[Tensor], Tensor],
        categorical: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Return x (…, features) with `binary` applied to its answers and `categorical` to its groups."""
        numbers, answers, groups = self.gather(x.reshape(-1, x.shape[-1]), pad)
        mapped = [numbers, binary(answers), *(categorical(group).flatten(0, 1) for group in groups)]
        return torch.cat(mapped).index_select(0, self.place).t().reshape(x.shape)
