"""The maths grader on answers in many forms, true and false ones, and the laws it keeps."""

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from tersely.core.types import Grade
from tersely.tasks import grading
from tersely.tasks.grading import workers

grade = grading.load("math")

# Judged by hand: a gold answer, what was found, and whether it is right.
_PAIRS = Path(__file__).with_name("math_pairs.tsv").read_text(encoding="utf-8").splitlines()[1:]
EQUAL = [tuple(row.split("\t")[1:]) for row in _PAIRS if row.startswith("yes")]
UNEQUAL = [tuple(row.split("\t")[1:]) for row in _PAIRS if row.startswith("no")]


def is_right(found: str, gold: str) -> bool:
    return grade(f"So the answer is $\\boxed{{{found}}}$.", gold).grade is Grade.CORRECT


@pytest.mark.parametrize(("gold", "found"), EQUAL)
def test_another_way_of_writing_the_gold_answer_is_right(gold: str, found: str) -> None:
    assert is_right(found, gold)


@pytest.mark.parametrize(("gold", "found"), UNEQUAL)
def test_what_only_looks_like_the_gold_answer_is_not_right(gold: str, found: str) -> None:
    assert not is_right(found, gold)


def test_every_gold_answer_is_right_as_it_is_written() -> None:
    for gold in dict.fromkeys(text for pair in (*EQUAL, *UNEQUAL) for text in pair if text):
        assert is_right(gold, gold), gold


def test_what_is_unequal_one_way_is_unequal_the_other_way() -> None:
    for gold, found in UNEQUAL:
        # Names are asked for only where the gold answer has them.
        if found and "=" not in gold:
            assert not is_right(gold, found), (gold, found)


def test_another_digit_is_another_answer() -> None:
    rng = np.random.default_rng(0)
    for gold, _ in EQUAL:
        places = [place for place, character in enumerate(gold) if character in "23456789"]
        if not places or r"\circ" in gold or "|" in gold:
            continue
        at = int(rng.choice(places))
        changed = gold[:at] + str((int(gold[at]) + 3) % 8 + 1) + gold[at + 1 :]
        if changed[at] != gold[at]:
            assert not is_right(changed, gold), (gold, changed)


@pytest.mark.parametrize(
    ("gold", "found", "right"),
    [
        # A percentage at its face where percent was asked, a share of at most one as hundredths.
        ("17.5", r"17.5\%", True),
        ("4", r"4\%", True),
        ("4", r"400\%", False),
        ("2.5", r"250\%", False),
        ("0.25", r"25\%", True),
        ("1", r"100\%", True),
        ("0.5", r"0.5\%", False),
        (r"40\%", "40", True),
        (r"40\%", "0.4", True),
        (r"400\%", "4", False),
        (r"\frac{1}{3}", r"33\frac{1}{3}\%", True),
        (r"\frac{1}{3}", r"33\%", False),
    ],
)
def test_a_percentage_is_its_face_or_a_share_of_one(gold: str, found: str, right: bool) -> None:
    assert is_right(found, gold) is right


@pytest.mark.parametrize("exponent", [0, 3, 6, 9, 12, 19, 40, 300])
def test_tiny_values_are_compared_in_relation_to_their_size(exponent: int) -> None:
    gold = f"1.6 \\times 10^{{-{exponent}}}"
    assert is_right(f"1.60 \\cdot 10^{{-{exponent}}}", gold)
    assert not is_right(f"1.7 \\times 10^{{-{exponent}}}", gold)
    assert not is_right(f"1.6 \\times 10^{{-{exponent + 1}}}", gold)
    assert not is_right(f"-1.6 \\times 10^{{-{exponent}}}", gold)
    assert exponent == 0 or not is_right("0", gold)


INFINITE = [
    r"\pi\infty",
    r"41\pi_$42$\ln",
    r"\infty - \infty",
    r"\frac{42}{0}",
    r"42 + 0 \cdot \infty",
]
INFINITE += [r"\frac{0}{0}", r"42^{\infty}", r"\ln 0", r"42 \infty^0"]


def test_what_is_infinite_or_no_number_is_never_right_whatever_the_order_of_hashes() -> None:
    code = (
        "import sys; from tersely.tasks.grading.math import grade\n"
        "for found in sys.argv[1:]: print(grade('\\\\boxed{' + found + '}', '42').grade)"
    )
    for seed in range(4):
        done = subprocess.run(
            [sys.executable, "-c", code, *INFINITE],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
        )
        assert "correct" not in done.stdout
        assert len(done.stdout.split()) == len(INFINITE)


def test_a_worker_has_one_order_of_hashes() -> None:
    from tersely.tasks.grading.workers import GradingTask, Worker

    worker = Worker()
    worker.grade(GradingTask("tersely.tasks.grading.math", r"\boxed{\sqrt{2}}", r"\sqrt{3}"))
    with open(f"/proc/{worker.pid}/environ", "rb") as environment:
        assert b"PYTHONHASHSEED=0" in environment.read().split(b"\0")
    worker.stop()


SLOW = [
    r"\sum_{n=1}^{10000000} \frac{1}{n^3 + \sin n}",
    r"\binom{10000000}{5000000} + \sqrt{2}",
    "((9!)!)! + x",
    "-" * 1500 + "1",
    r"\log_{2}" * 15 + "x",
]


@pytest.mark.parametrize("found", SLOW)
def test_no_answer_costs_more_than_one_limit(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Shorter than a user's, and as much beyond it as theirs for a busy machine.
    monkeypatch.setattr(workers, "LIMIT_S", 2.0)
    # What was asked before is not answered from memory: a worker waits for the next.
    monkeypatch.setattr(grading, "_kept", {})
    assert is_right(r"\sqrt{8}", r"2\sqrt{2}")
    asked, pool = [], workers.WorkerPool.grade
    monkeypatch.setattr(workers.WorkerPool, "grade", lambda *of: asked.append(of) or pool(*of))
    began = perf_counter()
    assert not is_right(found, r"\sqrt{5}")
    assert perf_counter() - began < 2.0 + 5.0
    assert len(asked) <= 1
