"""The loss of tables against plain numpy, block by block."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_expit, log_softmax, softmax

from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.corruptions import Swap
from stackae.shallow.mixed import Block, Mixed, columns_of
from stackae.shallow.objectives import Emphasis, Reconstruction
from stackae.shallow.units import DenseUnit

# Every kind and several widths, in no order; column 2 is a number that may be missing.
BLOCKS = (
    Block("categorical", 3, 0),
    Block("numeric", 1, 1),
    Block("categorical", 9, 4),
    Block("numeric", 1, 2),
    Block("binary", 1, 2),
    Block("categorical", 2, 3),
    Block("categorical", 4, 5),
    Block("categorical", 1, 6),
)
FEATURES = sum(block.size for block in BLOCKS)
RNG = np.random.default_rng(0)


def drawn(blocks: tuple[Block, ...], rows: int, rng: np.random.Generator) -> np.ndarray:
    """Targets as a table has them: numbers, zeros and ones, one-hot categories."""
    parts = []
    for block in blocks:
        if block.kind == "categorical":
            parts.append(np.eye(block.size)[rng.integers(block.size, size=rows)])
        else:
            parts.append(
                rng.normal(size=(rows, 1)) if block.kind == "numeric" else rng.integers(2, size=(rows, 1))
            )
    return np.concatenate(parts, axis=1).astype(float)


def per_feature(blocks: tuple[Block, ...], output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What each feature of each row adds to the loss."""
    terms, at = [], 0
    for block in blocks:
        o, t = output[:, at : at + block.size], target[:, at : at + block.size]
        at += block.size
        if block.kind == "numeric":
            terms.append((o - t) ** 2)
        elif block.kind == "binary":
            terms.append(-(t * log_expit(o) + (1 - t) * log_expit(-o)))
        else:
            terms.append(-t * log_softmax(o, axis=1))
    return np.concatenate(terms, axis=1)


OUTPUT = RNG.normal(scale=3, size=(7, FEATURES))
TARGET = drawn(BLOCKS, 7, RNG)


def test_each_feature_is_scored_by_what_it_means() -> None:
    loss = Mixed(BLOCKS)(torch.from_numpy(OUTPUT), torch.from_numpy(TARGET))
    assert loss.item() == pytest.approx(per_feature(BLOCKS, OUTPUT, TARGET).sum(1).mean())


def test_each_row_has_its_own_loss() -> None:
    found = Mixed(BLOCKS).each(torch.from_numpy(OUTPUT), torch.from_numpy(TARGET))
    np.testing.assert_allclose(found, per_feature(BLOCKS, OUTPUT, TARGET).sum(1))


def test_soft_targets_are_scored_by_their_cross_entropy() -> None:
    soft = Mixed(BLOCKS).activation()(torch.from_numpy(RNG.normal(size=OUTPUT.shape)))
    loss = Mixed(BLOCKS)(torch.from_numpy(OUTPUT), soft)
    assert loss.item() == pytest.approx(per_feature(BLOCKS, OUTPUT, soft.numpy()).sum(1).mean())


def test_weights_weigh_each_feature_of_each_row() -> None:
    weight = RNG.random(OUTPUT.shape)
    loss = Mixed(BLOCKS)(*map(torch.from_numpy, (OUTPUT, TARGET, weight)))
    assert loss.item() == pytest.approx((weight * per_feature(BLOCKS, OUTPUT, TARGET)).sum(1).mean())


kinds = st.one_of(
    st.tuples(st.sampled_from(["numeric", "binary"]), st.just(1)),
    st.tuples(st.just("categorical"), st.integers(1, 70)),
)


@settings(max_examples=40, deadline=None)
@given(
    layout=st.lists(kinds, min_size=1, max_size=12), rows=st.integers(1, 4), seed=st.integers(0, 2**32 - 1)
)
def test_any_layout_of_blocks_has_its_value_and_gradient(
    layout: list[tuple[str, int]], rows: int, seed: int
) -> None:
    blocks = tuple(Block(kind, size, at) for at, (kind, size) in enumerate(layout))  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    target = drawn(blocks, rows, rng)
    weight, values = rng.random(target.shape), rng.normal(size=target.shape)
    output = torch.from_numpy(values).requires_grad_()
    loss = Mixed(blocks)(output, torch.from_numpy(target), torch.from_numpy(weight))
    assert loss.item() == pytest.approx((weight * per_feature(blocks, values, target)).sum() / rows)
    (found,) = torch.autograd.grad(loss, output)

    expected, at = np.empty_like(values), 0
    for block in blocks:
        here = slice(at, at := at + block.size)
        o, t, w = values[:, here], target[:, here], weight[:, here]
        if block.kind == "numeric":
            expected[:, here] = 2 * w * (o - t)
        elif block.kind == "binary":
            expected[:, here] = w * (expit(o) - t)
        else:
            expected[:, here] = softmax(o, axis=1) * (w * t).sum(1, keepdims=True) - w * t
    np.testing.assert_allclose(found.numpy(), expected / rows, atol=1e-12)


def test_value_and_gradient_stay_finite_for_sure_and_wrong_outputs() -> None:
    target = torch.from_numpy(TARGET).float()
    for output in (500 - 1000 * target, 1000 * target - 500, torch.zeros_like(target)):
        output.requires_grad_()
        loss = Mixed(BLOCKS)(output, target)
        (gradient,) = torch.autograd.grad(loss, output)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
    sure = Mixed((Block("categorical", 3, 0),))(torch.tensor([[0.0, 300.0, 0.0]]), torch.eye(3)[:1])
    assert sure.item() == pytest.approx(300)


def test_a_category_that_training_never_saw_costs_nothing_and_pulls_nowhere() -> None:
    output = torch.randn(4, 3, requires_grad=True)
    loss = Mixed((Block("categorical", 3, 0),))(output, torch.zeros(4, 3))
    (gradient,) = torch.autograd.grad(loss, output)
    assert loss.item() == 0
    assert not gradient.any()


def test_in_single_precision_a_thousand_categories_are_as_exact_as_two() -> None:
    blocks = (Block("categorical", 1000, 0), Block("categorical", 2, 1), Block("numeric", 1, 2))
    target, output = drawn(blocks, 50, RNG), RNG.normal(size=(50, 1003))
    loss = Mixed(blocks)(torch.from_numpy(output).float(), torch.from_numpy(target).float())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(per_feature(blocks, output, target).sum(1).mean(), rel=1e-5)


def test_the_activation_makes_numbers_probabilities_and_shares() -> None:
    expected, at = OUTPUT.copy(), 0
    for block in BLOCKS:
        here = slice(at, at := at + block.size)
        if block.kind != "numeric":
            expected[:, here] = (
                expit(OUTPUT[:, here]) if block.kind == "binary" else softmax(OUTPUT[:, here], axis=1)
            )
    made = Mixed(BLOCKS).activation()(torch.from_numpy(OUTPUT))
    np.testing.assert_allclose(made, expected)


def test_the_loss_is_least_where_the_activation_gives_the_target() -> None:
    loss, output = Mixed(BLOCKS), torch.from_numpy(OUTPUT).requires_grad_()
    target = loss.activation()(output).detach()
    (gradient,) = torch.autograd.grad(loss(output, target), output)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_the_inverse_is_the_output_that_stands_for_a_mean() -> None:
    loss = Mixed(BLOCKS)
    mean = torch.from_numpy(drawn(BLOCKS, 400, RNG)).mean(0)  # of rows, so (features,)
    torch.testing.assert_close(loss.activation()(loss.inverse(mean)[None])[0], mean)
    certain = loss.inverse(torch.from_numpy(TARGET))
    assert torch.isfinite(certain).all()
    torch.testing.assert_close(
        loss.activation()(certain).float(), torch.tensor(TARGET).float(), atol=2e-3, rtol=0
    )


def test_emphasis_weighs_what_a_swap_changed() -> None:
    blocks = (Block("numeric", 1, 0), Block("categorical", 4, 1))
    x = torch.from_numpy(drawn(blocks, 60, RNG)).float()
    torch.manual_seed(0)
    unit = DenseUnit((5,), 3, ACTIVATIONS["tanh"])
    corruption = Swap(0.5, columns_of(blocks))
    objective = Reconstruction(Mixed(blocks), corruption, emphasis=Emphasis(2.0, 0.25))
    found = objective(unit, x, torch.Generator().manual_seed(1), 0.0)["reconstruction"].item()
    seen = corruption(x, torch.Generator().manual_seed(1))
    output = unit.decoder(unit.encoder(seen)).detach().double().numpy()
    weight = np.where((seen != x).numpy(), 2.0, 0.25)
    assert found == pytest.approx((weight * per_feature(blocks, output, x.numpy())).sum(1).mean(), rel=1e-5)


def test_no_checkpoint_holds_what_follows_from_the_blocks() -> None:
    assert not Reconstruction(Mixed(BLOCKS)).state_dict()


def test_columns_are_named_only_where_features_share_one() -> None:
    assert columns_of(BLOCKS) == (0, 0, 0, 1, *[4] * 9, 2, 2, 3, 3, 5, 5, 5, 5, 6)
    assert columns_of((Block("numeric", 1, 0), Block("numeric", 1, 3))) is None
