"""The commands of `hcvae`, one a file."""
