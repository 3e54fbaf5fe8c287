"""Multi-objective hyperparameter search: an Optuna study, trials run by Ray Tune, trainings by `hcvae.training`."""

import os

# Read when Ray is imported. Ray's handler of SIGTERM prints a stack dump, and removes ours at its end (Ray 2.60).
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
