"""The score of a denoising autoencoder against that of a known normal distribution."""

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.corruptions import Gaussian
from stackae.shallow.losses import Bernoulli, SquaredError
from stackae.shallow.objectives import Reconstruction
from stackae.shallow.score import score
from stackae.shallow.units import DenseUnit


def smoothed_score(covariance: Tensor, sigma: float, x: Tensor) -> Tensor:
    """The gradient of the log density of N(0, C) with the noise added, by autograd."""
    x = x.detach().requires_grad_()
    size = len(covariance)
    density = MultivariateNormal(torch.zeros(size), covariance + sigma**2 * torch.eye(size))
    return torch.autograd.grad(density.log_prob(x).sum(), x)[0]


@pytest.mark.parametrize("sigma", [0.3, 1.5])
def test_the_optimal_linear_denoiser_has_the_exact_score(sigma: float) -> None:
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=rng)
    covariance = root @ root.T
    # C (C + sigma^2 I)^-1 x, as principal axes in the encoder and shrinkage in the decoder.
    values, axes = torch.linalg.eigh(covariance)
    unit = DenseUnit((4,), 4, ACTIVATIONS["linear"]).eval()
    with torch.no_grad():
        unit.linear.weight.copy_(axes.T)
        unit.decoder[0].weight.copy_(axes * (values / (values + sigma**2)))
    x = torch.randn(50, 4, generator=rng)
    estimate = score(unit, SquaredError(), x, sigma)
    torch.testing.assert_close(estimate, smoothed_score(covariance, sigma, x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_a_trained_denoising_unit_comes_close_to_the_score(activation: str) -> None:
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    sigma, covariance = 0.5, torch.tensor([[1.0, 0.6], [0.6, 0.8]])
    factor = torch.linalg.cholesky(covariance)
    unit = DenseUnit((2,), 16, ACTIVATIONS[activation])
    objective = Reconstruction(SquaredError(), Gaussian(sigma))
    optimizer = torch.optim.Adam(unit.parameters(), lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        x = torch.randn(256, 2, generator=rng) @ factor.T
        objective(unit, x, rng, 0.0)["reconstruction"].backward()
        optimizer.step()
    x = torch.randn(500, 2, generator=rng) @ factor.T
    estimate, truth = score(unit.eval(), SquaredError(), x, sigma), smoothed_score(covariance, sigma, x)
    assert torch.cosine_similarity(estimate.flatten(), truth.flatten(), dim=0) > 0.97
    assert estimate.norm() / truth.norm() == pytest.approx(1.0, abs=0.1)


def test_it_keeps_the_shape_and_applies_the_output_activation() -> None:
    unit = DenseUnit((3, 2), 5, ACTIVATIONS["relu"]).eval()
    x = torch.rand(7, 3, 2, requires_grad=True)
    estimate = score(unit, Bernoulli(), x, 0.5)
    assert estimate.shape == x.shape
    assert not estimate.requires_grad
    probability = torch.sigmoid(unit.decoder(unit.encoder(x)))
    torch.testing.assert_close(estimate, ((probability - x) / 0.25).detach())


def test_a_unit_in_training_mode_is_refused() -> None:
    with pytest.raises(AssertionError, match="eval"):
        score(DenseUnit((2,), 2, ACTIVATIONS["relu"]), SquaredError(), torch.rand(1, 2), 0.1)
