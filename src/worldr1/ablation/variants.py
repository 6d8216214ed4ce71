"""The variants of a recipe that an ablation compares; what they change is data, in `variants.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from worldr1.recipes import Recipe
from worldr1.recipes.explain import explain

_TABLE = Path(__file__).parent / "variants.yaml"


@dataclass(frozen=True)
class Variant:
    """One changed recipe.

    Attributes:
        name: short, fit for a directory.
        title: what a reader is told.
        overrides: dotted settings and their values.
        scale: dotted whole numbers and what multiplies the recipe's own value.
        paper: what the paper measured of this variant: any of psnr, ssim, lpips, vbench.
    """

    name: str
    title: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    scale: Mapping[str, float] = field(default_factory=dict)
    paper: Mapping[str, float] = field(default_factory=dict)

    def applied(self, recipe: Recipe) -> Recipe:
        """The recipe with this variant's changes.

        Raises:
            ValueError: a setting does not exist, or its value does not fit the recipe.
        """
        tree = recipe.model_dump()
        for dotted, value in self.overrides.items():
            section, key = self._place(tree, dotted)
            section[key] = value
        for dotted, factor in self.scale.items():
            section, key = self._place(tree, dotted)
            section[key] = max(1, round(section[key] * factor))
        try:
            return Recipe.model_validate(tree)
        except ValidationError as error:
            raise ValueError(f"variant {self.name} does not fit recipe {recipe.name}: {explain(error)}") from error

    def _place(self, tree: dict[str, Any], dotted: str) -> tuple[dict[str, Any], str]:
        *sections, key = dotted.split(".")
        for section in sections:
            tree = tree.get(section, {})
        if key not in tree:
            raise ValueError(f"variant {self.name} changes '{dotted}', which is no setting of a recipe")
        return tree, key


def load_variants(path: Path = _TABLE) -> list[Variant]:
    """All variants of the table, the one that others are compared with first."""
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [
        Variant(name, row["title"], row.get("set", {}), row.get("scale", {}), row.get("paper", {}))
        for name, row in rows.items()
    ]


def choose(variants: Sequence[Variant], names: Sequence[str]) -> list[Variant]:
    """The named variants in the table's order, all when none is named; the first of the table always comes along.

    Raises:
        ValueError: for a name that is not in the table; the nearest is told.
    """
    known = [variant.name for variant in variants]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"variants: {', '.join(known)}"
            raise ValueError(f"unknown variant '{name}'; {hint}")
    return [v for k, v in enumerate(variants) if k == 0 or not names or v.name in names]
