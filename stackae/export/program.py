"""A network as a program of torch.export, in a .pt2 file.

Such files hold pickled parts, and `torch.export.load` unpickles what a file asks it to: they are written here
and never read, and are to be loaded only where their origin is trusted.
"""

from __future__ import annotations

from pathlib import Path

import torch

from stackae.export.network import Network


def write_program(network: Network, path: Path) -> None:
    """Write the network for any number of rows; its description is in extra files of the same archive."""
    program = network.program()
    # Examples would be pickled into the file.
    program.example_inputs = None
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files=network.described())
