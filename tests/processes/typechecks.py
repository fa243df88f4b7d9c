"""Type checks at a twentieth of the time: what passed once is not followed again.

``--jaxtyping-packages`` wraps every function in a search for axes, several calls and a bound
signature deep. Where no annotation has axes, beartype alone checks the same arguments and results.
Where some have, a call is followed unless one of the same types, kinds of number and shapes, in
and out, has passed: axes say nothing of values. Beyond the first calls of a test none is looked at.
"""

import dataclasses
import inspect
import threading
from collections import Counter
from collections.abc import Callable
from functools import wraps
from types import CodeType
from typing import Any, get_args

import jaxtyping
import numpy as np
import torch
from beartype import BeartypeConf, beartype

# As jaxtyping's own: a value of another type is a TypeError, as it is where nothing checks.
_plainly_checked = beartype(conf=BeartypeConf(violation_type=TypeError))
# A function within a function is made anew at every call, and its check with it.
CHECKED_MAKINGS = 3
# Of a list; beartype looks at one element.
ELEMENTS = 4
# Of a function with axes, in one test.
LOOKED_AT = 64
_tests_begun = 0
_made: Counter[CodeType] = Counter()
_followed = jaxtyping.jaxtyped


def _may_have_axes(hint: Any) -> bool:
    """A text may: what it names is not looked up here."""
    if isinstance(hint, list | tuple):
        return any(map(_may_have_axes, hint))
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return isinstance(hint, str) or _may_have_axes(get_args(hint))


def _shape(value: Any) -> Any:
    """All of a value that a check looks at."""
    kind = type(value)
    if kind is torch.Tensor or kind is np.ndarray:
        return kind, value.dtype, value.shape
    if kind is tuple:
        return kind, *map(_shape, value)
    if kind is list:
        return kind, *map(_shape, value[:ELEMENTS])
    if kind is dict:
        return kind, *(_shape(each) for pair in [*value.items()][:1] for each in pair)
    if isinstance(value, torch.Tensor | np.ndarray):
        return kind, value.dtype, value.shape
    # A text may be one of a few that are named.
    return value if kind is str and len(value) < 30 else kind


def _remembering(fn: Callable[..., Any], typechecker: Callable[[Any], Any]) -> Callable[..., Any]:
    passed: set[Any] = set()
    done = threading.local()
    in_test = looked_at = 0

    @wraps(fn)
    def call(*args: Any, **named: Any) -> Any:
        if hasattr(done, "result"):
            result = done.result
            del done.result
            return result
        return fn(*args, **named)

    followed = _followed(call, typechecker=typechecker)

    @wraps(fn)
    def checked(*args: Any, **named: Any) -> Any:
        nonlocal in_test, looked_at
        if in_test != _tests_begun:
            in_test, looked_at = _tests_begun, 0
        looked_at += 1
        if looked_at > LOOKED_AT:
            return fn(*args, **named)
        given = (*map(_shape, args), *named, *map(_shape, named.values()))
        if given not in passed:
            result = followed(*args, **named)
            passed.update((given, (given, _shape(result))))
            return result
        result = fn(*args, **named)
        both = given, _shape(result)
        if both not in passed:
            done.result = result
            followed(*args, **named)
            passed.add(both)
        return result

    return checked


def _checked(fn: Any = None, *, typechecker: Callable[[Any], Any]) -> Any:
    if fn is None:
        return lambda given: _checked(given, typechecker=typechecker)
    if dataclasses.is_dataclass(fn):
        if inspect.isfunction(fn.__dict__.get("__init__")):
            fn.__init__ = _checked(fn.__init__, typechecker=typechecker)
        return fn
    if not inspect.isfunction(fn):
        return _followed(fn, typechecker=typechecker)
    if "<locals>" in fn.__qualname__:
        _made[fn.__code__] += 1
        if _made[fn.__code__] > CHECKED_MAKINGS:
            return fn
    if not _may_have_axes([*fn.__annotations__.values()]):
        return _plainly_checked(fn)
    if inspect.isgeneratorfunction(fn):
        return _followed(fn, typechecker=typechecker)
    return _remembering(fn, typechecker)


def begin_test() -> None:
    """From here on the first calls are looked at again."""
    global _tests_begun
    _tests_begun += 1


def install() -> None:
    """For every module of ours that is imported from here on."""
    jaxtyping.jaxtyped = _checked
