"""The records that all parts of the package exchange.

Arrays end in their axes: G samples of a group, B rows, T tokens. Lengths are tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int


class Finish(StrEnum):
    """Why a rollout ended. Use this for truncation, never ``tokens == cap``.

    UNKNOWN is for samples of other tools' files that state neither why they ended nor a cap.
    """

    STOP = "stop"
    LENGTH = "length"
    ERROR = "error"
    UNKNOWN = "unknown"


class Grade(StrEnum):
    """The grader's result. UNGRADED is not WRONG: such samples are left out and counted."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSED = "unparsed"
    UNGRADED = "ungraded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What stands before the question in a chat: the system's instructions, or worked examples."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One question with a verifiable answer. ``difficulty`` is on the source's own scale.

    ``reference_tokens`` and ``reference_accuracy`` are a reference policy's mean length and share
    of right answers on it, for rewards that compare with one. ``earlier`` are the messages before
    the prompt, which is the chat's last message, of the user. ``effort`` is the level of effort
    that the prompt asks for. ``place`` is where it was read
    (``file:line``), for errors to name; it is not stored.
    """

    id: str
    prompt: str
    answer: str
    source: str
    grader: str = "exact"
    difficulty: float | None = None
    reference_tokens: float | None = None
    reference_accuracy: float | None = None
    earlier: tuple[Message, ...] = ()
    effort: str | None = None
    place: str | None = field(default=None, compare=False, metadata={"stored": False})

    @property
    def chat(self) -> list[dict[str, str]]:
        """All messages in order, as chat templates and servers take them."""
        said = [{"role": message.role, "content": message.content} for message in self.earlier]
        return [*said, {"role": "user", "content": self.prompt}]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSpec:
    """How to sample. ``cap_tokens`` is the cap L_R on completion tokens, stop token included.

    ``temperature`` 0 is greedy; ``top_p`` 1 and ``top_k`` 0 are off. Every random number is a
    function of (seed, problem id, sample index, position), never of the batch.
    """

    samples: int
    cap_tokens: int
    seed: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    policy_step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One sampled completion. ``completion_ids`` includes the stop token when there is one.

    ``logprobs`` are of the sampled tokens under the temperature-scaled, untruncated policy;
    ``entropy`` is that policy's mean entropy over the completion, in nats per token.
    ``text`` is the decoded completion without the stop token, just as it was sampled.
    ``thinking_open``: the prompt ended inside the thinking, so the completion begins there.
    """

    problem_id: str
    sample: int
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: Float[np.ndarray, " T"]
    entropy: float
    finish: Finish
    policy_step: int
    text: str
    thinking_open: bool = False

    @property
    def tokens(self) -> int:
        """Completion tokens, stop token included."""
        return len(self.completion_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One sampled completion as an evaluation needs it, from whatever engine.

    ``text`` holds thinking and answer in order, without the stop token; ``tokens`` is the
    engine's own count, stop token included where the engine counts it. ``pieces`` is the decoded
    text of each token, in order; None from engines that do not give token ids.
    ``thinking_open``: the prompt ended inside the thinking, so ``text`` begins there.
    ``thinking_tokens``: those up to the end of the thinking, its mark included; 0 without any,
    all if it never ended, None where the engine does not tell.
    ``failure``: why the sample could not be made; it then has no text and no tokens.
    ``endpoint``: the server that made it. ``prompt_tokens`` by the server's count, ``prompt_ids``
    and ``completion_ids`` where it tells them; None where nobody asked, or it does not.
    """

    problem_id: str
    sample: int
    text: str
    tokens: int
    finish: Finish
    pieces: tuple[str, ...] | None = None
    thinking_open: bool = False
    thinking_tokens: int | None = None
    failure: str | None = None
    endpoint: str | None = None
    prompt_tokens: int | None = None
    prompt_ids: tuple[int, ...] | None = None
    completion_ids: tuple[int, ...] | None = None


OnCompletion = Callable[[Completion], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A grade and the answer it was given to (None when none was found).

    ``score`` is the share of tests passed, 0 to 1, where an answer is tested in parts; else None.
    """

    grade: Grade
    extracted: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All rollouts of one problem in one step, with their verdicts, in sample order."""

    problem: Problem
    rollouts: tuple[Rollout, ...]
    verdicts: tuple[Verdict, ...]


GroupNumber: TypeAlias = float | Float[np.ndarray, "... 1"]


class GroupView(NamedTuple):
    """All that a reward may see of a group, or of P groups of one size.

    Of P groups, arrays are (P, G) and numbers (P, 1); see ``core.stacks``.

    Args:
        correct_G: the grader's verdict on the final answer.
        tokens_G: completion tokens, stop token included.
        finished_G: ended by itself, not by the cap.
        formatted_G: an answer could be read off the completion.
        target_tokens: the target length L_T; NaN if the recipe sets none.
        cap_tokens: the sampling cap L_R.
        weight: a length coefficient that a target rule moves; NaN if none does.
        reference_tokens: mean length of a reference policy on this prompt; NaN if not given.
        reference_accuracy: its share of right answers there; NaN if not given.
        thought_G: the thinking is not empty; None if this was not checked.
        thinking_G: tokens up to the end of the thinking, its mark included; None if not counted.
        first_right_G: tokens until a right answer first stands, all of them where none does; None
            if it was not looked for.
        pay_unfinished: a rollout that was cut with its answer already written may be right.
        effort: the level of effort that the prompt asks for; empty if none.
        problem: the problem's id, for targets that keep state; a reward must not use it.
    """

    correct_G: Bool[np.ndarray, "... G"]
    tokens_G: Int[np.ndarray, "... G"]
    finished_G: Bool[np.ndarray, "... G"]
    formatted_G: Bool[np.ndarray, "... G"]
    target_tokens: GroupNumber = np.nan
    cap_tokens: GroupNumber = np.nan
    weight: GroupNumber = np.nan
    reference_tokens: GroupNumber = np.nan
    reference_accuracy: GroupNumber = np.nan
    thought_G: Bool[np.ndarray, "... G"] | None = None
    thinking_G: Int[np.ndarray, "... G"] | None = None
    first_right_G: Int[np.ndarray, "... G"] | None = None
    pay_unfinished: bool = False
    effort: str = ""
    problem: str = ""

    @property
    def right_G(self) -> Bool[np.ndarray, "... G"]:
        """Correct, and ended by itself unless unfinished rollouts are paid too."""
        return np.asarray(self.correct_G & (self.finished_G | self.pay_unfinished))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRecord:
    """One graded sample of an evaluation; one JSON line.

    ``tokens`` counts the whole completion at the sampled cap. ``cap_tokens`` may differ from
    sample to sample, as where a window holds prompt and completion; None: no cap is known and
    none was reached. ``extracted`` is the answer that was graded. ``answer_tokens`` is the
    shortest prefix in which a correct answer stands, thinking included; None if there is none or
    it is not known. ``answered_budgets`` are the budgets, of those that the evaluation graded
    prefixes at, whose prefix grades correct; None if it graded none. ``pieces`` is the decoded
    text of each token, in order, kept for few samples only.
    ``score`` is the verdict's: the share of tests passed, where the grader gives one.
    ``thinking_open``: the prompt ended inside the thinking, so ``text`` begins there.
    ``thinking_tokens``: those up to the end of the thinking, its mark included; 0 without any,
    all if it never ended, None where it is not known. ``turns``: how often the model spoke;
    ``tool_tokens``: of ``tokens``, those that tools wrote; None where it is not known.
    ``loops``: the text ends in a loop; None where there is no text to tell it from.
    ``effort``: the level that the prompt asks for. ``endpoint``: the server that made it; None in
    this process, or where it is not known. ``failure``: why the sample could not be made, where
    its finish is ERROR.
    """

    run: str
    benchmark: str
    problem: str
    sample: int
    grade: Grade
    tokens: int
    finish: Finish
    cap_tokens: int | None
    seed: int
    difficulty: float | None = None
    answer_tokens: int | None = None
    prompt: str | None = None
    text: str | None = None
    pieces: tuple[str, ...] | None = None
    model: str | None = None
    extracted: str | None = None
    answered_budgets: tuple[int, ...] | None = None
    score: float | None = None
    thinking_open: bool = False
    failure: str | None = None
    thinking_tokens: int | None = None
    turns: int | None = None
    tool_tokens: int | None = None
    effort: str | None = None
    loops: bool | None = None
    endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """What one training step did; one JSON line, free of clocks so that it can be compared.

    ``*_tokens_mean`` are means over this step's rollouts; NaN where the set is empty.
    ``correct``/``wrong`` split by the verifier, ``positive``/``negative`` by reward > 0.
    ``zero_signal_share`` is the share of groups whose advantages are all zero, ``solved_share`` of
    groups with a correct rollout (Pass@N of the step's prompts; NaN in records of before it).
    ``update_tokens`` counts the tokens that entered the loss. ``dropped_groups`` were left out of
    it for being all right or all wrong, and in ``refill_rounds`` further rounds other prompts were
    sampled for them; every other figure covers all that was sampled. ``thinking_tokens_mean`` are
    up to the end of the thinking, ``reply_tokens_mean`` what follows it, and
    ``after_right_tokens_mean`` what correct rollouts write after their first right answer.
    ``looping_share`` is of all rollouts, those whose text ends in a loop.
    """

    step: int
    prompts: int
    rollouts: int
    target_tokens: float
    cap_tokens: int
    accuracy: float
    reward_mean: float
    positive_share: float
    zero_signal_share: float
    truncated_share: float
    unparsed_share: float
    ungraded_share: float
    tokens_mean: float
    correct_tokens_mean: float
    wrong_tokens_mean: float
    positive_tokens_mean: float
    negative_tokens_mean: float
    entropy_mean: float
    kl_mean: float
    sampler_mismatch: float
    clip_share: float
    grad_norm: float
    loss: float
    learning_rate: float
    sampled_tokens: int
    update_tokens: int
    dropped_groups: int = 0
    refill_rounds: int = 0
    solved_share: float = float("nan")
    thinking_tokens_mean: float = float("nan")
    reply_tokens_mean: float = float("nan")
    after_right_tokens_mean: float = float("nan")
    looping_share: float = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRecord:
    """An alarm, at the step where it was first raised; one JSON line."""

    step: int
    name: str
    severity: str
    evidence: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRecord:
    """One training rollout as the learner saw it; one JSON line in the step's file.

    ``thinking_open``: the prompt ended inside the thinking, so ``text`` begins there.
    ``thinking_tokens``, ``answer_tokens`` and ``loops`` are as in an evaluation's record.
    """

    step: int
    problem: str
    sample: int
    grade: Grade
    extracted: str | None
    tokens: int
    finish: Finish
    reward: float
    advantage: float
    kept: bool
    text: str
    thinking_open: bool = False
    thinking_tokens: int | None = None
    answer_tokens: int | None = None
    loops: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """Where one step's wall-clock time went, in seconds; kept beside the step records."""

    step: int
    sample_s: float
    grade_s: float
    learn_s: float
    other_s: float
