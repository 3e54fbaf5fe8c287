"""Entries of the search space: which values they allow, and in which words a message names them."""

from collections.abc import Sequence

from tune.config import Choice, FloatRange, Unconditional

ParameterValue = bool | int | float | str


def bounds(entry: Unconditional) -> tuple[ParameterValue, ...]:
    """Return the two ends of a range, or all choices."""
    if isinstance(entry, Choice):
        return entry.choices
    return (entry.low, entry.high)


def every_value(entry: Unconditional) -> Sequence[ParameterValue]:
    """Return all values of choices and ranges of whole numbers; of a range of real numbers its lower end."""
    if isinstance(entry, Choice):
        return entry.choices
    if isinstance(entry, FloatRange):
        return [entry.low]
    return range(entry.low, entry.high + 1)


def holds(entry: Unconditional, value: object) -> bool:
    """Return whether the entry allows `value`, and has its type."""
    if isinstance(entry, Choice):
        return any(value == choice and type(value) is type(choice) for choice in entry.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, float) and not isinstance(entry, FloatRange):
        return False
    return entry.low <= value <= entry.high


def described(entry: Unconditional) -> str:
    """Return the values that the entry allows, for a message."""
    if isinstance(entry, Choice):
        return str(list(entry.choices))
    return f"[{entry.low}, {entry.high}]"


def kind(entry: Unconditional) -> str:
    """Return the type that a value must have, as the end of a message; nothing for real numbers."""
    if isinstance(entry, FloatRange):
        return ""
    if isinstance(entry, Choice):
        return "; its type must be that of a choice"
    return "; it must be a whole number"


def short(value: object, digits: int) -> str:
    """Return a value for people: a real number with so many significant digits, anything else as it is."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value)
