"""Suggestions for misspelt names."""

from hcvae.suggest import did_you_mean

KNOWN = ["event", "level_reference", "stimulus_level_db", "stimulus_rate_hz"]


def test_a_part_of_a_name_comes_before_names_that_are_spelt_alike():
    assert did_you_mean("level", KNOWN) == "; did you mean 'level_reference' or 'stimulus_level_db'?"
    assert did_you_mean("stimulus_rate", KNOWN) == "; did you mean 'stimulus_rate_hz'?"
    assert did_you_mean("evnt", KNOWN) == "; did you mean 'event'?"
