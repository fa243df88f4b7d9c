"""The grid of what can be served."""

import numpy as np
import pytest

from tersely.metrics.budgets import Protocol, score
from tersely.metrics.records import UNKNOWN_ANSWER, SampleTable
from tersely.metrics.serving import CostAxis, Rates, ServingSetting, choose_caps, lay_out

CAP = 1024


def draw(seed, *, problems=12, samples=4, cap_tokens=CAP):
    rng = np.random.default_rng(seed)
    shape = (problems, samples)
    tokens_PS = np.minimum(rng.lognormal(5.5, 0.8, shape), cap_tokens).astype(np.int64)
    answer_PS = rng.choice([0, 0, 1, 2], size=shape)
    finished_PS = tokens_PS < cap_tokens
    return SampleTable(
        keys=tuple(("b", str(p)) for p in range(problems)),
        correct_PS=(answer_PS == 0) & finished_PS,
        finished_PS=finished_PS,
        graded_PS=np.ones(shape, dtype=bool),
        tokens_PS=tokens_PS,
        cap_tokens=cap_tokens,
        answer_PS=answer_PS,
    )


def lay(*tables, caps=(256, CAP), votes=(1, 2), rates=None, axis=CostAxis.TOKENS):
    rates = rates or [Rates()] * len(tables)
    return lay_out(tables, caps=[caps] * len(tables), votes=votes, rates=rates, axis=axis)


def test_one_vote_at_any_cap_is_the_accuracy_that_report_gives_there():
    table = draw(1)
    grid = lay(table, votes=(1,)).grid
    reported = score(table, budgets_B=np.array([256, CAP]), protocol=Protocol.FINISHED)
    assert grid.right_PM.mean(axis=0) == pytest.approx(reported.accuracy_B)
    assert grid.tokens_PM[:, 1].mean() == pytest.approx(table.tokens_PS.mean())


def test_prices_scale_the_cost_and_a_prompt_is_paid_once_a_vote():
    table = draw(2)
    plain, priced, tenfold = (
        lay(table, rates=[Rates(*rate)], axis=axis).grid
        for axis, rate in (
            (CostAxis.TOKENS, ()),
            (CostAxis.MONEY, (3.0, 2.0, 100.0)),
            (CostAxis.MONEY, (30.0, 20.0, 100.0)),
        )
    )
    votes = np.array([setting.votes for setting in plain.settings])
    # 2 a million tokens, and 3 a million prompt tokens, 100 a vote
    assert priced.cost_PM == pytest.approx((2 * plain.tokens_PM + 300 * votes) / 1e6)
    assert tenfold.cost_PM == pytest.approx(10 * priced.cost_PM)


def test_seconds_are_those_of_the_longest_vote():
    table = draw(3, samples=2)
    grid = lay(table, caps=(CAP,), rates=[Rates(seconds_per_token=0.5)], axis=CostAxis.SECONDS).grid
    assert grid.cost_PM[:, 1] == pytest.approx(0.5 * table.tokens_PS.max(axis=1))


def test_votes_that_a_file_cannot_give_are_named_with_the_reason():
    whole, short = draw(4), draw(5, samples=1)
    blind = whole._replace(answer_PS=np.where(whole.correct_PS, 0, UNKNOWN_ANSWER))
    laid = lay(whole, short, blind)
    assert [(gap.side, gap.votes) for gap in laid.gaps] == [(1, 2), (2, 2)]
    assert "1 graded samples, fewer than 2" in laid.gaps[0].reason
    assert "not known" in laid.gaps[1].reason
    assert ServingSetting(1, CAP, 1) in laid.grid.settings
    assert not np.isnan(laid.grid.right_PM).any()


def test_caps_are_halves_and_three_quarters_that_some_but_not_all_samples_end_within():
    table = draw(6, problems=400)
    caps = choose_caps(table)
    assert set(caps) <= {CAP * part >> 6 for part in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)}
    assert caps[-1] == CAP
    ended = [(table.finished_PS & (table.tokens_PS <= cap)).mean() for cap in caps]
    assert ended[0] >= 0.1
    # no sample is longer than 600: of the caps above only the sampled one says anything
    cut = table._replace(tokens_PS=np.minimum(table.tokens_PS, 600))
    assert choose_caps(cut)[-2:] == (512, CAP)
