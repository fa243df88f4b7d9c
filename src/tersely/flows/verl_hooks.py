"""Until the next version, the old name of ``tersely.flows.verl.hooks``."""

from tersely.core.errors import say_moved
from tersely.flows.verl.hooks import RecipeReward

__all__ = ["RecipeReward"]

say_moved("tersely.flows.verl_hooks", "tersely.flows.verl.hooks")
