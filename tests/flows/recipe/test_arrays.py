"""What arrays are refused, and that a sentence says why."""

import numpy as np
import pytest

import tersely
from tersely.core.errors import ConfigError, DataError


def pay(**given):
    return tersely.reward("kimi", **{"correct": [1, 1], "tokens": [10, 20], **given})


@pytest.mark.parametrize("tokens", [[10, 1e20], [10, 2.0**53 + 2], np.uint64([10, 2**64 - 1])])
def test_lengths_that_a_float_cannot_count_are_refused(tokens):
    # Cast to 64 bits, 1e20 becomes a negative length, which is below any target.
    with pytest.raises(DataError, match=r"at most 2\*\*53"):
        pay(tokens=tokens)
    assert pay(tokens=[10, 2**53]).shape == (2,)


def hide_last(values):
    return np.ma.masked_array(values, mask=[False, True])


def test_masked_values_are_refused_wherever_they_stand():
    for name, values in (
        ("correct", hide_last([1, 0])),
        ("tokens", hide_last([10, 99])),
        ("finished", hide_last([1, 1])),
        ("groups", hide_last([1, 2])),
        ("correct", [1, np.ma.masked]),
        ("target_tokens", np.ma.masked),
    ):
        with pytest.raises(DataError, match=f"{name} has masked values"):
            pay(**{name: values})
    for name in ("tokens", "correct"):
        rows = {"correct": [[1, 0]], "tokens": [[3, 4]]}
        with pytest.raises(DataError, match=f"{name} has masked values"):
            tersely.reward("kimi", **rows | {name: [hide_last(rows[name][0])]})
    with pytest.raises(DataError, match="rewards has masked values"):
        tersely.advantage("group_centred", rewards=hide_last([1.0, 0.0]))


def test_an_array_with_a_mask_that_hides_nothing_is_an_array():
    np.testing.assert_array_equal(pay(tokens=np.ma.masked_array([10, 20])), pay())


def test_a_target_above_the_cap_is_refused_for_any_group():
    with pytest.raises(ConfigError, match="target_tokens = 50 is above cap_tokens = 40"):
        pay(target_tokens=50, cap_tokens=40)
    with pytest.raises(ConfigError, match="target_tokens = 50 is above cap_tokens = 40"):
        pay(groups=["a", "b"], target_tokens=[30, 50], cap_tokens=[40, 40])
    assert pay(target_tokens=40, cap_tokens=40).shape == (2,)


def test_a_parameter_is_given_once():
    with pytest.raises(ConfigError, match=r"alpha is given twice, as 0\.4 and in settings as 0\.1"):
        pay(alpha=0.4, settings={"alpha": 0.1})
    np.testing.assert_array_equal(pay(alpha=0.4), pay(settings={"alpha": 0.4}))
