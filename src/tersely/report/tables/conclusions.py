"""The conclusions that a comparison supports, in sentences."""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from tersely.metrics.budgets import Protocol
from tersely.metrics.changes import ProblemChange
from tersely.metrics.comparison import Comparison, Measure
from tersely.metrics.failures import NAMED, FailedSamples, tell_failed
from tersely.metrics.measures import Evaluation
from tersely.metrics.numbers import (
    UNDEFINED,
    Cell,
    count,
    format_difference,
    format_points,
    format_ratio,
    format_score,
    state_p,
)
from tersely.metrics.significance import beyond_chance, minimum_detectable
from tersely.metrics.windows import Window
from tersely.report.tables.comparison import (
    SideNames,
    full_budget_accuracy,
    most_tries,
    name_mean,
)
from tersely.report.tables.cut import head_comparison
from tersely.report.tables.words import label, name_counted

WHERE = "see failure in records.jsonl"
FEW_PROBLEMS = 20
# Swapping five problems gives no p below 2 in 32.
TOO_FEW_PROBLEMS = 6
# Differences of sums of shares are rounded: less than this is no fall.
ROUNDING = 1e-9
LARGEST = 1.0  # of two shares
LOST = "Problems are lost beyond chance."


class Bound(StrEnum):
    """What is known of the smallest difference that can be seen."""

    KNOWN = "known"
    OUT_OF_REACH = "out of reach"
    UNKNOWN = "unknown"


class Repeats(NamedTuple):
    """Pass@k and what stands beside it, at the largest budget."""

    passed: Measure
    mean: Measure


def list_findings(
    comparison: Comparison, changes: Sequence[ProblemChange], *, names: SideNames
) -> list[str]:
    """What stands above the tables: which sides were cut much, then what may be concluded."""
    return [
        *head_comparison(comparison, names=names),
        *conclude(comparison, changes, names=names),
    ]


def conclude(
    comparison: Comparison, changes: Sequence[ProblemChange], *, names: SideNames
) -> list[str]:
    """What may be concluded: length, accuracy, budgets, Pass@k, one scalar, how sure."""
    sentences = [
        _conclude_length(comparison, names),
        _conclude_accuracy(comparison, names),
        _conclude_budgets(comparison),
        _conclude_pass(comparison, changes),
        _conclude_aes(comparison),
    ]
    if comparison.n_problems < FEW_PROBLEMS:
        few = f"With {count(comparison.n_problems, 'problem')}"
        sentences.append(f"{few} all intervals are rough: they assume about 20 or more.")
        if comparison.n_problems < TOO_FEW_PROBLEMS:
            sentences.append(f"{few} no difference can be told from chance: no p is below .05.")
    return [sentence for sentence in sentences if sentence]


def warn_of_lost_problems(comparison: Comparison, changes: Sequence[ProblemChange]) -> list[str]:
    """A heading and lines where Pass@k falls beyond chance and accuracy does not; else nothing.

    What one score over all tries hides: the model is right as often, and fewer problems can be
    solved by it at all.
    """
    repeats = _find_repeats(comparison)
    if repeats is None or not _has_fallen(repeats.passed):
        return []
    mean = repeats.mean.difference.estimate
    if math.isnan(mean) or _has_fallen(repeats.mean):
        return []
    passed, beside = label(repeats.passed.name), label(repeats.mean.name)
    moved = format_difference(repeats.mean.difference, repeats.mean.unit).text
    rises = beyond_chance(repeats.mean.p_value) and mean > ROUNDING
    said = f"rises by {moved}" if rises else f"is not shown to fall: {moved}"
    return [
        f"{passed} falls while {beside} {'does not' if mean >= -ROUNDING else 'is not shown to'}",
        f"{_describe_fall(repeats.passed)}: {_count_problems(changes)}. "
        f"{beside} {said} ({state_p(repeats.mean.p_value)}).",
        LOST,
    ]


def warn_of_windows(named: Sequence[tuple[str, Window | None]]) -> list[str]:
    """A heading and a line for each evaluation whose samples look cut; else nothing."""
    lines = [_describe_window(window, name) for name, window in named if window is not None]
    return ["Samples look cut although nothing says so", *lines] if lines else []


def warn_of_failures(
    failed: FailedSamples | None, *, level: str | None = None, command: str = "eval"
) -> list[str]:
    """A heading, the share of samples that failed and why; else nothing.

    Args:
        level: of a sweep, whose samples these are.
        command: what sampled them, and asks for them again.
    """
    if failed is None:
        return []
    shown = failed.reasons[:NAMED]
    others = len(failed.reasons) - len(shown)
    return [
        "Samples failed" if level is None else f"Samples failed at the level {level}",
        tell_failed(failed),
        *(
            f"{count(each.samples, 'sample')} of {_name_problems(each.problems)}: {each.text}"
            for each in shown
        ),
        *([f"and {others:,} other reasons; {WHERE}"] if others else []),
        "If failures go with length or difficulty, the figures below are off. Ask for these "
        f"samples again by adding --retry-failed to the same tersely {command}.",
    ]


def _name_problems(problems: Sequence[str]) -> str:
    others = len(problems) - NAMED
    return ", ".join(problems[:NAMED]) + (f" and {others:,} others" if others > 0 else "")


def list_alarms(evaluation: Evaluation) -> list[list[str]]:
    """What stands above all figures, each with its heading first; nothing where all is well."""
    window = warn_of_windows([(evaluation.title, evaluation.window)])
    return [alarm for alarm in (warn_of_failures(evaluation.failed), window) if alarm]


def detectable(measure: Measure) -> float:
    """The smallest true difference that a comparison like this one finds 4 times in 5."""
    difference = measure.difference
    return minimum_detectable(difference.standard_error, n_problems=difference.n_problems)


def _conclude_length(comparison: Comparison, names: SideNames) -> str:
    ratio = comparison.token_ratio
    cell = format_ratio(ratio)
    if cell.estimate == UNDEFINED:
        return "Length: undefined; no problem has graded samples on both sides."
    took = f"{names[1]} takes {cell.text} the tokens of {names[0]}"
    p = comparison.token_ratio_p
    told = "Shorter" if ratio.estimate < 1 else "Longer"
    said = f"{told if beyond_chance(p) else 'Length undecided'}: {took} ({state_p(p)})."
    cut = comparison.find("truncated share")
    most = max((m.estimate for m in (cut.before, cut.after) if m.estimate > 0), default=0.0)
    cap = comparison.cap_tokens
    if most > 0.05:
        said += (
            f" Up to {100 * most:.0f}% of the samples were cut"
            + ("" if cap is None else f" at {cap:,} tokens")
            + ", so these lengths are lower bounds."
        )
    return said


def _conclude_accuracy(comparison: Comparison, names: SideNames) -> str:
    accuracy = full_budget_accuracy(comparison)
    cell = format_difference(accuracy.difference, accuracy.unit)
    where = f"at {accuracy.budget_tokens:,} {name_counted(comparison.budget_of)}"
    if cell.estimate == UNDEFINED:
        return f"Accuracy {where}: undefined."
    p = state_p(accuracy.p_value)
    if beyond_chance(accuracy.p_value) and accuracy.difference.estimate > 0:
        return f"Accuracy {where} is higher: {names[1]} gains {cell.text} ({p})."
    if beyond_chance(accuracy.p_value):
        return f"Accuracy {where} is lower: {names[1]} changes by {cell.text} ({p})."
    if "–]" in cell.interval:
        return f"Accuracy {where} changes by {cell.estimate}; one problem gives no interval."
    tries = min(comparison.samples_before, comparison.samples_after)
    with_ = f"with {count(comparison.n_problems, 'problem')} × {count(tries, 'sample')} (80% power)"
    limit = {
        Bound.KNOWN: f" Differences below {format_points(detectable(accuracy))} cannot be seen "
        f"reliably {with_}.",
        Bound.OUT_OF_REACH: f" No difference at all can be seen reliably {with_}.",
        Bound.UNKNOWN: "",
    }[_bound(accuracy)]
    return f"Accuracy {where} is not shown to differ: {cell.text} ({p}).{limit}"


def _conclude_budgets(comparison: Comparison) -> str:
    rows = [comparison.find("accuracy", budget) for budget in comparison.budgets]
    if len(rows) < 2:
        return ""
    clear = [m for m in rows if beyond_chance(m.p_value)]
    gains = [f"{m.budget_tokens:,}" for m in clear if m.difference.estimate > 0]
    losses = [f"{m.budget_tokens:,}" for m in clear if m.difference.estimate < 0]
    found = [
        f"{what} at {', '.join(where)}"
        for what, where in (("gains", gains), ("losses", losses))
        if where
    ]
    return (
        f"Over the budgets: {'; '.join(found) or 'no gain or loss beyond chance'}. "
        f"{len(clear)} of {len(rows)} have p < .05; about 1 in 20 would by chance, and "
        "neighbouring budgets share their samples."
    )


def _conclude_pass(comparison: Comparison, changes: Sequence[ProblemChange]) -> str:
    repeats = _find_repeats(comparison)
    if repeats is None:
        return "Pass@k: one try a problem on a side tells nothing about more tries."
    passed = repeats.passed
    name = label(passed.name)
    cell = format_difference(passed.difference, passed.unit)
    if cell.estimate == UNDEFINED:
        return f"{name}: undefined; no problem has that many graded samples on both sides."
    if _has_fallen(passed):
        return f"{_describe_fall(passed)}: {_count_problems(changes)}. {LOST}"
    moved = f"{cell.text} ({state_p(passed.p_value)}); {_count_problems(changes)}."
    if passed.difference.estimate < -ROUNDING:
        return f"{name} is not shown to fall: {moved} {_say_chance(passed)}"
    seen = (
        "rises" if beyond_chance(passed.p_value) else "is not seen to fall, and not shown to rise"
    )
    return f"{name} {seen}: {moved}"


def _conclude_aes(comparison: Comparison) -> str:
    cell = format_score(comparison.aes)
    if comparison.protocol is not Protocol.FINISHED:
        return (
            f"AES is not given: under the protocol {comparison.protocol.value} accuracy and mean "
            "tokens are not of the same completions."
        )
    if cell.estimate == UNDEFINED:
        return "AES is undefined: it divides by accuracy and mean tokens before."
    told = "in favour of the change" if comparison.aes.estimate > 0 else "against the change"
    verdict = told if beyond_chance(comparison.aes_p) else "undecided"
    return (
        f"As one number, AES is {cell.text} ({state_p(comparison.aes_p)}): {verdict}. "
        "It weighs a relative gain in accuracy 3, a loss 5 and saved tokens 1; other weights "
        "may give the other sign."
    )


def _describe_window(window: Window, name: str) -> str:
    at = f"{window.low_tokens:,} to {window.high_tokens:,} tokens"
    if window.low_tokens == window.high_tokens:
        at = f"{window.high_tokens:,} tokens"
    found = (
        f"{name}: {window.n_samples:,} of {window.of_samples:,} samples end at {at}, far more than "
        f"at any length below, and {window.n_right:,} of them are right. "
    )
    counted = (
        "These samples count as ended by themselves now, and their lengths, the truncated share "
        "and the accuracy at this length are not the model's."
    )
    if window.cap_tokens is None:
        return (
            f"{found}This is what a limit on the completion, or on prompt and completion together, "
            "looks like. If there was one, state it (--cap-tokens, or a column of caps or of "
            f"reasons why samples ended). {counted}"
        )
    return (
        f"{found}The stated cap is {window.cap_tokens:,} tokens: if it held prompt and completion "
        "together, or the true one was lower, they were cut below it. State each sample's own with "
        "--column cap_tokens=NAME, or the lowest length at which samples were cut, here about "
        f"--cap-tokens {window.low_tokens}. {counted}"
    )


def _find_repeats(comparison: Comparison) -> Repeats | None:
    most, largest = most_tries(comparison), comparison.budgets[-1]
    if most < 2:
        return None
    mean = comparison.find(name_mean(comparison), largest)
    if math.isnan(mean.difference.estimate):
        mean = comparison.find("accuracy", largest)
    return Repeats(comparison.find(f"pass@{most}", largest), mean)


def _has_fallen(measure: Measure) -> bool:
    return beyond_chance(measure.p_value) and measure.difference.estimate < -ROUNDING


def _describe_fall(passed: Measure) -> str:
    cell = format_difference(passed.difference, passed.unit)
    fall = f"{label(passed.name)} falls by {_unsigned(cell)} {cell.interval}"
    return f"{fall} ({state_p(passed.p_value)})"


def _say_chance(passed: Measure) -> str:
    given = f"with {count(passed.difference.n_problems, 'problem')}"
    limit = {
        Bound.KNOWN: f": {given} a change below {format_points(detectable(passed))} cannot be told "
        "from chance (80% power)",
        Bound.OUT_OF_REACH: f": {given} no change can be told from chance reliably (80% power)",
        Bound.UNKNOWN: "",
    }[_bound(passed)]
    return f"This may be chance{limit}."


def _bound(measure: Measure) -> Bound:
    """Whether a difference of shares can be as large as the smallest that can be seen."""
    unseen = detectable(measure)
    if not unseen > 0:
        return Bound.UNKNOWN
    return Bound.KNOWN if unseen < LARGEST else Bound.OUT_OF_REACH


def _count_problems(changes: Sequence[ProblemChange]) -> str:
    lost, won = sum(c.lost for c in changes), sum(c.won for c in changes)
    verb = "is" if lost == 1 else "are"
    return (
        f"{count(lost, 'problem')} solved before by some sample {verb} solved by none now, "
        f"{won:,} the other way"
    )


def _unsigned(cell: Cell) -> str:
    return cell.estimate.lstrip("+−")
