"""What the numbers mean: what the reward and its masks will teach."""

import math
from collections.abc import Iterator

from tersely.algo import advantages
from tersely.algo.advantages import AdvantageTrait
from tersely.flows.lint.facts import LintFacts, fixed_target
from tersely.flows.lint.forecast import Finding, FindingSeverity, LengthCell
from tersely.metrics.intervals import Interval
from tersely.metrics.measures import Unit
from tersely.metrics.numbers import format_level, format_score, percent, signed

# Healthy runs of arXiv:2602.20945 began at 41 to 56% (its figures). On the lab, at 5% a run
# collapsed into guessing and at 8% and 14% none did.
STARVED, SPARSE, DENSE = 0.06, 0.10, 0.40
# Of groups without a signal; with more than half, most of what is sampled is thrown away.
MANY_SILENT = 0.5
# L_T up to this share of L_R is far below it.
FAR = 0.5
# Of the right rollouts, pushed down.
MANY_PUSHED_DOWN = 0.5
# Of all push, in groups that are all wrong; there it is by length alone.
MUCH_ALL_WRONG, MOST_ALL_WRONG = 0.05, 0.25
MUCH_ALL_RIGHT, MUCH_RARE = 0.5, 0.5
# Treatments that the paper saw fail, by the finding's name.
RUINOUS = frozenset({"every-negative-masked", "short-is-correct", "every-long-masked"})
PAPER = "arXiv:2602.20945"


def check_teaching(facts: LintFacts) -> Iterator[Finding]:
    """Every finding about what is taught, in the order of the loss: reward, masks, pushes."""
    for check in (
        _positive,
        _silent,
        _nothing_negative,
        _wrong_masked,
        _short_is_correct,
        _long_masked,
        _right_pushed_down,
        _length_alone,
        _rare,
        _drift,
    ):
        found = check(facts)
        if found is not None:
            yield found


def _positive(facts: LintFacts) -> Finding:
    found = facts.shares.positive
    severity = FindingSeverity.INFO
    if found.estimate < SPARSE:
        severity = FindingSeverity.ERROR if found.estimate < STARVED else FindingSeverity.WARNING
    low_share = severity is not FindingSeverity.INFO
    right, within = (_right_share(facts, short=side) for side in (False, True))
    target = facts.target_tokens
    limit = f"L_T = {target:,.0f}" if math.isfinite(target) else "the group's mean length"
    return Finding(
        severity,
        "positive-share",
        f"{percent(found.estimate)} of rollouts are paid more than 0"
        + (": too few to learn from" if severity is FindingSeverity.ERROR else ""),
        f"{_rests_on(found)}, {found.n_samples:,} rollouts; right at all "
        f"{format_level(facts.shares.right, Unit.SHARE).text}. Of those up to {limit} "
        f"{percent(within)} are right, of the longer ones {percent(right)}.",
        f"Runs that stayed healthy began at 41 to 56% ({PAPER}, figures); hard prompts with few "
        "positives collapsed (3.1). On the lab a run that began at 5% collapsed, at 8% and 14% "
        "none did.",
        _denser(facts) if low_share else "",
    )


def _right_share(facts: LintFacts, *, short: bool) -> float:
    """Of the short rollouts, or of the long ones, the share that is right."""
    cells = [cell for cell in facts.cells if cell.short is short]
    n = sum(cell.n for cell in cells)
    return sum(cell.n for cell in cells if cell.right) / n if n else math.nan


def _denser(facts: LintFacts) -> str:
    rows = [row for row in facts.curve if row.positive.value >= SPARSE * 2]
    raise_target = (
        f"target.tokens = {rows[0].target_tokens} ({percent(rows[0].positive.value)} positive)"
        if rows and fixed_target(facts.recipe) is not None
        else "a longer target"
    )
    return f"{raise_target}, or easier prompts: problems.band, tersely curate --select easy"


def _silent(facts: LintFacts) -> Finding:
    found, draws = facts.shares.silent, facts.recipe.sampling.samples_per_prompt
    smallest, largest = facts.group_sizes
    expected = _silent_at_n(facts)
    said = f"{percent(expected)} of groups of {draws} teach nothing"
    if expected == 1:
        said += ": no gradient at all"
    elif smallest < draws:
        said += " (estimated)"
    size = f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
    others = ", ".join(
        f"N = {n}: {percent(chance.share)}" for n, chance in facts.silent_at.items() if n != draws
    )
    fitted = [n for n, chance in facts.silent_at.items() if not chance.unbiased]
    how = f"fitted from N = {min(fitted)} on" if fitted else "counted without bias"
    return Finding(
        FindingSeverity.ERROR if expected == 1 else _warn(expected >= MANY_SILENT),
        "zero-signal",
        said,
        f"Of groups of {size}: {format_level(found, Unit.SHARE).text}, "
        f"n = {found.n_problems:,} problems, {found.n_samples:,} groups. "
        + (f"Estimated {others} (by {facts.kinds}; {how}). " if others else "")
        + f"By the verifier {percent(facts.all_wrong.share)} are all wrong and "
        f"{percent(facts.silent_by_verifier.share - facts.all_wrong.share)} all right.",
        f"A larger N is faster and ends higher ({PAPER}, 3.1 and App. C, which takes 24); DAPO "
        "samples other prompts in their place (arXiv:2503.14476).",
        _louder(facts, now=expected) if expected >= MANY_SILENT else "",
    )


def _silent_at_n(facts: LintFacts) -> float:
    """Measured, where the records have groups of N; else estimated where that can be."""
    draws = facts.recipe.sampling.samples_per_prompt
    if facts.group_sizes[0] < draws and draws in facts.silent_at:
        return facts.silent_at[draws].share
    return facts.shares.silent.estimate


def _louder(facts: LintFacts, *, now: float) -> str:
    if now == 1:
        return "treatment.cells: leave something right and something wrong in the loss"
    sampling, ways = facts.recipe.sampling, []
    target = fixed_target(facts.recipe)
    longer = [row for row in facts.curve if row.silent.value < MANY_SILENT]
    if target is not None and longer and longer[0].target_tokens > target:
        ways.append(
            f"target.tokens = {longer[0].target_tokens} ({percent(longer[0].silent.value)})"
        )
    larger = [
        (n, chance.share)
        for n, chance in facts.silent_at.items()
        if n > sampling.samples_per_prompt and chance.share < now
    ]
    if larger:
        draws, left = next((pair for pair in larger if pair[1] < MANY_SILENT), larger[-1])
        ways.append(f"sampling.samples_per_prompt = {draws} ({percent(left)})")
    if facts.silent_by_verifier.share >= MANY_SILENT / 2:
        ways.append("prompts that are neither all right nor all wrong (tersely curate)")
        if sampling.without_signal != "refill":
            ways.append('sampling.without_signal = "refill"')
    return ", or ".join(ways)


def _nothing_negative(facts: LintFacts) -> Finding | None:
    p = facts.pushed
    if not (p.push_N > 0).any() or (p.push_N < 0).any():
        return None
    return Finding(
        FindingSeverity.WARNING,
        "nothing-negative",
        "nothing is pushed down: the loss only imitates rewarded rollouts",
        f"{int((p.push_N > 0).sum()):,} rollouts are pushed up and none down.",
        "On-policy SFT (arXiv:2602.13407) asks for just this; without a step that says what is "
        "wrong, the model forgets what it samples rarely.",
        'advantage.name = "group_normalised" if that is not what you want',
    )


def _wrong_masked(facts: LintFacts) -> Finding | None:
    wrong = [cell for cell in facts.cells if not cell.right and cell.n]
    if not wrong or any(cell.kept > 0 for cell in wrong):
        return None
    long_right = _cell(facts, right=True, short=False)
    return Finding(
        FindingSeverity.ERROR,
        "every-negative-masked",
        "no wrong rollout is in the loss: short is taught as correct",
        f"{percent(sum(cell.share for cell in wrong))} of rollouts are wrong, all masked; "
        + (
            f"what is pushed down is right and long ({percent(long_right.share)} of rollouts, "
            f"mean push {signed(long_right.push)}), so shorter is always better."
            if long_right.push < 0
            else "nothing is left to tell right ones from."
        ),
        f"The short-is-correct trap: entropy exploded after 400 steps and length collapsed "
        f"({PAPER}, 3.2, -I); on the lab accuracy fell from .56 to .19 in 160 steps.",
        "treatment.cells.wrong_short = 0.0 and wrong_long = 0.0",
    )


def _short_is_correct(facts: LintFacts) -> Finding | None:
    """Long ones are pushed down, and short and wrong ones are not, or even up."""
    short_wrong = _cell(facts, right=False, short=True)
    wrong_kept = any(cell.kept > 0 for cell in facts.cells if not cell.right and cell.n)
    long_down = [cell for cell in facts.cells if not cell.short and cell.n and cell.push < 0]
    masked = short_wrong.n > 0 and not short_wrong.kept > 0
    if not (wrong_kept and long_down and (masked or short_wrong.push > 0)):
        return None
    cap, target = facts.recipe.sampling.cap_tokens, facts.target_tokens
    far = not math.isfinite(target) or target <= FAR * cap
    how = "masked" if masked else f"mean push {signed(short_wrong.push)}"
    pushes = " and ".join(
        f"{signed(cell.push)} ({'right' if cell.right else 'wrong'}, {percent(cell.share)} of "
        "rollouts)"
        for cell in long_down
    )
    return Finding(
        FindingSeverity.ERROR if far and masked else FindingSeverity.WARNING,
        "short-is-correct",
        "wrong and short is not penalised while long is: short is taught as correct",
        f"{percent(short_wrong.share)} of rollouts are wrong and short ({how}); long ones are "
        f"pushed by {pushes}. "
        + (f"L_T = {target:,.0f}, L_R = {cap:,}." if math.isfinite(target) else f"L_R = {cap:,}."),
        f"The short-is-correct trap: entropy exploded after 400 steps and length collapsed "
        f"({PAPER}, 3.2, -L&C-S&I); on the lab accuracy fell from .58 to .27 in 160 steps.",
        "treatment.cells.wrong_short = 0.0"
        if masked
        else "a reward that pays wrong answers the same, such as truncation",
    )


def _long_masked(facts: LintFacts) -> Finding | None:
    long_cells = [cell for cell in facts.cells if not cell.short and cell.n]
    if not long_cells or facts.recipe.filter is not None:
        return None
    if any(cell.kept > 0 for cell in long_cells):
        right = _cell(facts, right=True, short=False)
        if not right.n or right.kept > 0:
            return None
        return Finding(
            FindingSeverity.INFO,
            "long-correct-masked",
            "right and long is masked, not penalised",
            f"{percent(right.share)} of rollouts are right and long.",
            f"Ended with higher accuracy and longer outputs ({PAPER}, 3.2, -L&C: 2,734 tokens "
            "where vanilla had 2,049).",
        )
    return Finding(
        FindingSeverity.ERROR,
        "every-long-masked",
        "no long rollout is in the loss: nothing discourages overlong outputs",
        f"{percent(sum(cell.share for cell in long_cells))} of rollouts are longer than the "
        f"target, all masked; drift {format_score(facts.drift.total, digits=3).text}.",
        f"Overlong hacking: after 200 steps outputs grew to 13.6k tokens of a cap of 16k, most of "
        f"them wrong ({PAPER}, 3.2, -L&C-L&I).",
        "treatment.cells.wrong_long = 0.0",
    )


def _right_pushed_down(facts: LintFacts) -> Finding | None:
    found = facts.shares.right_pushed_down
    if not found.estimate > 0:
        return None
    return Finding(
        _warn(found.estimate >= MANY_PUSHED_DOWN),
        "correct-pushed-down",
        f"{percent(found.estimate)} of right rollouts get a negative advantage",
        f"{_rests_on(found)}, {found.n_samples:,} right rollouts. "
        f"Right ones have {_tokens(facts.shares.tokens_right)}, wrong ones "
        f"{_tokens(facts.shares.tokens_wrong)}.",
        f"Masking right and long ones instead gave better accuracy and longer outputs ({PAPER}, "
        "3.2); DRPO shows a right answer's +1 becoming −0.17 under group normalisation.",
        'treatment.cells.correct_long = "masked", or a longer target'
        if found.estimate >= MANY_PUSHED_DOWN
        else "",
    )


def _length_alone(facts: LintFacts) -> Finding | None:
    """Push in groups whose rollouts are all right or all wrong."""
    s = facts.sources
    masked = any(not cell.kept > 0 for cell in facts.cells if not cell.right and cell.n)
    if s.all_wrong >= MUCH_ALL_WRONG:
        wrong_short = _cell(facts, right=False, short=True)
        return Finding(
            FindingSeverity.ERROR if s.all_wrong >= MOST_ALL_WRONG else FindingSeverity.WARNING,
            "length-among-wrong",
            f"{percent(s.all_wrong)} of the push is about the length of wrong answers",
            f"In groups where the loss sees wrong rollouts only; in all-right ones "
            f"{percent(s.all_right)}. Wrong and short: mean push {signed(wrong_short.push)}.",
            f"A signal dominated by the length of wrong answers ends in collapse ({PAPER}, 3.1).",
            "a reward that pays wrong answers the same, such as truncation, or easier prompts",
        )
    if not s.all_right >= MUCH_ALL_RIGHT or masked:
        return None
    return Finding(
        FindingSeverity.WARNING,
        "length-among-right",
        f"{percent(s.all_right)} of the push is about length alone, among right answers",
        "In groups where every rollout that the loss sees is right.",
        "Divided by the group's std, a small difference in length weighs as much as right against "
        "wrong (arXiv:2601.05242 normalises the two apart).",
        'advantage.name = "group_centred", harder prompts, or N larger',
    )


def _rare(facts: LintFacts) -> Finding | None:
    s = facts.sources
    per_std = AdvantageTrait.PER_STD in advantages.traits(facts.recipe.advantage.name)
    if not (s.rare >= MUCH_RARE and per_std):
        return None
    return Finding(
        FindingSeverity.WARNING,
        "rare-positives",
        f"{percent(s.rare)} of the push up comes from groups with at most 1 in 8 pushed up",
        f"They are {percent(s.rare_groups)} of the groups with a signal; a lone success is pushed "
        f"by up to {s.strongest:.2f}, one of an even group by 1.00.",
        f"Dividing by the group's std amplifies rare successes ({PAPER}, App. D), lucky guesses "
        "among them; Dr. GRPO leaves the std out (arXiv:2503.20783).",
        'advantage.name = "group_centred", or easier prompts',
    )


def _drift(facts: LintFacts) -> Finding | None:
    drift, c = facts.drift, facts.correlations
    if not facts.pushed.push_N.any():
        return None
    if drift.total.high < 0:
        says = "shorter"
    elif drift.total.low > 0:
        says = "longer"
    else:
        says = "neither shorter nor longer (not seen)"
    return Finding(
        _warn(says == "longer"),
        "length-drift",
        f"the first step pushes for {says}: {signed(drift.total.estimate, digits=3)} sd of length "
        "per unit step",
        f"{format_score(drift.total, digits=3).text} in all ({signed(drift.tokens, digits=1)} of "
        f"{drift.sd_tokens:,.1f} tokens), {format_score(drift.right, digits=3).text} through "
        f"right rollouts, {format_score(drift.wrong, digits=3).text} through wrong ones; "
        f"n = {drift.total.n_problems:,} problems, {drift.total.n_samples:,} rollouts. "
        f"Correlation of length with reward {format_score(c.reward).text}, among right ones "
        f"{format_score(c.reward_if_right).text}; with advantage {format_score(c.push).text}, "
        f"{format_score(c.push_if_right).text}.",
        _why_longer(facts) if says == "longer" else "",
        "a shorter target, or a reward that weighs length more" if says == "longer" else "",
    )


def _why_longer(facts: LintFacts) -> str:
    right, wrong = facts.shares.tokens_right, facts.shares.tokens_wrong
    if right.estimate > wrong.estimate:
        return (
            f"Right answers are the longer ones here ({right.estimate:,.0f} tokens against "
            f"{wrong.estimate:,.0f}), so that paying for them pays for length."
        )
    return (
        "What is pushed down is short: the way to overlong hacking, where nothing penalises long "
        f"wrong answers ({PAPER}, 3.2)."
    )


def _cell(facts: LintFacts, *, right: bool, short: bool) -> LengthCell:
    return next(c for c in facts.cells if c.right is right and c.short is short)


def _warn(bad: bool) -> FindingSeverity:
    return FindingSeverity.WARNING if bad else FindingSeverity.INFO


def _rests_on(share: Interval) -> str:
    ends = format_level(share, Unit.SHARE).interval
    return f"{ends}, n = {share.n_problems:,} problems"


def _tokens(mean: Interval) -> str:
    """With the unit, where it is defined."""
    level = format_level(mean, Unit.TOKENS)
    return f"{level.text} tokens" if level.interval else level.text
