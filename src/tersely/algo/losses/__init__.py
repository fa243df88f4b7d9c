"""Floor 1: one published policy loss a file, found by its file as a reward is.

``losses/gspo.py`` holds ``gspo`` and a recipe says ``gspo``. A loss takes log-probs, the sampler's
log-probs, advantages and the mask, then by keyword its own bounds, ``weight_BT`` and
``denominator`` (see ``policy_loss``). The defaults of ``clip_low`` and ``clip_high`` are the
recipe's; a recipe may set ``dual_clip`` where the loss takes it, and credit its tokens apart where
the loss takes ``adv_BT``. A file declares beside it

``TRL: TrlLoss | None``
    How TRL spells the loss; None: TRL does not have it, and a launch on TRL refuses it.
``VERL: str | None``
    verl's ``policy_loss.loss_mode``; None: verl does not have it.

A file imports no torch when it is loaded: recipes are checked without it.
"""

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import NamedTuple

from tersely.algo.policy_loss import PolicyLoss
from tersely.core import lookup


class TrlLoss(NamedTuple):
    """How TRL spells a loss.

    Args:
        clip_share: the share of clipped tokens in TRL's log.
        upper_bound_only: ``epsilon_high`` bounds the ratio itself, and nothing does from below.
    """

    loss_type: str
    importance_sampling_level: str
    clip_share: str = "clip_ratio/region_mean"
    upper_bound_only: bool = False


class Clips(NamedTuple):
    """The ratio is held in [1 - low, 1 + high]."""

    low: float
    high: float


def available() -> list[str]:
    """The names of all losses, sorted: the files of this folder."""
    return lookup.names(__name__)


def load(name: str) -> Callable[..., PolicyLoss]:
    """The loss of the file ``name``; ConfigError if there is none."""
    return lookup.load(__name__, name)


def default_clips(name: str) -> Clips:
    """The bounds of a loss where a recipe gives none; ConfigError if the loss is unknown."""
    known = signature(load(name)).parameters
    return Clips(known["clip_low"].default, known["clip_high"].default)


def takes_dual_clip(name: str) -> bool:
    """Whether the loss has a second bound of negative terms; ConfigError if it is unknown."""
    return "dual_clip" in signature(load(name)).parameters


def takes_token_advantages(name: str) -> bool:
    """Whether tokens of a row may differ in advantage; ConfigError if the loss is unknown."""
    return "adv_BT" in signature(load(name)).parameters


def in_trl(name: str) -> TrlLoss | None:
    """How TRL spells the loss, if it has it; ConfigError if the loss is unknown."""
    load(name)
    declared: TrlLoss | None = import_module(f"{__name__}.{name}").TRL
    return declared


def of_trl() -> list[str]:
    """The losses that TRL has too."""
    return [name for name in available() if in_trl(name) is not None]


def in_verl(name: str) -> str | None:
    """verl's name of the loss, if it has it; ConfigError if the loss is unknown."""
    load(name)
    declared: str | None = import_module(f"{__name__}.{name}").VERL
    return declared


def of_verl() -> list[str]:
    """The losses that verl has too."""
    return [name for name in available() if in_verl(name) is not None]
