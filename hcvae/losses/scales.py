"""Loss scales that are learned with the model, which replace hand-picked weights by likelihoods."""

from typing import Literal

import torch
from torch import Tensor, nn

Learned = Literal["none", "reconstruction", "all"]

GAUSSIAN = "gaussian"
LAPLACE = "laplace"
LIKELIHOODS: dict[Learned, dict[str, str]] = {
    "none": {},
    "reconstruction": {"reconstruction": GAUSSIAN},
    "all": {"reconstruction": GAUSSIAN, "static": GAUSSIAN, "peak": LAPLACE},
}
"""The likelihood of each component under each setting of `training.learned_scales`."""


class LearnedScales(nn.Module):
    """The learned scale s of each component's likelihood; it starts at 1, the scale of normalised waveforms.

    A mean squared error m becomes the Gaussian negative log-likelihood per value, m / (2 s^2) + ln s, and a mean
    absolute error that of a Laplace distribution, m / s + ln s. At the optimum s^2 (or s) is the error itself, so the
    influence of a component does not depend on its unit. Kendall et al. 2018, "Multi-Task Learning Using Uncertainty to
    Weigh Losses", CVPR; Rybkin et al. 2021, "Simple and Effective VAE Training with Calibrated Decoders", ICML.
    """

    def __init__(self, learned: Learned) -> None:
        super().__init__()
        self.likelihoods = LIKELIHOODS[learned]
        self.log_scales = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in self.likelihoods})

    def forward(self, name: str, error: Tensor) -> Tensor:
        """Return the negative log-likelihood per value of a mean error, without constants; or the error if unscaled."""
        if name not in self.likelihoods:
            return error
        log_scale: Tensor = self.log_scales[name]
        if self.likelihoods[name] == GAUSSIAN:
            return 0.5 * error * torch.exp(-2 * log_scale) + log_scale
        return error * torch.exp(-log_scale) + log_scale
