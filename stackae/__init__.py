"""Greedy layer-wise pretraining of stacked autoencoders, with evidence of what it gained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stackae.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytorch_lightning import Callback

    from stackae.estimator import StackedAutoencoder, StackedAutoencoderClassifier
    from stackae.model import Model
    from stackae.results import Results

__version__ = VERSION
__all__ = ["StackedAutoencoder", "StackedAutoencoderClassifier", "load", "run"]


def __getattr__(name: str) -> Any:
    if name in ("StackedAutoencoder", "StackedAutoencoderClassifier"):
        from stackae import estimator

        return getattr(estimator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def run(
    config: str | Path,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    store: str | Path = ".stackae",
    fresh: bool = False,
    quiet: bool = True,
    callbacks: Sequence[Callback] = (),
) -> Results:
    """Carry out a config file, as `stackae run` does, and return its results.

    `overrides` are words such as `layers.0.width=500`; `out` defaults to `runs/<name>`. Lightning's
    `callbacks` take part in each stage that trains, whose name is `pl_module.stage`. The global generators
    of torch, NumPy and Python are as before afterwards. Raises `stackae.errors.StackaeError` with one line
    per fault.
    """
    import random

    before = random.getstate()
    try:
        # Before torch: it sets what torch reads when it is imported.
        from stackae.commands.run import run as run_command

        import torch  # isort: skip

        words = [overrides] if isinstance(overrides, str) else overrides
        # Networks that are built draw weights, also where those in the store take their place.
        with torch.random.fork_rng():
            return run_command(
                config, words, out=out, store=store, fresh=fresh, quiet=quiet, callbacks=callbacks
            )
    finally:
        # Packages that are imported on the way draw from it.
        random.setstate(before)


def load(run: str | Path) -> Model:
    """Load the model of a run's folder, or of an exported one, to predict, encode and reconstruct with.

    `USER/NAME` loads one of the Hugging Face Hub, `wandb:ENTITY/PROJECT/NAME:ALIAS` one that a run logged in
    W&B.
    """
    from stackae import model

    return model.load(run)
