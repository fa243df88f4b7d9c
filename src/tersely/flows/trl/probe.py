"""TRL's private methods on two rows: ``python -m tersely.flows.trl.probe``.

One step with TRL's own trainer on the lab's model, on the CPU. One row is right and the other is
masked, so TRL itself would make other advantages, another mask and another denominator: the loss
must be the one that ours give.
"""

import math
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tersely.algo import losses
from tersely.algo.aggregations.constant import constant
from tersely.core.errors import EngineError
from tersely.core.types import Grade, Problem, Verdict
from tersely.engines.local.jobs import make_codec
from tersely.engines.models import lab_folder, load_settings, load_tokenizer
from tersely.flows.recipe.recipe import Recipe, read_recipe, shipped
from tersely.flows.trl.hooks import make_dataset
from tersely.flows.trl.records import StepRecorder
from tersely.flows.trl.settings import trl_settings
from tersely.flows.trl.share import ProcessShare
from tersely.flows.trl.trainer import GroupReward, attach, make_callback
from tersely.flows.trl.worker import config_fields

# The cap is the target: a wrong row is then short, and so masked.
SETTINGS = (
    "sampling.prompts_per_step=1",
    "sampling.samples_per_prompt=2",
    "sampling.cap_tokens=8",
    "target.tokens=8",
    "treatment.unfinished='graded'",
    "treatment.cells={correct_short=1, correct_long=1, wrong_short='masked', wrong_long=0}",
    "advantage.name='unbaselined'",
    "learner.steps=1",
    "learner.staleness=1",
    "evaluation.budgets=[8]",
)
# No count of tokens that these rows could have.
TOKENS_PER_ROW = 50
PROBLEM = Problem(id="probe", prompt="1 + 1", answer="2", source="probe")


class Seen(NamedTuple):
    """What TRL's loss was given, and what it was with each of TRL's spellings of ours.

    Args:
        plain: by ``loss_type``.
        halved: with twice the denominator.
        moved: with another advantage of the masked row.
    """

    inputs: Mapping[str, Any]
    plain: Mapping[str, float]
    halved: Mapping[str, float]
    moved: Mapping[str, float]


def probe(output: Path) -> None:
    """Takes the step.

    Raises:
        EngineError: TRL does something else with what it is given.
    """
    recipe = read_recipe(shipped("demo"), overrides=SETTINGS)
    reward, trainer = _make(recipe, output)
    attach(trainer, reward)
    heard, inner, inner_step = list[Any](), trainer.compute_loss, trainer.training_step
    seen = list[Seen]()

    def training_step(*args: Any, **kwargs: Any) -> Any:
        done = inner_step(*args, **kwargs)
        heard.extend(pair.tolist() for pair in reward.entropies)
        return done

    def compute_loss(model: Any, inputs: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        loss = inner(model, inputs, *args, **kwargs)
        seen.append(_vary(trainer, model, inputs))
        del reward.entropies[1:]
        return loss

    trainer.compute_loss, trainer.training_step = compute_loss, training_step
    trainer.train()
    if len(seen) != 1 or reward.share is None:
        raise EngineError(f"TRL took {len(seen)} losses of one step instead of 1")
    check_loss(seen[0], reward.share)
    check_entropy(heard, reward.share)


def _make(recipe: Recipe, output: Path) -> tuple[GroupReward, Any]:
    from trl import GRPOConfig, GRPOTrainer

    tokenizer = load_tokenizer("lab")
    recorder = StepRecorder(recipe, None)
    reward = GroupReward(
        recipe,
        {PROBLEM.id: PROBLEM},
        recorder=recorder,
        grade_all=lambda _: (Verdict(grade=Grade.CORRECT), Verdict(grade=Grade.WRONG)),
        decode=lambda _: "",
        split_text=lambda ids: [""] * len(ids),
        opens=lambda *_: False,
        stop_ids=make_codec(load_settings("lab"), tokenizer).stop_ids,
        aggregate=partial(constant, tokens_per_row=TOKENS_PER_ROW),
    )
    settings = trl_settings(recipe, processes=1, output=output, known=config_fields(), cuda=False)
    trainer = GRPOTrainer(
        model=str(lab_folder()),
        processing_class=tokenizer,
        reward_funcs=reward,
        args=GRPOConfig(**settings),
        train_dataset=make_dataset(recipe, [PROBLEM]),
        callbacks=[make_callback(recorder, reward)],
    )
    return reward, trainer


def _vary(trainer: Any, model: Any, inputs: Mapping[str, Any]) -> Seen:
    """TRL's loss with each of its types that is ours, and with other numbers in our places."""
    import torch

    own = trainer.loss_type

    def value(name: str, **changed: Any) -> float:
        trainer.loss_type = name
        with torch.no_grad():
            return float(trainer._compute_loss(model, {**inputs, **changed}))

    names = sorted({spelled.loss_type for n in losses.of_trl() if (spelled := losses.in_trl(n))})
    count, adv_B = inputs["num_items_in_batch"], inputs["advantages"]
    # TRL shuffles a step's rows; the one that is masked has no advantage.
    other_B = adv_B + (adv_B == 0)
    found = Seen(
        inputs,
        {name: value(name) for name in names},
        {name: value(name, num_items_in_batch=2 * count) for name in names},
        {name: value(name, advantages=other_B) for name in names},
    )
    trainer.loss_type = own
    return found


def check_loss(seen: Seen, share: ProcessShare) -> None:
    """Holds TRL's loss to our advantages, mask and denominator.

    Raises:
        EngineError: it is another.
    """
    adv_B = seen.inputs["advantages"].tolist()
    if not _near(sorted(adv_B), sorted(share.advantage_B.tolist())):
        raise EngineError(f"TRL's loss is given the advantages {adv_B}, which are not ours")
    sums = share.advantage_B * share.keep_B * [len(ids) for ids in share.completion_ids]
    wanted = -float(sums.sum()) / share.denominator
    if not _near([seen.plain["dapo"]], [wanted]):
        raise EngineError(f"TRL's loss is {seen.plain['dapo']:.6g} and ours {wanted:.6g}")
    for name, value in seen.plain.items():
        if not value or not _near([2 * seen.halved[name]], [value]):
            raise EngineError(f"TRL's loss {name!r} is not divided by num_items_in_batch")
        if not _near([seen.moved[name]], [value]):
            raise EngineError(f"TRL's loss {name!r} counts a row that tool_mask leaves out")


def check_entropy(heard: Sequence[Sequence[float]], share: ProcessShare) -> None:
    """Holds the entropy that was heard to the tokens that were sampled.

    Raises:
        EngineError: it is not of them.
    """
    tokens = sum(len(ids) for ids in share.completion_ids)
    if len(heard) != 1 or heard[0][1] != tokens:
        raise EngineError(f"the entropy heard is of {[n for _, n in heard]} tokens, not {tokens}")
    if not (math.isfinite(heard[0][0]) and heard[0][0] > 0):
        raise EngineError(f"the entropy heard is {heard[0][0]} nats, not above 0")


def _near(found: Sequence[float], wanted: Sequence[float]) -> bool:
    return all(
        math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-9) for a, b in zip(found, wanted, strict=True)
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        try:
            probe(Path(folder))
        except EngineError as error:
            sys.exit(str(error))
