"""Scores that weigh right answers against tokens. A collapsed model can raise each of them.

Every scalar here rewards a collapse under some weights (accuracy per token grows without bound
as lengths go to 0), so none is shown without the curve of accuracy over budgets.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.metrics.means import average_defined
from tersely.metrics.records import UNKNOWN_TOKENS


def area_over_log_budget(
    accuracy_PB: Float[np.ndarray, "P B"], *, budgets_B: Int[np.ndarray, " B"]
) -> Float[np.ndarray, " P"]:
    """``int acc(b) d log b / log(b_max / b_min)``, by trapezoids between the budgets.

    The mean accuracy over the spectrum when every doubling of the budget weighs the same.
    A single budget → its accuracy. NaN where a problem's accuracy is.

    Args:
        budgets_B: ascending, in tokens.
    """
    if len(budgets_B) == 1:
        return np.asarray(accuracy_PB[:, 0])
    log_B = np.log(budgets_B.astype(np.float64))
    area_P = np.trapezoid(accuracy_PB, x=log_B, axis=1)
    return np.asarray(area_P / (log_B[-1] - log_B[0]))


def auc_oaa(
    right_PS: Bool[np.ndarray, "P S"],
    tokens_PS: Int[np.ndarray, "P S"],
    graded_PS: Bool[np.ndarray, "P S"],
    *,
    cap_tokens: int,
) -> Float[np.ndarray, " P"]:
    """``(1/t_max) int_0^t_max mean(c_i 1[T_i < t]) dt = mean(c_i max(0, 1 - T_i/t_max))``.

    Area under accuracy over a linear budget. Problems without a graded sample → NaN.
    Source: arXiv:2508.13141 (OptimalThinkingBench), where t_max is 1,000; here it is the cap.
    """
    saved_PS = right_PS * np.maximum(0.0, 1.0 - tokens_PS / cap_tokens)
    return average_defined(np.where(graded_PS, saved_PS, np.nan), axis=1)


def outcome_efficiency(
    right_PS: Bool[np.ndarray, "P S"],
    tokens_PS: Int[np.ndarray, "P S"],
    answer_tokens_PS: Int[np.ndarray, "P S"],
    graded_PS: Bool[np.ndarray, "P S"],
) -> Float[np.ndarray, " P"]:
    """``mean(c_i F_i / T_i)``, F_i = tokens until a correct answer first stands.

    The share of tokens that went into reaching the answer; wrong samples count 0. A right sample
    whose F is not known makes its problem NaN. Source: arXiv:2412.21187, where a language
    model finds F; here prefixes are graded again.
    """
    known_PS = answer_tokens_PS != UNKNOWN_TOKENS
    share_PS = np.where(known_PS, answer_tokens_PS / np.maximum(tokens_PS, 1), 0.0)
    value_PS = np.where(graded_PS, right_PS * share_PS, np.nan)
    unknown_P = (graded_PS & right_PS & ~known_PS).any(axis=1)
    return np.where(unknown_P, np.nan, average_defined(value_PS, axis=1))


def ock_score(
    accuracy: Float[np.ndarray, "..."], mean_tokens: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """``100 acc - 10 ln(mean tokens / 10,000 + 1)``.  Source: arXiv:2511.05722 (OckBench).

    Args:
        accuracy: share, 0 to 1.
    """
    return 100.0 * accuracy - 10.0 * np.log(mean_tokens / 10_000.0 + 1.0)


def aes(
    accuracy_before: Float[np.ndarray, "..."],
    accuracy_after: Float[np.ndarray, "..."],
    tokens_before: Float[np.ndarray, "..."],
    tokens_after: Float[np.ndarray, "..."],
    *,
    alpha: float = 1.0,
    beta: float = 3.0,
    gamma: float = 5.0,
) -> Float[np.ndarray, "..."]:
    """AES: ``alpha dL + beta |dA|`` if ``dA >= 0`` else ``alpha dL - gamma |dA|``.

    ``dL = (L0 - L)/L0`` and ``dA = (A - A0)/A0`` are relative. Other weights, such as the 1, 5,
    10 of S3-CoT, give figures that cannot be compared with these. A0 = 0 or L0 = 0 → NaN.
    Source: arXiv:2501.12570 (O1-Pruner).
    """
    saved = _relative(tokens_before - tokens_after, tokens_before)
    gained = _relative(accuracy_after - accuracy_before, accuracy_before)
    weight = np.where(gained >= 0, beta, gamma)
    return np.asarray(alpha * saved + weight * gained)


def reg_gap(
    accuracy_RB: Float[np.ndarray, "R B"],
    frontier_RB: Float[np.ndarray, "R B"],
    *,
    budgets_B: Int[np.ndarray, " B"],
) -> Float[np.ndarray, " R"]:
    """``int (J*(b) - J(b)) db / (b_max - b_min)``: mean gap to the best curve over the budgets.

    The frontier J* is the pointwise best of the runs that are compared, so the gap is 0 for a run
    that is best at every budget. A single budget → the gap there. Source: arXiv:2506.07104
    (REO), which does not divide by the range.
    """
    gap_RB = frontier_RB - accuracy_RB
    if len(budgets_B) == 1:
        return np.asarray(gap_RB[:, 0])
    area_R = np.trapezoid(gap_RB, x=budgets_B.astype(np.float64), axis=1)
    return np.asarray(area_R / float(budgets_B[-1] - budgets_B[0]))


def _relative(
    change: Float[np.ndarray, "..."], base: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    positive = np.asarray(base) > 0
    return np.where(positive, change / np.where(positive, base, 1.0), np.nan)
