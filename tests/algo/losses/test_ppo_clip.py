"""PPO's clip and the dual clip: by hand, and by second code."""

from functools import partial

import pytest

from tersely.algo.losses.ppo_clip import ppo_clip


@pytest.mark.parametrize(
    ("ratio", "adv", "loss", "grad", "clipped"),
    [
        # min(1.5 * 2, 1.28 * 2) = 2.56: held at the upper bound, no gradient.
        (1.5, 2.0, -2.56, 0.0, 1),
        # min(0.5 * 2, 0.8 * 2) = 1.0: below the bound but free to rise; d(w A) = w A = 1.
        (0.5, 2.0, -1.0, -1.0, 0),
        # min(-3, -2.56) = -3: too likely and bad, free to fall; d(-w A) = 3.
        (1.5, -2.0, 3.0, 3.0, 0),
        # min(-1, -1.6) = -1.6: held at the lower bound, no gradient.
        (0.5, -2.0, 1.6, 0.0, 1),
        # Inside the bounds nothing is clipped.
        (1.2, 2.0, -2.4, -2.4, 0),
    ],
)
def test_clipping_by_hand(ratio, adv, loss, grad, clipped, one_row) -> None:
    assert one_row(ppo_clip, [ratio], adv) == (pytest.approx(loss), [pytest.approx(grad)], clipped)


@pytest.mark.parametrize(
    ("ratio", "adv", "loss", "grad", "clipped"),
    [
        # A < 0, c = 3: w = 4 would lose 8; held at 3 * 2 = 6, no gradient.
        (4.0, -2.0, 6.0, 0.0, 1),
        # Below c it is plain PPO: 2.5 * 2 = 5 with its gradient.
        (2.5, -2.0, 5.0, 5.0, 0),
        # A > 0 never meets c: held at 1.28 as ever.
        (4.0, 2.0, -2.56, 0.0, 1),
    ],
)
def test_dual_clip_by_hand(ratio, adv, loss, grad, clipped, one_row) -> None:
    result = one_row(partial(ppo_clip, dual_clip=3.0), [ratio], adv)
    assert result == (pytest.approx(loss), [pytest.approx(grad)], clipped)


def test_dual_clip_of_one_or_less_is_refused(random_batch) -> None:
    with pytest.raises(ValueError, match="dual_clip must be above 1, got 1"):
        ppo_clip(*random_batch(0), dual_clip=1.0, denominator=1)


@pytest.mark.parametrize("dual_clip", [None, 1.5])
def test_agrees_with_the_naive_implementation(
    dual_clip, assert_agrees, assert_gradient_is_the_values
) -> None:
    loss = partial(ppo_clip, clip_low=0.1, clip_high=0.3, dual_clip=dual_clip)

    def naive(ratios: list[float], logp: list[float], adv: float) -> list[float]:
        gains = [min(r * adv, min(max(r, 0.9), 1.3) * adv) for r in ratios]
        if dual_clip is not None and adv < 0:
            gains = [max(gain, 1.5 * adv) for gain in gains]
        return [-gain for gain in gains]

    assert_agrees(loss, naive)
    assert_gradient_is_the_values(loss)
