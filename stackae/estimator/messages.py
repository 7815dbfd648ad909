"""What is wrong, in the words of Python and of the estimators' parameters instead of a config's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stackae.errors import ConfigError, DataError, TrainingError

PLACES: Mapping[str, tuple[str, ...]] = {
    "scaling": ("data", "scaling"),
    "validation_fraction": ("data", "split", "val"),
    "epochs": ("pretrain", "epochs"),
    "batch_size": ("pretrain", "batch_size"),
    "lr": ("pretrain", "lr"),
    "patience": ("pretrain", "patience"),
    "unroll_epochs": ("unroll", "epochs"),
    "finetune_epochs": ("finetune", "epochs"),
    "finetune_lr": ("finetune", "lr"),
    "finetune_patience": ("finetune", "patience"),
    "batch_norm": ("finetune", "batch_norm"),
    "noise": ("finetune", "noise"),
    "input_scale": ("finetune", "input_scale"),
    "shortcut": ("finetune", "shortcut"),
    "dropout": ("finetune", "dropout"),
    "input_dropout": ("finetune", "input_dropout"),
    "label_smoothing": ("finetune", "label_smoothing"),
    "balance": ("finetune", "balance"),
    "validation": ("finetune", "validation"),
    "encoder_lr_scale": ("finetune", "encoder_lr_scale"),
    "freeze_encoder": ("finetune", "freeze_encoder"),
    "semi_supervised": ("finetune", "semi_supervised"),
    "blend": ("finetune", "blend"),
    "accelerator": ("trainer", "accelerator"),
}
"""Where in a config an estimator's parameters are."""

_PARAMETERS = {".".join(place): name for name, place in PLACES.items()} | {
    "unroll.batch_size": "batch_size",
    "unroll.lr": "lr",
    "finetune.batch_size": "batch_size",
}
_SETTING = re.compile(
    rf"\b(?:layers\.\d+\.(?P<layer>kind|corruption|epochs|batch_size|lr|patience)"
    rf"|(?P<place>{'|'.join(map(re.escape, _PARAMETERS))}))\b(?:: (?P<value>\w+))?"
)
_IN_YAML = re.compile(
    r"""'[^']*'|"[^"]*"|\b(?P<constant>null|true|false)\b"""
    r"|(?P<before>[{,] ?|\bset )(?P<key>\w+): (?P<value>[A-Za-z]\w+)?"
)
_CONSTANTS = {"null": "None", "true": "True", "false": "False"}
_LABELS = re.compile(r"^(?:data\.target '[^']*': data\.source|\S*y\.npy: y) has (?P<problem>[^;]*);.*")


def in_python(says: str) -> str:
    """Return what is said of a parameter, with Python's constants, mappings and strings for YAML's."""

    def spelt(found: re.Match[str]) -> str:
        if found["constant"]:
            return _CONSTANTS[found["constant"]]
        if not found["key"]:
            return found[0]
        value = found["value"] or ""
        return f"{found['before']}'{found['key']}': {_CONSTANTS.get(value) or (value and repr(value))}"

    return _IN_YAML.sub(spelt, says)


@contextmanager
def as_value_errors(folder: Path | None = None) -> Iterator[None]:
    """Turn errors about rows and config into a `ValueError`, as users of scikit-learn expect it.

    Its message names neither the files in `folder`, to which rows were written, nor remedies for a config;
    nor does that of a `TrainingError`, which is still one.
    """
    try:
        yield
    except (ConfigError, DataError) as fault:
        raise ValueError(_of_rows(str(fault), folder)) from None
    except TrainingError as fault:
        raise TrainingError(_in_parameters(str(fault))) from None


def _of_rows(says: str, folder: Path | None) -> str:
    if folder is not None:
        for name in ("X.npy", "X.parquet"):
            says = says.replace(str(folder / name), "X")
    if labels := _LABELS.match(says):
        return f"y has {labels['problem']}; give classes"
    cause, _, remedy = in_python(_in_parameters(says)).partition("; ")
    if "no column is left" in says:
        cause = "X: no column is left to learn from"
        remedy = "give columns that are neither constant nor, as strings, all different"
    elif re.search(r"\bdata\.\w", remedy):
        remedy = "correct it, or leave the column out"
    return f"{cause}; {remedy}" if remedy else cause


def _in_parameters(says: str) -> str:
    """Return what is said with parameters in the place of the settings that they set."""

    def named(found: re.Match[str]) -> str:
        name, value = found["layer"] or _PARAMETERS[found["place"]], found["value"]
        if not value:
            return name
        return f"{name}={value!r}" if found.start() else f"{name}: {value}"

    return _SETTING.sub(named, says)
