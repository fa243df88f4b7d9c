"""A target length that is lowered at set steps, worked out by hand."""

SETTINGS = {"tokens": [30, 20, 10], "every_steps": 2}


def test_golden_staged(group, run):
    # two steps each at 60, 40, 20, and 20 from then on
    targets, _ = run("staged", [[group([5], [1])]] * 8, tokens=[60, 40, 20])
    assert [t.tokens_P[0] for t in targets] == [60, 60, 40, 40, 20, 20, 20, 20]
