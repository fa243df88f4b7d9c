"""More rollouts are cut at the cap."""

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import RECENT, START, NoisyLog

PLACE, SEVERITY = 90, Severity.WARNING
COLUMNS: tuple[str, ...] = ("truncated_share",)
RISE, TIMES = 0.1, 1.5
REASON = "what is cut cannot be right, and pays for tokens that teach little"
ADVICE = "raise sampling.cap_tokens, or look for texts that repeat themselves in rollouts/"


def truncation_rising(log: NoisyLog) -> str | None:
    """Cut rollouts, of 20 records, 10 points above their least and half as many again."""
    cut = log.get("truncated_share")
    rise = cut and cut.rose(
        lambda b, a: (a - b >= RISE) & (a >= TIMES * b), shortest=(START, RECENT)
    )
    # Of many windows one may lie a standard error too high.
    if not rise or rise.after - rise.before < RISE + rise.error:
        return None
    return f"rollouts cut at the cap {rise.before:.1%} → {rise.after:.1%}"
