"""The upload of an exported folder to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from stackae.errors import ArtifactError


def upload(folder: Path, repo: str) -> None:
    """Upload a folder to a repository `NAME` or `USER/NAME`, which is made, private, if there is none.

    The account is that of `hf auth login`, or of the environment variable HF_TOKEN. Raises `ArtifactError`
    where the Hub or the network refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        repository = api.create_repo(repo, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository.repo_id, folder_path=folder, commit_message="Model of stackae")
    except Exception as fault:  # whatever of many kinds: the network's, the Hub's, an invalid name
        refused = isinstance(fault, HfHubHTTPError) and fault.response.status_code in (401, 403)
        why = "the account may not write there" if refused else _line(fault)
        raise ArtifactError(
            f"--push {repo}: {why}; the folder '{folder}' is written. To upload it: hf upload {repo} {folder}"
        ) from None


def _line(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(fault).__name__
