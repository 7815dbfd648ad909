"""Corruptions: as often and as strong as configured, drawn from the given generator and no other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, kstest

from stackae.shallow.corruptions import Corruption, Gaussian, Masking, Mix, SaltPepper, Swap, survivors

ALL = [
    Masking(0.4),
    Gaussian(0.3),
    Gaussian(0.3, clip=True),
    SaltPepper(0.3),
    Swap(0.3),
    Mix(((0.4, Swap(0.5)), (0.6, SaltPepper(0.5)))),
]
# A category of three, one that shares its column with what is not beside it, and a number.
COLUMNS = (4, 4, 4, 0, 7, 0, 2)
BY_COLUMN = [
    Masking(0.4, COLUMNS),
    Swap(0.3, COLUMNS),
    Mix(((0.5, Swap(0.5, COLUMNS)), (0.5, Masking(0.5, COLUMNS)))),
]
SHAPES = [(400, 50), (400, 2, 5, 5)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def within(count: int, draws: int, rate: float) -> bool:
    """Whether a count is one that a binomial draw gives with all but a chance of 1 in 10^8."""
    low, high = binom.ppf([5e-9, 1 - 5e-9], draws, rate)
    return bool(low <= count <= high)


@pytest.mark.parametrize("rate", [0.05, 0.25, 0.5, 0.9])
def test_masking_zeroes_the_configured_share_and_leaves_the_rest_alone(rate: float) -> None:
    x = torch.rand(400, 10, 25, generator=seeded(9)) + 0.1
    seen = Masking(rate)(x, seeded())
    zero = seen == 0
    assert within(int(zero.sum()), x.numel(), rate)
    assert torch.equal(seen[~zero], x[~zero])


def test_masking_draws_each_input_on_its_own() -> None:
    zero = (Masking(0.3)(torch.ones(2000, 50), seeded()) == 0).double()
    # Were rows or columns masked together, their shares would spread much wider than a binomial's.
    assert zero.mean(1).var().item() == pytest.approx(0.3 * 0.7 / 50, rel=0.2)
    assert zero.mean(0).var().item() == pytest.approx(0.3 * 0.7 / 2000, rel=0.9)
    both = (zero[:, 0] * zero[:, 1]).sum().item()
    assert within(int(both), 2000, 0.09)


def test_a_rate_of_zero_masks_nothing() -> None:
    x = torch.rand(50, 20, generator=seeded(9))
    assert torch.equal(Masking(0.0)(x, seeded()), x)


@pytest.mark.parametrize("sigma", [0.1, 2.0])
def test_gaussian_noise_is_normal_with_the_configured_spread(sigma: float) -> None:
    x = torch.rand(300, 400, generator=seeded(9), dtype=torch.float64)
    noise = (Gaussian(sigma)(x, seeded()) - x).numpy().ravel()
    n = noise.size
    assert abs(noise.mean()) < 5 * sigma / math.sqrt(n)
    assert abs(noise.std() / sigma - 1) < 5 / math.sqrt(2 * n)
    assert kstest(noise[:5000] / sigma, "norm").pvalue > 1e-6
    # No input's noise says anything about its neighbour's.
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 5 / math.sqrt(n)


def test_clipped_noise_is_the_same_noise_kept_in_the_unit_interval() -> None:
    x = torch.rand(100, 30, generator=seeded(9))
    free, clipped = Gaussian(0.5)(x, seeded()), Gaussian(0.5, clip=True)(x, seeded())
    assert free.min() < 0
    assert free.max() > 1
    np.testing.assert_array_equal(clipped, np.clip(free.numpy(), 0, 1))


@pytest.mark.parametrize("shape", SHAPES)
def test_salt_and_pepper_come_in_equal_parts_at_the_rate(shape: tuple[int, ...]) -> None:
    x = torch.full(shape, 0.5)
    noisy = SaltPepper(0.3)(x, seeded())
    for value, share in ((0.0, 0.15), (1.0, 0.15), (0.5, 0.7)):
        assert within(int((noisy == value).sum()), x.numel(), share)


def test_salt_and_pepper_leave_other_inputs_and_the_original_alone() -> None:
    x = 2 + torch.rand(200, 20, generator=seeded())
    before = x.clone()
    noisy = SaltPepper(0.5)(x, seeded(1))
    assert torch.equal(x, before)
    assert ((noisy == x) | (noisy == 0) | (noisy == 1)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_swap_takes_values_of_the_same_column_at_the_rate(shape: tuple[int, ...]) -> None:
    x = torch.arange(math.prod(shape), dtype=torch.float32).view(shape)  # all values differ
    swapped = Swap(0.15)(x, seeded())
    columns = math.prod(shape[1:])
    assert torch.equal(swapped % columns, x % columns)  # a value tells the column it comes from
    # All values differ, so an input swapped with itself would not show as changed and lower the share.
    assert within(int((swapped != x).sum()), x.numel(), 0.15)


def test_swap_draws_every_other_row_equally_often_and_never_the_own() -> None:
    rows, columns = 5, 20_000
    x = torch.arange(rows, dtype=torch.float32)[:, None].expand(rows, columns)
    swapped = Swap(0.99999)(x, seeded())
    for row in range(rows):
        drawn = torch.bincount(swapped[row].long(), minlength=rows).tolist()
        # The own value stays with probability 1e-5 and is never drawn.
        assert drawn.pop(row) < 10
        assert all(within(count, columns, 0.25) for count in drawn)


def test_swap_leaves_a_single_row_as_it_is() -> None:
    x = torch.rand(1, 7, generator=seeded())
    swapped = Swap(0.9)(x, seeded())
    assert torch.equal(swapped, x)
    assert swapped.data_ptr() != x.data_ptr()


def test_swap_of_two_rows_exchanges_values_between_them() -> None:
    x = torch.tensor([[0.0], [1.0]]).repeat(1, 1000)
    swapped = Swap(0.5)(x, seeded())
    assert within(int((swapped != x).sum()), 2000, 0.5)


@pytest.mark.parametrize("corruption", BY_COLUMN, ids=repr)
def test_inputs_of_one_column_are_corrupted_together(corruption: Corruption) -> None:
    x = 1 + torch.arange(500.0 * 7).view(500, 7)  # all values differ
    changed = corruption(x, seeded()) != x
    for column in set(COLUMNS):
        inputs = [at for at, own in enumerate(COLUMNS) if own == column]
        assert (changed[:, inputs].all(1) == changed[:, inputs].any(1)).all()
        assert 50 < int(changed[:, inputs[0]].sum()) < 450
    both = changed[:, 0] & changed[:, 6]
    assert 0 < int(both.sum()) < int(changed[:, 0].sum())  # columns are drawn each on its own


def test_masking_by_column_zeroes_the_configured_share_of_the_columns() -> None:
    seen = Masking(0.25, COLUMNS)(torch.ones(5000, 7), seeded())
    for at in range(7):
        assert within(int((seen[:, at] == 0).sum()), 5000, 0.25)
    assert torch.equal(seen, seen.round())


def test_swap_by_column_takes_a_column_whole_from_one_other_row() -> None:
    rows = 4000
    x = torch.arange(rows, dtype=torch.float64)[:, None].repeat(1, 7)  # a value tells its row
    swapped = Swap(0.3, COLUMNS)(x, seeded())
    for one, other in ((0, 1), (0, 2), (3, 5)):
        assert torch.equal(swapped[:, one], swapped[:, other])
    for at in (0, 3, 4, 6):
        assert within(int((swapped[:, at] != x[:, at]).sum()), rows, 0.3)
    # Another row for each column: of those swapped in two columns hardly any come from the same row.
    both = (swapped[:, 0] != x[:, 0]) & (swapped[:, 4] != x[:, 4])
    assert int((swapped[both, 0] == swapped[both, 4]).sum()) < 10


def test_a_swapped_category_stays_a_category() -> None:
    one_hot = torch.eye(5)[torch.randint(5, (300,), generator=seeded())]
    swapped = Swap(0.9, (0,) * 5)(one_hot, seeded(1))
    assert torch.equal(swapped.sum(1), torch.ones(300))
    assert not torch.equal(swapped, one_hot)


def test_swap_by_column_draws_every_other_row_equally_often_and_never_the_own() -> None:
    columns = tuple(number for number in range(10_000) for _ in range(2))
    x = torch.arange(5.0)[:, None].expand(5, 20_000)
    swapped = Swap(0.99999, columns)(x, seeded())[:, ::2]
    for row in range(5):
        drawn = torch.bincount(swapped[row].long(), minlength=5).tolist()
        assert drawn.pop(row) < 10
        assert all(within(count, 10_000, 0.25) for count in drawn)


# As these were drawn once, so they are to be: finished stages count on it.
DRAWN = [
    (Masking(0.5), [[1.0, 2.0, 0.0], [4.0, 0.0, 0.0], [7.0, 0.0, 0.0], [10.0, 0.0, 12.0]]),
    (Swap(0.5), [[1.0, 2.0, 9.0], [4.0, 11.0, 3.0], [7.0, 5.0, 6.0], [10.0, 2.0, 12.0]]),
]


@pytest.mark.parametrize(("corruption", "expected"), DRAWN, ids=repr)
def test_what_is_drawn_stays_as_it_was(corruption: Corruption, expected: list[list[float]]) -> None:
    x = torch.arange(1.0, 13.0).view(4, 3)
    assert corruption(x, seeded(5)).tolist() == expected


@pytest.mark.parametrize("rate", [0.0, 1e-4, 0.15, 0.25, 0.9, 0.99999])
@pytest.mark.parametrize("size", [999_997, 999_999, 1_000_000])
def test_losses_come_at_the_rate_however_many_numbers_there_are(rate: float, size: int) -> None:
    kept = survivors(torch.empty(size), rate, seeded())
    assert set(kept.unique().tolist()) <= {0.0, 1.0}
    assert within(int((kept == 0).sum()), size, rate)
    # Four come from one number: none of them depends on its neighbours.
    lost = kept[: size - size % 4].view(-1, 4) == 0
    for one, other in ((0, 1), (0, 2), (0, 3), (1, 2), (2, 3)):
        assert within(int((lost[:, one] & lost[:, other]).sum()), len(lost), rate**2)


def test_a_mix_corrupts_rows_in_the_given_proportions() -> None:
    rows = 20_000
    # At these rates a row of 40 inputs shows how it was corrupted.
    mix = Mix(((0.5, Masking(0.9)), (0.3, SaltPepper(0.9)), (0.2, Gaussian(0.1))))
    noisy = mix(torch.full((rows, 40), 0.5), seeded())
    gaussian = ~((noisy == 0) | (noisy == 0.5) | (noisy == 1)).any(1)
    salted = (noisy == 1).any(1)
    masked = ~gaussian & ~salted
    for rows_of, share in ((masked, 0.5), (salted, 0.3), (gaussian, 0.2)):
        assert within(int(rows_of.sum()), rows, share)
    assert (noisy[masked] == 0).float().mean().item() == pytest.approx(0.9, abs=0.005)
    assert noisy[gaussian].std().item() == pytest.approx(0.1, rel=0.02)


def test_swap_within_a_mix_draws_from_rows_that_are_corrupted_otherwise() -> None:
    x = torch.arange(1000.0)[:, None].repeat(1, 8) + 1
    mixed = Mix(((0.99, Masking(0.99)), (0.01, Swap(0.9))))(x, seeded())
    swapped = (mixed != x) & (mixed != 0)
    assert swapped.sum() > 20  # of about ten rows
    assert mixed[swapped].unique().numel() > 0.9 * swapped.sum()


def test_a_mix_corrupts_images_row_by_row() -> None:
    zeroed = Mix(((0.5, Masking(0.999)), (0.5, Masking(0.0))))(torch.ones(1000, 3, 4, 4), seeded())
    share = (zeroed == 0).float().mean((1, 2, 3))
    assert ((share == 0) | (share > 0.9)).all()
    assert within(int((share > 0).sum()), 1000, 0.5)


def test_the_probabilities_of_a_mix_must_add_up_to_one() -> None:
    with pytest.raises(AssertionError):
        Mix(((0.5, Masking(0.1)), (0.4, Swap(0.1))))


@pytest.mark.parametrize("corruption", ALL + BY_COLUMN, ids=repr)
def test_the_generator_alone_decides(corruption: Corruption) -> None:
    x = torch.rand(20, 7, generator=seeded(9))
    before, state = x.clone(), torch.get_rng_state()
    first = corruption(x, seeded(1))
    torch.manual_seed(99)
    assert torch.equal(first, corruption(x, seeded(1)))
    assert not torch.equal(first, corruption(x, seeded(2)))

    rng = seeded(1)
    assert not torch.equal(corruption(x, rng), corruption(x, rng))
    torch.set_rng_state(state)
    corruption(x, seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, before)


@pytest.mark.parametrize("corruption", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_shape_and_type_stay(corruption: Corruption, dtype: torch.dtype) -> None:
    seen = corruption(torch.ones(3, 2, 5, dtype=dtype), seeded())
    assert seen.shape == (3, 2, 5)
    assert seen.dtype == dtype
