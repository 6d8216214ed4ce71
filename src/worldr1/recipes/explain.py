"""What pydantic finds wrong with settings, as sentences: the key, what is wrong, and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

_LONGEST_VALUE = 60


def explain(error: ValidationError, section: str = "") -> str:
    """All complaints of a validation error, each a sentence that names its key, joined by semicolons.

    Args:
        error: as pydantic raised it.
        section: dotted name of the settings that were validated; empty for the whole.
    """
    return "; ".join(dict.fromkeys(_sentence(complaint, section) for complaint in error.errors(include_url=False)))


def section_of(error: ValidationError, whole: type[BaseModel]) -> str:
    """Dotted name of the section, among those of `whole`, that a validation error is of; empty where it is none."""
    return _named(error.title, whole, ()) or ""


def _named(title: str, settings: type[BaseModel], path: tuple[str, ...]) -> str | None:
    if settings.__name__ == title:
        return ".".join(path)
    for name, field in settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found = _named(title, kind, (*path, name))
            if found is not None:
                return found
    return None


def _sentence(complaint: Mapping[str, Any], section: str) -> str:
    where = ".".join([*([section] if section else []), *(str(part) for part in complaint["loc"])])
    message = complaint["msg"].removeprefix("Value error, ")
    wanted = message.removeprefix("Input should ")
    if wanted != message:
        value = repr(complaint["input"])
        told = value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}..."
        message = f"{told} does not do; it should {wanted}"
    elif complaint["type"] == "missing":
        message = "is missing"
    return f"{where}: {message}" if where else message
