"""The first samples of an evaluation through a server, judged before the rest is asked for.

What would make figures wrong stops the run; what may be as it should be is a warning. The samples
are of the evaluation: none is asked for on top.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from tersely.core import jsonl
from tersely.core.errors import EngineError
from tersely.core.types import EvalRecord, Finish, Grade, Problem, SamplingSpec
from tersely.metrics.failures import kind_of_failure
from tersely.tasks.grading.answer import THINK, answer_part

PROBLEMS = 3
# Of the first problem and of each other: two are needed to see that they are the same.
SAMPLES_OF_FIRST, SAMPLES_OF_OTHERS = 4, 2
# Texts of no more tokens, or characters where a server keeps the thinking back, may well be the
# same by chance.
REPEATED_TOKENS, REPEATED_CHARS = 50, 100
# Below these a model may be as good as greedy.
LEAST_TEMPERATURE = LEAST_TOP_P = 0.5
LEAST_PROMPT_CHARS = 20
SHOWN_CHARS = 80
# How vocabularies write the tokens that a text should not hold: <|im_end|>, </s>, <eos>, ...
_MARK = re.compile(
    r"<[|｜][a-zA-Z][\w▁ /-]{2,40}[|｜]>|</s>|<eos>|<(?:end|start)_of_turn>|<turn\|>|\[/?INST\]"
)
# Those of them that end a turn; what follows one was sampled after the end.
_END_MARK = re.compile(
    r"<[|｜](?:im_end|endoftext|eot_id|eom_id|eot|end|end_of_text|END_OF_TURN_TOKEN|return"
    r"|end[▁_]of[▁_]sentence)[|｜]>|</s>|<eos>|<end_of_turn>|<turn\|>"
)
# After it another message of the same turn follows.
_NEXT_MESSAGE = re.compile(r"<\|end\|>\s*<\|start\|>assistant")
_BRACKETED = re.compile(r"\s*[<\[{◁＜(].+[>\]}▷＞)]\s*")
_OTHER_THINKING = re.compile(
    r"<(?:thought|thinking|reasoning|seed:think|analysis)>|\[THINK\]|◁think▷|<\|channel\|>analysis"
)
log = logging.getLogger(__name__)


class SampleWarning(NamedTuple):
    """What is odd about the first samples and what to do; ``stops`` if figures would be wrong."""

    message: str
    stops: bool


def first_pairs(
    problems: Sequence[Problem], spec: SamplingSpec, *, samples_per_request: int
) -> frozenset[tuple[str, int]]:
    """The (problem id, sample index) pairs to judge: whole requests of the first problems."""
    pairs = set()
    for place, problem in enumerate(problems[:PROBLEMS]):
        wanted = SAMPLES_OF_OTHERS if place else SAMPLES_OF_FIRST
        requests = -(-wanted // samples_per_request)
        samples = min(spec.samples, requests * samples_per_request)
        pairs |= {(problem.id, sample) for sample in range(samples)}
    return frozenset(pairs)


def judge(
    file: Path,
    first: AbstractSet[tuple[str, int]],
    *,
    spec: SamplingSpec,
    stop_text: str | None = None,
    warn: bool,
    accept: bool = False,
) -> None:
    """Says what is odd about the first samples that the file holds.

    Args:
        stop_text: of the model's stop token, if it is known.
        warn: say also what does not stop.
        accept: only warn of what would stop.
    Raises:
        EngineError: figures would be wrong.
    """
    records = jsonl.read(file, EvalRecord) if file.is_file() else []
    records = [record for record in records if (record.problem, record.sample) in first]
    found = findings(records, spec=spec, stop_text=stop_text)
    for finding in found if warn else ():
        if accept or not finding.stops:
            log.warning("%s", finding.message)
    stops = [finding.message for finding in found if finding.stops]
    if stops and not accept:
        raise EngineError(
            f"stopped after the first {len(records)} samples, which are kept: {'; '.join(stops)}; "
            "or, if this is as it should be, go on with --accept-first"
        )


def findings(
    records: Sequence[EvalRecord], *, spec: SamplingSpec, stop_text: str | None = None
) -> list[SampleWarning]:
    """All findings on the first samples; those that stop the evaluation come first."""
    checks: tuple[Callable[[], Iterator[SampleWarning]], ...] = (
        lambda: _errors(records),
        lambda: _marks(records, stop_text=stop_text),
        lambda: _empty(records),
        lambda: _repeated_samples(records, spec=spec),
        lambda: _repeated_prompt(records),
        lambda: _other_thinking(records),
        lambda: _all_cut(records, cap_tokens=spec.cap_tokens),
        lambda: _all_unparsed(records),
    )
    found = [finding for check in checks for finding in check()] if records else []
    return sorted(found, key=lambda finding: not finding.stops)


def _errors(records: Sequence[EvalRecord]) -> Iterator[SampleWarning]:
    if not all(record.finish is Finish.ERROR for record in records):
        return
    reasons = {kind_of_failure(each.failure): each.failure for each in records if each.failure}
    others = [reason for reason in reasons.values() if "finish_reason" not in reason]
    said = (
        f"failed, so none would count: {'; '.join(others)}"
        if others
        else "ended neither by a stop token nor at the cap, so none would count; see to the "
        "server's finish_reason"
    )
    yield SampleWarning(f"all {len(records)} samples {said}", stops=True)


def _marks(records: Sequence[EvalRecord], *, stop_text: str | None) -> Iterator[SampleWarning]:
    """The first text with a mark, of those that would stop if there is any.

    A single text of many may be about such marks.
    """
    found = [mark for record in records if (mark := _first_mark(record, stop_text)) is not None]
    found.sort(key=lambda finding: not finding.stops)
    alone = sum(finding.stops for finding in found) < min(2, len(records))
    yield from (finding._replace(stops=finding.stops and not alone) for finding in found[:1])


def _first_mark(record: EvalRecord, stop_text: str | None) -> SampleWarning | None:
    text = (record.text or "").rstrip()
    # A stop token may be written as a text has it anyway: "." or "END".
    stop_text = stop_text if _BRACKETED.fullmatch(stop_text or "") else None
    known = re.compile(f"{re.escape(stop_text)}|{_MARK.pattern}") if stop_text else _MARK
    marks = [m for m in known.finditer(text) if m[0] not in (record.prompt or "")]
    # <s>...</s> strikes out, and <|begin_of_box|>...<|end_of_box|> is around answers.
    marks = [m for m in marks if not _is_paired(m[0], text)]
    if not marks:
        return None
    if marks[0].end() == len(text):
        return SampleWarning(
            f"the server leaves the stop token {marks[0][0]} in the text: take it off with "
            f"--stop-text '{marks[0][0]}' and another --out",
            stops=True,
        )
    ends = next(
        (
            m[0]
            for m in marks
            if (m[0] == stop_text or _END_MARK.fullmatch(m[0]))
            and not _NEXT_MESSAGE.match(text, m.start())
        ),
        None,
    )
    if ends is not None:
        return SampleWarning(
            f"a text goes on after {ends}, so its length and answer are not the model's: see that "
            f'the server stops there, or ask for it with --extra-body \'{{"stop": ["{ends}"]}}\' '
            "and another --out",
            stops=True,
        )
    return SampleWarning(
        f"a text holds {marks[0][0]}: see that the server knows the model's chat format",
        stops=False,
    )


def _is_paired(mark: str, text: str) -> bool:
    if mark == "</s>":
        return "<s>" in text
    other = (
        mark.replace("begin_of", "end_of") if "begin_of" in mark else mark.replace("end", "begin")
    )
    return "_of_" in mark and other != mark and other in text


def _empty(records: Sequence[EvalRecord]) -> Iterator[SampleWarning]:
    ended = [record for record in records if record.finish is Finish.STOP]
    empty = [record for record in ended if not (answer_part(record.text or "") or "").strip()]
    # A thinking that ends by itself, unclosed, is the model's; no answer at all is the server's.
    empty = [record for record in empty if answer_part(record.text or "") is not None]
    if not empty:
        return
    thought = any((record.text or "").lstrip().startswith(THINK) for record in empty)
    fix = (
        "its reasoning parser may take answers for thinking: start it without one, or with the "
        "model's own"
        if thought
        else "see what it does with the model's chat format"
    )
    yield SampleWarning(
        f"{len(empty)} of {len(ended)} samples that ended by themselves have no content"
        f"{' after the thinking' if thought else ''}; {fix}",
        stops=len(empty) == len(ended) and len(empty) >= min(2, len(records)),
    )


def _repeated_samples(
    records: Sequence[EvalRecord], *, spec: SamplingSpec
) -> Iterator[SampleWarning]:
    if spec.temperature == 0 or spec.top_k == 1:
        return
    by_problem: dict[str, list[EvalRecord]] = defaultdict(list)
    for record in records:
        by_problem[record.problem].append(record)
    # Thinking that a server keeps back leaves no text where it was cut.
    repeated = [group for group in by_problem.values() if len(group) > 1 and group[0].text]
    if not repeated or any(len({r.text for r in group}) > 1 for group in repeated):
        return
    longest = max((group[0] for group in repeated), key=lambda record: len(record.text or ""))
    tokens = longest.tokens
    long = tokens > REPEATED_TOKENS and len(longest.text or "") >= REPEATED_CHARS
    draws = spec.temperature >= LEAST_TEMPERATURE and spec.top_p >= LEAST_TOP_P
    yield SampleWarning(
        f"all samples of a problem are the same text, of up to {tokens} tokens, at temperature "
        f"{spec.temperature:g}: the server seems to ignore it (transformers serve does unless "
        "generation_config.json says do_sample); mend that, or take one greedy sample: "
        "--temperature 0 --samples 1",
        stops=draws and long,
    )


def _repeated_prompt(records: Sequence[EvalRecord]) -> Iterator[SampleWarning]:
    def repeats(record: EvalRecord) -> bool:
        prompt, text = _plain(record.prompt), _plain(record.text)
        return len(prompt) >= LEAST_PROMPT_CHARS and text.startswith(prompt)

    repeating = sum(map(repeats, records))
    if repeating:
        yield SampleWarning(
            f"{repeating} of {len(records)} texts begin with the prompt: if the server puts it "
            "there, use one that returns the completion alone",
            stops=False,
        )


def _other_thinking(records: Sequence[EvalRecord]) -> Iterator[SampleWarning]:
    for record in records:
        found = _OTHER_THINKING.match((record.text or "").lstrip())
        if found:
            yield SampleWarning(
                f"the texts begin with {found[0]}, and only <think>...</think> is known as "
                "thinking: answers within it count; start the server with its reasoning parser",
                stops=False,
            )
            return


def _all_cut(records: Sequence[EvalRecord], *, cap_tokens: int) -> Iterator[SampleWarning]:
    if all(record.finish is Finish.LENGTH for record in records):
        yield SampleWarning(
            f"all {len(records)} samples were cut at --cap-tokens {cap_tokens} and cannot count "
            "as right; if more are, raise it",
            stops=False,
        )


def _all_unparsed(records: Sequence[EvalRecord]) -> Iterator[SampleWarning]:
    ended = [record for record in records if record.finish is Finish.STOP]
    if ended and all(record.grade is Grade.UNPARSED for record in ended):
        yield SampleWarning(
            f"no answer was found in any of {len(ended)} samples that ended by themselves; see "
            "that the prompts ask for the form that the grader reads",
            stops=False,
        )


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())


def shown(problem: Problem, record: EvalRecord) -> tuple[str, ...]:
    """The first graded sample in a few lines: what was asked, said, found and wanted."""
    prompt, text = _plain(problem.prompt), _plain(record.text)
    tail = f" ... {text[-SHOWN_CHARS:]}" if len(text) > 2 * SHOWN_CHARS else text[SHOWN_CHARS:]
    prompt = prompt if len(prompt) <= SHOWN_CHARS else f"... {prompt[-SHOWN_CHARS:]}"
    ended = {Finish.STOP: "ended by itself", Finish.LENGTH: "cut", Finish.ERROR: "failed"}
    return (
        f"first sample: {record.problem}, sample {record.sample}: {record.grade}, "
        f"{ended[record.finish]}, {record.tokens:,} tokens",
        f"  prompt: {prompt}",
        f"  text:   {text[:SHOWN_CHARS]}{tail}",
        f"  answer: {record.extracted or '–'}   wanted: {_plain(problem.answer)[:SHOWN_CHARS]}",
    )
