"""An evaluation as loaded from disk: ours or a peer's, ready to be measured and drawn."""

from collections.abc import Mapping
from typing import NamedTuple

from tersely.core.types import EvalRecord
from tersely.metrics.budgets import Protocol
from tersely.metrics.records import SampleTable


class Loaded(NamedTuple):
    """What a report or a comparison needs of one evaluation.

    Args:
        name: what to call it: the folder's or the file's name.
        table: all samples; under *answered* or *forced* with the prefixes graded under it.
        protocol: what counts as right at a budget.
        budgets: the budgets to report, ascending, in tokens.
        notes: what was excluded, inferred or left to do; shown under every table.
        facts: model, settings, date and the like, for the reader.
        traces: records with text, in table order; a few a problem at most.
    """

    name: str
    table: SampleTable
    protocol: Protocol
    budgets: tuple[int, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, str]
    traces: tuple[EvalRecord, ...]
