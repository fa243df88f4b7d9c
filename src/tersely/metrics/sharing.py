"""Several evaluations cut to what they have in common."""

from collections.abc import Sequence

import numpy as np

from tersely.core.errors import DataError
from tersely.metrics.records import SampleTable, cut_at, select


def share(tables: Sequence[SampleTable]) -> tuple[SampleTable, ...]:
    """The problems that all hold, in the order of the first, cut at the lowest of their caps.

    An evaluation without a cap is cut at the others', which is exact; if none has one, none is
    cut.

    Raises:
        DataError: no problem is in all of them.
    """
    caps = [table.cap_tokens for table in tables if table.cap_tokens is not None]
    cut = [cut_at(table, cap_tokens=min(caps)) for table in tables] if caps else tables
    return share_problems(cut)


def share_problems(tables: Sequence[SampleTable]) -> tuple[SampleTable, ...]:
    """The problems that all hold, in the order of the first.

    Raises:
        DataError: no problem is in all of them.
    """
    rows = [{key: row for row, key in enumerate(table.keys)} for table in tables]
    shared = [key for key in tables[0].keys if all(key in of for of in rows)]
    if not shared:
        them = "two" if len(tables) == 2 else len(tables)
        raise DataError(f"the {them} evaluations share no problem; evaluate all on the same set")
    return tuple(
        select(table, rows_P=np.array([of[key] for key in shared]))
        for table, of in zip(tables, rows, strict=True)
    )
