"""Errors that a user can correct."""

USER_ERROR = 2
"""Exit code of a program that ends with a `UserError`."""


class UserError(ValueError):
    """Bad input; exit code 2. The message names the place, what is wrong, the value, and what would be right."""


class PackageMissing(UserError):
    """An optional dependency of hcvae is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the package {package}, which is not installed; run `pip install --editable '.[{extra}]'` in "
            "the checkout of hcvae"
        )


class NotMeasurable(UserError):
    """The data are too few or too noisy for a metric; the message names the metric and what it needs."""


class StorageError(UserError):
    """Results cannot be written, for example because the disk is full or the database does not answer. The same command
    continues once they can be."""
