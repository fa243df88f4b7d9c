"""What a recipe is said to do, held against what training does with the same rollouts."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tersely.core import jsonl
from tersely.core.errors import ConfigError, DataError
from tersely.core.types import EvalRecord, Finish, Grade, Group, Problem, Rollout, Verdict
from tersely.flows.lint import find
from tersely.flows.lint.facts import count_resamples, gather
from tersely.flows.lint.figures import length_drift
from tersely.flows.lint.forecast import FindingSeverity
from tersely.flows.lint.pool import only_trained, read_pool
from tersely.flows.lint.prerequisites import check_filters
from tersely.flows.lint.steps import make_steps, push_all
from tersely.flows.lint.suggest import suggest
from tersely.flows.recipe.recipe import check_recipe
from tersely.flows.recipe.shaping import columns_of, graded_view, shape_step, shaping_of

GRADES = {"c": Grade.CORRECT, "w": Grade.WRONG, "x": Grade.UNPARSED, "u": Grade.UNGRADED}
CAP = 200


def recipe(**sections):
    settings = {
        "sampling": {"prompts_per_step": 2, "samples_per_prompt": 4, "cap_tokens": CAP},
        "reward": {"name": "truncation"},
        "target": {"name": "fixed", "tokens": 20},
        "learner": {"steps": 10, "learning_rate": 1e-3},
        "evaluation": {"every_steps": 5, "samples": 2, "budgets": [100]},
    }
    for name, section in sections.items():
        settings[name] = {**settings.get(name, {}), **section} if name == "sampling" else section
    return check_recipe({key: value for key, value in settings.items() if value is not None})


def record(problem, sample, word, **fields):
    """``c30``: correct in 30 tokens; ``w30!``: wrong and cut there by the cap."""
    cut = word.endswith("!")
    return EvalRecord(
        **{
            "run": "base",
            "benchmark": "b",
            "problem": problem,
            "sample": sample,
            "grade": GRADES[word[0]],
            "tokens": int(word[1:].rstrip("!")),
            "finish": Finish.LENGTH if cut else Finish.STOP,
            "cap_tokens": CAP,
            "seed": 0,
            **fields,
        }
    )


@pytest.fixture
def records(tmp_path):
    def write(problems, **fields):
        file = tmp_path / "records.jsonl"
        rows = [
            record(name, sample, word, **fields)
            for name, words in problems.items()
            for sample, word in enumerate(words.split())
        ]
        jsonl.write(file, rows)
        return file

    return write


MIXED = {
    "p1": "c10 c50 w15 w90",
    "p2": "c18 c20 c21 w5",
    "p3": "w10 w11 x100 c150",
    "p4": "c5 c5 c5 c5",
}


def lint(file, settings, **options):
    whole = read_pool(file, settings)
    return gather(settings, only_trained(whole, settings), **options)


def names(facts, severity=None):
    return [f.name for f in find(facts) if severity in (None, f.severity)]


def as_groups(problems):
    """The same samples as training would hold them."""
    return [
        Group(
            problem=Problem(id=name, prompt="", answer="", source="b"),
            rollouts=tuple(
                Rollout(
                    problem_id=name,
                    sample=sample,
                    prompt_ids=(),
                    completion_ids=(1,) * int(word[1:].rstrip("!")),
                    logprobs=np.zeros(0),
                    entropy=0.0,
                    finish=Finish.LENGTH if word.endswith("!") else Finish.STOP,
                    policy_step=0,
                    text="",
                )
                for sample, word in enumerate(words.split())
            ),
            verdicts=tuple(Verdict(grade=GRADES[word[0]]) for word in words.split()),
        )
        for name, words in problems.items()
    ]


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"treatment": {"cells": "no-long-correct", "mask_scope": "loss-only"}},
        {"reward": {"name": "kimi"}, "target": None},
        {"reward": {"name": "laser_de"}, "target": {"name": "group_quantile", "start_tokens": 60}},
        {"target": {"name": "batch_quantile", "start_tokens": 60, "share": 0.5}},
        {"filter": {"name": "gfpo", "keep": 2}},
        {"advantage": {"name": "batch_normalised"}},
        {"advantage": {"name": "difficulty_reweighted"}},
        {
            "reward": {"name": "smartthinker"},
            "target": None,
            "sampling": {"without_signal": "drop"},
        },
        {"reward": {"name": "a_dlp"}, "target": {"name": "dual_weight", "accuracy": 0.5}},
    ],
)
def test_lint_pushes_as_training_does(records, sections):
    settings = recipe(**sections)
    settings = settings.model_copy(
        update={"sampling": settings.sampling.model_copy(update={"prompts_per_step": 4})}
    )
    steps = make_steps(read_pool(records(MIXED), settings), settings)
    (step,) = steps
    pushed, _ = push_all(settings, steps)
    # the order of the groups is the step's; that of the rollouts is the records'
    groups = as_groups({name: MIXED[name] for name in (sorted(MIXED)[row] for row in step.rows)})
    shaping = shaping_of(settings)
    seen = [
        graded_view(group.problem, columns_of(group), pay_unfinished=shaping.pay_unfinished)
        for group in groups
    ]
    shaped = shape_step(shaping, seen, {})
    assert pushed.push_N.tolist() == shaped.advantage_N.tolist()
    assert pushed.reward_N.tolist() == shaped.reward_N.tolist()
    assert pushed.keep_N.tolist() == shaped.keep_N.tolist()


def test_a_longer_sample_than_the_cap_is_cut_and_wrong_unless_its_prefix_grades(records):
    words = {"p": "c10 c50 x50 w50"}
    settings = recipe(sampling={"cap_tokens": 30})
    (step,) = make_steps(read_pool(records(words), settings), settings)
    (g,) = step.views
    assert g.tokens_G.tolist() == [10, 30, 30, 30]
    assert g.finished_G.tolist() == [True, False, False, False]
    assert g.right_G.tolist() == g.formatted_G.tolist() == [True, False, False, False]
    # where the first 30 tokens grade correct, a recipe that pays the unfinished pays it
    file = records(words)
    rows = jsonl.read(file, EvalRecord)
    rows[1] = replace(rows[1], answered_budgets=(30,))
    jsonl.write(file, rows)
    paid = recipe(sampling={"cap_tokens": 30}, treatment={"unfinished": "graded"})
    for wanted, right in ((settings, [1, 0, 0, 0]), (paid, [1, 1, 0, 0])):
        (step,) = make_steps(read_pool(file, wanted), wanted)
        assert step.views[0].right_G.tolist() == right
    assert "unfinished-unknown" not in names(lint(file, paid))


def test_an_answer_that_stands_before_the_cut_is_a_bound_and_not_a_grade(records):
    paid = recipe(sampling={"cap_tokens": 30}, treatment={"unfinished": "graded"})
    for answer_tokens, most in ((25, "50.0%"), (31, "0.0%"), (None, "50.0%")):
        file = records({f"p{i}": "c10 c50 c50 w50" for i in range(3)}, answer_tokens=answer_tokens)
        facts = lint(file, paid)
        assert facts.shares.right.estimate == 0.25
        (found,) = [f for f in find(facts) if f.name == "unfinished-unknown"]
        assert f"At most {most} of all are right there" in found.evidence


def test_samples_are_dealt_into_groups_of_n_and_groups_into_steps(records):
    file = records({f"p{i}": "c10 w20 c30 w40 c50 w60 c70 w80 c90" for i in range(5)})
    settings = recipe()
    steps = make_steps(read_pool(file, settings), settings)
    # two rounds of 5 groups of 4, each cut into 2 steps; the ninth sample is left over
    assert [len(step.rows) for step in steps] == [2, 3, 2, 3]
    assert {len(g.correct_G) for step in steps for g in step.views} == {4}
    seen = sorted(
        (row, n)
        for step in steps
        for row, g in zip(step.rows, step.views, strict=True)
        for n in g.tokens_G.tolist()
    )
    assert seen == [(row, n) for row in range(5) for n in range(10, 90, 10)]


# wrong ones are short, right ones long: the loss that sees all pushes for longer
GUESSES = {f"p{i}": "c30 c60 w10 w10 w10 w10 w10 w10" for i in range(4)}


def drift_of(file, settings):
    pool = read_pool(file, settings)
    pushed, _ = push_all(settings, make_steps(pool, settings))
    return length_drift(pushed, counts_RP=count_resamples(pool))


def test_masking_all_wrong_ones_turns_the_drift_round(records):
    file, eight = records(GUESSES), {"samples_per_prompt": 8}
    target = {"name": "fixed", "tokens": 30}
    # mean length 18.75; rewards 1 and seven 0: advantages sqrt(7) and -1/sqrt(7);
    # gaps 11.25, 41.25, six times -8.75: sum 29.76 - 15.59 + 19.84 = 34.02, over 8: 4.252
    vanilla = drift_of(file, recipe(sampling=eight, target=target))
    assert vanilla.tokens == pytest.approx(4.252, abs=1e-3)
    # of the right ones alone: 1 * 11.25 - 1 * 41.25 = -30, over 8
    cells = {"cells": "no-wrong"}
    masked = drift_of(file, recipe(sampling=eight, target=target, treatment=cells))
    assert masked.tokens == pytest.approx(-3.75)
    assert masked.wrong.estimate == 0


def test_correctness_alone_has_no_drift_where_lengths_are_the_same(records):
    file = records({"p1": "c10 w10 c90 w90", "p2": "c10 w10 c90 w90"})
    drift = drift_of(file, recipe(reward={"name": "correctness"}, target=None))
    assert [i.estimate for i in drift[:3]] == pytest.approx([0, 0, 0])


def test_the_mean_of_each_sequence_weighs_a_long_rollout_less(records):
    # advantages sqrt(3) (10 tokens) and -1/sqrt(3) (30 tokens, three times)
    file = records({"p": "c10 w30 w30 w30"})
    plain = drift_of(file, recipe())
    # weights 1/10 and 1/30 over their mean of 1/20: 2 and 2/3; gaps -15 and 5
    by_row = drift_of(file, recipe(loss={"aggregation": "sequence_mean"}))
    assert plain.tokens == pytest.approx((-15 * 3**0.5 - 3 * 5 * 3**-0.5) / 4)
    assert by_row.tokens == pytest.approx((-15 * 3**0.5 * 2 - 3 * 5 * 3**-0.5 * 2 / 3) / 4)


SPREAD = {f"p{i}": "c10 c15 c90 w12 w15 w95 w90 w150" for i in range(40)}


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ("vanilla", []),
        ("no-long-correct", []),
        ("no-wrong", ["every-negative-masked"]),
        ("no-long-correct-no-short-wrong", ["short-is-correct"]),
        ("no-long-correct-no-long-wrong", ["every-long-masked"]),
    ],
)
def test_the_treatments_that_the_paper_saw_fail_are_errors(records, cells, wanted):
    file = records(SPREAD)
    facts = lint(file, recipe(sampling={"samples_per_prompt": 8}, treatment={"cells": cells}))
    assert names(facts, FindingSeverity.ERROR) == wanted
    assert ("long-correct-masked" in names(facts)) is (cells == "no-long-correct") or wanted


def test_sampling_up_to_the_target_lifts_the_trap_of_long_ones_and_masks_all_the_rest(records):
    file = records(SPREAD)
    tight = {"samples_per_prompt": 8, "cap_tokens": 20}
    cells = "no-long-correct-no-long-wrong"
    facts = lint(file, recipe(sampling=tight, treatment={"cells": cells}))
    assert not names(facts, FindingSeverity.ERROR)
    # every wrong one is short, so masking these leaves nothing to tell right ones from
    cells = "no-long-correct-no-short-wrong"
    facts = lint(file, recipe(sampling=tight, treatment={"cells": cells}))
    assert names(facts, FindingSeverity.ERROR) == ["zero-signal", "every-negative-masked"]
    assert facts.shares.silent.estimate == 1


def test_few_positives_are_an_error_and_say_which_target_has_more(records):
    file = records({f"p{i}": "c90 c90 c90 w12" for i in range(39)} | {"q": "c10 w12 w12 w12"})
    (found,) = [f for f in find(lint(file, recipe())) if f.name == "positive-share"]
    assert found.severity is FindingSeverity.ERROR
    # 1 of 160; at 90 tokens 118 of 160
    assert found.title.startswith("0.6% of rollouts")
    assert "target.tokens = 90 (73.8% positive)" in found.setting


def test_rare_successes_under_the_std_are_named(records):
    file = records({f"p{i}": "c10 w12 w30 w40 w50 w60 w70 w80" for i in range(40)})
    facts = lint(file, recipe(sampling={"samples_per_prompt": 8}))
    assert "rare-positives" in names(facts, FindingSeverity.WARNING)
    plain = lint(
        file,
        recipe(sampling={"samples_per_prompt": 8}, advantage={"name": "group_centred"}),
    )
    assert "rare-positives" not in names(plain)


def test_the_length_of_wrong_answers_is_named_where_a_reward_tells_them_apart(records):
    file = records({f"p{i}": "w10 w50 w90 w150" for i in range(40)})
    facts = lint(file, recipe(reward={"name": "kimi"}, target=None))
    assert "length-among-wrong" in names(facts, FindingSeverity.ERROR)
    assert facts.sources.all_wrong == 1


def test_estimates_for_the_records_own_n_are_what_was_counted(records):
    facts = lint(records(MIXED), recipe())
    # p1 and p2 have both pays, p3 none paid, p4 all
    assert facts.shares.silent.estimate == 0.5
    assert facts.silent_at[4] == (0.5, True)
    assert not facts.silent_at[8].unbiased


def test_groups_of_n_are_estimated_where_the_records_have_smaller_ones(records):
    file = records({f"p{i}": "c10 w12 w50 w60" for i in range(40)})
    facts = lint(file, recipe(sampling={"samples_per_prompt": 16}))
    (found,) = [f for f in find(facts) if f.name == "zero-signal"]
    # none of 4 is silent; 1 in 4 is paid, so of 16 some but few: at most .9^16 = 19%
    assert facts.shares.silent.estimate == 0
    assert found.title.endswith("of groups of 16 teach nothing (estimated)")
    assert 0 < facts.silent_at[16].share < 0.19


def test_dropped_groups_are_counted_as_silent_and_left_out_of_the_estimate(records):
    file = records({"p1": "c10 c10 c90 c90", "p2": "c10 w10 w10 w10"})
    facts = lint(file, recipe(sampling={"without_signal": "drop"}))
    # p1 is all right, and half of it is long
    assert facts.shares.silent.estimate == 0.5
    assert facts.silent_at[4] == (0, True)
    assert facts.kinds.endswith("dropped groups aside")
    assert "dropped-by-verifier" in names(facts)


def test_cost_is_the_mean_length_times_the_plan(records):
    facts = lint(
        records({"p1": "c10 c20 w30 w40", "p2": "c10 c20 w30 w40"}),
        recipe(),
        tokens_per_second=100.0,
    )
    # 2 prompts x 4 x 25 tokens x 10 steps; 3 evaluations of 400 problems x 2 samples x 25
    assert facts.cost.training_tokens == 2000
    assert facts.cost.evaluation_tokens == 60_000
    assert facts.cost.hours == pytest.approx(62_000 / 100 / 3600)
    assert facts.cost.most_tokens == 10 * 8 * CAP + 3 * 800 * 100


def test_refilled_groups_are_paid_for(records):
    file = records({"p1": "c10 w10 c10 w10", "p2": "w10 w10 w10 w10"})
    settings = recipe(sampling={"without_signal": "refill", "refill_rounds": 2})
    # half of the groups teach nothing: 2 + 1 + 1/2 groups
    assert lint(file, settings).cost.sampled_groups == pytest.approx(3.5)


def test_one_sample_a_problem_says_what_cannot_be_said(records):
    facts = lint(records({f"p{i}": "c10" for i in range(40)}), recipe())
    assert "no-groups" in names(facts, FindingSeverity.WARNING)
    assert not {"zero-signal", "length-drift", "positive-share"} & set(names(facts))
    assert facts.silent_at == {}
    assert facts.curve[0].right_within.value == 1


def test_records_without_lengths_are_refused(records):
    with pytest.raises(DataError, match="every sample has a length of 0 tokens"):
        read_pool(records({"p": "c0 w0"}), recipe())


def test_records_cut_below_the_cap_bound_what_is_not_known(records):
    file = records({f"p{i}": "c10 w20 w200! w200!" for i in range(40)})
    short = lint(file, recipe(sampling={"cap_tokens": 400}))
    (found,) = [f for f in find(short) if f.name == "records-cut-short"]
    # truncation at 20 tokens: what comes after 200 cannot matter
    assert found.severity is FindingSeverity.INFO
    assert "50.0% of samples were cut there" in found.evidence
    kimi = recipe(sampling={"cap_tokens": 400}, reward={"name": "kimi"}, target=None)
    (found,) = [f for f in find(lint(file, kimi)) if f.name == "records-cut-short"]
    assert found.severity is FindingSeverity.WARNING
    assert "between 25.0% and 75.0%" in found.evidence
    assert found.setting == "tersely eval --cap-tokens 400"


def test_a_fixed_target_that_the_reward_does_not_look_at_is_said_to_be_unused(records):
    for reward, unused in (("gr3", True), ("kimi", True), ("laser", False)):
        facts = lint(records(MIXED), recipe(reward={"name": reward}))
        assert ("unused-target" in names(facts)) is unused


def test_missing_references_are_an_error_and_the_records_stand_in(records):
    facts = lint(records(MIXED), recipe(reward={"name": "o1_pruner"}, target=None))
    assert names(facts, FindingSeverity.ERROR)[0] == "missing-references"
    assert facts.pool.problems[0].reference_tokens == (10 + 50 + 15 + 90) / 4
    assert facts.pool.problems[0].reference_accuracy == 0.5
    assert np.isfinite(facts.pushed.reward_N).all()


def test_a_reward_of_thinking_needs_texts(records):
    thought = recipe(reward={"name": "adaptthink"}, target=None)
    with pytest.raises(DataError, match="some records hold no text"):
        read_pool(records(MIXED), thought)
    pool = read_pool(records(MIXED, text="<think>hm</think>4"), thought)
    assert pool.thought_PS.all()
    assert not read_pool(records(MIXED, text="4"), thought).thought_PS.any()


def test_views_hold_the_parts_of_lengths_cut_as_the_samples_are(records):
    file = records({"p": "c10 c150 w15 w30"}, thinking_tokens=40, answer_tokens=120)
    settings = recipe(sampling={"cap_tokens": 100})
    ((view,),) = [step.views for step in make_steps(read_pool(file, settings), settings)]
    assert view.tokens_G.tolist() == [10, 100, 15, 30]
    # The cap cuts the second, which is wrong then: all of it stands before a right answer.
    assert view.thinking_G.tolist() == [10, 40, 15, 30]
    assert view.first_right_G.tolist() == [10, 100, 15, 30]


def test_records_without_parts_of_lengths_give_views_without(records):
    file = records({"p": "c10 c20 w15 w30"})
    ((view,),) = [step.views for step in make_steps(read_pool(file, recipe()), recipe())]
    assert view.thinking_G is None
    assert view.first_right_G is None


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"name": "history_minimum"}, "no prompt has a history yet"),
        ({"name": "difficulty_bins", "start_tokens": 100, "step_tokens": 10}, "L_T is 100 "),
        ({"name": "staged", "tokens": [150, 20], "every_steps": 5}, "L_T is 150 "),
    ],
)
def test_targets_that_move_are_said_to_be_of_step_one(records, target, says):
    reward = "hapo" if target["name"] == "history_minimum" else "truncation"
    facts = lint(records(MIXED), recipe(reward={"name": reward}, target=target))
    (found,) = [f for f in find(facts) if f.name == "moving-target"]
    assert says in found.evidence


def test_credit_of_tokens_is_said_not_to_be_judged(records):
    facts = lint(records(MIXED), recipe(credit={"name": "after_right"}))
    (found,) = [f for f in find(facts) if f.name == "credit-not-judged"]
    assert "credit after_right" in found.title
    assert "credit-not-judged" not in names(lint(records(MIXED), recipe()), FindingSeverity.INFO)


def test_ungraded_samples_are_left_out_and_stop_a_run_above_the_bound(records):
    facts = lint(records({f"p{i}": "c10 w10 u10 u10" for i in range(30)}), recipe())
    assert "ungraded" in names(facts, FindingSeverity.ERROR)
    assert len(facts.pushed.push_N) == 60
    assert "small-groups" in names(facts)


def test_the_recipes_band_chooses_among_the_records(records):
    file = records(MIXED, difficulty=3.0)
    inside = recipe(problems={"band": [1, 4]})
    assert len(only_trained(read_pool(file, inside), inside).problems) == 4
    outside = recipe(problems={"band": [4, 5]})
    with pytest.raises(ConfigError, match="difficulties run from 3 to 3"):
        only_trained(read_pool(file, outside), outside)
    untold = only_trained(read_pool(records(MIXED), outside), outside)
    assert any("band is not applied" in note for note in untold.notes)


def test_a_peers_filter_on_the_shaped_reward_is_an_error(records):
    settings = recipe(trl={"algorithm": {"filter_groups": {"metric": "seq_reward"}}})
    (found,) = check_filters(lint(records(MIXED), settings))
    assert found.severity is FindingSeverity.ERROR
    assert "trl.algorithm.filter_groups.metric = 'seq_reward'" in found.title
    fine = recipe(trl={"algorithm": {"filter_groups": {"metric": "acc"}}})
    assert not list(check_filters(lint(records(MIXED), fine)))


def test_a_suggestion_is_a_recipe_with_a_denser_target_and_easier_prompts(tmp_path):
    easy, hard = "c10 c15 c20 c60 w60 w70 c40 c90", "c90 w60 w70 w80 w95 w99 w90 w90"
    rows = [
        record(f"{name}{i}", sample, word, difficulty=level)
        for name, words, level in (("e", easy, 1.0), ("h", hard, 2.0))
        for i in range(30)
        for sample, word in enumerate(words.split())
    ]
    file = tmp_path / "records.jsonl"
    jsonl.write(file, rows)
    settings = recipe(
        sampling={"samples_per_prompt": 8},
        target={"name": "fixed", "tokens": 10},
        treatment={"cells": "no-wrong"},
    )
    found = suggest(settings, read_pool(file, settings), tokens_per_second=None)
    assert found.recipe.problems.band == (1.0, 1.0)
    assert found.recipe.treatment.cells.wrong_short == 0.0
    # of the easy, 3 of 8 are right within 30 tokens, half way up; 5 of 8 within 60, the next
    assert found.recipe.target.parameters["tokens"] == found.recipe.sampling.cap_tokens == 60
    assert found.chosen.positive.value == 5 / 8
    assert found.recipe.sampling.samples_per_prompt == 8
    assert not names(found.facts, FindingSeverity.ERROR)
    assert len(found.reasons) == 4


@pytest.mark.parametrize("chosen_by", ["file", "band", "limit"])
def test_exactly_the_prompts_that_the_recipe_trains_on_are_judged(records, tmp_path, chosen_by):
    rng = np.random.default_rng(0)
    words = {
        f"p{n:02d}": " ".join(
            f"{'cw'[int(rng.random() < n / 40)]}{rng.integers(5, 90)}" for _ in range(4)
        )
        for n in range(40)
    }
    mine = [name for n, name in enumerate(words) if n % 3 == 0]
    in_file = mine if chosen_by == "file" else [*mine, *(n for n in words if n not in mine)]
    training = tmp_path / "training.jsonl"
    rows = [
        {"id": n, "prompt": f"Say {n}.", "answer": "7", "difficulty": 1 if n in mine else 9}
        for n in in_file
    ]
    training.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    section = {"train": str(training), "test": "lab"}
    section |= {"band": [0, 5]} if chosen_by == "band" else {}
    section |= {"train_limit": len(mine)} if chosen_by == "limit" else {}
    facts = lint(records(words, difficulty=5.0), recipe(problems=section))
    assert [p.id for p in facts.pool.problems] == mine
    assert any(
        f"trains on {len(mine)} problems; the records hold {len(mine)} of them, and "
        f"{40 - len(mine)} others" in note
        for note in facts.pool.notes
    )
    # By a loop over the samples: no reward differs within a group.
    silent = [
        len({word[0] == "c" and int(word[1:]) <= 20 for word in words[name].split()}) == 1
        for name in mine
    ]
    alone = lint(records({name: words[name] for name in mine}), recipe())
    assert facts.cells == alone.cells
    assert facts.shares.positive == alone.shares.positive
    assert facts.shares.silent.estimate == pytest.approx(np.mean(silent))


def test_records_of_other_problems_are_judged_as_like_those(records, tmp_path):
    training = tmp_path / "training.jsonl"
    training.write_text('{"id": "q", "prompt": "Say.", "answer": "7"}\n', encoding="utf-8")
    facts = lint(records(MIXED), recipe(problems={"train": str(training), "test": "lab"}))
    assert len(facts.pool.problems) == 4
    assert any("None of the records' 4 problems is one of the 1" in n for n in facts.pool.notes)


def test_one_id_of_another_prompt_is_another_problem(records, tmp_path):
    file = records(MIXED)
    asked = [Problem(id=n, prompt=f"Asked {n}", answer="7", source="b") for n in MIXED]
    jsonl.write(file.parent / "problems.jsonl", asked)
    training = tmp_path / "training.jsonl"
    rows = [{"id": "p1", "prompt": "Another", "answer": "7"}]
    rows += [{"id": "renamed", "prompt": "asked  P2", "answer": "7"}]
    training.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    facts = lint(file, recipe(problems={"train": str(training), "test": "lab"}))
    assert [p.id for p in facts.pool.problems] == ["renamed"]


def test_a_prompt_that_stands_twice_in_the_recipe_is_held_twice_by_the_records(records, tmp_path):
    training = tmp_path / "training.jsonl"
    rows = [
        {"id": n, "prompt": "Say it." if n in ("p1", "p2") else n, "answer": "7"} for n in MIXED
    ]
    training.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    file = records(MIXED)
    asked = [Problem(id=r["id"], prompt=r["prompt"], answer="7", source="b") for r in rows]
    jsonl.write(file.parent / "problems.jsonl", asked)
    facts = lint(file, recipe(problems={"train": str(training), "test": "lab"}))
    assert len(facts.pool.problems) == 4
    assert "The recipe trains on 4 problems; the records hold 4 of them." in facts.pool.notes
    assert any(
        "Training refuses these problems: problems.train: 1 of 4" in n for n in facts.pool.notes
    )


def test_a_records_level_of_effort_is_its_problems_where_no_file_of_problems_says_it(tmp_path):
    file = tmp_path / "records.jsonl"
    made = [
        record(f"p{p} {level}", 0, "c30", effort=level)
        for p in range(3)
        for level in ("low", "high")
    ]
    jsonl.write(file, [*made, record("plain", 0, "c30")])
    pool = read_pool(file, recipe())
    assert [p.effort for p in pool.problems] == [
        None if p.id == "plain" else p.id.split()[1] for p in pool.problems
    ]
    assert {p.effort for p in pool.problems} == {"low", "high", None}
