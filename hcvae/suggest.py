"""Suggestions for misspelt names."""

import difflib
from collections.abc import Sequence

MAX_SUGGESTED = 3
MAX_LISTED = 12


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return the end of an error message: the names most like `word`, or all `known` names if they are few.

    Names that contain `word` as a part or prefix, as stimulus_level_db contains level, come before similar spellings.
    """
    related: list[str] = []
    if len(word) > 3:
        related += [name for name in known if name.startswith(word)]
    related += [name for name in known if word.lower() in name.split("_")]
    candidates = list(dict.fromkeys(related))[:MAX_SUGGESTED]
    if not candidates:
        candidates = difflib.get_close_matches(word, known, n=1)
    if candidates:
        return f"; did you mean {' or '.join(map(repr, candidates))}?"
    if 0 < len(known) <= MAX_LISTED:
        return f"; must be one of {', '.join(known)}"
    return ""
