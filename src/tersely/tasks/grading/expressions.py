"""Whether two expressions of sympy are equal: by their values, at points that never change.

Two exact expressions are equal if their values agree to 30 of 50 digits at every point at which
both are real (at every point, where they are nowhere both real). What is written with decimals is
compared as ``close`` says. Nothing is simplified, so the verdict hangs on no order of rewriting.
An expression that holds an infinity or no number is equal to none but a lone infinity to itself.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

DIGITS = 50
_AGREE = 30
# Two values of exact whole numbers up to so many digits are compared as they are.
_MOST_DIGITS = 5000
# Numerators of the points' coordinates over 23: both signs, near to one and far from it.
_POINTS = ((31, 7), (12, 5), (-17, -11), (-41, 19), (83, -29), (5, 3))
_RELATIVE = 1e-6


def close(one: Fraction, other: Fraction) -> bool:
    """Whether two numbers, one of them a decimal, agree to six places; below 0.1, to as many
    digits in relation to the larger."""
    largest = max(abs(one), abs(other))
    bound = Fraction(1, 2_000_000) * min(Fraction(1), 10 * largest)
    return abs(one - other) <= bound


def same(gold: Any, given: Any, *, times: Fraction = Fraction(1)) -> bool:
    """Whether ``given * times`` equals ``gold``: expressions, matrices, sets or relations."""
    from sympy import Expr, MatrixBase, Set
    from sympy.core.relational import Relational
    from sympy.logic.boolalg import Boolean

    if isinstance(gold, MatrixBase) or isinstance(given, MatrixBase):
        return _same_matrix(gold, given)
    if isinstance(gold, Expr) and isinstance(given, Expr):
        return _same_expression(gold, _times(given, times))
    sets = [_as_set(value) for value in (gold, given)]
    if isinstance(gold, Set) or isinstance(given, Set):
        return sets[0] is not None and sets[1] is not None and _same_set(*sets)
    if isinstance(gold, Boolean | Relational) and isinstance(given, Boolean | Relational):
        if _same_relations(_parts(gold), _parts(given)):
            return True
        return None not in sets and _same_set(*sets)
    return False


def _times(expression: Any, times: Fraction) -> Any:
    from sympy import Rational

    return expression if times == 1 else expression * Rational(times.numerator, times.denominator)


def _same_matrix(gold: Any, given: Any) -> bool:
    if getattr(gold, "shape", 0) != getattr(given, "shape", 1):
        return False
    return all(same(a, b) for a, b in zip(gold.flat(), given.flat(), strict=True))


def is_finite(expression: Any) -> bool:
    """Whether neither an infinity nor what is no number stands in the expression."""
    from sympy import nan, oo, zoo

    return not expression.has(oo, -oo, zoo, nan)


def _same_expression(gold: Any, given: Any) -> bool:
    from sympy import Float, oo

    if not (is_finite(gold) and is_finite(given)):
        return any(gold == end and given == end for end in (oo, -oo))
    if gold == given:
        return True
    gold, given = _plain(gold), _plain(given)
    symbols = sorted(gold.free_symbols | given.free_symbols, key=str)
    inexact = bool(gold.has(Float) or given.has(Float))
    if not symbols:
        return _same_value(gold, given, inexact=inexact)
    real, other = [], []
    for point in _points(symbols):
        one, two = _value(gold, point), _value(given, point)
        if one is None or two is None:
            continue
        agree = _agree(one, two, inexact=inexact)
        if not (one.is_real and two.is_real):
            other.append(agree)
        elif agree:
            real.append(True)
        else:
            return False
    compared = real or other
    return len(compared) > 1 and all(compared)


def _plain(expression: Any) -> Any:
    """Functions that are only named are symbols; what is to be worked out is."""
    from sympy import Derivative, Integral, Limit, Product, Sum, Symbol
    from sympy.core.function import AppliedUndef

    named = {call: Symbol(str(call), real=True) for call in expression.atoms(AppliedUndef)}
    expression = expression.xreplace(named)
    if expression.has(Derivative, Integral, Limit, Product, Sum):
        expression = expression.doit()
    return expression


def _points(symbols: Sequence[Any]) -> list[dict[Any, Any]]:
    from sympy import Rational

    return [
        {symbol: Rational(start + step * n, 23) for n, symbol in enumerate(symbols)}
        for start, step in _POINTS
    ]


def _value(expression: Any, point: dict[Any, Any]) -> Any:
    """The number there, with as many digits as can be had; None if it has none."""
    value = expression.xreplace(point).evalf(DIGITS)
    if not (value.is_number and value.is_finite and is_finite(value)):
        return None
    # A remainder or a function may be left as it was written.
    return value if all(part.is_Number for part in value.as_real_imag()) else None


def _same_value(gold: Any, given: Any, *, inexact: bool) -> bool:
    values = _value(gold, {}), _value(given, {})
    if values[0] is None or values[1] is None:
        return False
    if inexact and values[0].is_real and values[1].is_real:
        fractions = [_fraction(value) for value in values]
        return close(fractions[0], fractions[1])
    if not _agree(*values, inexact=inexact):
        return False
    # Whole numbers of more digits than were worked out.
    if gold.is_rational and given.is_rational and 1 < abs(values[0]) < 10**_MOST_DIGITS:
        return bool(gold.doit() == given.doit())
    return True


def _fraction(value: Any) -> Fraction:
    from sympy import Rational

    exact = Rational(value)
    return Fraction(int(exact.p), int(exact.q))


def _agree(one: Any, other: Any, *, inexact: bool) -> bool:
    if _is_zero(one) or _is_zero(other):
        return _is_zero(one) and _is_zero(other)
    bound = _RELATIVE if inexact else 10.0**-_AGREE
    apart = abs(one - other).evalf(15)
    return bool(apart <= bound * max(abs(one).evalf(15), abs(other).evalf(15)))


def _is_zero(value: Any) -> bool:
    """Zero, or what is left of terms that cancel: a number without a digit that is sure."""
    return all(part == 0 or getattr(part, "_prec", 99) < 8 for part in value.as_real_imag())


def _as_set(value: Any) -> Any:
    from sympy import Set
    from sympy.core.relational import Eq, Relational
    from sympy.logic.boolalg import Boolean

    if isinstance(value, Set):
        return value
    if isinstance(value, Boolean | Relational) and len(value.free_symbols) == 1:
        if any(isinstance(part, Eq) for part in _parts(value)):
            return None
        try:
            return value.as_set()
        except (NotImplementedError, ValueError, TypeError, AttributeError):
            return None
    return None


def _same_set(gold: Any, given: Any) -> bool:
    from sympy import EmptySet, FiniteSet, Interval, Union

    if gold == given:
        return True
    if isinstance(gold, Interval) and isinstance(given, Interval):
        opened = (gold.left_open, gold.right_open) == (given.left_open, given.right_open)
        return opened and same(gold.start, given.start) and same(gold.end, given.end)
    if isinstance(gold, FiniteSet) and isinstance(given, FiniteSet):
        return len(gold) == len(given) and _matched(gold.args, given.args, same)
    if isinstance(gold, Union) and isinstance(given, Union) and len(gold.args) == len(given.args):
        return _matched(gold.args, given.args, _same_set)
    try:
        return bool(gold.symmetric_difference(given) == EmptySet)
    except (NotImplementedError, ValueError, TypeError, AttributeError):
        return False


def _matched(gold: Sequence[Any], given: Sequence[Any], equal: Any) -> bool:
    left = list(given)
    for item in gold:
        found = next((n for n, other in enumerate(left) if equal(item, other)), None)
        if found is None:
            return False
        del left[found]
    return not left


def _parts(relation: Any) -> list[Any]:
    """The simple relations of a chain, as written: ``1 < x < 3`` is two."""
    from sympy.core.relational import Relational

    if isinstance(relation, Relational):
        return [relation]
    arguments = getattr(relation, "_unsorted_args", relation.args)
    return [part for argument in arguments for part in _parts(argument)] if arguments else []


def _same_relations(gold: Sequence[Any], given: Sequence[Any]) -> bool:
    return bool(gold) and len(gold) == len(given) and _matched(gold, given, _same_relation)


def _same_relation(gold: Any, given: Any) -> bool:
    """Both sides of one by the same number, of its own sign for an inequality, are the other's."""
    from sympy import Ge, Gt, Le, Lt, fraction, together

    turned = {Gt: Lt, Ge: Le}
    kinds, sides = [], []
    for relation in (gold, given):
        side = relation.lhs - relation.rhs
        if type(relation) in turned:
            side = -side
        kinds.append(turned.get(type(relation), type(relation)))
        sides.append(side)
    if kinds[0] is not kinds[1] or not all(map(is_finite, sides)):
        return False
    ordered = kinds[0] in (Lt, Le)
    if not ordered:
        sides = [fraction(together(side))[0] for side in sides]
    factor = _factor(*map(_plain, sides))
    return factor is not None and (not ordered or bool(factor > 0))


def _factor(gold: Any, given: Any) -> Any:
    """The one number that ``given`` is times ``gold`` at all points; None if there is none."""
    from sympy import Float

    symbols = sorted(gold.free_symbols | given.free_symbols, key=str)
    if not symbols:
        return None
    inexact = bool(gold.has(Float) or given.has(Float))
    pairs = [(_value(gold, point), _value(given, point)) for point in _points(symbols)]
    factors = [
        b / a for a, b in pairs if a is not None and b is not None and not _is_zero(a) and b.is_real
    ]
    if len(factors) < 3 or not factors[0].is_real or _is_zero(factors[0]):
        return None
    equal = all(_agree(factors[0], factor, inexact=inexact) for factor in factors[1:])
    return factors[0] if equal else None
