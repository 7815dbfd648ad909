"""`stackae sample`: rows drawn from a variational code, or decoded on the way between two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stackae.config_file import load_config
from stackae.errors import DataError

if TYPE_CHECKING:
    from stackae.data.rows import Raw


def sample(run: Path, out: Path, *, n: int, seed: int, between: tuple[int, int] | None) -> None:
    """Write rows drawn from a run's prior, or decoded on the way from one test row's code to another's."""
    from stackae.model import load
    from stackae.outputs import check_examples, write_examples

    model = load(run)
    check_examples(out, model.shape)
    rows = model.sample(n, seed) if between is None else model.interpolate(_test_rows(run, between), n)
    write_examples(out, rows, scale=model.scale, columns=None if between is None else n)


def _test_rows(run: Path, numbers: Sequence[int]) -> Raw:
    """Return rows of a run's test part, by their numbers from 0."""
    from stackae.data.read import read_source
    from stackae.data.rows import join
    from stackae.data.splits import make_split

    config = load_config(run / "config.yaml")
    source = read_source(config.data)
    test = make_split(source, config.data, config.seed).test
    if not all(0 <= number < len(test) for number in numbers):
        raise DataError(f"--between {' '.join(map(str, numbers))}: the test rows are 0 to {len(test) - 1:,}")
    # Each by itself: two may be the same one, or the later one first.
    return join([source.all.take(test[[number]]) for number in numbers])
