"""A target length for easy, middling and hard prompts each, worked out by hand."""

SETTINGS = {"start_tokens": 40, "step_tokens": 10, "every_steps": 2}


def test_golden_difficulty_bins(group, run):
    # easy (3 of 3 right: 12, 18, 31), middling (1 of 3: 44), hard (0 of 3). After two steps of
    # these: easy covers 90% of 12 12 18 18 31 31 with 31 -> 40, middling 44 -> 50, hard stays 100.
    groups = [
        group([12, 18, 31], [1, 1, 1]),
        group([44, 5, 5], [1, 0, 0]),
        group([7, 8, 9], [0, 0, 0]),
    ]
    targets, _ = run("difficulty_bins", [groups] * 4, start_tokens=100)
    assert [t.tokens_P.tolist() for t in targets] == [
        [100, 100, 100],
        [100, 100, 100],
        [40, 50, 100],
        [40, 50, 100],
    ]
    # half of 12 12 18 18 31 31: the third, 18 -> 20
    targets, _ = run("difficulty_bins", [groups] * 3, start_tokens=100, share=0.5)
    assert targets[2].tokens_P.tolist() == [20, 50, 100]
