"""Loss scales that are learned with the model: likelihoods in place of hand-picked weights."""

from typing import Literal

import torch
from torch import Tensor, nn

Learned = Literal["none", "reconstruction", "all"]

GAUSSIAN, LAPLACE = "gaussian", "laplace"
LIKELIHOODS: dict[Learned, dict[str, str]] = {
    "none": {},
    "reconstruction": {"reconstruction": GAUSSIAN},
    "all": {"reconstruction": GAUSSIAN, "static": GAUSSIAN, "peak": LAPLACE},
}
"""What each setting of `training.learned_scales` makes of a component."""


class LearnedScales(nn.Module):
    """The scale of each component's likelihood, a parameter; it starts at 1, the scale of normalised waveforms.

    A mean squared error m becomes the negative log-likelihood of a Gaussian a value, m / (2 s^2) + ln s, and a mean
    absolute error that of a Laplace distribution, m / s + ln s. At its optimum s^2 (or s) is the error itself, so a
    component's influence no longer depends on its unit. Kendall et al. 2018, "Multi-Task Learning Using Uncertainty to
    Weigh Losses", CVPR; Rybkin et al. 2021, "Simple and Effective VAE Training with Calibrated Decoders", ICML.
    """

    def __init__(self, learned: Learned) -> None:
        super().__init__()
        self.likelihoods = LIKELIHOODS[learned]
        self.log_scales = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in self.likelihoods})

    def forward(self, name: str, error: Tensor) -> Tensor:
        """The negative log-likelihood a value, without constants, of a component's mean error; or the error itself."""
        if name not in self.likelihoods:
            return error
        log_scale: Tensor = self.log_scales[name]
        if self.likelihoods[name] == GAUSSIAN:
            return 0.5 * error * torch.exp(-2 * log_scale) + log_scale
        return error * torch.exp(-log_scale) + log_scale
