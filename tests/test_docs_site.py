"""The documentation's pages: links that lead somewhere, commands and settings that exist, snippets that run.

`make docs` builds the site itself, strictly.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from worldr1.camera.trajectory import Trajectory
from worldr1.cli.main import SUMMARIES
from worldr1.recipes import Recipe
from worldr1.reconstruction.types import Reconstruction
from worldr1.splats.gaussians import Gaussians

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def _words(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def _anchors(page: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", _words(page), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", head.lower())).strip("-") for head in heads}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages_and_heads(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _words(page)):
        if target.startswith(("http:", "https:", "data:")):
            continue
        name, _, anchor = target.partition("#")
        place = (DOCS / page).parent / name if name else DOCS / page
        assert place.is_file(), f"{page} links to {target}"
        if anchor:
            assert anchor in _anchors(place.resolve().relative_to(DOCS).as_posix()), f"{page} links to {target}"


def _entries(tree: Any) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    return [entry for value in (tree.values() if isinstance(tree, dict) else tree) for entry in _entries(value)]


def test_the_site_lists_pages_that_exist_and_each_once() -> None:
    listed = _entries(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(PAGES)


def test_the_reference_names_modules_that_exist() -> None:
    named = [m for page in PAGES for m in re.findall(r"^::: (\S+)$", _words(page), re.MULTILINE)]
    assert len(named) > 50
    assert [module for module in named if importlib.util.find_spec(module) is None] == []


def test_included_files_exist() -> None:
    included = {name for page in PAGES for name in re.findall(r'--8<-- "([^"]+)"', _words(page))}
    assert included == {path.name for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_settings_exist(page: str) -> None:
    text = _words(page)
    for command in re.findall(r"^(?:\$ )?worldr1 (\w+)", text, re.MULTILINE) + re.findall(r"`worldr1 ([a-z]+)", text):
        assert command in SUMMARIES, f"{page}: worldr1 {command}"
    sections = "|".join(Recipe.model_fields)
    for dotted in re.findall(rf"--((?:{sections})\.[a-z0-9_.-]+)", text):
        assert _is_setting(dotted.rstrip(".").replace("-", "_")), f"{page}: --{dotted}"
    for dotted in re.findall(rf"`((?:{sections})\.[a-z0-9_.]+)", text):
        assert _is_setting(dotted) or _is_in_a_module(dotted) or _is_file(dotted), f"{page}: {dotted}"


def _is_file(dotted: str) -> bool:
    return dotted.endswith((".yaml", ".py", ".json", ".safetensors"))


def _is_in_a_module(dotted: str) -> bool:
    """Whether this is a module of the package, or a word that stands in one."""
    place = ROOT / "src" / "worldr1" / dotted.replace(".", "/")
    if place.is_dir() or place.with_suffix(".py").is_file():
        return True
    module = place.parent.with_suffix(".py")
    return module.is_file() and re.search(rf"\b{place.name}\b", module.read_text(encoding="utf-8")) is not None


def _is_setting(dotted: str) -> bool:
    place: Any = Recipe()
    for key in dotted.split("."):
        if key not in type(place).model_fields:
            return False
        place = getattr(place, key)
    return True


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "site" / "reference" / "noise.html").read_text(encoding="utf-8")
    assert 'id="worldr1.noise.inject.wrap_noise"' in reference
    loaded = re.findall(r'(?:src|href)="(https?:[^"]+\.(?:js|css|woff2?))"', reference)
    assert loaded == []


def test_the_reward_of_the_page_scores_even_and_uneven_cameras() -> None:
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", _words("write-a-reward.md"), re.DOTALL)[0], names)
    even = Trajectory.from_moves(("push in",), 9).c2w
    uneven = even.clone()
    uneven[:, 2, 3] = 0.4 * torch.linspace(0, 1, 9) ** 4
    scores = names["Steady"]()([], [_scene(even), _scene(uneven)])
    assert scores[0] == pytest.approx(1.0, abs=1e-3)
    assert 0.1 < scores[1] < 0.5


def _scene(c2w: torch.Tensor) -> Reconstruction:
    ones = torch.ones(1, 3)
    splats = Gaussians(ones, ones, torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1), ones)
    frames = torch.ones(len(c2w), 4, 4)
    return Reconstruction(c2w, torch.eye(3), frames, frames, splats)
