"""Recipes as YAML files: the shipped ones by name, any other by path."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import yaml
from pydantic import ValidationError

from worldr1.data.atomic import write_text
from worldr1.recipes.explain import explain
from worldr1.recipes.settings import Recipe

_HERE = Path(__file__).parent


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package, sorted."""
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe.

    Args:
        name: the name of a shipped recipe ("tiny"), or the path of a YAML file.

    Raises:
        FileNotFoundError: there is no such recipe; the nearest name is told.
        ValueError: the file is no mapping, or a key or value in it is wrong; the sentence names key and file.
    """
    path = _HERE / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
        if not path.is_file():
            raise FileNotFoundError(_unknown(str(name)))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a recipe is a mapping of sections, this file holds a {type(content).__name__}")
    try:
        return Recipe.model_validate({"name": path.stem, **content})
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from error


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write every field of a recipe as YAML, so that `load_recipe(path)` gives the same recipe back."""
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=100)
    write_text(path, text)


def _unknown(name: str) -> str:
    known = recipe_names()
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"no recipe '{name}'; {hint}shipped recipes: {', '.join(known)}; else give the path of a YAML file"
