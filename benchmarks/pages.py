"""Tables of the docs: each lies between two markers of its page, and its benchmark replaces it."""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from rich.console import Console

from hcvae.terminal import print_line

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def replace_table(text: str, name: str, table: str) -> str:
    """Return `text` with `table` between the markers of `name`, if it has them."""
    pattern = re.compile(rf"(<!-- table: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def publish(page: str, name: str, lines: Sequence[str]) -> None:
    """Replace a table on a page of the docs and print it."""
    path = DOCS / page
    table = "\n".join(lines)
    path.write_text(replace_table(path.read_text(), name, table))
    print_line(Console(), table)


def spread(values: Sequence[float]) -> str:
    """Format mean and, of several values, standard deviation; three digits, or whole numbers."""
    if not values:
        return "-"
    deviation = f" ± {_digits(stdev(values), 2)}" if len(values) > 1 else ""
    return f"{_digits(mean(values), 3)}{deviation}"


def _digits(value: float, count: int) -> str:
    return f"{value:.{count}g}" if abs(value) < 10 ** (count - 1) else f"{value:,.0f}"
