"""Recipes: the settings of a training run, as YAML and as frozen objects."""

from worldr1.recipes.files import load_recipe, recipe_names, save_recipe
from worldr1.recipes.settings import Recipe

__all__ = ["Recipe", "load_recipe", "recipe_names", "save_recipe"]
