"""Until the next version, the old name of ``tersely.flows.recipe.recipe``."""

from tersely.core.errors import say_moved
from tersely.flows.recipe.recipe import Recipe, read_recipe

__all__ = ["Recipe", "read_recipe"]

say_moved("tersely.flows.config", "tersely.flows.recipe.recipe")
