"""Rewards and advantages of plain arrays, whoever sampled them."""

import re
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely import rewards
from tersely.algo import advantages
from tersely.algo.ragged import Ragged
from tersely.core import lookup
from tersely.core.errors import ConfigError, DataError, check_kind, shortened
from tersely.core.stacks import stacks
from tersely.core.types import GroupView

# Fields of a ``GroupView`` that hold one value a rollout, by what a caller names them.
OF_ROLLOUTS = {
    "correct": "correct_G",
    "tokens": "tokens_G",
    "finished": "finished_G",
    "formatted": "formatted_G",
    "thought": "thought_G",
    "thinking_tokens": "thinking_G",
    "first_right_tokens": "first_right_G",
}
# And those that a group has one of.
OF_GROUPS = {
    "target_tokens": "target_tokens",
    "cap_tokens": "cap_tokens",
    "target_weight": "weight",
    "reference_tokens": "reference_tokens",
    "reference_accuracy": "reference_accuracy",
}
NAMES = {field: name for name, field in (OF_ROLLOUTS | OF_GROUPS).items()}
# Up to here a float holds every whole number.
MOST_TOKENS = 2**53


class Grouping(NamedTuple):
    """How N rollouts of an array lie in P groups.

    Args:
        shape: of the array that was given, and of the answer.
        order_N: the places of the rollouts, group after group.
        layout: the sizes of the groups.
    """

    shape: tuple[int, ...]
    order_N: Int[np.ndarray, " N"]
    layout: Ragged

    def arrange(self, flat_N: np.ndarray) -> np.ndarray:
        """Values that stand group after group, back in the shape and order of what was given."""
        back_N = np.empty_like(flat_N)
        back_N[self.order_N] = flat_N
        return back_N.reshape(self.shape)


def group(name: str, values: object, labels: object) -> Grouping:
    """One group of a flat array, the rows of a table, or what the labels say.

    Raises:
        DataError: the array is empty or has more than two axes, or labels are not one a rollout.
    """
    found = _array(name, values)
    if found.ndim not in (1, 2) or not found.size:
        raise DataError(
            f"{name} has the shape {found.shape}; give one group as a flat list, or one group a row"
        )
    if labels is None:
        rows, size = found.shape if found.ndim == 2 else (1, found.size)
        return Grouping(found.shape, np.arange(found.size), Ragged(np.full(rows, size)))
    _refuse_masked("groups", labels)
    given: Any = labels
    # numpy's and torch's, then polars' and pandas'.
    ways = [name for name in ("tolist", "to_list") if hasattr(given, name)]
    listed = getattr(given, ways[0])() if ways else given
    if found.ndim != 1 or not isinstance(listed, Sequence) or len(listed) != found.size:
        raise DataError(
            f"groups must be a flat list with a label for each of the {found.size} rollouts, and "
            f"{name} a flat list too"
        )
    codes: dict[object, int] = {}
    try:
        place_N = np.array([codes.setdefault(label, len(codes)) for label in listed])
    except TypeError as error:
        raise DataError(f"groups has a label that cannot be one ({error}); give names") from error
    return Grouping(found.shape, np.argsort(place_N, kind="stable"), Ragged(np.bincount(place_N)))


def join_settings(settings: object, parameters: Mapping[str, object]) -> dict[str, object]:
    """A reward's parameters, those in a dict and those given by name.

    Raises:
        ConfigError: one is given in both ways.
    """
    check_kind("settings", settings, Mapping | None, "a dict of the reward's parameters")
    joined: dict[str, object] = dict(settings) if isinstance(settings, Mapping) else {}
    if twice := sorted(joined.keys() & parameters.keys()):
        raise ConfigError(
            f"{twice[0]} is given twice, as {shortened(repr(parameters[twice[0]]))} and in "
            f"settings as {shortened(repr(joined[twice[0]]))}; leave one out"
        )
    return joined | dict(parameters)


def pay(
    name: str,
    grouping: Grouping,
    *,
    of_rollouts: Mapping[str, object],
    of_groups: Mapping[str, object],
    effort: str,
    settings: Mapping[str, object],
) -> np.ndarray:
    """The reward ``name`` of each rollout, in the shape of what was given.

    Args:
        of_rollouts: values by the names of ``OF_ROLLOUTS``; None where it is not known.
        of_groups: values by the names of ``OF_GROUPS``: a number for all groups, or one each.
    Raises:
        ConfigError: reward or setting is unknown or out of bounds, or it needs what is not given.
        DataError: values are none that a rollout can have.
    """
    rewards.check(name, settings)
    typed = rewards.typed(name, settings)
    sizes_P = grouping.layout.sizes_P
    arrays = _read_rollouts(of_rollouts, grouping, cap=of_groups["cap_tokens"])
    numbers = {key: _one_each(key, value, len(sizes_P)) for key, value in of_groups.items()}
    over_P = numbers["target_tokens"] > numbers["cap_tokens"]
    if over_P.any():
        target, cap = (numbers[key][np.argmax(over_P)] for key in ("target_tokens", "cap_tokens"))
        raise ConfigError(
            f"target_tokens = {target:g} is above cap_tokens = {cap:g}, which no rollout exceeds; "
            "lower the target or raise the cap"
        )
    fields: dict[str, Any] = {OF_ROLLOUTS[key]: values_N for key, values_N in arrays.items()}
    fields |= {OF_GROUPS[key]: values_P for key, values_P in numbers.items()}
    paid_N, reward = np.empty(grouping.layout.rollouts), rewards.load(name)
    for rows, g in stacks(sizes_P, GroupView(**fields, effort=effort)):
        try:
            paid_N[rows] = reward(g, **typed)
        except ValueError as error:
            raise ConfigError(_say_needed(name, str(error))) from error
    return grouping.arrange(paid_N)


def gain(
    name: str,
    grouping: Grouping,
    *,
    paid: object,
    keep: object,
    correct: object,
    mask_scope: str,
    settings: Mapping[str, object],
) -> np.ndarray:
    """The advantage ``name`` of each rollout, in the shape of what was given; 0 where masked.

    Raises:
        ConfigError: advantage or setting is unknown, or it needs what is not given.
        DataError: a kept reward is not finite, or arrays differ in shape.
    """
    function = advantages.load(name)
    advantages.check(name, settings)
    taken = lookup.check_settings(function, settings, section="advantage", given=advantages.GIVEN)
    known = signature(function).parameters
    if "right_N" in known and correct is None:
        raise ConfigError(f"the advantage {name} needs correct; give it, one a rollout")
    reward_N = _numbers("rewards", paid, grouping)
    keep_N = np.ones(reward_N.shape, dtype=bool) if keep is None else _bools("keep", keep, grouping)
    if not np.isfinite(reward_N[keep_N]).all():
        raise DataError("rewards has a value that is not finite; mask that rollout with keep")
    right_N = keep_N if correct is None else _bools("correct", correct, grouping)
    if "mask_scope" in known:
        scopes = list(advantages.MaskScope)
        if mask_scope not in scopes:
            raise ConfigError(f"mask_scope = {mask_scope!r} is none of {', '.join(scopes)}")
        taken["mask_scope"] = advantages.MaskScope(mask_scope)
    step = advantages.StepArrays(reward_N, keep_N, right_N)
    return grouping.arrange(advantages.advantages_of(name, step, grouping.layout, **taken))


def _read_rollouts(
    given: Mapping[str, object], grouping: Grouping, *, cap: object
) -> dict[str, np.ndarray]:
    """The values of rollouts, group after group; what ended, where that is not said."""
    arrays: dict[str, np.ndarray] = {}
    for key, values in given.items():
        if values is not None:
            read = _counts if "tokens" in key else _bools
            arrays[key] = read(key, values, grouping)
        elif key == "correct":
            raise DataError("correct is None; give the verdict of each rollout, True or False")
    cap_N = grouping.layout.spread(_one_each("cap_tokens", cap, len(grouping.layout.sizes_P)))
    tokens_N = arrays["tokens"]
    if (over_N := tokens_N > cap_N).any():
        at = int(np.argmax(over_N))
        raise DataError(
            f"tokens has {tokens_N[at]}, above cap_tokens = {cap_N[at]:g}; correct one of them"
        )
    arrays.setdefault("finished", ~(tokens_N >= cap_N))
    arrays.setdefault("formatted", np.ones(tokens_N.shape, dtype=bool))
    return arrays


def _say_needed(name: str, message: str) -> str:
    """A reward's complaint in the names of the caller's arguments."""
    message = re.sub(r"\w+", lambda word: NAMES.get(word[0], word[0]), message)
    message = message.replace("the reward needs", f"the reward {name} needs")
    return message.replace(", which this group does not have", "; give it")


def _refuse_masked(name: str, values: object) -> None:
    rows = values if isinstance(values, list | tuple) else ()
    if np.ma.is_masked(values) or any(np.ma.is_masked(row) for row in rows):
        raise DataError(f"{name} has masked values, which have no meaning here; leave them out")


def _array(name: str, values: object) -> np.ndarray:
    _refuse_masked(name, values)
    try:
        found = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{name} is no array ({error}); give one value a rollout, and groups of different "
            "sizes as one flat list with groups"
        ) from error
    if found.dtype == object:
        kinds = sorted({type(each).__name__ for each in found.ravel()})
        raise DataError(
            f"{name} holds {', '.join(kinds)}; give one number or truth value a rollout"
        )
    return found


def _flat(name: str, values: object, grouping: Grouping) -> np.ndarray:
    found = _array(name, values)
    if found.shape != grouping.shape:
        raise DataError(
            f"{name} has the shape {found.shape}, the rollouts have {grouping.shape}; give one "
            "value a rollout"
        )
    if found.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {found.ravel()[0]!r}; give numbers or truth values")
    return np.asarray(found.ravel()[grouping.order_N])


def _numbers(name: str, values: object, grouping: Grouping) -> Float[np.ndarray, " N"]:
    return _flat(name, values, grouping).astype(np.float64)


def _bools(name: str, values: object, grouping: Grouping) -> Bool[np.ndarray, " N"]:
    found_N = _flat(name, values, grouping)
    other_N = (found_N != 0) & (found_N != 1)
    if other_N.any():
        raise DataError(
            f"{name} has {found_N[other_N][0]}, neither true nor false; leave out what was not "
            "graded, it is not wrong"
        )
    return found_N.astype(bool)


def _counts(name: str, values: object, grouping: Grouping) -> Int[np.ndarray, " N"]:
    found_N = _flat(name, values, grouping)
    least = 1 if name == "tokens" else 0
    odd_N = ~np.isfinite(found_N) | (found_N != np.floor(found_N)) | (found_N < least)
    odd_N |= found_N > MOST_TOKENS
    if odd_N.any() or found_N.dtype.kind == "b":
        raise DataError(
            f"{name} has {found_N[np.argmax(odd_N)]}; give whole numbers of tokens from {least} on"
            ", at most 2**53"
        )
    return found_N.astype(np.int64)


def _one_each(name: str, value: object, groups: int) -> Float[np.ndarray, " P"]:
    """A number for all groups, or one for each."""
    found = _array(name, np.nan if value is None else value)
    if found.dtype.kind not in "iuf" or found.shape not in ((), (groups,)):
        raise DataError(
            f"{name} = {shortened(repr(value))}; give a number, or a list of one for each group "
            f"(here {groups}), in the order in which they appear"
        )
    return np.broadcast_to(found.astype(np.float64), (groups,))
