"""``tersely eval``: resumed by sample, refused when anything differs, nothing lost or doubled."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import children
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tersely.core import jsonl
from tersely.core.errors import ConfigError, DataError
from tersely.core.forcing import ForcedRecord, TokenRecord
from tersely.core.types import EvalRecord, Finish, Grade, SamplingSpec
from tersely.engines.models import lab_folder, load_policy
from tersely.engines.pieces import split_text
from tersely.flows.evaluate.plan import Plan
from tersely.flows.evaluate.session import load_benchmark, run_evaluation
from tersely.flows.observer import QUIET, Quiet
from tersely.metrics.budgets import Protocol
from tersely.tasks import grading

BUDGETS = (10, 20, 40, 60)


class Counter(Quiet):
    """Counts samples and forced answers; can interrupt after so many new ones."""

    def __init__(self, *, stop_after=None):
        super().__init__()
        self.new, self.forced, self.already, self._stop_after = 0, 0, [], stop_after

    def on_sampling(self, what, total, done):
        self.already.append((what, total, done))

    def on_sample(self, record):
        if record is None:
            self.forced += 1
        else:
            self.new += 1
        if self._stop_after == (self.forced + 1000 if record is None else self.new):
            raise KeyboardInterrupt


def plan(out, **changes):
    base = Plan(
        model="lab-v1",
        benchmark="lab",
        out=out,
        spec=SamplingSpec(samples=3, cap_tokens=60, seed=0),
        budgets=BUDGETS,
        protocol=Protocol.FINISHED,
        limit=8,
    )
    return replace(base, **changes)


def records_of(folder):
    return sorted(
        jsonl.read(folder / "records.jsonl", EvalRecord), key=lambda r: (r.problem, r.sample)
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    run_evaluation(plan(folder), observer=QUIET)
    return folder


def test_every_sample_is_there_once_with_its_text_and_grade(whole):
    records = records_of(whole)
    assert [(r.problem, r.sample) for r in records] == sorted(
        (p.id, s) for p in load_benchmark("lab", limit=8) for s in range(3)
    )
    by_id = {p.id: p for p in load_benchmark("lab", limit=8)}
    for r in records:
        assert r.grade is grading.grade(by_id[r.problem], r.text).grade
        assert (r.finish is Finish.LENGTH) == (r.tokens == 60 and not r.text.endswith("<end>"))
        assert (r.pieces is not None) == (r.sample == 0)
    assert {r.grade for r in records} >= {Grade.CORRECT, Grade.WRONG}


@pytest.mark.parametrize("stop_after", [1, 13])
def test_interrupted_and_rerun_it_ends_as_if_it_had_not_been(whole, tmp_path, stop_after):
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(plan(tmp_path / "run"), observer=Counter(stop_after=stop_after))
    observer = Counter()
    run_evaluation(plan(tmp_path / "run"), observer=observer)
    assert observer.already == [("sampling", 24, stop_after)]
    assert observer.new == 24 - stop_after
    assert records_of(tmp_path / "run") == records_of(whole)


def test_a_torn_last_line_is_made_again_and_nothing_else(whole, tmp_path):
    run_evaluation(plan(tmp_path / "run"), observer=QUIET)
    file = tmp_path / "run" / "records.jsonl"
    os.truncate(file, file.stat().st_size - 25)
    observer = Counter()
    run_evaluation(plan(tmp_path / "run"), observer=observer)
    assert observer.new == 1
    assert records_of(tmp_path / "run") == records_of(whole)


def test_a_finished_evaluation_is_not_sampled_again(whole):
    before = (whole / "records.jsonl").read_bytes()
    observer = Counter()
    run_evaluation(plan(whole), observer=observer)
    assert observer.already == []
    assert (whole / "records.jsonl").read_bytes() == before


def test_killed_by_the_system_and_rerun_it_holds_the_same_samples(tmp_path):
    words = ["eval", "--benchmark", "lab", "--limit", "20", "--samples", "4", "--cap-tokens", "80"]
    words += ["--model", "lab-v1", "--threads", "1", "--rows", "8", "--out", tmp_path / "killed"]
    records = tmp_path / "killed" / "records.jsonl"
    child = children.start(children.TERSELY, *words)
    until = time.monotonic() + 120
    while not (records.is_file() and records.read_bytes().count(b"\n") > 10):
        assert child.process.is_alive(), child.stderr
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(child.process.pid, signal.SIGKILL)
    child.wait()
    assert 10 < records.read_bytes().count(b"\n") < 80
    again = Plan(
        model="lab-v1",
        benchmark="lab",
        out=tmp_path / "killed",
        spec=SamplingSpec(samples=4, cap_tokens=80, seed=0),
        budgets=(5, 10, 20, 40, 80),
        protocol=Protocol.FINISHED,
        limit=20,
        rows=8,
    )
    run_evaluation(again, observer=QUIET)
    run_evaluation(replace(again, out=tmp_path / "whole"), observer=QUIET)
    killed, unbroken = (records_of(tmp_path / name) for name in ("killed", "whole"))
    assert [replace(r, run="") for r in killed] == [replace(r, run="") for r in unbroken]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": SamplingSpec(samples=3, cap_tokens=61, seed=0)}, "cap tokens is 61 here and 60"),
        ({"spec": SamplingSpec(samples=3, cap_tokens=60, seed=1)}, "seed is 1 here and 0 there"),
        ({"spec": SamplingSpec(samples=4, cap_tokens=60, seed=0)}, "samples is 4 here and 3"),
        (
            {"spec": SamplingSpec(samples=3, cap_tokens=60, seed=0, temperature=0.6)},
            r"temperature is 0\.6 here and 1 there",
        ),
        (
            {"spec": SamplingSpec(samples=3, cap_tokens=60, seed=0, top_p=0.9)},
            r"top-p is 0\.9 here",
        ),
        ({"limit": 7}, "benchmark digest is"),
        ({"protocol": Protocol.ANSWERED}, "budgets is 10 20 40 60 here and None there"),
    ],
)
def test_another_evaluation_is_refused_naming_the_difference(whole, changes, message):
    before = (whole / "records.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=message):
        run_evaluation(plan(whole, **changes), observer=QUIET)
    assert (whole / "records.jsonl").read_bytes() == before


def test_another_model_prompt_or_grader_is_refused(tmp_path):
    import shutil

    model, problems = tmp_path / "model", tmp_path / "problems.jsonl"
    shutil.copytree(lab_folder("lab-v1"), model)
    line = '{{"id": "a", "prompt": "1+2?", "answer": "3", "grader": "{}"}}\n'
    problems.write_text(line.format("exact"))

    def wanted():
        return plan(tmp_path / "run", model=str(model), benchmark=str(problems), limit=None)

    run_evaluation(wanted(), observer=QUIET)
    problems.write_text(line.format("number"))
    with pytest.raises(ConfigError, match=r"(graders is number|benchmark digest is)"):
        run_evaluation(wanted(), observer=QUIET)
    problems.write_text(line.format("exact"))
    (template,) = [f for f in model.glob("*") if "chat_template" in f.name] or [
        model / "tokenizer_config.json"
    ]
    kept = template.read_text()
    template.write_text(kept + " ")
    with pytest.raises(ConfigError, match="tokenizer and chat template digest is"):
        run_evaluation(wanted(), observer=QUIET)
    template.write_text(kept)
    weights = next(model.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ConfigError, match="model digest is"):
        run_evaluation(wanted(), observer=QUIET)


def test_a_folder_of_something_else_is_not_written_to(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists and is no evaluation"):
        run_evaluation(plan(tmp_path), observer=QUIET)
    assert [f.name for f in tmp_path.iterdir()] == ["notes.txt"]


def test_bad_settings_are_refused_before_anything_is_written(tmp_path):
    out = tmp_path / "run"
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    for changes, message in (
        ({"budgets": (10, 61)}, "budget 61 is outside 1 to the cap 60"),
        ({"limit": 0}, "--limit 0 is below 1"),
        ({"benchmark": "nothing.jsonl"}, "no problem file at"),
        ({"spec": SamplingSpec(samples=2, cap_tokens=60, seed=0, top_p=2.0)}, "top_p 2"),
        ({"spec": SamplingSpec(samples=2, cap_tokens=60, seed=0, temperature=-1.0)}, "temperature"),
        ({"spec": SamplingSpec(samples=2, cap_tokens=9000, seed=0)}, "leaves no room for a prompt"),
        ({"protocol": Protocol.FORCED, "allowance_tokens": 0}, "--allowance 0 is below 1"),
        ({"protocol": Protocol.FORCED, "allowance_tokens": 9000}, "leaves no room"),
        ({"spec": SamplingSpec(samples=0, cap_tokens=60, seed=0)}, "samples 0 is below 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            run_evaluation(plan(out, **changes), observer=QUIET)
    with pytest.raises(Exception, match="holds no problem"):
        run_evaluation(plan(out, benchmark=str(empty)), observer=QUIET)
    assert not out.exists()


def test_answered_grades_what_stands_in_the_first_tokens(tmp_path):
    run_evaluation(plan(tmp_path / "run", protocol=Protocol.ANSWERED), observer=QUIET)
    tokenizer = load_policy("lab-v1").tokenizer
    by_id = {p.id: p for p in load_benchmark("lab", limit=8)}
    seen = set()
    for r in records_of(tmp_path / "run"):
        ids = tokenizer(r.text, add_special_tokens=False)["input_ids"]
        for budget in BUDGETS:
            prefix = tokenizer.decode(ids[:budget], skip_special_tokens=False)
            right = grading.grade(by_id[r.problem], prefix).grade is Grade.CORRECT
            assert (budget in r.answered_budgets) == right, (r.text, budget)
            seen.add((right, r.tokens <= budget))
        in_time = r.grade is Grade.CORRECT and r.finish is Finish.STOP
        assert all(b in r.answered_budgets for b in BUDGETS if in_time and r.tokens <= b)
    # the answer stands one token before the stop token: right though not yet finished
    assert (True, True) in seen
    assert (False, True) in seen


def test_forced_answers_go_on_from_the_prefix_and_resume(tmp_path):
    forced = plan(tmp_path / "run", protocol=Protocol.FORCED, allowance_tokens=4)
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(forced, observer=Counter(stop_after=1005))
    observer = Counter()
    run_evaluation(forced, observer=observer)
    answers = jsonl.read(tmp_path / "run" / "forced.jsonl", ForcedRecord)
    tokens = jsonl.read(tmp_path / "run" / "tokens.jsonl", TokenRecord)
    keys = [(r.problem, r.sample, r.budget_tokens) for r in answers]
    expected = {
        (t.problem, t.sample, budget)
        for t in tokens
        for budget in BUDGETS
        if not (t.finish is Finish.STOP and len(t.completion_ids) <= budget)
    }
    assert len(keys) == len(set(keys))
    assert set(keys) == expected
    assert observer.already[-1] == ("forcing answers", len(expected), 5)
    by_id = {p.id: p for p in load_benchmark("lab", limit=8)}
    tokenizer = load_policy("lab-v1").tokenizer
    of = {(t.problem, t.sample): t for t in tokens}
    for r in answers:
        prefix = tokenizer.decode(of[r.problem, r.sample].completion_ids[: r.budget_tokens])
        closing = "" if "</think>" in prefix else "</think>"
        text = prefix + closing + r.text
        assert r.grade is grading.grade(by_id[r.problem], text).grade
        assert 1 <= r.extra_tokens <= 4 + bool(closing)
    assert any(r.grade is Grade.CORRECT for r in answers)


def test_pieces_join_to_the_text_also_where_a_token_ends_inside_a_character():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        ["so the answer is 7"],
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False),
    )

    class Wrapped:
        backend_tokenizer = backend

    text = "the answer → 😀 is 7 naïve"
    ids = backend.encode(text).ids
    pieces = split_text(Wrapped, ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == text
    assert "�" not in "".join(pieces)
    assert "" in pieces


def test_a_server_evaluation_needs_no_torch():
    code = (
        "import sys; import tersely.cli, tersely.flows.evaluate.session, "
        "tersely.readers.evaluations, tersely.report.pages.evaluation, "
        "tersely.report.pages.comparison; "
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_problems_of_an_evaluation_lie_beside_it(whole):
    assert Path(whole / "problems.jsonl").read_bytes().count(b"\n") == 8


def test_a_byte_fallback_tokenizer_never_stops_an_evaluation():
    byte_tokens = {f"<0x{byte:02X}>": byte for byte in range(256)}
    backend = Tokenizer(models.BPE(vocab={**byte_tokens, "a": 256, "▁": 257}, merges=[]))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )

    class Wrapped:
        backend_tokenizer = backend

        @staticmethod
        def decode(ids, **options):
            return backend.decode(ids, skip_special_tokens=False)

    smile = list("😀".encode())
    for ids in (
        [*smile, 256, 257, 256],
        [*smile, 0xF0, 0x9F, 256, 256],
        [0x0A, 0x80, 256, 256],
        [256, 0x0A, 0xF0, 0x9F, 0x98, 256, 256],
        [0x80] * 40,
    ):
        pieces = split_text(Wrapped, ids)
        assert len(pieces) == len(ids)
        # what is readable is there, in order
        wanted = [c for c in backend.decode(ids) if c not in "\ufffd\n"]
        joined = iter("".join(pieces))
        assert all(c in joined for c in wanted)
    assert split_text(Wrapped, [*smile, 256]) == ("", "", "", "😀", "a")


def test_a_renamed_folder_goes_on_under_its_own_name(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(plan(tmp_path / "one"), observer=Counter(stop_after=5))
    (tmp_path / "one").rename(tmp_path / "two")
    run_evaluation(plan(tmp_path / "two"), observer=QUIET)
    assert {r.run for r in records_of(tmp_path / "two")} == {"one"}


def test_tokens_that_were_lost_are_said_and_not_forced_around(tmp_path):
    forced = plan(tmp_path / "run", protocol=Protocol.FORCED, allowance_tokens=4, limit=2)
    run_evaluation(forced, observer=QUIET)
    file = tmp_path / "run" / "tokens.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(DataError, match="holds the tokens of 5 of 6 samples"):
        run_evaluation(forced, observer=QUIET)
