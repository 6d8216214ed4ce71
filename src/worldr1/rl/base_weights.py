"""Which weights a run began with, so that it neither goes on nor is evaluated from others under the same name."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from worldr1.data.atomic import write_text
from worldr1.recipes import Recipe, load_recipe
from worldr1.recipes.weights import place_of
from worldr1.rl.run import RunDirectory

logger = logging.getLogger(__name__)

PARTS = ("transformer", "transformer_2", "vae", "text_encoder")
_PLACES, _WIDTH = 4, 64
"""Of every tensor so many pieces of so many bytes are read, evenly spread."""


@dataclass(frozen=True)
class BaseWeights:
    """The name of a model and the fingerprint of what it held."""

    path: str
    fingerprint: str


def weights_of(path: str, revision: str | None = None) -> BaseWeights:
    """The weights that a name stands for now: 'tiny', a diffusers directory, a run directory, or a hub name.

    Sixteen hexadecimal digits of the names, sizes and headers of the weight files and of a few bytes of every tensor:
    two trainings always differ in them, a change of a few single values by hand may not. Reads some megabytes at most.

    Raises:
        FileNotFoundError: they are not on this machine; the sentence names the command that gets them.
        ValueError: a file is damaged.
    """
    digest = hashlib.blake2b(digest_size=8)
    for folder in _folders(path, revision):
        for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
            digest.update(f"{folder.name}/{file.name} {file.stat().st_size} ".encode())
            for piece in _pieces(file):
                digest.update(piece)
    return BaseWeights(path, digest.hexdigest())


def store_base(run: RunDirectory, recipe: Recipe) -> None:
    """Write base.json into a run that begins."""
    write_text(run.base, json.dumps(asdict(weights_of(recipe.model.path, recipe.model.revision))), parents=True)


def require_same_base(run: RunDirectory, recipe: Recipe) -> BaseWeights:
    """The weights under the name of a run's base now; a run that stored none is accepted with a warning.

    Raises:
        FileNotFoundError: they are not on this machine.
        ValueError: they are not those that the run began with, or base.json is damaged.
    """
    now = weights_of(recipe.model.path, recipe.model.revision)
    if not run.base.is_file():
        logger.warning("%s does not tell the weights it began with; those of %s are taken for them", run.root, now.path)
        return now
    try:
        then = BaseWeights(**json.loads(run.base.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{run.base} is damaged: {error}; remove it to take the present weights on trust") from error
    if then.fingerprint != now.fingerprint:
        raise ValueError(
            f"{run.root} began with the weights {then.fingerprint} of '{then.path}', which now holds "
            f"{now.fingerprint}; put the former weights back there, or train anew with `worldr1 train {run.recipe}`"
        )
    return now


def _folders(path: str, revision: str | None) -> list[Path]:
    if path == "tiny":
        from worldr1.tinyworld import pipeline_dir

        return [pipeline_dir() / part for part in PARTS]
    place = place_of(path, revision)
    if (place / "recipe.yaml").is_file() and not (place / "pipeline").is_dir():
        model = load_recipe(place / "recipe.yaml").model
        return [*_folders(model.path, model.revision), place / "lora"]
    return [(place / "pipeline" if (place / "pipeline").is_dir() else place) / part for part in PARTS]


def _pieces(file: Path) -> Iterator[bytes]:
    """The header of a .safetensors and bytes of each of its tensors; bytes of any other file as if it were one."""
    size = file.stat().st_size
    spans = [(0, size)]
    with file.open("rb") as source:
        if file.suffix == ".safetensors":
            length = int.from_bytes(source.read(8), "little")
            header = source.read(min(length, size))
            yield header
            try:
                tensors = [entry["data_offsets"] for name, entry in json.loads(header).items() if name[:2] != "__"]
            except (ValueError, KeyError) as error:
                raise ValueError(f"{file} is no .safetensors file, or is damaged: {error}") from error
            spans = sorted((8 + length + first, 8 + length + last) for first, last in tensors)
        for first, last in spans:
            room = max(last - first - _WIDTH, 0)
            for place in range(_PLACES):
                source.seek(first + room * place // (_PLACES - 1))
                yield source.read(min(_WIDTH, last - first))
