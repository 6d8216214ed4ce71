"""Settings from the command line: what is wrong with them is told in a sentence, not in a box of pydantic's words."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import TypeVar

import tyro
from pydantic import BaseModel, ValidationError

from worldr1.cli.main import WrongUsage
from worldr1.recipes.explain import explain, section_of

Parsed = TypeVar("Parsed")


def parse_settings(
    kind: type[Parsed], words: Sequence[str], default: Parsed, prog: str, whole: type[BaseModel]
) -> Parsed:
    """Options read by tyro into `kind`, whose settings are a model of pydantic.

    Args:
        kind: what is returned.
        words: the command line behind the command's name.
        default: where an option is not given.
        prog: the command's name, for its help.
        whole: the settings, to name a key of one of their sections in full.

    Raises:
        WrongUsage: a value does not fit; the sentence names its key.
        SystemExit: help was asked for, or an option does not exist or cannot be read, as tyro tells.
    """

    def parsed() -> Parsed:
        config = (tyro.conf.FlagCreatePairsOff,)
        return tyro.cli(kind, args=words, default=default, prog=prog, config=config)

    try:
        with redirect_stderr(io.StringIO()):
            return parsed()
    except (ValidationError, SystemExit) as error:
        cause = _validation_error(error)
        if cause is not None:
            raise WrongUsage(explain(cause, section_of(cause, whole))) from error
        if isinstance(error, SystemExit) and not error.code:
            raise
    return parsed()  # which tells what is wrong once more, to the terminal


def _validation_error(error: BaseException | None) -> ValidationError | None:
    """The error of pydantic behind an exit of tyro, if there is one."""
    while error is not None and not isinstance(error, ValidationError):
        error = error.__context__
    return error
