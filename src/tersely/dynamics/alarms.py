"""What is going wrong in a run, from its step log: one rule a function, each with its threshold.

A rule looks at the log up to its last step and says nothing, or what it saw. Values are medians
of the last ``RECENT`` records against those of the first ``START``: single steps scatter. A column
that the log does not have silences the rules that need it. Thresholds are ours; they were set on
the published curves of arXiv:2602.20945 that this project holds, and leave its healthy runs silent.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from tersely.dynamics.log import StepLog

START, RECENT = 10, 20
STRIDE = 5


class Severity(StrEnum):
    """How bad: the run is lost if it goes on, or wants to be looked at."""

    ERROR = "error"
    WARNING = "warning"


class Alarm(NamedTuple):
    """What a rule saw.

    Args:
        name: of the rule.
        step: the last step of the log that it looked at.
        evidence: the numbers that it went by.
        reason: what is known of it, and where from.
        advice: the setting to change.
    """

    name: str
    severity: Severity
    step: int
    evidence: str
    reason: str
    advice: str


class ColumnChange(NamedTuple):
    """A column at the start, lately, and the least and largest of its medians in between."""

    start: float
    recent: float
    least: float
    most: float


class Rule(NamedTuple):
    """A rule, and the columns without any of which it is silent."""

    look: Callable[[StepLog], Alarm | None]
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """In words."""
        return self.look.__name__.replace("_", " ")


def reasoning_collapse(log: StepLog) -> Alarm | None:
    """Accuracy below 0.8 of its start while length fell below 0.7 of its own."""
    accuracy, tokens = _see(log, "accuracy"), _see(log, "tokens_mean")
    if accuracy is None or tokens is None or accuracy.start <= 0:
        return None
    if accuracy.recent > 0.8 * accuracy.start or tokens.recent > 0.7 * tokens.start:
        return None
    return _alarm(
        log,
        "reasoning collapse",
        Severity.ERROR,
        f"accuracy {accuracy.start:.3f} → {accuracy.recent:.3f} while length fell "
        f"{tokens.start:,.0f} → {tokens.recent:,.0f} tokens",
        "the length penalty on wrong rollouts has taken over: in the paper hard prompts alone, "
        "and masked wrong rollouts, end so (arXiv:2602.20945, Sections 3.1 and 3.2)",
        "train on easier prompts (problems.band, tersely curate --select easy), raise "
        "target.tokens, and mask no wrong rollouts (treatment.cells)",
    )


def short_is_correct(log: StepLog) -> Alarm | None:
    """Length and entropy below half of their start, and rewarded rollouts 10% below their most."""
    tokens, entropy = _see(log, "tokens_mean"), _see(log, "entropy_mean")
    positive = _see(log, "positive_share")
    if tokens is None or entropy is None or positive is None:
        return None
    fell = tokens.recent < 0.5 * tokens.start and entropy.recent < 0.5 * entropy.start
    if not fell or positive.recent > 0.9 * positive.most:
        return None
    return _alarm(
        log,
        "short-is-correct trap",
        Severity.ERROR,
        f"length {tokens.start:,.0f} → {tokens.recent:,.0f} tokens, entropy {entropy.start:.2f} → "
        f"{entropy.recent:.2f}, rewarded rollouts {positive.most:.1%} → {positive.recent:.1%}",
        "shorter answers are rewarded less often and still win: the policy learns that short is "
        "correct; in the paper entropy spikes 150 to 200 steps later and the run is lost "
        "(arXiv:2602.20945, Section 3.2)",
        'set treatment.cells = "vanilla" or sampling.cap_tokens = target.tokens, so that wrong '
        "short rollouts are pushed down too",
    )


def entropy_explosion(log: StepLog) -> Alarm | None:
    """Entropy above 2.5 times its start."""
    entropy = _see(log, "entropy_mean")
    if entropy is None or entropy.start <= 0 or entropy.recent < 2.5 * entropy.start:
        return None
    return _alarm(
        log,
        "entropy explosion",
        Severity.ERROR,
        f"entropy {entropy.start:.3f} → {entropy.recent:.3f} nats a token",
        "the policy spreads over tokens that nothing rewards: the end of the trap, or of many "
        "stale updates (arXiv:2602.20945, Sections 3.2 and 3.3)",
        "go back to the last checkpoint before it rose; lower learner.staleness or "
        "learner.learning_rate, leave loss.entropy_coef at 0",
    )


def entropy_collapse(log: StepLog) -> Alarm | None:
    """Entropy below a tenth of its start with accuracy still below 0.9."""
    entropy, accuracy = _see(log, "entropy_mean"), _see(log, "accuracy")
    if entropy is None or accuracy is None or accuracy.recent >= 0.9:
        return None
    if entropy.recent > 0.1 * entropy.start:
        return None
    return _alarm(
        log,
        "entropy collapse",
        Severity.WARNING,
        f"entropy {entropy.start:.3f} → {entropy.recent:.3f} nats a token at accuracy "
        f"{accuracy.recent:.2f}",
        "rollouts of a prompt become one: groups lose their signal before the task is learned",
        "raise loss.clip_high or sampling.temperature, or set a small loss.entropy_coef",
    )


def staleness_drift(log: StepLog) -> Alarm | None:
    """With four updates a batch or more, entropy above 1.4 times its start."""
    entropy = _see(log, "entropy_mean")
    if entropy is None or not log.staleness >= 4 or entropy.recent < 1.4 * entropy.start:
        return None
    return _alarm(
        log,
        "staleness drift",
        Severity.WARNING,
        f"entropy {entropy.start:.3f} → {entropy.recent:.3f} at S = {log.staleness:.0f}",
        "in the paper 16 updates a batch adapt fastest, then entropy rises for hundreds of steps "
        "and length comes back (arXiv:2602.20945, Section 3.3)",
        "lower learner.staleness to 1 or 2 once length has adapted",
    )


def length_rebound(log: StepLog) -> Alarm | None:
    """Length 15% above its least and entropy 20% above its start."""
    tokens, entropy = _see(log, "tokens_mean"), _see(log, "entropy_mean")
    if tokens is None or entropy is None:
        return None
    if tokens.recent < 1.15 * tokens.least or entropy.recent < 1.2 * entropy.start:
        return None
    return _alarm(
        log,
        "length rebound",
        Severity.WARNING,
        f"length {tokens.least:,.0f} → {tokens.recent:,.0f} tokens with entropy at "
        f"{entropy.recent / entropy.start:.1f} times its start",
        "right rollouts become longer again under stale updates (arXiv:2602.20945, Section 3.3)",
        "take the checkpoint at the least length, and lower learner.staleness",
    )


def overlong_hacking(log: StepLog) -> Alarm | None:
    """Mean length above the target and 10% above its least."""
    tokens, target = _see(log, "tokens_mean"), _see(log, "target_tokens")
    if tokens is None or target is None or tokens.recent <= target.recent:
        return None
    if tokens.recent < 1.1 * tokens.least or log.step_N.size < 4 * RECENT:
        return None
    return _alarm(
        log,
        "overlong hacking",
        Severity.WARNING,
        f"length {tokens.least:,.0f} → {tokens.recent:,.0f} tokens, beyond the target "
        f"{target.recent:,.0f}",
        "where nothing overlong is punished, being overlong avoids punishment "
        "(arXiv:2602.20945, Section 3.2, masks of both long cells)",
        'do not mask both long cells: set treatment.cells = "no-long-correct" or "vanilla"',
    )


def positive_starvation(log: StepLog) -> Alarm | None:
    """Less than 8% of rollouts rewarded."""
    positive = _see(log, "positive_share")
    if positive is None or positive.recent >= 0.08:
        return None
    return _alarm(
        log,
        "positive-share starvation",
        Severity.WARNING,
        f"{positive.recent:.1%} of the last rollouts were rewarded",
        "rare positives leave the length penalty on wrong rollouts to steer; density of positives "
        "is what keeps training stable (arXiv:2602.20945, Section 3.1)",
        "raise target.tokens, train on easier prompts or raise sampling.samples_per_prompt",
    )


def truncation_rising(log: StepLog) -> Alarm | None:
    """Cut rollouts 5 points above their least and half as many again."""
    cut = _see(log, "truncated_share")
    if cut is None or cut.recent < cut.least + 0.05 or cut.recent < 1.5 * cut.least:
        return None
    return _alarm(
        log,
        "truncation rising",
        Severity.WARNING,
        f"rollouts cut at the cap {cut.least:.1%} → {cut.recent:.1%}",
        "what is cut cannot be right, and pays for tokens that teach little",
        "raise sampling.cap_tokens, or look for texts that repeat themselves in rollouts/",
    )


def kl_spike(log: StepLog) -> Alarm | None:
    """KL of the last five steps above 0.05 nats, and above the 50 before: five times their median
    for all five, or in one step ten times their median and three times their largest."""
    kl_N = log.get("kl_mean")
    known_N = np.array([]) if kl_N is None else kl_N[np.isfinite(kl_N)]
    if known_N.size < 3 * RECENT:
        return None
    before_K, last_K = known_N[-55:-5], known_N[-5:]
    usual, recent, peak = float(np.median(before_K)), float(np.median(last_K)), float(last_K.max())
    jumped = recent >= max(0.05, 5 * usual)
    if not jumped and peak < max(0.05, 10 * usual, 3 * float(before_K.max())):
        return None
    seen = f"{recent:.4f} nats a token" if jumped else f"{peak:.4f} nats a token in one step"
    return _alarm(
        log,
        "KL spike",
        Severity.WARNING,
        f"KL to the reference {usual:.4f} → {seen}, within the last five",
        "the policy jumped: a batch of odd rewards or too large a step",
        "lower learner.learning_rate or learner.max_grad_norm, and read the step's rollouts",
    )


def coverage_falling(log: StepLog) -> Alarm | None:
    """Prompts solved in at least one try fell by 5 points and four standard errors while the share
    of right rollouts stands within 2 points of its start or above."""
    solved_N, accuracy = log.get("solved_share"), _see(log, "accuracy")
    if solved_N is None or accuracy is None or accuracy.recent < accuracy.start - 0.02:
        return None
    known_N = solved_N[np.isfinite(solved_N)]
    if known_N.size < 2 * RECENT:
        return None
    start_K, recent_K = known_N[:RECENT], known_N[-RECENT:]
    fell = float(start_K.mean() - recent_K.mean())
    error = float(np.sqrt((start_K.var(ddof=1) + recent_K.var(ddof=1)) / RECENT))
    if fell < max(0.05, 4 * error):
        return None
    return _alarm(
        log,
        "coverage falling",
        Severity.WARNING,
        f"prompts with a right rollout (Pass@N) {start_K.mean():.1%} → {recent_K.mean():.1%} "
        f"(standard error {error:.1%}) at accuracy {accuracy.start:.2f} → {accuracy.recent:.2f}",
        "what the policy could do in some tries it no longer tries: Mean@k is kept by what it "
        "could do anyway; in the paper Pass@k stays flat (arXiv:2602.20945, Section 3.2)",
        "compare Pass@k of a checkpoint with the base (tersely compare), raise target.tokens or "
        "sampling.temperature, or train on harder prompts too",
    )


def grader_failing(log: StepLog) -> Alarm | None:
    """Answers that could not be read or graded 5 points above their start."""
    parts = [_see(log, name) for name in ("unparsed_share", "ungraded_share")]
    known = [part for part in parts if part is not None]
    start, recent = sum(part.start for part in known), sum(part.recent for part in known)
    if not known or recent < start + 0.05:
        return None
    return _alarm(
        log,
        "grader failures",
        Severity.WARNING,
        f"answers not read or not graded {start:.1%} → {recent:.1%}",
        "a policy that learns to avoid the grader, or a grader that times out, looks like learning "
        "or forgetting (open-r1 issues 420 and 430, verifiers pull request 831)",
        "read rollouts/ for what is not parsed; ungraded answers are left out, not wrong",
    )


def sampler_mismatch(log: StepLog) -> Alarm | None:
    """Sampler and learner differ by more than 0.05 nats a token, and three times their start."""
    gap = _see(log, "sampler_mismatch")
    if gap is None or gap.recent < 0.05 or gap.recent < 3 * gap.start:
        return None
    return _alarm(
        log,
        "sampler mismatch",
        Severity.WARNING,
        f"|learner - sampler| log-probability {gap.start:.4f} → {gap.recent:.4f} nats a token",
        "the rollouts are of another policy than the one that is trained",
        "set loss.importance_cap = 2, or find which side has stale or coarser weights",
    )


RULES: tuple[Rule, ...] = (
    Rule(reasoning_collapse, ("accuracy", "tokens_mean")),
    Rule(short_is_correct, ("tokens_mean", "entropy_mean", "positive_share")),
    Rule(entropy_explosion, ("entropy_mean",)),
    Rule(entropy_collapse, ("entropy_mean", "accuracy")),
    Rule(staleness_drift, ("entropy_mean",)),
    Rule(length_rebound, ("tokens_mean", "entropy_mean")),
    Rule(overlong_hacking, ("tokens_mean", "target_tokens")),
    Rule(positive_starvation, ("positive_share",)),
    Rule(truncation_rising, ("truncated_share",)),
    Rule(kl_spike, ("kl_mean",)),
    Rule(coverage_falling, ("solved_share", "accuracy")),
    # Either share will do.
    Rule(grader_failing, ()),
    Rule(sampler_mismatch, ("sampler_mismatch",)),
)


def standing_alarms(log: StepLog) -> list[Alarm]:
    """The alarms at the log's last step; none before ``START + RECENT`` steps."""
    if log.step_N.size < START + RECENT:
        return []
    return [alarm for rule in RULES if (alarm := rule.look(log)) is not None]


def first_alarms(log: StepLog) -> list[Alarm]:
    """Each alarm at the step where it was first raised, in the order of these steps."""
    found: dict[str, Alarm] = {}
    fewest, last = START + RECENT, log.step_N.size
    # Every fifth record; where something new stands, the records since the last look too.
    for count in sorted({*range(fewest, last + 1, STRIDE), last}):
        names = {alarm.name for alarm in standing_alarms(log.until(count))}
        if names <= found.keys():
            continue
        for earlier in range(max(fewest, count - STRIDE + 1), count + 1):
            for alarm in standing_alarms(log.until(earlier)):
                found.setdefault(alarm.name, alarm)
    return list(found.values())


def _see(log: StepLog, name: str) -> ColumnChange | None:
    values_N = log.get(name)
    if values_N is None or not np.isfinite(values_N[-RECENT:]).any():
        return None
    known_N = values_N[np.isfinite(values_N)]
    if known_N.size < START + RECENT:
        return None
    # Medians of whole windows from the start on, and of the last records.
    windows = [known_N[at : at + RECENT] for at in range(0, known_N.size - RECENT + 1, RECENT // 2)]
    medians = [float(np.median(window)) for window in windows]
    recent = float(np.median(known_N[-RECENT:]))
    return ColumnChange(
        start=float(np.median(known_N[:START])),
        recent=recent,
        least=min(*medians, recent),
        most=max(*medians, recent),
    )


def _alarm(
    log: StepLog, name: str, severity: Severity, evidence: str, reason: str, advice: str
) -> Alarm:
    return Alarm(name, severity, int(log.step_N[-1]), evidence, reason, advice)
