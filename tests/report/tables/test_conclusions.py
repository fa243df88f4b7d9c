import numpy as np
import pytest
from scipy.stats import t

from tersely.metrics.budgets import Protocol
from tersely.metrics.changes import ProblemChange
from tersely.metrics.comparison import Comparison, Measure
from tersely.metrics.intervals import Interval
from tersely.metrics.measures import Unit
from tersely.report.tables.conclusions import conclude, warn_of_lost_problems

NAMES = ("base", "terse")
NAN = float("nan")
UNDEFINED = Interval(NAN, NAN, NAN, 0, 0)
LOST = ProblemChange("b", "lost", 3, 8, 0, 8, 50.0, 20.0)
WON = ProblemChange("b", "won", 0, 8, 1, 8, 50.0, 20.0)
SAME = ProblemChange("b", "same", 4, 8, 5, 8, 50.0, 20.0)


def p_of(low, high, *, middle=0.0):
    """As far from chance as the interval, so that the sentences can be read off it."""
    return 0.01 if low > middle or high < middle else 0.62


def share(name, budget, low, middle, high, *, p=None, error=0.01, n=100):
    p = p_of(low, high) if p is None else p
    level = Interval(0.5, 0.4, 0.6, n, 8 * n)
    difference = Interval(middle, low, high, n, 16 * n, error)
    return Measure(name, Unit.SHARE, budget, level, level, difference, p)


def comparison(
    *, accuracy=(-0.01, 0.01, 0.03), passed=(-0.02, 0.0, 0.02), ratio=(0.4, 0.5, 0.6), n=100, k=8
):
    """Differences at 40 tokens as given; at 10 tokens a clear gain in accuracy."""
    low, middle, high = ratio
    truncated = share("truncated share", None, -0.1, 0.0, 0.1)
    rows = [truncated, share("accuracy", 10, 0.1, 0.2, 0.3), share("accuracy", 40, *accuracy, n=n)]
    rows += [share(f"mean@{k}", 40, *accuracy, n=n), share(f"pass@{k}", 40, *passed, n=n)]
    level = Interval(0.01, 0.0, 0.02, n, 8 * n)
    rows[0] = truncated._replace(before=level, after=level)
    return Comparison(
        title="both",
        protocol=Protocol.FINISHED,
        budgets=(10, 40),
        measures=tuple(rows),
        token_ratio=Interval(middle, low, high, n, 8 * n),
        token_ratio_p=p_of(low, high, middle=1.0),
        aes=Interval(0.5, 0.1, 0.9, n, 0),
        aes_p=0.01,
        n_problems=n,
        samples_before=k,
        samples_after=k,
        cap_tokens=40,
        ungraded_before=0,
        ungraded_after=0,
    )


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        ((0.4, 0.5, 0.6), "Shorter: terse takes 0.50× [0.40, 0.60] the tokens of base (p = .010)."),
        ((1.1, 1.2, 1.3), "Longer: terse takes 1.20× [1.10, 1.30] the tokens of base (p = .010)."),
        (
            (0.9, 1.0, 1.3),
            "Length undecided: terse takes 1.00× [0.90, 1.30] the tokens of base (p = .62).",
        ),
        ((NAN, NAN, NAN), "Length: undefined"),
    ],
)
def test_length_is_shorter_longer_or_undecided(ratio, said):
    assert conclude(comparison(ratio=ratio), [SAME], names=NAMES)[0].startswith(said)


def test_lengths_of_many_cut_samples_are_called_lower_bounds():
    both = comparison()
    cut = both.measures[0]._replace(before=Interval(0.125, 0.1, 0.15, 100, 800))
    said = conclude(both._replace(measures=(cut, *both.measures[1:])), [SAME], names=NAMES)[0]
    assert "Up to 12% of the samples were cut at 40 tokens" in said
    assert "lower bounds" not in conclude(both, [SAME], names=NAMES)[0]


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (
            (0.01, 0.02, 0.03),
            "Accuracy at 40 tokens is higher: terse gains +2.0 pp [+1.0, +3.0] (p = .010).",
        ),
        ((-0.03, -0.02, -0.01), "Accuracy at 40 tokens is lower: terse changes by −2.0 pp"),
        (
            (-0.01, 0.01, 0.03),
            "Accuracy at 40 tokens is not shown to differ: +1.0 pp [−1.0, +3.0] (p = .62).",
        ),
        ((NAN, NAN, NAN), "Accuracy at 40 tokens: undefined."),
    ],
)
def test_accuracy_is_higher_lower_or_not_shown_to_differ(accuracy, said):
    assert conclude(comparison(accuracy=accuracy), [SAME], names=NAMES)[1].startswith(said)


def test_what_could_not_have_been_seen_is_stated():
    # (t_.975 + t_.8) of 99 degrees of freedom, times a standard error of 1 pp.
    seen = 100 * 0.01 * (t.ppf(0.975, 99) + t.ppf(0.8, 99))
    assert round(seen, 1) == 2.8
    said = conclude(comparison(), [SAME], names=NAMES)[1]
    assert "below 2.8 pp cannot be seen reliably with 100 problems × 8 samples" in said


def test_no_sentence_ever_says_that_there_is_no_difference():
    for accuracy in ((-0.01, 0.0, 0.01), (-0.2, 0.0, 0.2)):
        said = " ".join(conclude(comparison(accuracy=accuracy), [SAME], names=NAMES)).lower()
        assert "no difference" not in said
        assert "the same" not in said


def test_the_number_of_budgets_looked_at_is_stated():
    said = conclude(comparison(), [SAME], names=NAMES)[2]
    assert said.startswith("Over the budgets: gains at 10. 1 of 2 have p < .05; about 1 in")
    worse = conclude(comparison(accuracy=(-0.3, -0.2, -0.1)), [SAME], names=NAMES)[2]
    assert worse.startswith("Over the budgets: gains at 10; losses at 40. 2 of 2 have")


def test_the_sentence_on_one_score_says_that_it_hangs_on_weights():
    said = conclude(comparison(), [SAME], names=NAMES)[4]
    assert said.startswith(
        "As one number, AES is +0.50 [+0.10, +0.90] (p = .010): in favour of the change."
    )
    assert "other weights may give the other sign" in said
    open_ = comparison()._replace(aes_p=0.05)
    assert "(p = .050): undecided." in conclude(open_, [SAME], names=NAMES)[4]


def test_one_score_is_not_given_where_lengths_and_accuracy_are_of_different_completions():
    both = comparison()._replace(protocol=Protocol.ANSWERED, aes=UNDEFINED)
    said = conclude(both, [SAME], names=NAMES)[4]
    assert said.startswith("AES is not given: under the protocol answered")
    undefined = comparison()._replace(aes=UNDEFINED)
    assert conclude(undefined, [SAME], names=NAMES)[4].startswith("AES is undefined: it divides")


def test_few_problems_are_called_rough():
    assert (
        "With 19 problems all intervals are rough"
        in conclude(comparison(n=19), [SAME], names=NAMES)[-1]
    )
    assert "rough" not in " ".join(conclude(comparison(n=20), [SAME], names=NAMES))


@pytest.mark.parametrize(
    ("accuracy", "passed", "warned"),
    [
        (0.012, -0.033, True),
        (0.0, -0.033, True),
        (0.2, -1e-6, True),
        (-1e-6, -0.033, True),
        (0.012, 0.0, False),
        (0.012, 0.1, False),
        (0.012, -1e-17, False),
        (NAN, -0.1, False),
        (0.1, NAN, False),
    ],
)
def test_the_warning_comes_exactly_when_pass_falls_beyond_chance_and_accuracy_does_not(
    accuracy, passed, warned
):
    both = comparison(
        accuracy=(accuracy - 0.05, accuracy, accuracy + 0.05),
        passed=(passed - 0.1, passed, passed + 0.1),
    )
    assert not warn_of_lost_problems(both, [LOST]), "p = .62"
    both = with_p(both, "pass@8", 0.049)
    assert bool(warn_of_lost_problems(both, [LOST])) is warned
    assert not warn_of_lost_problems(with_p(both, "pass@8", 0.05), [LOST])


def test_one_try_a_problem_warns_of_nothing():
    both = comparison(k=1, passed=(-0.2, -0.1, 0.0))
    assert warn_of_lost_problems(both, [LOST]) == []
    assert "one try a problem" in conclude(both, [LOST], names=NAMES)[3]


def test_the_warning_counts_problems_and_what_may_be_chance_is_no_fall():
    changes = [LOST, LOST, LOST, WON, WON, SAME]
    both = comparison(accuracy=(0.002, 0.012, 0.022), passed=(-0.133, -0.033, 0.067))
    assert conclude(both, changes, names=NAMES)[3] == (
        "Pass@8 is not shown to fall: −3.3 pp [−13.3, +6.7] (p = .62); 3 problems solved before by "
        "some sample are solved by none now, 2 the other way. "
        "This may be chance: with 100 problems a change below 2.8 pp "
        "cannot be told from chance (80% power)."
    )
    heading, moved, judged = warn_of_lost_problems(with_p(both, "pass@8", 0.01), changes)
    assert heading == "Pass@8 falls while Mean@8 does not"
    assert moved == (
        "Pass@8 falls by 3.3 pp [−13.3, +6.7] (p = .010): 3 problems solved before by some sample "
        "are solved by none now, 2 the other way. Mean@8 rises by +1.2 pp [+0.2, +2.2] (p = .010)."
    )
    assert judged == "Problems are lost beyond chance."
    _, moved, _ = warn_of_lost_problems(
        comparison(accuracy=(-0.01, 0.012, 0.03), passed=(-0.3, -0.2, -0.1)), changes
    )
    assert moved.endswith("Mean@8 is not shown to fall: +1.2 pp [−1.0, +3.0] (p = .62).")


def test_no_difference_of_shares_above_one_hundred_points_is_named():
    rows = [
        m._replace(difference=m.difference._replace(standard_error=0.4, n_problems=6))
        for m in comparison(passed=(-0.3, -0.1, 0.2), n=6).measures
    ]
    said = conclude(comparison(n=6)._replace(measures=tuple(rows)), [LOST], names=NAMES)
    assert said[1].endswith(
        "No difference at all can be seen reliably with 6 problems × 8 samples (80% power)."
    )
    assert said[3].endswith(
        "with 6 problems no change can be told from chance reliably (80% power)."
    )


def with_p(both, name, p):
    rows = [m._replace(p_value=p) if m.name == name else m for m in both.measures]
    return both._replace(measures=tuple(rows))


def test_a_fall_with_a_small_p_is_not_called_chance():
    both = comparison(passed=(-0.3, -0.2, -0.1))
    heading, _, judged = warn_of_lost_problems(both, [LOST])
    assert judged == "Problems are lost beyond chance."
    said = conclude(both, [LOST], names=NAMES)[3]
    assert said.startswith(
        "Pass@8 falls by 20.0 pp [−30.0, −10.0] (p = .010): 1 problem solved before by "
    )
    assert "is solved by none now, 0 the other way." in said
    assert heading


def test_a_risen_and_an_undefined_pass_are_told_apart():
    risen = conclude(comparison(passed=(0.1, 0.2, 0.3)), [WON], names=NAMES)[3]
    assert risen.startswith(
        "Pass@8 rises: +20.0 pp [+10.0, +30.0] (p = .010); 0 problems solved before"
    )
    undefined = conclude(comparison(passed=(NAN, NAN, NAN)), [SAME], names=NAMES)[3]
    assert undefined.startswith("Pass@8: undefined")
    flat = conclude(comparison(passed=(-0.1, 0.0, 0.1)), [SAME], names=NAMES)[3]
    assert flat.startswith("Pass@8 is not seen to fall, and not shown to rise: 0.0 pp")


def test_without_intervals_nothing_is_called_clear():
    lone = comparison(accuracy=(NAN, 0.1, NAN), passed=(NAN, -0.1, NAN), n=1)
    said = conclude(lone, [LOST], names=NAMES)
    assert said[1].endswith("one problem gives no interval.")
    assert "beyond chance" not in said[3]
    assert np.isnan(lone.find("pass@8", 40).difference.low)


def test_beyond_chance_is_said_by_p_alone_not_by_an_interval_that_excludes_zero():
    # 5 of 30 problems lost, none won: 2 of 2^5 swaps are as far apart, p = .0625, while a
    # bootstrap leaves out all five in (25/30)^30 = 0.4% of its draws, so its interval excludes 0.
    both = comparison(accuracy=(-0.05, 0.0, 0.05), passed=(-0.3, -0.167, -0.033), n=30)
    rows = [m._replace(p_value=0.063) if m.name == "pass@8" else m for m in both.measures]
    both = both._replace(measures=tuple(rows))
    said = " ".join([*warn_of_lost_problems(both, [LOST]), *conclude(both, [LOST], names=NAMES)])
    assert "beyond chance" not in said.replace("no gain or loss beyond chance", "")
    assert "This may be chance" in said
    assert "(p = .063)" in said


def test_a_clear_fall_of_pass_stands_on_top_also_where_the_mean_falls_a_little_by_chance():
    both = comparison(accuracy=(-0.05, -0.002, 0.05), passed=(-0.3, -0.2, -0.1))
    heading, moved, judged = warn_of_lost_problems(both, [LOST])
    assert heading == "Pass@8 falls while Mean@8 is not shown to"
    assert "Mean@8 is not shown to fall: −0.2 pp [−5.0, +5.0] (p = .62)." in moved
    assert judged == "Problems are lost beyond chance."
    assert not warn_of_lost_problems(
        comparison(accuracy=(-0.3, -0.2, -0.1), passed=(-0.3, -0.2, -0.1)), [LOST]
    )


def test_a_missing_sample_does_not_hide_the_warning():
    both = comparison(passed=(-0.3, -0.2, -0.1))
    rows = [share("mean@8", 40, NAN, NAN, NAN) if m.name == "mean@8" else m for m in both.measures]
    heading, *_ = warn_of_lost_problems(both._replace(measures=tuple(rows)), [LOST])
    assert heading == "Pass@8 falls while Accuracy does not"


def test_five_problems_can_show_nothing_and_this_is_said():
    said = conclude(comparison(n=5), [SAME], names=NAMES)[-1]
    assert said == "With 5 problems no difference can be told from chance: no p is below .05."
    assert "no p is below" not in " ".join(conclude(comparison(n=6), [SAME], names=NAMES))
