import numpy as np
import pytest

from tersely.metrics.records import SampleTable
from tersely.metrics.windows import ShortCut, Window, find_short_cuts, find_window

SHAPES = [(30, 1), (30, 4), (100, 8), (1000, 2)]


def table(tokens, right, *, finished=True, cap_tokens=None):
    tokens_PS = np.maximum(np.array(tokens).astype(int), 1)
    return SampleTable(
        keys=tuple(("b", str(row)) for row in range(len(tokens_PS))),
        correct_PS=np.broadcast_to(np.array(right, dtype=bool), tokens_PS.shape),
        finished_PS=np.broadcast_to(np.array(finished, dtype=bool), tokens_PS.shape),
        graded_PS=np.ones(tokens_PS.shape, dtype=bool),
        tokens_PS=tokens_PS,
        cap_tokens=cap_tokens,
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spread", [0.1, 0.3, 0.5, 0.8, 1.2])
def test_log_normal_lengths_hold_no_window(shape, spread):
    rng = np.random.default_rng(0)
    drawn = [np.exp(rng.normal(8, spread, shape)) for _ in range(20)]
    assert [find_window(table(t, rng.random(shape) < 0.1)) for t in drawn] == [None] * 20


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", [0.5, 1.0, 2.0, 5.0])
def test_gamma_lengths_hold_no_window(shape, form):
    rng = np.random.default_rng(0)
    drawn = [rng.gamma(form, 5000 / form, shape) for _ in range(20)]
    assert [find_window(table(t, rng.random(shape) < 0.1)) for t in drawn] == [None] * 20


@pytest.mark.parametrize("prompt_tokens", [0, 400])
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_a_window_is_found_also_where_it_holds_the_prompt(shape, prompt_tokens):
    rng = np.random.default_rng(0)
    limit_PS = np.broadcast_to(16_384 - rng.integers(0, prompt_tokens + 1, (shape[0], 1)), shape)
    wanted_PS = np.exp(rng.normal(np.log(12_000), 0.8, shape)).astype(int)
    cut_PS = wanted_PS > limit_PS
    right_PS = ~cut_PS & (rng.random(shape) < 0.6)
    found = find_window(table(np.where(cut_PS, limit_PS, wanted_PS), right_PS))
    assert found is not None
    assert found.n_samples == pytest.approx(cut_PS.sum(), rel=0.15, abs=2)
    assert found.low_tokens >= 16_384 * 0.92


def test_golden_window():
    # Eight wrong samples of three problems at 99 and 100 tokens; six below lie far and wide.
    tokens = [[100, 99, 20, 5, 99], [99, 100, 40, 60, 70], [100, 100, 30, 10, 100]]
    right = [[0, 0, 1, 1, 0], [0, 0, 1, 0, 1], [0, 0, 1, 1, 0]]
    assert find_window(table(tokens, right)) == Window(99, 100, 8, 0, 15)
    assert find_window(table(tokens, 1)) is None  # right samples were not cut
    assert find_window(table(np.array(tokens).reshape(1, 15), 0)) is None  # of two problems only
    assert find_window(table(tokens, right, finished=False)) is None  # known to be cut


def test_samples_cut_below_the_cap_are_counted_with_the_shortest():
    tokens, finished = [[100, 97], [95, 30]], [[0, 0], [0, 1]]
    cut = find_short_cuts(table(tokens, 0, finished=finished, cap_tokens=100))
    assert cut == ShortCut(2, 4, 95)
    assert find_short_cuts(table(tokens, 0, finished=finished)) == ShortCut(3, 4, 95)
    assert find_short_cuts(table(tokens, 0, finished=True, cap_tokens=100)) is None
