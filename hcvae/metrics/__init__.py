"""What a model is judged by: `hcvae.metrics.reconstruction`, `.disentanglement` and `.generation`."""
