"""Errors that a user can mend."""

USER_ERROR = 2
"""Exit code of a program that ends with one."""


class UserError(ValueError):
    """Bad input. The message says what is wrong, where, the value, and what would be right; exit code 2."""


class PackageMissing(UserError):
    """A package of an extra of hcvae is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the package {package}, which is not installed; run `pip install --editable '.[{extra}]'` in "
            "the checkout of hcvae"
        )


class NotMeasurable(UserError):
    """The data are too few, or too noisy, for a measure; the message says for which, and what it needs."""


class StorageError(UserError):
    """What must be kept cannot be written: a full disk, a database that does not answer. Nothing is wrong with what was
    being done, and the same command goes on with it once it can be written again."""
