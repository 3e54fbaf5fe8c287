"""The search space of the recorded benchmarks, which was the default when they were made."""

from typing import Any

RECORDED_SPACE: dict[str, Any] = {
    "model.global_latent_dim": {"type": "int", "low": 16, "high": 64},
    "model.local_latent_dim": {"type": "int", "low": 32, "high": 128},
    "model.early_signal_ratio": {"type": "float", "low": 0.1, "high": 0.6},
    "training.loss_weights.global_kl": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "training.loss_weights.local_kl": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "training.loss_weights.swap": {"type": "float", "low": 1e-2, "high": 10, "log": True},
}
"""Six parameters, without conditions: the latent dimensions, the early ratio, the KL weights and the swap weight."""
