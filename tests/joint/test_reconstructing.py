"""The reconstruction term of fine-tuning, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from stackae.joint.reconstructing import Reconstructing
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.corruptions import Masking
from stackae.shallow.losses import LOSSES
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Decoder, Encoder

X = torch.rand(30, 6)


def made(rate: float | None) -> tuple[Classifier, Decoder, Reconstructing]:
    torch.manual_seed(0)
    unit = DenseUnit((6,), 5, ACTIVATIONS["relu"])
    classifier = Classifier(Encoder([unit.encoder]), (5,), 3, dropout=0.0, input_dropout=0.0).train()
    decoder = Decoder([unit.decoder])
    corruption = None if rate is None else Masking(rate, None)
    return classifier, decoder, Reconstructing(classifier, decoder, LOSSES["squared_error"], corruption, 2.0)


def test_it_is_the_loss_per_input() -> None:
    classifier, decoder, joint = made(None)
    output = decoder(classifier.encoder(X)).detach().numpy()
    expected = 2.0 * np.square(output - X.numpy()).sum(1).mean() / 6
    assert joint(X).item() == pytest.approx(expected, rel=1e-5)


def test_the_corruption_follows_the_global_generator_which_steps_are_seeded_by() -> None:
    _, _, joint = made(0.5)
    torch.manual_seed(1)
    first = joint(X)
    assert not torch.equal(joint(X), first)
    torch.manual_seed(1)
    assert torch.equal(joint(X), first)


def test_the_decoder_is_its_own_and_the_network_is_not() -> None:
    classifier, decoder, joint = made(0.5)
    assert {id(each) for each in joint.parameters()} == {id(each) for each in decoder.parameters()}
    joint(X).backward()
    for module in (classifier.encoder, decoder):
        assert all(each.grad is not None and each.grad.any() for each in module.parameters())
    assert isinstance(classifier.entry, nn.Identity)
