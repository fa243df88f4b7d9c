"""The levels of a sweep, from what is asked for: efforts, budgets, prompts, or request bodies."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

from tersely import targets
from tersely.core.errors import ConfigError, no_such, shortened
from tersely.core.parsing import parse_sent
from tersely.engines.http.template import SETTINGS
from tersely.flows.recipe.problems import lengths_by_level
from tersely.flows.recipe.recipe import Recipe
from tersely.readers.sweeps import SWEEP_FILE, SweepKind, SweepLevel, is_level_name
from tersely.targets.prompt_budget import PHRASE

EFFORT_FIELD, BUDGET_FIELD = "reasoning_effort", "thinking_token_budget"
# Ascending; of a sweep over these alone the order is known, whatever order they are given in.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MOST_LEVELS = 20


def effort_levels(names: str, *, field: str = EFFORT_FIELD) -> tuple[SweepLevel, ...]:
    """One level an effort of a list such as ``low,medium,high``, sent in the field."""
    efforts = names.replace(",", " ").split()
    return tuple(SweepLevel(name=each, sends=nest(field, each)) for each in efforts)


def budget_levels(
    budgets: str, *, cap_tokens: int, field: str = BUDGET_FIELD
) -> tuple[SweepLevel, ...]:
    """One level a budget of a list such as ``1024,2048``, sent in the field, ascending.

    Raises:
        ConfigError: one is no whole number from 0 to the cap.
    """
    found = []
    for part in budgets.replace(",", " ").split():
        if not (part.isascii() and part.isdecimal() and len(part) < 16):
            raise ConfigError(
                f"--budgets {shortened(budgets)!r}: {shortened(part)!r} is no whole number of 0 or "
                "more; write --budgets 1024,2048"
            )
        if int(part) > cap_tokens:
            raise ConfigError(
                f"--budgets {part} is above --cap-tokens {cap_tokens}, so that no sample could "
                f"reach it; raise --cap-tokens above {part} by what an answer needs, or drop it"
            )
        found.append(int(part))
    return tuple(
        SweepLevel(name=str(each), sends=nest(field, each), budget_tokens=each)
        for each in sorted(found)
    )


def recipe_levels(
    recipe: Recipe, *, efforts: str | None = None, budgets: str | None = None, cap_tokens: int
) -> tuple[SweepLevel, ...]:
    """The levels as a recipe asks for them in training: its own, or those of a list; or each
    budget of a list, in the sentence of its target.

    Raises:
        ConfigError: the recipe asks for none of the kind.
    """
    model = recipe.model
    settings: dict[str, object] = dict(model.chat_template_kwargs)
    common = SweepLevel(
        name="",
        sends={SETTINGS: settings} if settings else {},
        system_prompt=model.system_prompt,
        of_all_tokens=True,
    )
    if budgets is not None:
        phrase = _budget_phrase(recipe)
        return tuple(
            replace(
                common,
                name=each.name,
                phrase=phrase.replace("{tokens}", each.name),
                budget_tokens=each.budget_tokens,
            )
            for each in budget_levels(budgets, cap_tokens=cap_tokens)
        )
    if not recipe.effort:
        raise ConfigError(
            "--recipe: the recipe has no levels of effort; give one with [effort.NAME], or "
            "--budgets with a recipe whose target is prompt_budget"
        )
    names = efforts.replace(",", " ").split() if efforts else [*recipe.effort]
    held = lengths_by_level(recipe)
    for name in names:
        if name not in recipe.effort:
            raise ConfigError(no_such("level of the recipe", name, recipe.effort))
    return tuple(
        replace(
            common,
            name=name,
            phrase=recipe.effort[name].phrase,
            system_prompt=recipe.effort[name].system_prompt or model.system_prompt,
            budget_tokens=round(held[name]) if name in held else None,
        )
        for name in names
    )


def _budget_phrase(recipe: Recipe) -> str:
    """The sentence that states a budget in training, with {tokens} for its number."""
    if recipe.target is None or targets.declared(recipe.target.name).announced is None:
        raise ConfigError(
            "--budgets with --recipe are stated as its target states them, and the recipe's "
            'target states none; set target.name = "prompt_budget", or leave out --recipe'
        )
    return str(recipe.target.parameters.get("phrase", PHRASE))


def prompt_levels(files: Sequence[Path]) -> tuple[SweepLevel, ...]:
    """One level a file, whose text is the system prompt; named after the file, without its ending.

    Raises:
        ConfigError: a file cannot be read or is empty.
    """
    levels = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise ConfigError(f"--prompts {file}: {said}; give a text file") from None
        if not text:
            raise ConfigError(f"--prompts {file} is empty; write the system prompt into it")
        levels.append(SweepLevel(name=file.stem, system_prompt=text))
    return tuple(levels)


def body_levels(file: Path) -> tuple[SweepLevel, ...]:
    """One level an object of a JSON list or of JSON lines; ``name`` names it, the rest is sent.

    Raises:
        ConfigError: the file or an object of it cannot be used.
    """
    option = f"--extra-body-each {file}"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option}: {error.strerror}; give a file of JSON objects") from None
    try:
        found = _objects(content)
    except ValueError as error:
        raise ConfigError(f"{option} is not JSON: {shortened(error)}") from None
    if not found:
        raise ConfigError(
            f"{option} names 0 levels: it is empty; write one JSON object a line, such as "
            '{"name": "brief", "reasoning_effort": "low"}'
        )
    levels = []
    for number, each in enumerate(found, start=1):
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise ConfigError(
                f'{option}: object {number} has no "name"; write one level as '
                '{"name": "brief", "reasoning_effort": "low"}'
            )
        sends = {key: value for key, value in each.items() if key != "name"}
        levels.append(SweepLevel(name=each["name"], sends=sends))
    return tuple(levels)


def check_levels(levels: Sequence[SweepLevel], *, option: str) -> None:
    """ConfigError unless there are two to twenty levels, each with a name of its own that a folder
    can have."""
    if not levels:
        raise ConfigError(f"{option} names 0 levels; a sweep compares two or more")
    if len(levels) < 2:
        raise ConfigError(
            f"{option} names 1 level, and a sweep compares two or more; name another, or evaluate "
            f"{levels[0].name!r} alone{_alone(levels[0])}"
        )
    if len(levels) > MOST_LEVELS:
        raise ConfigError(f"{option} names {len(levels)} levels; sweep {MOST_LEVELS} at most")
    for level in levels:
        if not is_level_name(level.name) or level.name == SWEEP_FILE:
            raise ConfigError(
                f"{option}: {shortened(level.name)!r} cannot be the name of a level's folder; use "
                "letters, digits, dots, dashes and underscores, such as brief-2"
            )
    count = Counter(level.name.lower() for level in levels)
    twice = next((level.name for level in levels if count[level.name.lower()] > 1), None)
    if twice is not None:
        raise ConfigError(
            f"{option} names the level {twice!r} twice, and each has a folder of its name; give "
            "each a name of its own"
        )


def _alone(level: SweepLevel) -> str:
    """How ``tersely eval`` asks for one level; nothing of what it cannot say."""
    if level.phrase:
        return " with tersely eval, with the recipe's words in its problems"
    sends = dict(level.sends)
    given = {"--chat-template-kwargs": sends.pop(SETTINGS, None), "--extra-body": sends}
    words = [f"{option} {quote(json.dumps(each))}" for option, each in given.items() if each]
    words += ["--system-prompt @FILE"] if level.system_prompt else []
    return f": tersely eval {' '.join(words)}".rstrip()


def ranks_of(kind: SweepKind, levels: Sequence[SweepLevel]) -> tuple[int | None, ...]:
    """Which level should make for longer completions than which; None where none should.

    Budgets by size, efforts that are known by name, other efforts in the order given.
    """
    match kind:
        case SweepKind.BUDGETS:
            return tuple(level.budget_tokens for level in levels)
        case SweepKind.EFFORTS if all(level.name in EFFORTS for level in levels):
            return tuple(EFFORTS.index(level.name) for level in levels)
        case SweepKind.EFFORTS:
            return tuple(range(len(levels)))
        case _:
            return (None,) * len(levels)


def nest(field: str, value: object) -> dict[str, object]:
    """``{"a": {"b": value}}`` of the field ``a.b``.

    Raises:
        ConfigError: the field is no dotted path.
    """
    parts = field.split(".")
    if not all(part and part == part.strip() for part in parts):
        raise ConfigError(
            f"the field {shortened(field)!r} is no dotted path; write one such as "
            "chat_template_kwargs.reasoning_effort"
        )
    nested: Any = value
    for part in reversed(parts):
        nested = {part: nested}
    return dict(nested)


def merge(one: Mapping[str, object], other: Mapping[str, object]) -> dict[str, object]:
    """Both objects in one, objects within them as well; the other's values stand."""
    merged = dict(one)
    for key, value in other.items():
        there = merged.get(key)
        inside = isinstance(there, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(there, value) if inside else value  # type: ignore[arg-type]
    return merged


def is_set(fields: Mapping[str, object], sends: Mapping[str, object]) -> bool:
    """Whether merging ``sends`` into the fields would take the place of one of their values."""
    for key, value in sends.items():
        there = fields.get(key)
        if isinstance(there, Mapping) and isinstance(value, Mapping):
            if is_set(there, value):
                return True
        elif key in fields:
            return True
    return False


def describe_sends(level: SweepLevel) -> str:
    """What is sent at a level, in a line."""
    sends = json.dumps(level.sends, ensure_ascii=False) if level.sends else ""
    prompt = f"system prompt: {shortened(level.system_prompt)!r}" if level.system_prompt else ""
    phrase = f"after the question: {shortened(level.phrase)!r}" if level.phrase else ""
    return ", ".join(filter(None, (sends, prompt, phrase))) or "nothing of its own"


def _objects(content: bytes) -> list[Any]:
    """The entries of one JSON list, or of JSON lines."""
    if content.lstrip().startswith(b"["):
        whole = parse_sent(content)
        return whole if isinstance(whole, list) else [whole]
    return [parse_sent(line) for line in content.splitlines() if line.strip()]
