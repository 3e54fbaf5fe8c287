"""Help for a misspelt name."""

import difflib
from collections.abc import Sequence


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The end of an error message: the nearest of the `known` names, or all of them where they are few."""
    longer = [name for name in known if len(word) > 3 and name.startswith(word)]
    close = longer or difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(known)}" if len(known) <= 12 else ""
