"""Two processes that have found each other, as those of a team do, and what each of them returns."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch.distributed as dist

from stackae.ranks.team import Team
from tests.faults.forked import Forked


def pair(work: Callable[[Team], Any], folder: Path) -> list[Any]:
    """What `work`, a function of a module, returns in each of two processes: plain data."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        begun = []
        for rank in range(2):
            output = (folder / f"{rank}.out", folder / f"{rank}.err")
            begun.append(Forked(_live, work, folder, rank, output=output))
            stack.callback(begun[-1].kill)
        codes = [each.wait() for each in begun]
    assert codes == [0, 0], [each.printed() for each in begun]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def _live(work: Callable[[Team], Any], folder: Path, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    returned = work(Team(rank, 2, dist.group.WORLD))
    (folder / f"{rank}.json").write_text(json.dumps(returned))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
