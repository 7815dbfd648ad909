"""Virtual adversarial training, where the direction and the divergence are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from stackae.joint.consistency import Consistency
from stackae.stack import Classifier, Encoder

X = torch.tensor([[0.5, -1.0, 0.2], [1.0, 0.3, -0.4]])


def linear() -> Classifier:
    """Two classes, apart along one direction: a logistic regression."""
    made = Classifier(Encoder([nn.Sequential(nn.Flatten())]), (3,), 2, dropout=0.0, input_dropout=0.0)
    with torch.no_grad():
        made.head.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5]]))
        made.head.bias.copy_(torch.tensor([0.0, 0.3]))
    return made.train()


def test_rows_are_moved_across_the_boundarys_direction() -> None:
    made, distance, weight = linear(), 0.7, 3.0
    normal = (made.head.weight[1] - made.head.weight[0]).detach()
    slope = float(normal.norm())
    torch.manual_seed(0)
    found = Consistency(made, distance, weight)(X).item()
    possible = []
    for first in (1, -1):
        for second in (1, -1):
            total = 0.0
            for row, sign in zip(X, (first, second), strict=True):
                margin = float(row @ normal) + 0.3
                own = 1 / (1 + math.exp(-margin))
                moved = 1 / (1 + math.exp(-(margin + sign * distance * slope)))
                total += own * math.log(own / moved) + (1 - own) * math.log((1 - own) / (1 - moved))
            possible.append(weight * total / 2)
    # Which of the two ways a row goes depends on the direction that was drawn.
    assert min(abs(found - each) for each in possible) == pytest.approx(0, abs=1e-4)


def test_what_does_not_depend_on_the_rows_costs_nothing() -> None:
    made = linear()
    nn.init.zeros_(made.head.weight)
    assert Consistency(made, 1.0, 1.0)(X).item() == pytest.approx(0, abs=1e-6)


def test_the_prediction_that_is_kept_is_not_learnt_from() -> None:
    made = linear()
    torch.manual_seed(0)
    Consistency(made, 0.7, 1.0)(X).backward()
    assert made.head.weight.grad is not None
    before = made.head.weight.detach().clone()
    with torch.no_grad():
        made.head.weight.sub_(0.1 * made.head.weight.grad)
    torch.manual_seed(0)
    after = Consistency(made, 0.7, 1.0)(X)
    made.head.weight.data.copy_(before)
    torch.manual_seed(0)
    assert after < Consistency(made, 0.7, 1.0)(X)
