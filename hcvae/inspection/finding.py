"""What looks wrong, in words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong, with the numbers that show it and what to do."""

    trouble: str
    """In a few words."""
    evidence: str
    """Numbers, rows, subjects."""
    remedy: str
    """What to do about it."""
