"""``tersely lint``: what a recipe will do to a model, from rollouts it has already made.

The records become the groups of first steps, and these go through the code that trains: target,
reward, treatment, filter, advantage. What comes out is measured, and read for what the paper and
others saw go wrong.
"""

import math

from tersely.flows.lint.checks import check_teaching
from tersely.flows.lint.facts import LintFacts
from tersely.flows.lint.forecast import Finding, FindingSeverity
from tersely.flows.lint.prerequisites import check_prerequisites

_ORDER = list(reversed(FindingSeverity))


def find(facts: LintFacts) -> list[Finding]:
    """All findings, the worst first."""
    grouped = facts.group_sizes[1] > 1
    teaching = check_teaching(facts) if grouped else []
    found = [*teaching, *check_prerequisites(facts)]
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))


def describe(facts: LintFacts, *, name: str) -> str:
    """Which records were compared with which recipe, in one line."""
    smallest, largest = facts.group_sizes
    size = f"{largest}" if smallest == largest else f"{smallest} to {largest}"
    groups = facts.shares.silent.n_samples
    target = facts.target_tokens
    limit = f"L_T = {target:,.0f}, " if math.isfinite(target) else ""
    return (
        f"{name} on {facts.pool.name}: {groups:,} groups of {size} from "
        f"{len(facts.pool.problems):,} problems, judged as step 1 with {limit}L_R = "
        f"{facts.recipe.sampling.cap_tokens:,}"
    )
