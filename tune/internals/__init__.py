"""All uses of private names of Ray and Optuna: one module for each library, and none elsewhere.

Each module names the version that it is written for, and refuses other versions when it is imported.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from hcvae.errors import UserError


def require(package: str, series: str) -> None:
    """Check that the installed `package` is of the version `series`, such as 2.60.

    Raises:
        UserError: it is another version.
    """
    found = version(package)
    if not f"{found}.".startswith(f"{series}."):
        raise UserError(
            f"{package}: must be version {series}, whose internals the search relies on, but got {found}; "
            f"pip install '{package}=={series}.*'"
        )


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Set an attribute of `owner`, and restore it at the end."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
