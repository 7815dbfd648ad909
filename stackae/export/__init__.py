"""A finished run for others to use: as ONNX, a program of torch, or a folder for the Hugging Face Hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from stackae.errors import ConfigError
from stackae.machine.disk import replacing
from stackae.outputs import check_output

Format = Literal["onnx", "torch", "hf"]

_PACKAGES = {"onnx": ("onnx", "onnxscript"), "hub": ("huggingface_hub",)}
"""The packages of each extra that an export imports."""


def export(run: Path, to: Format, out: Path, *, push: str | None = None) -> None:
    """Write the model of a run to `out`: a file for `onnx` and `torch`, a new folder for `hf`.

    With `push`, the name of a repository on the Hub, the folder is uploaded too. Raises `ConfigError`
    where a package is missing, `DataError` where nothing can be written to `out`, `ArtifactError` where the
    run has no model or the upload fails.
    """
    if push is not None and to != "hf":
        raise ConfigError(f"--push {push}: uploads a folder; write it with --to hf")
    for extra in ("onnx",) if to == "onnx" else ("hub",) if push is not None else ():
        _check_installed(extra)
    if to == "hf":
        from stackae.export.folder import write_folder

        write_folder(run, out)
        if push is not None:
            from stackae.export.upload import upload

            upload(out, push)
        return
    check_output(out, (".onnx",) if to == "onnx" else (".pt2",))
    from stackae.export.network import Network
    from stackae.model import load

    network = Network(load(run))
    with replacing(out) as part:
        if to == "onnx":
            from stackae.export.onnx_file import write_onnx

            write_onnx(network, part)
        else:
            from stackae.export.program import write_program

            write_program(network, part)


def _check_installed(extra: str) -> None:
    for package in _PACKAGES[extra]:
        if find_spec(package) is None:
            raise ConfigError(f"the package '{package}' is missing; run: pip install 'stackae[{extra}]'")
