"""Conversation with code in a sandbox: answering calls to a program, or checking it with asserts.

Loaded by ``child.py`` in a bare interpreter (standard library only); the grader imports ``encode``
and ``decode``. Messages are JSON, one a line, on the socket that is standard input.
"""

import ast
import builtins
import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

Json = Any
Execute = Callable[..., ModuleType]


def encode(value: Any, keep: Callable[[Any], int]) -> Json:
    """A value as JSON from which ``decode`` makes an equal one; what is no plain data, a number
    that ``keep`` gives it."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()
    if value is None or isinstance(value, bool | str | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else {"int": hex(value)}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, dict):
        return {"dict": [[encode(k, keep), encode(v, keep)] for k, v in value.items()]}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            items = [encode(item, keep) for item in value]
            return items if kind is list else {kind.__name__: items}
    return {"object": keep(value)}


def decode(data: Json, known: Callable[[int], Any], *, text_keys: bool = False) -> Any:
    """The value that ``encode`` was given; ``known`` makes something of an object's number.

    With ``text_keys`` sets, and dictionaries with keys other than text, are refused: a program may
    choose numbers of equal hashes, and a set of them takes minutes to make.

    Raises:
        ValueError, TypeError, RecursionError: it is nothing that ``encode`` makes, or is refused.
    """
    if isinstance(data, list):
        return [decode(item, known, text_keys=text_keys) for item in data]
    if not isinstance(data, dict):
        return data
    ((kind, content),) = data.items()
    if kind == "int":
        return int(content, 16)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "object":
        return known(content)
    items = [decode(item, known, text_keys=text_keys) for item in content]
    chosen = kind.endswith("set") or (kind == "dict" and not all(type(k) is str for k, _ in items))
    if text_keys and chosen:
        raise ValueError(f"a {kind} whose hashes the program chose")
    if kind == "dict":
        return dict(items)
    if kind == "complex":
        return complex(*items)
    return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](items)


class Channel:
    """The socket to the grader, moved away from the code's standard input and output."""

    def __init__(self) -> None:
        self._socket = os.dup(0)
        self._lines = os.fdopen(self._socket, "rb", closefd=False)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1):
            os.dup2(nothing, standard)

    def send(self, message: Json) -> None:
        left = memoryview(json.dumps(message).encode() + b"\n")
        while left:
            left = left[os.write(self._socket, left) :]

    def messages(self) -> Iterator[Json]:
        return map(json.loads, self._lines)


class Program:
    """A program whose functions are called from outside. Objects that are no plain data stay here
    and are known by number."""

    def __init__(self, source: str, execute: Execute) -> None:
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._module = execute(source, name="program")
        solution = getattr(self._module, "Solution", None)
        self._solution = solution() if isinstance(solution, type) else None

    def _keep(self, value: Any) -> int:
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        return self._numbers[id(value)]

    def _find(self, name: str) -> Any:
        place = self._solution if hasattr(self._solution, name) else self._module
        return getattr(place, name)

    def answer(self, request: Json) -> Json:
        """What the request asks for; with ``back``, also what became of mutable arguments."""
        values = [decode(part, self._objects.__getitem__) for part in request["values"]]
        named = {k: decode(v, self._objects.__getitem__) for k, v in request["named"].items()}
        does: dict[str, Callable[..., Any]] = {
            "find": self._find,
            "method": lambda name, *arguments: self._find(name)(*arguments),
            "call": lambda function, *arguments, **named: function(*arguments, **named),
            "attribute": getattr,
            "item": lambda value, key: value[key],
            "list": list,
            "length": len,
            "text": str,
        }
        value = does[request["do"]](*values, **named)
        reply = {"value": encode(value, self._keep)}
        if request.get("back"):
            reply["back"] = [
                encode(v, self._keep) if isinstance(v, list | dict | set) else None for v in values
            ]
        return reply


def _failure(error: BaseException) -> Json:
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
    return {"error": kinds[0], "message": f"{type(error).__name__}: {error}"[:500]}


def serve(source: str, execute: Execute) -> int:
    """Loads the program and answers requests until there are no more."""
    channel = Channel()
    program, broken = None, {}
    try:
        program = Program(source, execute)
    except BaseException as error:
        broken = _failure(error)
    for request in channel.messages():
        try:
            reply = program.answer(request) if program else broken
        except BaseException as error:
            reply = _failure(error)
        channel.send(reply)
    return 0


class _ProgramGone(BaseException):
    """The program is gone; no ``except Exception`` of a check may hide that."""


class Remote:
    """Something of the program's, in a check. Equal only to itself: what the program says of
    equality does not count."""

    def __init__(self, ask: Callable[..., Any], number: int) -> None:
        self._ask, self._number = ask, number

    def __call__(self, *values: Any, **named: Any) -> Any:
        return self._ask("call", self, *values, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask("attribute", self, name)

    def __getitem__(self, key: Any) -> Any:
        return self._ask("item", self, key)

    def __iter__(self) -> Iterator[Any]:
        items: list[Any] = self._ask("list", self)
        return iter(items)

    def __len__(self) -> int:
        return int(self._ask("length", self))

    def __str__(self) -> str:
        return str(self._ask("text", self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and other._number == self._number

    def __hash__(self) -> int:
        return hash(self._number)


class Asking:
    """A check's side of the conversation with the program."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._replies = channel, channel.messages()

    def __call__(self, do: str, *values: Any, **named: Any) -> Any:
        request = {
            "do": do,
            "values": [encode(value, _number) for value in values],
            "named": {name: encode(value, _number) for name, value in named.items()},
            "back": do == "call" and any(isinstance(v, list | dict | set) for v in values),
        }
        self._channel.send(request)
        reply = next(self._replies, None)
        if reply is None:
            raise _ProgramGone
        if "error" in reply:
            kind = getattr(builtins, str(reply["error"]), Exception)
            known = isinstance(kind, type) and issubclass(kind, Exception)
            raise (kind if known else Exception)(reply["message"])
        for value, data in zip(values, reply.get("back", ()), strict=False):
            if data is not None:
                _refill(value, self._decode(data))
        return self._decode(reply["value"])

    def _decode(self, data: Json) -> Any:
        return decode(data, lambda number: Remote(self, number))


def _number(value: Any) -> int:
    if isinstance(value, Remote):
        return value._number
    raise TypeError(f"a check cannot hand a {type(value).__name__} to the program")


def _refill(value: Any, now: Any) -> None:
    """What the program did to an argument in place also happens to the check's own."""
    if value != now:
        value.clear()
        (value.extend if isinstance(value, list) else value.update)(now)


def check(source: str, free_names: set[str], *, function: str) -> int:
    """Runs a script of asserts, sending each call to the program; tells passed and total.

    Names that the script leaves open are modules of the standard library, or the program's;
    ``function`` is the program's even if it is a builtin's name. Every assert at the top level is
    one test; a script without any is one test as a whole.
    """
    channel = Channel()
    ask = Asking(channel)
    tree = ast.parse(source)
    space: dict[str, Any] = {"__name__": "check"}
    asserts = sum(isinstance(node, ast.Assert) for node in tree.body)
    passed, broken = 0, False
    try:
        for name in sorted(free_names | ({function} if function else set())):
            if name in sys.stdlib_module_names and name != function:
                space[name] = import_module(name)
            else:
                try:
                    space[name] = ask("find", name)
                except Exception:
                    continue
        for node in tree.body:
            works = _works(node, space)
            if isinstance(node, ast.Assert):
                passed += works
            elif not works:
                broken = True
                break
    except _ProgramGone:
        broken = True
    whole = not asserts
    channel.send({"passed": passed + (whole and not broken), "total": asserts + (whole or broken)})
    return 0


def _works(node: ast.stmt, space: dict[str, Any]) -> bool:
    try:
        exec(compile(ast.Module([node], []), "check.py", "exec"), space)
    except (Exception, SystemExit):
        return False
    return True
