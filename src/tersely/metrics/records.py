"""From evaluation samples to arrays of problems by samples."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tersely.core.errors import ConfigError, DataError
from tersely.core.order import natural_pair
from tersely.core.types import EvalRecord, Finish, Grade

# Codes of answers in ``answer_PS`` besides those of distinct wrong answers, which are >= 1.
RIGHT, NO_ANSWER, UNKNOWN_ANSWER = 0, -1, -2
UNKNOWN_TOKENS = -1
UNKNOWN_TURNS = -1
UNKNOWN_LOOP = -1
# What counts as ended by itself: a sample of which nothing else is known is not taken as cut.
ENDED = (Finish.STOP, Finish.UNKNOWN)


class BudgetOf(StrEnum):
    """What a budget counts: all tokens, how often the model spoke, or tokens without tools'."""

    TOKENS = "tokens"
    TURNS = "turns"
    MODEL_TOKENS = "model-tokens"


class Samples(NamedTuple):
    """An evaluation as columns, one entry a sample, in any order.

    Args:
        runs, models: the distinct values found; more than one of either is refused.
        caps: the distinct caps found; None where some sample has none.
        keys: (benchmark, problem) of each problem, sorted, 2 before 10; ``row_N`` points into it.
        answer_N: RIGHT, NO_ANSWER, UNKNOWN_ANSWER, or one code >= 1 for each wrong answer.
        answer_tokens_N: tokens until a correct answer first stands; UNKNOWN_TOKENS if not known.
        prefix_budgets_C: the budgets whose prefixes were graded; may be empty.
        prefix_NC: the prefix of that many tokens grades correct.
        thinking_N: tokens up to the end of the thinking; UNKNOWN_TOKENS if not known.
        loops_N: 1 where the text ends in a loop, else 0; UNKNOWN_LOOP if not known.
        turns_N: how often the model spoke; UNKNOWN_TURNS if not known.
        tool_tokens_N: of the tokens, those that tools wrote; UNKNOWN_TOKENS if not known.
    """

    runs: tuple[str, ...]
    models: tuple[str, ...]
    caps: tuple[int | None, ...]
    keys: tuple[tuple[str, str], ...]
    row_N: Int[np.ndarray, " N"]
    sample_N: Int[np.ndarray, " N"]
    correct_N: Bool[np.ndarray, " N"]
    finished_N: Bool[np.ndarray, " N"]
    graded_N: Bool[np.ndarray, " N"]
    end_unknown_N: Bool[np.ndarray, " N"]
    tokens_N: Int[np.ndarray, " N"]
    answer_N: Int[np.ndarray, " N"]
    answer_tokens_N: Int[np.ndarray, " N"]
    prefix_budgets_C: Int[np.ndarray, " C"]
    prefix_NC: Bool[np.ndarray, "N C"]
    thinking_N: Int[np.ndarray, " N"]
    loops_N: Int[np.ndarray, " N"]
    turns_N: Int[np.ndarray, " N"]
    tool_tokens_N: Int[np.ndarray, " N"]


class SampleTable(NamedTuple):
    """An evaluation as arrays: P problems, sorted by key, by S samples, sorted by index.

    A problem with fewer samples than the others is padded with ungraded ones.

    Args:
        keys: (benchmark, problem) of each row.
        correct_PS: graded correct.
        finished_PS: ended by itself, not by the cap; also where that is not known.
        graded_PS: has a grade; False for an ungraded sample, a sampling error or padding.
        tokens_PS: completion tokens, stop token included.
        cap_tokens: the cap all were sampled at, the largest where they differ; None: no bound.
        missing: padded places, that is samples that were never made.
        answer_PS, answer_tokens_PS, prefix_budgets_C, prefix_PSC, thinking_PS, loops_PS, turns_PS,
            tool_tokens_PS: as in ``Samples``; None where the records hold nothing of the kind.
        budget_of: what budgets count; lengths are tokens whatever it is.
        ends_known: of every graded sample it is known whether it ended by itself.
        answers_known: of every graded sample it is known whether it holds an answer.
    """

    keys: tuple[tuple[str, str], ...]
    correct_PS: Bool[np.ndarray, "P S"]
    finished_PS: Bool[np.ndarray, "P S"]
    graded_PS: Bool[np.ndarray, "P S"]
    tokens_PS: Int[np.ndarray, "P S"]
    cap_tokens: int | None
    missing: int = 0
    answer_PS: Int[np.ndarray, "P S"] | None = None
    answer_tokens_PS: Int[np.ndarray, "P S"] | None = None
    prefix_budgets_C: Int[np.ndarray, " C"] | None = None
    prefix_PSC: Bool[np.ndarray, "P S C"] | None = None
    ends_known: bool = True
    answers_known: bool = True
    thinking_PS: Int[np.ndarray, "P S"] | None = None
    loops_PS: Int[np.ndarray, "P S"] | None = None
    turns_PS: Int[np.ndarray, "P S"] | None = None
    tool_tokens_PS: Int[np.ndarray, "P S"] | None = None
    budget_of: BudgetOf = BudgetOf.TOKENS

    @property
    def reach_tokens(self) -> int:
        """The budget from which on nothing changes: the cap, or without one the longest sample."""
        return max(1, int(self.tokens_PS.max())) if self.cap_tokens is None else self.cap_tokens

    @property
    def right_PS(self) -> Bool[np.ndarray, "P S"]:
        """Right and served: graded correct, and not cut, for what never ended answers nobody."""
        return np.asarray(self.graded_PS & self.correct_PS & self.finished_PS)

    @property
    def spent_PS(self) -> Int[np.ndarray, "P S"]:
        """What each sample takes of a budget."""
        if self.budget_of is BudgetOf.TURNS and self.turns_PS is not None:
            return self.turns_PS
        if self.budget_of is BudgetOf.MODEL_TOKENS and self.tool_tokens_PS is not None:
            return np.asarray(self.tokens_PS - self.tool_tokens_PS)
        return self.tokens_PS

    @property
    def reach(self) -> int:
        """The budget from which on nothing changes, in what budgets count."""
        if self.budget_of is BudgetOf.TOKENS:
            return self.reach_tokens
        return max(1, int(self.spent_PS[self.graded_PS].max(initial=1)))

    @property
    def graded_problems(self) -> int:
        """Problems with a graded sample."""
        return int(self.graded_PS.any(axis=1).sum())

    @property
    def ungraded(self) -> int:
        """Samples that were made but have no grade."""
        return int((~self.graded_PS).sum()) - self.missing


def tabulate(records: Sequence[EvalRecord], *, prefix_budgets: Sequence[int] = ()) -> SampleTable:
    """Arranges one run's records, whatever their order, as problems by samples.

    Args:
        prefix_budgets: in tokens, whose prefixes were graded; a record names only those at which
            it was right, so one at which none was is not known without.
    Raises:
        DataError: naming the problem, if a sample stands twice, a token count cannot be, or
            records are of several runs or models.
    """
    return arrange(_columns(records, prefix_budgets=prefix_budgets))


def arrange(samples: Samples) -> SampleTable:
    """Problems by samples; see ``tabulate``."""
    _check(samples)
    order_N = np.lexsort((samples.sample_N, samples.row_N))
    row_N, sample_N = samples.row_N[order_N], samples.sample_N[order_N]
    twice_N = (row_N[1:] == row_N[:-1]) & (sample_N[1:] == sample_N[:-1])
    if twice_N.any():
        at = int(np.argmax(twice_N))
        benchmark, problem = samples.keys[row_N[at]]
        raise DataError(f"{benchmark}: problem {problem!r} has sample {sample_N[at]} twice")
    counts_P = np.bincount(row_N, minlength=len(samples.keys))
    starts_P = np.cumsum(counts_P) - counts_P
    place_N = np.arange(row_N.size) - starts_P[row_N]
    shape = (len(samples.keys), int(counts_P.max()))

    def spread(values_N: np.ndarray, fill: int | bool) -> np.ndarray:
        # The samples of a problem do not lie together: sums over them then add up long rows.
        out = np.full((shape[1], shape[0], *values_N.shape[1:]), fill, dtype=values_N.dtype)
        out[place_N, row_N] = values_N[order_N]
        return np.swapaxes(out, 0, 1)

    with_prefixes = samples.prefix_budgets_C.size > 0
    answers = set(samples.answer_N[samples.graded_N].tolist())
    return SampleTable(
        keys=samples.keys,
        correct_PS=spread(samples.correct_N, False),
        finished_PS=spread(samples.finished_N, False),
        graded_PS=spread(samples.graded_N, False),
        tokens_PS=spread(samples.tokens_N, 0),
        cap_tokens=_largest(samples.caps),
        missing=shape[0] * shape[1] - row_N.size,
        answer_PS=spread(samples.answer_N, UNKNOWN_ANSWER),
        answer_tokens_PS=spread(samples.answer_tokens_N, UNKNOWN_TOKENS),
        prefix_budgets_C=samples.prefix_budgets_C if with_prefixes else None,
        prefix_PSC=spread(samples.prefix_NC, False) if with_prefixes else None,
        ends_known=not (samples.graded_N & samples.end_unknown_N).any(),
        answers_known=NO_ANSWER in answers or UNKNOWN_ANSWER not in answers,
        thinking_PS=spread(samples.thinking_N, UNKNOWN_TOKENS),
        loops_PS=spread(samples.loops_N, UNKNOWN_LOOP),
        turns_PS=spread(samples.turns_N, UNKNOWN_TURNS),
        tool_tokens_PS=spread(samples.tool_tokens_N, UNKNOWN_TOKENS),
    )


def arrays_of_samples(table: SampleTable) -> dict[str, np.ndarray | None]:
    """Every array that has an entry for each sample, by its name."""
    return {n: v for n, v in table._asdict().items() if n.endswith(("_PS", "_PSC"))}


def take(table: SampleTable, places: tuple[np.ndarray, ...]) -> SampleTable:
    """Every sample's entries from these places, an index of rows or of rows and columns."""
    arrays: dict[str, Any] = {
        name: None if values is None else values[places]
        for name, values in arrays_of_samples(table).items()
    }
    return table._replace(**arrays)


def select(table: SampleTable, *, rows_P: Int[np.ndarray, " Q"]) -> SampleTable:
    """The given rows of a table, in the given order."""
    return take(table, (rows_P,))._replace(keys=tuple(table.keys[row] for row in rows_P))


def cut_at(table: SampleTable, *, cap_tokens: int) -> SampleTable:
    """The table as a lower cap would have made it: longer samples are cut and not finished.

    Sampling goes token by token, so a completion cut at a lower cap is a prefix of this one. What
    is not finished counts as wrong and without an answer, whatever was read off it, which is what
    the *finished* protocol makes of it anyway. Whether the shorter text ends in a loop is not
    known, nor how many of its turns and of tools' tokens are left: those stay the whole sample's,
    so that ``spent_PS`` of a cut sample means something in tokens only.

    Raises:
        ConfigError: if ``cap_tokens`` is above the sampled cap.
    """
    if table.cap_tokens is not None and cap_tokens > table.cap_tokens:
        raise ConfigError(
            f"cap {cap_tokens} exceeds sampled cap {table.cap_tokens}; "
            f"resample with --cap-tokens {cap_tokens}"
        )
    finished_PS = table.finished_PS & (table.tokens_PS <= cap_tokens)
    answer_PS, thinking_PS, loops_PS = table.answer_PS, table.thinking_PS, table.loops_PS
    cut_PS = table.tokens_PS > cap_tokens
    return table._replace(
        cap_tokens=cap_tokens,
        tokens_PS=np.minimum(table.tokens_PS, cap_tokens),
        finished_PS=finished_PS,
        correct_PS=table.correct_PS & finished_PS,
        answer_PS=None if answer_PS is None else np.where(finished_PS, answer_PS, NO_ANSWER),
        thinking_PS=None if thinking_PS is None else np.minimum(thinking_PS, cap_tokens),
        loops_PS=None if loops_PS is None else np.where(cut_PS, UNKNOWN_LOOP, loops_PS),
    )


def _columns(records: Sequence[EvalRecord], *, prefix_budgets: Sequence[int]) -> Samples:
    keys = sorted({(r.benchmark, r.problem) for r in records}, key=natural_pair)
    row_of = {key: row for row, key in enumerate(keys)}
    codes: dict[str, int] = {}
    named = {b for r in records for b in r.answered_budgets or ()}
    budgets = sorted(named.union(prefix_budgets))
    column_of = {budget: column for column, budget in enumerate(budgets)}
    prefix_NC = np.zeros((len(records), len(budgets)), dtype=bool)
    for row, record in enumerate(records):
        prefix_NC[row, [column_of[b] for b in record.answered_budgets or ()]] = True
    return Samples(
        runs=tuple(sorted({r.run for r in records})),
        models=tuple(sorted({r.model for r in records if r.model is not None})),
        caps=tuple({r.cap_tokens for r in records}),
        keys=tuple(keys),
        row_N=np.array([row_of[r.benchmark, r.problem] for r in records], dtype=np.int64),
        sample_N=np.array([r.sample for r in records], dtype=np.int64),
        correct_N=np.array([r.grade is Grade.CORRECT for r in records], dtype=bool),
        finished_N=np.array([r.finish in ENDED for r in records], dtype=bool),
        graded_N=np.array([_is_graded(r) for r in records], dtype=bool),
        end_unknown_N=np.array([r.finish is Finish.UNKNOWN for r in records], dtype=bool),
        tokens_N=np.array([r.tokens for r in records], dtype=np.int64),
        answer_N=np.array([_answer_code(r, codes) for r in records], dtype=np.int64),
        answer_tokens_N=_known([r.answer_tokens for r in records]),
        prefix_budgets_C=np.array(budgets, dtype=np.int64),
        prefix_NC=prefix_NC,
        thinking_N=_known([r.thinking_tokens for r in records]),
        loops_N=_known([r.loops for r in records]),
        turns_N=_known([r.turns for r in records]),
        tool_tokens_N=_known([r.tool_tokens for r in records]),
    )


def _known(values: Sequence[int | None]) -> Int[np.ndarray, " N"]:
    return np.array([-1 if value is None else int(value) for value in values], dtype=np.int64)


def _check(samples: Samples) -> None:
    if not samples.row_N.size:
        raise DataError("no evaluation records to tabulate; sample something first")
    for what, found in (
        ("run", samples.runs),
        ("model", samples.models),
    ):
        if len(found) > 1:
            fix = "choose one with --only-model" if what == "model" else "give one at a time"
            listed = ", ".join(map(repr, found))
            raise DataError(f"the records are of {len(found)} {what}s ({listed}); {fix}")
    cap_tokens = _largest(samples.caps)
    over_N = samples.tokens_N > (np.inf if cap_tokens is None else cap_tokens)
    for broken_N, bound in (
        (samples.tokens_N < 0, "below 0"),
        (samples.sample_N < 0, "and an index below 0"),
        (over_N, f"above the sampled cap {cap_tokens}"),
    ):
        if broken_N.any():
            at = int(np.argmax(broken_N))
            benchmark, problem = samples.keys[samples.row_N[at]]
            raise DataError(
                f"{benchmark}: problem {problem!r}, sample {samples.sample_N[at]} has "
                f"{samples.tokens_N[at]} tokens, {bound}; correct the file or its cap"
            )


def _largest(caps: Sequence[int | None]) -> int | None:
    known = [cap for cap in caps if cap is not None]
    return max(known) if len(known) == len(caps) else None


def _is_graded(record: EvalRecord) -> bool:
    return record.grade is not Grade.UNGRADED and record.finish is not Finish.ERROR


def _answer_code(record: EvalRecord, codes: dict[str, int]) -> int:
    if record.grade is Grade.CORRECT:
        return RIGHT
    if record.grade is Grade.UNPARSED:
        return NO_ANSWER
    if record.extracted is None:
        return UNKNOWN_ANSWER
    return codes.setdefault(record.extracted, len(codes) + 1)
