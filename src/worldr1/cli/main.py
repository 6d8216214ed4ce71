"""The `worldr1` command: finds the subcommand, imports only that, and turns errors into one sentence."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from difflib import get_close_matches

from worldr1.openmp import rest_soon

SUMMARIES = {
    "train": "post-train a model by reinforcement learning with 3D rewards",
    "generate": "make a camera-controlled video from a prompt",
    "serve": "the reward over HTTP, for several trainers",
    "score": "3D consistency, camera and motion of any video file",
    "reconstruct": "cameras and splats of a video, for other programs",
    "view": "splats, cameras and frames in the browser",
    "camera": "what a prompt asks of the camera",
    "evaluate": "held-out prompts, base against trained",
    "ablate": "what each part of the method is worth, over several seeds",
    "runs": "the runs under a directory: running, finished, stopped, broken",
    "report": "one self-contained HTML page about a run",
    "prompts": "generate, check and show prompt sets",
    "calibrate": "show that the reward is honest on clips of known quality",
    "tinyworld": "where the shipped tiny pipeline lies; rebuild it",
    "doctor": "what this machine can run and what is missing",
}
"""Each command is the function of the same name in the module `worldr1.cli.<name>`."""

EXTRAS = {
    "serve": ("fastapi", "uvicorn", "prometheus_client", "multipart", "python_multipart", "httpx"),
    "view": ("viser",),
    "ray": ("ray",),
    "cuda": ("gsplat",),
    "colmap": ("pycolmap",),
    "rerun": ("rerun",),
    "da3": ("einops", "addict", "omegaconf", "e3nn"),
}
"""Modules that an extra of the package brings, by the extra's name."""

DONE, FAILED, WRONG_USAGE, PREEMPTED, INTERRUPTED = 0, 1, 2, 75, 130
"""`PREEMPTED` is EX_TEMPFAIL: `train` was asked to leave the machine, has saved, and goes on when started again."""


class WrongUsage(ValueError):
    """What was typed cannot be; the sentence names the mend. Ends the command with `WRONG_USAGE`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 done, 1 failed, 2 wrong usage, 75 preempted, 130 interrupted."""
    rest_soon()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_usage())
        return DONE if words else WRONG_USAGE
    if words[0] in ("-V", "--version"):
        from worldr1 import __version__

        sys.stdout.write(f"worldr1 {__version__}\n")
        return DONE
    command = words[0]
    if command not in commands():
        near = get_close_matches(command, commands(), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"commands: {', '.join(commands())}"
        return _complain(f"unknown command '{command}'; {hint}", WRONG_USAGE)
    try:
        return _run(command, words[1:])
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "worldr1":
            raise
        return _complain(_missing(error), FAILED)
    except WrongUsage as error:
        return _complain(str(error), WRONG_USAGE)
    except (ValueError, OSError) as error:
        return _complain(_sentence(error), FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)


def commands() -> list[str]:
    """Names of the commands whose module is installed."""
    return [name for name in SUMMARIES if importlib.util.find_spec(f"worldr1.cli.{name}") is not None]


def _run(command: str, words: Sequence[str]) -> int:
    import tyro

    from worldr1.cli.logs import configure_logging

    configure_logging()
    module = importlib.import_module(f"worldr1.cli.{command}")
    if hasattr(module, "parse"):
        result = module.parse(words)
    else:
        function = getattr(module, command)
        config = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalRequiredArgs)
        result = tyro.cli(function, args=words, prog=f"worldr1 {command}", config=config)
    return result if isinstance(result, int) else DONE


def _sentence(error: Exception) -> str:
    from pydantic import ValidationError

    from worldr1.recipes.explain import explain

    return explain(error) if isinstance(error, ValidationError) else str(error)


def _missing(error: ImportError) -> str:
    extra = next((name for name, modules in EXTRAS.items() if (error.name or "").partition(".")[0] in modules), None)
    return f"a package is missing: {error}" + (f'; install it: pip install "worldr1[{extra}]"' if extra else "")


def _usage() -> str:
    lines = "\n".join(f"  {name:<11} {SUMMARIES[name]}" for name in commands())
    return f"usage: worldr1 COMMAND [options]\n\n{lines}\n\n`worldr1 COMMAND --help` tells the options of a command.\n"


def _complain(sentence: str, code: int) -> int:
    sys.stderr.write(f"worldr1: {' '.join(sentence.split())}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
