"""What is no log of steps: one line that says what was seen and what to pass."""

from pathlib import Path

import pytest

from tersely.core.errors import DataError
from tersely.readers.steplogs import read_steps

OURS = "step,tokens_mean,accuracy\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty; give"),
        ("a.jsonl", " \n", "is empty; give"),
        ("a.txt", "Dear diary\n", "no step log that is known: it begins with 'Dear diary'"),
        (
            "a.csv",
            "accuracy,tokens_mean\n0.5,9\n",
            "has no column of steps (step, global_step, Step, ...); it",
        ),
        ("a.csv", "step,weight\n1,9\n", "no row with a step and a column that is known; it has"),
        ("a.csv", OURS + "0.02,9,0.5\n", "the step (column step) is 0.02, which counts no steps"),
        ("a.csv", OURS + "-1,9,0.5\n", "the step (column step) is -1"),
        ("a.csv", OURS + "1,9,50\n", "divide the column by 100 if it is in percent"),
        (
            "a.csv",
            "step,tokens_mean,cap_tokens\n1,5000,4096\n",
            "tokens_mean (column tokens_mean) is 5,000 at step 1, above cap_tokens 4,096",
        ),
        ("a.csv", "step,entropy_mean\n1,-0.5\n", "entropy_mean is -0.5 at step 1, and must be at"),
        (
            "a.csv",
            OURS + "".join(f"{s},{n},0.5\n" for s in range(5) for n in (9, 8)),
            "5 steps stand twice and with other values, first step 0: two runs",
        ),
        (
            "a.csv",
            OURS + "".join(f"{s * 37 % 101},9,0.5\n" for s in range(1, 90)),
            "so that it is no log of one run in the order of time",
        ),
        ("a.csv", OURS, "is no log of steps: it has no rows; give a log with a row a step"),
        ("a.json", "[]", "it has no rows; give a log with a row a step"),
        ("a.json", "{}", "it has no rows; give"),
        ("a.json", "[{}, {}]", "it has no rows; give"),
        ("a.json", "3", "no step log that is known"),
        ("a.json", "[3]", "row 1 is a int, no object"),
        ("a.csv", "", "is empty; give a run folder"),
        ("a.jsonl", "[{}]", "it has no rows; give a log with a row a step"),
        ("a.csv", f"step,loss\n{2**53},1\n", "so large that the next step is the same number"),
        ("a.csv", "step,loss\n1.7e18,1\n", "the step (column step) is 1.7e+18"),
        ("a.csv", "step,loss\nday 1,1\n", "the step (column step) holds 'day 1' in row 1"),
        ("a.csv", "step,loss\n1,low\n", "loss, which holds 'low' in row 1, where one number"),
        (
            "a.jsonl",
            '{"step": 1, "reward": [0, 1]}\n{"step": 2, "reward": [1, 1]}\n',
            "reward (reward_mean), which holds '[0, 1]' in row 1",
        ),
        ("a.csv", "step,tokens_mean\n1,0.4\n2,0.3\n", "is never above 0.4, and a rollout has at"),
        ("a.csv", "Wall time,Step,Value\n1.5,1,9\n", "for instance --column tokens_mean=Value"),
        ("a.csv", "loss,kl\n1,2\n", "has no column of steps"),
        # W&B's table of runs: a row a run.
        ("a.csv", "Name,State,reward\na,finished,0.5\nb,crashed,0.4\n", "has no column of steps"),
        ("a.csv", "Step,Weight,My length\n1,2,3\n", "for instance --column tokens_mean=My length"),
    ],
)
def test_what_is_no_log_is_refused_in_one_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (file := tmp_path / name).write_text(content)
    with pytest.raises(DataError) as error:
        read_steps(file, columns={})
    assert message in str(error.value)
    assert "\n" not in str(error.value)
