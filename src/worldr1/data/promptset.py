"""Prompt sets with their camera moves and scenes, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SETS: tuple[str, ...] = ("train", "dynamic", "test")
"""The shipped prompt sets: for the main phase, the dynamic phase, and held out."""

_FOLDER = Path(__file__).parent / "prompts"


@dataclass(frozen=True)
class ScenePrompt:
    """One prompt.

    Attributes:
        prompt: the text that the model is given.
        moves: what it asks of the camera, in order; empty when it says nothing of it.
        scene: subject and place, which name the scene whatever else the prompt tells.
        domain: landscape, urban, interior, micro world, fantasy or still life.
    """

    prompt: str
    moves: tuple[str, ...]
    scene: str
    domain: str

    def to_line(self) -> str:
        """One line of JSON."""
        row = {"prompt": self.prompt, "moves": list(self.moves), "scene": self.scene, "domain": self.domain}
        return json.dumps(row, ensure_ascii=False)


def to_text(prompts: Iterable[ScenePrompt]) -> str:
    """The content of a .jsonl file."""
    return "".join(f"{prompt.to_line()}\n" for prompt in prompts)


def shipped_path(name: str) -> Path:
    """Where a shipped prompt set lies.

    Raises:
        ValueError: on another name than those of `SETS`.
    """
    if name not in SETS:
        raise ValueError(f"no shipped prompt set '{name}'; there are {', '.join(SETS)}")
    return _FOLDER / f"{name}.jsonl"


def read_lines(path: Path) -> list[str]:
    """The lines of a prompt file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not UTF-8 text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no prompt file {path}; give a .txt (a prompt a line) or .jsonl file")
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def nothing_in(path: Path) -> str:
    """The sentence about a prompt file without a prompt."""
    wanted = 'one object such as {"prompt": "..."} a line' if path.suffix == ".jsonl" else "one prompt a line"
    return f"{path} holds no prompt; write {wanted}"


def find_set(name: str) -> Path:
    """The file of this name, or else the shipped set.

    Raises:
        FileNotFoundError: it is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    if name in SETS:
        return shipped_path(name)
    raise FileNotFoundError(f"no prompt file {name}; give a .txt or .jsonl file, or one of {', '.join(SETS)}")


def same_text(prompt: str) -> str:
    """What two prompts share that differ in case and spaces only."""
    return " ".join(prompt.casefold().split())


def parse_line(line: str) -> ScenePrompt:
    """Read one JSON object; only "prompt" is required, and without "moves" they are read from the text.

    Raises:
        ValueError: it is no such object.
    """
    from worldr1.camera.language import parse_moves

    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}") from error
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
        raise ValueError('expected an object such as {"prompt": "..."}')
    moves = row.get("moves", parse_moves(row["prompt"]))
    scene, domain = row.get("scene", ""), row.get("domain", "")
    if isinstance(moves, str) or not isinstance(moves, Sequence) or not all(isinstance(move, str) for move in moves):
        raise ValueError('"moves" must be a list of camera moves')
    if not isinstance(scene, str) or not isinstance(domain, str):
        raise ValueError('"scene" and "domain" must be text')
    return ScenePrompt(row["prompt"].strip(), tuple(moves), scene, domain)
