"""What a comparison may and may not be taken to show, in sentences."""

from collections.abc import Sequence
from typing import NamedTuple

from tersely.metrics.budgets import Protocol
from tersely.metrics.comparison import Comparison, Measure, ProblemChange
from tersely.metrics.significance import minimum_detectable
from tersely.report.cells import (
    UNDEFINED,
    Cell,
    count,
    excludes,
    format_difference,
    format_points,
    format_ratio,
    format_score,
    state_p,
)
from tersely.report.tables import full_budget_accuracy, most_tries, name_mean
from tersely.report.words import label

FEW_PROBLEMS = 20
# Differences of sums of shares are rounded: less than this is no fall.
ROUNDING = 1e-9
Names = tuple[str, str]


class Repeats(NamedTuple):
    """Pass@k and what stands beside it, at the largest budget."""

    passed: Measure
    mean: Measure


def conclude(
    comparison: Comparison, changes: Sequence[ProblemChange], *, names: Names
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
        sentences.append(
            f"With {count(comparison.n_problems, 'problem')} all intervals are rough: they assume "
            "about 20 or more."
        )
    return [sentence for sentence in sentences if sentence]


def warn_of_lost_problems(comparison: Comparison, changes: Sequence[ProblemChange]) -> list[str]:
    """A heading and lines where Pass@k falls while accuracy does not; else nothing.

    What one score over all tries hides: the model is right more often, and fewer problems can be
    solved by it at all.
    """
    repeats = _find_repeats(comparison)
    if repeats is None:
        return []
    fall, mean = repeats.passed.difference.estimate, repeats.mean.difference.estimate
    if not (fall < -ROUNDING and mean >= -ROUNDING):
        return []
    passed, beside = label(repeats.passed.name), label(repeats.mean.name)
    gained = format_difference(repeats.mean.difference, repeats.mean.unit)
    moved = f"rises by {gained.text}" if mean > ROUNDING else f"stays: {gained.text}"
    return [
        f"{passed} falls while {beside} does not",
        f"{_describe_fall(repeats.passed)} ({state_p(repeats.passed.p_value)}): "
        f"{_count_problems(changes)}. {beside} {moved}.",
        _judge_fall(repeats.passed),
    ]


def detectable(measure: Measure) -> float:
    """The smallest true difference that a comparison like this one finds 4 times in 5."""
    difference = measure.difference
    return minimum_detectable(difference.standard_error, n_problems=difference.n_problems)


def _conclude_length(comparison: Comparison, names: Names) -> str:
    ratio = comparison.token_ratio
    cell = format_ratio(ratio)
    if cell.estimate == UNDEFINED:
        return "Length: undefined; no problem has graded samples on both sides."
    took = f"{names[1]} takes {cell.text} the tokens of {names[0]}"
    if ratio.high < 1:
        said = f"Shorter: {took}."
    elif ratio.low > 1:
        said = f"Longer: {took}."
    else:
        said = f"Length undecided: {took}; the interval holds 1."
    cut = comparison.find("truncated share")
    most = max((m.estimate for m in (cut.before, cut.after)), default=0.0)
    cap = comparison.cap_tokens
    if most > 0.05:
        said += (
            f" Up to {100 * most:.0f}% of the samples were cut"
            + ("" if cap is None else f" at {cap:,} tokens")
            + ", so these lengths are lower bounds."
        )
    return said


def _conclude_accuracy(comparison: Comparison, names: Names) -> str:
    accuracy = full_budget_accuracy(comparison)
    cell = format_difference(accuracy.difference, accuracy.unit)
    where = f"at {accuracy.budget_tokens:,} tokens"
    if cell.estimate == UNDEFINED:
        return f"Accuracy {where}: undefined."
    if accuracy.difference.low > 0:
        return f"Accuracy {where} is higher: {names[1]} gains {cell.text}."
    if accuracy.difference.high < 0:
        return f"Accuracy {where} is lower: {names[1]} changes by {cell.text}."
    if "–]" in cell.interval:
        return f"Accuracy {where} changes by {cell.estimate}; one problem gives no interval."
    tries = min(comparison.samples_before, comparison.samples_after)
    unseen = detectable(accuracy)
    limit = (
        f" Differences below {format_points(unseen)} cannot be seen reliably with "
        f"{comparison.n_problems:,} problems × {tries} samples (80% power)."
        if unseen > 0
        else ""
    )
    return (
        f"Accuracy {where} is not shown to differ: {cell.estimate}, and the interval "
        f"{cell.interval} holds 0.{limit}"
    )


def _conclude_budgets(comparison: Comparison) -> str:
    rows = [comparison.find("accuracy", budget) for budget in comparison.budgets]
    if len(rows) < 2:
        return ""
    gains = [f"{m.budget_tokens:,}" for m in rows if m.difference.low > 0]
    losses = [f"{m.budget_tokens:,}" for m in rows if m.difference.high < 0]
    found = [
        f"{what} at {', '.join(where)}"
        for what, where in (("gains", gains), ("losses", losses))
        if where
    ]
    return (
        f"Over the budgets: {'; '.join(found) or 'no gain or loss beyond chance'}. "
        f"{len(gains) + len(losses)} of {len(rows)} intervals exclude 0; about 1 in 20 would by "
        "chance, and neighbouring budgets share their samples."
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
    if passed.difference.estimate < -ROUNDING:
        return f"{_describe_fall(passed)}: {_count_problems(changes)}. {_judge_fall(passed)}"
    gained = excludes(passed.difference, 0.0)
    seen = "rises" if gained else "is not seen to fall, and not shown to rise"
    return f"{name} {seen}: {cell.text}; {_count_problems(changes)}."


def _conclude_aes(comparison: Comparison) -> str:
    cell = format_score(comparison.aes)
    if comparison.protocol is not Protocol.FINISHED:
        return (
            f"AES is not given: under the protocol {comparison.protocol.value} accuracy and mean "
            "tokens are not of the same completions."
        )
    if cell.estimate == UNDEFINED:
        return "AES is undefined: it divides by accuracy and mean tokens before."
    verdict = {
        (True, True): "in favour of the change",
        (True, False): "against the change",
    }.get((cell.clear, comparison.aes.estimate > 0), "undecided, the interval holds 0")
    return (
        f"As one number, AES is {cell.text}: {verdict}. It weighs a relative gain in accuracy 3, a "
        "loss 5 and saved tokens 1; other weights may give the other sign."
    )


def _find_repeats(comparison: Comparison) -> Repeats | None:
    most, largest = most_tries(comparison), comparison.budgets[-1]
    if most < 2:
        return None
    mean = comparison.find(name_mean(comparison), largest)
    return Repeats(comparison.find(f"pass@{most}", largest), mean)


def _describe_fall(passed: Measure) -> str:
    cell = format_difference(passed.difference, passed.unit)
    return f"{label(passed.name)} falls by {_unsigned(cell)} {cell.interval}"


def _judge_fall(passed: Measure) -> str:
    difference = passed.difference
    if difference.high < 0:
        return "The interval excludes 0: problems are lost beyond chance."
    unseen = detectable(passed)
    limit = (
        f": with {count(difference.n_problems, 'problem')} a change below "
        f"{format_points(unseen)} cannot be told from chance (80% power)"
        if unseen > 0
        else ""
    )
    return f"The interval holds 0, so this may be chance{limit}."


def _count_problems(changes: Sequence[ProblemChange]) -> str:
    lost, won = sum(c.lost for c in changes), sum(c.won for c in changes)
    verb = "is" if lost == 1 else "are"
    return (
        f"{count(lost, 'problem')} solved before by some sample {verb} solved by none now, "
        f"{won:,} the other way"
    )


def _unsigned(cell: Cell) -> str:
    return cell.estimate.lstrip("+−")
