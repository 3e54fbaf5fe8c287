"""The commands of `hcvae`, one module each; `hcvae.command_table` lists them."""
