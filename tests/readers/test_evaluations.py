import json
from dataclasses import replace

import numpy as np
import pytest

from tersely.core import jsonl
from tersely.core.errors import ConfigError, DataError
from tersely.core.forcing import ForcedRecord
from tersely.core.manifest import EvaluationManifest, Facts, write_manifest
from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.budgets import Protocol, score, spectrum
from tersely.metrics.records import SampleTable, arrange, tabulate
from tersely.readers import frames
from tersely.readers.evaluations import load
from tersely.readers.formats import Options
from tersely.readers.frames import as_samples, read_frame


def made(number, rng):
    """A record with everything that a record can hold, drawn at random."""
    grade = list(Grade)[rng.integers(4)]
    return EvalRecord(
        run="r",
        benchmark=("b", "c")[number % 2],
        problem=f"p{number // 6}",
        sample=number // 2 % 3,
        grade=grade,
        tokens=int(rng.integers(1, 101)),
        finish=list(Finish)[rng.integers(3)],
        cap_tokens=100,
        seed=0,
        answer_tokens=int(rng.integers(1, 9)) if grade is Grade.CORRECT else None,
        answered_budgets=((), (50,), (50, 100))[rng.integers(3)],
        extracted=f"{rng.integers(3)}" if grade is Grade.WRONG and rng.random() < 0.8 else None,
        text="1 2 3" if number % 2 else None,
        model="m",
    )


@pytest.fixture
def records():
    rng = np.random.default_rng(0)
    drawn = [made(number, rng) for number in range(60)]
    rng.shuffle(drawn)
    return drawn


MADE_OF = EvaluationManifest(
    model="lab",
    benchmark="b",
    benchmark_digest="0123",
    graders=("exact",),
    samples=4,
    cap_tokens=100,
    temperature=1.0,
    top_p=1.0,
    top_k=0,
    seed=0,
    protocol="finished",
    facts=Facts(),
)


def folder_of(path, records, *, protocol="finished", budgets=None, facts=MADE_OF.facts):
    path.mkdir()
    jsonl.write(path / "records.jsonl", records)
    write_manifest(path, replace(MADE_OF, protocol=protocol, budgets=budgets, facts=facts))
    return path


def same_answers(one, other):
    """Codes of wrong answers are arbitrary: what counts is which are alike."""
    alike = (one[:, :, None] == one[:, None, :]) == (other[:, :, None] == other[:, None, :])
    return alike.all() and (np.where(one > 0, 1, one) == np.where(other > 0, 1, other)).all()


def test_the_fast_way_and_the_record_by_record_way_give_the_same_table(tmp_path, records):
    jsonl.write(tmp_path / "r.jsonl", records)
    frame, notes = read_frame(tmp_path / "r.jsonl")
    fast, slow = arrange(as_samples(frame, prefix_budgets=(50, 100))), tabulate(records)
    assert notes == []
    for name in SampleTable._fields:
        ours, theirs = getattr(fast, name), getattr(slow, name)
        if name == "answer_PS":
            assert same_answers(ours, theirs)
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_a_folder_brings_its_protocol_budgets_facts_and_texts(tmp_path, records):
    folder = folder_of(
        tmp_path / "base",
        records,
        protocol="answered",
        budgets=(50, 100),
        facts=Facts(budgets=(50, 100), planned_samples=60),
    )
    loaded = load(folder)
    assert (loaded.name, loaded.protocol, loaded.budgets) == ("base", "answered", (50, 100))
    assert loaded.facts["model"] == "lab"
    assert loaded.notes == ()
    kept = [r for r in records if r.text is not None and r.sample < 2]
    assert {(r.problem, r.sample) for r in loaded.traces} == {(r.problem, r.sample) for r in kept}
    hits = score(loaded.table, budgets_B=np.array([50]), protocol=loaded.protocol).hits_PSB[:, :, 0]
    for (row, column), hit in np.ndenumerate(hits):
        benchmark, problem = loaded.table.keys[row]
        (record,) = [
            r for r in records if (r.benchmark, r.problem, r.sample) == (benchmark, problem, column)
        ]
        ungraded = record.grade is Grade.UNGRADED or record.finish is Finish.ERROR
        np.testing.assert_equal(hit, np.nan if ungraded else float(50 in record.answered_budgets))


def test_of_several_models_one_is_read_with_its_texts_alone(tmp_path, records):
    two = [replace(r, model=("a", "b")[r.sample % 2]) for r in records]
    loaded = load(folder_of(tmp_path / "two", two), options=Options(run="two", model="b"))
    kept = [r for r in two if r.model == "b" and r.text is not None and r.sample < 2]
    assert loaded.traces
    assert {(r.problem, r.sample) for r in loaded.traces} == {(r.problem, r.sample) for r in kept}


def test_finished_can_be_asked_of_any_folder_and_answered_only_where_it_was_graded(
    tmp_path, records
):
    folder = folder_of(tmp_path / "base", records, protocol="answered", budgets=(50, 100))
    assert load(folder, protocol=Protocol.FINISHED).protocol is Protocol.FINISHED
    plain = folder_of(tmp_path / "plain", [replace(r, answered_budgets=None) for r in records])
    loaded = load(plain, protocol=Protocol.ANSWERED)
    with pytest.raises(ConfigError, match="no prefixes graded under the protocol answered"):
        score(loaded.table, budgets_B=np.array([50]), protocol=loaded.protocol)
    table = load(folder).table
    with pytest.raises(ConfigError, match="not graded at budget 60, but at 50, 100"):
        score(table, budgets_B=np.array([60]), protocol=Protocol.ANSWERED)


def test_an_unfinished_evaluation_says_so(tmp_path, records):
    folder = folder_of(tmp_path / "base", records, facts=Facts(planned_samples=64))
    assert load(folder).notes == ("Unfinished: 60 of 64 samples; run the same tersely eval again.",)


def test_a_line_that_is_still_being_written_is_left_out_and_noted(tmp_path, records):
    folder = folder_of(tmp_path / "base", records)
    with (folder / "records.jsonl").open("ab") as file:
        file.write(b'{"schema":1,"run":"r","bench')
    loaded = load(folder)
    assert loaded.table.tokens_PS.size - loaded.table.missing == 60
    assert loaded.notes == ("The last line of records.jsonl is not whole and was left out.",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"finish": None}, r"records.jsonl:2: finish"),
        ({"finish": "eos"}, r"finish is 'eos'; it must be one of stop, length, error"),
        ({"grade": "yes"}, r"grade is 'yes'; it must be one of correct"),
        ({"tokens": None}, r"records.jsonl:2: tokens"),
        ({"tokens": 1.5}, r"records.jsonl:2: tokens: "),
        ({"tokens": -4}, r"-4 tokens, below 0"),
        ({"tokens": 101}, r"101 tokens, above the sampled cap 100"),
        ({"schema": 7}, r"this version of tersely reads schema 1"),
        ({"schema": None}, r"if another tool wrote the file, name it with --from"),
        ({"model": "other"}, r"2 models \('m', 'other'\)"),
    ],
)
def test_bad_records_are_refused_by_name(tmp_path, records, change, message):
    folder = folder_of(tmp_path / "base", records)
    lines = (folder / "records.jsonl").read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change})
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message):
        load(folder)


def test_a_duplicate_is_refused(tmp_path, records):
    folder = folder_of(tmp_path / "base", [*records, records[7]])
    with pytest.raises(DataError, match=f"sample {records[7].sample} twice"):
        load(folder)


def test_an_empty_file_and_a_missing_one_are_refused(tmp_path):
    with pytest.raises(DataError, match="no evaluation records"):
        load(folder_of(tmp_path / "empty", []))
    with pytest.raises(ConfigError, match="there is no"):
        load(tmp_path / "nothing")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ConfigError, match=r"has no records\.jsonl"):
        load(tmp_path / "bare")


def test_forced_answers_count_where_a_sample_was_cut_and_cost_what_they_cost(tmp_path):
    # p0: right at 40 tokens; at 20 it was cut and forced right. p1: never ends; forced wrong.
    def sample(problem, tokens, finish, grade):
        return EvalRecord(
            run="r",
            benchmark="b",
            problem=problem,
            sample=0,
            grade=grade,
            tokens=tokens,
            finish=finish,
            cap_tokens=80,
            seed=0,
        )

    def forced(problem, budget, grade):
        return ForcedRecord(
            problem=problem,
            sample=0,
            budget_tokens=budget,
            grade=grade,
            extra_tokens=3,
            finish=Finish.STOP,
            extracted=None,
            text="",
        )

    folder = folder_of(
        tmp_path / "base",
        [
            sample("p0", 40, Finish.STOP, Grade.CORRECT),
            sample("p1", 80, Finish.LENGTH, Grade.UNPARSED),
        ],
        protocol="forced",
        budgets=(20, 40, 80),
    )
    answers = [forced("p0", 20, Grade.CORRECT)]
    answers += [forced("p1", budget, Grade.WRONG) for budget in (20, 40, 80)]
    jsonl.write(folder / "forced.jsonl", answers)
    loaded = load(folder, budgets=(20, 40, 80))
    hits = score(loaded.table, budgets_B=np.array([20, 40, 80]), protocol=Protocol.FORCED)
    np.testing.assert_array_equal(hits.hits_PSB[:, 0], [[1, 1, 1], [0, 0, 0]])
    assert "4 extra generations, 12 extra tokens (10.0% of the 120 sampled)" in loaded.notes[0]
    jsonl.write(folder / "forced.jsonl", answers[:3])
    with pytest.raises(DataError, match="1 answers are still to be forced"):
        load(folder)
    (folder / "forced.jsonl").unlink()
    with pytest.raises(ConfigError, match="holds no forced answers"):
        load(folder)


def test_texts_stop_where_a_page_would_grow_too_large(tmp_path, records, monkeypatch):
    monkeypatch.setattr(frames, "TRACE_CHARACTERS", 24)
    loaded = load(folder_of(tmp_path / "base", records))
    assert sum(len(r.text) for r in loaded.traces) == 20


def test_the_spectrum_is_the_papers_and_small_caps_have_their_halves():
    assert spectrum(32768) == (2048, 4096, 8192, 16384, 32768)
    assert spectrum(20000) == (2048, 4096, 8192, 16384, 20000)
    assert spectrum(320) == (20, 40, 80, 160, 320)
    assert spectrum(3) == (1, 3)


def test_a_run_folder_is_told_which_file_to_give_instead(tmp_path):
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "step-000004.jsonl").touch()
    with pytest.raises(ConfigError, match=r"one of the run's evaluations, .*step-000004\.jsonl"):
        load(tmp_path)
