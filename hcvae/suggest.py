"""Help for a misspelt name."""

import difflib
from collections.abc import Sequence


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The end of an error message: the nearest of the `known` names, or all of them where they are few.

    Names of which `word` is a part or the beginning, such as level of stimulus_level_db, come before those that are
    spelt alike.
    """
    longer = [name for name in known if len(word) > 3 and name.startswith(word)]
    if parts := list(dict.fromkeys([*longer, *(name for name in known if word.lower() in name.split("_"))])):
        return f"; did you mean {' or '.join(map(repr, parts[:3]))}?"
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(known)}" if len(known) <= 12 else ""
