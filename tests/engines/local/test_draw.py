"""Draws from large vocabularies, which are summed by blocks and a few rows at a time."""

import itertools

import pytest
import torch

from tersely.core.types import SamplingSpec
from tersely.engines.local.draw import draw, first_beyond
from tersely.engines.local.kernel import load_kernel

SPEC = SamplingSpec(samples=1, cap_tokens=1, seed=0)


def naive_token(p_V, share):
    """The definition: a running sum, token by token, until it exceeds that share of the whole."""
    sums = list(itertools.accumulate(p_V.double().tolist()))
    return next(token for token, mass in enumerate(sums) if mass > share * sums[-1])


@pytest.mark.parametrize("vocabulary", [1, 255, 256, 257, 512, 1000, 5003])
def test_the_token_drawn_is_the_naive_one(vocabulary):
    torch.manual_seed(vocabulary)
    logits = 3 * torch.randn(40, vocabulary)
    p = logits.softmax(-1)
    u = torch.rand(40, dtype=torch.float64)
    u[:4] = torch.tensor([2.0**-49, 1 - 2.0**-49, 2.0**-30, 1 - 2.0**-30], dtype=torch.float64)
    tokens = first_beyond(p, u.unsqueeze(-1)).squeeze(-1).tolist()
    assert tokens == [naive_token(row, share) for row, share in zip(p, u.tolist(), strict=True)]
    assert draw(logits, u, spec=SPEC).token_B.tolist() == tokens


# Sums that a share of the whole meets exactly, forbidden tokens on both sides.
EXACT = torch.tensor([[0.0, 0.25, 0.0, 0.25, 0.5, 0.0]]).repeat(6, 1)
SHARES = torch.tensor([2.0**-60, 0.125, 0.25, 0.49, 0.5, 1 - 2.0**-53], dtype=torch.float64)


def test_a_share_that_is_a_sum_exactly_falls_on_the_next_token_with_and_without_the_kernel():
    tokens = [1, 1, 3, 3, 4, 4]
    assert first_beyond(EXACT, SHARES.unsqueeze(-1)).squeeze(-1).tolist() == tokens
    kernel = load_kernel()
    if kernel is None:
        pytest.skip("no C compiler here")
    chosen, logp = kernel.choose(EXACT, EXACT.log(), SHARES)
    assert chosen.tolist() == tokens
    assert logp.tolist() == EXACT.log()[range(6), tokens].tolist()
    assert (
        kernel.choose(EXACT, EXACT.log(), torch.zeros(6, dtype=torch.float64))[0].tolist()
        == [1] * 6
    )


def test_a_block_is_left_where_its_last_likely_token_is():
    """Whole blocks and ends of blocks forbidden, numbers of all sizes, ends of the unit range."""
    torch.manual_seed(0)
    p = torch.rand(300, 2000) ** 30
    p[:, :256] = 0.0
    p[:, 700:1100] = 0.0
    p[:, 1500:] = 0.0
    p[::2, 1200:] *= 1e-12
    p[::3] *= 1e-30
    share = torch.cat(
        [
            torch.rand(100, dtype=torch.float64),
            torch.full((100,), 2.0**-49, dtype=torch.float64),
            torch.full((100,), 1 - 2.0**-49, dtype=torch.float64),
        ]
    ).unsqueeze(-1)
    token = first_beyond(p, share)
    assert bool((p.gather(-1, token) > 0).all())
    cdf = p.double().cumsum(-1) / p.double().sum(-1, keepdim=True)
    assert bool((cdf.gather(-1, token) >= share - 1e-6).all())
    assert bool((cdf.gather(-1, token - 1) <= share + 1e-6).all())


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_no_share_at_the_edge_of_a_block_falls_on_a_forbidden_token(step):
    """A block's sum in float32 and that of its tokens in float64 differ in their last digits."""
    torch.manual_seed(0)
    p = torch.rand(500, 8, 256)
    p[:, :, :20] = p[:, :, -20:] = 0.0
    edge = p.sum(-1).cumsum(-1, dtype=torch.float64)
    share = edge[torch.arange(500), torch.arange(500) % 7] / edge[:, -1]
    share = (share + step * 2.0**-52).unsqueeze(-1)
    p = p.flatten(1)
    assert bool((p.gather(-1, first_beyond(p, share)) > 0).all())


def test_rows_drawn_a_few_at_a_time_are_drawn_as_alone():
    torch.manual_seed(0)
    logits, u = 4 * torch.randn(37, 40_000), torch.rand(37, dtype=torch.float64)
    logits[3, 5:] = -torch.inf
    for spec in (SPEC, SamplingSpec(samples=1, cap_tokens=1, seed=0, temperature=0.7)):
        together = draw(logits, u, spec=spec)
        alone = [draw(logits[i : i + 1], u[i : i + 1], spec=spec) for i in range(37)]
        for whole, parts in zip(together, zip(*alone, strict=True), strict=True):
            torch.testing.assert_close(whole, torch.cat(parts), atol=1e-6, rtol=0)
    assert int(together.token_B[3]) < 5


def test_every_token_of_a_large_vocabulary_is_drawn_as_often_as_it_is_likely():
    torch.manual_seed(0)
    p = torch.softmax(2 * torch.randn(1, 600), dim=-1)
    grid = (torch.arange(6_000, dtype=torch.float64) + 0.5) / 6_000
    tokens = draw(p.log().expand(6_000, -1), grid, spec=SPEC).token_B
    share = torch.bincount(tokens, minlength=600) / 6_000
    torch.testing.assert_close(share, p[0], atol=1.01 / 6_000, rtol=0)


def test_logits_that_are_no_numbers_give_no_log_probability_and_do_not_stop_it():
    logits = torch.zeros(20, 40_000)
    logits[7] = torch.nan
    out = draw(logits, torch.full((20,), 0.5, dtype=torch.float64), spec=SPEC)
    assert out.logprob_B.isnan().tolist() == [row == 7 for row in range(20)]
    assert out.entropy_B.isnan().tolist() == [row == 7 for row in range(20)]
    assert bool((out.token_B < 40_000).all())
