"""What a model is judged by: `hcvae.metrics.reconstruction` and `hcvae.metrics.disentanglement`."""
