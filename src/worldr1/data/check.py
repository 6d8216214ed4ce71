"""What is wrong with prompt files: lines that cannot be read, repeats, wrong moves, scenes on both sides of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worldr1.camera.language import ALL_MOVES, parse_moves
from worldr1.data.promptset import ScenePrompt, parse_line, read_lines, same_text


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: where it is.
        line: its line number, from 1.
        kind: "unreadable", "empty", "duplicate", "moves" or "leak".
        text: what is wrong, in a sentence.
    """

    file: str
    line: int
    kind: str
    text: str


Numbered = tuple[int, ScenePrompt]


def read_set(path: Path) -> tuple[list[Numbered], list[Problem]]:
    """Read a .jsonl file, or plain text with a prompt a line, past lines that cannot be read.

    Returns:
        The prompts with their line numbers, and what could not be read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not UTF-8 text.
    """
    prompts: list[Numbered] = []
    problems: list[Problem] = []
    for number, line in enumerate(read_lines(path), start=1):
        line = line.strip()
        if not line or (path.suffix != ".jsonl" and line.startswith("#")):
            continue
        if path.suffix != ".jsonl":
            prompts.append((number, ScenePrompt(line, parse_moves(line), "", "")))
            continue
        try:
            prompts.append((number, parse_line(line)))
        except ValueError as error:
            problems.append(Problem(str(path), number, "unreadable", str(error)))
    return prompts, problems


def check_files(paths: Sequence[Path]) -> list[Problem]:
    """Everything that is wrong in prompt files, and between them when there are several.

    Within a file: lines that cannot be read, empty prompts, prompts that differ in case and spaces only, and moves
    that are not those that the camera language reads in the prompt. Between files: the same prompt or the same scene
    in two of them.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not text, or is named twice.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError("a prompt file is named twice; a file cannot leak into itself")
    problems: list[Problem] = []
    owners: dict[tuple[str, str], tuple[Path, int]] = {}
    for path in paths:
        prompts, unreadable = read_set(path)
        found = [*unreadable]
        if not prompts and not unreadable:
            found.append(Problem(str(path), 1, "empty", "the file holds no prompt"))
        first: dict[str, int] = {}
        for number, prompt in prompts:
            found.extend(_wrong_alone(path, number, prompt))
            text = same_text(prompt.prompt)
            if text and first.setdefault(text, number) != number:
                found.append(Problem(str(path), number, "duplicate", f"the same prompt as line {first[text]}"))
            found.extend(_leaks(path, number, prompt, owners))
        problems.extend(sorted(found, key=lambda problem: problem.line))
    return problems


def _wrong_alone(path: Path, number: int, prompt: ScenePrompt) -> list[Problem]:
    if not prompt.prompt:
        return [Problem(str(path), number, "empty", "the prompt is empty")]
    unknown = [move for move in prompt.moves if move not in ALL_MOVES]
    if unknown:
        return [Problem(str(path), number, "moves", f"unknown camera move '{unknown[0]}'")]
    read = parse_moves(prompt.prompt)
    if read != prompt.moves:
        told = f"the prompt says {_told(read)}, its moves are {_told(prompt.moves)}"
        return [Problem(str(path), number, "moves", told)]
    return []


def _leaks(
    path: Path, number: int, prompt: ScenePrompt, owners: dict[tuple[str, str], tuple[Path, int]]
) -> list[Problem]:
    """Prompt or scene of another file; the first file that has one owns it."""
    for kind, text in (("prompt", same_text(prompt.prompt)), ("scene", same_text(prompt.scene))):
        if not text:
            continue
        owner, line = owners.setdefault((kind, text), (path, number))
        if owner != path:
            return [Problem(str(path), number, "leak", f"the same {kind} as in {owner}, line {line}")]
    return []


def _told(moves: Sequence[str]) -> str:
    return f"'{', then '.join(moves)}'" if moves else "nothing of the camera"
