"""A run's model card: what was trained from what, on what, and how it measures before and after."""

import math
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from tersely.core.errors import ConfigError
from tersely.core.extras import refuse_absent
from tersely.core.parsing import parse_json
from tersely.core.storage import write_atomically
from tersely.engines.folders import LAB, LABS, lab_then, place_of
from tersely.flows.published import CARD, check_repo_id
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.settings import without_tracking
from tersely.metrics.comparison import Comparison
from tersely.metrics.numbers import count
from tersely.report.pages.exports import escape, format_block, format_matrix
from tersely.report.pages.levels import tabulate_levels
from tersely.report.pages.run import MeasuredRun, RunFolder, block_of, measure, read_run
from tersely.report.tables.stages import tell_alarms
from tersely.report.tables.words import label
from tersely.tasks.benchmarks import ALL

# In the text of a card, by which it is known again, with a digest of the rest.
MARK = "<!-- written by tersely card, digest {digest} -->"
_MARK = re.compile(r"<!-- written by tersely card(, digest (?P<digest>[0-9a-f]{16}))? -->")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_SNAPSHOT = re.compile(r"models--(?P<owner>[^/]+)--(?P<name>[^/]+)/snapshots/[0-9a-f]+")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# Settings that name places: those of tersely, and those of trainers by a word of their names.
_PLACES = {"model.path", "problems.train", "problems.test"}
_PLACE_WORDS = re.compile(r"(?:^|[._])(path|file|dir|directory|folder|root|cache|home)s?$")
# A whole text that is a place on one machine, as a trainer's other settings may be.
_PLACE = re.compile(r"(?:file://)?/[^/\n]+/[^\n]+|(?:~|\.{1,2}|[A-Za-z]:)[/\\][^\n]+|\\\\[^\n]+")
_SEPARATORS = re.compile(r"[/\\]")
LICENCE_KEYS = ("license", "license_name", "license_link")


class Base(NamedTuple):
    """What was trained: its name, on the hub if that is known, and the keys of its licence."""

    name: str
    on_hub: bool
    licence: Mapping[str, str]


def write_card(
    run_folder: Path,
    *,
    step: int,
    folder: Path,
    base_model: str | None = None,
    licence: str | None = None,
    force: bool = False,
) -> Path:
    """Writes the card of a checkpoint into its folder.

    Args:
        step: of the checkpoint.
        base_model: the base's name on the hub; None: as its folder tells it.
        licence: of the base; None: as its own card tells it.
        force: also over a card that somebody else wrote or changed.
    Raises:
        ConfigError: there is another's card or a changed one, the base's name or licence cannot
            be one, or a library is missing.
        DataError: a file of the run is damaged.
    """
    refuse_absent("huggingface_hub", what="tersely card", extra="train")
    if base_model is not None:
        check_repo_id(base_model, where="--base-model ")
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise ConfigError(
            f"--license {licence!r} is no identifier of a licence; write it in lower-case letters, "
            "digits, dots and dashes, such as apache-2.0"
        )
    file = folder / CARD
    if file.is_file() and not force:
        _refuse_others(file)
    run = read_run(run_folder)
    path = lab_then(run.recipe.model.path, run.manifest.files.model_digest)
    base = find_base(path, base_model=base_model, licence=licence)
    text = build_card(run, step=step, base=base)
    write_atomically(file, text.replace(MARK, MARK.format(digest=_digest(text)), 1))
    return file


def _refuse_others(file: Path) -> None:
    """ConfigError unless the card is as this command wrote it."""
    text = file.read_text(encoding="utf-8", errors="replace")
    mark = _MARK.search(text)
    if mark is None:
        raise ConfigError(f"{file} was not written by tersely card; --force writes over it")
    if mark["digest"] != _digest(text.replace(mark[0], MARK, 1)):
        raise ConfigError(
            f"{file} was changed since tersely card wrote it; keep a copy of what you added, and "
            "--force writes over it"
        )


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def find_base(path: str, *, base_model: str | None = None, licence: str | None = None) -> Base:
    """The base by what its folder tells: its place in the hub's cache, its configuration, its
    card."""
    from huggingface_hub import metadata_load

    folder = place_of(path)
    name = base_model or _hub_name(folder)
    keys: dict[str, str] = {"license": "apache-2.0"} if path in LABS else {}
    if (card := folder / CARD).is_file():
        said = metadata_load(card) or {}
        keys = {key: str(said[key]) for key in LICENCE_KEYS if key in said}
    if licence is not None:
        keys = {"license": licence}
    own = f"the {path} model of tersely" if path in LABS else folder.name
    return Base(name or own, name is not None, keys)


def _hub_name(folder: Path) -> str | None:
    """The name of a model on the hub, where its folder tells it."""
    if found := _SNAPSHOT.search(folder.absolute().as_posix()):
        return f"{found['owner']}/{found['name']}"
    try:
        said = parse_json((folder / "config.json").read_bytes()).get("_name_or_path", "")
    except (OSError, ValueError, AttributeError):
        return None
    known = isinstance(said, str) and _HUB_NAME.fullmatch(said) and not Path(said).exists()
    return said if known else None


def build_card(run: RunFolder, *, step: int, base: Base) -> str:
    """The text of the card, its figures those of the checkpoint's own evaluation."""
    measured = _measure(run, step)
    comparison = measured.overall if measured else None
    parts = [
        f"---\n{_front_matter(run, base, comparison)}\n---",
        MARK,
        f"# {escape(run.name)}",
        _introduce(run, base, step),
        "## Figures",
        *_figures(run, measured, step),
        "## Data",
        _data(run.recipe),
        "## How to train it again",
        _again(run),
    ]
    return "\n\n".join(parts) + "\n"


def _measure(run: RunFolder, step: int) -> MeasuredRun | None:
    """The first evaluation against the checkpoint's; None where it was not evaluated."""
    first = min(run.evaluations)
    if step == first or step not in run.evaluations:
        return None
    ends = {at: run.evaluations[at] for at in (first, step)}
    return measure(run._replace(evaluations=ends))


def _front_matter(run: RunFolder, base: Base, comparison: Comparison | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    datasets = [ALL[name].dataset for name in _names(run.recipe.problems.train) if name in ALL]
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=_set_name(run.recipe.problems.test),
            dataset_name=_set_name(run.recipe.problems.test),
            metric_type="accuracy" if each.name == "accuracy" else "length",
            metric_name=label(each.name, each.budget_tokens),
            metric_value=round(each.after.estimate, 4),
        )
        for each in (comparison.measures if comparison else ())
        if each.name in ("accuracy", "mean tokens") and math.isfinite(each.after.estimate)
    ]
    data = ModelCardData(
        **base.licence,
        base_model=base.name if base.on_hub else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["tersely", "reasoning", "efficient-reasoning"],
        datasets=datasets or None,
        model_name=run.name if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _introduce(run: RunFolder, base: Base, step: int) -> str:
    recipe, facts = run.recipe, run.manifest.facts
    named = f"[{base.name}](https://huggingface.co/{base.name})" if base.on_hub else base.name
    target = f", target `{recipe.target.name}`" if recipe.target else ""
    licence = (
        f"The licence is that of the base, {base.licence['license']}."
        if "license" in base.licence
        else "The licence is that of the base, which its folder does not state; add it above "
        "before you publish this model."
    )
    return (
        f"{named[0].upper()}{named[1:]} after {step:,} steps of reinforcement learning with "
        f"tersely {facts.tersely or ''}: reward "
        f"`{recipe.reward.name}`{target}, loss `{recipe.loss.name}`, rollouts of up to "
        f"{recipe.sampling.cap_tokens:,} tokens, seed {recipe.seed}, trained by "
        f"{facts.engine or 'one process of tersely'}.\n\n{licence}"
    )


def _figures(run: RunFolder, measured: MeasuredRun | None, step: int) -> Iterator[str]:
    if measured is None:
        known = ", ".join(f"{at:,}" for at in run.evaluations)
        yield f"The checkpoint of step {step:,} was not evaluated; evaluated steps: {known}."
    else:
        yield "Before: the base. After: this checkpoint." + _say_pooled(run.recipe)
        yield format_block(block_of(measured.overall))
        if levels := tabulate_levels(measured.levels):
            yield format_matrix(levels)
    raised = [alarm for alarm in run.alarms if alarm.step < step]
    heading, *lines = tell_alarms(raised) or ["No alarm was raised in training."]
    yield "\n".join([heading + (":" if lines else ""), *(f"- {escape(line)}" for line in lines)])


def _say_pooled(recipe: Recipe) -> str:
    if not recipe.effort:
        return ""
    return (
        f" Levels of effort ({', '.join(map(escape, recipe.effort))}) are pooled in the first "
        "table, where n counts a problem once for each level."
    )


def _data(recipe: Recipe) -> str:
    problems = recipe.problems
    band = f", difficulty {problems.band[0]:g} to {problems.band[1]:g}" if problems.band else ""
    levels = f", each at {count(len(recipe.effort), 'level')} of effort" if recipe.effort else ""
    return (
        f"Trained on up to {problems.train_limit:,} problems from {_set_name(problems.train)}{band}"
        f"{levels}; evaluated on up to {problems.test_limit:,} from {_set_name(problems.test)}"
        f"{levels}, {recipe.evaluation.samples} samples each. Answers are graded by "
        "rules, not by a model."
    )


def _again(run: RunFolder) -> str:
    facts = run.manifest.facts
    packages = ", ".join(f"{name} {version}" for name, version in facts.packages.items())
    command = f"tersely {_command(facts.engine)} recipe.toml"
    settings = without_tracking(run.recipe).model_dump(exclude_none=True)
    return (
        f"Save this as `recipe.toml` (paths are cut to their names) and run `{command}`; it was "
        f"made with Python {facts.python}, {packages}, on {facts.machine}.\n\n"
        f"```toml\n{tomli_w.dumps(_without_places(settings))}```"
    )


def _command(engine: str | None) -> str:
    return f"launch {engine.split(',')[0]}" if engine else "train"


def _names(where: str) -> list[str]:
    return [name.strip().partition("?")[0] for name in where.split(",")]


def _set_name(where: str) -> str:
    """A set's name, or that of its file; of each where several stand between commas."""
    return "the lab" if where == LAB else _cut_places(where)


def _cut_places(where: str) -> str:
    """Sets of problems without folders; a question mark's settings stay."""
    if Path(where).is_file():
        return _last_name(where)
    cut = []
    for name in where.split(","):
        place, mark, settings = name.strip().partition("?")
        cut.append(_last_name(place) + mark + settings)
    return ", ".join(cut)


def _last_name(place: str) -> str:
    """The last name of a place, as any system writes it; a place of one name stays."""
    return _SEPARATORS.split(place.rstrip("/\\"))[-1] or place


def _without_places(value: Any, key: str = "") -> Any:
    """Settings without the folders of the machine that they were used on; no other text changes."""
    if isinstance(value, Mapping):
        within = f"{key}." if key else ""
        return {name: _without_places(each, f"{within}{name}") for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_places(each, key) for each in value]
    if not isinstance(value, str):
        return value
    if key.startswith("problems.") and key in _PLACES:
        return _cut_places(value)
    of_trainer = key.startswith(("trl.", "verl."))
    named = key in _PLACES or (of_trainer and _PLACE_WORDS.search(key))
    return _last_name(value) if named or (of_trainer and _PLACE.fullmatch(value)) else value
