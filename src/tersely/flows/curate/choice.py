"""Which of the sampled prompts to train on: by band, by quantiles or by positive density."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from tersely.core.errors import ConfigError
from tersely.core.types import Problem
from tersely.metrics.passrates import (
    EASY_ABOVE,
    PassRate,
    common_size,
    draw_some,
    easy_hard_full,
    in_band,
    nearest_density,
    quantile_ends,
)


class Select(StrEnum):
    """Which prompts to keep by pass rate: above 0.5, above 0 up to 0.5, all, or all three of these
    sets with equally many prompts."""

    EASY = "easy"
    HARD = "hard"
    FULL = "full"
    MIXES = "mixes"


RULES = {
    Select.EASY: f"pass rate > {EASY_ABOVE:g}",
    Select.HARD: f"0 < pass rate <= {EASY_ABOVE:g}",
    Select.FULL: "any pass rate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to keep of the prompts that were sampled; exactly one of the first four.

    Args:
        select: by the paper's bands.
        band: lowest and highest pass rate, ends included.
        quantiles: of the pass rates, ends included.
        density: wanted mean share of samples that are right within ``target_tokens``.
        target_tokens: L_T in tokens, for positive densities; None: they are not counted.
        limit: most prompts of a set; drawn by ``seed``.
        against: benchmarks whose problems must not be trained on.
        keep_duplicates: leave near-duplicates in.
    """

    select: Select | None = None
    band: tuple[float, float] | None = None
    quantiles: tuple[float, float] | None = None
    density: float | None = None
    target_tokens: int | None = None
    limit: int | None = None
    seed: int = 0
    against: tuple[Problem, ...] = ()
    keep_duplicates: bool = False


class Pick(NamedTuple):
    """One set: the rule in words, who fits it, and who of these was drawn."""

    rule: str
    fits_P: Bool[np.ndarray, " P"]
    kept_P: Bool[np.ndarray, " P"]


def check_choice(choice: Choice, *, cap_tokens: int) -> None:
    """Refuses what cannot be chosen by, before anything is sampled.

    Raises:
        ConfigError: naming the option, its value and the fix.
    """
    ways = [choice.select, choice.band, choice.quantiles, choice.density]
    if sum(way is not None for way in ways) != 1:
        raise ConfigError("choose one of --select, --band, --quantiles and --density")
    for name, ends in (("--band", choice.band), ("--quantiles", choice.quantiles)):
        if ends is not None and not 0 <= ends[0] <= ends[1] <= 1:
            raise ConfigError(
                f"{name} {ends[0]:g},{ends[1]:g} must rise within 0 to 1; write {name} 0.25,0.75"
            )
    if choice.density is not None and choice.target_tokens is None:
        raise ConfigError("--density is counted within --target-tokens; give both")
    if choice.density is not None and not 0 < choice.density <= 1:
        raise ConfigError(f"--density {choice.density:g} is outside (0, 1]; set a share like 0.5")
    if choice.target_tokens is not None and not 1 <= choice.target_tokens <= cap_tokens:
        raise ConfigError(
            f"--target-tokens {choice.target_tokens} is outside 1 to the cap {cap_tokens}; "
            "raise --cap-tokens or lower it"
        )
    if choice.limit is not None and choice.limit < 1:
        raise ConfigError(f"--limit {choice.limit} is below 1; keep at least one prompt")


def pick(rates: Sequence[PassRate], choice: Choice) -> dict[str, Pick]:
    """The sets that a choice makes of these prompts, by name.

    Raises:
        ConfigError: sets of one size cannot be had, or no set is as dense as wanted.
    """
    rate_P = np.array([each.rate for each in rates], dtype=np.float64)
    rng = np.random.default_rng(choice.seed)
    parts = easy_hard_full(rate_P)
    if choice.select is Select.MIXES:
        size = common_size(parts, limit=choice.limit)
        return {
            name: Pick(
                f"{RULES[Select(name)]}, {size:,} drawn, as many as in each other set",
                fits_P,
                draw_some(fits_P, size=size, rng=rng),
            )
            for name, fits_P in parts.items()
        }
    if choice.band is not None:
        (low, high), name = choice.band, "band"
        fits_P, rule = in_band(rate_P, low=low, high=high), f"pass rate {low:g} to {high:g}"
    elif choice.quantiles is not None:
        low, high = quantile_ends(rate_P, low=choice.quantiles[0], high=choice.quantiles[1])
        fits_P, name = in_band(rate_P, low=low, high=high), "quantiles"
        shares = f"{choice.quantiles[0]:g} to {choice.quantiles[1]:g}"
        rule = f"pass rate {low:.3g} to {high:.3g}, its quantiles {shares}"
    elif choice.density is not None:
        density_P = np.array([each.density for each in rates], dtype=np.float64)
        fits_P, name = nearest_density(density_P, wanted=choice.density), "density"
        rule = _density_rule(density_P, fits_P, choice)
    else:
        assert choice.select is not None
        name, rule = str(choice.select), RULES[choice.select]
        fits_P = parts[name]
    return {name: Pick(rule, fits_P, draw_some(fits_P, size=choice.limit, rng=rng))}


def _density_rule(density_P: np.ndarray, fits_P: np.ndarray, choice: Choice) -> str:
    kept_P = density_P[fits_P]
    return (
        f"mean positive density within {choice.target_tokens:,} tokens as near to "
        f"{choice.density:g} as a cut brings it: {kept_P.mean():.4g}, of prompts of "
        f"{kept_P.min():.3g} to {kept_P.max():.3g}"
    )
