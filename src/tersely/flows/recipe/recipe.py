"""Recipes: TOML in, checked settings out. Every error names the value, the bound and the fix."""

import re
import warnings
from collections.abc import Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import tomli_w
from pydantic import BaseModel, Field, ValidationError, model_validator

from tersely import rewards, targets
from tersely.algo import advantages, credit, losses
from tersely.algo.masks import VANILLA
from tersely.core.errors import ConfigError, TerselyWarning, no_such, shortened
from tersely.core.lookup import BROKEN
from tersely.core.parsing import parse_toml
from tersely.flows.recipe.moved import move_templates
from tersely.flows.recipe.sections import (
    AdvantageSection,
    CheckpointSection,
    EffortLevel,
    EngineSection,
    EvaluationSection,
    FilterSection,
    LearnerSection,
    LossSection,
    ModelSection,
    Named,
    NamedSection,
    ProblemsSection,
    SamplingSection,
    Section,
    TrackSection,
    TreatmentSection,
)
from tersely.rewards import Trait

RECIPE_FILE = "recipe.toml"
# What a setting must be, by the validator's name of what is wrong.
KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "one of true and false",
    "bool_parsing": "one of true and false",
    "string_type": "a text",
}
# Settings of earlier versions, and where they are now.
MOVED = {
    "learner.clip_low": "loss.clip_low",
    "learner.clip_high": "loss.clip_high",
    "learner.kl_coef": "loss.kl_coef",
}


class Recipe(Section):
    """All settings of a run."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    model: ModelSection = ModelSection()
    problems: ProblemsSection = ProblemsSection()
    # Levels of effort by name: every problem is asked at each of them.
    effort: dict[Named, EffortLevel] = Field(default_factory=dict)
    sampling: SamplingSection
    reward: NamedSection
    target: NamedSection | None = None
    treatment: TreatmentSection = TreatmentSection()
    filter: FilterSection | None = None
    advantage: AdvantageSection = AdvantageSection()
    credit: NamedSection | None = None
    loss: LossSection = Field(default_factory=lambda: LossSection.model_validate({}))
    learner: LearnerSection
    evaluation: EvaluationSection
    checkpoint: CheckpointSection = CheckpointSection()
    # An alarm that a run is being lost is printed and written down; stop ends the run as well.
    on_alarm: Literal["warn", "stop"] = "warn"
    track: TrackSection | None = None
    trl: EngineSection | None = None
    verl: EngineSection | None = None

    @model_validator(mode="before")
    @classmethod
    def _move_templates(cls, settings: Any) -> Any:
        """What an engine's own section gives the chat template becomes the model's."""
        return move_templates(settings) if isinstance(settings, dict) else settings

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Recipe":
        self._check_target()
        self._check_effort()
        self._check_treatment()
        self._check_credit()
        if self.learner.staleness > self.sampling.prompts_per_step:
            raise ValueError(
                f"learner.staleness = {self.learner.staleness} exceeds sampling.prompts_per_step = "
                f"{self.sampling.prompts_per_step}; every update needs a whole group"
            )
        if self.problems.band and self.problems.band[0] > self.problems.band[1]:
            low, high = self.problems.band
            raise ValueError(f"problems.band = [{low:g}, {high:g}] runs backwards; swap its ends")
        budgets = self.evaluation.budgets
        if list(budgets) != sorted(set(budgets)):
            raise ValueError(
                f"evaluation.budgets = {list(budgets)} do not rise; set {sorted(set(budgets))}"
            )
        return self

    def _check_target(self) -> None:
        rewards.check(self.reward.name, self.reward.parameters)
        drawn = self.sampling
        idle = rewards.idle(
            self.reward.name,
            self.reward.parameters,
            samples=drawn.samples_per_prompt,
            cap_tokens=drawn.cap_tokens,
        )
        if idle:
            line = f"reward {self.reward.name} pays no heed to length in this run: {idle}"
            warnings.warn(line, TerselyWarning, stacklevel=2)
        needs = rewards.needs(self.reward.name)
        if self.target is None:
            for field in sorted(needs & {"target_tokens", "weight"}):
                raise ValueError(
                    f"reward {self.reward.name} needs {field}, and the recipe has no target; "
                    f"add [target] with one of {', '.join(targets.giving(field))} for its name"
                )
            return
        targets.check(self.target.name, self.target.parameters)
        cap = self.sampling.cap_tokens
        for key, value in self.target.parameters.items():
            if key != "tokens" and not key.endswith("_tokens"):
                continue
            tokens = max(_values(value))
            if tokens > cap:
                raise ValueError(
                    f"target.{key} = {tokens} (L_T) exceeds sampling.cap_tokens = {cap} (L_R), "
                    f"so no rollout could be too long; set target.{key} <= {cap}"
                )
        given = targets.declared(self.target.name).gives
        wanted = needs & {"target_tokens", "weight"}
        for field in sorted(wanted - given):
            fit = [n for n in targets.giving(field) if wanted <= targets.declared(n).gives]
            raise ValueError(
                f"reward {self.reward.name} needs {field}, which target {self.target.name} "
                f"does not give; use one of {', '.join(fit)}"
            )

    def _check_effort(self) -> None:
        """Levels differ in their prompts, and targets by level are of levels that there are."""
        asked = [(level.phrase, level.system_prompt) for level in self.effort.values()]
        if len(set(asked)) < len(asked):
            raise ValueError(
                f"effort: two of the levels {', '.join(self.effort)} ask alike, so nothing could "
                "tell them apart; give each a phrase or a system_prompt of its own"
            )
        if self.model.system_prompt and any(each for _, each in asked):
            raise ValueError(
                "model.system_prompt and the system_prompt of a level are two system messages; "
                "set one of them"
            )
        if self.target is None or "effort" not in targets.declared(self.target.name).needs:
            return
        if not self.effort:
            raise ValueError(
                f"target {self.target.name} needs levels, and the recipe has none; add "
                '[effort.low] with phrase = "..." and others like it'
            )
        given = self.target.parameters["tokens"]
        held = [(level, given[level]) for level in self.effort if level in given]
        for (low, tokens), (high, more) in pairwise(held):
            if more < tokens:
                warnings.warn(
                    f"target.tokens falls from {tokens} of {low} to {more} of {high}, and levels "
                    "stand from the least to the most effort; swap them if that is not meant",
                    TerselyWarning,
                    stacklevel=2,
                )
        for level in given.keys() - self.effort.keys():
            raise ValueError(no_such("level", level, self.effort, fix="leave it out"))
        needed = "target_tokens" in rewards.needs(self.reward.name)
        for level in sorted(self.effort.keys() - given.keys()) if needed else ():
            raise ValueError(
                f"reward {self.reward.name} needs target_tokens, and target.tokens has none for "
                f"the level {level}; add it"
            )

    @property
    def trackers(self) -> tuple[str, ...]:
        """Where the run is sent."""
        return self.track.to if self.track else ()

    @property
    def test_samples(self) -> int:
        """The most samples of one evaluation: problems, at each level of effort if there are any,
        times samples."""
        return self.problems.test_limit * max(1, len(self.effort)) * self.evaluation.samples

    def _check_treatment(self) -> None:
        if self.treatment.table != VANILLA and Trait.CELLS not in rewards.traits(self.reward.name):
            paid = [n for n in rewards.available() if Trait.CELLS in rewards.traits(n)]
            raise ValueError(
                f"treatment.cells treats cells of the {' or '.join(paid)} reward, but the reward "
                f'is {self.reward.name}; set reward.name = "{paid[0]}" or leave cells out'
            )
        advantages.check(self.advantage.name, self.advantage.parameters)
        samples = self.sampling.samples_per_prompt
        if self.filter is not None and self.filter.keep >= samples:
            raise ValueError(
                f"filter.keep = {self.filter.keep} keeps all of sampling.samples_per_prompt = "
                f"{samples} rollouts; set filter.keep < {samples} or leave [filter] out"
            )

    def _check_credit(self) -> None:
        if self.credit is None:
            return
        name = self.credit.name
        credit.check(name, self.credit.parameters)
        if not losses.takes_token_advantages(self.loss.name):
            fit = [n for n in losses.available() if losses.takes_token_advantages(n)]
            raise ValueError(
                f"credit.name = {name!r} gives tokens of one rollout different advantages, and "
                f"loss.name = {self.loss.name!r} has one ratio for the whole rollout; set "
                f"loss.name to one of {', '.join(fit)}, or leave [credit] out"
            )
        made = f"credit.name = {name!r} makes the advantages itself, from verdicts"
        if not credit.from_verdicts(name):
            return
        if Trait.VERDICT_ONLY not in rewards.traits(self.reward.name):
            raise ValueError(
                f"{made}, so that reward.name = {self.reward.name!r} would not be learned from; "
                'set reward.name = "correctness"'
            )
        if self.advantage != AdvantageSection():
            raise ValueError(
                f"{made}, so that advantage.name = {self.advantage.name!r} would have no effect; "
                "leave [advantage] out"
            )


def _values(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else [value]


def shipped(name: str) -> Path:
    """The path of a recipe that comes with the package."""
    return Path(str(resources.files("tersely") / "recipes" / f"{name}.toml"))


def find_recipe(name: Path) -> Path:
    """The file of a recipe: the path itself if there is one, else a shipped recipe by its name.

    Raises:
        ConfigError: there is neither.
    """
    if name.is_file():
        return name
    known = {path.stem: path for path in sorted(shipped("demo").parent.glob("*.toml"))}
    if str(name) in known:
        return known[str(name)]
    if name.is_dir():
        raise ConfigError(f"{name} is a folder; give a recipe in it, such as {name / RECIPE_FILE}")
    if name.suffix == ".toml" or len(name.parts) > 1:
        listed = ", ".join(known)
        raise ConfigError(f"no such file: {name}; give a TOML file, or one of {listed}")
    raise ConfigError(no_such("recipe", name, known, fix="give a TOML file"))


def read_recipe(path: Path, *, overrides: Sequence[str] = ()) -> Recipe:
    """Reads and checks a recipe; ``overrides`` are ``section.key=value`` with a TOML value.

    Raises:
        ConfigError: the file is missing or no TOML, or a setting is unknown or out of bounds.
    """
    if not path.is_file():
        raise ConfigError(f"no recipe at {path}; give a TOML file, or none for the lab")
    try:
        settings = parse_toml(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {shortened(error)}") from error
    for override in overrides:
        _apply_override(settings, override)
    return check_recipe(settings)


def check_recipe(settings: dict[str, Any]) -> Recipe:
    """The settings as a Recipe, or a ConfigError with one line for the first thing wrong."""
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from error


def _apply_override(settings: dict[str, Any], override: str) -> None:
    key, mark, value = override.partition("=")
    *sections, last = key.strip().split(".")
    if not mark or not last:
        raise ConfigError(f"--set {override!r} is not section.key=value")
    for section in sections:
        settings = settings.setdefault(section, {})
        if not isinstance(settings, dict):
            raise ConfigError(f"--set {override!r}: {section} is a value, not a section")
    settings[last] = _toml_value(value)


def read_value(entry: str) -> tuple[str, Any]:
    """A setting written ``key=value``, the value as TOML reads it, or as a word.

    Raises:
        ConfigError: there is no ``=``.
    """
    key, mark, value = entry.partition("=")
    if not mark or not key.strip():
        raise ConfigError(f"--set {entry!r} is not key=value")
    return key.strip(), _toml_value(value)


def _toml_value(text: str) -> Any:
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text.strip()


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "extra_forbidden" if key in MOVED:
            return f"recipe key {key} is now {MOVED[key]}; rename it"
        case "extra_forbidden":
            known = _siblings(first["loc"])
            fix = f"leave out {key} = {first['input']!r}"
            return no_such("recipe key", key, known, fix=fix)
        case "literal_error" | "enum":
            known = re.findall(r"'([^']*)'", first["ctx"]["expected"])
            return no_such(f"{key} =", first["input"], known)
        case "missing":
            return f"recipe key {key} is missing; add it"
        case "value_error":
            return str(first["ctx"]["error"])
        case "string_pattern_mismatch":
            return f"{key} = {first['input']!r} is empty; write a name or a path, or leave it out"
        case "model_type":
            return f"{key} = {first['input']!r} is a value; it must be a section, [{key}]"
        case "too_short":
            least = first["ctx"]["min_length"]
            return f"{key} = {shortened(first['input'])} has too few entries; give {least} or more"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than" as kind:
            bound, broken, sign = BROKEN[kind]
            value = f"{first['ctx'][bound]:g}"
            return f"{key} = {first['input']!r} {broken} {value}; set {key} {sign} {value}"
        case "finite_number":
            return f"{key} = {first['input']!r} is not finite; set a number"
        case kind if kind in KINDS:
            return f"{key} = {shortened(repr(first['input']))} is not {KINDS[kind]}; set one"
        case "tuple_type":
            return f"{key} = {first['input']!r} must be a list, [{first['input']!r}]"
        case _:
            return f"{key} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _siblings(place: tuple[int | str, ...]) -> list[str]:
    section: Any = Recipe
    for part in place[:-1]:
        named = get_origin(section) is dict  # sections of any name, such as levels of effort
        section = get_args(section)[1] if named else section.model_fields[str(part)].annotation
        if type(None) in get_args(section):
            section = get_args(section)[0]
    assert issubclass(section, BaseModel)
    return [".".join([*map(str, place[:-1]), name]) for name in section.model_fields]


def keys_of(overrides: Sequence[str]) -> list[str]:
    """The keys that ``--set`` was given."""
    return [override.partition("=")[0].strip() for override in overrides]


def as_toml(recipe: Recipe) -> str:
    """The resolved recipe, ready to be read again."""
    return tomli_w.dumps(recipe.model_dump(exclude_none=True))
