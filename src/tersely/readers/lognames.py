"""Whose names a log bears, and which of its columns is which of ours."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tersely.core.errors import ConfigError, no_such
from tersely.dynamics.log import COLUMNS
from tersely.readers.logs import LogTool, tools
from tersely.readers.packing import plain_stem

# Where a log has several, the first of each row; the last two count calls of a logger, and are
# read where there is no other.
STEPS = (
    "step",
    "train/global_step",
    "training/global_step",
    "trainer/global_step",
    "global_step",
    "eval/global_step",
    "rollout/step",
    "eval/step",
    "train/step",
    "training_step",
    "system/step",
    "steps",
    "iteration",
    "iter",
)
CALLS = ("Step", "_step")
OURS = {name: name for name in COLUMNS}
# What loops of one's own often log, and what rl-doctor calls the same.
_COMMON = {
    "rewards/mean": "reward_mean",
    "mean_reward": "reward_mean",
    "policy/entropy": "entropy_mean",
    "policy_entropy": "entropy_mean",
    "response_len_mean": "tokens_mean",
    "response_length_mean": "tokens_mean",
    "mean_response_length": "tokens_mean",
    "response_len_clip_ratio": "truncated_share",
    "truncation_rate": "truncated_share",
    "zero_var_group_frac": "zero_signal_share",
    "objective/kl": "kl_mean",
    "policy/approxkl": "kl_mean",
    "pg_clipfrac": "clip_share",
    "clipfrac": "clip_share",
    "policy/clipfrac": "clip_share",
    "policy/grad_norm": "grad_norm",
}
_HARDER = {"level": "difficulty", "band": "difficulty"}
_HELD_OUT = re.compile(r"(eval|val|valid|validation|test)[/_.](accuracy|acc|score)")
_HARDNESS = re.compile(r"curriculum/.*(difficulty|level|band).*")
_PREFIX = "train/"
# What a reward's name says of it: most like accuracy first; the last are none.
_LIKELY = (re.compile("acc|correct"), re.compile("verif|solve|exact|outcome|answer|math"))
_UNLIKELY = re.compile(
    "format|length|len_|_len|tag|think|repeat|repetition|overlong|penalty|cosine|lang|"
    "trunc|clip|(^|[/_-])(std|max|min)($|[/_-])"
)
# What one column may be at once, where the user says that it is one of them.
_ONE_COLUMN = {"accuracy", "reward_mean"}


class NamedColumns(NamedTuple):
    """Which columns of a log are which of ours.

    Args:
        sources: the log's names by ours; of each row the first that is known counts.
        choices: names of ``accuracy`` and ``eval_accuracy`` that could be it, the likeliest first.
        tool: whose names they are; None if nobody's.
    """

    sources: Mapping[str, Sequence[str]]
    choices: Mapping[str, Sequence[str]]
    tool: LogTool | None


def check_columns(given: Mapping[str, str]) -> None:
    """ConfigError for a name that is none of ours; ``given`` is our name to a log's."""
    for name in given:
        if name not in (*COLUMNS, "step"):
            raise ConfigError(no_such("column", name, ("step", *COLUMNS), of="a step log"))


def is_known(name: str) -> bool:
    """Whether a column of that name says something to us."""
    return (
        name.lower() in OURS
        or name in _HARDER
        or name in _COMMON
        or name in (*STEPS, *CALLS)
        or _HELD_OUT.fullmatch(name) is not None
        or any(
            _knows(tool.names, name)
            or any(rule and rule.fullmatch(name) for rule in (tool.accuracy, tool.held_out))
            for tool in tools().values()
        )
    )


def name_of_tag(file: Path) -> str | None:
    """The name that a download of one scalar has in its file's: ``run-x-tag-train_reward.csv``."""
    tag = re.sub(r"\W", "_", plain_stem(file).rpartition("-tag-")[2])
    known = (*OURS, *_COMMON, *(name for tool in tools().values() for name in tool.names))
    either = (each for name in known for each in (name, _PREFIX + name))
    return next((name for name in either if re.sub(r"\W", "_", name) == tag), None)


def name_columns(
    keys: Sequence[str], given: Mapping[str, str], *, tool: str | None = None
) -> NamedColumns:
    """Our names of a log's columns.

    Args:
        given: our name to the log's, as the user says it; such a column has no other, but that a
            reward may be the accuracy as well.
        tool: whose names alone are known beside ours; None takes those of the tool that has most
            of them, then of all others.
    """
    free = [key for key in keys if key not in given.values()]
    sources: dict[str, Sequence[str]] = {our: [their] for our, their in given.items()}
    if "step" not in sources:
        steps = [name for name in STEPS if name in keys]
        sources["step"] = steps or [name for name in CALLS if name in keys]
    ranked = _by_hits(free) if tool is None else [tools()[tool]]
    ours = {key: key.lower() for key in keys if key.lower() in OURS}
    tables = [OURS, ours, *(each.names for each in ranked), *([] if tool else [_COMMON]), _HARDER]
    shared = {their for our, their in given.items() if our in _ONE_COLUMN} & set(keys)
    for names in tables:
        found: dict[str, list[str]] = {}
        for their, our in names.items():
            usable = [*free, *shared] if our in _ONE_COLUMN else free
            found.setdefault(our, []).extend(_fitting(their, usable))
        sources |= {our: named for our, named in found.items() if named and our not in sources}
    hardness = [key for key in free if _HARDNESS.fullmatch(key)]
    if hardness and "difficulty" not in sources:
        sources["difficulty"] = hardness[:1]
    best = ranked[0] if ranked else None
    return NamedColumns(sources, _choices(free, sources, ranked), best)


def _fitting(their: str, keys: Collection[str]) -> list[str]:
    """Which of the keys are that name of a tool's, with or without ``train/`` before it."""
    if "*" in their:
        return [key for key in keys if _pattern(their).fullmatch(key)]
    return [key for key in (their, _PREFIX + their) if key in keys]


def _knows(names: Mapping[str, str], key: str) -> bool:
    if key in names or key.removeprefix(_PREFIX) in names:
        return True
    return any("*" in their and _pattern(their).fullmatch(key) for their in names)


@cache
def _pattern(their: str) -> re.Pattern[str]:
    return re.compile(f"({_PREFIX})?" + re.escape(their).replace(r"\*", "[^/]+"))


def _by_hits(keys: Iterable[str]) -> list[LogTool]:
    """The tools that know a name of these, most names first."""
    keys = list(keys)
    hits = {
        name: sum(
            _knows(tool.names, key)
            + bool(tool.held_out and tool.held_out.fullmatch(key))
            + bool(tool.accuracy and tool.accuracy.fullmatch(key))
            for key in keys
        )
        for name, tool in tools().items()
    }
    return [tools()[name] for name in sorted(hits, key=lambda name: -hits[name]) if hits[name]]


def _choices(
    keys: Sequence[str], sources: Mapping[str, Sequence[str]], ranked: Sequence[LogTool]
) -> dict[str, Sequence[str]]:
    taken = {their for named in sources.values() for their in named}
    found: dict[str, Sequence[str]] = {}
    for our, rules in (
        ("accuracy", [each.accuracy for each in ranked]),
        ("eval_accuracy", [_HELD_OUT, *(each.held_out for each in ranked)]),
    ):
        if our in sources:
            continue
        fitting = [
            key
            for key in keys
            if key not in taken and any(rule and rule.fullmatch(key) for rule in rules)
        ]
        likely = [key for key in fitting if may_be_accuracy(key)]
        found[our] = sorted(likely, key=_likelihood)
    return found


def may_be_accuracy(key: str) -> bool:
    """Whether nothing in a reward's name says that it is of something else."""
    return not _UNLIKELY.search(key.lower())


def _likelihood(key: str) -> int:
    places = (at for at, words in enumerate(_LIKELY) if words.search(key.lower()))
    return next(places, len(_LIKELY))
