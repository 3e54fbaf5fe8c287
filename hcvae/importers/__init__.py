"""Readers of the files of recording devices and programs, for `hcvae import`."""
