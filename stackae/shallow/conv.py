"""The convolutional unit, for signals (1-D) and images (2-D), and the arithmetic of its shapes."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackae.shallow.activations import Activation
from stackae.shallow.units import Trace


def with_channels(shape: tuple[int, ...], *, first: bool) -> tuple[int, ...]:
    """Return the shape (channels, length) or (channels, height, width) of rows of `shape`, the same numbers.

    `first` says that they are the data's own: (length,) and (height, width) then get one channel.
    A code from below has its channels first already, but for a dense layer's (width,), a signal of
    one channel. Raises ValueError for any other number of axes.
    """
    if len(shape) == 1 or (first and len(shape) == 2):
        return (1, *shape)
    if len(shape) == 3 or (not first and len(shape) == 2):
        return shape
    allowed = "(length,), (height, width)" if first else "codes (width,), (channels, length)"
    raise ValueError(f"a conv layer takes {allowed} or (channels, height, width), not {shape}")


def conv_code_shape(
    channels_shape: tuple[int, ...],
    width: int,
    *,
    kernel: int,
    stride: int,
    padding: int | None,
    pool: int | None,
) -> tuple[int, ...]:
    """Compute the shape (width, *sizes) of the code of an input (channels, *sizes), without the rows.

    `padding` None is half the kernel, rounded down; `pool` None pools nothing. Raises ValueError where
    the kernel is larger than the padded input, or the pool larger than what the convolution leaves.
    """
    margin = kernel // 2 if padding is None else padding
    spaces = [size + 2 * margin - kernel for size in channels_shape[1:]]
    if min(spaces) < 0:
        padded = f" with padding {margin}" if margin else ""
        raise ValueError(f"kernel {kernel}{padded} does not fit {channels_shape}")
    convolved = (width, *(space // stride + 1 for space in spaces))
    if pool is None:
        return convolved
    if min(convolved[1:]) < pool:
        raise ValueError(
            f"pool {pool} does not fit {convolved}, what the convolution leaves of {channels_shape}"
        )
    return (width, *(size // pool for size in convolved[1:]))


class Arrange(nn.Module):
    """Rows of any shape as (rows, *shape); (channels, height, width) with the channels last in memory.

    That order makes pooling and the convolutions around it about twice as fast on a CPU. It is given to
    what passes through and not to the weights, because those are saved as they lie in memory.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(x.shape[0], *self.shape)
        return x.to(memory_format=torch.channels_last) if len(self.shape) == 3 else x


class Unpool(nn.Module):
    """Repeats each value `pool` times along each axis: (rows, width, *smaller) -> (rows, width, *sizes).

    What max-pooling left over at the end of an axis gets the axis's last value.
    """

    def __init__(self, pool: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.pool = pool
        # F.pad counts the axes from the last.
        self.left_over = [n for size in reversed(sizes) for n in (0, size % pool)]

    def forward(self, code: Tensor) -> Tensor:
        x = F.interpolate(code, scale_factor=float(self.pool), mode="nearest")
        return F.pad(x, self.left_over, mode="replicate") if any(self.left_over) else x


class TiedConvTranspose(nn.Module):
    """The transpose of a convolution, with a bias of its own: (rows, width, *out) -> (rows, channels, *in).

    Holds the convolution itself, so that the weight stays shared through copies and moves. `beyond` is as
    for `transpose`.
    """

    def __init__(self, conv: nn.Conv1d | nn.Conv2d, beyond: tuple[int, ...]) -> None:
        super().__init__()
        self.conv, self.beyond = conv, beyond
        self.bias = nn.Parameter(torch.zeros(conv.in_channels))

    def forward(self, code: Tensor) -> Tensor:
        conv = self.conv
        conv_transpose = F.conv_transpose1d if isinstance(conv, nn.Conv1d) else F.conv_transpose2d
        # Torch's type of a padding allows a string too; ours is numbers.
        padding = cast(tuple[int, ...], conv.padding)
        x: Tensor = conv_transpose(code, conv.weight, self.bias, conv.stride, padding, self.beyond)
        return x

    @torch.no_grad()
    def untied(self) -> nn.ConvTranspose1d | nn.ConvTranspose2d:
        """Return a layer with weights of its own that does the same."""
        conv = self.conv
        padding = cast(tuple[int, ...], conv.padding)
        own = transpose(
            conv.out_channels, conv.in_channels, conv.kernel_size[0], conv.stride[0], padding[0], self.beyond
        )
        own.weight.copy_(conv.weight)
        assert own.bias is not None
        own.bias.copy_(self.bias)
        return own


def transpose(
    width: int, channels: int, kernel: int, stride: int, padding: int, beyond: tuple[int, ...]
) -> nn.ConvTranspose1d | nn.ConvTranspose2d:
    """Build a transposed convolution with weights of its own, from `width` to `channels` channels.

    `beyond` is how many inputs at the end of each axis the convolution never sees, because its stride steps
    over them; they get the bias alone, and the outputs exactly the inputs' size.
    """
    if len(beyond) == 1:
        return nn.ConvTranspose1d(width, channels, kernel, stride, padding, beyond)
    assert len(beyond) == 2
    return nn.ConvTranspose2d(width, channels, kernel, stride, padding, beyond)


class ConvUnit(nn.Module):
    """A convolutional autoencoder: code = pool(activation(W * x + b)), output = V *ᵀ unpool(code) + c.

    Inputs (rows, *shape) are taken as (rows, *channels_shape), the same numbers; codes have the shape that
    `conv_code_shape` gives, outputs that of the inputs. The decoder knows the code alone and not where each
    maximum stood. It returns what the loss takes, so no output activation is applied here. Raises
    ValueError where `conv_code_shape` does. Masci et al. 2011, section 3.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        channels_shape: tuple[int, ...],
        width: int,
        activation: Activation,
        *,
        kernel: int,
        stride: int,
        padding: int | None,
        pool: int | None,
        tied: bool,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        code = conv_code_shape(
            channels_shape, width, kernel=kernel, stride=stride, padding=padding, pool=pool
        )
        channels, sizes = channels_shape[0], channels_shape[1:]
        spaces = [size + 2 * padding - kernel for size in sizes]
        beyond = tuple(space % stride for space in spaces)
        signal = len(sizes) == 1

        self.conv = (nn.Conv1d if signal else nn.Conv2d)(channels, width, kernel, stride, padding)
        activation.init(self.conv.weight)
        encoder: list[nn.Module] = [Arrange(channels_shape), self.conv, activation.make()]
        decoder: list[nn.Module] = [Arrange(code)]
        if pool is not None:
            encoder.append((nn.MaxPool1d if signal else nn.MaxPool2d)(pool))
            decoder.append(Unpool(pool, tuple(space // stride + 1 for space in spaces)))
        if tied:
            decoder.append(TiedConvTranspose(self.conv, beyond))
        else:
            output = transpose(width, channels, kernel, stride, padding, beyond)
            nn.init.xavier_uniform_(output.weight)
            decoder.append(output)
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder, Arrange(shape))
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    @property
    def output_bias(self) -> Tensor:
        """The bias of the decoder's output: one per channel."""
        bias = self.decoder[-2].bias
        assert isinstance(bias, Tensor)
        return bias

    def trace(self, x: Tensor, rng: torch.Generator) -> Trace:
        code = self.encoder(x)
        return Trace(x, code, code)
