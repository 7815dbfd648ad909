"""Settings for data that nobody has described, guessed from what is at a path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stackae.data.files.remote import remotes_named
from stackae.data.forms import form_of
from stackae.data.forms.form import Form, Guess

__all__ = ["Guess", "guess"]


def guess(data: Sequence[str], target: str | None) -> tuple[Form, Guess]:
    """Guess how to read what is at paths, and of what form it is; DataError where it cannot be read."""
    source = data[0] if len(data) == 1 else list(data)
    settings: dict[str, Any] = {"source": source} | ({} if target is None else {"target": target})
    with remotes_named():
        form = form_of(source, "data", built_in=True)
        return form, form.guess(source, settings)
