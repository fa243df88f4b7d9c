"""Studies in the terminal and as Markdown: claims with effects and verdicts, arms with ends."""

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tersely.flows.study.outcomes import (
    ArmOutcome,
    ClaimOutcome,
    Confusion,
    StudyOutcome,
    StudyTrace,
    TracedProblem,
)
from tersely.metrics.crossed import Effect
from tersely.metrics.numbers import (
    UNDEFINED,
    Cell,
    bracket,
    defined,
    fixed,
    percent,
    signed,
)
from tersely.metrics.verdicts import FEWEST_SEEDS, ClaimVerdict
from tersely.report.tables.matrices import Matrix, MatrixRow
from tersely.report.tables.terminal import FittedTable, draw_text, draw_title

MARKS = {
    ClaimVerdict.HOLDS: ("✓", "bold green"),
    ClaimVerdict.FAILS: ("✗", "bold red"),
    ClaimVerdict.OPPOSITE: ("✗✗", "bold red"),
    ClaimVerdict.UNKNOWN: ("?", "bold yellow"),
}
CAPTION = (
    "Effects: brackets are 95% intervals over seeds and held-out problems (curves: over seeds). "
    "A claim holds if its whole interval keeps the bound, does not hold if none of it does; else "
    "one cannot tell, and the smallest effect is given that such an experiment finds in 8 of 10 "
    "tries."
)
ARMS_CAPTION = (
    "Held-out problems at the end; the area is under accuracy over log budget. Rewarded at "
    "first: share of rollouts with a positive reward in the first 5% of steps, over seeds. Lost: "
    "runs whose accuracy at the cap ended more than 10 pp below where it began. Lint: runs of RL "
    "that lint named with an error beforehand; alarm, error: that raised an alarm, or one of "
    "severity error."
)


def draw_list(rows: Sequence[tuple[str, str, str, int, int]]) -> RenderableType:
    """The studies that are there: name, title, place in the paper, arms, claims."""
    return FittedTable(
        Matrix(
            "study",
            ("about", "paper", "arms", "claims"),
            [MatrixRow(row[0], [Cell(str(value), "") for value in row[1:]]) for row in rows],
            "",
        )
    )


def draw_claims(rows: Sequence[tuple[str, str, str]]) -> RenderableType:
    """What is claimed, its bound, and what it rests on."""
    table = Table.grid(padding=(0, 1))
    for says, expected, paper in rows:
        text = draw_text(f"{says}: expected {expected}\n")
        text.append_text(draw_text(paper, "dim"))
        table.add_row(Text("•"), text)
    return table


def draw_outcome(outcome: StudyOutcome) -> RenderableType:
    """A study's claims, one below the other, then its arms."""
    done = f"{outcome.runs_done} of {outcome.runs_wanted} runs"
    parts: list[RenderableType] = [
        draw_title(f"{outcome.title}: {outcome.question} ({outcome.paper}; {done})"),
        Text(),
        _draw_verdicts(outcome.claims),
        Text(),
        FittedTable(tabulate_arms(outcome)),
        Text(),
        draw_text(f"{CAPTION} {ARMS_CAPTION}", "dim"),
        Text(),
    ]
    return Group(*parts)


def _draw_verdicts(claims: Sequence[ClaimOutcome]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2)
    table.add_column(overflow="fold")
    for claim in claims:
        mark, style = MARKS[claim.verdict]
        text = draw_text(f"{claim.says}: {describe_verdict(claim)}\n")
        text.append_text(draw_text(f"expected {claim.expected}; {claim.paper}", "dim"))
        table.add_row(Text(mark, style=style), text)
    return table


def describe_verdict(claim: ClaimOutcome) -> str:
    """Verdict and effect in words."""
    words = f"{claim.verdict.value}, {format_effect(claim.effect, claim.unit).text}"
    if claim.verdict is not ClaimVerdict.UNKNOWN:
        return words
    if not claim.effect.n_seeds:
        return f"{words}; not run"
    if not math.isfinite(claim.effect.estimate):
        return f"{words}; undefined in these runs (0 of 0, or no value at all)"
    if claim.effect.n_seeds < FEWEST_SEEDS or not math.isfinite(claim.effect.detectable):
        return f"{words}; too few runs"
    return f"{words}; could have seen {_size(claim.effect.detectable, claim.unit)}"


def format_effect(effect: Effect, unit: str) -> Cell:
    """An effect with its sign, unit and interval."""
    if not math.isfinite(effect.estimate):
        return Cell(UNDEFINED, "")
    estimate, low, high = (
        signed(_scale(unit) * value, digits=_digits(unit)) for value in effect[:3]
    )
    known = math.isfinite(effect.low)
    return Cell(
        estimate + _suffix(unit),
        bracket(low, high),
        clear=known and (effect.low > 0 or effect.high < 0),
    )


def format_share(effect: Effect) -> Cell:
    """A share and its interval, if there is one."""
    if not math.isfinite(effect.estimate):
        return Cell(UNDEFINED, "")
    if not math.isfinite(effect.low):
        return Cell(percent(effect.estimate), "")
    low, high = fixed(100 * effect.low), fixed(100 * effect.high)
    return Cell(percent(effect.estimate), bracket(low, high))


def tabulate_arms(outcome: StudyOutcome) -> Matrix:
    """One row an arm: accuracy at the tightest, middle and widest budget, area, length, losses."""
    picked = sorted({0, len(outcome.budgets_B) // 2, len(outcome.budgets_B) - 1})
    heads = [
        *(f"accuracy ≤ {outcome.budgets_B[at]:,}" for at in picked),
        "area",
        "tokens",
        "rewarded at first",
        "lost",
        "lint",
        "alarm",
        "error",
    ]
    rows = [
        MatrixRow(
            arm.name,
            [
                *(format_share(arm.accuracy_B[at]) for at in picked),
                format_share(arm.area),
                _tokens(arm.tokens),
                format_share(arm.rewarded),
                Cell(f"{arm.lost} of {arm.seeds}", ""),
                *(_named(count, arm) for count in (arm.foretold, arm.alarmed, arm.errors)),
            ],
        )
        for arm in ranked(outcome.arms)
    ]
    base = [
        *(format_share(outcome.base_accuracy_B[at]) for at in picked),
        format_share(outcome.base_area),
        _tokens(outcome.base_tokens),
        *[Cell(UNDEFINED, "")] * 5,
    ]
    return Matrix("arm", heads, [MatrixRow("base model", base), *rows], ARMS_CAPTION)


def _named(count: int, arm: ArmOutcome) -> Cell:
    """Runs that were named, of those that something looked at."""
    return Cell(f"{count} of {arm.watched}" if arm.watched else UNDEFINED, "")


def ranked(arms: Sequence[ArmOutcome]) -> list[ArmOutcome]:
    """By area, the largest first; arms without a run last."""
    return sorted(arms, key=lambda arm: -math.inf if not arm.seeds else arm.area.estimate)[::-1]


def format_markdown(outcomes: Sequence[StudyOutcome], confusions: Sequence[Confusion]) -> str:
    """All studies as Markdown: verdicts by claim, then arms."""
    parts = []
    for outcome in outcomes:
        done = f"{outcome.runs_done} of {outcome.runs_wanted} runs"
        parts += [
            f"## {outcome.title}",
            f"{outcome.question} ({outcome.paper}; {done}.)",
            _table(
                ("claim", "paper", "expected", "here", "verdict"),
                [
                    (c.says, c.paper, c.expected, format_effect(c.effect, c.unit).text, _told(c))
                    for c in outcome.claims
                ],
            ),
            _table(
                ("arm", *tabulate_arms(outcome).heads),
                [(row.label, *(c.text for c in row.cells)) for row in tabulate_arms(outcome).rows],
            ),
            *map(_quote_traces, _one_a_source(outcome.traced)),
        ]
    if confusions:
        parts += ["## Predictions", tabulate_confusions(confusions)]
    return "\n\n".join([*parts, f"{CAPTION} {ARMS_CAPTION}", ""])


def _told(claim: ClaimOutcome) -> str:
    if claim.verdict is ClaimVerdict.UNKNOWN and math.isfinite(claim.effect.detectable):
        return f"cannot tell (could have seen {_size(claim.effect.detectable, claim.unit)})"
    return f"**{claim.verdict.value}**" if claim.effect.n_seeds else "not run"


def _one_a_source(traced: Sequence[TracedProblem]) -> list[TracedProblem]:
    return list({each.source: each for each in reversed(traced)}.values())[::-1]


def _quote_traces(problem: TracedProblem) -> str:
    """A problem and what was answered, as Markdown."""
    parts = [(f"A held-out problem of {problem.source}", problem.question)]
    parts += [(_head(trace), trace.text) for trace in problem.traces]
    return "\n\n".join(f"{head}:\n\n{_quote(text)}" for head, text in parts)


def _head(trace: StudyTrace) -> str:
    """Whose answer it is, how long, and whether it is right."""
    verdict = "right" if trace.right else "wrong"
    return f"{trace.by}, {trace.tokens:,} tokens, {verdict}"


def _quote(text: str) -> str:
    """Text as it was written, whatever it says: an indented block."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines()) or "    (nothing)"


def tabulate_confusions(confusions: Sequence[Confusion]) -> str:
    """What was predicted against what happened, in runs, as Markdown."""
    return _table(
        ("prediction", "lost, named", "lost, missed", "sound, named", "sound, silent", "lead"),
        [
            (
                c.name,
                *(str(n) for n in c[1:5]),
                f"{c.lead_steps:.0f} steps" if math.isfinite(c.lead_steps) else UNDEFINED,
            )
            for c in confusions
        ],
    )


def export_study(
    outcomes: Sequence[StudyOutcome], confusions: Sequence[Confusion]
) -> dict[str, Any]:
    """Claims, effects, verdicts and arms for machines; undefined numbers are null."""
    return {
        "schema": 1,
        "studies": [
            {
                "name": o.name,
                "runs_done": o.runs_done,
                "runs_wanted": o.runs_wanted,
                "claims": [_claim(c) for c in o.claims],
                "base_model": {
                    "accuracy": _by_budget(o.base_accuracy_B, o),
                    "area": _effect(o.base_area),
                    "tokens": _effect(o.base_tokens),
                },
                "arms": [_arm(arm, o) for arm in o.arms],
            }
            for o in outcomes
        ],
        "predictions": [c._asdict() | {"lead_steps": defined(c.lead_steps)} for c in confusions],
    }


def export_json(outcomes: Sequence[StudyOutcome], confusions: Sequence[Confusion]) -> str:
    """The same as text."""
    return json.dumps(export_study(outcomes, confusions), indent=2)


def _claim(claim: ClaimOutcome) -> dict[str, Any]:
    return claim._asdict() | {"effect": _effect(claim.effect), "verdict": claim.verdict.value}


def _arm(arm: ArmOutcome, outcome: StudyOutcome) -> dict[str, Any]:
    return {
        "name": arm.name,
        "seeds": arm.seeds,
        "accuracy": _by_budget(arm.accuracy_B, outcome),
        "area": _effect(arm.area),
        "tokens": _effect(arm.tokens),
        "rewarded_at_first": _effect(arm.rewarded),
        "accuracy_change": _effect(arm.change),
        "lost": arm.lost,
        "watched": arm.watched,
        "lint_errors": arm.foretold,
        "alarmed": arm.alarmed,
        "alarm_errors": arm.errors,
    }


def _by_budget(accuracy_B: Sequence[Effect], outcome: StudyOutcome) -> dict[str, Any]:
    budgets = outcome.budgets_B.tolist()
    return {str(at): _effect(each) for at, each in zip(budgets, accuracy_B, strict=True)}


def _effect(effect: Effect) -> dict[str, float | None]:
    return {name: defined(float(value)) for name, value in effect._asdict().items()}


def _tokens(effect: Effect) -> Cell:
    if not math.isfinite(effect.estimate):
        return Cell(UNDEFINED, "")
    return Cell(fixed(effect.estimate), bracket(fixed(effect.low), fixed(effect.high)))


def _size(value: float, unit: str) -> str:
    return fixed(_scale(unit) * value, digits=_digits(unit)) + _suffix(unit)


def _scale(unit: str) -> int:
    return 100 if unit in ("pp", "%") else 1


def _digits(unit: str) -> int:
    return 3 if unit == "nats" else 1


def _suffix(unit: str) -> str:
    return unit if unit in ("%", "") else f" {unit}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
