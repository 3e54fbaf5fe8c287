"""Metrics of models: `hcvae.metrics.reconstruction`, `.disentanglement` and `.generation`."""
