"""Whether served completions begin inside the thinking, told by the completions themselves.

A server without a reasoning parser returns what was sampled. Where the chat template opened the
thinking, those that end it show it, and those that never do look like answers.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tersely.core import jsonl
from tersely.core.types import Completion, EvalRecord, Finish
from tersely.tasks.grading.answer import END_THINK, THINK

# So many completions more must speak against a chat template that is known.
TEMPLATE_VOTES = 3
log = logging.getLogger(__name__)


@dataclass
class OpenThinking:
    """Counts the completions that show whether prompts open the thinking.

    Args:
        template: what the chat template says; None if it is not known.
        closing: completions that end a thinking that they did not begin.
        plain: those that ended by themselves without any mark of thinking.
    """

    template: bool | None = None
    closing: int = 0
    plain: int = 0

    def note(self, completions: Iterable[Completion | EvalRecord]) -> "OpenThinking":
        """Takes completions in; those with a ``<think>`` of their own and cut ones say nothing."""
        for completion in completions:
            text = completion.text or ""
            before, closed, _ = text.partition(END_THINK)
            if THINK not in before:
                self.closing += bool(closed)
                self.plain += not closed and completion.finish is Finish.STOP
        return self

    def is_open(self, completion: Completion | EvalRecord) -> bool:
        """Whether this completion began inside the thinking."""
        begins = THINK in (completion.text or "").partition(END_THINK)[0]
        return not begins and self.prompts_open

    @property
    def prompts_open(self) -> bool:
        """What the majority says; on a tie, that the prompts open the thinking."""
        known = {None: 0, True: TEMPLATE_VOTES, False: -TEMPLATE_VOTES}[self.template]
        votes = self.closing - self.plain + known
        return votes > 0 or (votes == 0 and bool(self.closing or self.template))


def begun(completion: Completion, *, thinking_open: bool) -> Completion:
    """The completion with whether it began inside the thinking: one that never ends it is all
    thinking, and of one that then has no mark of any it is not known how much there was."""
    thinking_tokens = completion.thinking_tokens
    if END_THINK not in completion.text and thinking_open != completion.thinking_open:
        thinking_tokens = completion.tokens if thinking_open else None
    return replace(completion, thinking_open=thinking_open, thinking_tokens=thinking_tokens)


def settle(
    file: Path, thinking: OpenThinking, *, grade: Callable[[Completion, str], EvalRecord]
) -> None:
    """Grades again the records that were graded before it was clear what their prompts open.

    Args:
        thinking: what all records of the file say.
        grade: the record of a completion, of the named run.
    """
    records = jsonl.read(file, EvalRecord)
    wrong = [record for record in records if record.thinking_open != thinking.is_open(record)]
    if not wrong:
        return
    keys = {(record.problem, record.sample) for record in wrong}

    def settled(record: EvalRecord) -> EvalRecord:
        if (record.problem, record.sample) not in keys:
            return record
        completion = Completion(
            problem_id=record.problem,
            sample=record.sample,
            text=record.text or "",
            tokens=record.tokens,
            finish=record.finish,
            thinking_open=record.thinking_open,
            thinking_tokens=record.thinking_tokens,
            endpoint=record.endpoint,
        )
        return grade(begun(completion, thinking_open=thinking.is_open(record)), record.run)

    jsonl.write(file, map(settled, records))
    if thinking.prompts_open:
        said = f"{thinking.closing:,} samples end a thinking that they did not begin"
        rule = "those that never end it have no answer"
    else:
        said = f"{thinking.plain:,} samples ended by themselves without any thinking"
        rule = "they are graded as they stand"
    log.warning("%s: %s, %s graded again", said, rule, f"{len(wrong):,}")
