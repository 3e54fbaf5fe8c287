"""Command lines from pydantic models: every field is an option, bad input is one message and exit code 2."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, CliApp, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from hcvae.errors import USER_ERROR, UserError
from hcvae.interruption import end_interrupted, interruptible
from hcvae.suggest import did_you_mean
from hcvae.validation import explain, kinds_of

NUMBER = re.compile(r"\d+(\.\d+)?")
OPTION_WITH_NUMBERS = re.compile(r"(?:^| )--([\w.-]+)[ =][\d.,]+$")


class Command(BaseSettings):
    """A command line: its fields are the options, its docstring the help. Reads nothing from the environment."""

    model_config = SettingsConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        cli_parse_none_str="null",
        cli_implicit_flags=True,
        cli_exit_on_error=False,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: the configuration file, and before it the command line."""
        return (init_settings,)


AnyCommand = TypeVar("AnyCommand", bound=Command)


def parse(command: type[AnyCommand], arguments: Sequence[str], base: Mapping[str, Any] | None = None) -> AnyCommand:
    """Read `arguments` into `command`, over the values of `base`, such as those of a configuration file.

    Raises:
        UserError: an unknown option or key (with a suggestion), or a value that is not allowed.
    """
    try:
        return CliApp.run(command, cli_args=_joined(arguments, command), **base or {})
    except ValidationError as error:
        raise UserError(explain(error, command)) from error
    except SettingsError as error:
        raise UserError(_suggest_options(str(error), command)) from error


def read_json(path: str) -> dict[str, Any]:
    """The object in the JSON file `path`.

    Raises:
        UserError: no such file, or not JSON; the line is named.
    """
    try:
        content = json.loads(Path(path).read_text())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a JSON configuration file") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold a JSON object, but got {type(content).__name__}")
    return content


def main(program: Callable[[Sequence[str]], int]) -> int:
    """Run `program` on this process's arguments; a mistake of the user is a message and exit code 2, and Ctrl-C or
    SIGTERM one line and exit code 130."""
    try:
        with interruptible():
            return program(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return end_interrupted()


def _joined(arguments: Sequence[str], command: type[BaseModel]) -> list[str]:
    """Numbers after an option of several, as in `--block-sweeps 8 16 32`, joined by commas: they are no files."""
    options = {
        str(field.validation_alias or name) for name, field in command.model_fields.items() if _is_numbers(field)
    }
    joined: list[str] = []
    for argument in arguments:
        given = OPTION_WITH_NUMBERS.search(" ".join(joined[-2:]))
        if given and given[1] in options and NUMBER.fullmatch(argument):
            joined[-1] += f",{argument}"
        else:
            joined.append(argument)
    return joined


def _is_numbers(field: FieldInfo) -> bool:
    return re.search(r"(list|tuple)\[(int|float)", str(field.annotation)) is not None


def _options(model: type[BaseModel], prefix: str = "--") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + str(field.validation_alias or name)
        for kind in kinds_of(field.annotation):
            if issubclass(kind, BaseModel):
                yield from _options(kind, f"{prefix}{name}.")


def _suggest_options(message: str, command: type[BaseModel]) -> str:
    unknown = re.search(r"unrecognized arguments: (.*)", message)
    if unknown is None:
        return message
    option = unknown[1].split()[0].split("=")[0]
    return f"{option}: unknown option{did_you_mean(option, list(_options(command)))}"
