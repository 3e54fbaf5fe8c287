"""What the command lines of this folder share."""

import argparse
from collections.abc import Sequence

CONFIG_HELP = "JSON configuration file; options on the command line override its keys."


def given(arguments: Sequence[str], option: str) -> str | None:
    """The value of an option that must be known before the others can be read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(option, dest="value")
    try:
        value: str | None = parser.parse_known_args(arguments)[0].value
    except argparse.ArgumentError:
        return None  # the reader of all options says what is wrong with this one
    return value
