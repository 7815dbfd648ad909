"""Seeds derived from what they are for, so that randomness never depends on what was drawn before."""

from __future__ import annotations

import hashlib


def derive(*parts: int | str) -> int:
    """Derive a seed in [0, 2**63) from the parts' strings: `derive(0, "pretrain-1", "noise", 3, 17)`."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
