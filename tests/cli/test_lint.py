"""``tersely lint`` as a user calls it."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.types import EvalRecord, Finish, Grade, Message, Problem
from tersely.flows.recipe.recipe import read_recipe

WORDS = "c10 c15 c100 c110 w12 w15 w95 w150"


@pytest.fixture
def records(tmp_path):
    file = tmp_path / "base.jsonl"
    rows = [
        EvalRecord(
            run="base",
            benchmark="b",
            problem=f"p{problem}",
            sample=sample,
            grade=Grade.CORRECT if word[0] == "c" else Grade.WRONG,
            tokens=int(word[1:]),
            finish=Finish.STOP,
            cap_tokens=320,
            seed=0,
            difficulty=3.0,
        )
        for problem in range(40)
        for sample, word in enumerate(WORDS.split())
    ]
    jsonl.write(file, rows)
    return file


def call(*words):
    return CliRunner().invoke(app, ["lint", *map(str, words)])


def test_findings_and_tables_are_printed(records):
    done = call("--records", records, "--tokens-per-second", 100)
    assert done.exit_code == 0, done.output
    shown = " ".join(done.stdout.split())
    assert "demo on base: 40 groups of 8 from 40 problems" in shown
    # two of eight are right within 96 tokens
    assert "25.0% of rollouts are paid more than 0" in shown
    assert "right, short 80 25.0% 100.0%" in shown
    assert "96 ← 25.0%" in shown
    assert "hours" in shown
    assert "judging the rollouts" in done.stderr


def test_one_question_under_two_system_messages_is_two_problems(records, tmp_path):
    """Each of the records finds its own: the references differ."""
    asked = [
        Problem(
            id=f"p{n}",
            prompt="How many?",
            answer="7",
            source="b",
            earlier=(Message(role="system", content=f"You have {n} apples."),),
        )
        for n in range(40)
    ]
    folder = tmp_path / "base"
    folder.mkdir()
    records.rename(folder / "records.jsonl")
    jsonl.write(folder / "problems.jsonl", asked)
    train = tmp_path / "train.jsonl"
    jsonl.write(train, [replace(p, id=f"t{p.id}", difficulty=3.0) for p in asked[:10]])
    done = call("--records", folder, "--set", f"problems.train={train}")
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "trains on 10 problems; the records hold 10 of them, and 30 others" in said
    assert "have the prompt of another" not in said


def test_an_error_is_an_exit_code_only_if_strict(records):
    masked = ("--records", records, "--set", 'treatment.cells="no-wrong"')
    assert call(*masked).exit_code == 0
    done = call(*masked, "--strict")
    assert done.exit_code == 1
    assert "no wrong rollout is in the loss" in done.stdout
    assert call("--records", records, "--strict").exit_code == 0


def test_json_has_every_finding_and_figure_and_no_nan(records):
    done = call("--records", records, "--json", "--suggest")
    found = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(name))
    assert {"severity", "name", "title", "evidence", "reason", "setting"} == found["findings"][
        0
    ].keys()
    assert found["figures"]["shares"]["positive"]["estimate"] == 0.25
    assert found["figures"]["shares"]["positive"]["n_problems"] == 40
    assert found["figures"]["silent_at"]["8"] == {"share": 0.0, "unbiased": True}
    assert found["suggestion"]["recipe"]["target"]["tokens"] > 0


def test_a_suggestion_is_written_once_and_is_a_recipe(records, tmp_path):
    out = tmp_path / "made" / "suggested.toml"
    done = call("--records", records, "--suggest", "--out", out)
    assert done.exit_code == 0, done.output
    assert read_recipe(out).target.name == "fixed"
    assert "suggested" in done.stdout
    again = call("--records", records, "--suggest", "--out", out)
    assert again.exit_code == 2
    assert "exists; choose another --out" in again.stderr


def test_a_peers_table_is_read(records, tmp_path):
    table = tmp_path / "peer.jsonl"
    rows = [
        {"problem": f"p{p}", "correct": w[0] == "c", "tokens": int(w[1:]), "finish": "stop"}
        for p in range(40)
        for w in WORDS.split()
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("--records", table, "--from", "table", "--cap-tokens", 320, "--json")
    ours, theirs = (
        json.loads(call(*words).stdout)["figures"]
        for words in (("--records", records, "--json"), words)
    )
    assert ours["drift"] == theirs["drift"]
    assert ours["cells"] == theirs["cells"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--records", "nowhere"), "there is no nowhere"),
        (("--records", "{records}", "--out", "x.toml"), "--out writes what --suggest proposes"),
        (("--records", "{records}", "--tokens-per-second", "0"), "must be above 0"),
        (("--records", "{records}", "--set", "problems.band=[5, 6]"), "holds none of the records'"),
        (("--records", "{records}", "--set", "target.tokens=999"), "exceeds sampling.cap_tokens"),
        (("nowhere.toml", "--records", "{records}"), "no such file: nowhere.toml"),
    ],
)
def test_what_cannot_be_linted_is_refused_in_one_line(records, words, message):
    done = call(*(word.replace("{records}", str(records)) for word in words))
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_nothing_heavy_is_loaded(records):
    program = (
        "import sys; from typer.testing import CliRunner; from tersely.cli import app\n"
        f"done = CliRunner().invoke(app, ['lint', '--records', {str(records)!r}, '--suggest'])\n"
        "assert done.exit_code == 0, done.output\n"
        "sys.exit(' '.join({'torch', 'transformers', 'altair'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_lengths_in_parts_are_printed_and_left_open_where_a_sample_does_not_tell(records):
    known = [
        replace(r, thinking_tokens=8, answer_tokens=6 if r.grade is Grade.CORRECT else None)
        for r in jsonl.read(records, EvalRecord)
    ]
    # means: 8; (10+15+100+110+12+15+95+150)/8 - 8 = 55.375; of right ones (235 - 24)/4 = 52.75
    jsonl.write(records, known)
    parts = json.loads(call("--records", records, "--json").stdout)["figures"]["parts"]
    assert [p["mean"]["estimate"] for p in parts] == pytest.approx([8.0, 55.375, 52.75])
    assert [p["mean"]["n_samples"] for p in parts] == [320, 320, 160]
    jsonl.write(records, [replace(known[0], thinking_tokens=None), *known[1:]])
    said = call("--records", records)
    parts = json.loads(call("--records", records, "--json").stdout)["figures"]["parts"]
    assert [p["mean"]["estimate"] for p in parts] == [None, None, pytest.approx(52.75)]
    assert "the thinking of 1 sample was not counted" in " ".join(said.stdout.split())
