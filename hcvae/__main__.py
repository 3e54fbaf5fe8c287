"""`python -m hcvae` is the same as the command `hcvae`."""

from hcvae.cli import main

if __name__ == "__main__":
    main()
