"""Accuracy goes with the length."""

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog
from tersely.dynamics.purpose import accuracy_fall, cannot_tell, left

PLACE, SEVERITY, FEWEST = 10, Severity.ERROR, 20
COLUMNS: tuple[str, ...] = ("accuracy", "tokens_mean")
TOKENS_LEFT = 0.7
REASON = (
    "the length penalty on wrong rollouts has taken over: in the paper this happens with hard "
    "prompts alone and with masked wrong rollouts (arXiv:2602.20945, Sections 3.1, 3.2)"
)
ADVICE = (
    "train on easier prompts (problems.band, tersely curate --select easy), raise "
    "target.tokens, and mask no wrong rollouts (treatment.cells)"
)


def reasoning_collapse(log: NoisyLog) -> str | None:
    """Accuracy 12% below its start or best while length is below 0.7 of its own."""
    fall = accuracy_fall(log)
    if fall is None or not (kept := left(log, "tokens_mean")) <= TOKENS_LEFT:
        return None
    return (
        f"accuracy {fall.before:.3f} → {fall.after:.3f} (standard error {fall.error:.3f}) while "
        f"length fell to {kept:.0%} of its start{cannot_tell(log)}"
    )
