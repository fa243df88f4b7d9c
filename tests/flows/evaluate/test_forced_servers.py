"""*forced* and *answered* through servers: exact where they go on, one line where they do not."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "engines" / "http"))
from faulty_server import reply
from going_on import Talker, gone_on, thought
from serving import plan, records_of

from tersely.core import jsonl
from tersely.core.errors import ConfigError
from tersely.core.forcing import ForcedRecord
from tersely.core.types import Finish, Grade, SamplingSpec
from tersely.engines.http.request import seed_of
from tersely.flows.evaluate.session import run_evaluation
from tersely.flows.observer import QUIET, Quiet
from tersely.metrics.budgets import Protocol
from tersely.readers.evaluations import load

BUDGETS = (3, 20, 30, 45)
CAP, ALLOWANCE = 60, 6
VLLM = Talker(ids=True, completions=True, goes_on=True)
CHAT = Talker(goes_on=True)


def forced_plan(server, benchmark, out, *, protocol=Protocol.FORCED, **settings):
    made = plan(server, benchmark, out, samples=4, cap_tokens=CAP, **settings)
    return replace(made, protocol=protocol, budgets=BUDGETS, allowance_tokens=ALLOWANCE)


def forced_of(out):
    return jsonl.read(out / "forced.jsonl", ForcedRecord)


def expected(problem, sample):
    """By hand: what the model says after each budget that cuts its sample."""
    spec = SamplingSpec(samples=4, cap_tokens=CAP, seed=0)
    number = problem.removeprefix("p")
    whole = thought(number, seed_of(spec, problem, sample))
    ended = len(whole) < CAP
    found = {}
    for budget in BUDGETS:
        if ended and len(whole) + 1 <= budget:
            continue
        begun = whole[:budget]
        closing = "" if "</think>" in begun else "</think>"
        text = gone_on(number, begun + closing)[:ALLOWANCE]
        right = (begun + closing + text).partition("</think>")[2] == number
        # A token is a character, and the stop token comes on top.
        found[budget] = (text, right, len(closing) + len(text) + 1)
    return found


@pytest.mark.parametrize("talker", [VLLM, CHAT], ids=["token ids", "chat"])
def test_forced_answers_go_on_from_each_prefix_and_their_cost_is_counted(
    server, benchmark, tmp_path, talker
) -> None:
    server.answer = talker
    run_evaluation(forced_plan(server, benchmark, tmp_path / "run"), observer=QUIET)
    by_hand = {
        (f"p{i}", s, budget): answer
        for i in range(5)
        for s in range(4)
        for budget, answer in expected(f"p{i}", s).items()
    }
    found = {(r.problem, r.sample, r.budget_tokens): r for r in forced_of(tmp_path / "run")}
    assert found.keys() == by_hand.keys()
    for key, (text, right, tokens) in by_hand.items():
        assert found[key].text == text
        assert (found[key].grade is Grade.CORRECT) == right, key
        assert found[key].extra_tokens == tokens
    assert {right for _, right, _ in by_hand.values()} == {True, False}
    loaded = load(tmp_path / "run", protocol=Protocol.FORCED)
    assert any("extra generations" in note for note in loaded.notes)


def test_what_is_forced_already_is_not_asked_again(server, benchmark, tmp_path) -> None:
    server.answer = VLLM
    made = forced_plan(server, benchmark, tmp_path / "run")

    class Stops(Quiet):
        seen = 0

        def on_sample(self, record):
            self.seen += 1
            if self.seen == 30:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_evaluation(made, observer=Stops())
    kept = {(r.problem, r.sample, r.budget_tokens) for r in forced_of(tmp_path / "run")}
    assert kept
    asked = len(server.bodies)
    run_evaluation(made, observer=QUIET)
    found = [(r.problem, r.sample, r.budget_tokens) for r in forced_of(tmp_path / "run")]
    assert len(found) == len(set(found)) > len(kept)
    # The rest, and to find out how: an answer begun, the closing text's tokens, a try.
    assert len(server.bodies) - asked == len(found) - len(kept) + 3


@pytest.mark.parametrize(
    ("talker", "said"),
    [
        (Talker(refuses=True), r"POST chat/completions \(chat\): HTTP 422 .*continue_final"),
        (Talker(), "it ignores continue_final_message"),
        (Talker(half=True), "it ignores continue_final_message"),
        (Talker(goes_on=True, adds=40), r"it read \d+ tokens where prompt and prefix are \d+"),
        (Talker(ids=True, refuses=True), r"POST completions \(ids\): HTTP 404 .*; POST chat"),
        (Talker(logprobs=False), "does not tell the tokens of its replies"),
    ],
    ids=["refuses", "ignores", "half", "rewrites", "neither", "silent"],
)
def test_a_server_that_does_not_go_on_is_refused_before_anything_is_paid(
    server, benchmark, tmp_path, talker, said
) -> None:
    server.answer = talker
    with pytest.raises(ConfigError, match=said) as refusal:
        run_evaluation(forced_plan(server, benchmark, tmp_path / "run"), observer=QUIET)
    assert "\n" not in str(refusal.value)
    assert len(server.bodies) <= 8
    assert not (tmp_path / "run" / "records.jsonl").exists()


def test_samples_stay_where_a_server_no_longer_goes_on(server, benchmark, tmp_path) -> None:
    server.answer = VLLM
    made = forced_plan(server, benchmark, tmp_path / "run")
    run_evaluation(made, observer=QUIET)
    before = records_of(tmp_path / "run")
    (tmp_path / "run" / "forced.jsonl").unlink()
    (tmp_path / "run" / "digests.json").unlink()
    server.answer = Talker(ids=True)
    with pytest.raises(ConfigError, match=r"20 samples in .* stay \(tersely report --protocol fin"):
        run_evaluation(made, observer=QUIET)
    assert records_of(tmp_path / "run") == before
    assert load(tmp_path / "run", protocol=Protocol.FINISHED).table.graded_problems == 5


def test_a_prefix_that_is_read_as_far_more_tokens_has_no_answer_and_one_a_little_off_is_said(
    server, benchmark, tmp_path, caplog
) -> None:
    def retokenised(body):
        """Prompts of p3 are read as two tokens more, those of p4 as fifty."""
        told = VLLM(body)
        if "prompt" in body and isinstance(body["prompt"], list):
            question = "".join(map(chr, body["prompt"])).partition("]")[0]
            more = {"3": 2, "4": 50}.get(question.split()[-1], 0)
            whole = Talker.completion(VLLM, body)
            parsed = json.loads(whole[2])
            parsed["usage"]["prompt_tokens"] += more
            return reply(parsed)
        return told

    server.answer = retokenised
    out = tmp_path / "run"
    run_evaluation(forced_plan(server, benchmark, out), observer=QUIET)
    failed = {r.problem for r in forced_of(out) if r.finish is Finish.ERROR}
    assert failed == {"p4"}
    assert all(r.grade is Grade.UNGRADED for r in forced_of(out) if r.problem == "p4")
    assert "at most 50 more or fewer" in caplog.text
    # Not wrong: left out.
    assert load(out, protocol=Protocol.FORCED).table.graded_problems == 4
    server.answer = VLLM
    run_evaluation(replace(forced_plan(server, benchmark, out), retry_failed=True), observer=QUIET)
    assert not any(r.finish is Finish.ERROR for r in forced_of(out))


def test_answered_grades_prefixes_by_the_tokens_of_the_reply_and_asks_no_more(
    server, benchmark, tmp_path
) -> None:
    server.answer = Talker()
    made = forced_plan(server, benchmark, tmp_path / "run", protocol=Protocol.ANSWERED)
    run_evaluation(made, observer=QUIET)
    spec = SamplingSpec(samples=4, cap_tokens=CAP, seed=0)
    # Once more for the first request, which was refused with return_token_ids.
    refused = sum("return_token_ids" in body for body in server.bodies)
    assert len(server.bodies) - refused == 20
    seen = set()
    for r in records_of(tmp_path / "run"):
        number = r.problem.removeprefix("p")
        whole = thought(number, seed_of(spec, r.problem, r.sample))
        right = {b for b in BUDGETS if whole[:b].endswith(f"</think>{number}")}
        assert set(r.answered_budgets) == right
        seen |= right
    assert seen


def test_a_server_without_tokens_is_said_for_answered_and_its_samples_stay(
    server, benchmark, tmp_path
) -> None:
    server.answer = Talker(logprobs=False)
    made = forced_plan(server, benchmark, tmp_path / "run", protocol=Protocol.ANSWERED)
    with pytest.raises(ConfigError, match="does not tell the tokens of its replies"):
        run_evaluation(made, observer=QUIET)
    assert records_of(tmp_path / "run")
