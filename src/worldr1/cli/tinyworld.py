"""`worldr1 tinyworld`: where the shipped pipeline lies, and how it is built again."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence


def parse(words: Sequence[str]) -> int:
    """Run `worldr1 tinyworld path` or `worldr1 tinyworld build [options]`."""
    import tyro

    subcommands: dict[str, Callable[..., object]] = {"path": path}
    build = _build_command()
    if build is not None:
        subcommands["build"] = build
    tyro.extras.subcommand_cli_from_dict(subcommands, args=words, prog="worldr1 tinyworld")
    return 0


def path() -> None:
    """Print the directory of the shipped tiny pipeline, a diffusers WanPipeline."""
    from worldr1.tinyworld import pipeline_dir

    sys.stdout.write(f"{pipeline_dir()}\n")


def _build_command() -> Callable[..., object] | None:
    if importlib.util.find_spec("worldr1.tinyworld.build") is None:
        return None
    from worldr1.tinyworld.build import build

    return build
