"""A sample's record says whether its text ends in a loop, also where the text is not kept."""

import pytest

from tersely.core.types import Completion, Finish, Problem, SamplingSpec
from tersely.flows.evaluate.records import record_of

LOOP = "So. " + "Wait, let me look at the angle again. " * 9
PROBLEM = Problem(id="a", prompt="How many?", answer="4", source="s")
SPEC = SamplingSpec(samples=1, cap_tokens=100, seed=0)


@pytest.mark.parametrize(
    ("text", "finish", "looped"),
    [
        (LOOP, Finish.LENGTH, True),
        ("4", Finish.STOP, False),
        # Nothing is known of one that was never made.
        ("", Finish.ERROR, None),
    ],
)
def test_the_record_says_whether_the_text_loops(text: str, finish: Finish, looped: bool | None):
    completion = Completion(problem_id="a", sample=0, text=text, tokens=9, finish=finish)
    record = record_of(PROBLEM, completion, spec=SPEC, run="r", with_text=False)
    assert record.text is None
    assert record.loops is looped
