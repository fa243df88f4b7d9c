"""``tersely rewards`` as a user calls it."""

import pytest
from typer.testing import CliRunner

from tersely import rewards
from tersely.cli import app
from tersely.flows.recipe.reward_curve import describe_rewards, trace_reward

MEMBERS = [(True, 20), (False, 60)]


def call(*words):
    return CliRunner().invoke(app, ["rewards", *map(str, words)])


def curve(name, **parameters):
    points = trace_reward(name, parameters, MEMBERS, target_tokens=40.0, cap_tokens=100)
    return {(p.right, p.tokens): p.reward for p in points}


def test_the_list_has_every_reward_with_its_formula_and_source():
    facts = {f.name: f for f in describe_rewards()}
    assert list(facts) == rewards.available()
    assert all(f.formula and f.source for f in facts.values())
    assert facts["truncation"].source == "arXiv:2602.20945, Eq. 2"
    assert facts["truncation"].needs == "target_tokens"
    assert facts["lazy_penalty"].needs == "weight where given"
    assert facts["kimi"].parameters == "alpha = 0.4 (>= 0, <= 2)"
    assert "lowest = -inf (<= 0)" in facts["o1_pruner"].parameters
    done = call()
    assert done.exit_code == 0
    for name in rewards.available():
        assert name[:12] in done.stdout


def test_a_curve_is_what_the_reward_pays():
    # truncation: 1 up to the target of 40, 0 beyond, wrong ones nothing
    paid = curve("truncation")
    assert all(reward == (right and tokens <= 40) for (right, tokens), reward in paid.items())
    # kimi, beside lengths 20 and 60: at 20 the shortest: 1 + .4 * .5; at 60 the longest: 1 - .2
    paid = curve("kimi")
    assert paid[True, 20] == pytest.approx(1.2)
    assert paid[True, 60] == pytest.approx(0.8)
    # a rollout as long as the cap was cut: never right
    assert paid[True, 100] == paid[False, 100]


@pytest.mark.parametrize("name", rewards.available())
def test_every_reward_can_be_drawn(name, tmp_path):
    assert curve(name)


def test_a_picture_is_written(tmp_path):
    done = call("plot", "laser", "--set", "alpha=0.2", "--out", tmp_path / "laser.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "laser.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nope",), "there is no reward 'nope'"),
        (("kimi", "--set", "beta=1"), "no parameter 'beta' of the reward kimi"),
        (("kimi", "--set", "alpha=-1"), "reward.alpha = -1 is below 0"),
        (("kimi", "--set", "alpha"), "is not key=value"),
        (("kimi", "--group", "r20 x30"), "group member 'x30' is not r or w and a length"),
        (("kimi", "--cap", "1"), "--cap-tokens 1 is outside 2 to"),
        (("kimi", "--target-tokens", "0"), "--target-tokens 0 must be above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(words, message):
    done = call("plot", *words)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
