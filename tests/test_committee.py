"""Several classifiers as one: their probabilities against means over the members, for all kinds of layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from stackae.build import build_unit
from stackae.committee import Committee, together
from stackae.config import LayerConfig
from stackae.stack import Classifier, Encoder

SHAPE = (1, 6, 6)
X = torch.rand(9, *SHAPE, generator=torch.Generator().manual_seed(0))
LAYERS: dict[str, list[dict[str, object]]] = {
    "dense": [{"width": 7}, {"width": 5, "activation": "tanh"}],
    "tied": [{"width": 7, "tied": True}, {"width": 5, "tied": True}],
    "sparse connections": [{"width": 7, "connectivity": 0.5}],
    "k_sparse": [{"kind": "k_sparse", "width": 7, "k": 3}],
    "variational": [{"width": 7}, {"kind": "variational", "width": 4}],
    "boltzmann": [{"kind": "rbm", "width": 7}],
    "conv": [{"unit": "conv", "width": 3, "pool": 2}, {"width": 4}],
    "tied conv": [{"unit": "conv", "width": 3, "tied": True, "stride": 2}],
    "top_k conv": [{"unit": "conv", "kind": "k_sparse", "width": 3, "k": 2}],
}


def network(name: str, *, dropout: float = 0.0) -> Classifier:
    units, shape = [], SHAPE
    for number, described in enumerate(LAYERS[name]):
        config = LayerConfig.model_validate(described | {"loss": "squared_error"})
        units.append(build_unit(config, shape, first=number == 0))
        with torch.no_grad():
            shape = tuple(units[-1].encoder(torch.zeros(1, *shape)).shape[1:])
    classifier = Classifier(
        Encoder([unit.encoder for unit in units]), shape, 4, dropout=dropout, input_dropout=dropout
    )
    # A head is zero at first, and then no gradient passes.
    nn.init.normal_(classifier.head.weight)
    return classifier


def networks(name: str, count: int = 3, *, dropout: float = 0.0) -> list[Classifier]:
    torch.manual_seed(0)
    return [network(name, dropout=dropout) for _ in range(count)]


# ---- committees


@pytest.mark.parametrize("name", LAYERS)
def test_a_committees_probabilities_are_the_mean_of_its_members(name: str) -> None:
    members = networks(name)
    committee = Committee(members).eval()
    expected = torch.stack([member(X).softmax(1) for member in members]).mean(0)

    torch.testing.assert_close(committee(X).softmax(1), expected)
    # They are probabilities' logarithms already: no constant is left out.
    torch.testing.assert_close(committee(X).exp().sum(1), torch.ones(len(X)))


def test_a_committee_is_as_precise_as_its_members_and_stays_finite() -> None:
    members = [member.double() for member in networks("dense", 2)]
    with torch.no_grad():
        for member in members:
            member.head.weight *= 1e4
    logits = Committee(members)(X.double())

    assert logits.dtype == torch.float64
    assert logits.isfinite().all()


def test_one_network_is_no_committee() -> None:
    (only,) = networks("dense", 1)
    assert together([only]) is only
    several = together(networks("dense", 4))
    assert isinstance(several, Committee)
    assert len(several) == 4
    assert len(list(several.parameters())) == 4 * len(list(only.parameters()))


def test_each_member_speaks_for_itself() -> None:
    committee = Committee(networks("dense"))
    each = committee.each(X)
    assert each.shape == (3, len(X), 4)
    for logits, member in zip(each, committee.members, strict=True):
        torch.testing.assert_close(logits, member(X))


@pytest.mark.parametrize("name", ["dense", "conv"])
def test_dropout_drops_for_each_member_anew_and_only_while_training(name: str) -> None:
    (first,) = networks(name, 1, dropout=0.5)
    committee = Committee([copy.deepcopy(first) for _ in range(3)])

    a, b, c = committee.train().each(X)
    assert not torch.equal(a, b)
    assert not torch.equal(b, c)
    a, b, c = committee.eval().each(X)
    assert torch.equal(a, b)
    assert torch.equal(a, first.eval()(X))


def test_the_parts_of_all_members_are_all_their_parameters() -> None:
    committee = Committee(networks("dense"))
    encoders, heads = committee.parts
    every = [*encoders.parameters(), *heads.parameters()]
    assert {id(each) for each in every} == {id(each) for each in committee.parameters()}
    assert len(every) == 3 * 6
    assert [head[0].weight.shape for head in heads] == [(4, 5)] * 3
