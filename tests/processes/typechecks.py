"""Type checks at a tenth of the time: jaxtyping follows axes only where there are some.

``--jaxtyping-packages`` wraps every function in a search for axes, several calls and a bound
signature deep. Where no annotation has axes, beartype alone checks the same arguments and results.
"""

import inspect
from collections import Counter
from collections.abc import Callable
from types import CodeType
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

# As jaxtyping's own: a value of another type is a TypeError, as it is where nothing checks.
_plainly_checked = beartype(conf=BeartypeConf(violation_type=TypeError))
# A function within a function is made anew at every call, and its check with it.
CHECKED_MAKINGS = 3
_made: Counter[CodeType] = Counter()
_followed = jaxtyping.jaxtyped


def _may_have_axes(hint: Any) -> bool:
    """A text may: what it names is not looked up here."""
    if isinstance(hint, list | tuple):
        return any(map(_may_have_axes, hint))
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return isinstance(hint, str) or _may_have_axes(get_args(hint))


def _checked(fn: Any = None, *, typechecker: Callable[[Any], Any]) -> Any:
    if fn is None:
        return lambda given: _checked(given, typechecker=typechecker)
    if inspect.isfunction(fn) and "<locals>" in fn.__qualname__:
        _made[fn.__code__] += 1
        if _made[fn.__code__] > CHECKED_MAKINGS:
            return fn
    if inspect.isfunction(fn) and not _may_have_axes([*fn.__annotations__.values()]):
        return _plainly_checked(fn)
    return _followed(fn, typechecker=typechecker)


def install() -> None:
    """For every module of ours that is imported from here on."""
    jaxtyping.jaxtyped = _checked
