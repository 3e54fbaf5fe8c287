import numpy as np
import torch

from hcvae.models.condition_mean import ConditionMean


def test_it_is_the_mean_at_each_level():
    random = np.random.default_rng(0)
    level = np.repeat([-1.5, -0.5, 0.5, 1.5], 500)
    means = np.outer(level**2, np.sin(np.arange(30) / 5))
    signals = torch.from_numpy(means + random.normal(scale=0.3, size=means.shape)).float()
    static = torch.from_numpy(level[:, None]).float()
    predicted = ConditionMean(30, 1).fit(signals, static)(static)
    for at in np.unique(level):
        rows = level == at
        np.testing.assert_allclose(predicted[rows][0], signals[rows].mean(dim=0), atol=0.01)


def test_band_limited_waveforms_are_no_obstacle():
    static = torch.linspace(-1, 1, 300)[:, None]
    signals = static * torch.ones(50)
    np.testing.assert_allclose(ConditionMean(50, 1).fit(signals, static)(static), signals, atol=0.03)
