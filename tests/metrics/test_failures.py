"""Failed samples are counted by reason and by problem."""

from tersely.metrics.failures import count_failed, tell_failed


def test_reasons_are_counted_with_their_problems_and_the_commonest_comes_first() -> None:
    failed = [("a", "late"), ("b", "long"), ("b", "long"), ("c", "long"), ("d", None)]
    found = count_failed(failed, made=20, left={"a", "z"})
    assert found is not None
    assert (found.samples, found.made, found.problems, found.lost) == (5, 20, 4, 3)
    assert [(r.text, r.samples, r.problems) for r in found.reasons] == [
        ("long", 3, ("b", "c")),
        ("late", 1, ("a",)),
        ("the reason is not on record", 1, ("d",)),
    ]
    assert tell_failed(found).startswith("5 of 20 samples failed (25.0%), of 4 problems, 3 of them")


def test_nothing_failed_is_nothing_to_tell() -> None:
    assert count_failed([], made=20, left={"a"}) is None
