"""Which samples become answers to train on, and what stands in the files."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tersely.core import jsonl
from tersely.core.errors import ConfigError, TerselyWarning
from tersely.core.manifest import EvaluationManifest, Facts
from tersely.core.types import EvalRecord, Finish, Grade, Message, Problem
from tersely.engines.models import load_tokenizer
from tersely.flows.curate.answers import (
    AnswerChoice,
    Rejected,
    Write,
    check_answers,
    clear_answers,
    make_answers,
    take_answers,
    warn_lost,
    write_answers,
)

GRADES = {
    "c": (Grade.CORRECT, Finish.STOP),
    "w": (Grade.WRONG, Finish.STOP),
    "p": (Grade.UNPARSED, Finish.STOP),
    "t": (Grade.CORRECT, Finish.LENGTH),
    "u": (Grade.UNGRADED, Finish.STOP),
    "e": (Grade.UNGRADED, Finish.ERROR),
}
# grade and tokens of each sample; t is right but was cut
SAMPLES = {
    "plain": "w2 c9 c5 c30 t3",
    "tied": "c7 c7 c20 u4",
    "alone": "c8 w40 p60 e1",
    "never": "w5 t40 t40",
    "level": "c20 c19",
}
PROBLEMS = [Problem(id=n, prompt=f"prompt {n}", answer="4", source="a") for n in SAMPLES]
BOTH = AnswerChoice(write=(Write.SFT, Write.PAIRS))
MADE = EvaluationManifest(
    model="lab", benchmark="", benchmark_digest="", graders=("exact",), samples=5, cap_tokens=40,
    temperature=1.0, top_p=1.0, top_k=0, seed=0, protocol="finished", facts=Facts(),
)  # fmt: skip


def record(problem, sample, word, **others):
    grade, finish = GRADES[word[0]]
    return EvalRecord(
        run="r",
        benchmark="a",
        problem=problem,
        sample=sample,
        grade=grade,
        tokens=int(word[1:]),
        finish=finish,
        cap_tokens=40,
        seed=0,
        text=f"{word} of {problem}",
        **others,
    )


@pytest.fixture
def records(tmp_path):
    file = tmp_path / "records.jsonl"
    words = [(name, at, word) for name, ws in SAMPLES.items() for at, word in enumerate(ws.split())]
    # As they end, in no order.
    shuffled = np.random.default_rng(0).permutation(len(words))
    jsonl.write(file, [record(*words[at]) for at in shuffled])
    return file


def write(folder, records, choice, problems=PROBLEMS, made=MADE):
    folder.mkdir(exist_ok=True)
    answers = make_answers(problems, records, choice, made_of=made)
    clear_answers(folder)
    write_answers(folder, answers)
    return {str(kind): each.counts for kind, each in answers.items()}


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_shortest_right_sample_of_each_problem_is_written(records, tmp_path):
    written = write(tmp_path / "set", records, BOTH)
    rows = lines(tmp_path / "set" / "sft.trl.jsonl")
    assert [(row["id"], row["sample"], row["tokens"]) for row in rows] == [
        ("plain", 2, 5),
        ("tied", 0, 7),
        ("alone", 0, 8),
        ("level", 1, 19),
    ]
    assert rows[0]["prompt"] == [{"role": "user", "content": "prompt plain"}]
    assert rows[0]["completion"] == [{"role": "assistant", "content": "c5 of plain"}]
    # Three samples of "plain" and "never" were cut; "tied" has two of 7 tokens.
    assert written["sft"] == (4, 1, 0, 1, 3)


def test_a_pair_saves_at_least_the_gap(records, tmp_path):
    written = write(tmp_path / "set", records, BOTH)
    rows = lines(tmp_path / "set" / "pairs.trl.jsonl")
    # 5 against 30 and 7 against 20; 19 against 20 saves 5% only, and "alone" has one right answer.
    assert [(r["id"], r["chosen_tokens"], r["rejected_tokens"]) for r in rows] == [
        ("plain", 5, 30),
        ("tied", 7, 20),
    ]
    assert rows[0]["rejected"] == [{"role": "assistant", "content": "c30 of plain"}]
    assert written["pairs"] == (2, 1, 2, 1, 3)
    closer = replace(BOTH, gap=0.05)
    assert write(tmp_path / "set", records, closer)["pairs"].rows == 3


def test_a_short_right_answer_is_preferred_over_a_longer_wrong_one(records, tmp_path):
    choice = replace(BOTH, rejected=Rejected.WRONG)
    assert write(tmp_path / "set", records, choice)["pairs"].rows == 1
    (row,) = lines(tmp_path / "set" / "pairs.trl.jsonl")
    assert (row["id"], row["chosen_tokens"], row["rejected_tokens"]) == ("alone", 8, 60)


def naive(samples, *, pairs, gap, rejected):
    """Slot by slot: the k-th shortest with the k-th longest, while it is shorter by the gap."""
    ended = [(n, s, w) for s, (w, n) in enumerate(samples) if GRADES[w][1] is Finish.STOP]
    right = sorted((n, s) for n, s, w in ended if w == "c")
    others = right if rejected == "right" else [(n, s) for n, s, w in ended if w in "wp"]
    others = sorted(others, key=lambda each: (-each[0], each[1]))
    found = []
    for short, long in zip(right, others, strict=False):
        if len(found) < pairs and short[0] < long[0] and short[0] <= (1 - gap) * long[0]:
            found.append((short[1], long[1]))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_pairs_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    samples = [
        (str(rng.choice(list("cccwptue"))), int(rng.integers(1, 12)))
        for _ in range(rng.integers(1, 14))
    ]
    choice = AnswerChoice(
        write=(Write.PAIRS,),
        pairs=int(rng.integers(1, 5)),
        gap=float(rng.choice([0.0, 0.2, 0.5])),
        rejected=Rejected(str(rng.choice(["right", "wrong"]))),
    )
    frame = pl.DataFrame(
        [
            {
                "problem": "p",
                "sample": at,
                "grade": GRADES[word][0].value,
                "finish": GRADES[word][1].value,
                "tokens": tokens,
            }
            for at, (word, tokens) in enumerate(samples)
        ]
    ).sample(fraction=1.0, shuffle=True, seed=seed)
    problem = Problem(id="p", prompt="?", answer="4", source="a")
    taken = take_answers([problem], frame, choice, kind=Write.PAIRS)["p"]
    wanted = naive(samples, pairs=choice.pairs, gap=choice.gap, rejected=choice.rejected.value)
    assert list(zip(taken.chosen, taken.rejected, strict=True)) == wanted


def test_what_samples_were_told_stands_in_the_prompt_or_does_not(records, tmp_path):
    told = replace(MADE, system_prompt="Be brief.", phrase=" Now!")
    write(tmp_path / "set", records, BOTH, made=told)
    prompt = lines(tmp_path / "set" / "sft.trl.jsonl")[0]["prompt"]
    assert prompt == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "prompt plain Now!"},
    ]
    write(tmp_path / "set", records, replace(BOTH, told=False), made=told)
    prompt = lines(tmp_path / "set" / "pairs.trl.jsonl")[0]["prompt"]
    assert prompt == [{"role": "user", "content": "prompt plain"}]


def test_verl_gets_the_chat_and_what_its_template_was_given(records, tmp_path):
    made = replace(MADE, chat_template_kwargs='{"enable_thinking": false}')
    earlier = (Message(role="system", content="Hello."),)
    problems = [replace(PROBLEMS[0], earlier=earlier)]
    write(tmp_path / "set", records, BOTH, problems=problems, made=made)
    (row,) = pl.read_parquet(tmp_path / "set" / "sft.verl.parquet").to_dicts()
    assert row == {
        "messages": [
            {"role": "system", "content": "Hello."},
            {"role": "user", "content": "prompt plain"},
            {"role": "assistant", "content": "c5 of plain"},
        ],
        "data_source": "a",
        "id": "plain",
        "sample": 2,
        "tokens": 5,
        "enable_thinking": False,
    }
    (line,) = lines(tmp_path / "set" / "sft.trl.jsonl")
    assert line["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_choice_takes_away_what_another_left(records, tmp_path):
    write(tmp_path / "set", records, BOTH)
    before = (tmp_path / "set" / "pairs.trl.jsonl").read_bytes()
    write(tmp_path / "set", records, replace(BOTH, write=(Write.PAIRS,)))
    assert [file.name for file in (tmp_path / "set").iterdir()] == ["pairs.trl.jsonl"]
    assert (tmp_path / "set" / "pairs.trl.jsonl").read_bytes() == before


def test_a_thinking_that_the_prompt_opened_is_opened_in_the_answer(tmp_path):
    file = tmp_path / "records.jsonl"
    jsonl.write(file, [record("plain", 0, "c5", thinking_open=True)])
    write(tmp_path / "set", file, replace(BOTH, write=(Write.SFT,)), problems=PROBLEMS[:1])
    (row,) = lines(tmp_path / "set" / "sft.trl.jsonl")
    assert row["completion"][0]["content"] == "<think>c5 of plain"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"gap": 1.0}, r"--gap 1 is outside \[0, 1\)"),
        ({"pairs": 0}, "--pairs 0 is below 1"),
    ],
)
def test_pairs_that_cannot_be_are_refused(change, complaint):
    with pytest.raises(ConfigError, match=complaint):
        check_answers(replace(BOTH, **change))


def test_nothing_to_write_and_texts_that_were_not_kept_are_refused(records, tmp_path):
    with pytest.raises(ConfigError, match="--write sft: none of 1 problem has such answers"):
        write(tmp_path / "set", records, BOTH, problems=[PROBLEMS[3]])
    bare = [replace(each, text=None) for each in jsonl.read(records, EvalRecord)]
    jsonl.write(records, bare)
    with pytest.raises(ConfigError, match="keeps no text of 4 samples that would be written"):
        write(tmp_path / "set", records, BOTH)


def test_a_template_that_drops_the_thinking_is_told_of(records, tmp_path):
    file = tmp_path / "set" / "sft.trl.jsonl"
    write(tmp_path / "set", records, BOTH)
    tokenizer = load_tokenizer("lab")
    warn_lost(file, tokenizer)
    drops = "message['content'].split('of')[-1]"
    tokenizer.chat_template = tokenizer.chat_template.replace("message['content']", drops)
    with pytest.warns(TerselyWarning, match="leaves out a part of the answer to 'plain'"):
        warn_lost(file, tokenizer)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_only_a_newline_ends_a_row(separator, tmp_path):
    file = tmp_path / "sft.trl.jsonl"
    chat = {"prompt": [{"role": "user", "content": f"1+{separator}2"}], "id": "a"}
    answer = [{"role": "assistant", "content": f"one{separator}two"}]
    file.write_text(json.dumps({**chat, "completion": answer}, ensure_ascii=False) + "\n")
    warn_lost(file, load_tokenizer("lab"))


@pytest.mark.parametrize("torn", [False, True])
def test_a_folder_named_like_a_pattern_and_a_torn_line_hide_no_sample(records, tmp_path, torn):
    """``run[1]`` as a pattern means ``run1``, which holds other samples."""
    for name in ("run[1]", "run1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "records.jsonl").write_bytes(
            records.read_bytes() if "[" in name else b""
        )
    mine = tmp_path / "run[1]" / "records.jsonl"
    if torn:
        with mine.open("ab") as file:
            file.write(b'{"problem": "pla')
    written = write(tmp_path / "set", mine, BOTH)
    assert written == write(tmp_path / "other", records, BOTH)


def test_an_empty_text_is_no_answer(tmp_path):
    file = tmp_path / "records.jsonl"
    said = [record("plain", 0, "c9"), replace(record("plain", 1, "c1"), text=" \n")]
    jsonl.write(file, said)
    choice = AnswerChoice(write=(Write.SFT,))
    with pytest.warns(TerselyWarning, match="1 sample with an empty text left out"):
        write(tmp_path / "set", file, choice)
    (row,) = lines(tmp_path / "set" / "sft.trl.jsonl")
    assert row["sample"] == 0
