"""What is said beside a comparison, in plain words."""

from tersely.flows.evaluate.measuring import _differing_settings, _tell_short_cut
from tersely.metrics.windows import ShortCut
from tersely.readers.evaluations import Loaded


def side(name, sent):
    facts = {"request settings": repr(sorted(sent.items()))}
    return Loaded(name, None, None, (), (), facts, ())


def test_request_settings_that_differ_are_named_one_by_one():
    low = side("low", {"reasoning_effort": "low", "stop texts": ("a",), "min_p": 0.1})
    high = side("high", {"reasoning_effort": "high", "stop texts": ("a",)})
    assert _differing_settings(low, high) == [
        "Requests differ in min_p: 0.1 in low, not set in high.",
        "Requests differ in reasoning_effort: low in low, high in high.",
    ]


def test_one_sample_was_cut_and_two_were():
    (one,) = _tell_short_cut(ShortCut(1, 22, 50))
    (two,) = _tell_short_cut(ShortCut(2, 22, 50))
    assert one.startswith("1 of 22 samples was cut by a lower cap of its own")
    assert "it counts as not right" in one
    assert two.startswith("2 of 22 samples were cut by a lower cap of their own")
