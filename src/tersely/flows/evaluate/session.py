"""``tersely eval``: one folder, one sampling pass, every sample kept as it ends."""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tersely.core import jsonl
from tersely.core.digests import DIGESTS_FILE, check_digests, note_digests
from tersely.core.errors import ConfigError, DataError, TerselyWarning
from tersely.core.lock import contents, lock_folder
from tersely.core.manifest import (
    FILE,
    EvaluationManifest,
    check_left_over,
    check_same,
    read_manifest,
    say_uncompared,
    write_manifest,
)
from tersely.core.types import Completion, EvalRecord, Finish, Problem
from tersely.engines.folders import lab_then
from tersely.engines.http.sampler import HTTPSampler
from tersely.flows.evaluate.continued import ServedAnswers
from tersely.flows.evaluate.forced import GoesOn, LocalAnswers, force_answers
from tersely.flows.evaluate.local import TOKENS_FILE, local_source
from tersely.flows.evaluate.plan import Plan, check_plan, describe, facts_of
from tersely.flows.evaluate.records import (
    Source,
    append_missing,
    drop_failed,
    record_of,
)
from tersely.flows.evaluate.served import Served
from tersely.flows.observer import Observer
from tersely.flows.recipe.problems import training_problems
from tersely.flows.recipe.recipe import RECIPE_FILE, read_recipe
from tersely.lab.problems import SETS, Split, draw_set
from tersely.metrics.budgets import Protocol
from tersely.metrics.numbers import count
from tersely.readers.evaluations import FORCED_FILE, PROBLEMS_FILE, RECORDS_FILE
from tersely.tasks import grading, sources
from tersely.tasks.repeats import check_set, say_shared

log = logging.getLogger(__name__)
LAB_PROBLEMS = 400
FINISHED_FILES = (RECORDS_FILE, FORCED_FILE, PROBLEMS_FILE)
# Sampled pieces (a list of strings) are twice as large as the text: for one sample a problem.
SAMPLES_WITH_PIECES = 1


def load_benchmark(name: str, *, limit: int | None = None) -> list[Problem]:
    """The problems of a benchmark: 400 held-out ones of the lab's, or as ``tasks.sources`` has it.

    Raises:
        ConfigError: there is no such set or file.
        DataError: a row is not a problem, or there is none.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit} is below 1; give at least one problem")
    if name in SETS:
        problems = draw_set(name, count=LAB_PROBLEMS, seed=0, split=Split.TEST)
    else:
        problems = sources.load(name)
    for problem in problems:
        grading.load(problem.grader)
    return problems[:limit]


def run_evaluation(
    plan: Plan,
    *,
    observer: Observer,
    on_first: Callable[[Problem, EvalRecord], None] | None = None,
    problems: Sequence[Problem] | None = None,
) -> None:
    """Samples and grades what the folder does not hold yet.

    Through a server, the first samples are judged before the rest is asked for
    (:mod:`tersely.flows.evaluate.preflight`).

    Args:
        on_first: called with the first sample of a new evaluation.
        problems: these, instead of the plan's benchmark; the caller deals with prompts that stand
            twice.
    Raises:
        ConfigError: the folder belongs to another evaluation, naming the first difference, or
            model, benchmark or settings cannot be used as given.
        DataError: gold answers that their own grader does not take for right.
        EngineError: the model or the server cannot do it, or its first samples show that figures
            would be wrong; what was sampled is kept.
    """
    with lock_folder(plan.out):
        check_digests(plan.out, FINISHED_FILES)
        plan = _as_then(plan)
        check_plan(plan)
        if problems is None:
            problems = load_benchmark(plan.benchmark, limit=plan.limit)
            say_repeats(plan, problems)
        _evaluate(plan, problems, observer=observer, on_first=on_first)
        files = {name: file for name in FINISHED_FILES if (file := plan.out / name).is_file()}
        note_digests(plan.out, files)


def _as_then(plan: Plan) -> Plan:
    """The plan with the model that was called "lab" when its folder was begun."""
    if plan.endpoint is not None or not (plan.out / FILE).is_file():
        return plan
    files = read_manifest(plan.out, EvaluationManifest).files
    return plan if files is None else replace(plan, model=lab_then(plan.model, files.model_digest))


def _evaluate(
    plan: Plan,
    problems: Sequence[Problem],
    *,
    observer: Observer,
    on_first: Callable[[Problem, EvalRecord], None] | None,
) -> None:
    made_of = _check_folder(plan, problems, describe(plan, problems))
    planned = len(problems) * plan.spec.samples
    if _count(plan.out / RECORDS_FILE) >= planned and plan.protocol is not Protocol.FORCED:
        if plan.endpoint is not None:
            (plan.out / DIGESTS_FILE).unlink(missing_ok=True)
            _served(plan, problems).check()
        return
    grading.refuse_bad_gold(problems)
    source, engine = (_local if plan.endpoint is None else _remote)(plan, problems)
    _open_folder(plan, problems, made_of, planned=planned)
    observer.on_sampling("sampling", planned, _count(plan.out / RECORDS_FILE))
    _sample_missing(plan, problems, source, made_of, observer=observer, on_first=on_first)
    if plan.protocol is Protocol.FORCED:
        force_answers(plan, problems, engine, observer=observer, file=plan.out / FORCED_FILE)


def _check_folder(
    plan: Plan, problems: Sequence[Problem], made_of: EvaluationManifest
) -> EvaluationManifest:
    """What the samples are made of; refuses a folder that is another's, and takes failed samples
    out of one where they are to be asked for again.

    Raises:
        ConfigError: the folder belongs to something else, or to another evaluation.
    """
    if not (plan.out / FILE).is_file():
        if others := [name for name in contents(plan.out) if name != PROBLEMS_FILE]:
            raise ConfigError(
                f"{plan.out} exists and is no evaluation (it holds {others[0]}); choose another "
                "--out"
            )
        lines = jsonl.as_lines(problems, path=plan.out / PROBLEMS_FILE)
        check_left_over(plan.out / PROBLEMS_FILE, lines)
        return made_of
    there = read_manifest(plan.out, EvaluationManifest)
    if not _count(plan.out / RECORDS_FILE):
        return made_of
    if plan.endpoint is None:
        # Its contents are compared; where the folder lies is no part of what it is.
        made_of = replace(made_of, model=there.model)
    say_uncompared(check_same(made_of, there, folder=plan.out), folder=plan.out)
    if plan.retry_failed:
        _ask_again(plan.out)
    return made_of


def _open_folder(
    plan: Plan, problems: Sequence[Problem], made_of: EvaluationManifest, *, planned: int
) -> None:
    """Writes what a folder begins with; one in which nothing was sampled is begun anew."""
    if not _count(plan.out / RECORDS_FILE):
        write_manifest(plan.out, replace(made_of, facts=facts_of(plan, planned)))
        (plan.out / PROBLEMS_FILE).unlink(missing_ok=True)
    if not (plan.out / PROBLEMS_FILE).is_file():
        jsonl.write(plan.out / PROBLEMS_FILE, problems)
    # What was finished may change from here on.
    (plan.out / DIGESTS_FILE).unlink(missing_ok=True)


def _sample_missing(
    plan: Plan,
    problems: Sequence[Problem],
    source: Source,
    made_of: EvaluationManifest,
    *,
    observer: Observer,
    on_first: Callable[[Problem, EvalRecord], None] | None,
) -> None:
    by_id = {problem.id: problem for problem in problems}
    file = plan.out / RECORDS_FILE
    # The folder may have been renamed since.
    run = read_manifest(plan.out, EvaluationManifest).facts.name or plan.out.resolve().name
    waiting = [on_first] if on_first is not None and not _count(file) else []

    def on_record(record: EvalRecord) -> None:
        while waiting and record.finish is not Finish.ERROR:
            waiting.pop()(by_id[record.problem], record)
        observer.on_sample(record)

    append_missing(
        file,
        source,
        make_record=lambda c: replace(
            _record(plan, by_id[c.problem_id], c, run=run), model=made_of.model
        ),
        on_record=on_record,
    )


def _ask_again(folder: Path) -> None:
    """Takes failed samples out of the records, so that they are asked for like missing ones."""
    (folder / DIGESTS_FILE).unlink(missing_ok=True)
    failed = drop_failed(folder / RECORDS_FILE)
    if failed:
        log.warning("asking again for %s that failed", count(failed, "sample"))


def say_repeats(plan: Plan, problems: Sequence[Problem]) -> None:
    """Warns of problems that stand twice, or that the model of a run folder was trained on.

    Raises:
        DataError: too large a share stands twice.
    """
    said = [check_set(problems, name=plan.benchmark)]
    # The model of a run is RUN/checkpoints/STEP; the parent of the root is the root.
    recipe_file = Path(plan.model).absolute().parent.parent / RECIPE_FILE
    if plan.endpoint is None and recipe_file.is_file():
        try:
            trained = training_problems(read_recipe(recipe_file))
        except (ConfigError, DataError) as error:
            said.append(f"whether {plan.benchmark} was trained on is not known: {error}")
        else:
            shared = say_shared(problems, trained)
            said.append(f"{plan.benchmark}: {shared} of {recipe_file.parent}." if shared else None)
    for line in filter(None, said):
        warnings.warn(line, TerselyWarning, stacklevel=2)


def _record(plan: Plan, problem: Problem, completion: Completion, *, run: str) -> EvalRecord:
    return record_of(
        problem,
        completion,
        spec=plan.spec,
        run=run,
        with_text=True,
        with_pieces=completion.sample < SAMPLES_WITH_PIECES,
        model=plan.model,
        prefix_budgets=plan.budgets if plan.protocol is Protocol.ANSWERED else (),
    )


def _local(plan: Plan, problems: Sequence[Problem]) -> tuple[Source, GoesOn]:
    source, local = local_source(plan, problems)
    return source, LocalAnswers(local, plan.close_text)


def _remote(plan: Plan, problems: Sequence[Problem]) -> tuple[Source, GoesOn]:
    served = _served(plan, problems)
    HTTPSampler(served.endpoint).check()
    made = _count(plan.out / RECORDS_FILE)
    kept = f"{count(made, 'sample')} in {plan.out} stay (tersely report --protocol finished); "
    answers = ServedAnswers(
        endpoint=served.endpoint,
        spec=plan.spec,
        first=problems[0],
        close_text=plan.close_text,
        kept=kept if made else "",
    )
    if plan.protocol is Protocol.FORCED and made < len(problems) * plan.spec.samples:
        answers.prepare()
    return served.sample, answers


def _served(plan: Plan, problems: Sequence[Problem]) -> Served:
    assert plan.server is not None
    by_id = {problem.id: problem for problem in problems}
    return Served(
        endpoint=plan.server,
        problems=plan.asked(problems),
        spec=plan.spec,
        file=plan.out / RECORDS_FILE,
        accept_first=plan.accept_first,
        grade=lambda c, run: _record(plan, by_id[c.problem_id], c, run=run),
        tokens_file=None if plan.protocol is Protocol.FINISHED else plan.out / TOKENS_FILE,
    )


def _count(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0
