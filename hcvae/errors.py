"""Errors that a user can mend."""


class UserError(ValueError):
    """Bad input. The message says what is wrong, where, the value, and what would be right; exit code 2."""
