"""Weights on disk: the one writer and the one reader of safetensors, which trusts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import nn

from stackae.errors import ArtifactError, in_a_line

WEIGHTS = "weights.safetensors"

_TYPES = {"F32": torch.float32, "I32": torch.int32}


def save_weights(
    path: Path, modules: Mapping[str, nn.Module], metadata: Mapping[str, str] | None = None
) -> None:
    """Write the tensors of modules to one file, each under its module's name as a prefix, `""` for none.

    A tied weight is written under each of its names.
    """
    tensors = {
        prefix + name: tensor.detach().cpu().clone()
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    # safetensors' own writer makes files that only their owner may read, whatever the umask.
    path.write_bytes(serialised(tensors, metadata=None if metadata is None else dict(metadata)))


def fill(module: nn.Module, path: Path, *, within: str = "") -> None:
    """Fill a module, which may be on the meta device, with the weights in a safetensors file.

    `within` is what the names of its tensors begin with in a file that holds others too.

    ArtifactError where the file is missing or damaged, or holds other tensors than the module has, of other
    shapes, or NaN or infinity.
    """
    shapes = {name: (tensor.dtype, list(tensor.shape)) for name, tensor in module.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(within)]  # noqa: SIM118
            slices = {name.removeprefix(within): file.get_slice(name) for name in names}
            stored = {name: (_TYPES.get(each.get_dtype()), each.get_shape()) for name, each in slices.items()}
            if stored != shapes:
                raise ArtifactError(
                    f"{path}: damaged: it has not the weights that belong here; run the config again"
                )
            # Cloned, since a tensor in a mapped file lies at any address, and sums come out otherwise there.
            tensors = {name: file.get_tensor(within + name).clone() for name in shapes}
    except (OSError, SafetensorError) as fault:
        raise ArtifactError(
            f"{path}: damaged or missing ({in_a_line(fault)}); run the config again"
        ) from None
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ArtifactError(f"{path}: damaged: '{name}' holds NaN or infinity; run the config again")
    module.load_state_dict(tensors, assign=True)
