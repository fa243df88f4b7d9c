"""verl's trainer, used as it is: a reward manager that grades, and an advantage estimator.

verl grades one rollout at a time, where its group is not seen, and makes advantages where nothing
is left of a rollout but its reward, the mask of its tokens and its prompt's uid. So the verdict
travels in the reward: 1 for a right rollout and 0 for any other, as verl's own figures want it, and
below that, in bits that float32 holds exactly, what else a length reward may see.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.aggregations import Aggregate
from tersely.core.errors import ConfigError, DataError, EngineError
from tersely.core.types import Finish, Grade, GroupView, Problem, Verdict
from tersely.flows.recipe.shaping import GradedView, Shaping, shape_step, weigh
from tersely.flows.train.groups import in_batch_order, places_of, tokens_of
from tersely.flows.train.seams import ForeignEngine, Seam
from tersely.tasks.grading.answer import opened, opens_thinking
from tersely.tasks.grading.parts import length_parts

VERL = ForeignEngine(
    extra="verl",
    tested={"verl": ("0.9.1", "0.9.2"), "ray": ("2.60", "2.61"), "transformers": ("5.5.3", "5.11")},
    seams=(
        Seam("verl.trainer.ppo.core_algos", "register_adv_est", (None,)),
        Seam("verl.trainer.ppo.utils", "need_critic", (None,)),
        Seam("verl.trainer.ppo.utils", "need_reference_policy", (None,)),
        Seam(
            "verl.utils.config",
            "validate_config",
            (None,),
            named=("use_reference_policy", "use_critic"),
        ),
    ),
    probe="tersely.flows.verl.probe",
)
# Under this name verl finds the estimator.
ESTIMATOR = "tersely"
# One of a reward's lower bits: all five are below 3.1e-5.
_BIT = 2.0**-20
_FLAGS = ("graded", "correct", "finished", "formatted", "thought")


class RolloutFacts(NamedTuple):
    """What a reward may see of each rollout, besides its length."""

    graded_B: Bool[np.ndarray, " B"]
    correct_B: Bool[np.ndarray, " B"]
    finished_B: Bool[np.ndarray, " B"]
    formatted_B: Bool[np.ndarray, " B"]
    thought_B: Bool[np.ndarray, " B"]


def score_of(verdict: Verdict, *, finished: bool, thought: bool, right: bool) -> float:
    """The reward that verl carries for a rollout: ``right`` and the facts in bits below 3.1e-5."""
    flags = {
        "graded": verdict.grade is not Grade.UNGRADED,
        "correct": verdict.grade is Grade.CORRECT,
        "finished": finished,
        "formatted": verdict.grade is not Grade.UNPARSED,
        "thought": thought,
    }
    return right + _BIT * sum(flags[name] << place for place, name in enumerate(_FLAGS))


def facts_of(score_B: Float[np.ndarray, " B"]) -> RolloutFacts:
    """The facts in rewards of ``score_of``.

    Raises:
        EngineError: a reward is of another making: by another function, or shaped on its way.
    """
    below_B = (score_B - np.floor(score_B)) / _BIT
    code_B = np.rint(below_B).astype(np.int64)
    own_B = (below_B == code_B) & (code_B < 1 << len(_FLAGS)) & np.isin(np.floor(score_B), (0, 1))
    if not own_B.all():
        raise EngineError(
            f"verl carries the reward {score_B[~own_B][0]:.8g}, which is none of ours; leave "
            "reward.reward_manager and algorithm.use_kl_in_reward as tersely launch verl sets them"
        )
    return RolloutFacts(*((code_B >> place & 1).astype(np.bool_) for place in range(len(_FLAGS))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """From verl's batch to the advantages that it multiplies its tokens' terms with.

    Args:
        shaping: of a recipe whose target keeps no state.
        samples: rollouts of a prompt, which none exceeds; verl leaves failed ones out.
        aggregate: over the kept rows, put into the advantages, since verl's loss is then a plain
            sum; None if verl aggregates.
        update_rows: rows of an optimizer update, padding included; verl cuts the batch by it.
    """

    shaping: Shaping
    samples: int
    aggregate: Aggregate | None
    update_rows: int

    def __call__(
        self,
        reward_BT: Float[np.ndarray, "B T"],
        mask_BT: Bool[np.ndarray, "B T"],
        uid_B: Sequence[str],
    ) -> Float[np.ndarray, " B"]:
        """One number a row: its advantage, times its weight in the loss.

        Rows without a token are verl's padding and get 0, as do masked ones. Whatever a row's
        advantage is multiplied with by verl, its term of a policy loss is multiplied with.

        Raises:
            EngineError: a group holds too many rollouts, or a reward is of another making.
        """
        tokens_B = tokens_of(mask_BT)
        (real_R,) = np.nonzero(tokens_B)
        adv_B = np.zeros(len(tokens_B))
        if len(real_R):
            adv_R = self._real(
                reward_BT[real_R].sum(axis=1), tokens_B[real_R], [uid_B[int(r)] for r in real_R]
            )
            updates = 1 if self.aggregate is None else max(1, len(adv_B) // self.update_rows)
            adv_B[real_R] = adv_R * updates
        return adv_B

    def _real(
        self, score_R: np.ndarray, tokens_R: np.ndarray, uid_R: Sequence[str]
    ) -> Float[np.ndarray, " R"]:
        places = places_of(uid_R)
        facts = facts_of(score_R)
        graded_views = [self._see(facts, tokens_R, places_G, uid_R) for places_G in places]
        shaped = shape_step(self.shaping, graded_views, {})
        adv_N = np.where(shaped.keep_N, shaped.advantage_N, 0.0)
        if self.aggregate is not None:
            made = weigh(shaped, tokens_R[np.concatenate(places)], self.aggregate)
            adv_N *= made.weight_B / made.denominator
        return in_batch_order(adv_N, places)

    def _see(
        self, facts: RolloutFacts, tokens_R: np.ndarray, places_G: np.ndarray, uid_R: Sequence[str]
    ) -> GradedView:
        if len(places_G) > self.samples:
            raise EngineError(
                f"group {uid_R[places_G[0]]!r} has {len(places_G)} rollouts in this step, and "
                f"sampling.samples_per_prompt = {self.samples}: several prompts share a uid; give "
                "every prompt of a step its own"
            )
        own = RolloutFacts(*(fact_B[places_G] for fact_B in facts))
        graded_G = own.graded_B
        view = GroupView(
            correct_G=own.correct_B[graded_G],
            tokens_G=tokens_R[places_G][graded_G],
            finished_G=own.finished_B[graded_G],
            formatted_G=own.formatted_B[graded_G],
            thought_G=own.thought_B[graded_G],
            pay_unfinished=self.shaping.pay_unfinished,
        )
        return GradedView(graded_G, view)


EstimateAdvantages = Callable[[np.ndarray, np.ndarray, Sequence[str]], np.ndarray]


def register(estimator: Callable[[], EstimateAdvantages]) -> None:
    """Makes ``algorithm.adv_estimator=tersely`` known to verl in this process.

    Args:
        estimator: makes it, on the first batch: an ``Estimator`` or what wraps one.
    """
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, register_adv_est

    if ESTIMATOR in ADV_ESTIMATOR_REGISTRY:
        return
    made: list[EstimateAdvantages] = []

    def tersely(
        token_level_rewards: Any, response_mask: Any, index: Any = None, **_: Any
    ) -> tuple[Any, Any]:
        """verl's call, once a step on the whole batch; verl forces the signature."""
        import torch

        if index is None:
            raise EngineError("verl's batch has no uid, so groups cannot be told apart")
        if not made:
            made.append(estimator())
        adv_B = made[0](
            token_level_rewards.double().cpu().numpy(),
            response_mask.bool().cpu().numpy(),
            [str(uid) for uid in index],
        )
        adv_B1 = torch.tensor(adv_B, dtype=torch.float32, device=response_mask.device)[:, None]
        adv_BT = adv_B1 * response_mask
        return adv_BT, adv_BT.clone()

    register_adv_est(ESTIMATOR)(tersely)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedLine:
    """One graded rollout as the process that graded it writes it down; one JSON line.

    Args:
        step: verl's, of the step that asked for it, from 1 on; 0 before training.
        uid: what the rollouts of one prompt share and no others do.
        thinking_open: the prompt ended inside the thinking.
        thinking_tokens, answer_tokens: as in an evaluation's record.
    """

    step: int
    split: str
    uid: str
    sample: int
    problem: str
    grade: Grade
    extracted: str | None
    tokens: int
    finish: Finish
    text: str
    thinking_open: bool = False
    thinking_tokens: int | None = None
    answer_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedLine:
    """Whose rollouts one call of the estimator saw; one JSON line a call, in verl's order.

    Args:
        uids: of each row of the batch that is no padding.
    """

    uids: tuple[str, ...]


class VerlRow(NamedTuple):
    """One rollout as verl's reward loop hands it over."""

    problem: Problem
    completion_ids: tuple[int, ...]
    split: str
    uid: str
    sample: int
    step: int
    prompt_ids: tuple[int, ...] = ()


def row_of(item: Any) -> VerlRow:
    """The last sequence of verl's ``DataProto``, by the columns of the Parquet file.

    Raises:
        DataError: a column is missing.
    """
    last, columns = item[len(item) - 1], item.non_tensor_batch
    for name in ("data_source", "ability", "reward_model", "extra_info", "raw_prompt"):
        if name not in columns:
            raise DataError(
                f"the rows that verl reads have no column {name}; they have "
                f"{', '.join(sorted(columns))}: write them with tersely launch verl or tersely "
                "curate"
            )
    values: Mapping[str, Any] = last.non_tensor_batch
    extra = values["extra_info"]
    if extra.get("id") is None:
        raise DataError(
            "a row that verl reads has no extra_info.id; write the files with tersely launch verl"
        )
    ids_T, prompt_T = last.batch["responses"], last.batch["prompts"]
    mask_T = last.batch["attention_mask"].bool()
    own, told_T = mask_T[-len(ids_T) :], mask_T[: len(prompt_T)]
    return VerlRow(
        problem=Problem(
            id=str(extra["id"]),
            prompt=str(list(values["raw_prompt"])[-1]["content"]),
            answer=str(values["reward_model"]["ground_truth"]),
            source=str(values["data_source"]),
            grader=str(values["ability"]),
        ),
        completion_ids=tuple(ids_T[own].tolist()),
        split=str(extra.get("split") or "train"),
        uid=str(values.get("uid", "")),
        sample=int(values.get("session_id", 0)),
        step=int(values.get("global_steps", 0)),
        prompt_ids=tuple(prompt_T[told_T].tolist()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutGrader:
    """Grades one rollout of verl's: what it is worth there, and what is written down.

    Args:
        grade: a completion's text, without its stop token, by the problem's grader.
        decode: token ids to text, special tokens included.
        split_text: token ids to the text that each adds.
        has_thought: whether a text's thinking is not empty.
        stop_ids: tokens that end a completion.
    """

    grade: Callable[[Problem, str], Verdict]
    decode: Callable[[Sequence[int]], str]
    split_text: Callable[[Sequence[int]], Sequence[str]]
    has_thought: Callable[[str], bool]
    stop_ids: AbstractSet[int]
    cap_tokens: int
    pay_unfinished: bool

    def grade_rollout(self, row: VerlRow) -> tuple[float, bool, GradedLine]:
        """Its score, whether it is right, and its line.

        It was cut if it reaches the cap without a stop token.

        Raises:
            EngineError: it holds no token.
        """
        ids = row.completion_ids
        if not ids:
            raise EngineError(f"a rollout of problem {row.problem.id!r} has no completion tokens")
        stops = ids[-1] in self.stop_ids
        finished = stops or len(ids) < self.cap_tokens
        text = self.decode(ids[:-1] if stops else ids)
        is_open = opens_thinking(self.decode(row.prompt_ids), asked=row.problem.prompt)
        begun = opened(text, thinking_open=is_open)
        verdict = self.grade(row.problem, begun)
        right = verdict.grade is Grade.CORRECT and (finished or self.pay_unfinished)
        parts = length_parts(
            row.problem, self.split_text(ids), verdict.grade, thinking_open=is_open
        )
        score = score_of(verdict, finished=finished, thought=self.has_thought(begun), right=right)
        line = GradedLine(
            step=row.step,
            split=row.split,
            uid=row.uid,
            sample=row.sample,
            problem=row.problem.id,
            grade=verdict.grade,
            extracted=verdict.extracted,
            tokens=len(ids),
            finish=Finish.STOP if finished else Finish.LENGTH,
            text=text,
            thinking_open=is_open,
            **parts._asdict(),
        )
        return score, right, line


def check_environment(folder: str | None) -> str:
    """The run folder that verl's processes were told of; ConfigError if none."""
    if not folder:
        raise ConfigError(
            "TERSELY_RUN is not set in a process of verl's, so its recipe is unknown; start it "
            "with tersely launch verl"
        )
    return folder
