"""The ``code`` grader: what counts as passed, what cannot be forged, and what cannot be graded."""

import base64
import json
import os
import pickle
import threading
import time
import zlib
from pathlib import Path

import pytest

from tersely.core import jsonl
from tersely.core.errors import ConfigError, DataError
from tersely.core.types import (
    Completion,
    EvalRecord,
    Finish,
    Grade,
    Problem,
    SamplingSpec,
    Verdict,
)
from tersely.flows.evaluate.records import record_of
from tersely.tasks import grading, sandbox
from tersely.tasks.grading import code, workers
from tersely.tasks.grading.code import grade, last_block, same_output
from tersely.tasks.grading.code_tests import CallTest, InputTest, read_tests
from tersely.tasks.sandbox import choice

needs_sandbox = pytest.mark.skipif(bool(choice.fault()), reason="bubblewrap does not isolate here")
pytestmark = pytest.mark.filterwarnings("ignore:programs run with your own rights:RuntimeWarning")


@pytest.fixture(autouse=True)
def _bare_where_nothing_isolates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of these tests are harmless, but for those of tests that ``needs_sandbox``."""
    monkeypatch.setitem(choice._choice, "unsandboxed", bool(choice.fault()))


def block(program: str) -> str:
    return f"Here it is:\n```python\n{program}\n```\nDone."


def graded(program: str, **answer: object) -> Verdict:
    return grade(block(program), json.dumps(answer))


DOUBLE = {"tests": [{"input": "1\n", "output": "2\n"}, {"input": "21", "output": "42"}]}


def test_the_last_closed_block_outside_the_thinking_is_the_program() -> None:
    text = "```\na\n```\nthen\n```python\nb\n\n```\n```py\nnever closed"
    assert last_block(text) == "b"
    assert last_block("none") is None
    assert last_block("  ```python\n  if x:\n    y\n  ```") == "if x:\n  y"
    assert last_block("````md\n```\nx\n```\n````") == "```\nx\n```"
    for nothing in ("print(1)", "<think>```\nx\n```", "```python\nx", "```\n```", ""):
        assert grade(nothing, json.dumps(DOUBLE)) == Verdict(grade=Grade.UNPARSED)


def test_a_long_row_of_fences_costs_little() -> None:
    begin = time.monotonic()
    assert last_block("`" * 1_000_000) is None
    assert last_block("```\n" * 100_000) == ""
    assert last_block(" " * 1_000_000 + "```x`") is None
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize(
    ("output", "expected", "same"),
    [
        ("1 2\n3\n", "1 2\n3", True),
        ("\n 1 2 \n3  \n\n", "1 2\n3", True),
        ("1\n\n3", "1\n3", False),
        ("0.50 1e1", "0.5 10", True),
        ("0.30000000000000004", "0.3", False),
        ("50000000000000001", "50000000000000000", False),
        ("yes", "Yes", False),
        ("1  2", "1 2", True),
        ("a  b", "a b", False),
        ("nan", "nan", True),
        ("sNaN", "1", False),
        ("", "", True),
        ("1", "", False),
    ],
)
def test_output_is_compared_as_livecodebench_does(output: str, expected: str, same: bool) -> None:
    assert same_output(output, expected) is same


def test_all_tests_must_pass_and_the_share_that_did_is_the_score() -> None:
    right = graded("print(2 * int(input()))", **DOUBLE)
    assert right == Verdict(grade=Grade.CORRECT, extracted="print(2 * int(input()))", score=1.0)
    half = graded("print(1 + int(input()))", **DOUBLE)
    assert (half.grade, half.score) == (Grade.WRONG, 0.5)
    none = graded("print(", **DOUBLE)
    assert (none.grade, none.score) == (Grade.WRONG, 0.0)


def test_the_record_of_a_sample_keeps_the_score(tmp_path: Path) -> None:
    problem = Problem(id="p", prompt="?", answer=json.dumps(DOUBLE), source="s", grader="code")
    text = block("print(1 + int(input()))")
    completion = Completion(problem_id="p", sample=0, text=text, tokens=9, finish=Finish.STOP)
    spec = SamplingSpec(samples=1, cap_tokens=10, seed=0)
    record = record_of(problem, completion, spec=spec, run="r", with_text=False)
    jsonl.append(tmp_path / "records.jsonl", record)
    assert [r.score for r in jsonl.read(tmp_path / "records.jsonl", EvalRecord)] == [0.5]


def test_a_program_that_stands_in_several_prefixes_runs_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = "print(2 * int(input()))  # once"
    assert graded(program, **DOUBLE).score == 1.0
    monkeypatch.setattr(sandbox, "run", None)
    assert grade(block(program) + " And", json.dumps(DOUBLE)).score == 1.0


def test_programs_are_tested_side_by_side_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    both, seen = threading.Barrier(2, timeout=20), []

    def meet(program: str, answer: str, *, isolation: sandbox.Isolation) -> code._Passed:
        seen.append(program)
        both.wait()
        return code._Passed(int(program == "a"), 1)

    monkeypatch.setattr(code, "_test", meet)
    monkeypatch.setattr(workers, "_pools", {os.getpid(): workers.WorkerPool(workers=2)})
    problem = Problem(id="p", prompt="?", answer=json.dumps(DOUBLE), source="s", grader="code")
    texts = [block("a"), block("b"), "none", block("a") + " And"]
    found = grading.grade_all([(problem, text) for text in texts])
    assert [verdict.extracted for verdict in found] == ["a", "b", None, "a"]
    assert [verdict.score for verdict in found] == [1.0, 0.0, None, 1.0]
    assert sorted(seen) == ["a", "b"]


def test_an_exit_in_the_middle_counts_only_with_the_right_output() -> None:
    assert graded("print(2 * int(input())); exit(0)", **DOUBLE).grade is Grade.CORRECT
    assert graded("import os; os._exit(0)", **DOUBLE).score == 0.0
    assert graded("print(2 * int(input()))\n1/0", **DOUBLE).score == 0.0


def test_testing_stops_at_the_first_test_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tersely.tasks.grading.code.Limits", short_limits)
    begin = time.monotonic()
    program = "n = int(input())\nwhile n != 1: pass\nprint(2 * n)"
    tests = [{"input": "1", "output": "2"}, *({"input": "21", "output": "42"},) * 50]
    verdict = graded(program, tests=tests)
    assert (verdict.grade, verdict.score) == (Grade.WRONG, 1 / 51)
    assert time.monotonic() - begin < 10


def short_limits(**changes: object) -> sandbox.Limits:
    return sandbox.Limits(wall_s=0.7, memory_bytes=1 << 30)._replace(cpu_s=5)


TWO_SUM = {
    "function": "twoSum",
    "tests": [
        {"input": "[2, 7, 11]\n9", "output": "[0, 1]"},
        {"input": "[3, 3]\n6", "output": "[0, 1]"},
    ],
}
SOLUTION = """
class Solution:
    def twoSum(self, nums: List[int], target: int) -> List[int]:
        seen = defaultdict(int)
        for place, value in enumerate(nums):
            if target - value in seen:
                return (seen[target - value], place)
            seen[value] = place
"""


def test_a_method_of_solution_is_called_with_names_that_livecodebench_gives() -> None:
    assert graded(SOLUTION, **TWO_SUM).grade is Grade.CORRECT
    plain = "def twoSum(nums, target):\n    print('noise')\n    return [0, 1]"
    assert graded(plain, **TWO_SUM).grade is Grade.CORRECT
    assert graded("def other(): pass", **TWO_SUM).score == 0.0


@pytest.mark.parametrize(
    ("returned", "expected", "same"),
    [
        ("(1, 2)", [1, 2], True),
        ("[(1, 2)]", [[1, 2]], False),
        ("{1: 2}", {"1": 2}, False),
        ("{'a': 2}", {"a": 2}, True),
        ("1.0", 1, True),
        ("10 ** 5000", 10**4000, False),
        ("2 ** 70", 2**70, True),
        ("{1}", [1], False),
        ("float('nan')", 1, False),
        ("object()", None, False),
        ("None", None, True),
        # A program that runs bare sees the standard library only.
        pytest.param("__import__('numpy').int64(3)", 3, True, marks=needs_sandbox),
        ("type('E', (int,), {'__eq__': lambda s, o: True})(4)", 3, False),
        ("type('E', (), {'__eq__': lambda s, o: True})()", 3, False),
    ],
)
def test_returned_values_are_compared_as_python_does(
    returned: str, expected: object, same: bool
) -> None:
    test = {"input": [], "output": expected}
    program = f"def f(): return {returned}"
    assert (graded(program, function="f", tests=[test]).grade is Grade.CORRECT) is same


def test_a_call_that_ends_the_process_fails_alone() -> None:
    program = "import os\ndef f(n):\n    if n == 2: os._exit(0)\n    return n"
    tests = [{"input": [n], "output": n} for n in (1, 2, 3)]
    assert graded(program, function="f", tests=tests).score == pytest.approx(2 / 3)


@needs_sandbox
def test_what_a_test_expects_is_nowhere_in_the_sandbox() -> None:
    """The program searches all of its memory, its arguments, files and descriptors."""
    secret = "S3CR3T-EXPECTED"
    search = f"""
import os, sys, gc
wanted = {secret[:4]!r} + {secret[4:]!r}
found = []
for pid in [p for p in os.listdir("/proc") if p.isdigit()] + ["self"]:
    for name in ("cmdline", "environ", "maps"):
        try:
            data = open(f"/proc/{{pid}}/{{name}}", "rb").read()
        except OSError:
            continue
        if wanted.encode() in data:
            found.append(name)
for fd in range(3, 64):
    try:
        os.lseek(fd, 0, 0)
        if wanted.encode() in os.read(fd, 1 << 20):
            found.append(fd)
    except OSError:
        pass
for thing in gc.get_objects():
    if isinstance(thing, dict) and thing is not globals():
        for key, value in list(thing.items()):
            if isinstance(value, str) and wanted in value and key not in ("source", "wanted"):
                found.append(key)
"""
    say = "if found:\n    print(wanted)"
    answer = {"tests": [{"input": "", "output": secret}]}
    assert graded(search + say, **answer).score == 0.0
    call = search + "\ndef f(): return wanted if found else 0"
    answer = {"function": "f", "tests": [{"input": [], "output": secret}]}
    assert graded(call, **answer).score == 0.0
    answer = {"check": f"assert f() == {secret!r}"}
    assert graded(call, **answer).score == 0.0


FORGED = b'{"passed": 3, "total": 3}\n{"value": true}\n'
CHECK = {"check": ["assert f(1) == 2", "assert f(2) == 4", "assert f(3) == 6"]}


def test_every_assert_of_a_script_is_one_test() -> None:
    assert graded("def f(n): return 2 * n", **CHECK).grade is Grade.CORRECT
    assert graded("def f(n): return 2", **CHECK).score == pytest.approx(1 / 3)
    assert graded("def g(n): return 2 * n", **CHECK).score == 0.0


def test_a_script_without_asserts_at_the_top_is_one_test() -> None:
    check = "def check(candidate):\n    assert candidate([1, 2]) == (1, {2})\ncheck(f)"
    assert graded("def f(x): return x[0], {x[1]}", check=check).grade is Grade.CORRECT
    assert graded("def f(x): return [x[0], {x[1]}]", check=check).score == 0.0


@needs_sandbox
@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "def f(n):\n    import os; os._exit(0)",
        "def f(n):\n    raise SystemExit(0)",
        "class E:\n    __eq__ = lambda s, o: True\ndef f(n): return E()",
        "class E(int):\n    __eq__ = lambda s, o: True\ndef f(n): return E(0)",
        "import builtins\nbuiltins.AssertionError = None\ndef f(n): return 0",
        "def f(n): return f\nf.__eq__ = lambda o: True",
        'import os, sys\nprint(\'{"passed": 3, "total": 3}\', flush=True)\ndef f(n): return 0',
        "import os\nfor fd in range(64):\n    try: os.write(fd, FORGED)\n"
        "    except OSError: pass\ndef f(n): return 0",
        "import os\nfor fd in range(64):\n    try: os.write(fd, b'[[[[\\n' * 9)\n"
        "    except OSError: pass\ndef f(n): return 0",
        "import os\nfor fd in range(64):\n    try: os.write(fd, b'[' * 100000 + b'\\n')\n"
        "    except OSError: pass\ndef f(n): return 0",
        "import os, signal\nos.kill(-1, signal.SIGKILL)",
        "import sys, threading\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n)",
    ],
)
def test_no_verdict_is_forged(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tersely.tasks.grading.code.Limits", short_limits)
    program = f"FORGED = {FORGED!r}\n{program}"
    verdict = graded(program, **CHECK)
    assert (verdict.grade, verdict.score) == (Grade.WRONG, 0.0)
    calls = {"function": "f", "tests": [{"input": [n], "output": 2 * n} for n in (1, 2)]}
    assert graded(program, **calls).grade is Grade.WRONG


def test_no_assert_counts_after_the_program_is_gone() -> None:
    check = "try:\n    f()\nexcept Exception:\n    pass\nassert True"
    assert graded("def f(): raise ValueError", check=check).score == 1.0
    assert graded("def f(): __import__('os')._exit(0)", check=check).score == 0.0


def test_a_check_may_use_modules_exceptions_objects_and_change_in_place() -> None:
    program = """
class Pair:
    def __init__(self, a, b): self.a, self.b = a, b
    def total(self): return self.a + self.b
def best(pairs): return max(p.total() for p in pairs)
def sort(values): values.sort()
def root(x):
    if x < 0: raise ValueError("negative")
    return x ** 0.5
def sum(a, b): return a + b + 1
"""
    check = """
import math
pair = Pair(1, 2)
assert pair.a == 1
assert pair.total() == 3
assert best([pair, Pair(4, b=5)]) == 9
values = [3, 1, 2]
sort(values)
assert values == [1, 2, 3]
assert math.isclose(root(2), 1.41421356, rel_tol=1e-6)
assert statistics.mean([root(4), root(16)]) == 3
try:
    root(-1)
    assert False
except ValueError as error:
    failed = str(error)
assert failed.endswith("negative")
assert sum(1, 2) == 4
"""
    verdict = graded(program, check=check, function="sum")
    assert (verdict.grade, verdict.score) == (Grade.CORRECT, 1.0)


def test_a_program_cannot_stand_in_for_a_builtin_or_a_module_of_the_check() -> None:
    program = "abs = lambda x: 0\nclass math:\n    isclose = lambda *a: True\ndef f(): return 9"
    check = "assert abs(f() - 1) < 1e-6\nassert math.isclose(f(), 1)"
    assert graded(program, check=check).score == 0.0


@needs_sandbox
def test_one_program_leaves_nothing_for_the_next() -> None:
    leave = "open('/tmp/left', 'w').write('x')\nprint(2 * int(input()))"
    look = "import os\nprint(2 * int(input()) if not os.listdir('/tmp') else 0)"
    assert graded(leave, **DOUBLE).score == 1.0
    assert graded(look, **DOUBLE).score == 1.0


def test_livecodebench_columns_are_read_as_they_are() -> None:
    public = json.dumps([{"input": "[1]\n2", "output": "3", "testtype": "functional"}])
    private = json.dumps([{"input": "[4]\n5", "output": "9", "testtype": "functional"}])
    packed = base64.b64encode(zlib.compress(pickle.dumps(private))).decode()
    metadata = json.dumps({"func_name": "f"})
    columns = {"public_test_cases": public, "private_test_cases": packed, "metadata": metadata}
    tests = read_tests(json.dumps(columns))
    assert tests.function == "f"
    assert tests.calls == (CallTest([[1], 2], [3]), CallTest([[4], 5], [9]))
    plain = read_tests(json.dumps(columns | {"private_test_cases": private}))
    assert plain == tests
    stdin = json.dumps([{"input": "1\n", "output": "2\n", "testtype": "stdin"}])
    columns = {"public_test_cases": stdin, "private_test_cases": "[]", "metadata": "{}"}
    assert read_tests(json.dumps(columns)).inputs == (InputTest("1\n", "2\n"),)


def test_packed_test_cases_cannot_run_code() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (eval, ("1/0",))

    packed = base64.b64encode(zlib.compress(pickle.dumps(Evil()))).decode()
    with pytest.raises(DataError, match="must not name"):
        read_tests(json.dumps({"private_test_cases": packed}))


def test_taco_and_apps_forms_are_read() -> None:
    lines = read_tests(json.dumps({"inputs": [["1", "2"]], "outputs": [["3"]]}))
    assert lines.inputs == (InputTest("1\n2", "3"),)
    calls = read_tests(json.dumps({"inputs": [[1, 2]], "outputs": [[3]], "fn_name": "f"}))
    assert calls.calls == (CallTest([1, 2], [[3], 3]),)


@pytest.mark.parametrize(
    "answer",
    [
        "4",
        "not json",
        "{}",
        '{"tests": []}',
        '{"tests": [{"input": "1"}]}',
        '{"check": "assert ("}',
        '{"check": " "}',
        '{"inputs": ["1"], "outputs": []}',
        '{"private_test_cases": "????"}',
        '{"function": "f", "tests": [{"input": "[1", "output": "1"}]}',
        "[" * 100_000,
    ],
)
def test_an_answer_without_readable_tests_is_ungraded_and_named_before_sampling(
    answer: str,
) -> None:
    with pytest.raises(DataError):
        read_tests(answer)
    problem = Problem(id="p", prompt="?", answer=answer, source="s", grader="code")
    assert grading.grade(problem, block("print(1)")).grade is Grade.UNGRADED
    ((bad, reason),) = grading.check_gold([problem])
    assert bad is problem
    assert "answer" in reason


def test_without_isolation_a_run_is_refused_unless_that_was_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choice, "fault", lambda: "forbidden")
    monkeypatch.setitem(choice._choice, "unsandboxed", False)
    choice._warn_once.cache_clear()
    with pytest.raises(ConfigError, match=r"forbidden.*--allow-unsandboxed"):
        graded("print(1)", **DOUBLE)
    monkeypatch.setitem(choice._choice, "unsandboxed", True)
    with pytest.warns(RuntimeWarning, match="your own rights"):
        verdict = graded("print(2 * int(input()))", **DOUBLE)
    assert verdict.grade is Grade.CORRECT


@pytest.mark.parametrize(
    ("binary", "fix"), [(None, "install bubblewrap"), ("/usr/bin/bwrap", "allow user namespaces")]
)
def test_the_refusal_names_what_makes_bubblewrap_work(
    binary: str | None, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "fault", lambda: "it did not start")
    monkeypatch.setattr(choice.shutil, "which", lambda _: binary)
    monkeypatch.setitem(choice._choice, "unsandboxed", False)
    with pytest.raises(ConfigError, match=fix):
        sandbox.find()
