"""Multi-objective hyperparameter search: an Optuna study driven by Ray Tune, trainings by `hcvae.training`."""
