"""What stage a run is in, what is wrong, and what to change, in plain sentences."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tersely.dynamics.alarms import (
    Alarm,
    Severity,
    fewest_records,
    first_alarms,
    rules,
    standing_alarms,
)
from tersely.dynamics.alarms.curve_ended import say_ended, say_gaps
from tersely.dynamics.alarms.nothing_learned import say_solved
from tersely.dynamics.decay import DecayShape
from tersely.dynamics.log import StepLog
from tersely.dynamics.stages import FEWEST_STEPS, SMALLEST_FALL, Stages, estimate_stages

# What the rules read, the columns that most need first.
READ = (
    "tokens_mean",
    "accuracy",
    "solved_share",
    "entropy_mean",
    "positive_share",
    "truncated_share",
    "target_tokens",
)
# Alarms that say that accuracy is being lost.
LOSSES = (
    "reasoning collapse",
    "accuracy falling",
    "reward hacking",
    "held out falling",
    "reward falling",
)
# What a stage may have moved: our words for it, and the digits that tell it.
EFFECTS = {
    "accuracy": ("accuracy", 3),
    "positive_share": ("rewarded share", 3),
    "entropy_mean": ("entropy", 3),
    "thinking_tokens_mean": ("tokens of thinking", 1),
    "reply_tokens_mean": ("tokens of reply", 1),
    "after_right_tokens_mean": ("tokens after the first right answer", 1),
}
FEWEST_OF_A_STAGE = 5


class Diagnosis(NamedTuple):
    """The diagnosis of a step log.

    Args:
        stage: of the last step, in a sentence.
        effects: what each stage did to accuracy, rewarded share, entropy and the parts of length,
            a sentence each.
        alarms: each at the step where it was first raised.
        unknown: what cannot be said, and why.
        looked, rules: how many of how many alarms could be raised on this log.
    """

    steps: int
    last_step: int
    stages: Stages
    stage: str
    effects: list[str]
    alarms: list[Alarm]
    unknown: list[str]
    looked: int
    rules: int

    @property
    def no_alarm(self) -> str:
        """What to say where nothing was found, and how much that means; empty elsewhere."""
        return "" if self.alarms else f"No alarm; {self.looked} of {self.rules} rules could look."

    def __repr__(self) -> str:
        alarms = [
            f"{alarm.severity}: {alarm.name}, first seen at step {alarm.step}\n"
            f"  Seen: {alarm.evidence}.\n  Why: {alarm.reason}.\n  Change: {alarm.advice}."
            for alarm in self.alarms
        ]
        return "\n".join(
            [
                f"{self.steps:,} records, the last of step {self.last_step}",
                self.stage,
                *(f"• {effect}" for effect in self.effects),
                *(alarms or [self.no_alarm]),
                *(f"Note: {each}" for each in self.unknown),
            ]
        )


def diagnose(log: StepLog, *, before: Diagnosis | None = None) -> Diagnosis:
    """Stages, alarms, and what this log cannot show.

    Args:
        before: of this log when it was shorter, so that only what came since is looked at.
    """
    tokens_N = log.get("tokens_mean")
    blank_N = np.full(log.step_N.shape, np.nan)
    stages = estimate_stages(log.step_N, blank_N if tokens_N is None else tokens_N)
    alarms, fewest = _alarms(log, before), fewest_records(log, rules())
    standing = [alarm for alarm in standing_alarms(log) if alarm.severity is Severity.ERROR]
    return Diagnosis(
        steps=log.step_N.size,
        last_step=int(log.step_N[-1]) if log.step_N.size else -1,
        stages=stages,
        stage=_say_stage(log, stages, errors=[alarm.name for alarm in standing]),
        effects=_say_effects(log, stages),
        alarms=alarms,
        unknown=_say_unknown(log),
        looked=sum(not r.missing(log) and log.step_N.size >= fewest[r.name] for r in rules()),
        rules=len(rules()),
    )


def _alarms(log: StepLog, before: Diagnosis | None) -> list[Alarm]:
    """Each at the step where it was first raised. A log that went back is looked at as a whole."""
    at = 0 if before is None else before.steps
    if before is None or not 0 < at <= log.step_N.size or log.step_N[at - 1] != before.last_step:
        return first_alarms(log)
    known = {alarm.name for alarm in before.alarms}
    new = (alarm for alarm in first_alarms(log, since=at) if alarm.name not in known)
    return [*before.alarms, *new]


def _say_stage(log: StepLog, stages: Stages, *, errors: Sequence[str]) -> str:
    if log.step_N.size < FEWEST_STEPS or log.get("tokens_mean") is None:
        return "The stage is not known."
    last = log.step_N[-1]
    if not np.isfinite(stages.stage_end_step):
        return f"{_say_no_end(log, stages.shape)} over {log.step_N.size} records."
    fell = (
        f"length falls from {stages.initial_tokens:,.0f} towards {stages.plateau_tokens:,.0f} "
        f"tokens with a time constant of {stages.tau_steps:.0f} steps"
    )
    end = (
        f"step {stages.stage_end_step:.0f} [{stages.end_low:.0f}, {stages.end_high:.0f}] "
        "(95%, profile likelihood)"
    )
    if last < stages.stage_end_step:
        return f"Length adaptation: {fell}; it should end about {end}."
    tail = {
        DecayShape.DRIFT: "; length has drifted on since",
        DecayShape.REBOUND: f"; length has risen since step {stages.break_step:.0f}",
        DecayShape.RESTART: f"; length jumped back at step {stages.break_step:.0f}",
    }.get(stages.shape, "")
    now = "Reasoning refinement"
    if set(errors) & set(LOSSES):
        now = "Length has adapted, and no refinement follows"
    elif errors:
        now = f"Length has adapted; this is no refinement while an error stands ({errors[0]})"
    return f"{now}: {fell}; stage one ended about {end}{tail}."


def _say_no_end(log: StepLog, shape: DecayShape) -> str:
    """What length does where no end of a stage can be told."""
    none = "No length adaptation is seen: length"
    if shape is DecayShape.CONSTANT:
        return f"{none} is steady"
    if shape is not DecayShape.LINE:
        return f"{none} has not fallen by a fifth, or along no curve that is known"
    tokens_N = log.columns["tokens_mean"]
    known_N = np.isfinite(tokens_N)
    slope, level = np.polyfit(log.step_N[known_N], tokens_N[known_N], 1)
    first, last = (level + slope * log.step_N[known_N][end] for end in (0, -1))
    if last > (1 - SMALLEST_FALL) * first:
        return f"{none} moves along a line"
    return (
        f"No end of length adaptation is seen: length falls from {first:,.0f} to "
        f"{max(last, 0):,.0f} tokens without levelling off"
    )


def _say_effects(log: StepLog, stages: Stages) -> list[str]:
    end = stages.stage_end_step
    parts = []
    for name, (words, digits) in EFFECTS.items():
        values_N = log.get(name)
        if values_N is None or not np.isfinite(end):
            continue
        for stage, inside_N in (("one", log.step_N <= end), ("two", log.step_N > end)):
            known_N = values_N[inside_N & np.isfinite(values_N)]
            if known_N.size < 2 * FEWEST_OF_A_STAGE:
                continue
            first, last = known_N[:FEWEST_OF_A_STAGE], known_N[-FEWEST_OF_A_STAGE:]
            change = float(last.mean() - first.mean())
            half = 1.96 * float(np.sqrt((first.var(ddof=1) + last.var(ddof=1)) / first.size))
            parts.append(
                f"Stage {stage}: {words} {first.mean():.{digits}f} → {last.mean():.{digits}f} "
                f"({change:+.{digits}f} ± {half:.{digits}f}, five records at each end)."
            )
    return parts


def _say_silent(log: StepLog) -> list[str]:
    """Which alarms cannot be raised for want of what, and what would let them."""
    lacking = {rule.name: rule.missing(log) for rule in rules()}
    every = {name for names in lacking.values() for name in names}
    columns = [n for n in READ if n in every or log.get(n) is None]
    columns += sorted(every - set(READ) - {"staleness"})
    silent = [rule for rule, names in lacking.items() if set(names) - {"staleness"}]
    said = []
    if columns:
        said.append(
            f"Not in the log: {', '.join(columns)}; silent for that: "
            f"{', '.join(silent) or 'none'}. "
            f"Where a column of yours is one, say for instance --column {columns[0]}=NAME."
        )
    if any(names == ("staleness",) for names in lacking.values()):
        said.append(
            "The updates a batch (S) are not known; silent for that: staleness drift. Say for "
            "instance --staleness 4."
        )
    return said


def _say_few(log: StepLog) -> list[str]:
    """Whether the log is too short, in records, of which a log may have one every ten steps."""
    usual = [rule for rule in rules() if rule.fewest is None]
    count, alarms = log.step_N.size, max(fewest_records(log, usual).values())
    lacking = {"stages": FEWEST_STEPS, "alarms": alarms}
    said = " and ".join(f"{what} ({least})" for what, least in lacking.items() if count < least)
    if not said:
        return []
    over = f" (steps {log.step_N[0]:.0f} to {log.step_N[-1]:.0f})" if count > 1 else ""
    return [f"{count} records{over} are too few for {said}."]


def _say_unknown(log: StepLog) -> list[str]:
    unknown = _say_few(log)
    blank = [n for n in (*READ, "loss", "grad_norm") if n in log.columns and log.get(n) is None]
    unknown += _say_silent(log)
    if blank:
        unknown.append(f"Without a finite value at any step: {', '.join(blank)}.")
    if ended := say_ended(log):
        unknown.append(f"{ended} to {log.step_N[-1]:.0f}, the last.")
    unknown += say_gaps(log)
    if solved := say_solved(log):
        unknown.append(solved)
    if log.repeated_steps:
        unknown.append(f"{log.repeated_steps} records were superseded by a restart and left out.")
    difficulty = log.get("difficulty")
    if difficulty is not None and np.nanmax(difficulty) > np.nanmin(difficulty):
        unknown.append(
            "The log says that its prompts change in difficulty: where they became harder, a fall "
            "of accuracy is not taken for a loss; held-out accuracy (eval_accuracy) would tell."
        )
    return [*unknown, *log.notes]
