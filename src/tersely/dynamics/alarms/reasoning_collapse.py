"""Accuracy goes with the length."""

from tersely.dynamics.alarms import Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 10, Severity.ERROR
COLUMNS = ("accuracy", "tokens_mean")
ACCURACY_LEFT, TOKENS_LEFT = 0.8, 0.7
REASON = (
    "the length penalty on wrong rollouts has taken over: in the paper this happens with hard "
    "prompts alone and with masked wrong rollouts (arXiv:2602.20945, Sections 3.1, 3.2)"
)
ADVICE = (
    "train on easier prompts (problems.band, tersely curate --select easy), raise "
    "target.tokens, and mask no wrong rollouts (treatment.cells)"
)


def reasoning_collapse(log: StepLog) -> str | None:
    """Accuracy below 0.8 of its start while length fell below 0.7 of its own."""
    accuracy, tokens = see(log, "accuracy"), see(log, "tokens_mean")
    if accuracy is None or tokens is None or accuracy.start <= 0:
        return None
    if accuracy.recent > ACCURACY_LEFT * accuracy.start:
        return None
    if tokens.recent > TOKENS_LEFT * tokens.start:
        return None
    return (
        f"accuracy {accuracy.start:.3f} → {accuracy.recent:.3f} while length fell "
        f"{tokens.start:,.0f} → {tokens.recent:,.0f} tokens"
    )
