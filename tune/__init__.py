"""Multi-objective hyperparameter search: an Optuna study driven by Ray Tune, trainings by `hcvae.training`."""

import os

# Ray reads it when it is imported. Its handler prints a stack dump at SIGTERM, and its end removes ours (Ray 2.60).
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
