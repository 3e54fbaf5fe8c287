"""The Optuna study, its folder and its database: the one source of truth about the trials of a search."""
