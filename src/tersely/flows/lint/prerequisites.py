"""What the records lack, what the recipe needs from them, and what the run will cost."""

import math
from collections.abc import Iterator

from tersely import rewards, targets
from tersely.flows.lint.facts import LintFacts, fixed_target
from tersely.flows.lint.forecast import Finding, FindingSeverity
from tersely.flows.lint.pool import prefix_right, written_right
from tersely.flows.recipe.sections import EngineSection
from tersely.flows.recipe.settings import flat_settings
from tersely.flows.recipe.shaping import UNGRADED_SHARE_BOUND
from tersely.metrics.numbers import amount, percent

FEW_PROBLEMS = 30


def check_prerequisites(facts: LintFacts) -> Iterator[Finding]:
    """Every finding about records, needs, filters of other engines, and cost."""
    yield from _references(facts)
    yield from _cap(facts)
    yield from _groups(facts)
    yield from _ungraded(facts)
    yield from _unfinished(facts)
    yield from _target(facts)
    yield from _credit(facts)
    yield from _dropped(facts)
    yield from check_filters(facts)
    yield _cost(facts)


def _references(facts: LintFacts) -> Iterator[Finding]:
    if facts.lacking:
        lacking = sum(p.reference_tokens is None for p in facts.pool.problems)
        yield Finding(
            FindingSeverity.ERROR,
            "missing-references",
            f"reward {facts.recipe.reward.name} needs {' and '.join(facts.lacking)}, which the "
            "problems lack",
            f"{lacking or 'Some'} of {len(facts.pool.problems):,} problems lack one; here the "
            "records' own means stand in, as if this were the reference.",
            "Training refuses to start without these.",
            "problems.train: a file that tersely curate wrote has both",
        )


def _cap(facts: LintFacts) -> Iterator[Finding]:
    if facts.unknown_share == 0:
        return
    cap, table = facts.recipe.sampling.cap_tokens, facts.pool.table
    sampled = int(table.tokens_PS[table.graded_PS & ~table.finished_PS].min())
    target = facts.target_tokens
    traits = rewards.traits(facts.recipe.reward.name)
    exact = rewards.Trait.NOTHING_BEYOND_TARGET in traits and target <= sampled
    yield Finding(
        FindingSeverity.INFO if exact else FindingSeverity.WARNING,
        "records-cut-short",
        f"the records were cut at {sampled:,} tokens, below L_R = {cap:,}",
        f"{percent(facts.unknown_share)} of samples were cut there: how long they would have "
        "become, and whether right, is not known. They count as wrong, with the tokens they have. "
        + (
            "Positive share and zero-signal groups do not depend on it (L_T is within the "
            "records); drift, cost and what is right at all do."
            if exact
            else f"The positive share lies between {percent(facts.shares.positive.estimate)} and "
            f"{percent(facts.shares.positive.estimate + facts.unknown_share)}."
        ),
        "",
        f"tersely eval --cap-tokens {cap}",
    )


def _groups(facts: LintFacts) -> Iterator[Finding]:
    draws, (smallest, largest) = facts.recipe.sampling.samples_per_prompt, facts.group_sizes
    if largest == 1:
        yield Finding(
            FindingSeverity.WARNING,
            "no-groups",
            "the records have one sample a problem: no advantage can be computed",
            "Zero-signal groups, negative advantages, correlation with the advantage and drift "
            "cannot be computed; the positive share and the lengths can.",
            "An advantage is a comparison within a group.",
            f"tersely eval --samples {draws}",
        )
    elif smallest < draws:
        yield Finding(
            FindingSeverity.INFO,
            "small-groups",
            f"the records have fewer than N = {draws} samples of some problems",
            f"Groups of {smallest} or more were judged in their place; where the number of "
            "rollouts matters, the estimates for other N say what to expect.",
            "",
            f"tersely eval --samples {draws}",
        )
    if len(facts.pool.problems) < FEW_PROBLEMS:
        yield Finding(
            FindingSeverity.INFO,
            "few-problems",
            f"only {len(facts.pool.problems)} problems",
            "Intervals over so few problems are wide and rough.",
            "",
            "tersely eval on more problems",
        )


def _ungraded(facts: LintFacts) -> Iterator[Finding]:
    table = facts.pool.table
    made = table.graded_PS.size - table.missing
    ungraded = table.ungraded / made if made else 0.0
    if ungraded > 0:
        stops = ungraded > UNGRADED_SHARE_BOUND
        yield Finding(
            FindingSeverity.ERROR if stops else FindingSeverity.INFO,
            "ungraded",
            f"{percent(ungraded)} of samples have no grade"
            + ("; training stops at such a step" if stops else ""),
            f"{table.ungraded:,} of {made:,}, left out of everything here; bound "
            f"{percent(UNGRADED_SHARE_BOUND)}.",
            "Grader failures can look like learning.",
            "the problems' gold answers and grader" if stops else "",
        )


def _unfinished(facts: LintFacts) -> Iterator[Finding]:
    cap, pool = facts.recipe.sampling.cap_tokens, facts.pool
    graded_PS = pool.table.graded_PS
    cut = float(((pool.table.tokens_PS > cap) & graded_PS).sum() / graded_PS.sum())
    known = prefix_right(pool, cap_tokens=cap) is not None
    if facts.recipe.treatment.unfinished != "graded" or cut == 0 or known:
        return
    most = float(written_right(pool, cap_tokens=cap).sum() / graded_PS.sum())
    yield Finding(
        FindingSeverity.WARNING if most > 0 else FindingSeverity.INFO,
        "unfinished-unknown",
        "cut rollouts count as wrong here, and the recipe grades them",
        f"{percent(cut)} of samples are longer than L_R = {cap:,}, and what their first {cap:,} "
        f"tokens grade as is not in the records. At most {percent(most)} of all are right there.",
        "",
        f"tersely eval --protocol answered --budgets {cap}",
    )


def _target(facts: LintFacts) -> Iterator[Finding]:
    recipe = facts.recipe
    if recipe.effort and not any(problem.effort for problem in facts.pool.problems):
        yield Finding(
            FindingSeverity.WARNING,
            "prompts-without-level",
            f"the run's prompts ask for a level ({', '.join(recipe.effort)}), and the records' "
            "prompts do not",
            "The same samples stand for every level here, in turn; how lengths differ between "
            "levels cannot be seen before training.",
        )
    if recipe.target is None:
        return
    declared = targets.declared(recipe.target.name)
    if declared.moves:
        at = f"{facts.target_tokens:,.0f}" if math.isfinite(facts.target_tokens) else "not set"
        yield Finding(
            FindingSeverity.INFO,
            "moving-target",
            f"target {recipe.target.name} moves; everything here describes step 1",
            f"There L_T is {at} (mean over groups); {declared.moves}.",
        )
    if declared.announced:
        yield Finding(
            FindingSeverity.WARNING,
            "prompts-without-budget",
            "the run's prompts state a budget, and the records' prompts do not",
            "The records cannot show how lengths respond to a stated budget.",
        )
    unused = "target_tokens" not in rewards.needs(recipe.reward.name) | rewards.takes(
        recipe.reward.name
    )
    if fixed_target(recipe) is not None and unused:
        yield Finding(
            FindingSeverity.INFO,
            "unused-target",
            f"reward {recipe.reward.name} does not look at the target",
            "L_T only splits short from long in the tables.",
        )


def _credit(facts: LintFacts) -> Iterator[Finding]:
    if facts.recipe.credit is not None:
        yield Finding(
            FindingSeverity.INFO,
            "credit-not-judged",
            f"credit {facts.recipe.credit.name} gives tokens advantages of their own, which lint "
            "does not see",
            "Push and drift here are those of whole rollouts, as without [credit].",
        )


def _dropped(facts: LintFacts) -> Iterator[Finding]:
    plain = rewards.Trait.VERDICT_ONLY in rewards.traits(facts.recipe.reward.name)
    if facts.recipe.sampling.without_signal == "keep" or plain:
        return
    all_right = facts.silent_by_verifier.share - facts.all_wrong.share
    yield Finding(
        FindingSeverity.INFO,
        "dropped-by-verifier",
        f"{percent(facts.silent_by_verifier.share)} of groups leave the loss for being all right "
        "or all wrong",
        f"{percent(all_right)} are all right; a length reward may still tell their rollouts "
        "apart, and that is given up. The shaped reward is not what is filtered on.",
        "",
        'sampling.without_signal = "keep" if all-right groups should become shorter, too'
        if all_right > 0.25
        else "",
    )


def check_filters(facts: LintFacts) -> Iterator[Finding]:
    """Filters in a distributed engine's own section that look at the shaped reward."""
    for name in type(facts.recipe).model_fields:
        section = getattr(facts.recipe, name)
        if not isinstance(section, EngineSection):
            continue
        for key, value in flat_settings(section.settings).items():
            if key.endswith("filter_groups.metric") and value != "acc":
                yield Finding(
                    FindingSeverity.ERROR,
                    "filter-on-shaped-reward",
                    f"{name}.{key} = {value!r} filters groups on the shaped reward",
                    "A length reward is hardly ever equal in a whole group, so nothing is "
                    "filtered, or the wrong groups are.",
                    "Destroyed a policy within 40 steps, where acc was safe (verl-recipe PR 125; "
                    "NVIDIA-NeMo/RL issue 2431).",
                    f'{name}.{key} = "acc", or sampling.without_signal = "refill"',
                )


def _cost(facts: LintFacts) -> Finding:
    cost, steps = facts.cost, facts.recipe.learner.steps
    hours = "" if math.isnan(cost.hours) else f", {cost.hours:,.1f} hours"
    prompts = facts.recipe.sampling.prompts_per_step
    refilled = cost.sampled_groups > prompts
    more = f" ({cost.sampled_groups:.0f} groups, refilled ones included)" if refilled else ""
    return Finding(
        FindingSeverity.INFO,
        "cost",
        f"about {amount(cost.training_tokens)} tokens to train and "
        f"{amount(cost.evaluation_tokens)} to evaluate{hours}",
        f"{steps:,} steps of {amount(cost.step_tokens)} tokens{more} if lengths stay as they are, "
        f"less if they fall; at most {amount(cost.most_tokens)}, if all reach their caps."
        + ("" if hours else " Give --tokens-per-second for hours."),
    )
