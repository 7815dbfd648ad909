"""Reads the data that a config names, checked at the door and fingerprinted."""

from __future__ import annotations

from stackae.config import DataConfig
from stackae.data.files.paths import as_paths, quoted
from stackae.data.files.remote import remotes_named
from stackae.data.forms import FORMS, form_of
from stackae.data.forms.form import Form
from stackae.data.source import Source
from stackae.errors import DataError

__all__ = ["Source", "read_source"]


def read_source(config: DataConfig) -> Source:
    """Read the data that `config.source` names, and those of `config.test` and `config.unlabelled`.

    Classes are the sorted labels of the source. 8-bit images are divided by 255 (`digits` by 16) and tables
    are preprocessed; all else stays as it is unless `config.scaling` is set.
    Raises `DataError` where the source is unknown, missing or damaged, or holds what cannot be learnt from.
    """
    with remotes_named():
        return _read(config)


def _read(config: DataConfig) -> Source:
    form = form_of(config.source, "data.source", built_in=True)
    _check_settings(config, form)
    for setting in ("test", "unlabelled"):
        other = getattr(config, setting)
        if other is not None and form_of(other, f"data.{setting}") is not form:
            raise DataError(
                f"data.{setting}: {quoted(other)} is of another form than data.source, "
                f"{quoted(config.source)}"
            )
    source_paths = [path.resolve() for path in as_paths(config.source)]
    for path in as_paths(config.test):
        test = path.resolve()
        # Either may be a folder, and have the other in it.
        if any(test.is_relative_to(other) or other.is_relative_to(test) for other in source_paths):
            raise DataError(
                f"data.test: '{path}' is in data.source too, so that its rows would be learnt before they "
                "are tested; remove it from one of them"
            )
    return form.read(config)


def _check_settings(config: DataConfig, form: Form) -> None:
    for setting in dict.fromkeys(name for other in FORMS.values() for name in other.settings):
        default = DataConfig.model_fields[setting].default
        if setting not in form.settings and getattr(config, setting) != default:
            raise DataError(
                f"data.{setting}: has no meaning for the source {quoted(config.source)}; remove it"
            )
