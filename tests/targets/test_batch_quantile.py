"""A target length that follows the step's right rollouts, worked out by hand."""

SETTINGS = {"start_tokens": 40}


def test_golden_batch_quantile(group, run):
    # right lengths 10, 20, 30, 40, 50: the .9 quantile lies at place 3.6: 46. Then none is
    # right: 46 stays. Then 10 alone, but not below the floor.
    steps = [
        [group([10, 20, 99], [1, 1, 0]), group([30, 40, 50], [1, 1, 1])],
        [group([5, 6, 7], [0, 0, 0])],
        [group([10, 90], [1, 0])],
    ]
    targets, _ = run("batch_quantile", steps, floor_tokens=12)
    assert [t.tokens_P.tolist() for t in targets] == [[46.0, 46.0], [46.0], [12.0]]
