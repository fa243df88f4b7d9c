"""Turns out-of-memory errors into a message that names the setting to lower."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tersely.core.errors import EngineError

# How torch's CPU allocator and the operating system say it; on a GPU there is a type for it.
_CPU_SIGNS = ("can't allocate memory", "not enough memory", "Cannot allocate memory")


@contextmanager
def memory_errors(doing: str, *, fix: str) -> Iterator[None]:
    """Turns running out of memory into an :class:`EngineError` that names what to lower.

    Args:
        doing: what was under way.
        fix: the settings, with their present values.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise _said(doing, fix, error) from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _CPU_SIGNS)


def sampling_memory(rows: int) -> str:
    """What to lower where sampling does not fit."""
    return (
        f"lower sampling.rows = {rows} (--rows of eval), the rollouts in flight at once, "
        "or cap_tokens"
    )


def _said(doing: str, fix: str, error: BaseException) -> EngineError:
    reason = (str(error).splitlines() or [""])[0].strip()
    return EngineError(f"out of memory while {doing}{f' ({reason})' if reason else ''}; {fix}")
