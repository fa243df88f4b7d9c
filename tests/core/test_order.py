import itertools
import random
import re

from tersely.core.order import natural


def by_parts(name):
    """Texts and numbers in turn, as tuples compare them."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)], name


def test_names_are_in_the_order_of_their_texts_and_numbers():
    draw = random.Random(0)
    alphabet = ["a", "b", "/", "0", "1", "2", "10", "007", "\0", "\1", " ", "é", "\U0001f600"]
    names = ["".join(draw.choices(alphabet, k=draw.randint(0, 6))) for _ in range(400)]
    names += ["q2", "q10", "q02", "q", "q" + "9" * 40, "q" + "1" * 41]
    for one, other in itertools.combinations(names, 2):
        assert (natural(one) < natural(other)) == (by_parts(one) < by_parts(other)), (one, other)
