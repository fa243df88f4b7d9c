"""A target length that shrinks by a constant factor, worked out by hand."""

SETTINGS = {"start_tokens": 40, "factor": 0.5, "every_steps": 2}


def test_golden_decaying(group, run):
    # two steps each at 40, 40 / 2 = 20, 20 / 2 = 10; then 5, which is below the floor of 8
    targets, state = run("decaying", [[group([5], [1])] * 2] * 8, floor_tokens=8)
    assert [t.tokens_P.tolist() for t in targets] == [
        [length, length] for length in (40, 40, 20, 20, 10, 10, 8, 8)
    ]
    assert state == {"step": 8}
