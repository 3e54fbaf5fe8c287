import numpy as np
import pytest
import torch

from hcvae.data.table import signals_of
from hcvae.explore.directions import change_uv, leading_directions, prior_means
from hcvae.generation import complete_condition, decode, generate


def test_directions_of_a_linear_model_are_the_principal_components_of_what_the_prior_draws(linear):
    """For a linear decoder the waveforms of z = m + F e have the covariance (F'W)'(F'W): its eigenvalues are known."""
    model, scale = linear.model, linear.preprocessing.signal.groups[""]
    weights = (model.deviations[:, None] * model.directions).double().numpy() * scale.std_uv
    condition = complete_condition(linear, {})
    for block, rows in {"global": slice(0, 3), "local": slice(3, 8)}.items():
        drawn = model.prior(block).factor.double().numpy().T @ weights[rows]
        eigenvalues = np.linalg.eigvalsh(drawn.T @ drawn)[::-1]
        found = leading_directions(linear, block, condition, 4)
        assert len(found) == min(4, model.latent_dims[block])
        expected = np.sqrt(eigenvalues[: len(found)] / 200)
        assert change_uv(linear, block, condition, found) == pytest.approx(expected, rel=1e-3)


def test_a_step_of_1_is_one_standard_deviation_of_the_prior_and_directions_are_independent(explorer):
    found = explorer.directions("")
    assert set(found) == {"global", "local"}
    for block, directions in found.items():
        factor = explorer.bundle.model.prior(block).factor
        whitened = torch.linalg.solve(factor, directions.T).numpy()  # of N(0, 1) where z is of the prior
        assert whitened.T @ whitened == pytest.approx(np.eye(whitened.shape[1]), abs=1e-4)


def test_a_direction_points_to_where_the_waveform_grows(explorer):
    bundle = explorer.bundle
    condition = complete_condition(bundle, {})
    means = prior_means(bundle, condition)
    for block, directions in explorer.directions("").items():
        assert len(directions)
        for vector in directions:
            down, typical, up = (
                signals_of(decode(bundle, [condition], means | {block: means[block] + step * vector}))[0]
                for step in (-1, 0, 1)
            )
            assert (up - down) @ (typical - typical.mean()) >= 0


def test_the_prior_s_mean_is_what_temperature_0_draws(explorer):
    condition = complete_condition(explorer.bundle, {"stimulus_level_db": 55.0})
    shown = decode(explorer.bundle, [condition], prior_means(explorer.bundle, condition))
    drawn = generate(explorer.bundle, [condition], 1, temperature=0)
    assert signals_of(shown) == pytest.approx(signals_of(drawn), abs=1e-6)
