"""What every other test relies on: arguments and results are checked as they are annotated."""

import numpy as np
import pytest

from tersely.algo.ragged import Ragged
from tersely.core import lookup


def test_a_value_of_another_type_is_refused():
    with pytest.raises(Exception, match="violates type hint"):
        lookup.names(3)


def test_axes_that_do_not_fit_are_refused():
    ragged = Ragged(np.array([1, 2]))
    with pytest.raises(Exception, match="Type-check error"):
        ragged.sums(np.zeros((3, 1)))
