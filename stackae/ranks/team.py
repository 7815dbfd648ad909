"""The processes of a run, and how they tell each other small things: in JSON, so that nothing unpickles."""

from __future__ import annotations

import json
from typing import Any

import torch
import torch.distributed as dist

# Bytes of a text's length, and of a text that is sent along with it: most are short.
HEAD, SHORT = 8, 1016


class Team:
    """So many processes, of which this one has the number `rank`; that of number 0 leads.

    All take part in every call, in the same order. `group` is what they exchange small things through; the
    only process of a run needs none.
    """

    def __init__(self, rank: int = 0, size: int = 1, group: Any = None, environment: Any = None) -> None:
        self.rank, self.size = rank, size
        self._group = group
        self.environment = environment
        """Lightning's description of the cluster; None where there is none."""

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def tell(self, told: Any) -> Any:
        """Return what the leader gives, plain data; what others give is not looked at."""
        return told if self.size == 1 else self.gather(told if self.leads else None)[0]

    def gather(self, given: Any) -> list[Any]:
        """Return what all give, plain data, in their order."""
        if self.size == 1:
            return [given]
        text = json.dumps(given).encode()
        head = len(text).to_bytes(HEAD, "big") + text[:SHORT]
        heads = self._exchange(head, HEAD + SHORT)
        lengths = [int.from_bytes(each[:HEAD], "big") for each in heads]
        texts = [each[HEAD:] for each in heads]
        if max(lengths) > SHORT:
            rests = self._exchange(text[SHORT:], max(lengths) - SHORT)
            texts = [each + rest for each, rest in zip(texts, rests, strict=True)]
        return [json.loads(each[:length]) for each, length in zip(texts, lengths, strict=True)]

    def _exchange(self, given: bytes, size: int) -> list[bytes]:
        """Return the bytes that all give, filled up to so many."""
        padded = torch.frombuffer(bytearray(given.ljust(size, b"\0")), dtype=torch.uint8)
        every = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(every, padded, group=self._group)
        return [bytes(each.numpy()) for each in every]

    def meet(self) -> None:
        """Wait until all have come so far."""
        self.tell(None)


ALONE = Team()
