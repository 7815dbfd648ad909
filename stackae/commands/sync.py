"""`stackae sync`: a run's offline logs, uploaded."""

from __future__ import annotations

from pathlib import Path

from stackae.errors import ArtifactError


def sync(run: Path) -> int:
    """Upload what a run logged offline, and return how many W&B runs there were."""
    if not run.is_dir():
        raise ArtifactError(f"{run}: there is no such folder; name the folder of a run")
    from stackae.tracking.wandb import upload

    return upload(run / "wandb")
