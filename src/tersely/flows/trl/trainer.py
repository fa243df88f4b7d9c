"""TRL's ``GRPOTrainer``, used as it is: a reward function, a callback, and one wrapped method.

The reward function gathers the rows of all processes, so that the reward, the target and the
advantage see whole groups. TRL makes its own advantages from rewards and has no seam for others, so
``attach`` wraps ``_generate_and_score_completions`` of one trainer and overwrites three of the
things that it returns: advantages, the mask of tokens in the loss, and what the loss is divided
by. Another method is listened to, for the entropy. Both are private, hence ``TRL``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from time import perf_counter
from typing import Any

from tersely import targets
from tersely.algo import losses
from tersely.algo.aggregations import Aggregate
from tersely.core.errors import ConfigError
from tersely.core.types import Problem, Verdict
from tersely.engines.local.jobs import check_chat
from tersely.flows.recipe.crediting import credited
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.shaping import (
    check_graded,
    graded_view,
    joined,
    shape_step,
    shaping_of,
)
from tersely.flows.train.groups import (
    FlatRow,
    Gathered,
    gathered,
    regroup,
    row_of,
)
from tersely.flows.train.seams import ForeignEngine, Seam, check_engine
from tersely.flows.trl.records import StepRecorder
from tersely.flows.trl.share import ProcessShare, overwrite, share_of
from tersely.tasks.grading.answer import opened

SEAM, FORWARD = "_generate_and_score_completions", "_get_per_token_logps_and_entropies"
TRL = ForeignEngine(
    extra="trl",
    tested={
        "trl": ("1.16", "1.17"),
        "transformers": ("5.19", "5.25"),
        "accelerate": ("1.15", "1.16"),
    },
    seams=(
        Seam("trl", f"GRPOTrainer.{SEAM}", ("self", "inputs")),
        Seam(
            "trl",
            f"GRPOTrainer.{FORWARD}",
            ("self", "model", "input_ids", "attention_mask", "logits_to_keep"),
        ),
    ),
    probe="tersely.flows.trl.probe",
)
# Of TRL's losses ours are those that it divides by a count of the whole step, which can be set to
# any denominator.
LOSS_TYPES = frozenset(spelled.loss_type for n in losses.of_trl() if (spelled := losses.in_trl(n)))


class GroupReward:
    """A reward function for ``GRPOTrainer(reward_funcs=...)`` that sees whole groups.

    The dataset needs a column ``problem`` with ids. An ungraded rollout is paid None, which TRL
    leaves out of its means. Alone, TRL makes its own advantages of these rewards: masks, and all
    that depends on them, are lost.

    Args:
        problems: by id.
        recorder: is told of every step, and gives figures for TRL's own log.
        decode: token ids to text, special tokens included.
        split_text: token ids to the text that each adds.
        opens: whether a question's prompt ends inside the thinking, given what else TRL gives its
            chat template (``template_settings``, set once training begins).
        stop_ids: tokens that end a completion.
        aggregate: over the kept rows of a step.
        state: the target's, after the steps before ``first_step``. Every process shapes the same
            groups and so has the same state.
    """

    def __init__(
        self,
        recipe: Recipe,
        problems: Mapping[str, Problem],
        *,
        recorder: StepRecorder,
        grade_all: Callable[[Sequence[tuple[Problem, str]]], Sequence[Verdict]],
        decode: Callable[[Sequence[int]], str],
        split_text: Callable[[Sequence[int]], Sequence[str]],
        opens: Callable[[str, Mapping[str, Any]], bool],
        stop_ids: AbstractSet[int],
        aggregate: Aggregate,
        first_step: int = 0,
        state: targets.TargetState | None = None,
    ) -> None:
        # TRL logs under this name.
        self.__name__ = "tersely"
        self.stop_ids, self.samples = frozenset(stop_ids), recipe.sampling.samples_per_prompt
        self.state: targets.TargetState = state or {}
        self.share: ProcessShare | None = None
        self.skips_silent = False
        self.grade_s = self.generate_s = math.nan
        # (sum, tokens) of each forward pass with gradient since the last update.
        self.entropies: list[Any] = []
        self._shaping, self._problems, self._recorder = shaping_of(recipe), problems, recorder
        self._grade_all, self._decode, self._aggregate = grade_all, decode, aggregate
        self._split_text = split_text
        self._opens, self.template_settings = opens, dict[str, Any]()
        self._step = first_step

    def __call__(
        self,
        *,
        completion_ids: list[list[int]],
        problem: list[str] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """TRL's call, once a step on each process; TRL forces the signature."""
        began = perf_counter()
        if problem is None:
            raise ConfigError(
                "the training set has no column 'problem', so groups cannot be told apart; add "
                "each row's problem id, or train on the recipe's own dataset"
            )
        own = self._rows(problem, completion_ids)
        every = _gather(own)
        grouped = regroup(
            every.rows,
            self._problems,
            stop_ids=self.stop_ids,
            samples=self.samples,
        )
        graded_views = [
            graded_view(problem, part, pay_unfinished=self._shaping.pay_unfinished)
            for problem, part in zip(grouped.problems, grouped.parts, strict=True)
        ]
        shaped = credited(
            self._shaping,
            graded_views,
            shape_step(self._shaping, graded_views, self.state),
        )
        figures = self._recorder.on_shaped(self._step, joined(grouped.parts), shaped)
        check_graded(graded_views)
        self.share = share_of(every, grouped.places, shaped, self._aggregate)
        self.state, self._step = shaped.target.state, self._step + 1
        for name, value in figures.items():
            if log_metric is not None and math.isfinite(value):
                log_metric(name, value)
        self.grade_s = perf_counter() - began
        return [None if math.isnan(r) else r for r in self.share.reward_B.tolist()]

    def use_template(self, tokenizer: Any, settings: Mapping[str, Any]) -> None:
        """Takes over what TRL gives its chat template, where the template leaves nothing out."""
        if tokenizer is not None:
            check_chat(tokenizer, [*self._problems.values()], settings=settings)
        self.template_settings = dict(settings)

    def _rows(self, ids: Sequence[str], completions: Sequence[Sequence[int]]) -> list[FlatRow]:
        """This process's own rows, graded here; each process grades its own."""
        unknown = [name for name in ids if name not in self._problems]
        if unknown:
            raise ConfigError(
                f"the training set names problem {unknown[0]!r}, which is none of the recipe's "
                f"{len(self._problems):,}; train on the recipe's own dataset"
            )
        texts = [
            self._decode(tokens[:-1] if tokens and tokens[-1] in self.stop_ids else tokens)
            for tokens in completions
        ]
        open_by_id = {
            name: self._opens(self._problems[name].prompt, self.template_settings)
            for name in set(ids)
        }
        pairs = [
            (self._problems[name], opened(text, thinking_open=open_by_id[name]))
            for name, text in zip(ids, texts, strict=True)
        ]
        graded = zip(ids, completions, texts, self._grade_all(pairs), strict=True)
        return [
            row_of(
                self._problems[name],
                completion_ids=tokens,
                pieces=self._split_text(tokens),
                text=text,
                verdict=verdict,
                thinking_open=open_by_id[name],
            )
            for name, tokens, text, verdict in graded
        ]


def _gather(own: Sequence[FlatRow]) -> Gathered:
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState()
    # A list within a list: gather_object joins the outer ones, and each process stays apart.
    parts = gather_object([list(own)])
    return gathered(parts, rank=state.process_index)


def attach(trainer: Any, reward: GroupReward) -> None:
    """From now on this trainer learns from the reward's own advantages and masks.

    Scaling an advantage by a positive weight scales its term of a policy loss, and these losses are
    divided by one count of the step: so every aggregation is exact, however TRL cuts the batch.

    Raises:
        ConfigError: the trainer is set up for something else.
    """
    _check_trainer(trainer, reward)
    inner = getattr(trainer, SEAM)

    def generate_and_score(inputs: list[dict[str, Any]]) -> dict[str, Any]:
        began, reward.share = perf_counter(), None
        output: dict[str, Any] = inner(inputs)
        overwrite(output, reward.share)
        reward.generate_s = perf_counter() - began - reward.grade_s
        return output

    setattr(trainer, SEAM, generate_and_score)
    _listen(trainer, reward)
    others = trainer.beta, trainer.entropy_coef, trainer.use_adaptive_entropy
    reward.skips_silent = not (any(others) or trainer.aux_loss_enabled)


def _listen(trainer: Any, reward: GroupReward) -> None:
    """Has the entropy of all completion tokens kept: TRL logs that of loss tokens, and averages
    micro-batches whatever their number of tokens."""
    inner = getattr(trainer, FORWARD)

    def forward(*args: Any, **kwargs: Any) -> Any:
        import torch

        _, _, attention_BT, to_keep = args[:4]
        output = inner(*args, **kwargs)
        if output[1] is not None:
            own_BT = attention_BT[:, -to_keep:]
            sums = (output[1].detach() * own_BT).sum(), own_BT.sum()
            reward.entropies.append(torch.stack(sums).double())
        return output

    setattr(trainer, FORWARD, forward)


def _take_entropy(reward: GroupReward) -> float | None:
    """Mean nats a token over all processes since the last update; None if nothing was heard."""
    if not reward.entropies:
        return None
    from accelerate.utils import reduce

    total, tokens = reduce(sum(reward.entropies), reduction="sum").tolist()
    reward.entropies.clear()
    return float(total / tokens)


def _check_trainer(trainer: Any, reward: GroupReward) -> None:
    check_engine(TRL)
    for seam in (SEAM, FORWARD):
        if not callable(getattr(trainer, seam, None)):
            raise ConfigError(f"{type(trainer).__name__} has no {seam}; use trl.GRPOTrainer")
    if trainer.loss_type not in LOSS_TYPES:
        raise ConfigError(
            f"loss_type = {trainer.loss_type!r} divides by counts of a micro-batch; set loss_type "
            f"to one of {', '.join(sorted(LOSS_TYPES))}, and the recipe's "
            "loss.aggregation to the mean"
        )
    if set(trainer.eos_token_ids) != reward.stop_ids:
        raise ConfigError(
            f"TRL stops at tokens {sorted(trainer.eos_token_ids)} and the reward at "
            f"{sorted(reward.stop_ids)}; give both the same tokenizer and generation config"
        )
    if trainer.tools or trainer.environment_factories is not None:
        raise ConfigError("tools and environments make several turns; use single turns")
    check_arguments(trainer.args, samples=reward.samples)


def check_arguments(args: Any, *, samples: int) -> None:
    """Refuses a trainer's settings under which rewards or records would be wrong.

    Raises:
        ConfigError: naming the first such setting.
    """
    wanted = {
        "num_generations": (samples, "the recipe's sampling.samples_per_prompt"),
        "logging_steps": (1, "every update is recorded"),
        "mask_truncated_completions": (False, "the recipe says what is masked"),
    }
    for name, (value, why) in wanted.items():
        if getattr(args, name) != value:
            raise ConfigError(f"{name} = {getattr(args, name)!r} must be {value!r}: {why}")
    if str(getattr(args.eval_strategy, "value", args.eval_strategy)) != "no":
        raise ConfigError(
            'eval_strategy must be "no": an evaluation would move the target and be recorded as '
            "a step; evaluate checkpoints with `tersely eval`"
        )


def make_callback(recorder: StepRecorder, reward: GroupReward) -> Any:
    """A ``TrainerCallback`` that has every update and checkpoint written down."""
    from accelerate import PartialState
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):  # type: ignore[misc]
        """TRL calls these; it forces the base class and the signatures."""

        def on_train_begin(
            self, args: Any, state: Any, control: Any, processing_class: Any = None, **_: Any
        ) -> None:
            check_arguments(args, samples=reward.samples)
            reward.use_template(processing_class, getattr(args, "chat_template_kwargs", None) or {})

        def on_pre_optimizer_step(
            self, args: Any, state: Any, control: Any, optimizer: Any, **_: Any
        ) -> None:
            # AdamW's momentum alone would move the weights on no evidence; without gradients it
            # does nothing. DeepSpeed has steps of its own and is not reached by this.
            if reward.skips_silent and reward.share is not None and reward.share.silent:
                optimizer.zero_grad()

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any
        ) -> None:
            if "loss" in logs:  # else the summary after the last update
                entropy = _take_entropy(reward)
                if entropy is not None:
                    logs = {**logs, "entropy": entropy}
                recorder.on_update(logs, generate_s=reward.generate_s, grade_s=reward.grade_s)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # Other processes may still be writing their part of the checkpoint.
            PartialState().wait_for_everyone()
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            if state.is_world_process_zero:
                recorder.on_save(folder, state=reward.state)

    return Recorder()
