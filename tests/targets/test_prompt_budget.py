"""A budget of each problem's own, stated in its prompt."""

import pytest

from tersely.core.errors import ConfigError
from tersely.targets import check
from tersely.targets.prompt_budget import announced, budget_of

SETTINGS = {"low_tokens": 10, "high_tokens": 40, "phrase": "?{tokens}"}


def test_a_problems_budget_is_the_one_its_prompt_states(group, run):
    settings = {"low_tokens": 10, "high_tokens": 90}
    ids = [f"p{i}" for i in range(4000)]
    groups = [group([5], [1], problem=i) for i in ids]
    (target,), _ = run("prompt_budget", [groups], **settings)
    stated = [announced("2+2?", i, **settings, phrase=" In {tokens}.") for i in ids]
    assert stated == [f"2+2? In {int(tokens)}." for tokens in target.tokens_P]
    # uniform: every budget comes, mean 50, standard error 23.4 / sqrt(4000) = 0.37
    assert set(target.tokens_P) == set(range(10, 91))
    assert abs(target.tokens_P.mean() - 50) < 1.5
    # a golden draw holds it to be the same in every process
    assert announced("?", "p0", **settings).startswith("? Think for ")
    assert budget_of("p0", low_tokens=1, high_tokens=10**9) == 394313717


def test_a_budget_that_cannot_be_stated_is_refused():
    for settings, message in [
        ({"low_tokens": 0}, "target.low_tokens = 0 is below 1; set"),
        ({"low_tokens": 50, "high_tokens": 49}, "target.high_tokens = 49 is below"),
        ({"phrase": "Think briefly."}, "does not state the budget"),
    ]:
        with pytest.raises(ConfigError, match=message):
            check("prompt_budget", settings)
