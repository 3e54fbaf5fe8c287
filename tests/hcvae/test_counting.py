"""Numbers with their nouns."""

import pytest

from hcvae.counting import counted

CASES = [(0, "0 rows"), (1, "1 row"), (1.0, "1 row"), (2, "2 rows"), (0.5, "0.5 rows"), (9999, "9999 rows")]


@pytest.mark.parametrize(("number", "text"), [*CASES, (10_000, "10,000 rows")])
def test_only_one_is_singular(number, text):
    assert counted(number, "row") == text
