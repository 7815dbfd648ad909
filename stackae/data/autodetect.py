"""Settings for data that nobody has described, guessed from what is at a path."""

from __future__ import annotations

from typing import Any

from stackae.data.forms import form_of
from stackae.data.forms.form import Form, Guess

__all__ = ["Guess", "guess"]


def guess(data: str, target: str | None) -> tuple[Form, Guess]:
    """Guess how to read what is at a path, and of what form it is; DataError where it cannot be read."""
    settings: dict[str, Any] = {"source": data} | ({} if target is None else {"target": target})
    form = form_of(data, "data", built_in=True)
    return form, form.guess(data, settings)
