"""`worldr1 prompts`: generate, check and show prompt sets."""

from __future__ import annotations

import json as json_
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from worldr1.cli.main import WrongUsage

if TYPE_CHECKING:
    from worldr1.data.promptset import ScenePrompt

logger = logging.getLogger(__name__)

_PROBLEMS_TOLD = 20
_MOST_PROMPTS = 100_000


def parse(words: Sequence[str]) -> int:
    """Run `worldr1 prompts generate`, `check` or `show`, with options."""
    result = tyro.extras.subcommand_cli_from_dict(
        {"generate": generate, "check": check, "show": show},
        args=words,
        prog="worldr1 prompts",
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalRequiredArgs),
    )
    return int(result)


def generate(
    split: Literal["train", "dynamic", "test"] = "train",
    count: int | None = None,
    seed: int = 0,
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    rewrite: str | None = None,
    model: str | None = None,
) -> int:
    """Write prompts of the grammar, one JSON object a line: prompt, moves, scene, domain.

    Args:
        split: train (only the camera moves), dynamic (the content moves), or test (scenes that no other split shows).
        count: how many; without it as many as the package ships.
        seed: seed 0 with the shipped counts gives the shipped sets.
        out: the .jsonl file; without it the lines go to standard output.
        rewrite: address of an OpenAI-compatible endpoint, such as http://localhost:8000/v1, that expands each prompt.
        model: the model's name at that endpoint.
    """
    from worldr1.data.atomic import write_text
    from worldr1.data.grammar import SHIPPED_COUNTS, generate_prompts
    from worldr1.data.promptset import to_text

    if (rewrite is None) != (model is None):
        raise ValueError("rewriting takes both --rewrite URL and --model NAME")
    if out is not None and not out.parent.is_dir():
        raise FileNotFoundError(f"no directory {out.parent} to write {out.name} into; create it first")
    wanted = SHIPPED_COUNTS[split] if count is None else count
    if wanted > _MOST_PROMPTS:
        raise WrongUsage(f"--count is {wanted}; ask for at most {_MOST_PROMPTS} at once, and for others with --seed")
    prompts = generate_prompts(split, wanted, seed)
    if rewrite is not None and model is not None:
        prompts = _expand(prompts, rewrite, model)
    if out is None:
        sys.stdout.write(to_text(prompts))
        return 0
    write_text(out, to_text(prompts))
    logger.info("wrote %d prompts to %s", len(prompts), out)
    return 0


def check(files: tuple[str, ...], json: bool = False) -> int:
    """Tell what is wrong in prompt files, and which prompts or scenes two of them share.

    Args:
        files: .jsonl or .txt files, or the shipped sets train, dynamic and test.
        json: print one JSON document, and nothing else, on standard output.

    Returns:
        0 when nothing is wrong, else 1.
    """
    from worldr1.data.check import check_files
    from worldr1.data.promptset import find_set

    if not files:
        raise ValueError("name at least one prompt file")
    problems = check_files([find_set(name) for name in files])
    if json:
        kinds = Counter(problem.kind for problem in problems)
        document = {"ok": not problems, "counts": kinds, "problems": [asdict(problem) for problem in problems]}
        sys.stdout.write(json_.dumps(document, indent=1) + "\n")
        return 1 if problems else 0
    for problem in problems[:_PROBLEMS_TOLD]:
        sys.stdout.write(f"{problem.file}:{problem.line}: {problem.kind}: {problem.text}\n")
    if len(problems) > _PROBLEMS_TOLD:
        sys.stdout.write(f"and {len(problems) - _PROBLEMS_TOLD} more; --json lists all\n")
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    sys.stdout.write(f"{count}\n" if problems else "nothing is wrong\n")
    return 1 if problems else 0


def show(
    file: Annotated[str, tyro.conf.Positional] = "train", count: int = 8, seed: int = 0, json: bool = False
) -> int:
    """Show a sample of a prompt set, and how often it has which moves and domains.

    Args:
        file: a .jsonl or .txt file, or a shipped set: train, dynamic or test.
        count: prompts in the sample; 0 shows the statistics alone.
        seed: of the sample.
        json: print one JSON document, and nothing else, on standard output.
    """
    from worldr1.data.check import read_set
    from worldr1.data.promptset import find_set, nothing_in

    path = find_set(file)
    numbered, unreadable = read_set(path)
    if not numbered:
        raise ValueError(nothing_in(path))
    if unreadable:
        logger.warning("%d lines of %s cannot be read; `worldr1 prompts check` tells why", len(unreadable), path)
    prompts = [prompt for _, prompt in numbered]
    sample = Random(seed).sample(prompts, min(max(count, 0), len(prompts)))
    statistics = _statistics(prompts)
    if json:
        lines = [json_.loads(prompt.to_line()) for prompt in sample]
        document = {"file": str(path), **statistics, "sample": lines}
        sys.stdout.write(json_.dumps(document, indent=1, ensure_ascii=False) + "\n")
        return 0
    _tell(statistics, sample)
    return 0


def _expand(prompts: list[ScenePrompt], url: str, model: str) -> list[ScenePrompt]:
    from worldr1.data.rewrite import Endpoint, rewrite_prompts

    twentieth = max(1, len(prompts) // 20)

    def report(done: int) -> None:
        if done % twentieth == 0:
            logger.info("rewritten %d of %d", done, len(prompts))

    rewritten = rewrite_prompts(prompts, Endpoint(url, model), report)
    if rewritten.kept:
        logger.warning("%d prompts stay as they were: the answers spoke of the camera", rewritten.kept)
    return rewritten.prompts


def _statistics(prompts: list[ScenePrompt]) -> dict[str, object]:
    words = sorted(len(prompt.prompt.split()) for prompt in prompts)
    return {
        "prompts": len(prompts),
        "scenes": len({prompt.scene for prompt in prompts if prompt.scene}),
        "median_words": words[len(words) // 2],
        "domains": dict(Counter(prompt.domain or "unknown" for prompt in prompts).most_common()),
        "moves": dict(Counter(move for prompt in prompts for move in prompt.moves).most_common()),
        "moves_per_prompt": dict(sorted(Counter(str(len(prompt.moves)) for prompt in prompts).items())),
    }


def _tell(statistics: dict[str, object], sample: list[ScenePrompt]) -> None:
    for name, value in statistics.items():
        told = ", ".join(f"{key} {number}" for key, number in value.items()) if isinstance(value, dict) else str(value)
        sys.stdout.write(f"{name.replace('_', ' ')}: {told}\n")
    for prompt in sample:
        sys.stdout.write(f"\n{prompt.prompt}\n  [{', then '.join(prompt.moves) or 'no camera words'}]\n")
