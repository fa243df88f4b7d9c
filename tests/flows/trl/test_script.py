"""A script of one's own around GRPOTrainer: what the hooks give it, and what they refuse."""

import dataclasses
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

import trl

import tersely
from tersely.core import jsonl
from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import Message, RolloutRecord, StepRecord
from tersely.engines.models import lab_folder, load_tokenizer
from tersely.flows.observer import QUIET
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import Recipe, read_recipe
from tersely.flows.trl.hooks import Hooks, trl_hooks
from tersely.flows.trl.launch import launch_trl
from tersely.flows.trl.settings import OUT_OF_PLACE, SET_BY, trl_settings
from tersely.flows.trl.trainer import SEAM, attach, check_arguments
from tersely.flows.trl.worker import config_fields

TINY = Path(__file__).parents[1] / "tiny.toml"
pytestmark = pytest.mark.filterwarnings("ignore")


def tiny(*overrides: str) -> Recipe:
    small = ("learner.staleness=1", "learner.steps=2", "checkpoint.every_steps=2")
    return read_recipe(TINY, overrides=[*small, *overrides])


def script(hooks: Hooks, output: Path, **changes: Any) -> Any:
    """A user's own trainer, TRL's defaults but for the size."""
    settings = {
        "output_dir": str(output),
        "per_device_train_batch_size": 16,
        "num_generations": 4,
        "max_completion_length": 48,
        "max_steps": 2,
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "disable_tqdm": True,
        "shuffle_dataset": False,
        "save_strategy": "no",
    }
    return trl.GRPOTrainer(
        model=str(lab_folder("lab-v1")),
        processing_class=load_tokenizer("lab-v1"),
        reward_funcs=hooks.reward,
        train_dataset=changes.pop("train_dataset", hooks.dataset),
        callbacks=[hooks.callback],
        args=trl.GRPOConfig(**{**settings, **changes}),
    )


def train(trainer: Any) -> list[np.ndarray]:
    """Trains it; the advantages of each step as TRL's loss was given them."""
    seen, inner = [], getattr(trainer, SEAM)

    def watched(inputs: Any) -> Any:
        output = inner(inputs)
        seen.append(output["advantages"].numpy().copy())
        return output

    setattr(trainer, SEAM, watched)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    return seen


@pytest.mark.parametrize("attached", [False, True])
def test_the_records_are_ours_and_the_advantages_only_where_the_hooks_are_attached(
    tmp_path: Path, attached: bool
) -> None:
    recipe, folder = tiny("advantage.name='leave_one_out'"), tmp_path / "run"
    hooks = trl_hooks(recipe, folder)
    trainer = script(hooks, tmp_path / "out")
    if attached:
        hooks.attach(trainer)
    given = train(trainer)
    records = list(jsonl.read(folder / "steps.jsonl", StepRecord))
    assert [r.step for r in records] == [0, 1]
    assert (folder / "manifest.json").is_file()
    for step, adv_B in enumerate(given):
        rollouts = list(
            jsonl.read(folder / "rollouts" / f"step-{step:06d}.jsonl.zst", RolloutRecord)
        )
        reward_PG = np.array([r.reward for r in rollouts]).reshape(4, 4)
        ours = np.array([r.advantage for r in rollouts])
        # TRL's own: over the sample standard deviation of the group, + 1e-4.
        gap_PG = reward_PG - reward_PG.mean(axis=1, keepdims=True)
        theirs = (gap_PG / (reward_PG.std(axis=1, ddof=1, keepdims=True) + 1e-4)).ravel()
        assert adv_B == pytest.approx(ours if attached else theirs, abs=1e-5)


# Arguments that are right for the tiny recipe.
RIGHT = {
    "num_generations": 4,
    "logging_steps": 1,
    "mask_truncated_completions": False,
    "eval_strategy": "no",
}
BRIEF = (
    "{% for m in messages %}{% if m['role'] == 'user' or not brief %}<user>{{ m['content'] }}"
    "{% endif %}{% endfor %}<assistant>"
)


def with_system(tmp_path: Path, template: str) -> list[str]:
    """Settings by which every training problem has a system message, and the model a template."""
    model = shutil.copytree(lab_folder("lab-v1"), tmp_path / "model")
    (model / "chat_template.jinja").write_text(template)
    training, _ = load_problems(tiny())
    file = tmp_path / "train.jsonl"
    said = (Message(role="system", content="Be brief."),)
    jsonl.write(file, [dataclasses.replace(problem, earlier=said) for problem in training])
    return [f"model.path={model}", f"problems.train={file}"]


def test_the_public_name_takes_a_path_and_overrides(tmp_path: Path) -> None:
    overrides = ["learner.staleness=1", "learner.steps=2", "checkpoint.every_steps=2"]
    public = tersely.trl_hooks(TINY, tmp_path / "run", overrides=overrides)
    assert public.dataset.to_list() == trl_hooks(tiny()).dataset.to_list()
    assert (tmp_path / "run" / "recipe.toml").is_file()
    with pytest.raises(ConfigError, match="overrides are for a recipe's file"):
        tersely.trl_hooks(tiny(), overrides=overrides)


def test_a_template_that_leaves_a_message_out_is_refused_with_the_hooks_and_at_launch(
    tmp_path: Path,
) -> None:
    settings = with_system(tmp_path, BRIEF)
    trl_hooks(tiny(*settings))
    brief = tiny(*settings, "trl.chat_template_kwargs={brief=true}")
    with pytest.raises(ConfigError, match=r"role 'system' before .*leaves out"):
        trl_hooks(brief, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"role 'system' before .*leaves out"):
        launch_trl(brief, tmp_path / "run", processes=1, observer=QUIET)
    assert not (tmp_path / "run").exists()


def test_so_is_one_that_only_the_trainer_s_own_settings_make_leave_it_out(tmp_path: Path) -> None:
    hooks = trl_hooks(tiny(*with_system(tmp_path, BRIEF)))
    tokenizer = load_tokenizer(str(tmp_path / "model"))
    args = SimpleNamespace(**RIGHT, chat_template_kwargs={"brief": True})
    with pytest.raises(ConfigError, match=r"role 'system' before .*leaves out"):
        hooks.callback.on_train_begin(args, None, None, processing_class=tokenizer)


def test_the_recipe_s_words_for_trl_are_trl_s() -> None:
    known = config_fields()
    assert known == {field.name for field in dataclasses.fields(trl.GRPOConfig)}
    assert SET_BY.keys() | OUT_OF_PLACE.keys() <= known
    overrides = ("trl.use_vllm=true", "loss.importance_cap=2.0")
    for recipe in (tiny(), tiny(*overrides)):
        settings = trl_settings(recipe, processes=1, output=Path("o"), known=known, cuda=False)
        assert settings.keys() <= known


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_generations": 8}, "num_generations = 8 must be 4: the recipe's"),
        ({"logging_steps": 10}, "logging_steps = 10 must be 1"),
        ({"mask_truncated_completions": True}, "mask_truncated_completions = True must be False"),
        ({"eval_strategy": "steps"}, 'eval_strategy must be "no".*tersely eval'),
    ],
)
def test_a_trainer_that_is_set_up_for_something_else_is_refused_before_it_trains(
    changes: dict[str, Any], message: str
) -> None:
    check_arguments(SimpleNamespace(**RIGHT), samples=4)
    with pytest.raises(ConfigError, match=message):
        check_arguments(SimpleNamespace(**{**RIGHT, **changes}), samples=4)


def test_another_loss_or_another_trainer_is_refused(tmp_path: Path) -> None:
    hooks = trl_hooks(tiny())
    with pytest.raises(ConfigError, match="SimpleNamespace has no _generate"):
        attach(SimpleNamespace(), hooks.reward)
    with pytest.raises(ConfigError, match="loss_type = 'grpo' divides by counts of a micro-batch"):
        hooks.attach(script(hooks, tmp_path, loss_type="grpo"))


def test_rows_that_the_recipe_does_not_know_are_refused_by_name(tmp_path: Path) -> None:
    hooks = trl_hooks(tiny())
    nameless = hooks.dataset.remove_columns("problem")
    with pytest.raises(ConfigError, match="no column 'problem'"):
        train(script(hooks, tmp_path, train_dataset=nameless))
    renamed = hooks.dataset.map(lambda row: {"problem": "x" + row["problem"]})
    with pytest.raises(ConfigError, match=r"names problem 'x.*none of the recipe's 24"):
        train(script(hooks, tmp_path, train_dataset=renamed))


def test_a_group_that_is_cut_is_refused(tmp_path: Path) -> None:
    hooks = trl_hooks(tiny())
    # Every second prompt gives way to another one's id: groups of 8 and none.
    ids = hooks.dataset["problem"]
    merged = hooks.dataset.map(
        lambda row, place: {"problem": ids[place - place % 2]}, with_indices=True
    )
    with pytest.raises(EngineError, match=r"has 8 rollouts in this step.*more than once"):
        train(script(hooks, tmp_path, train_dataset=merged))


def test_attaching_one_reward_and_training_on_another_is_refused(tmp_path: Path) -> None:
    hooks, others = trl_hooks(tiny()), trl_hooks(tiny())
    trainer = script(hooks, tmp_path)
    others.attach(trainer)
    with pytest.raises(EngineError, match="other rows than the reward was asked about"):
        train(trainer)
