"""Suggestions for misspelt names."""

from hcvae.suggest import did_you_mean

KNOWN = ["event", "level_reference", "stimulus_level_db", "stimulus_rate_hz"]


def test_names_that_contain_the_word_come_before_similar_spellings():
    assert did_you_mean("level", KNOWN) == "; did you mean 'level_reference' or 'stimulus_level_db'?"
    assert did_you_mean("stimulus_rate", KNOWN) == "; did you mean 'stimulus_rate_hz'?"
    assert did_you_mean("evnt", KNOWN) == "; did you mean 'event'?"
