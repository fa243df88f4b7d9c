"""The records of answers that are forced from the beginnings of samples."""

from dataclasses import dataclass

from tersely.core.types import Finish, Grade


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """The tokens of one evaluation sample, kept where its prefixes are wanted.

    ``thinking_open``: the prompt ended inside the thinking, so the completion begins there.
    Of a server's sample the ids are empty where it does not tell them; ``text`` is cut by
    ``piece_chars``, the characters that each token adds, and ``tokens`` and ``prompt_tokens`` are
    the server's counts.
    """

    problem: str
    sample: int
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    finish: Finish
    thinking_open: bool = False
    text: str | None = None
    piece_chars: tuple[int, ...] = ()
    tokens: int | None = None
    prompt_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedRecord:
    """An answer forced from the first ``budget_tokens`` of a sample; one JSON line.

    ``extra_tokens`` counts what came after the prefix: the closing text and the answer.
    ``failure``: why there is no answer, where its finish is ERROR; such a one has no grade.
    """

    problem: str
    sample: int
    budget_tokens: int
    grade: Grade
    extra_tokens: int
    finish: Finish
    extracted: str | None
    text: str
    failure: str | None = None
