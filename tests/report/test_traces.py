from dataclasses import replace

from tersely.core.types import EvalRecord, Finish, Grade, Problem
from tersely.report.traces import pair_traces

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
    return [t["change"] for t in pair_traces([before], [after], problems={})]


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
    (known,) = pair_traces([RECORD], [WRONG], problems={"p": problem})
    assert (known["prompt"], known["answer"]) == ("the prompt", "42")
    (unknown,) = pair_traces([RECORD], [WRONG], problems={})
    assert (unknown["prompt"], unknown["answer"]) == ("recorded prompt", None)


def test_symbols_of_a_spaced_text_are_spaced_and_stay_one_a_token():
    symbols = replace(RECORD, text="a b")
    (trace,) = pair_traces([symbols], [replace(RECORD, text="abc")], problems={})
    assert trace["before"]["pieces"] == ["a ", "b ", "c "]
    assert trace["after"]["pieces"] == ["a", "b", "c"]


def test_when_there_are_too_many_the_rare_changes_are_kept():
    # 9 shown of 2 fixed, 1 broken, 20 same: all of the rare ones, then 6 of the rest.
    kinds = [(WRONG, RECORD)] * 2 + [(RECORD, WRONG)] + [(RECORD, RECORD)] * 20
    before = [replace(b, problem=f"p{i:02}") for i, (b, _) in enumerate(kinds)]
    after = [replace(a, problem=f"p{i:02}") for i, (_, a) in enumerate(kinds)]
    shown = [t["change"] for t in pair_traces(before, after, problems={}, shown=9)]
    assert sorted(shown) == ["broken"] + ["fixed"] * 2 + ["same"] * 6
    names = [t["problem"] for t in pair_traces(before[::-1], after, problems={}, shown=9)]
    assert names == sorted(names)
