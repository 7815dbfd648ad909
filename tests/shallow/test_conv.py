"""The convolutional unit against scipy's convolution, torch's own shapes and the meaning of adjoint."""

from __future__ import annotations

import copy
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import convolve, correlate
from torch import Tensor, nn

from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.conv import ConvUnit, TiedConvTranspose, conv_code_shape, with_channels


def unit(shape: tuple[int, ...], width: int, activation: str = "linear", **options: Any) -> ConvUnit:
    geometry = {"kernel": 3, "stride": 1, "padding": None, "pool": None, "tied": False} | options
    return ConvUnit(shape, with_channels(shape, first=True), width, ACTIVATIONS[activation], **geometry)


def with_biases(conv_unit: ConvUnit) -> ConvUnit:
    """Biases that are not zero, so that one left out would be seen."""
    with torch.no_grad():
        for name, parameter in conv_unit.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(0.5, 1.0)
    return conv_unit


# ---- shapes

geometries = st.fixed_dictionaries(
    {
        "kernel": st.integers(1, 6),
        "stride": st.integers(1, 4),
        "padding": st.none() | st.integers(0, 3),
        "pool": st.none() | st.integers(1, 3),
    }
)
layers = st.lists(st.tuples(st.integers(1, 4), geometries, st.booleans()), min_size=1, max_size=4)
sizes = st.integers(1, 30)
inputs = st.tuples(sizes) | st.tuples(sizes, sizes) | st.tuples(st.integers(1, 3), sizes, sizes)


def torch_shape(shape: tuple[int, ...], width: int, geometry: dict[str, Any]) -> tuple[int, ...] | None:
    """The code's shape as torch's own functions find it; None where they find that nothing is left."""
    signal = len(shape) == 2
    kernel, padding, pool = geometry["kernel"], geometry["padding"], geometry["pool"]
    padding = kernel // 2 if padding is None else padding
    weight = torch.zeros(width, shape[0], *[kernel] * (len(shape) - 1))
    x = torch.zeros(1, *shape)
    try:
        x = (F.conv1d if signal else F.conv2d)(x, weight, stride=geometry["stride"], padding=padding)
        if pool is not None:
            x = (F.max_pool1d if signal else F.max_pool2d)(x, pool)
    except RuntimeError:
        return None
    return tuple(x.shape[1:])


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(inputs, layers)
def test_any_stack_encodes_to_the_computed_shape_and_decodes_to_its_inputs(
    shape: tuple[int, ...], stack: list[tuple[int, dict[str, Any], bool]]
) -> None:
    x = torch.rand(2, *shape)
    units, seen = [], [x.shape]
    for number, (width, geometry, tied) in enumerate(stack):
        channels_shape = with_channels(shape, first=number == 0)
        expected = torch_shape(channels_shape, width, geometry)
        if expected is None:
            with pytest.raises(ValueError, match="does not fit") as of_shape:
                conv_code_shape(channels_shape, width, **geometry)
            with pytest.raises(ValueError, match="does not fit") as of_unit:
                ConvUnit(shape, channels_shape, width, ACTIVATIONS["relu"], **geometry, tied=tied)
            assert str(of_unit.value) == str(of_shape.value)
            break
        assert conv_code_shape(channels_shape, width, **geometry) == expected
        units.append(ConvUnit(shape, channels_shape, width, ACTIVATIONS["relu"], **geometry, tied=tied))
        x = units[-1].encoder(x)
        assert x.shape == (2, *expected)
        seen.append(x.shape)
        shape = expected
    for layer in reversed(units):
        assert x.shape == seen.pop()
        x = layer.decoder(x)
    assert x.shape == seen.pop()
    assert torch.isfinite(x).all()


@pytest.mark.parametrize(
    ("shape", "first", "expected"),
    [
        ((64,), True, (1, 64)),
        ((28, 28), True, (1, 28, 28)),
        ((3, 32, 32), True, (3, 32, 32)),
        ((500,), False, (1, 500)),
        ((16, 14), False, (16, 14)),
        ((16, 14, 14), False, (16, 14, 14)),
    ],
)
def test_channels_of_data_and_of_codes(
    shape: tuple[int, ...], first: bool, expected: tuple[int, ...]
) -> None:
    assert with_channels(shape, first=first) == expected


@pytest.mark.parametrize(("shape", "first"), product([(), (2, 3, 4, 5)], [True, False]))
def test_channels_of_other_shapes_are_refused(shape: tuple[int, ...], first: bool) -> None:
    with pytest.raises(ValueError, match="a conv layer takes") as raised:
        with_channels(shape, first=first)
    assert str(raised.value).endswith(f"not {shape}")


@pytest.mark.parametrize(
    ("kernel", "padding", "pool", "message"),
    [
        (7, 0, None, "kernel 7 does not fit (1, 4, 4)"),
        (7, 1, None, "kernel 7 with padding 1 does not fit (1, 4, 4)"),
        (3, 0, 3, "pool 3 does not fit (8, 2, 2), what the convolution leaves of (1, 4, 4)"),
    ],
)
def test_errors_name_the_shapes(kernel: int, padding: int, pool: int | None, message: str) -> None:
    with pytest.raises(ValueError, match="does not fit") as raised:
        conv_code_shape((1, 4, 4), 8, kernel=kernel, stride=1, padding=padding, pool=pool)
    assert str(raised.value) == message


# ---- values


def naive_encode(
    x: np.ndarray, conv: nn.Conv1d | nn.Conv2d, stride: int, padding: int, pool: int
) -> np.ndarray:
    """tanh and max-pooling of a convolution, of one row x (channels, *sizes)."""
    space = x.ndim - 1
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    padded = np.pad(x, [(0, 0)] + [(padding, padding)] * space)
    full = np.stack([correlate(padded, kernel, mode="valid")[0] for kernel in weight])
    strided = full[(slice(None), *[slice(None, None, stride)] * space)]
    y = np.tanh(strided + bias.reshape(-1, *[1] * space))
    for axis in range(1, space + 1):
        kept = np.split(y, np.arange(pool, y.shape[axis], pool), axis)
        kept = [part for part in kept if part.shape[axis] == pool]
        y = np.concatenate([part.max(axis, keepdims=True) for part in kept], axis)
    return y


def naive_decode(
    code: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    before: tuple[int, ...],
    sizes: tuple[int, ...],
    stride: int,
    padding: int,
    pool: int,
) -> np.ndarray:
    """The code repeated, zeros put between, convolved in full and cut to (channels, *sizes)."""
    space = len(sizes)
    y = code
    for axis in range(1, space + 1):
        nearest = np.minimum(np.arange(before[axis - 1]) // pool, y.shape[axis] - 1)
        y = np.take(y, nearest, axis)
    wide = np.zeros((len(y), *[(size - 1) * stride + 1 for size in before]))
    wide[(slice(None), *[slice(None, None, stride)] * space)] = y
    channels = []
    for channel in range(weight.shape[1]):
        image = sum(convolve(wide[i], weight[i, channel], mode="full") for i in range(len(y)))
        cut = image[tuple([slice(padding, padding + size) for size in sizes])]
        channels.append(np.pad(cut, [(0, n - m) for n, m in zip(sizes, cut.shape, strict=True)]))
    return np.stack(channels) + bias.reshape(-1, *[1] * space)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding", "pool"),
    [
        ((2, 9, 7), 3, 1, 1, 2),
        ((2, 9, 12), 3, 2, 0, None),
        ((2, 8, 8), 2, 3, 0, None),
        ((6, 11), 4, 2, 2, 2),
        ((17,), 5, 3, 1, 3),
        ((3, 10, 10), 1, 4, 0, None),
    ],
)
def test_values_against_scipy(
    shape: tuple[int, ...], kernel: int, stride: int, padding: int, pool: int | None, tied: bool
) -> None:
    torch.manual_seed(0)
    layer = with_biases(
        unit(shape, 4, "tanh", kernel=kernel, stride=stride, padding=padding, pool=pool, tied=tied).double()
    )
    channels_shape = with_channels(shape, first=True)
    x = torch.randn(3, *shape, dtype=torch.float64)
    code = layer.encoder(x)
    expected = [
        naive_encode(row.reshape(channels_shape), layer.conv, stride, padding, pool or 1) for row in x.numpy()
    ]
    np.testing.assert_allclose(code.detach().numpy(), np.stack(expected), atol=1e-12)

    output = layer.decoder[-2]
    weight = (layer.conv if tied else output).weight.detach().numpy()
    before = conv_code_shape(channels_shape, 4, kernel=kernel, stride=stride, padding=padding, pool=None)[1:]
    decoded = [
        naive_decode(
            row, weight, output.bias.detach().numpy(), before, channels_shape[1:], stride, padding, pool or 1
        )
        for row in code.detach().numpy()
    ]
    np.testing.assert_allclose(
        layer.decoder(code).detach().numpy(), np.stack(decoded).reshape(x.shape), atol=1e-12
    )


@pytest.mark.parametrize("shape", [(23,), (13, 10), (3, 12, 9)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (4, 2, None), (3, 4, 0), (2, 3, 2)])
def test_a_tied_decoder_is_the_adjoint_of_the_encoder(
    shape: tuple[int, ...], kernel: int, stride: int, padding: int | None
) -> None:
    torch.manual_seed(1)
    layer = unit(shape, 5, kernel=kernel, stride=stride, padding=padding, tied=True).double()
    x = torch.randn(2, *shape, dtype=torch.float64)
    code = layer.encoder(x)
    y = torch.randn(code.shape, dtype=torch.float64)
    assert (code * y).sum().item() == pytest.approx((x * layer.decoder(y)).sum().item(), rel=1e-10)


@pytest.mark.parametrize("shape", [(23,), (3, 12, 9)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (4, 2, None), (3, 4, 0)])
def test_an_untied_decoder_does_the_same_with_weights_of_its_own(
    shape: tuple[int, ...], kernel: int, stride: int, padding: int | None
) -> None:
    layer = with_biases(unit(shape, 5, kernel=kernel, stride=stride, padding=padding, tied=True))
    tied = layer.decoder[-2]
    assert isinstance(tied, TiedConvTranspose)
    code = layer.encoder(torch.randn(2, *shape))
    own, expected = tied.untied(), tied(code)
    torch.testing.assert_close(own(code), expected)
    with torch.no_grad():
        layer.conv.weight.zero_()
        tied.bias.zero_()
    torch.testing.assert_close(own(code), expected)


def test_initial_weights_keep_to_their_fans() -> None:
    torch.manual_seed(2)
    layer = unit((3, 16, 16), 64, "relu", kernel=5)
    encoder_bound = math.sqrt(6 / (3 * 25))
    decoder_bound = math.sqrt(6 / ((3 + 64) * 25))
    for weight, bound in ((layer.conv.weight, encoder_bound), (layer.decoder[-2].weight, decoder_bound)):
        assert 0.98 * bound < weight.abs().max().item() <= bound
    assert all(not p.any() for name, p in layer.named_parameters() if name.endswith("bias"))


# ---- parameters


@pytest.mark.parametrize("shape", [(40,), (3, 10, 10)])
def test_tied_weights_stay_tied_through_copies_and_saved_states(shape: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    layer = with_biases(unit(shape, 4, tied=True))
    copied = copy.deepcopy(layer)
    loaded = unit(shape, 4, tied=True)
    loaded.load_state_dict({name: value.clone() for name, value in layer.state_dict().items()})
    x = torch.randn(2, *shape)
    for other in (copied, loaded):
        assert other.conv.weight is not layer.conv.weight
        assert other.decoder[-2].conv.weight is other.encoder[1].weight
        assert len(list(other.parameters())) == 3
        torch.testing.assert_close(other.decoder(other.encoder(x)), layer.decoder(layer.encoder(x)))
        code = torch.ones_like(layer.encoder(x))
        other.decoder(code).sum().backward()
        assert other.conv.weight.grad is not None
        with torch.no_grad():
            other.encoder[1].weight.zero_()
        assert torch.equal(other.decoder(code), other.decoder(torch.zeros_like(code)))
        assert layer.conv.weight.any()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("pool", [None, 2])
@pytest.mark.parametrize("shape", [(15,), (9, 9), (3, 9, 9)])
def test_gradients_reach_every_parameter(shape: tuple[int, ...], pool: int | None, tied: bool) -> None:
    torch.manual_seed(4)
    layer = unit(shape, 4, "sigmoid", pool=pool, tied=tied)
    x = torch.rand(5, *shape)
    trace = layer.trace(x, torch.Generator())
    assert trace.code is trace.mean
    F.mse_loss(layer.decoder(trace.code), x).backward()
    names = {name for name, _ in layer.named_parameters()}
    assert len(names) == (3 if tied else 4)
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        # A convolution's gradient in every single weight, not in some channels only.
        assert parameter.grad.count_nonzero() == parameter.numel(), name


def test_weights_lie_in_memory_as_safetensors_wants_them() -> None:
    layer = unit((3, 8, 8), 4, "relu", pool=2)
    layer.decoder(layer.encoder(torch.rand(2, 3, 8, 8)))
    for name, value in copy.deepcopy(layer).state_dict().items():
        assert value.is_contiguous(), name


# ---- batches


def test_flat_images_from_a_memory_map(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((50, 28, 28), dtype=np.float32)
    np.save(tmp_path / "x.npy", images)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    torch.manual_seed(5)
    lower = with_biases(unit((28, 28), 8, "relu", stride=2))
    upper = ConvUnit(
        (8, 14, 14), (8, 14, 14), 6, ACTIVATIONS["relu"], kernel=3, stride=1, padding=None, pool=2, tied=False
    )

    def reconstruct(x: Tensor) -> Tensor:
        y: Tensor = lower.decoder(upper.decoder(upper.encoder(lower.encoder(x))))
        return y

    batch = torch.from_numpy(mapped[np.array([1, 4, 30])])
    output = reconstruct(batch)
    assert output.shape == (3, 28, 28)
    assert output.dtype == torch.float32
    # A row's reconstruction depends on that row alone, however the batch was read.
    torch.testing.assert_close(output[2], reconstruct(torch.from_numpy(images[30:31]))[0])
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(reconstruct(batch).float(), output, atol=0.05, rtol=0.05)
