"""The last fenced code block of the answer is a Python program; it must pass the problem's tests.

It runs in a sandbox. What a test expects never enters that sandbox: outputs and returned values
are compared here, and a script of asserts runs in a second sandbox that calls the program in the
first.
"""

import json
import re
import textwrap
import time
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import NamedTuple

from tersely.core.errors import DataError, GradingError
from tersely.core.types import Grade, Verdict
from tersely.tasks import sandbox
from tersely.tasks.grading.answer import reply
from tersely.tasks.grading.code_tests import CallTest, CodeTests, InputTest, read_tests
from tersely.tasks.sandbox import End, Isolation, Limits, SandboxedProcess, Stopped
from tersely.tasks.sandbox.messages import decode, encode

# One program against all of its tests, whatever they are.
TOTAL_S = 60.0
_FENCE = re.compile(r"^([ \t]*)(`{3,})([^`\n]*)$", re.MULTILINE)


class _Passed(NamedTuple):
    passed: int
    total: int


def gold_problem(answer: str) -> str | None:
    """What is wrong with the tests; None if they can be read. They cannot be passed by themselves.

    Raises:
        ConfigError: programs cannot be isolated here, so the run is refused when it starts.
    """
    sandbox.find()
    try:
        read_tests(answer)
    except DataError as error:
        return str(error)
    return None


def grade(text: str, answer: str) -> Verdict:
    """UNPARSED without a closed code block, otherwise as ``grade_part`` says of its program."""
    found = quick(text, answer)
    return found if isinstance(found, Verdict) else grade_part(found, answer)


def quick(text: str, answer: str) -> Verdict | str:
    """The program; UNPARSED where there is none.

    Raises:
        ConfigError: programs cannot be isolated here, and it was not allowed to go without.
    """
    part = reply(text)
    program = last_block(part) if part else None
    if not program:
        return Verdict(grade=Grade.UNPARSED)
    # Tried out once, before several threads ask.
    sandbox.find()
    return program


def grade_part(program: str, answer: str) -> Verdict:
    """CORRECT if the program passes every test, with the share of tests passed as the score;
    UNGRADED if the tests cannot be read or run.

    Testing stops at the first test that runs out of time, and after a minute in all; the tests
    left then count as not passed. Source of the comparisons: LiveCodeBench, testing_util.py.

    Raises:
        ConfigError: as ``quick``.
    """
    isolation = sandbox.find()
    try:
        found = _test(program, answer, isolation=isolation)
    except (DataError, GradingError):
        return Verdict(grade=Grade.UNGRADED, extracted=program)
    right = found.passed == found.total
    return Verdict(
        grade=Grade.CORRECT if right else Grade.WRONG,
        extracted=program,
        score=found.passed / found.total,
    )


def last_block(text: str) -> str | None:
    """The content of the last fenced block that is closed; None without one."""
    found, opened = None, None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif len(fence[2]) >= len(opened[2]) and not fence[3].strip():
            found = text[opened.end() + 1 : fence.start()]
            opened = None
    return None if found is None else textwrap.dedent(found).strip("\n")


@lru_cache(maxsize=64)
def _test(program: str, answer: str, *, isolation: Isolation) -> _Passed:
    """Kept for the last programs: the prefixes of one completion mostly hold the same one."""
    tests = read_tests(answer)
    if tests.check:
        return _checked(program, tests, isolation=isolation)
    ends_at = time.monotonic() + TOTAL_S
    if tests.calls:
        return _Passed(_called(program, tests, isolation, ends_at), len(tests.calls))
    return _Passed(_fed(program, tests.inputs, isolation, ends_at), len(tests.inputs))


def _fed(program: str, tests: tuple[InputTest, ...], isolation: Isolation, ends_at: float) -> int:
    """How many tests the program passes, started anew for each."""
    passed = 0
    for test in tests:
        outcome = sandbox.run(
            program,
            isolation=isolation,
            stdin=test.stdin.encode(errors="replace"),
            limits=Limits(wall_s=min(Limits().wall_s, max(0.0, ends_at - time.monotonic()))),
        )
        if outcome.end is End.TIME:
            break
        output = outcome.stdout.decode(errors="replace")
        passed += outcome.end is End.DONE and same_output(output, test.stdout)
    return passed


def same_output(output: str, expected: str) -> bool:
    """Equal line by line but for white space around lines and text, or as decimal numbers."""
    lines, wanted = (text.strip().split("\n") for text in (output, expected))
    return len(lines) == len(wanted) and all(
        line.strip() == want.strip() or _same_numbers(line, want)
        for line, want in zip(lines, wanted, strict=True)
    )


def _same_numbers(line: str, want: str) -> bool:
    try:
        return list(map(Decimal, line.split())) == list(map(Decimal, want.split()))
    except DecimalException:
        return False


def _called(program: str, tests: CodeTests, isolation: Isolation, ends_at: float) -> int:
    """How many calls return what they must. One process answers them all, and another goes on
    where it died."""
    passed, place = 0, 0
    while place < len(tests.calls):
        limits = Limits(cpu_s=int(TOTAL_S))
        with SandboxedProcess(program, isolation=isolation, mode="serve", limits=limits) as cell:
            try:
                for test in tests.calls[place:]:
                    place += 1
                    passed += _returns(cell, tests.function, test, ends_at=ends_at)
            except Stopped as stopped:
                if stopped.end is End.TIME:
                    break
    return passed


def _returns(cell: SandboxedProcess, function: str, test: CallTest, *, ends_at: float) -> bool:
    values = [encode(value, _no_object) for value in test.arguments]
    request = {"do": "method", "values": [function, *values], "named": {}}
    soon = min(ends_at, time.monotonic() + Limits().wall_s)
    line = cell.ask(json.dumps(request).encode() + b"\n", ends_at=soon)
    try:
        # What a test accepts is JSON, which no set and no key but text is equal to.
        value = decode(json.loads(line)["value"], lambda number: object(), text_keys=True)
        value = list(value) if isinstance(value, tuple) else value
        return any(value == accepted for accepted in test.accepted)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return False


def _no_object(value: object) -> int:
    raise TypeError(f"JSON gave a {type(value).__name__}")


def _checked(program: str, tests: CodeTests, *, isolation: Isolation) -> _Passed:
    """Hands the script's calls to the program and its replies back, until the script is done."""
    ends_at = time.monotonic() + TOTAL_S
    limits = Limits(cpu_s=int(TOTAL_S))
    with (
        SandboxedProcess(program, isolation=isolation, mode="serve", limits=limits) as cell,
        SandboxedProcess(
            tests.check, isolation=isolation, mode="check", limits=limits, function=tests.function
        ) as script,
    ):
        reply = b""
        try:
            while "total" not in (said := json.loads(line := script.ask(reply, ends_at=ends_at))):
                reply = _reply(cell, line, ends_at=ends_at)
        except Stopped:
            return _Passed(0, 1)
    return _Passed(said["passed"], said["total"])


def _reply(cell: SandboxedProcess, line: bytes, *, ends_at: float) -> bytes:
    """The program's reply; ``null`` tells the script that it is gone."""
    try:
        soon = min(ends_at, time.monotonic() + Limits().wall_s)
        return cell.ask(line + b"\n", ends_at=soon) + b"\n"
    except Stopped:
        return b"null\n"
