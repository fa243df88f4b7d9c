"""A target length for each prompt from its own right rollouts, worked out by hand."""

SETTINGS = {"start_tokens": 40}


def test_golden_group_quantile(group, run):
    # 10, 20: .9 of the way: 19; one right: itself; none: the start
    groups = [group([10, 20, 99], [1, 1, 0]), group([30, 90], [1, 0]), group([5], [0])]
    (target,), _ = run("group_quantile", [groups], start_tokens=100)
    assert target.tokens_P.tolist() == [19.0, 30.0, 100.0]
