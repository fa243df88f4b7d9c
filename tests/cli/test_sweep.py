"""``sweep`` as a user calls it, against servers of every kind."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
import sweeping

sys.path.insert(0, str(Path(__file__).parents[1] / "engines" / "http"))
from faulty_server import Raw, Server, reply, running

from tersely.cli import app

PROBLEMS, SAMPLES = 24, 2
EFFORTS = ("--efforts", "low,medium,high")


@pytest.fixture
def server():
    with running(Server(models=reply({"data": [{"id": "m"}]}))) as one:
        yield one


@pytest.fixture
def benchmark(tmp_path):
    file = tmp_path / "problems.jsonl"
    rows = [
        {"id": f"p{i}", "prompt": f"Say which number this one has: {i}", "answer": str(i)}
        | {"source": "made", "grader": "number"}
        for i in range(PROBLEMS)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def call(*words):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "80"})


def sweep(server, benchmark, out, *words, code=0):
    result = call(
        *("sweep", benchmark, "--endpoint", server.url, "--model", "m", "--out", out, "--json"),
        *("--samples", SAMPLES, "--cap-tokens", 1000, "--tries", 1, *words),
    )
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if result.stdout else result


def verdicts(document):
    return {each["name"]: each.get("verdict") for each in document["levels"]}


def refused(result, *expected, code=2):
    assert result.exit_code == code, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    for words in expected:
        assert words in line


KINDS = {
    "working": ("obeyed", "obeyed", "obeyed"),
    "idle": ("ignored", "ignored", "ignored"),
    "deaf": ("ignored", "ignored", "ignored"),
    "reversed_order": ("wrong order", "wrong order", "wrong order"),
    "half_idle": ("obeyed in part", "obeyed in part", "obeyed"),
}


SUMMARIES = {
    "working": "Every level was obeyed.",
    "idle": "The levels do nothing that could be seen",
    "deaf": "The levels changed nothing at all: all 48 texts are equal at every level.",
    "reversed_order": "wrong order: low, medium, high.",
    "half_idle": "obeyed: high; obeyed in part: low, medium.",
}
SENTENCES = {
    "working": "every other level differs as it should (p ",
    "idle": "cannot be told apart from medium and high, such as medium with ",
    "deaf": "all 48 texts are equal to those of medium and high",
    "reversed_order": "tokens, more than medium with ",
    "half_idle": "differs from high, but cannot be told apart from medium with ",
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_server_is_named_right(server, benchmark, tmp_path, kind) -> None:
    server.answer = getattr(sweeping, kind)
    document = sweep(server, benchmark, tmp_path / "s", *EFFORTS)
    expected = dict(zip(("low", "medium", "high"), KINDS[kind], strict=True))
    assert verdicts(document) == expected, document["levels"]
    assert SUMMARIES[kind] in document["conclusions"][0]
    assert SENTENCES[kind] in document["levels"][0]["conclusion"]


def test_levels_that_change_answers_and_not_lengths_are_not_said_to_do_nothing(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.cleverer
    document = sweep(server, benchmark, tmp_path / "s", *EFFORTS)
    head = document["conclusions"][0]
    assert head.startswith(
        "No two levels differ in length, but in accuracy they do: high against low +100.0 pp"
    )
    assert "(p " in head
    assert verdicts(document) == dict.fromkeys(
        ("low", "medium", "high"), "differs in accuracy only"
    )
    said = document["levels"][0]["conclusion"]
    assert "their mean lengths are the same in every problem" in said
    assert "difference of 0" not in said


def test_a_server_that_dies_within_a_small_level_is_lost_and_the_same_command_goes_on(
    server, benchmark, tmp_path
) -> None:
    # Two levels of 48 samples; 64 requests in flight, so that 28 failures are no three rounds.
    def dying(body):
        if len(server.bodies) > 68:
            server.is_dead = True
        return Raw(b"") if server.is_dead else sweeping.working(body)

    server.answer = dying
    words = (server, benchmark, tmp_path / "s", "--efforts", "low,high")
    result = sweep_failing(*words)
    assert result.exit_code == 1, result.output
    said = " ".join(result.stderr.split())
    assert "requests in a row failed" in said
    assert "rerun the same command" in said
    kept = read_records(tmp_path / "s" / "high")
    assert 0 < len(kept) < 48
    assert all(row["finish"] != "error" for row in kept)
    server.is_dead, server.answer = False, sweeping.working
    document = sweep(*words)
    assert verdicts(document) == {"low": "obeyed", "high": "obeyed"}
    assert len(read_records(tmp_path / "s" / "high")) == 48


def test_a_sweep_of_which_half_a_level_failed_does_not_exit_with_0(
    server, benchmark, tmp_path
) -> None:
    def failing(body):
        bad = body["reasoning_effort"] == "high" and int(sweeping.number_of(body)) % 2
        return reply({"error": "no"}, status=400) if bad else sweeping.working(body)

    server.answer = failing
    sweep(server, benchmark, tmp_path / "s", "--efforts", "low,high", code=1)


def sweep_failing(server, benchmark, out, *words):
    return call(
        *("sweep", benchmark, "--endpoint", server.url, "--model", "m", "--out", out),
        *("--samples", SAMPLES, "--cap-tokens", 1000, "--tries", 1, *words),
    )


def read_records(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


BUDGETS = {
    "keeping_budgets": ("obeyed", "obeyed", "cannot tell"),
    "ignoring_budgets": ("ignored", "ignored", "cannot tell"),
}


@pytest.mark.parametrize("kind", BUDGETS)
def test_budgets_that_are_ignored_are_named(server, benchmark, tmp_path, kind) -> None:
    server.answer = getattr(sweeping, kind)
    document = sweep(server, benchmark, tmp_path / "s", "--budgets", "900,100,200")
    assert verdicts(document) == dict(zip(("100", "200", "900"), BUDGETS[kind], strict=True))
    first = document["levels"][0]
    assert first["sends"] == {"thinking_token_budget": 100}
    assert first["over"]["estimate"] == (1.0 if kind == "ignoring_budgets" else 0.0)
    assert first["counted"] == "all tokens"
    assert "of samples take more than 100 tokens in all" in first["conclusion"]
    said = {"keeping": "at the largest budget 100.0%", "ignoring": "lengths cannot be told apart"}
    assert said[kind.partition("_")[0]] in first["conclusion"]
    assert "no level with a larger budget" in document["levels"][2]["conclusion"]


def test_a_budget_obeyed_in_part_is_held_against_the_levels_on_either_side(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.loose_budgets
    document = sweep(server, benchmark, tmp_path / "s", "--budgets", "100,200,400")
    assert set(verdicts(document).values()) == {"obeyed in part"}
    said = [level["conclusion"].partition("lengths follow it: ")[2] for level in document["levels"]]
    assert said == [
        "fewer tokens than at 200 and 400",
        "fewer tokens than at 400 and more than at 100",
        "more tokens than at 100 and 200",
    ]


def test_a_refused_level_is_named_by_exit_code_1_and_all_else_is_shown(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.refusing
    document = sweep(server, benchmark, tmp_path / "s", *EFFORTS, code=1)
    assert verdicts(document) == {"low": "obeyed", "medium": None, "high": "obeyed"}
    assert "HTTP 400" in document["levels"][1]["failed"]
    assert any("medium failed" in line for line in document["conclusions"])
    assert (tmp_path / "s" / "report.html").is_file()


def only(body):
    """A server of another model, whose list nobody can read."""
    return reply({"error": {"message": f"the model {body['model']} does not exist"}}, status=404)


OTHERS = {
    "its list": (reply({"data": [{"id": "other"}]}), sweeping.working, 0),
    "its first answers": (reply({}, status=404), only, 17),
    "a proxy of another kind": (
        reply({}, status=404),
        lambda body: reply({"error": "Invalid model name"}, status=400),
        17,
    ),
    "a key": (reply({}, status=401), sweeping.working, 0),
    "an overloaded server": (
        reply({"data": [{"id": "m"}]}),
        lambda body: reply({"error": "no worker"}, status=500),
        17,
    ),
}


@pytest.mark.parametrize("told_by", OTHERS)
def test_a_server_that_would_refuse_every_level_is_refused_once(
    server, benchmark, tmp_path, told_by
) -> None:
    server.models, server.answer, most = OTHERS[told_by]
    result = sweep(server, benchmark, tmp_path / "s", *EFFORTS, code=1)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert "level" not in line
    assert "level" not in result.stderr.partition("error:")[0]
    assert len(server.bodies) <= most
    server.models, server.answer = reply({"data": [{"id": "m"}]}), sweeping.working
    assert len(sweep(server, benchmark, tmp_path / "s", "--efforts", "low,high")["levels"]) == 2


def test_a_first_level_that_alone_is_refused_leaves_the_others(server, benchmark, tmp_path) -> None:
    def answer(body):
        if body.get("reasoning_effort") == "low":
            return reply({"error": "reasoning_effort: no such level"}, status=400)
        return sweeping.working({"reasoning_effort": "medium"} | body)

    server.answer = answer
    document = sweep(server, benchmark, tmp_path / "s", *EFFORTS, code=1)
    assert verdicts(document) == {"low": None, "medium": "obeyed", "high": "obeyed"}


def test_thinking_left_out_of_the_count_is_refused_and_never_believed(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.hiding_reasoning
    result = sweep(server, benchmark, tmp_path / "s", "--efforts", "low,high", code=1)
    refused(result, "every level failed", "thinking is left out of the count", code=1)


def test_a_sweep_is_read_as_one_by_report_and_level_by_level_by_compare(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.working
    out = tmp_path / "s"
    document = sweep(server, benchmark, out, *EFFORTS)
    again = call("report", out, "--json", "--quiet")
    assert json.loads(again.stdout) == document
    (out / "report.html").unlink()
    shown = call("report", out)
    assert shown.exit_code == 0
    assert (out / "report.html").is_file()
    compared = json.loads(call("compare", out, "--json", "--quiet").stdout)
    assert compared["names"] == ["low", "medium", "high"]
    alone = json.loads(call("report", out / "low", "--json", "--quiet").stdout)
    assert (alone["kind"], alone["n_problems"]) == ("evaluation", PROBLEMS)
    figures = {f["name"]: f["estimate"] for f in alone["figures"] if f["budget_tokens"] is None}
    assert figures["mean tokens"] == pytest.approx(document["levels"][0]["tokens"]["estimate"])


def test_pairs_are_all_pairs_with_intervals_and_what_could_be_seen(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.working
    document = sweep(server, benchmark, tmp_path / "s", *EFFORTS)
    names = [(pair["first"], pair["second"]) for pair in document["pairs"]]
    assert names == [("low", "medium"), ("low", "high"), ("medium", "high")]
    means = {each["name"]: each["tokens"]["estimate"] for each in document["levels"]}
    for pair in document["pairs"]:
        tokens = pair["tokens"]["difference"]
        assert tokens["estimate"] == pytest.approx(means[pair["second"]] - means[pair["first"]])
        assert tokens["low"] < tokens["estimate"] < tokens["high"]
        assert 0 < pair["tokens"]["detectable"] < tokens["estimate"]
        assert pair["accuracy"]["difference"]["low"] <= pair["accuracy"]["difference"]["estimate"]


def test_a_dry_run_shows_what_is_sent_and_asks_nothing(server, benchmark, tmp_path) -> None:
    field = ("--effort-field", "chat_template_kwargs.reasoning_effort")
    document = sweep(server, benchmark, tmp_path / "s", *EFFORTS, *field, "--dry-run")
    assert not server.headers
    assert not (tmp_path / "s").exists()
    assert document["levels"][0]["sends"] == {"chat_template_kwargs": {"reasoning_effort": "low"}}
    assert document["samples"] == 3 * PROBLEMS * SAMPLES
    assert document["most_tokens"] == 3 * PROBLEMS * SAMPLES * 1000


def test_bodies_of_a_file_are_levels_and_merged_into_what_all_send(
    server, benchmark, tmp_path
) -> None:
    file = tmp_path / "levels.jsonl"
    file.write_text(
        '{"name": "brief", "reasoning_effort": "low", "x": {"a": 1}}\n'
        '{"name": "long", "reasoning_effort": "high", "x": {"b": 2}}\n'
    )
    server.answer = sweeping.working
    given = ("--extra-body-each", file, "--extra-body", '{"x": {"c": 3}}')
    document = sweep(server, benchmark, tmp_path / "s", *given)
    assert verdicts(document) == {"brief": "obeyed", "long": "obeyed"}
    assert [body["x"] for body in (server.bodies[0], server.bodies[-1])] == [
        {"c": 3, "a": 1},
        {"c": 3, "b": 2},
    ]


ONE = ("--efforts", "low,high")
BAD = {
    "no kind": ((), "one of --efforts, --budgets, --prompts or --extra-body-each"),
    "two kinds": ((*ONE, "--budgets", "1,2"), "--efforts and --budgets"),
    "one level": (
        ("--efforts", "low"),
        "names 1 level",
        """'low' alone: tersely eval --extra-body '{"reasoning_effort": "low"}'""",
    ),
    "one budget": (
        ("--budgets", "64", "--budget-field", "chat_template_kwargs.b"),
        """'64' alone: tersely eval --chat-template-kwargs '{"b": 64}'""",
    ),
    "no level": (("--efforts", ", ,"), "names 0 levels"),
    "one name twice": (("--efforts", "low,high,low"), "'low' twice"),
    "one name in two cases": (("--efforts", "low,Low"), "twice"),
    "a name that is a path": (("--efforts", "low,../high"), "'../high' cannot be the name"),
    "a budget above the cap": (("--budgets", "100,1001"), "1001 is above --cap-tokens 1000"),
    "a budget below 0": (("--budgets", "-1,100"), "'-1' is no whole number"),
    "a budget that is none": (("--budgets", "1k,2k"), "'1k' is no whole number"),
    "a budget twice": (("--budgets", "100,100"), "'100' twice"),
    "a field that all have": (
        (*ONE, "--extra-body", '{"reasoning_effort": "max"}'),
        "sets already what --efforts sends",
        "--effort-field",
    ),
    "a field within one": (
        (*ONE, "--effort-field", "a.b", "--extra-body", '{"a": 3}'),
        "sets already what --efforts sends",
    ),
    "a key twice for all": ((*ONE, "--extra-body", '{"a": 1, "a": 2}'), "the key 'a' twice"),
    "a field of its own": ((*ONE, "--effort-field", "seed"), "extra_body sets ['seed']"),
    "a field that is no path": ((*ONE, "--effort-field", "a..b"), "'a..b' is no dotted path"),
    "no such file": (("--extra-body-each", "none.json"), "none.json: No such file"),
    "no such prompt": (("--prompts", "none.txt", "--prompts", "b.txt"), "none.txt: No such file"),
    "too many": (("--efforts", ",".join(f"e{i}" for i in range(21))), "20 at most"),
    "a cap of 0": ((*ONE, "--cap-tokens", "0"), "cap"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_asks_nothing(server, benchmark, tmp_path, what) -> None:
    words, *expected = BAD[what]
    result = sweep(server, benchmark, tmp_path / "s", *words, code=2)
    refused(result, *expected)
    assert not server.headers
    assert not (tmp_path / "s").exists()


FILES = {
    "[1]": 'object 1 has no "name"',
    '{"reasoning_effort": "low"}': 'object 1 has no "name"',
    '{"name": 3}': 'object 1 has no "name"',
    "{": "is not JSON",
    "": "names 0 levels: it is empty",
    " \n ": "names 0 levels: it is empty",
    '[{"name": "a", "x": NaN}, {"name": "b"}]': "is not JSON: NaN is no finite number; write one",
    '[{"name": "a", "x": [-Infinity]}, {"name": "b"}]': "-Infinity is no finite number",
    '[{"name": "a", "x": 1e999}, {"name": "b"}]': "1e999 is no finite number",
    '[{"name": "a", "x": 1}, {"name": "b", "x": 1.0}]': "'a' and 'b' send the same",
    '[{"name": "a", "x": 1, "y": 2}, {"name": "b", "y": 2, "x": 1}]': "'a' and 'b' send the same",
    '[{"name": "a", "x": {"y": 1, "y": 2}}, {"name": "b"}]': "the key 'y' twice",
    '[{"name": "a", "temperature": 0.2}, {"name": "b"}]': "the level 'a' by its extra_body sets",
    '[{"name": "a"}, {"name": "a"}]': "'a' twice",
}


@pytest.mark.parametrize("content", FILES)
def test_a_file_of_bodies_that_cannot_be_used_is_one_line(
    server, benchmark, tmp_path, content
) -> None:
    file = tmp_path / "levels.json"
    file.write_text(content)
    result = sweep(server, benchmark, tmp_path / "s", "--extra-body-each", file, code=2)
    refused(result, FILES[content])


def test_a_local_model_takes_no_budgets(benchmark, tmp_path) -> None:
    result = call("sweep", benchmark, "--budgets", "10,20", "--out", tmp_path / "s")
    refused(result, "only servers take", "--budget-field chat_template_kwargs.NAME")


def test_levels_of_a_recipe_differ_by_their_phrases_alone(tmp_path) -> None:
    asked = ("sweep", "lab", "--limit", "2", "--cap-tokens", "64", "--dry-run", "--json")
    result = call(*asked, "--recipe", "effort", "--out", tmp_path / "s")
    assert result.exit_code == 0, result.output
    levels = json.loads(result.stdout)["levels"]
    assert [level["name"] for level in levels] == ["low", "medium", "high"]
    assert [level["sends"] for level in levels] == [{}, {}, {}]


def test_options_of_single_files_are_refused_for_a_sweeps_folder(
    server, benchmark, tmp_path
) -> None:
    server.answer = sweeping.working
    sweep(server, benchmark, tmp_path / "s", *ONE)
    result = call("report", tmp_path / "s", "--csv", tmp_path / "x.csv")
    refused(result, "is a sweep's folder", "--csv", "tersely compare")


def test_text_for_80_columns_is_no_wider(server, benchmark, tmp_path) -> None:
    server.answer = sweeping.half_idle
    sweep(server, benchmark, tmp_path / "s", *EFFORTS)
    lines = call("report", tmp_path / "s").stdout.splitlines()
    assert all(len(line) <= 80 for line in lines if not line.startswith("report:"))
    text = " ".join(" ".join(lines).split())
    assert "obeyed: high; obeyed in part: low, medium." in text
    assert "differs from high, but cannot be told apart from medium with" in text
