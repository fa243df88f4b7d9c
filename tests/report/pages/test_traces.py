from dataclasses import replace

from tersely.core.types import EvalRecord, Finish, Grade, Problem
from tersely.report.pages.traces import describe, group_traces, pair_traces

RECORD = EvalRecord(
    run="r",
    benchmark="b",
    problem="p",
    sample=0,
    grade=Grade.CORRECT,
    tokens=3,
    finish=Finish.STOP,
    cap_tokens=8,
    seed=1,
    prompt="recorded prompt",
    pieces=("a", "b", "c"),
)
WRONG = replace(RECORD, grade=Grade.WRONG)
CUT = replace(RECORD, finish=Finish.LENGTH)


def changes(before, after):
    return [t["group"] for t in pair_traces([before], [after], problems={}, budgets=[])]


def test_right_means_correct_and_finished():
    assert changes(WRONG, RECORD) == ["fixed"]
    assert changes(RECORD, WRONG) == ["broken"]
    assert changes(RECORD, RECORD) == ["same"]
    assert changes(CUT, RECORD) == ["fixed"]
    assert changes(CUT, WRONG) == ["same"]


def test_only_traces_kept_in_both_evaluations_are_shown():
    assert changes(replace(RECORD, pieces=None), RECORD) == []
    assert changes(RECORD, replace(RECORD, pieces=None)) == []
    assert changes(RECORD, replace(RECORD, sample=1)) == []


def test_a_known_problem_supplies_prompt_and_answer():
    problem = Problem(id="p", prompt="the prompt", answer="42", source="s")
    (known,) = pair_traces([RECORD], [WRONG], problems={"p": problem}, budgets=[])
    assert (known["prompt"], known["answer"]) == ("the prompt", "42")
    (unknown,) = pair_traces([RECORD], [WRONG], problems={}, budgets=[])
    assert (unknown["prompt"], unknown["answer"]) == ("recorded prompt", None)


def test_symbols_of_a_spaced_text_are_spaced_and_stay_one_a_token():
    symbols = replace(RECORD, text="a b")
    assert describe(symbols, budgets=[2])["parts"] == ["a b ", "c "]
    assert describe(replace(RECORD, text="abc"), budgets=[2])["parts"] == ["ab", "c"]


def test_a_mark_stands_where_a_budget_is_spent_before_the_end():
    # Three pieces: budgets 1 and 2 end inside, 3 at the end and 8 beyond it.
    assert describe(RECORD, budgets=[8, 3, 1, 2])["parts"] == ["a", "b", "c"]
    assert describe(RECORD, budgets=[3, 8])["parts"] == ["abc"]
    assert describe(replace(RECORD, pieces=None, text="abc"), budgets=[1])["parts"] == ["abc"]


def test_samples_are_grouped_by_problem_and_side_in_order():
    text = replace(RECORD, pieces=None, text="t")
    left = [replace(text, sample=1), text, replace(text, problem="o", text=None)]
    traces = group_traces(left, [replace(text, problem="q")], budgets=[])
    assert list(traces) == [("b", "p"), ("b", "q")]
    assert [[s["sample"] for s in side] for side in traces["b", "p"]["sides"]] == [[0, 1], []]
    assert [len(side) for side in traces["b", "q"]["sides"]] == [0, 1]


def test_a_page_too_large_keeps_first_samples_of_every_problem():
    # Four texts of 5 characters, room for 11: the first sample of both problems.
    text = replace(RECORD, pieces=None, text="12345")
    records = [replace(text, problem=p, sample=s) for p in "pq" for s in (0, 1)]
    traces = group_traces(records, budgets=[], characters=11)
    assert [[s["sample"] for s in t["sides"][0]] for t in traces.values()] == [[0], [0]]


def test_when_there_are_too_many_the_rare_changes_are_kept():
    # 9 shown of 2 fixed, 1 broken, 20 same: all of the rare ones, then 6 of the rest.
    kinds = [(WRONG, RECORD)] * 2 + [(RECORD, WRONG)] + [(RECORD, RECORD)] * 20
    before = [replace(b, problem=f"p{i:02}") for i, (b, _) in enumerate(kinds)]
    after = [replace(a, problem=f"p{i:02}") for i, (_, a) in enumerate(kinds)]
    shown = [t["group"] for t in pair_traces(before, after, problems={}, budgets=[], shown=9)]
    assert sorted(shown) == ["broken"] + ["fixed"] * 2 + ["same"] * 6
    names = [
        t["problem"] for t in pair_traces(before[::-1], after, problems={}, budgets=[], shown=9)
    ]
    assert names == sorted(names)
