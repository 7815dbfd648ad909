"""Several small networks of one shape that learn at once, as one network with a batch for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stackae.conditioning import Entry
from stackae.shallow.normalisation import Normalisation, standardise_present
from stackae.stack import Classifier


class SideBySide(nn.Module):
    """Dense classifiers of one shape, ready for training, whose weights lie side by side.

    What a small network's step takes is the calls of its operations, and here each is called once for all
    networks. `hand_back` gives the classifiers what has been learnt; they alone predict.
    """

    scale: Tensor

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__()
        first = members[0]
        # In a tuple, which hides them from torch: they are not what is trained.
        self._members = tuple(members)
        depths = zip(*(member.encoder.layers for member in members), strict=True)
        self.layers = nn.ModuleList(_Layers([_sequential(layer) for layer in depth]) for depth in depths)
        self.head = _Linears([member.head for member in members])
        shortcuts = [member.shortcut for member in members if member.shortcut is not None]
        self.shortcut = _Linears(shortcuts) if shortcuts else None
        entries = [member.entry for member in members if isinstance(member.entry, Entry)]
        assert len(entries) == len(members), "what is not conditioned is trained one by one"
        self.register_buffer("scale", torch.stack([entry.scale.flatten() for entry in entries])[:, None])
        self._noise = entries[0].noise
        self.input_dropout, self.dropout = first.input_dropout, first.dropout

    def __len__(self) -> int:
        return len(self._members)

    @property
    def outer(self) -> nn.ModuleList:
        """What is trained beside the layers."""
        return nn.ModuleList([self.head] if self.shortcut is None else [self.head, self.shortcut])

    def own_rows(self, fold: Tensor) -> tuple[Tensor, Tensor]:
        """Return which rows of a batch each network learns from: those of other folds than its own.

        From folds (rows,) the numbers of rows (networks, most), and whether they count (networks, most):
        networks with fewer rows than others have some more, which do not.
        """
        own = fold != torch.arange(len(self), device=fold.device)[:, None]
        counts = own.sum(1)
        numbers = own.byte().argsort(dim=1, descending=True, stable=True)[:, : int(counts.max())]
        return numbers, torch.arange(numbers.shape[1], device=fold.device) < counts[:, None]

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return the logits (networks, rows, classes) of rows (networks, rows, *shape), while training.

        Those that are not `present` (networks, rows) have no part in the statistics of the others.
        """
        share = (present / present.sum(1, keepdim=True).clamp(min=1))[:, :, None]
        x = x.flatten(2) * self.scale
        x = self.input_dropout(x + self._noise * torch.randn_like(x) if self._noise else x)
        code = x
        for layer in self.layers:
            code = self.dropout(layer(code, share))
        logits: Tensor = self.head(code)
        return logits if self.shortcut is None else logits + self.shortcut(x)

    def hand_back(self) -> None:
        """Give the classifiers the weights that were learnt."""
        for module in self.modules():
            if isinstance(module, _Linears | _Layers):
                module.hand_back()


class _Linears(nn.Module):
    """Linear maps of one shape: (maps, rows, inputs) -> (maps, rows, outputs)."""

    def __init__(self, maps: Sequence[nn.Linear]) -> None:
        super().__init__()
        self._maps = tuple(maps)
        self.weight = nn.Parameter(torch.stack([each.weight.detach() for each in maps]))
        biases = [each.bias.detach() for each in maps if each.bias is not None]
        # Of one axis, as all that weight decay leaves alone.
        self.bias = nn.Parameter(torch.cat(biases), maps[0].bias.requires_grad) if biases else None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.transpose(1, 2)
        if self.bias is None:
            return torch.bmm(x, weight)
        return torch.baddbmm(self.bias.view(len(weight), 1, -1), x, weight)

    @torch.no_grad()
    def hand_back(self) -> None:
        biases = [None] * len(self._maps) if self.bias is None else self.bias.chunk(len(self._maps))
        for own, weight, bias in zip(self._maps, self.weight, biases, strict=True):
            own.weight.copy_(weight)
            if bias is not None:
                own.bias.copy_(bias)


class _Layers(nn.Module):
    """Encoders of one shape, normalised or not: (encoders, rows, inputs) -> (encoders, rows, width)."""

    def __init__(self, encoders: Sequence[nn.Sequential]) -> None:
        super().__init__()
        _, linear, *middle, self.activation = encoders[0]
        self.linear = _Linears([encoder[1] for encoder in encoders])  # type: ignore[misc]
        self._normalisations = tuple(
            module for encoder in encoders for module in encoder if isinstance(module, Normalisation)
        )
        assert isinstance(linear, nn.Linear)
        self.gain = self.bias = None
        if middle:
            self._noise = self._normalisations[0].noise
            self.gain = nn.Parameter(torch.cat([each.gain.detach() for each in self._normalisations]))
            self.bias = nn.Parameter(torch.cat([each.bias.detach() for each in self._normalisations]))

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        sums = self.linear(x)
        if self.gain is not None and self.bias is not None:
            sums = standardise_present(sums, share)
            if self._noise:
                sums = sums + self._noise * torch.randn_like(sums)
            shape = (len(sums), 1, -1)
            sums = torch.addcmul(self.bias.view(shape), sums, self.gain.view(shape))
        code: Tensor = self.activation(sums.flatten(0, 1)).view_as(sums)
        return code

    @torch.no_grad()
    def hand_back(self) -> None:
        if self.gain is None or self.bias is None:
            return
        count = len(self._normalisations)
        for own, gain, bias in zip(
            self._normalisations, self.gain.chunk(count), self.bias.chunk(count), strict=True
        ):
            own.gain.copy_(gain)
            own.bias.copy_(bias)


def _sequential(layer: nn.Module) -> nn.Sequential:
    assert isinstance(layer, nn.Sequential)
    return layer
