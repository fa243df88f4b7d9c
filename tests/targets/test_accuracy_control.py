"""A bonus and a budget that follow accuracy and length, worked out by hand."""

import pytest

from tersely.core.errors import ConfigError
from tersely.targets import check

SETTINGS = {
    "start_tokens": 30,
    "floor_tokens": 4,
    "start_weight": 0.1,
    "span_steps": 3,
    "window_steps": 2,
    "warmup_steps": 1,
}


def test_golden_accuracy_control(group, run):
    # The means take half of each new step. Accuracy 1, 1, 0, 1: means 1, 1, .5, .75. From step 1 on
    # the last two are compared: held, so * 1.02; fell by .5, so * .95; rose, so * 1.02. Right
    # lengths 20, 10, none, 40: means 20, 15, 15, 27.5; the budget is .85 of them, set after the
    # step. The third step has no right answer and leaves the mean length as it is.
    lengths = [([20, 20], [1, 1]), ([10, 10], [1, 1]), ([5, 5], [0, 0]), ([40, 40], [1, 1])]
    steps = [[group(*each)] for each in (*lengths, lengths[-1])]
    targets, state = run("accuracy_control", steps)
    expected = [0.1, 0.1, 0.102, 0.0969, 0.098838]
    assert [t.weight for t in targets] == pytest.approx(expected)
    tokens = [float(t.tokens_P[0]) for t in targets]
    assert tokens == pytest.approx([30, 30, 12.75, 12.75, 23.375])
    assert state["step"] == 5


def test_weight_and_budget_stay_within_their_ends(group, run):
    always = [[group([5, 5], [1, 1])]] * 40
    targets, _ = run("accuracy_control", always, most_weight=0.11, floor_tokens=8)
    assert targets[-1].weight == 0.11
    assert targets[-1].tokens_P.tolist() == [8]
    sinking = [[group([9] * 50, [1] * (50 - n) + [0] * n)] for n in range(50)]
    targets, _ = run("accuracy_control", sinking, least_weight=0.09, drop=0.001)
    assert targets[-1].weight == 0.09


def test_nothing_moves_before_the_warm_up_and_a_whole_window(group, run):
    always = [[group([5, 5], [1, 1])]] * 9
    for settings in ({"warmup_steps": 5}, {"window_steps": 6}):
        targets, _ = run("accuracy_control", always, **settings)
        assert [t.weight for t in targets[:6]] == [0.1] * 6
        assert targets[6].weight == pytest.approx(0.102)


def test_a_run_that_never_had_a_right_answer_keeps_its_budget(group, run):
    targets, _ = run("accuracy_control", [[group([5, 5], [0, 0])]] * 6)
    assert [float(t.tokens_P[0]) for t in targets] == [30] * 6


def test_weights_that_do_not_rise_are_refused():
    with pytest.raises(ConfigError, match="start_weight = 0.7 is outside"):
        check("accuracy_control", {"start_tokens": 30, "start_weight": 0.7})
