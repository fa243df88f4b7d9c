"""What every launch does first, whoever trains."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tersely.core.errors import ConfigError
from tersely.core.manifest import RunManifest, read_manifest
from tersely.core.types import SamplingSpec
from tersely.engines.models import Policy
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.recipe.sampling import evaluation_spec, training_spec
from tersely.flows.train import session as sessions
from tersely.flows.train.loop import _coarsest_dtype

TINY = Path(__file__).parents[1] / "tiny.toml"


def test_a_folder_is_checked_once_and_nothing_is_written_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, folder, checked = read_recipe(TINY), tmp_path / "run", []
    check = sessions.check_folder
    monkeypatch.setattr(
        sessions, "check_folder", lambda *a, **k: (checked.append(1), check(*a, **k))
    )
    session = sessions.begin(recipe, folder, resume=False)
    assert not folder.exists()
    assert len(session.prompts) == len(session.train) + len(session.test)
    sessions.open_folder(session, engine="another, 2 processes", packages=("numpy",))
    facts = read_manifest(folder, RunManifest).facts
    assert (facts.engine, facts.seed) == ("another, 2 processes", recipe.seed)
    with pytest.raises(ConfigError, match="continue it with --resume"):
        sessions.begin(recipe, folder, resume=False)
    assert len(checked) == 2


def test_room_is_asked_for_by_what_is_sampled_after_a_prompt(tmp_path: Path) -> None:
    recipe = read_recipe(TINY, overrides=["evaluation.budgets=[16,100000]"])
    with pytest.raises(ConfigError, match=r"^evaluation\.budgets: .*positions"):
        sessions.begin(recipe, tmp_path / "run", resume=False)
    # An engine that evaluates with the training's cap does not sample that much.
    sessions.begin(
        recipe, tmp_path / "run", resume=False, test_cap_tokens=recipe.sampling.cap_tokens
    )


def test_what_is_sampled_follows_from_the_recipe_alone() -> None:
    recipe = read_recipe(TINY, overrides=["sampling.temperature=0.7", "seed=3"])
    section = recipe.sampling
    spec = training_spec(recipe, 5)
    assert spec == SamplingSpec(
        samples=section.samples_per_prompt,
        cap_tokens=section.cap_tokens,
        seed=spec.seed,
        temperature=0.7,
        top_p=section.top_p,
        top_k=section.top_k,
        policy_step=5,
    )
    evaluations = [evaluation_spec(recipe, step) for step in (0, 5)]
    # The same random numbers at every evaluation, and never those of a training step.
    assert evaluations[0].seed == evaluations[1].seed
    assert len({spec.seed, training_spec(recipe, 6).seed, evaluations[0].seed}) == 3
    assert evaluations[1].cap_tokens == max(recipe.evaluation.budgets)
    assert evaluations[1].policy_step == 5


@pytest.mark.parametrize(
    ("device", "given", "coarsest"),
    [
        ("cuda", [], "bfloat16"),
        # The learner's own is bfloat16 there.
        ("cuda", ["sampling.dtype=float32"], "bfloat16"),
        ("cuda", ["learner.dtype=float32"], "bfloat16"),
        ("cuda", ["sampling.dtype=float32", "learner.dtype=float32"], "float32"),
        ("cpu", [], "float32"),
        ("cpu", ["sampling.dtype=bfloat16"], "bfloat16"),
        ("cpu", ["learner.dtype=bfloat16"], "bfloat16"),
    ],
)
def test_sampler_and_learner_may_differ_by_the_rounding_of_the_coarser(
    device: str, given: list[str], coarsest: str
) -> None:
    policy = Policy(SimpleNamespace(device=torch.device(device)), tokenizer=None)
    found = _coarsest_dtype(read_recipe(TINY, overrides=given), policy)
    assert found is getattr(torch, coarsest)
