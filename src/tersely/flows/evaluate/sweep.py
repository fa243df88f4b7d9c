"""``tersely sweep``: the same problems and seeds at every level, in one folder."""

import json
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tersely.core.errors import ConfigError, EngineError, shortened
from tersely.core.lock import contents, lock_folder
from tersely.core.manifest import FILE, EvaluationManifest, read_manifest
from tersely.core.types import EvalRecord, Problem, StepRecord, StepTiming
from tersely.dynamics.alarms import Alarm
from tersely.engines.http.request import OWN_KEYS, Chunk, check_endpoint
from tersely.engines.http.sampler import HTTPSampler
from tersely.engines.http.template import SETTINGS
from tersely.flows.evaluate.levels import check_levels, describe_sends, is_set, merge
from tersely.flows.evaluate.plan import Plan, check_plan
from tersely.flows.evaluate.session import load_benchmark, run_evaluation, say_repeats
from tersely.flows.observer import Observer
from tersely.readers.evaluations import RECORDS_FILE
from tersely.readers.sweeps import (
    SWEEP_FILE,
    SweepKind,
    SweepLevel,
    SweepRecord,
    is_sweep,
    read_sweep,
    write_sweep,
)
from tersely.tasks.problems import digest

log = logging.getLogger(__name__)
_FIELD_OPTIONS = {SweepKind.EFFORTS: "effort", SweepKind.BUDGETS: "budget"}
_FIELDS = {
    kind: f"; where the server has another name for it, give that with --{option}-field"
    for kind, option in _FIELD_OPTIONS.items()
}
_STATUS = re.compile(r"HTTP \d{3}")
# Of a request that only asks whether the server takes one at all.
PROBE_TOKENS = 16
OnFirst = Callable[[Problem, EvalRecord], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The levels of a sweep, and the evaluation that each of them is but for its level.

    ``plan.out`` is the folder of the sweep.
    """

    plan: Plan
    kind: SweepKind
    levels: tuple[SweepLevel, ...]

    def plan_of(self, level: SweepLevel) -> Plan:
        """The evaluation of one level."""
        plan, sends = self.plan, level.sends
        if plan.endpoint is not None:
            sends = merge(plan.endpoint.extra_body, sends)
            rest = {key: value for key, value in sends.items() if key != SETTINGS}
            plan = replace(plan, endpoint=replace(plan.endpoint, extra_body=rest))
        template = sends.get(SETTINGS)
        return replace(
            plan,
            out=self.plan.out / level.name,
            chat_template_kwargs=merge(plan.chat_template_kwargs, template or {}),  # type: ignore[arg-type]
            system_prompt=level.system_prompt or plan.system_prompt,
            phrase=level.phrase,
        )


def check_sweep(sweep: Sweep) -> None:
    """Refuses levels that cannot be, or that the engine cannot take, before anything is done.

    Raises:
        ConfigError: naming the level, the bound and the fix.
    """
    check_levels(sweep.levels, option=f"--{sweep.kind}")
    given = any(level.system_prompt is not None for level in sweep.levels)
    if given and sweep.plan.system_prompt is not None:
        raise ConfigError(
            f"--system-prompt and {'--prompts' if sweep.kind is SweepKind.PROMPTS else '--recipe'} "
            "both give the system prompt; leave out --system-prompt"
        )
    for level in sweep.levels:
        _check_own(sweep, level)
        _check_sends(sweep, level)
        plan = sweep.plan_of(level)
        check_plan(plan)
        if plan.endpoint is not None:
            check_endpoint(plan.endpoint)
    _check_different(sweep)


def _check_different(sweep: Sweep) -> None:
    """ConfigError where two levels would send the same: they are one level under two names."""
    seen: dict[str, str] = {}
    for level in sweep.levels:
        plan = sweep.plan_of(level)
        body = plan.endpoint.extra_body if plan.endpoint is not None else {}
        sent = [body, plan.chat_template_kwargs, plan.system_prompt, level.phrase]
        asked = json.dumps(sent, sort_keys=True)
        # 1 and 1.0 are one number.
        asked = json.dumps(json.loads(asked, parse_int=float), sort_keys=True)
        other = seen.setdefault(asked, level.name)
        if other != level.name:
            raise ConfigError(
                f"--{sweep.kind}: the levels {other!r} and {level.name!r} send the same "
                f"({describe_sends(level)}), with what all levels send; drop one, or change what "
                "it sends"
            )


def _check_own(sweep: Sweep, level: SweepLevel) -> None:
    """A level changes neither what other options set nor, unsaid, what all levels send."""
    own = sorted(OWN_KEYS & level.sends.keys())
    if own:
        raise ConfigError(
            f"--{sweep.kind}: the level {level.name!r} by its extra_body sets {own}, which the "
            "sampling settings set for all levels; leave it out, and for other sampling settings "
            "run tersely eval once with each"
        )
    option = _FIELD_OPTIONS.get(sweep.kind)
    endpoint = sweep.plan.endpoint
    base = merge(endpoint.extra_body if endpoint is not None else {}, {})
    if sweep.plan.chat_template_kwargs:
        base = merge(base, {SETTINGS: sweep.plan.chat_template_kwargs})
    if option is not None and is_set(base, level.sends):
        raise ConfigError(
            f"--extra-body or --chat-template-kwargs sets already what --{sweep.kind} sends in "
            f"the field of --{option}-field ({describe_sends(level)}); take it out there, or name "
            f"another field with --{option}-field"
        )


def _check_sends(sweep: Sweep, level: SweepLevel) -> None:
    """A model in this process takes no requests, and its template's settings are an object."""
    endpoint = sweep.plan.endpoint
    base = endpoint.extra_body if endpoint is not None else {}
    template = merge(base, level.sends).get(SETTINGS, {})
    if not isinstance(template, dict):
        raise ConfigError(
            f"the level {level.name!r}: {SETTINGS} is {shortened(template)!r}, and must be an "
            'object; write it as {"reasoning_effort": "low"}'
        )
    others = sorted(level.sends.keys() - {SETTINGS})
    if others and endpoint is None:
        raise ConfigError(
            f"the level {level.name!r} sends {others[0]}, which only servers take: give "
            f"--endpoint, or the name under which the model's chat template reads it, as in "
            f"--{'budget' if sweep.kind is SweepKind.BUDGETS else 'effort'}-field {SETTINGS}.NAME"
        )


def run_sweep(sweep: Sweep, *, observer: Observer, on_first: OnFirst | None = None) -> SweepRecord:
    """Samples and grades at each level what its folder does not hold yet.

    A level that the server refuses, or that fails otherwise, is written down with the reason, and
    the others go on; the same command asks for it again. A server that refuses the first of them
    whatever its level is not asked for the others.

    Returns:
        The levels, with why nothing came of those that failed.

    Raises:
        ConfigError: the folder is of another sweep, or settings cannot be used as given.
        EngineError: every level failed, or the server has no such model or takes no request at all.
    """
    check_sweep(sweep)
    problems = load_benchmark(sweep.plan.benchmark, limit=sweep.plan.limit)
    say_repeats(sweep.plan, problems)
    with lock_folder(sweep.plan.out):
        record = _open(sweep, problems)
        for place, level in enumerate(sweep.levels, start=1):
            told = LevelObserver(observer, f"{level.name} ({place} of {len(sweep.levels)})")
            try:
                run_evaluation(
                    sweep.plan_of(level),
                    observer=told,
                    on_first=on_first if place == 1 else None,
                    problems=problems,
                )
                reason = None
            except EngineError as error:
                if place == 1 and _fails_anyway(sweep, problems[0], error):
                    raise
                reason = str(error)
                log.warning("level %s failed: %s", level.name, reason)
            if record.levels[place - 1].refused != reason:
                record = record.with_refusal(level.name, reason)
                write_sweep(sweep.plan.out, record)
        failed = [level for level in record.levels if level.refused is not None]
        if len(failed) == len(record.levels):
            raise EngineError(
                f"every level failed; the first, {failed[0].name}: {failed[0].refused}"
                f"{_fix(sweep.kind, str(failed[0].refused))}"
            )
    return record


def _fails_anyway(sweep: Sweep, problem: Problem, failed: EngineError) -> bool:
    """Whether the server fails a request in the same way that has nothing of a level.

    Raises:
        EngineError: it is not there, refuses the key, or has no such model.
    """
    plan = sweep.plan
    if plan.server is None:
        return False
    sampler = HTTPSampler(plan.server)
    sampler.check()
    status = _STATUS.search(str(failed))
    if status is None:
        return False
    spec = replace(plan.spec, cap_tokens=min(plan.spec.cap_tokens, PROBE_TOKENS))
    try:
        sampler.ask(Chunk(plan.asked([problem])[0], (0,)), spec)
    except EngineError as error:
        return status[0] in str(error)
    return False


def _fix(kind: SweepKind, refused: str) -> str:
    """What to try where a request itself was refused."""
    of_request = any(status in refused for status in ("HTTP 400", "HTTP 422"))
    return _FIELDS.get(kind, "") if of_request else ""


def _open(sweep: Sweep, problems: Sequence[Problem]) -> SweepRecord:
    """The sweep that the folder holds, begun or continued; levels may be added to it.

    Raises:
        ConfigError: it holds something else, other levels, or levels of other problems.
    """
    folder = sweep.plan.out
    if not is_sweep(folder) or not _is_begun(folder):
        if not is_sweep(folder) and (others := contents(folder)):
            raise ConfigError(
                f"{folder} exists and is no sweep (it holds {others[0]}); choose another --out"
            )
        record = SweepRecord(kind=sweep.kind, levels=sweep.levels)
        write_sweep(folder, record)
        return record
    there = read_sweep(folder)
    _check_same_levels(sweep, there)
    _check_same_problems(sweep, problems)
    refused = {level.name: level.refused for level in there.levels}
    levels = (replace(each, refused=refused.get(each.name)) for each in sweep.levels)
    record = SweepRecord(kind=sweep.kind, levels=tuple(levels))
    if record != there:
        write_sweep(folder, record)
    return record


def _is_begun(folder: Path) -> bool:
    """Whether a level has samples; a list without any is of a sweep that was refused at once."""
    files = (folder / level.name / RECORDS_FILE for level in read_sweep(folder).levels)
    return any(file.is_file() and file.stat().st_size for file in files)


def _check_same_levels(sweep: Sweep, there: SweepRecord) -> None:
    folder = sweep.plan.out
    if there.kind is not sweep.kind:
        raise ConfigError(
            f"{folder} is a sweep over {there.kind!s}, not over {sweep.kind!s}; choose another "
            "--out"
        )
    asked = {level.name: replace(level, refused=None) for level in sweep.levels}
    for level in there.levels:
        here = asked.get(level.name)
        if here is None:
            raise ConfigError(
                f"{folder / SWEEP_FILE} holds the level {level.name!r}, which is not asked for "
                "now; name it as well (levels may be added, not dropped), or choose another --out"
            )
        if here != replace(level, refused=None):
            raise ConfigError(
                f"cannot resume {folder}: the level {level.name!r} sends something else now than "
                f"in {SWEEP_FILE}; give it another name, or choose another --out"
            )


def _check_same_problems(sweep: Sweep, problems: Sequence[Problem]) -> None:
    """Before anything is asked: levels of other problems could not be compared."""
    for level in sweep.levels:
        folder = sweep.plan.out / level.name
        if not (folder / FILE).is_file():
            continue
        with suppress(OSError):
            there = read_manifest(folder, EvaluationManifest).benchmark_digest
            here = digest(problems)
            if here != there:
                raise ConfigError(
                    f"cannot resume {sweep.plan.out}: the level {level.name} was sampled on other "
                    f"problems (digest {there}, and {here} now); choose another --out"
                )


@dataclass(frozen=True, slots=True)
class LevelObserver:
    """Passes events on, with the level that they are of."""

    inner: Observer
    level: str

    def on_sampling(self, what: str, total: int, done: int) -> None:
        """A level's samples begin."""
        self.inner.on_sampling(f"{what} {self.level}", total, done)

    def on_sample(self, record: EvalRecord | None) -> None:
        """One more sample of the level."""
        self.inner.on_sample(record)

    def on_step(self, record: StepRecord, timing: StepTiming, *, steps: int) -> None:
        """A sweep has none."""

    def on_evaluation(self, step: int, records: Sequence[EvalRecord]) -> None:
        """A sweep has none but its levels."""

    def on_alarm(self, alarm: Alarm) -> None:
        """A sweep has none."""

    def wants_stop(self) -> bool:
        """As the inner one."""
        return self.inner.wants_stop()
