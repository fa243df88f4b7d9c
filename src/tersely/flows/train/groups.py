"""An engine's flat batch as whole groups: the one translation that every engine's adapter uses.

Engines that drive us hold completions row by row, padded, in an order of their own and spread over
processes. A group is found by its key and by nothing else: never by a row's place, and never by
how many samples there ought to be. What is not whole is refused.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Int, Shaped

from tersely.core.errors import DataError, EngineError
from tersely.core.types import Finish, Problem, Verdict
from tersely.flows.recipe.shaping import RolloutColumns
from tersely.tasks.grading.parts import length_parts

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatRow:
    """One graded completion, wherever it lies in the engine's batch.

    Args:
        key: what the rollouts of one group share and no others of the step do: the problem's id,
            or an engine's own id where a problem may be in a step twice.
        problem: the problem's id.
        completion_ids: without padding, with the stop token when there is one.
        text: decoded, without the stop token.
        thinking_open: the prompt ended inside the thinking.
        thinking_tokens, answer_tokens: as in an evaluation's record; None where not counted.
    """

    key: str
    problem: str
    completion_ids: tuple[int, ...]
    text: str
    verdict: Verdict
    thinking_open: bool = False
    thinking_tokens: int | None = None
    answer_tokens: int | None = None


class Grouped(NamedTuple):
    """Whole groups in order of first appearance, and where each one's rollouts lie in the batch."""

    problems: list[Problem]
    parts: list[RolloutColumns]
    places: list[np.ndarray]  # one axis a group, of its own length


class Gathered(NamedTuple):
    """The rows of all processes in the order of their ranks, and which of them are our own."""

    rows: list[FlatRow]
    own: slice


def row_of(
    problem: Problem,
    *,
    completion_ids: Sequence[int],
    pieces: Sequence[str],
    text: str,
    verdict: Verdict,
    thinking_open: bool,
) -> FlatRow:
    """One graded completion whose group is all rollouts of its problem in the step.

    Args:
        pieces: decoded text of each token, in order.
    """
    parts = length_parts(problem, pieces, verdict.grade, thinking_open=thinking_open)
    return FlatRow(
        key=problem.id,
        problem=problem.id,
        completion_ids=tuple(completion_ids),
        text=text,
        verdict=verdict,
        thinking_open=thinking_open,
        **parts._asdict(),
    )


def gathered(parts: Sequence[Sequence[FlatRow]], *, rank: int) -> Gathered:
    """What every process holds, one part a rank, as one batch; parts may differ in size."""
    before = sum(len(part) for part in parts[:rank])
    own = slice(before, before + len(parts[rank]))
    return Gathered([row for part in parts for row in part], own)


def unpad(
    token_ids_BT: Int[np.ndarray, "B T"], mask_BT: Bool[np.ndarray, "B T"]
) -> list[tuple[int, ...]]:
    """Each row's tokens without padding, on whichever side it is.

    Only the mask tells: a pad token may be a model's stop token as well.

    Args:
        mask_BT: True on the row's own tokens.
    Raises:
        EngineError: a row's tokens do not lie together, as after a tool call: its length would
            count what the policy did not write.
    """
    tokens_of(mask_BT)
    return [
        tuple(ids_T[mask_T].tolist()) for ids_T, mask_T in zip(token_ids_BT, mask_BT, strict=True)
    ]


def tokens_of(mask_BT: Bool[np.ndarray, "B T"]) -> Int[np.ndarray, " B"]:
    """How many tokens each row has.

    Args:
        mask_BT: True on the row's own tokens.
    Raises:
        EngineError: as ``unpad``.
    """
    tokens_B = mask_BT.sum(axis=1)
    runs_B = (np.diff(mask_BT.astype(np.int8), axis=1, prepend=0) == 1).sum(axis=1)
    if (runs_B > 1).any():
        raise EngineError(
            f"row {int(runs_B.argmax())} of the batch has masked tokens between its own ones; "
            "completions of several turns or with tool calls cannot be shaped by length, use "
            "single turns"
        )
    return np.asarray(tokens_B)


def places_of(keys: Sequence[str]) -> list[np.ndarray]:
    """Where the rows of each key lie, keys in order of first appearance."""
    found: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return [np.array(places, dtype=np.int64) for places in found.values()]


def in_batch_order(
    values_N: Shaped[np.ndarray, " N"], places: Sequence[np.ndarray]
) -> Shaped[np.ndarray, " N"]:
    """Values that lie group after group, back where each group's rows lie in the batch."""
    values_B = np.empty_like(values_N)
    values_B[np.concatenate(places)] = values_N
    return values_B


def regroup(
    rows: Sequence[FlatRow],
    problems: Mapping[str, Problem],
    *,
    stop_ids: AbstractSet[int],
    samples: int | None,
) -> Grouped:
    """The batch's whole groups; a rollout's sample number is its place among its group's rows.

    Args:
        problems: by id.
        stop_ids: a completion that ends in one of these ended by itself, any other was cut.
        samples: rollouts that every group has; None where an engine makes uneven groups, which
            must then be known to be whole.
    Raises:
        DataError: a row is of a problem that the recipe does not have.
        EngineError: a group is not whole or mixes problems, or a row holds no tokens.
    """
    places = places_of([row.key for row in rows])
    found = Grouped([], [], places)
    for places_G in places:
        members = [rows[place] for place in places_G]
        _check_group(members, samples=samples)
        problem = problems.get(members[0].problem)
        if problem is None:
            raise DataError(
                f"the batch holds problem {members[0].problem!r}, which is none of the recipe's "
                f"{len(problems):,}; train on the recipe's own problems"
            )
        found.problems.append(problem)
        found.parts.append(_columns(members, stop_ids=stop_ids))
    return found


def _columns(members: Sequence[FlatRow], *, stop_ids: AbstractSet[int]) -> RolloutColumns:
    ends = [row.completion_ids[-1] in stop_ids for row in members]
    return RolloutColumns(
        problem=[row.problem for row in members],
        sample=list(range(len(members))),
        grade=[row.verdict.grade for row in members],
        extracted=[row.verdict.extracted for row in members],
        tokens=[len(row.completion_ids) for row in members],
        finish=[Finish.STOP if end else Finish.LENGTH for end in ends],
        text=[row.text for row in members],
        thinking_open=[row.thinking_open for row in members],
        thinking_tokens=[row.thinking_tokens for row in members],
        answer_tokens=[row.answer_tokens for row in members],
    )


def _check_group(members: Sequence[FlatRow], *, samples: int | None) -> None:
    first = members[0]
    if samples is not None and len(members) != samples:
        raise EngineError(
            f"group {first.key!r} has {len(members)} rollouts in this step, and "
            f"sampling.samples_per_prompt = {samples}: "
            + (
                "the rest lies in another process or batch, where the reward cannot see it; "
                "gather all processes' rows, and set the engine's samples per prompt to that number"
                if len(members) < samples
                else "its prompt is in the step more than once; make the prompts of a step differ"
            )
        )
    for row in members:
        if row.problem != first.problem:
            raise EngineError(
                f"group {first.key!r} mixes the problems {first.problem!r} and {row.problem!r}; "
                "give the rollouts of each prompt a key of their own"
            )
        if not row.completion_ids:
            raise EngineError(
                f"a rollout of problem {row.problem!r} has no completion tokens; the engine must "
                "sample at least one"
            )
