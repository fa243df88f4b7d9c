"""A sweep's folder: the same seeds at every level, resumed, added to, and refused."""

import json
import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from serving import PROBLEMS, Order, plan, records_of

sys.path.insert(0, str(Path(__file__).parents[2] / "cli"))
import sweeping

sys.path.insert(0, str(Path(__file__).parents[2] / "engines" / "http"))
from faulty_server import choice, completion, reply

from tersely.core import jsonl
from tersely.core.errors import ConfigError, EngineError, TerselyWarning
from tersely.core.types import EvalRecord, Finish, Grade, SamplingSpec
from tersely.engines.models import lab_folder
from tersely.flows.evaluate.levels import (
    budget_levels,
    effort_levels,
    merge,
    nest,
    prompt_levels,
    ranks_of,
)
from tersely.flows.evaluate.plan import Plan
from tersely.flows.evaluate.sweep import Sweep, run_sweep
from tersely.flows.evaluate.swept import measure_sweep
from tersely.metrics.adherence import CountedTokens
from tersely.metrics.budgets import Protocol
from tersely.readers.sweeps import (
    SweepKind,
    SweepLevel,
    SweepRecord,
    check_sampled,
    expand_sweeps,
    is_sweep,
    list_levels,
    read_sweep,
    write_sweep,
)
from tersely.report.pages.sweep import build_page
from tersely.report.tables.documents import describe_sweep

SAMPLES = 2
EACH = PROBLEMS * SAMPLES


def sweep(server, benchmark, out, efforts="low,medium,high", *, kind=SweepKind.EFFORTS, **rest):
    endpoint = {"concurrency": 1} | rest.pop("endpoint", {})
    one = plan(server, benchmark, out, samples=SAMPLES, endpoint=endpoint, **rest)
    levels = effort_levels(efforts) if isinstance(efforts, str) else efforts
    return Sweep(plan=one, kind=kind, levels=levels)


class Killed(Order):
    """Ends the process, as far as a test can, after so many samples."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def on_sample(self, record):
        super().on_sample(record)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_every_level_is_asked_the_same_problems_with_the_same_seeds(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.working
    run_sweep(sweep(server, benchmark, tmp_path / "s"), observer=Order())
    asked = {}
    for body in server.bodies:
        key = json.dumps(body["messages"]), body["seed"]
        asked.setdefault(body["reasoning_effort"], []).append(key)
    assert list(asked) == ["low", "medium", "high"]
    assert sorted(asked["low"]) == sorted(asked["medium"]) == sorted(asked["high"])
    assert len(set(asked["low"])) == EACH
    # All else is equal as well.
    rests = {
        json.dumps(
            {k: v for k, v in b.items() if k not in ("reasoning_effort", "messages", "seed")}
        )
        for b in server.bodies
    }
    assert len(rests) == 1


@pytest.mark.parametrize("after", [3, EACH, EACH + 4, 3 * EACH - 1])
def test_a_sweep_that_was_killed_goes_on_and_asks_nothing_twice(
    server, benchmark, tmp_path, after
) -> None:
    server.answer = sweeping.working
    asked = sweep(server, benchmark, tmp_path / "s")
    with pytest.raises(KeyboardInterrupt):
        run_sweep(asked, observer=Killed(after))
    seen = [len(records_of(each)) for each in list_levels(tmp_path / "s")]
    assert sum(seen) == after
    run_sweep(asked, observer=Order())
    # The request that was under way when it was killed may be asked again.
    assert 3 * EACH <= len(server.bodies) <= 3 * EACH + 1
    assert [len(records_of(each)) for each in list_levels(tmp_path / "s")] == [EACH] * 3
    run_sweep(asked, observer=Order())
    assert len(server.bodies) <= 3 * EACH + 1


def test_the_samples_of_a_level_are_those_of_an_evaluation_with_its_body(
    server, benchmark, tmp_path
) -> None:
    from tersely.flows.evaluate.session import run_evaluation

    server.answer = sweeping.working
    run_sweep(sweep(server, benchmark, tmp_path / "s", "low,high"), observer=Order())
    body = {"extra_body": {"reasoning_effort": "high"}}
    alone = plan(server, benchmark, tmp_path / "high", samples=SAMPLES, endpoint=body)
    run_evaluation(alone, observer=Order())
    key = lambda record: (record.problem, record.sample)  # noqa: E731
    one, other = (
        sorted(records_of(f), key=key) for f in (tmp_path / "s" / "high", tmp_path / "high")
    )
    assert one == other


def test_the_levels_stand_in_their_order_and_where_a_sweep_stands_for_them(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.working
    out = tmp_path / "s"
    run_sweep(sweep(server, benchmark, out, "high,low"), observer=Order())
    assert is_sweep(out)
    assert not is_sweep(out / "low")
    assert list_levels(out) == (out / "high", out / "low")
    assert expand_sweeps([tmp_path, out]) == [tmp_path, out / "high", out / "low"]
    assert read_sweep(out).levels[1] == SweepLevel(name="low", sends={"reasoning_effort": "low"})


def test_a_level_may_be_added_and_only_it_is_asked_for(server, benchmark, tmp_path) -> None:
    server.answer = sweeping.working
    out = tmp_path / "s"
    run_sweep(sweep(server, benchmark, out, "low,high"), observer=Order())
    run_sweep(sweep(server, benchmark, out, "low,medium,high"), observer=Order())
    assert [body["reasoning_effort"] for body in server.bodies[2 * EACH :]] == ["medium"] * EACH
    assert [each.name for each in list_levels(out)] == ["low", "medium", "high"]


REFUSED = {
    "which is not asked for now": {"efforts": "low,medium"},
    "sends something else": {
        "efforts": (
            SweepLevel(name="low", sends={"effort": "low"}),
            SweepLevel(name="high", sends={"reasoning_effort": "high"}),
        )
    },
    "is a sweep over efforts, not over extra-body-each": {"kind": SweepKind.BODIES},
    "was sampled on other problems": {"limit": 3},
    "seed is": {"endpoint": {"extra_body": {"top_min": 1}}},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_folder_of_another_sweep_is_refused_and_nothing_is_asked(
    server, benchmark, tmp_path, reason
) -> None:
    server.answer = sweeping.working
    out = tmp_path / "s"
    run_sweep(sweep(server, benchmark, out, "low,high"), observer=Order())
    before = len(server.bodies)
    given = {"efforts": "low,high"} | REFUSED[reason]
    expected = "request settings" if "endpoint" in given else reason
    with pytest.raises(ConfigError, match=expected):
        run_sweep(sweep(server, benchmark, out, **given), observer=Order())
    assert len(server.bodies) == before
    assert [len(records_of(each)) for each in list_levels(out)] == [EACH, EACH]


def test_a_folder_of_something_else_is_refused(server, benchmark, tmp_path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"is no sweep \(it holds notes.txt\)"):
        run_sweep(sweep(server, benchmark, tmp_path / "s"), observer=Order())


def test_a_level_that_the_server_refuses_is_named_and_the_others_go_on(
    server, benchmark, tmp_path, caplog
) -> None:
    server.answer = sweeping.refusing
    out = tmp_path / "s"
    asked = sweep(server, benchmark, out)
    record = run_sweep(asked, observer=Order())
    assert "level medium failed" in caplog.text
    assert "no such level" in caplog.text
    assert [level.refused is None for level in record.levels] == [True, False, True]
    assert read_sweep(out) == record
    assert [each.name for each in list_levels(out)] == ["low", "high"]
    # The server learns it, and the same command asks for that level alone.
    server.answer, before = sweeping.working, len(server.bodies)
    assert all(level.refused is None for level in run_sweep(asked, observer=Order()).levels)
    assert {body["reasoning_effort"] for body in server.bodies[before:]} == {"medium"}


def test_a_level_that_fails_after_its_first_samples_leaves_the_others_whole(
    server, benchmark, tmp_path
) -> None:
    """Its few samples would leave few problems to compare on."""

    def answer(body):
        if body["reasoning_effort"] != "medium":
            return sweeping.working(body)
        return reply(completion(choice(f"It is {body['seed']}.<|im_end|>"), tokens=60))

    server.answer = answer
    run_sweep(sweep(server, benchmark, tmp_path / "s"), observer=Order())
    measured = measure_sweep(tmp_path / "s")
    assert [level.name for level in measured.levels] == ["low", "high"]
    assert "stop token <|im_end|>" in measured.record.levels[1].refused
    assert {len(side.table.keys) for side in measured.sides} == {PROBLEMS}
    assert len(records_of(tmp_path / "s" / "medium")) > 0


def test_every_figure_is_over_the_problems_that_all_levels_have_samples_of(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.working
    run_sweep(sweep(server, benchmark, tmp_path / "s"), observer=Order())
    file = tmp_path / "s" / "medium" / "records.jsonl"
    records = jsonl.read(file, EvalRecord)
    lost = records[0].problem
    jsonl.write(
        file,
        [
            replace(r, grade=Grade.UNGRADED, finish=Finish.ERROR, tokens=0, failure="gone")
            if r.problem == lost
            else r
            for r in records
        ],
    )
    (file.parent / "digests.json").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TerselyWarning)
        measured = measure_sweep(tmp_path / "s")
    tokens = {level.tokens.n_problems for level in measured.adherence.levels}
    accuracies = {point.accuracy.n_problems for point in measured.front.points}
    assert tokens == accuracies == {PROBLEMS - 1}


def test_where_every_level_fails_the_sweep_does(server, benchmark, tmp_path) -> None:
    def answer(body):
        asks = "reasoning_effort" in body
        return reply({"error": "no"}, status=400) if asks else sweeping.said(body, 9)

    server.answer = answer
    with pytest.raises(EngineError, match="every level failed; the first, low"):
        run_sweep(sweep(server, benchmark, tmp_path / "s"), observer=Order())
    with pytest.raises(ConfigError, match="no level was sampled"):
        measure_sweep(tmp_path / "s")


def test_levels_that_were_sampled_on_different_problems_are_refused_when_read(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.working
    out = tmp_path / "s"
    run_sweep(sweep(server, benchmark, out, "low,high"), observer=Order())
    manifest = json.loads((out / "high" / "manifest.json").read_text())
    (out / "high" / "manifest.json").write_text(json.dumps(manifest | {"benchmark_digest": "x"}))
    with pytest.raises(ConfigError, match=r"low and high of .* differ in benchmark digest"):
        list_levels(out)


def test_progress_names_the_level_and_its_place(server, benchmark, tmp_path) -> None:
    server.answer = sweeping.working
    order = Order()
    run_sweep(sweep(server, benchmark, tmp_path / "s", "low,high"), observer=order)
    said = [each[0] for each in order.seen if len(each) == 3]
    assert said == ["sampling low (1 of 2)", "sampling high (2 of 2)"]


def test_a_level_is_merged_into_the_objects_of_all_requests() -> None:
    base = {"chat_template_kwargs": {"enable_thinking": True}, "min_p": 0.1}
    merged = merge(base, nest("chat_template_kwargs.reasoning_effort", "low"))
    expected = {"enable_thinking": True, "reasoning_effort": "low"}
    assert merged == {"chat_template_kwargs": expected, "min_p": 0.1}
    assert base["chat_template_kwargs"] == {"enable_thinking": True}


def test_known_efforts_have_their_order_whatever_order_they_are_given_in() -> None:
    def ranks(names):
        return ranks_of(SweepKind.EFFORTS, effort_levels(names))

    high, low, none = ranks("high,low,none")
    assert none < low < high
    assert ranks("brief,long") == (0, 1)
    assert ranks_of(SweepKind.BODIES, effort_levels("low,high")) == (None, None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2}',
        '{"schema": 1, "kind": "efforts", "levels": []}',
        '{"schema": 1, "kind": "moods", "levels": [{"name": "a"}]}',
        '{"schema": 1, "kind": "efforts", "levels": [{"name": "../x"}]}',
        '{"schema": 1, "kind": "efforts", "levels": [{"nam": "a"}]}',
        "\x00",
    ],
)
def test_a_damaged_list_of_levels_is_named(tmp_path, content) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(ConfigError, match=r"sweep\.json is no list of a sweep's levels"):
        read_sweep(tmp_path)


def test_a_prompt_stands_before_every_problem_and_the_problems_stay_the_same(
    server, benchmark, tmp_path
) -> None:
    server.answer = lambda body: sweeping.said(body, 300 if "long" in str(body) else 100)
    for name in ("brief", "long"):
        (tmp_path / f"{name}.txt").write_text(f"Be {name}.\n")
    levels = prompt_levels([tmp_path / "brief.txt", tmp_path / "long.txt"])
    out = tmp_path / "s"
    run_sweep(sweep(server, benchmark, out, levels, kind=SweepKind.PROMPTS), observer=Order())
    first, *_, last = server.bodies
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert last["messages"][0] == {"role": "system", "content": "Be long."}
    assert [each.name for each in list_levels(out)] == ["brief", "long"]
    assert not measure_sweep(out).adherence.ordered


def test_two_system_prompts_are_refused(server, benchmark, tmp_path) -> None:
    levels = (SweepLevel(name="a", system_prompt="A"), SweepLevel(name="b", system_prompt="B"))
    asked = sweep(server, benchmark, tmp_path / "s", levels, kind=SweepKind.PROMPTS)
    asked = replace(asked, plan=replace(asked.plan, system_prompt="C"))
    with pytest.raises(ConfigError, match="leave out --system-prompt"):
        run_sweep(asked, observer=Order())


def test_settings_of_the_template_are_merged_from_all_that_give_them(
    server, benchmark, tmp_path
) -> None:
    body = {"extra_body": {"chat_template_kwargs": {"a": 1}, "min_p": 0.1}}
    levels = effort_levels("low,high", field="chat_template_kwargs.effort")
    asked = sweep(server, benchmark, tmp_path / "s", levels, endpoint=body)
    asked = replace(asked, plan=replace(asked.plan, chat_template_kwargs={"b": 2}))
    sent = asked.plan_of(levels[0]).server.extra_body
    assert sent == {"chat_template_kwargs": {"a": 1, "b": 2, "effort": "low"}, "min_p": 0.1}


def test_a_budget_is_held_against_the_thinking_where_records_know_it(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.ignoring_budgets
    out, levels = tmp_path / "s", budget_levels("100,900", cap_tokens=900)
    kind = SweepKind.BUDGETS
    run_sweep(sweep(server, benchmark, out, levels, kind=kind, cap_tokens=900), observer=Order())
    assert measure_sweep(out).adherence.levels[0].over.estimate == 1
    for folder in list_levels(out):
        # Without a note of the file's digest it may be edited.
        (folder / "digests.json").unlink()
        known = [replace(record, thinking_tokens=100) for record in records_of(folder)]
        jsonl.write(folder / "records.jsonl", known)
    first = measure_sweep(out).adherence.levels[0]
    assert (first.counted, first.over.estimate) == (CountedTokens.THINKING, 0)


def test_a_model_in_this_process_reads_its_level_in_the_template(tmp_path) -> None:
    """Where low closes the thinking at once."""
    model = tmp_path / "model"
    shutil.copytree(lab_folder(), model)
    template = (model / "chat_template.jinja").read_text()
    closed = "{% if reasoning_effort == 'low' %}<think></think>{% endif %}"
    begins = "{% if add_generation_prompt %}<assistant>"
    assert begins in template
    (model / "chat_template.jinja").write_text(template.replace(begins, begins + closed))
    one = Plan(
        model=str(model),
        benchmark="lab",
        out=tmp_path / "s",
        spec=SamplingSpec(samples=2, cap_tokens=24, seed=0),
        budgets=(24,),
        protocol=Protocol.FINISHED,
        limit=8,
    )
    levels = effort_levels("low,high", field="chat_template_kwargs.reasoning_effort")
    run_sweep(Sweep(plan=one, kind=SweepKind.EFFORTS, levels=levels), observer=Order())
    low, high = (level.tokens.estimate for level in measure_sweep(tmp_path / "s").adherence.levels)
    assert low < high / 2
    asked = Sweep(plan=one, kind=SweepKind.EFFORTS, levels=effort_levels("low,high"))
    with pytest.raises(ConfigError, match="sends reasoning_effort, which only servers take"):
        run_sweep(asked, observer=Order())


def test_failed_samples_of_a_level_are_shown_as_an_evaluation_shows_them(
    server, benchmark, tmp_path
) -> None:
    def answer(body):
        if body["reasoning_effort"] == "high" and body["seed"] % 2:
            return reply({"error": "bad"}, status=400)
        return sweeping.working(body)

    server.answer = answer
    run_sweep(sweep(server, benchmark, tmp_path / "s", "low,high"), observer=Order())
    measured = measure_sweep(tmp_path / "s")
    heading, share, *_, fix = build_page(measured).alarms[0]
    assert heading == "Samples failed at the level high"
    assert f"of {EACH} samples failed" in share
    assert "--retry-failed to the same tersely sweep" in fix
    assert describe_sweep(measured)["levels"][1]["failed_samples"].made == EACH


def test_a_report_of_a_level_that_was_refused_says_so_and_names_the_others(tmp_path) -> None:
    levels = (SweepLevel(name="low"), SweepLevel(name="max", refused="HTTP 400 no such effort"))
    write_sweep(tmp_path, SweepRecord(kind=SweepKind.EFFORTS, levels=levels))
    (tmp_path / "low").mkdir()
    (tmp_path / "low" / "records.jsonl").write_text("{}\n")
    check_sampled(tmp_path / "low")
    check_sampled(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"failed: HTTP 400 no such effort; sampled were .*low;"):
        check_sampled(tmp_path / "max")
