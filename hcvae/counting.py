"""Counting, for checks and messages: numbers with their nouns, and names that occur more than once."""

from collections import Counter
from collections.abc import Iterable, Sequence


def counted(number: float, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, in the plural unless the number is 1, with commas from 10,000 on.

    The plural ends in "s" unless given.

    >>> counted(1, "subject"), counted(2, "subject"), counted(0.5, "GPU"), counted(12000, "waveform")
    ('1 subject', '2 subjects', '0.5 GPUs', '12,000 waveforms')
    """
    if number == 1:
        return f"1 {noun}"
    if not isinstance(number, int):
        shown = f"{number:g}"
    elif number < 10_000:
        shown = str(number)
    else:
        shown = f"{number:,}"
    return f"{shown} {plural or noun + 's'}"


def first_of(texts: Sequence[str], number: int) -> str:
    """Return at most `number` of the texts with commas between them, and an ellipsis if there are more.

    >>> first_of(["Cz", "Fz", "A1"], 2), first_of(["Cz"], 2)
    ('Cz, Fz, ...', 'Cz')
    """
    if len(texts) > number:
        return ", ".join([*texts[:number], "..."])
    return ", ".join(texts)


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, in the order of their first occurrences.

    >>> repeated(["age", "ear", "sex", "ear", "age", "ear"])
    ['age', 'ear']
    """
    return [name for name, times in Counter(names).items() if times > 1]
