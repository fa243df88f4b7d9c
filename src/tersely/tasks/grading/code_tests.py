"""The tests of a programming problem, read from its answer: JSON in one of the forms in use."""

import base64
import binascii
import io
import pickle
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tersely.core.errors import DataError
from tersely.core.parsing import parse_json

# More than the largest test set of LiveCodeBench takes; less than what a small bomb unpacks to.
_MOST_BYTES = 1 << 30


class InputTest(NamedTuple):
    """What a program reads from standard input, and what it must write to standard output."""

    stdin: str
    stdout: str


class CallTest(NamedTuple):
    """What a function is called with, and the values of which it must return one."""

    arguments: list[Any]
    accepted: list[Any]


class CodeTests(NamedTuple):
    """The tests of one problem: ``inputs``, or ``calls`` of ``function``, or a ``check`` script."""

    inputs: tuple[InputTest, ...] = ()
    calls: tuple[CallTest, ...] = ()
    check: str = ""
    function: str = ""


def read_tests(answer: str) -> CodeTests:
    """The tests in a JSON object of one of these forms.

    ``{"tests": [{"input", "output"}, ...], "function": null or name}``;
    LiveCodeBench's columns ``public_test_cases``, ``private_test_cases`` and ``metadata`` as they
    are, packed or not; ``{"inputs": [...], "outputs": [...], "fn_name"}`` (TACO, APPS);
    ``{"check": script or list of lines, "function": name if a builtin's}`` (MBPP, HumanEval with
    the call of its ``check`` added).

    Raises:
        DataError: naming what is missing.
    """
    try:
        given = parse_json(answer)
    except ValueError as error:
        raise DataError(f"the answer of a code problem is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise DataError(f"the answer of a code problem is a {type(given).__name__}, no JSON object")
    try:
        tests = _read(given)
    except (KeyError, TypeError, ValueError, SyntaxError, RecursionError) as error:
        raise DataError(f"the answer holds no tests that can be read: {error!r}") from None
    if not (tests.inputs or tests.calls or tests.check.strip()):
        raise DataError("the answer of a code problem holds no test")
    return tests


def _read(given: Mapping[str, Any]) -> CodeTests:
    if "check" in given:
        script = given["check"]
        text = script if isinstance(script, str) else "\n".join(script)
        compile(text, "check", "exec")
        return CodeTests(check=text, function=given.get("function") or "")
    if "public_test_cases" in given or "private_test_cases" in given:
        metadata = _unpacked(given.get("metadata") or {})
        cases = [
            *_unpacked(given.get("public_test_cases") or []),
            *_unpacked(given.get("private_test_cases") or []),
        ]
        return _of_pairs([(c["input"], c["output"]) for c in cases], metadata.get("func_name"))
    if "tests" in given:
        pairs = [(test["input"], test["output"]) for test in given["tests"]]
        return _of_pairs(pairs, given.get("function"))
    pairs = list(zip(given["inputs"], given["outputs"], strict=True))
    return _of_pairs(pairs, given.get("fn_name"))


def _of_pairs(pairs: Sequence[tuple[Any, Any]], function: str | None) -> CodeTests:
    if function is None:
        return CodeTests(inputs=tuple(InputTest(_lines(i), _lines(o)) for i, o in pairs))
    return CodeTests(calls=tuple(_call(i, o) for i, o in pairs), function=function)


def _lines(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "\n".join(map(_lines, value)) if isinstance(value, list) else str(value)


def _call(given: Any, expected: Any) -> CallTest:
    """Text holds an argument a line and the value, all JSON (LiveCodeBench). A list holds the
    arguments; the value beside it may stand alone in a list too (APPS), so both are accepted."""
    if isinstance(given, str):
        return CallTest([parse_json(line) for line in given.split("\n")], [parse_json(expected)])
    wrapped = isinstance(expected, list) and len(expected) == 1
    return CallTest(list(given), [expected, expected[0]] if wrapped else [expected])


class _OnlyPlainData(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"test cases must not name {module}.{name}")


def _unpacked(value: Any) -> Any:
    """JSON text, or LiveCodeBench's base64 of zlib of a pickle of JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError:
        pass
    try:
        unpack = zlib.decompressobj()
        packed = unpack.decompress(base64.b64decode(value, validate=True), _MOST_BYTES)
        if unpack.unconsumed_tail:
            raise ValueError(f"test cases are longer than {_MOST_BYTES >> 20} MiB")
        return parse_json(_OnlyPlainData(io.BytesIO(packed)).load())
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"test cases are neither JSON nor packed JSON: {error}") from None
