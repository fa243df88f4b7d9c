from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tersely.lab.family import LEVELS
from tersely.lab.problems import FAMILIES, Split, draw_problems, draw_task
from tersely.lab.traces import END_THINK, EQUALS, JOINS, NO, RECHECKS, THINK, Style, write_trace
from tersely.lab.vocabulary import END, SPECIAL, SYMBOLS, UNKNOWN, make_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


def chat_ids(tokenizer: PreTrainedTokenizerFast, prompt: str) -> list[int]:
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )


def test_every_symbol_is_one_token_with_an_id_of_its_own(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    everything = [*SPECIAL, *SYMBOLS]
    assert [tokenizer.encode(token) for token in everything] == [
        [number] for number in range(len(everything))
    ]
    assert len(tokenizer) == len(everything)
    assert tokenizer.eos_token == END
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
@pytest.mark.parametrize("style", list(Style))
def test_solutions_of_every_style_survive_the_tokenizer(
    tokenizer: PreTrainedTokenizerFast, family, style: Style
) -> None:
    rng = np.random.default_rng(0)
    seen = ""
    for level in LEVELS:
        for _ in range(25):
            task = draw_task(family, level=level, split=Split.TRAIN, rng=rng)
            trace = write_trace(family, task, style, rng=rng)
            ids = tokenizer.encode(trace)
            assert tokenizer.decode(ids) == trace
            assert tokenizer.unk_token_id not in ids
            seen += trace
    if style is Style.FULL:
        assert all(word in seen for word in (*RECHECKS, *EQUALS, *JOINS, NO))


def test_thinking_marks_and_second_thoughts_are_one_token_each(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    text = f"{THINK}3+4=8{NO}3+4 is 7 hmm: 3+4 makes 7{END_THINK}7"
    # 1 + 5 + 1 + 5 + 1 + 5 + 1 + 1, counted by hand.
    assert len(tokenizer.encode(text)) == 20


def test_the_chat_template_gives_the_ids_that_pretraining_used(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    for problem in draw_problems(per_family=50, seed=0, split=Split.TEST):
        ids = chat_ids(tokenizer, problem.prompt)
        assert ids == tokenizer.encode(f"<user>{problem.prompt}<assistant>")
        assert tokenizer.decode(ids) == f"<user>{problem.prompt}<assistant>"
        assert tokenizer.unk_token_id not in ids


def test_a_past_answer_ends_with_the_stop_token(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [
        {"role": "user", "content": "3+4?"},
        {"role": "assistant", "content": "7"},
        {"role": "user", "content": "1+1?"},
    ]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert text == "<user>3+4?<assistant>7<end><user>1+1?<assistant>"


def test_a_foreign_symbol_is_unknown_and_not_dropped(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.decode(tokenizer.encode("3&4?")) == f"3{UNKNOWN}4?"


def test_saved_and_loaded_it_gives_the_same_ids(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = f"{THINK}3+4=8{NO}3+4 is 7 wait: bdac>LXF?{END_THINK}7{END}"
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.decode(loaded.encode(text)) == text
    assert chat_ids(loaded, "3+4?") == chat_ids(tokenizer, "3+4?")
    assert (loaded.eos_token_id, loaded.pad_token_id) == (
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
