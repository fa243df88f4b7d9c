"""Study files: arms over a base, lengths in words, claims with one bound."""

import math
from pathlib import Path

import pytest

from tersely.core.errors import ConfigError
from tersely.flows.recipe.recipe import check_recipe
from tersely.flows.study.judged import expectation, unit_of_claim
from tersely.flows.study.lab import Lab
from tersely.flows.study.plan import (
    Arm,
    Method,
    NamedStudy,
    arm_settings,
    base_settings,
    find_studies,
    lengths_of,
    merge,
    read_study,
    resolve,
    unit_of,
    units_of,
)
from tersely.flows.study.results import finished_units
from tersely.metrics.verdicts import Relation

ROOT = Path(__file__).parents[3]


def test_changes_go_in_and_another_name_starts_a_section_anew() -> None:
    base = {"reward": {"name": "cosine", "exceeded": -1.0}, "learner": {"steps": 3, "rate": 1}}
    assert merge(base, {"learner": {"steps": 5}})["learner"] == {"steps": 5, "rate": 1}
    assert merge(base, {"reward": {"exceeded": 0.0}})["reward"]["name"] == "cosine"
    assert merge(base, {"reward": {"name": "kimi"}})["reward"] == {"name": "kimi"}
    assert base["learner"] == {"steps": 3, "rate": 1}


def test_lengths_in_words_are_tokens_of_the_base() -> None:
    lengths = {"L_T": 30.0, "L_R": 320.0}
    wanted = {"a": "L_T", "b": ["3 L_T", "L_R"], "c": "0.5 L_T", "d": "L_Tx", "e": "truncation"}
    assert resolve(wanted, lengths) == {
        "a": 30,
        "b": [90, 320],
        "c": 15,
        "d": "L_Tx",
        "e": "truncation",
    }


@pytest.mark.parametrize("lab", Lab)
def test_every_shipped_arm_is_a_recipe_and_every_claim_can_be_told(lab: Lab) -> None:
    studies, base = find_studies("all", lab), base_settings(lab=lab)
    assert [study.name for study in studies] == [
        "two-stages",
        "budgets",
        "prompts",
        "rollouts",
        "negatives",
        "staleness",
        "transfer",
        "targets",
        "rewards",
        "rl-needed",
        "mask-scope",
        "sparse",
    ]
    for _, study in studies:
        for arm in study.arms.values():
            check_recipe(arm_settings(base, arm))
        for claim in study.claims:
            assert math.isfinite(claim.bound)
            assert expectation(claim)
            if claim.statistic in ("accuracy", "pass_at_k"):
                budget = resolve(claim.budget, lengths_of(base))
                assert budget in base["evaluation"]["budgets"]
        texts = [claim.says for claim in study.claims]
        assert len(texts) == len(set(texts))


def test_arms_that_mean_the_same_run_once(small: dict[str, object], study: NamedStudy) -> None:
    units = units_of(small, [study], seeds=2)
    assert [(unit.pool, unit.seed) for unit in units] == [
        ("easy", 1),
        ("hard", 1),
        ("easy", 2),
        ("hard", 2),
    ]
    assert len({unit.name for unit in units}) == 4


def test_what_stands_for_rl_is_a_run_of_its_own_and_no_kept_name_changes(
    small: dict[str, object],
) -> None:
    plain = Arm(says="RL")
    named = {
        "sft": {"name": "sft"},
        "merged": {"name": "sft", "merge": 0.5},
        "forced": {"name": "none", "forced": "0.5 L_T"},
    }
    units = {
        name: unit_of(small, Arm(says="x", method=Method.model_validate(each)), seed=1)
        for name, each in named.items()
    }
    units["rl"] = unit_of(small, plain, seed=1)
    assert len({unit.name for unit in units.values()}) == 4
    assert units["forced"].method is not None
    assert units["forced"].method.forced == 15
    # A result is stored under this: of the first lab, the name that it has in the repository.
    v1, lab, v2 = (
        unit_of(base_settings([("model.path", path)], lab=Lab.V1), plain, seed=1).name
        for path in ("lab-v1", "lab", "lab-v2")
    )
    assert v1 != lab == v2
    assert v1 in finished_units(ROOT / "docs" / "data" / "studies" / "lab-v1")


def test_the_arms_of_mask_scope_run_once_with_those_of_negatives() -> None:
    studies = dict(find_studies("all"))
    pair = [NamedStudy(name, studies[name]) for name in ("negatives", "mask-scope")]
    units = units_of(base_settings(), pair, seeds=1)
    assert len(units) == len(studies["negatives"].arms) + len(["vanilla_graded", "same_wrong"])


def test_where_a_run_is_sent_is_no_part_of_its_name(
    small: dict[str, object], study: NamedStudy
) -> None:
    arm = next(iter(study.study.arms.values()))
    sent = {**small, "track": {"to": ["wandb"]}}
    assert unit_of(sent, arm, seed=1) == unit_of(small, arm, seed=1)


def test_a_bound_in_words(study: NamedStudy) -> None:
    alike, shorter = study.study.claims
    assert (alike.relation, alike.bound) == (Relation.WITHIN, 0.01)
    assert expectation(alike) == "within ±1 pp"
    assert expectation(shorter) == "below −50 %"
    assert unit_of_claim(shorter) == "%"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("within = 0.01", "within = 0.01\nabove = 0.0"), "needs one of above, below, within"),
        (('arm = "same"', 'arm = "sane"'), "there is no arm 'sane'; arms are plain, hard, same"),
        (('statistic = "accuracy"', 'statistic = "acuracy"'), "claims.0.statistic"),
        (
            ('pool = "hard"', 'pool = "harder"'),
            "arms.hard.pool.*'harder' is none; choose one of easy",
        ),
        (('pool = "hard"', 'pool = "0.5 to 0.25"'), "'0.5 to 0.25' is none.*rises within 0 to 1"),
        (('pool = "hard"', 'pool = "0 to 1.5"'), "'0 to 1.5' is none"),
        (("within = 0.01", 'within = 0.01\nleast = "L_T"'), "least = 'L_T' is of area; leave it"),
        (
            ('of = { arm = "plain" }\nagainst', 'of = { arm = "plain", since = 2.0 }\nagainst'),
            "claims.1.of.since",
        ),
        (("[arms.plain]", "[arms.plain"), "is not TOML"),
        (('pool = "hard"', 'method = { name = "distil" }'), "needs told, what its teacher is told"),
        (('pool = "hard"', 'method = { name = "none", merge = 0.5 }'), "method.merge needs a name"),
        (('pool = "hard"', 'method = { name = "sft", merge = 2.0 }'), "arms.hard.method.merge"),
        (
            ('pool = "hard"', 'method = { name = "none", forced = "L_Q" }'),
            "method.forced = 'L_Q' is no length; write 20, 'L_T'",
        ),
        (
            ('pool = "hard"', 'method = { name = "none", forced = 0 }'),
            "method.forced = 0 is below 1; give at least one token",
        ),
        (
            ('pool = "hard"', 'method = { name = "none", gap = 0.1 }'),
            "method.gap = 0.1 is of dpo, and 'none' has no pairs; leave it out",
        ),
        (
            ('pool = "hard"', 'method = { name = "sft", pairs = 2 }'),
            "method.pairs = 2 is of dpo, and 'sft' has no pairs; leave it out",
        ),
        (
            ('pool = "hard"', "set.trl = { num_train_epochs = 3 }"),
            "set.trl.num_train_epochs = 3 is TRL's, which does not train this arm; leave it out",
        ),
        (('pool = "hard"', 'method = { name = "dpo", told = "" }'), "is of none and distil, not"),
        (
            ('set.reward = { name = "truncation" }', 'method = { name = "sft" }'),
            "arm 'same' is no RL and has no curve",
        ),
        (
            ('against = { arm = "plain" }', 'against = { arm = "plain", since = 0.5 }'),
            "since = 0.5 is of evaluations; leave it out",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused(
    change: tuple[str, str], complaint: str, study_file: Path
) -> None:
    text = study_file.read_text().replace(*change, 1)
    if "no curve" in complaint or "is of evaluations" in complaint:
        text = text.replace('statistic = "accuracy"', 'statistic = "curve"')
    study_file.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_study(study_file)


def test_an_unknown_study_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'tow-stages'.*two-stages"):
        find_studies("tow-stages")


def test_settings_of_the_base_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"sampling\.tempo"):
        base_settings([("sampling.tempo", 1.0)])


def test_a_study_may_bring_a_base_of_its_own_which_options_overrule(study_file: Path) -> None:
    own = "[base]\nsampling = { cap_tokens = 160 }\nproblems.train = 'gym:products'\n\n[arms.plain]"
    study_file.write_text(study_file.read_text().replace("[arms.plain]", own, 1))
    study = read_study(study_file)
    base = base_settings(own=study.base)
    assert (base["sampling"]["cap_tokens"], base["problems"]["train"]) == (160, "gym:products")
    assert base["sampling"]["samples_per_prompt"] == 8
    assert base_settings([("sampling.cap_tokens", 128)], own=study.base)["sampling"] == {
        **base["sampling"],
        "cap_tokens": 128,
    }
    with pytest.raises(ConfigError, match=r"sampling\.tempo"):
        base_settings(own={"sampling": {"tempo": 1.0}})


def test_a_result_keeps_its_name_whether_the_base_is_set_or_stated() -> None:
    arm = find_studies("two-stages")[0].study.arms["kimi"]
    stated = base_settings(own={"learner": {"steps": 7}})
    assert unit_of(stated, arm, seed=1) == unit_of(
        base_settings([("learner.steps", 7)]), arm, seed=1
    )


def test_the_pool_brings_the_system_message_of_the_base_and_an_arm_its_own() -> None:
    arm = find_studies("two-stages")[0].study.arms["truncation"]
    base = base_settings([("model.system_prompt", "Think aloud.")])
    assert "system_prompt" not in unit_of(base, arm, seed=1).settings["model"]
    other = arm.model_copy(update={"set": {"model": {"system_prompt": "Be brief."}}})
    assert unit_of(base_settings(), other, seed=1).settings["model"]["system_prompt"] == "Be brief."


@pytest.mark.parametrize("length", ["0 L_T", "0.0 L_R", "1.2.3 L_T", ". L_T"])
def test_a_length_that_is_none_names_its_key(length: str, small: dict[str, object]) -> None:
    arm = Arm(says="x", set={"target": {"tokens": length}})
    with pytest.raises(ConfigError, match=f"^set.target.tokens = '{length}' is no length above 0"):
        unit_of(small, arm, seed=1)
