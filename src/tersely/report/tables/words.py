"""What the figures are called and what each means, in one line."""

import re
from collections.abc import Iterable

from tersely.metrics.budgets import MEANING, Protocol
from tersely.metrics.records import BudgetOf

DEFINITIONS = {
    "accuracy": "mean over problems of the share of its graded samples that are right within the "
    "budget",
    "mean@": "the same as accuracy, over problems that have all their samples graded",
    "pass@": "the chance that at least one of k samples of a problem is right within the budget, "
    "estimated without bias from all its samples",
    "pass^": "the chance that all of k samples of a problem are right within the budget",
    "g-pass@": "the chance that at least the share τ of k samples are right within the budget",
    "majority@": "the chance that the most frequent answer of k samples is right; samples without "
    "an answer within the budget do not vote",
    "mean tokens": "completion length up to the cap, pooled over graded samples; given correct, "
    "wrong or truncated: among those only",
    "mean thinking tokens": "tokens up to the end of the thinking, its mark included; 0 without "
    "thinking, all where it never ended; a dash where it is not known of every sample",
    "mean reply tokens": "tokens after the thinking",
    "mean tokens after the first right answer": "of correct samples: the tokens that follow the "
    'first right answer that stands at a mark (a box, "answer is", the end of a line of thought)',
    "truncated share": "share of graded samples that the cap cut off; a dash where it is not "
    "known why samples ended",
    "accuracy given finished": "share of right samples among those that ended by themselves, "
    "pooled; the problems whose samples were cut weigh less in it, so it says nothing of them",
    "looping share": "share of graded samples whose text ends in one passage written 3 times or "
    "more, over 200 characters or more; a dash where not all texts are known",
    "share without an answer": "share of graded samples in which no answer was found; a dash where "
    "the file holds only verdicts",
    "tokens per correct answer": "all tokens spent over the correct, finished samples they bought",
    "accuracy per 1,000 tokens": "accuracy at the cap over mean tokens, times 1,000; grows without "
    "bound as lengths go to 0",
    "area over log budget": "mean accuracy over the budgets when every doubling weighs the same",
    "AUC-OAA": "area under accuracy over a linear budget from 0 to the cap, without a cap to the "
    "largest budget shown (arXiv:2508.13141)",
    "outcome efficiency": "mean share of a sample's tokens spent until a right answer first "
    "stands; wrong samples count 0 (arXiv:2412.21187)",
    "OckScore": "100 × accuracy − 10 ln(mean tokens / 10,000 + 1) (arXiv:2511.05722)",
    "REG gap": "mean gap over a linear budget to the better of the two curves; 0 is best "
    "(arXiv:2506.07104)",
    "token ratio": "mean tokens after over before, every problem weighing the same",
    "AES": "relative saving of tokens + 3 × relative gain in accuracy, or − 5 × relative loss "
    "(arXiv:2501.12570); other weights give other signs",
}


_COUNTED = {
    BudgetOf.TOKENS: "tokens",
    BudgetOf.TURNS: "turns",
    BudgetOf.MODEL_TOKENS: "tokens without tools",
}


def name_counted(of: BudgetOf) -> str:
    """What budgets count, in words."""
    return _COUNTED[of]


def name_axis(of: BudgetOf) -> str:
    """The same before the word *budget*."""
    return {BudgetOf.TOKENS: "token", BudgetOf.TURNS: "turn"}.get(of, "token without tools")


def label(name: str, budget_tokens: int | None = None, *, of: BudgetOf = BudgetOf.TOKENS) -> str:
    """A figure's name as a heading: ``pass@8`` → "Pass@8", with its budget where it has one."""
    threshold = re.fullmatch(r"g-pass@(\d+) \(([\d.]+)\)", name)
    shown = (
        f"G-Pass@{threshold[1]} τ={threshold[2].lstrip('0')}"
        if threshold
        else name[0].upper() + name[1:]
    )
    return shown if budget_tokens is None else f"{shown} within {budget_tokens:,} {_COUNTED[of]}"


def define(names: Iterable[str]) -> dict[str, str]:
    """The definitions that the named figures need, in a fixed order."""
    present = tuple(names)
    return {
        _heading(stem): meaning
        for stem, meaning in DEFINITIONS.items()
        if any(name.startswith(stem) for name in present)
    }


def describe_protocol(protocol: Protocol, *, of: BudgetOf = BudgetOf.TOKENS) -> str:
    """The protocol and what it counts as right at a budget."""
    meaning = MEANING[protocol]
    if of is not BudgetOf.TOKENS:
        meaning = meaning.replace("tokens within", f"{_COUNTED[of]} within")
    return f"Protocol {protocol.value}: {meaning}."


def _heading(stem: str) -> str:
    if stem == "g-pass@":
        return "G-Pass@k"
    return label(f"{stem}k" if stem[-1] in "@^" else stem)
