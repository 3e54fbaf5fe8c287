"""Numbers with their nouns, shortened lists, and names that occur more than once."""

import pytest

from hcvae.counting import counted, first_of, repeated

CASES = [(0, "0 rows"), (1, "1 row"), (1.0, "1 row"), (2, "2 rows"), (0.5, "0.5 rows"), (9999, "9999 rows")]


@pytest.mark.parametrize(("number", "text"), [*CASES, (10_000, "10,000 rows")])
def test_only_one_is_singular(number, text):
    assert counted(number, "row") == text


@pytest.mark.parametrize(("number", "text"), [(1, "a, ..."), (2, "a, b, ..."), (3, "a, b, c"), (4, "a, b, c")])
def test_an_ellipsis_stands_for_the_texts_beyond_the_first(number, text):
    assert first_of(["a", "b", "c"], number) == text


def test_no_texts():
    assert first_of([], 2) == ""


def test_names_that_occur_more_than_once_are_in_their_order():
    assert repeated(iter("abcabbd")) == ["a", "b"]
    assert repeated([]) == []
