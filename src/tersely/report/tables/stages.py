"""What a training run went through, in words."""

from collections.abc import Sequence

import numpy as np

from tersely.core.types import AlarmRecord
from tersely.dynamics.stages import Stages


def describe_stages(stages: Stages, *, last_step: int) -> str:
    """What the fit says about the two stages, in a sentence."""
    if np.isnan(stages.stage_end_step):
        return (
            "No stages are shaded: an exponential decay that lowers length by 20% or more "
            "does not describe this run."
        )
    end = (
        f"ends at about step {stages.stage_end_step:,.0f}"
        if stages.stage_end_step <= last_step
        else f"is still under way at the last step (extrapolated end: step "
        f"{stages.stage_end_step:,.0f})"
    )
    return (
        f"Length adaptation, stage one, {end}: length decays from {stages.initial_tokens:,.0f} "
        f"to a plateau of {stages.plateau_tokens:,.0f} tokens with a time constant of "
        f"{stages.tau_steps:,.0f} steps (R² {stages.r_squared:.2f}); 5% of the drop remains there."
    )


def tell_alarms(alarms: Sequence[AlarmRecord]) -> list[str]:
    """A heading and a line for each alarm of the run; nothing if it raised none."""
    if not alarms:
        return []
    lines = [
        f"{a.name} at step {a.step + 1} ({a.severity}): {a.evidence}. Why: {a.reason}. "
        f"Change: {a.advice}."
        for a in alarms
    ]
    return ["Alarms were raised in training", *lines]
