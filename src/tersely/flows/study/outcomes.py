"""A study's results, ready to draw: claims with verdicts, arms with their curves."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tersely.metrics.crossed import Effect
from tersely.metrics.verdicts import ClaimVerdict


class ClaimOutcome(NamedTuple):
    """A claim, what was measured and the verdict.

    Args:
        paper: the figure that the claim rests on.
        expected: its bound in words.
        bound: the same as a number; of ``within`` the upper one.
        unit: pp, %, tokens, nats or nothing; shares are drawn as percentages.
    """

    says: str
    paper: str
    expected: str
    bound: float
    effect: Effect
    verdict: ClaimVerdict
    unit: str


class ArmOutcome(NamedTuple):
    """One arm: its runs' curves over the steps, and what they are worth on held-out problems.

    Args:
        curves: by column, the mean over seeds of each step; runs end at the shortest one's end.
        accuracy_B: accuracy at each budget at the end, over seeds and problems.
        area: under accuracy over log budget.
        tokens: held-out mean length at the end.
        rewarded: share of rollouts with a positive reward in the first 5% of steps, over seeds.
        change: of accuracy at the cap, the end minus the start, over seeds and problems.
        lost: runs whose accuracy at the cap ended more than 0.10 below where it began.
        watched: runs of RL, which lint and the alarms look at.
        foretold: of these, runs that lint named with an error beforehand.
        alarmed: of these, runs that raised an alarm.
        errors: of these, runs that raised one of severity error.
    """

    name: str
    says: str
    seeds: int
    curves: Mapping[str, Float[np.ndarray, " N"]]
    accuracy_B: Sequence[Effect]
    area: Effect
    tokens: Effect
    rewarded: Effect
    change: Effect
    lost: int
    watched: int
    foretold: int
    alarmed: int
    errors: int


class StudyTrace(NamedTuple):
    """What the base model or an arm answered, and whether that was right and ended by itself."""

    by: str
    tokens: int
    right: bool
    text: str


class TracedProblem(NamedTuple):
    """A held-out problem with an answer of the base model and one of each arm's first run."""

    source: str
    question: str
    traces: Sequence[StudyTrace]


class StudyOutcome(NamedTuple):
    """One study: its arms, and what the base model was worth before any of them began."""

    name: str
    title: str
    question: str
    paper: str
    runs_done: int
    runs_wanted: int
    budgets_B: Int[np.ndarray, " B"]
    base_accuracy_B: Sequence[Effect]
    base_area: Effect
    base_tokens: Effect
    arms: Sequence[ArmOutcome]
    claims: Sequence[ClaimOutcome]
    traced: Sequence[TracedProblem] = ()


class Confusion(NamedTuple):
    """A prediction against what happened, counted in runs; "lost" as in ``ArmOutcome``.

    Args:
        lead_steps: median steps from the prediction to the end of the run, of lost runs; NaN
            where it was made before the run.
    """

    name: str
    lost_named: int
    lost_missed: int
    sound_named: int
    sound_silent: int
    lead_steps: float
