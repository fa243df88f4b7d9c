"""Until the next version, the old name of ``tersely.flows.trl.hooks``."""

from tersely.core.errors import say_moved
from tersely.flows.trl.hooks import Hooks, trl_hooks

__all__ = ["Hooks", "trl_hooks"]

say_moved("tersely.flows.launch_hooks", "tersely.flows.trl.hooks")
