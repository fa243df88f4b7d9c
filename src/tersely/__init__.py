"""Make reasoning models think shorter and stay right.

What is public is in ``tersely.surface`` and can be had from here: ``tersely.load`` and the like.
It is loaded when it is first used, so that ``import tersely`` takes no time.
"""

from typing import TYPE_CHECKING

from tersely.core.version import __version__ as __version__

if TYPE_CHECKING:
    from tersely.surface import (
        ConfigError,
        DataError,
        Diagnosis,
        Loaded,
        LoadedSweep,
        StepLog,
        TerselyError,
        advantage,
        compare,
        conclude,
        diagnose,
        draw,
        figures,
        lint,
        load,
        reward,
        trl_hooks,
    )

__all__ = [
    "ConfigError",
    "DataError",
    "Diagnosis",
    "Loaded",
    "LoadedSweep",
    "StepLog",
    "TerselyError",
    "advantage",
    "compare",
    "conclude",
    "diagnose",
    "draw",
    "figures",
    "lint",
    "load",
    "reward",
    "trl_hooks",
]


if not TYPE_CHECKING:  # a type checker knows a misspelt name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'tersely' has no attribute {name!r}")
        from tersely import surface

        return getattr(surface, name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
