"""The Python interface: all that is public, and nothing else is promised.

Every function computes with what the command of the same subject computes with, so that both give
the same figures. An argument that is ``Given`` is what ``load`` made, or the path of it. Only
``trl_hooks`` and a ``tokenizer`` need torch or transformers.

Errors are one sentence: ``ConfigError`` where something cannot be done as asked, ``DataError``
where a file or an array does not hold what it should; both are ``TerselyError``.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tersely.core.errors import ConfigError as ConfigError
from tersely.core.errors import DataError as DataError
from tersely.core.errors import TerselyError as TerselyError
from tersely.core.errors import check_kind, no_such

if TYPE_CHECKING:
    import altair as alt
    import numpy as np
    import polars as pl
    from numpy.typing import ArrayLike

    from tersely.dynamics.log import StepLog as StepLog
    from tersely.flows.diagnose import Diagnosis as Diagnosis
    from tersely.flows.recipe.recipe import Recipe
    from tersely.flows.trl.hooks import Hooks
    from tersely.readers.evaluations import Loaded as Loaded
    from tersely.readers.evaluations import LoadedSweep as LoadedSweep
else:
    # Their modules take a second to load, and a reward has no use for them.
    _TYPES = {"Diagnosis": "flows.diagnose", "StepLog": "dynamics.log"}
    _TYPES |= dict.fromkeys(("Loaded", "LoadedSweep"), "readers.evaluations")

    def __getattr__(name: str) -> object:
        if name not in _TYPES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"tersely.{_TYPES[name]}"), name)


# What ``load`` made of a file, or its path.
Given: TypeAlias = "str | Path | Loaded | StepLog | LoadedSweep"


def load(
    path: str | Path,
    source: str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    budgets: Sequence[int] = (),
    protocol: str | None = None,
    tokenizer: str | Path | None = None,
    cap_tokens: int | None = None,
    only_model: str | None = None,
    benchmark_name: str | None = None,
    regrade: str | None = None,
    budget_of: str = "tokens",
    by_row: bool = False,
    run: str | None = None,
) -> "Loaded | StepLog | LoadedSweep":
    """An evaluation, a step log or a sweep, from any file or folder that tersely reads.

    Evaluations are folders and records of ``tersely eval``, files of lighteval, lm-eval,
    inspect-ai, TRL's completions and verl's dumps, and tables (JSON lines, JSON, Parquet). Step
    logs are run folders, logs of TRL, verl and other trainers, files and folders of W&B,
    TensorBoard, trackio and MLflow, and CSV. A folder is read if it holds one such file.

    Args:
        source: the tool that wrote it; None: told by what the file holds.
        columns: our name to the file's, such as ``{"tokens": "n_tokens"}``.
        budgets: in tokens; empty: the evaluation's own, else powers of two up to the cap.
        protocol: what counts as right at a budget: finished, answered or forced.
        tokenizer: folder of a tokenizer to count with, where a file holds no counts.
        cap_tokens: the sampled cap, where the file does not hold it.
        only_model: of a file of several models, the one to keep.
        benchmark_name: where the file gives none.
        regrade: grader that grades the file's texts again, such as math.
        budget_of: what budgets count: tokens, turns or model-tokens.
        by_row: every row of a table is a problem of its own.
        run: of a log of several runs, the one to read.
    Raises:
        ConfigError: there is nothing there, or it cannot be read as asked.
        DataError: the file is of no kind that is known, or is damaged.
    """
    from tersely.arguments import FileArguments, open_file

    asked = FileArguments(
        columns={} if columns is None else columns,
        budgets=budgets,
        protocol=protocol,
        tokenizer=tokenizer,
        cap_tokens=cap_tokens,
        only_model=only_model,
        benchmark_name=benchmark_name,
        regrade=regrade,
        budget_of=budget_of,
        by_row=by_row,
        run=run,
    )
    return open_file(path, source, asked)


def figures(evaluation: Given, *, k: Sequence[int] = ()) -> "pl.DataFrame":
    """Every figure of one evaluation, a row each, as ``tersely report --csv`` writes them.

    ``name`` says which: accuracy, mean@8, pass@4, majority@4, mean tokens, truncated share, ...;
    ``budget_tokens`` is null for what is not within a budget. ``estimate``, ``low``, ``high`` (95%)
    and ``standard_error`` are in ``unit``: share (0 to 1), tokens, points. ``n_problems`` and
    ``n_samples`` are what it rests on. With several benchmarks, rows of all come first, then those
    of each, whose name is ``source``. Of a sweep, ``evaluation`` says whose a row is. What is not
    defined is null.

    Args:
        k: tries for Pass@k and the like; empty: 1, 2, 4, ... up to the samples a problem.
    Raises:
        ConfigError: a budget is above the cap, or a k above the samples.
    """
    from tersely.arguments import as_frame, measure

    return as_frame(measure(evaluation, k)).drop("side", "p")


def compare(
    *evaluations: Given,
    budgets: Sequence[int] = (),
    k: Sequence[int] = (),
    pair_by: str = "auto",
) -> "pl.DataFrame":
    """Every figure of two or more evaluations, as ``tersely compare --csv`` writes them.

    As ``figures``, over the problems that all have, with ``side``: before, after, difference
    (paired, after minus before), ratio or score; ``p`` stands beside a difference. The first is
    the reference, and a sweep stands for its levels. Of three or more, ``evaluation`` says whose
    a row is; rows of each on the Pareto front of a budget or behind it come first.

    Args:
        budgets: in tokens; empty: those that they share.
        k: tries for Pass@k and the like.
        pair_by: how problems are found to be the same: auto, question, or row for tables.
    Raises:
        ConfigError: they were evaluated under different protocols, or there is only one.
        DataError: they share no problem.
    """
    from tersely.arguments import as_frame, compare_all
    from tersely.flows.evaluate.several import ComparedSeveral
    from tersely.report.pages.exports import export_comparison, export_several

    found = compare_all(evaluations, budgets=budgets, k=k, pair_by=pair_by)
    if isinstance(found, ComparedSeveral):
        return as_frame(export_several(found))
    return as_frame(export_comparison(found.comparison))


def conclude(
    *evaluations: Given,
    budgets: Sequence[int] = (),
    k: Sequence[int] = (),
    pair_by: str = "auto",
) -> list[str]:
    """What ``tersely compare`` says of evaluations: what may be concluded, then its notes.

    Raises:
        ConfigError, DataError: as ``compare``.
    """
    from tersely.arguments import compare_all, list_sentences

    found = compare_all(evaluations, budgets=budgets, k=k, pair_by=pair_by, name="conclude")
    return list_sentences(found)


def diagnose(
    log: Given,
    *,
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    run: str | None = None,
    staleness: float | None = None,
) -> "Diagnosis":
    """The stage that a run is in, its alarms with evidence and advice, and what is not known.

    Args:
        log: a step log, or its file or run folder.
        source: the tool that wrote the file; None: told by what it holds.
        columns: our name to the file's, such as ``{"tokens_mean": "length"}``.
        run: of a log of several runs, the one to read.
        staleness: updates a batch of rollouts (S), from 1 on; None: as the log says.
    Raises:
        ConfigError, DataError: as ``load``.
    """
    from tersely.arguments import diagnose_log

    _, found = diagnose_log(
        "log", log, source=source, columns=columns, run=run, staleness=staleness
    )
    return found


def lint(
    recipe: "str | Path | Recipe",
    records: str | Path,
    *,
    overrides: Sequence[str] = (),
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    cap_tokens: int | None = None,
    tokenizer: str | Path | None = None,
    tokens_per_second: float | None = None,
) -> "pl.DataFrame":
    """What a recipe will do to the model that made these rollouts: a finding a row, worst first.

    The columns are ``severity`` (error, warning, info), ``name``, ``title``, ``evidence``,
    ``reason`` and ``setting``, what to change, which is empty where nothing need be.

    Args:
        recipe: a TOML file, or the name of a shipped one, such as demo.
        records: the base model's rollouts: a folder of ``tersely eval``, or a file.
        overrides: settings such as ``target.tokens=40``.
        tokens_per_second: of sampling and learning together, for a finding on hours.
    Raises:
        ConfigError: the recipe is none, or does not go with the records.
        DataError: the records are damaged, or lack what nothing can be said without.
    """
    from tersely.arguments import FileArguments, lint_file

    asked = FileArguments(
        columns={} if columns is None else columns, cap_tokens=cap_tokens, tokenizer=tokenizer
    )
    return lint_file(
        recipe, records, asked, source=source, overrides=overrides, rate=tokens_per_second
    )


def draw(data: Given, *others: Given, picture: str | None = None) -> "alt.ConcatChart":
    """A picture of the report as an Altair chart, which shows itself in a notebook.

    Of one evaluation: budgets (accuracy, and what several tries give) or lengths. Of two: budgets,
    repeats (Pass@k), lengths or problems. Of more: pareto, or budgets-1 and on, of each against the
    first. Of a sweep: levels. Of a step log: steps, with stages and alarms.

    Args:
        others: evaluations to draw with the first.
        picture: which; None: the first of those above.
    Raises:
        ConfigError: there is no such picture of this.
    """
    import altair as alt

    from tersely.arguments import list_pictures
    from tersely.report.pages.exports import titled

    check_kind("picture", picture, str | None, "a picture's name, such as 'lengths'")
    pictures = list_pictures((data, *others))
    chosen = next(iter(pictures)) if picture is None else picture
    if chosen not in pictures:
        raise ConfigError(no_such("picture", chosen, pictures))
    chart: alt.ConcatChart = alt.ConcatChart.from_dict(titled(pictures[chosen]), validate=False)
    return chart


def reward(
    name: str,
    *,
    correct: "ArrayLike",
    tokens: "ArrayLike",
    groups: "ArrayLike | None" = None,
    finished: "ArrayLike | None" = None,
    formatted: "ArrayLike | None" = None,
    target_tokens: "ArrayLike | None" = None,
    cap_tokens: "ArrayLike | None" = None,
    target_weight: "ArrayLike | None" = None,
    reference_tokens: "ArrayLike | None" = None,
    reference_accuracy: "ArrayLike | None" = None,
    thought: "ArrayLike | None" = None,
    thinking_tokens: "ArrayLike | None" = None,
    first_right_tokens: "ArrayLike | None" = None,
    effort: str = "",
    settings: "Mapping[str, object] | None" = None,
    **parameters: Any,
) -> "np.ndarray":
    """What a published reward pays each rollout: the function that training calls, on arrays.

    A flat list is one group, the rollouts of one prompt; of a table each row is a group; with
    ``groups``, a label a rollout, a flat list holds many, of any sizes and in any order. The
    answer has the shape of ``tokens``. ``tersely rewards`` lists names, formulas and parameters.

    Args:
        correct: the verdict, True or 1 where right. Leave out what was not graded.
        tokens: length of the completion, the stop token included.
        finished: ended by itself; None: what is shorter than ``cap_tokens``.
        formatted: an answer could be read; None: of all.
        target_tokens: the target L_T; a number, or one for each group, as the next four.
        cap_tokens: the cap L_R.
        target_weight: the coefficient of length, where a target rule moves it.
        reference_tokens: mean length of a reference policy on the prompt.
        reference_accuracy: its share of right answers there.
        thought: the thinking is not empty.
        thinking_tokens: length of the thinking.
        first_right_tokens: length until a right answer first stands.
        effort: the level of effort that the prompt asks for.
        settings: the reward's own parameters as a dict, for those that are called like an argument
            here, such as ``correct`` of laser_d.
        parameters: the others, such as ``alpha=0.4``.
    Raises:
        ConfigError: reward or setting is unknown or out of bounds, or it needs what is not given.
        DataError: the arrays differ in shape, or hold what no rollout can have.
    """
    from tersely.flows.recipe.arrays import group, join_settings, pay

    check_kind("name", name, str, "a reward's name, such as 'kimi'")
    check_kind("effort", effort, str, "a level's name, such as 'low'")
    return pay(
        name,
        group("tokens", tokens, groups),
        of_rollouts={
            "correct": correct,
            "tokens": tokens,
            "finished": finished,
            "formatted": formatted,
            "thought": thought,
            "thinking_tokens": thinking_tokens,
            "first_right_tokens": first_right_tokens,
        },
        of_groups={
            "target_tokens": target_tokens,
            "cap_tokens": cap_tokens,
            "target_weight": target_weight,
            "reference_tokens": reference_tokens,
            "reference_accuracy": reference_accuracy,
        },
        effort=effort,
        settings=join_settings(settings, parameters),
    )


def advantage(
    name: str,
    *,
    rewards: "ArrayLike",
    groups: "ArrayLike | None" = None,
    keep: "ArrayLike | None" = None,
    correct: "ArrayLike | None" = None,
    mask_scope: str = "everywhere",
    **settings: Any,
) -> "np.ndarray":
    """What the loss uses of each rollout's reward, such as group_normalised or leave_one_out.

    Arrays and ``groups`` are as in ``reward``. A group of one, or of equal rewards, has zero
    advantage in most of them; masked rollouts have zero.

    Args:
        keep: False where a rollout is masked out of the loss; None: all are kept.
        correct: the verdict, for advantages that ask for it.
        mask_scope: whether masked rollouts count in their group's mean: everywhere (they do not),
            or loss-only (they do).
        settings: the advantage's own parameters, such as ``length_weight=0.5``.
    Raises:
        ConfigError: advantage or setting is unknown or out of bounds, or it needs ``correct``.
        DataError: the arrays differ in shape, or a kept reward is not finite.
    """
    from tersely.flows.recipe.arrays import gain, group

    check_kind("name", name, str, "an advantage's name, such as 'group_normalised'")
    return gain(
        name,
        group("rewards", rewards, groups),
        paid=rewards,
        keep=keep,
        correct=correct,
        mask_scope=mask_scope,
        settings=settings,
    )


def trl_hooks(
    recipe: "str | Path | Recipe",
    folder: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
) -> "Hooks":
    """A recipe for a script of your own with TRL: reward, callback and dataset of ``GRPOTrainer``.

    ``hooks.attach(trainer)`` has the trainer use the recipe's advantages and masks as well. Needs
    torch and TRL: ``pip install 'tersely[trl]'``.

    Args:
        folder: a run folder to write records into; None: none are written.
        overrides: settings such as ``target.tokens=40``.
    Raises:
        ConfigError: TRL is missing or not a tested version, or the model cannot be used.
    """
    from tersely.arguments import as_recipe
    from tersely.checking import as_path
    from tersely.flows.trl.hooks import trl_hooks as make

    settings = as_recipe(recipe, overrides)
    return make(settings, None if folder is None else as_path("folder", folder))
