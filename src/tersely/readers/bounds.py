"""What the steps and the values of a log may be."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tersely.core.errors import DataError
from tersely.dynamics.log import StepLog
from tersely.readers.stepping import Records

# Words in a name that say it counts something else.
OTHER_UNITS = {
    "char": "characters",
    "letter": "letters",
    "word": "words",
    "byte": "bytes",
    "second": "seconds",
}
SLACK = 1e-6
# Where so much of a column is NaN, that fills the places that have no value.
FILLED = 0.2
# No rollouts have so many.
MOST_TOKENS = 1e12
# Above it, a step and the next are one number.
MOST_STEPS = 2**53
# Steps that stand twice: more than this part of them is no restart.
MOST_TWICE, FEWEST_TWICE = 0.4, 3


def is_share(our: str) -> bool:
    return our in ("accuracy", "eval_accuracy") or our.endswith("_share")


def other_unit(name: str) -> str | None:
    """What a column counts by its name, where that is not tokens."""
    return next((unit for word, unit in OTHER_UNITS.items() if word in name.lower()), None)


def check_steps(records: Records, theirs: Sequence[str], *, file: Path) -> None:
    """Refuses steps that are no counts."""
    step_R, named = records.step_R, " or ".join(theirs)
    bad = np.flatnonzero((step_R != np.floor(step_R)) | (step_R < 0) | (step_R >= MOST_STEPS))
    if bad.size:
        step = step_R[bad[0]]
        why = (
            "is so large that the next step is the same number (a time or a number of tokens?)"
            if step >= MOST_STEPS
            else "counts no steps"
        )
        raise DataError(
            f"{file}: the step (column {named}) is {step:g}, which {why}; name the column that "
            "does with --column step=THEIRS"
        )


def check_twice(records: Records, *, file: Path) -> None:
    """Refuses a log in which most steps stand twice and say different things."""
    step_R = records.step_R
    twice = np.flatnonzero(np.diff(step_R) == 0)
    if twice.size >= max(FEWEST_TWICE, MOST_TWICE * np.unique(step_R).size):
        raise DataError(
            f"{file}: {twice.size} steps stand twice and with other values, first step "
            f"{step_R[twice[0]]:.0f}: two runs or two processes wrote it; keep the lines of one, "
            "or add a column 'run' and choose with --run"
        )


def check_bounds(log: StepLog, sources: Mapping[str, Sequence[str]], *, file: Path) -> None:
    """Refuses what no step can have: a share outside 0 to 1, a length or an entropy below 0, a
    mean length above the cap, a length that counts no tokens."""
    for name, values_N in log.columns.items():
        share = is_share(name)
        theirs = " or ".join(sources.get(name, [name]))
        of = "" if theirs == name else f" (column {theirs})"
        unit = other_unit(theirs)
        if unit and "tokens" in name:
            raise DataError(
                f"{file}: {name}{of} counts {unit}; name a column of tokens with "
                f"--column {name}=THEIRS"
            )
        if not share and "tokens" not in name and name != "entropy_mean":
            continue
        # Sums of rounded numbers may stand a little above 1.
        most = 1 + SLACK if share else MOST_TOKENS if "tokens" in name else np.inf
        (bad_K,) = np.nonzero((values_N < -SLACK) | (values_N > most))
        if not bad_K.size:
            continue
        value, step = values_N[bad_K[0]], log.step_N[bad_K[0]]
        bound, fix = _bound(name, theirs, float(np.nanmin(values_N)))
        raise DataError(
            f"{file}: {name}{of} is {value:g} at step {step:.0f}, and must be {bound}; {fix}"
        )
    _check_least(log, sources, file=file)
    _check_cap(log, sources, file=file)


def _bound(name: str, their: str, least: float) -> tuple[str, str]:
    """What a column must be, and what to do about one whose least value is that."""
    if name == "entropy_mean":
        return "at least 0", f"name the column of the entropy itself with --column {name}=THEIRS"
    if not is_share(name):
        return f"a number of tokens, from 0 to {MOST_TOKENS:,.0f}", "correct the column"
    fixes = ["divide the column by 100 if it is in percent"] if least >= -SLACK else []
    if name in ("accuracy", "eval_accuracy"):
        fixes.append(f"name a column with the share of right answers by --column {name}=THEIRS")
    if name == "accuracy":
        fixes.append(f"where this one is a reward, say --column reward_mean={their} instead")
    return "a share from 0 to 1", "; ".join(fixes or ["name another column, or leave it out"])


def _check_least(log: StepLog, sources: Mapping[str, Sequence[str]], *, file: Path) -> None:
    """A rollout has at least its stop token: smaller means are shares, or in thousands."""
    tokens_N = log.get("tokens_mean")
    if tokens_N is not None and 0 < np.nanmax(tokens_N) < 1:
        theirs = " or ".join(sources.get("tokens_mean", ["tokens_mean"]))
        raise DataError(
            f"{file}: tokens_mean (column {theirs}) is never above {np.nanmax(tokens_N):g}, and a "
            "rollout has at least one token: is it a share of the cap? Name a column of tokens "
            "with --column tokens_mean=THEIRS"
        )


def _check_cap(log: StepLog, sources: Mapping[str, Sequence[str]], *, file: Path) -> None:
    tokens_N, cap_N = log.get("tokens_mean"), log.get("cap_tokens")
    if tokens_N is None or cap_N is None:
        return
    (bad_K,) = np.nonzero(tokens_N > cap_N + 0.5)
    if bad_K.size:
        at = bad_K[0]
        theirs = " or ".join(sources.get("tokens_mean", ["tokens_mean"]))
        raise DataError(
            f"{file}: tokens_mean (column {theirs}) is {tokens_N[at]:,.0f} at step "
            f"{log.step_N[at]:.0f}, above cap_tokens {cap_N[at]:,.0f}: does it count characters? "
            "Name a column of tokens with --column tokens_mean=THEIRS"
        )


def not_finite(log: StepLog, records: Records) -> dict[str, Float[np.ndarray, " W"]]:
    """The steps of the log at which a column was written as NaN or infinite, by its name."""
    found = {}
    for our, there_R in records.there.items():
        bad_R = there_R & ~np.isfinite(records.values[our])
        if our not in log.columns or not bad_R.any():
            continue
        blank_N = ~np.isfinite(log.columns[our])
        step_W = log.step_N[blank_N & np.isin(log.step_N, records.step_R[bad_R])]
        if 0 < step_W.size <= max(1, FILLED * log.step_N.size):
            found[our] = step_W
    return found
