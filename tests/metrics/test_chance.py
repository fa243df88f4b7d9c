"""Two evaluations of one model rarely seem to differ, whatever their numbers of samples."""

import numpy as np
import pytest

from tersely.metrics.budgets import Protocol
from tersely.metrics.chance import deal, resample
from tersely.metrics.comparison import compare
from tersely.metrics.intervals import averages
from tersely.metrics.pareto import place_on_fronts
from tersely.metrics.records import SampleTable
from tersely.metrics.significance import beyond_chance

SEEDS = 20
# Of 20 tries at 5%, 5 or more come in 3 runs of 1,000.
MOST = 4


def sample(rng, *, chances, samples, fail=0.0):
    """An evaluation of a model that is right at these chances, in tokens with a long tail."""
    shape = len(chances), samples
    tokens = np.minimum(rng.lognormal(3, 1, size=shape).astype(int) + 1, 400)
    return SampleTable(
        keys=tuple(("b", f"p{row}") for row in range(len(chances))),
        correct_PS=rng.random(shape) < np.array(chances)[:, None],
        finished_PS=np.ones(shape, bool),
        graded_PS=rng.random(shape) >= fail,
        tokens_PS=tokens,
        cap_tokens=400,
        answer_PS=rng.integers(1, 3, size=shape),
    )


def find_alarms(rng, *sides):
    compared = compare("x", *sides, budgets=[400], ks=[2, 4], rng=rng, resamples=200)
    found = {(m.name, m.unit): beyond_chance(m.p_value) for m in compared.measures}
    outside = {
        (f"interval of {m.name}", m.unit): m.difference.low > 0 or m.difference.high < 0
        for m in compared.measures
        if m.name in ("accuracy", "pass@2", "pass@4")
    }
    ratio = {("token ratio", ""): beyond_chance(compared.token_ratio_p)}
    return {**found, **outside, **ratio, ("AES", ""): beyond_chance(compared.aes_p)}


@pytest.mark.parametrize("chance", [0.8, 0.97])
def test_one_model_at_4_samples_and_at_16_rarely_seems_to_be_two(chance):
    counts: dict[str, int] = {}
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        sides = [sample(rng, chances=[chance] * 24, samples=n) for n in (4, 16)]
        for key, alarm in find_alarms(rng, *sides[:: 1 if seed % 2 else -1]).items():
            counts[key] = counts.get(key, 0) + bool(alarm)
    assert {key: n for key, n in counts.items() if n > MOST} == {}


def test_failed_samples_on_one_side_do_not_make_a_difference():
    # 8 samples on both sides, a third of one side's without a grade.
    counts: dict[str, int] = {}
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        sides = [sample(rng, chances=[0.97] * 24, samples=8, fail=f) for f in (0.0, 0.4)]
        for key, alarm in find_alarms(rng, *sides).items():
            counts[key] = counts.get(key, 0) + bool(alarm)
    assert {key: n for key, n in counts.items() if n > MOST} == {}


def test_on_a_front_of_three_one_model_rarely_is_better_than_itself():
    settled = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        sides = [sample(rng, chances=[0.97] * 24, samples=n) for n in (4, 16, 64)]
        fronts = place_on_fronts(sides, budgets=[400], protocol=Protocol.FINISHED, rng=rng)
        settled += any(point.settled for point in fronts.fronts[0].points)
    assert settled <= MOST


def test_a_real_difference_is_still_found():
    rng = np.random.default_rng(0)
    before = sample(rng, chances=[0.8] * 40, samples=4)
    after = sample(rng, chances=[0.4] * 40, samples=16)
    compared = compare("x", before, after, budgets=[400], ks=[2, 4], rng=rng)
    for name in ("accuracy", "pass@2", "pass@4"):
        measure = compared.find(name, 400)
        assert measure.p_value < 0.01, name
        assert measure.difference.high < 0, name


def test_problems_that_differ_either_way_are_no_difference_over_problems():
    # Half the problems got better by far, half worse: dealing samples alone would call that real.
    found = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        gains = rng.choice([0.1, 0.9], size=24)
        sides = [sample(rng, chances=c, samples=n) for c, n in ((1 - gains, 16), (gains, 32))]
        compared = compare("x", *sides, budgets=[400], ks=[1], rng=rng, resamples=200)
        found += beyond_chance(compared.find("accuracy", 400).p_value)
    assert found <= MOST


@pytest.mark.parametrize("chances", [(0.6, 0.6), (0.6, 0.9), (0.8, 0.3)])
def test_one_sample_without_a_grade_widens_no_interval_much(chances):
    rng = np.random.default_rng(5)
    easy_P = rng.uniform(-0.1, 0.1, size=30)
    pair = [sample(rng, chances=easy_P + chance, samples=8) for chance in chances]
    # The second takes 0.6 of the first's tokens, problem by problem, give or take a fifth.
    long_PS = rng.lognormal(6, 0.5, size=(30, 1)) * rng.lognormal(0, 0.2, size=(2, 30, 8))
    pair = [
        side._replace(tokens_PS=(long * scale).astype(int) + 1, cap_tokens=100_000)
        for side, long, scale in zip(pair, long_PS, (1.0, 0.6), strict=True)
    ]
    fewer_PS = pair[1].graded_PS.copy()
    fewer_PS[3, 2] = False
    whole, fewer = (
        compare("x", pair[0], side, budgets=[100_000], ks=[1, 4], rng=np.random.default_rng(0))
        for side in (pair[1], pair[1]._replace(graded_PS=fewer_PS))
    )
    intervals = {
        m.name: (m.difference, fewer.find(m.name, m.budget_tokens)) for m in whole.measures
    }
    both = {name: (one, other.difference) for name, (one, other) in intervals.items()}
    both |= {"token ratio": (whole.token_ratio, fewer.token_ratio), "AES": (whole.aes, fewer.aes)}
    for name, (one, other) in both.items():
        if one.high > one.low:
            assert other.high - other.low < 1.3 * (one.high - one.low), name


def test_equal_numbers_of_samples_are_only_swapped():
    rng = np.random.default_rng(0)
    sides = [sample(rng, chances=[0.5] * 6, samples=3) for _ in range(2)]

    def measure(*tables):
        return tuple(averages(t.correct_PS.mean(axis=1)[:, None]) for t in tables)

    chance = resample(*sides, measure, pooled_M=np.array([False]), rng=rng)
    assert chance.deals is None


def test_a_deal_moves_graded_samples_whole_and_leaves_the_others():
    rng = np.random.default_rng(0)
    sides = [sample(rng, chances=[0.5] * 9, samples=n, fail=0.3) for n in (3, 5)]
    dealt = deal(*sides, rng=rng)
    for one, other in zip(sides, dealt, strict=True):
        np.testing.assert_array_equal(one.graded_PS, other.graded_PS)
        assert one.keys == other.keys

    def pool(tables):
        return [
            sorted(
                (int(t), bool(c))
                for table in tables
                for t, c, g in zip(
                    table.tokens_PS[row], table.correct_PS[row], table.graded_PS[row], strict=True
                )
                if g
            )
            for row in range(9)
        ]

    assert pool(sides) == pool(dealt)
    assert (sides[0].tokens_PS != dealt[0].tokens_PS).any()


def test_whatever_is_known_of_a_sample_is_dealt_with_it():
    rng = np.random.default_rng(1)
    sides = [sample(rng, chances=[0.5] * 9, samples=n, fail=0.3) for n in (3, 5)]
    # Every array that a table may have besides its first four, told apart by what is added.
    added = [n for n in SampleTable._fields if n.endswith("_PS")][4:]
    assert "thinking_PS" in added
    sides = [
        side._replace(**{name: side.tokens_PS + place for place, name in enumerate(added, 1000)})
        for side in sides
    ]
    # Codes of wrong answers are no numbers: those of the second side are made others.
    for table in deal(*sides, rng=rng):
        for place, name in enumerate(added, 1000):
            if name != "answer_PS":
                moved = getattr(table, name) == table.tokens_PS + place
                assert moved[table.graded_PS].all(), name


def test_lengths_of_thinking_are_compared_between_different_numbers_of_samples():
    rng = np.random.default_rng(2)
    sides = [sample(rng, chances=[0.5] * 30, samples=n) for n in (3, 6)]
    thinking = [side._replace(thinking_PS=side.tokens_PS // 2) for side in sides]
    rows = {m.name: m for m in compare("x", *thinking, budgets=[400], rng=rng).measures}
    whole, half = rows["mean tokens"].difference, rows["mean thinking tokens"].difference
    assert half.estimate == pytest.approx(whole.estimate / 2, abs=0.5)
    # Known on one side only, it is not compared.
    one = {m.name: m for m in compare("x", thinking[0], sides[1], budgets=[400], rng=rng).measures}
    assert "mean thinking tokens" not in one or np.isnan(
        one["mean thinking tokens"].difference.estimate
    )
