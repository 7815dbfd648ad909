"""Where a finished model is: a folder on this machine, or one of the Hugging Face Hub or of W&B, fetched."""

from __future__ import annotations

import re
from pathlib import Path

from stackae.errors import ArtifactError, in_a_line

_HUB = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?", re.ASCII)
WANDB = "wandb:"
FILES = ("config.json", "*.safetensors", "preprocessing.skops")
"""All that a model consists of; whatever else a repository holds is not fetched."""


def located(run: str | Path) -> Path:
    """Return the folder of a run or a model that is named by its path, or fetch it into a cache.

    `USER/NAME`, or `USER/NAME@REVISION`, is a repository of the Hub, unless there is a folder `USER` here or
    it is `runs`, where runs go;
    `wandb:ENTITY/PROJECT/NAME:ALIAS` is a model that a run has logged in W&B. Raises ArtifactError where it
    cannot be had.
    """
    name = str(run)
    if name.startswith(WANDB):
        from stackae.tracking.wandb_artifacts import download

        return download(name.removeprefix(WANDB))
    found = _HUB.fullmatch(name)
    if found is None or (user := Path(name).parts[0]) == "runs" or Path(user).exists():
        return Path(run)
    return _from_hub(name, found["repository"], found["revision"])


def _from_hub(name: str, repository: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
    except ModuleNotFoundError:
        raise ArtifactError(
            f"{name}: no such folder; to load it from the Hugging Face Hub: pip install 'stackae[hub]'"
        ) from None
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[*FILES]))
    except (GatedRepoError, RepositoryNotFoundError):
        why = "nor a repository of the Hugging Face Hub that this account may read"
    except RevisionNotFoundError:
        why = f"and the repository of the Hugging Face Hub has no revision {revision!r}"
    except Exception as fault:  # whatever of many kinds: the network's, the Hub's, the cache's
        why = f"and the Hugging Face Hub did not give it ({in_a_line(fault).rstrip('.')})"
    raise ArtifactError(f"{name}: no such folder, {why}; check the name")
