"""Study files: arms, claims with their bounds, and the runs that they ask for."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator, model_validator

from tersely.core.errors import ConfigError, no_such, shortened
from tersely.core.parsing import parse_toml
from tersely.flows.recipe.recipe import Recipe, check_recipe
from tersely.flows.recipe.sections import Section, TomlArray
from tersely.flows.study.lab import STUDIES, Lab
from tersely.metrics.verdicts import Relation

BASE_FILE = "base.toml"
CURVES = ("curve", "stage_end", "rebound")
# Kept results of the first are of the time when it was "lab"; what is "lab" now is the second.
_NAMED_THEN = {"lab-v1": "lab", "lab": "lab-v2"}
LENGTH = re.compile(r"(?:([\d.]+) )?(L_T|L_R)")
POOLS = ("easy", "hard", "full", "solvable")
BAND = re.compile(r"(\d*\.?\d+) to (\d*\.?\d+)")
NOTHING: Mapping[str, Any] = MappingProxyType({})
Bounds = Annotated[tuple[float, float], TomlArray]


class Method(Section):
    """What an arm does that is no RL; all spend ``learner.rollout_tokens`` on the pool's prompts.

    ``sft`` and ``dpo`` learn the shortest right of the base model's own samples, or to prefer a
    short right one over a right one that is longer by ``gap``; ``distil`` learns on-policy to do
    as the base model does where it is ``told`` something, a text after the question; ``none``
    trains nothing and tells the base model itself. They take TRL's settings from ``set.trl``, and
    the learning rate and the seed from the recipe. ``merge``: what is trained is merged with the
    base model, this weight on what is trained. ``forced``: thinking is closed at so many tokens.
    """

    name: Literal["none", "sft", "dpo", "distil"]
    told: str | None = None
    gap: Annotated[float, Field(ge=0, lt=1)] = 0.1
    pairs: Annotated[int, Field(ge=1)] = 1
    merge: Annotated[float, Field(ge=0, le=1)] | None = None
    forced: int | str | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "Method":
        if (self.name == "distil") > (self.told is not None):
            raise ValueError("method.name = 'distil' needs told, what its teacher is told")
        if self.told is not None and self.name not in ("none", "distil"):
            raise ValueError(f"method.told is of none and distil, not of {self.name!r}")
        if self.merge is not None and self.name == "none":
            raise ValueError("method.merge needs a name: sft, dpo or distil")
        if self.told is not None and self.forced is not None and self.name == "none":
            raise ValueError("method.told and method.forced are two arms; give one of them")
        if isinstance(self.forced, str) and not LENGTH.fullmatch(self.forced):
            said = shortened(repr(self.forced))
            raise ValueError(f"method.forced = {said} is no length; write 20, 'L_T' or '2 L_T'")
        if isinstance(self.forced, int) and self.forced < 1:
            raise ValueError(f"method.forced = {self.forced} is below 1; give at least one token")
        for key in ("gap", "pairs"):
            if self.name != "dpo" and key in self.model_fields_set:
                value = getattr(self, key)
                raise ValueError(
                    f"method.{key} = {value} is of dpo, and {self.name!r} has no pairs; leave it "
                    "out"
                )
        return self


def band_of(pool: str) -> tuple[float, float] | None:
    """Lowest and highest pass rate of a pool that is named by them."""
    found = BAND.fullmatch(pool)
    return (float(found[1]), float(found[2])) if found else None


class Arm(Section):
    """One way to shorten: ``set`` is merged over the base recipe; ``pool``: by base pass rate,
    easy, hard, full, solvable or a band such as ``"0 to 0.5"``, ends included. Without a
    ``method``, the recipe is trained with RL."""

    says: str
    method: Method | None = None
    pool: str = "easy"
    set: dict[str, Any] = Field(default_factory=dict)

    @field_validator("pool")
    @classmethod
    def _is_a_pool(cls, pool: str) -> str:
        ends = band_of(pool)
        if pool not in POOLS and (ends is None or not 0 <= ends[0] <= ends[1] <= 1):
            raise ValueError(
                f"pool = {shortened(repr(pool))} is none; choose one of {', '.join(POOLS)}, or a "
                "band of pass rates that rises within 0 to 1, such as '0 to 0.5'"
            )
        return pool

    @model_validator(mode="after")
    def _uses_its_settings(self) -> "Arm":
        given = self.set.get("trl")
        if given and (self.method is None or self.method.name == "none"):
            key, value = next(iter(given.items())) if isinstance(given, dict) else ("", given)
            raise ValueError(
                f"set.trl.{key} = {shortened(repr(value))} is TRL's, which does not train this "
                "arm; leave it out, or give it method.name = 'sft', 'dpo' or 'distil'"
            )
        return self


class Side(Section):
    """Which arm is looked at, and when: ``moment`` of evaluations and ``steps`` of training
    curves are shares of the run, 0 its start and 1 its end. With ``since``, another moment, the
    figure is how much it has changed from then on."""

    arm: str
    moment: Annotated[float, Field(ge=0, le=1)] = 1.0
    since: Annotated[float, Field(ge=0, le=1)] | None = None
    steps: Bounds = (0.9, 1.0)


class Claim(Section):
    """A statement on an effect, and the bound that its interval is held against.

    ``statistic``: on held-out problems ``accuracy`` and ``pass_at_k`` within ``budget`` tokens,
    ``area`` under accuracy over log budget from ``least`` on, ``tokens``; of the training curve
    ``curve`` (the mean of ``column`` over ``steps``), ``stage_end`` (share of the run) and
    ``rebound`` (how far the last length lies above the least); ``spent``, all tokens that were
    sampled to train. ``where`` keeps one source, or problems that the base model finds easy or
    hard. Without ``against`` the value itself is judged; else its difference or, relative, its
    ratio minus 1.
    """

    says: str
    paper: str
    statistic: Literal[
        "accuracy", "pass_at_k", "area", "tokens", "curve", "stage_end", "rebound", "spent"
    ]
    of: Side
    against: Side | None = None
    relative: bool = False
    budget: int | str = "L_R"
    least: int | str | None = None
    k: Annotated[int, Field(ge=1)] = 8
    column: str = "tokens_mean"
    where: str | None = None
    above: float | None = None
    below: float | None = None
    within: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _has_one_bound(self) -> "Claim":
        if sum(bound is not None for bound in (self.above, self.below, self.within)) != 1:
            raise ValueError(f"claim {self.says!r} needs one of above, below, within")
        if self.relative and self.against is None:
            raise ValueError(f"claim {self.says!r} is relative to nothing; add against")
        if self.least is not None and self.statistic != "area":
            raise ValueError(
                f"claim {self.says!r}: least = {self.least!r} is of area; leave it out"
            )
        return self

    @property
    def relation(self) -> Relation:
        """Above, below or within."""
        return next(r for r in Relation if getattr(self, r.value) is not None)

    @property
    def bound(self) -> float:
        """What the effect is held against."""
        return float(getattr(self, self.relation.value))


class Study(Section):
    """A question, the arms that answer it, and what was expected before they ran. ``base`` is
    merged over the recipe that the arms of all studies start from."""

    title: str
    question: str
    paper: str
    base: dict[str, Any] = Field(default_factory=dict)
    arms: Annotated[dict[str, Arm], Field(min_length=1)]
    claims: Annotated[tuple[Claim, ...], TomlArray, Field(min_length=1)]

    @model_validator(mode="after")
    def _names_its_arms(self) -> "Study":
        for claim in self.claims:
            for side in filter(None, (claim.of, claim.against)):
                if side.since is not None and claim.statistic in (*CURVES, "spent"):
                    raise ValueError(
                        f"claim {claim.says!r}: since = {side.since} is of evaluations; leave it "
                        "out, or choose a held-out statistic"
                    )
                if side.arm not in self.arms:
                    raise ValueError(
                        f"claim {claim.says!r}: there is no arm {side.arm!r}; "
                        f"arms are {', '.join(self.arms)}"
                    )
                if claim.statistic in CURVES and self.arms[side.arm].method is not None:
                    raise ValueError(
                        f"claim {claim.says!r}: arm {side.arm!r} is no RL and has no curve; "
                        "choose a held-out statistic"
                    )
        return self


@dataclass(frozen=True, slots=True)
class StudyRun:
    """One run: an arm's recipe but for its problem files, the pool it trains on, a seed, and what
    it does instead of RL."""

    settings: Mapping[str, Any]
    pool: str
    seed: int
    method: Method | None = None

    @property
    def name(self) -> str:
        """A name that stands for all of it."""
        # Settings younger than kept results stand in a name only where they are used.
        sampling = {"engine": "local", **self.settings.get("sampling", {})}
        if sampling["engine"] == "local":
            sampling.pop("vllm_memory_share", None)
        settings = {**self.settings, "sampling": sampling}
        if "model" in settings:
            path = settings["model"]["path"]
            settings["model"] = {**settings["model"], "path": _NAMED_THEN.get(path, path)}
        method = [] if self.method is None else [self.method.model_dump(exclude_none=True)]
        text = json.dumps([self.pool, settings, *method], sort_keys=True)
        return f"{blake2b(text.encode(), digest_size=6).hexdigest()}-seed-{self.seed}"


class NamedStudy(NamedTuple):
    """A study and its name."""

    name: str
    study: Study


def shipped_studies(lab: Lab = Lab.V2) -> dict[str, Path]:
    """The studies that come with the package, by name, in the order of their files."""
    named = [(path.stem.partition("-"), lab.file(path.name)) for path in STUDIES.glob("*-*.toml")]
    in_order = sorted(named, key=lambda each: int(each[0][0]))
    return {name: path for (_, _, name), path in in_order}


def find_studies(name: str, lab: Lab = Lab.V2) -> list[NamedStudy]:
    """One study by name or file, or ``all`` that are shipped.

    Raises:
        ConfigError: there is no such study, or its file says something that cannot be.
    """
    shipped = shipped_studies(lab)
    if name == "all":
        return [NamedStudy(each, read_study(path)) for each, path in shipped.items()]
    path = shipped.get(name, Path(name))
    if not path.is_file():
        raise ConfigError(no_such("study", name, ("list", "all", *shipped), fix="give a TOML file"))
    return [NamedStudy(name if name in shipped else path.stem, read_study(path))]


def read_study(path: Path) -> Study:
    """A study's file, checked.

    Raises:
        ConfigError: it is no TOML, or a key is unknown, missing or of a wrong kind.
    """
    try:
        settings = parse_toml(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {shortened(error)}") from error
    try:
        return Study.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the study"
        raise ConfigError(f"{path}: {key}: {first['msg']}") from error


def base_settings(
    overrides: Iterable[tuple[str, Any]] = (),
    *,
    own: Mapping[str, Any] = NOTHING,
    lab: Lab = Lab.V2,
) -> dict[str, Any]:
    """The base recipe's settings with a study's ``own`` merged in, then these dotted keys set.

    Raises:
        ConfigError: it is no recipe any more.
    """
    settings: dict[str, Any] = merge(parse_toml(lab.file(BASE_FILE).read_bytes()), own)
    for key, value in overrides:
        for part in reversed(key.split(".")):
            value = {part: value}
        settings = merge(settings, value)
    check_recipe(settings)
    return settings


def merge(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the changes in; a section that gets another ``name`` starts empty."""
    merged = dict(settings)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            renamed = "name" in value and value["name"] != old.get("name")
            merged[key] = dict(value) if renamed else merge(old, value)
        else:
            merged[key] = value
    return merged


def lengths_of(base: Mapping[str, Any]) -> dict[str, float]:
    """L_T and L_R of the base recipe, in tokens."""
    target = base.get("target", {}).get("tokens")
    if not isinstance(target, int):
        raise ConfigError("a study's base needs target.tokens, one length (L_T); set it")
    return {"L_T": float(target), "L_R": float(base["sampling"]["cap_tokens"])}


def resolve(value: Any, lengths: Mapping[str, float], *, where: str = "the length") -> Any:
    """``"2 L_T"`` and the like as tokens, anywhere in the settings.

    Raises:
        ConfigError: it is no length above 0; names the key, which is ``where`` or within.
    """
    if isinstance(value, Mapping):
        return {
            key: resolve(inner, lengths, where=f"{where}.{key}") for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [resolve(inner, lengths, where=where) for inner in value]
    found = LENGTH.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    share = found[1] or "1"
    if share.count(".") > 1 or not share.strip(".0"):
        raise ConfigError(f"{where} = {value!r} is no length above 0; write '0.5 {found[2]}'")
    return max(1, round(float(share) * lengths[found[2]]))


def arm_settings(base: Mapping[str, Any], arm: Arm) -> dict[str, Any]:
    """An arm's settings: the base with the arm's own, all lengths in tokens.

    Raises:
        ConfigError: they make no recipe.
    """
    settings: dict[str, Any] = merge(base, resolve(arm.set, lengths_of(base), where="set"))
    check_recipe(settings)
    return settings


def unit_of(base: Mapping[str, Any], arm: Arm, *, seed: int) -> StudyRun:
    """The run of an arm with a seed; arms that mean the same run are one unit."""
    recipe = check_recipe(arm_settings(base, arm) | {"seed": seed})
    settings = recipe.model_dump(mode="json", exclude_none=True)
    # The band chose the pool's prompts; in the pool difficulty is the base model's.
    settings["problems"].pop("band", None)
    # Its problems have the base's system message; one that an arm brings is its own.
    if settings["model"].get("system_prompt") == base.get("model", {}).get("system_prompt"):
        settings["model"].pop("system_prompt", None)
    # Nothing of a result depends on it.
    settings.pop("track", None)
    # Unset, these leave a run what it was, and its results their name.
    for section, key in ((settings["model"], "chat_template_kwargs"), (settings, "effort")):
        if not section[key]:
            del section[key]
    method = arm.method
    if method is not None:
        forced = resolve(method.forced, lengths_of(base), where="method.forced")
        method = method.model_copy(update={"forced": forced})
    return StudyRun(settings, arm.pool, seed, method)


def units_of(
    base: Mapping[str, Any], studies: Sequence[NamedStudy], *, seeds: int
) -> list[StudyRun]:
    """All runs of these studies, each once, seed by seed."""
    units: dict[str, StudyRun] = {}
    for seed in range(1, seeds + 1):
        for _, study in studies:
            for arm in study.arms.values():
                unit = unit_of(base, arm, seed=seed)
                units.setdefault(unit.name, unit)
    return list(units.values())


def recipe_of(unit: StudyRun, *, train: Path, test: Path) -> Recipe:
    """The recipe that a unit trains, on these problem files.

    Raises:
        ConfigError: it is none.
    """
    files = {"problems": {"train": str(train), "test": str(test)}}
    return check_recipe(merge(unit.settings, files))
