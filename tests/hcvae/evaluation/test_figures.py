import numpy as np
import pytest

from hcvae.evaluation.figures import Illustrator


@pytest.fixture(scope="module")
def illustrator(trained_bundle, test_rows) -> Illustrator:
    return Illustrator(trained_bundle, test_rows)


@pytest.fixture(scope="module")
def figures(illustrator):
    return dict(illustrator.figures())


def lines(axis):
    return [line.get_ydata() for line in axis.get_lines() if len(line.get_ydata()) == 200]


def test_every_figure_is_drawn_of_this_model(figures):
    names = "reconstructions swap_grid fixed_global fixed_local interpolation level_series latent_use"
    assert list(figures) == names.split()


def test_reconstructions_show_the_recordings_in_uv(figures, test_rows):
    recorded, _ = lines(figures["reconstructions"].axes[0])
    assert np.abs(test_rows.recorded.signals_uv - recorded).max(axis=1).min() < 1e-6


def test_the_first_of_the_interpolation_is_the_first_of_the_swap_grid(figures):
    # both are z_global and z_local of one row under its own condition
    (unexchanged,) = lines(figures["swap_grid"].axes[0])
    first = lines(figures["interpolation"].axes[0])[0]
    np.testing.assert_allclose(first - first.mean(), unexchanged - unexchanged.mean(), atol=1e-5)


def test_families_share_one_latent(illustrator):
    figure = illustrator.families("global", "local")
    assert [len(lines(axis)) for axis in figure.axes] == [12] * 4


def test_a_level_series_has_every_level_of_the_rows(illustrator, test_rows):
    levels = np.unique(test_rows.recorded.numbers("stimulus_level_db"))
    assert len(lines(illustrator.level_series().axes[0])) == len(levels)
