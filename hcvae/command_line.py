"""Command lines from pydantic models: each field is an option; bad input ends with one message and exit code 2."""

import argparse
import inspect
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

from pydantic import AliasGenerator, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from hcvae import __version__
from hcvae.command_table import COMMANDS
from hcvae.errors import USER_ERROR, UserError
from hcvae.interruption import end_interrupted, interruptible
from hcvae.suggest import did_you_mean
from hcvae.validation import explain

PIPE_CLOSED = 128 + signal.SIGPIPE
"""Exit code of a program that writes to a closed pipe, as shells report it."""
NUMBER = re.compile(r"\d+(\.\d+)?")
OPTION_WITH_NUMBERS = re.compile(r"(?:^| )--([\w.-]+)[ =][\d.,]+$")


PROGRAMS = {entry.module: f"hcvae {name}" for name, entry in COMMANDS.items()}
"""Commands as users type them, by module."""


def kebab_case(name: str) -> str:
    """Return the option of a field: `--dry-run` sets `dry_run`."""
    return name.replace("_", "-")


class Command(BaseSettings):
    """A command line: its fields are the options, its docstring is the help.

    The environment is not read. Options of a command are in kebab case; those of the configuration are dotted paths of
    its keys, such as `--training.batch_size`.
    """

    common: ClassVar[frozenset[str]] = frozenset()
    """Options that --help shows, if --help-all shows the others. Empty: --help shows all."""

    model_config = SettingsConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        cli_parse_none_str="null",
        cli_implicit_flags=True,
        cli_exit_on_error=False,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        alias_generator=AliasGenerator(validation_alias=kebab_case),
    )

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the command line, which is given to the constructor, and then `values_not_given`."""
        return init_settings, _ValuesNotGiven(settings_cls, {})

    @classmethod
    def values_not_given(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return values for options that the command line does not set, such as those of a configuration file.

        Args:
            given: the options that it sets, not validated yet.
        """
        return {}


class _ValuesNotGiven(InitSettingsSource):
    """The source of `Command.values_not_given`."""

    settings_cls: type[Command]

    def __call__(self) -> dict[str, Any]:
        return self.settings_cls.values_not_given(self.current_state)


AnyCommand = TypeVar("AnyCommand", bound=Command)


def parse(command: type[AnyCommand], arguments: Sequence[str]) -> AnyCommand:
    """Parse `arguments`.

    Raises:
        UserError: an unknown option or key (with a suggestion), or a value that is not allowed.
    """
    shows_all = "--help-all" in arguments or not command.common
    try:
        return CliApp.run(command, _join_numbers(arguments, command), _source(command, shows_all))
    except ValidationError as error:
        raise UserError(explain(error, command, arguments)) from error
    except SettingsError as error:
        option = re.sub(r"Parsing error encountered for (\S+):.*", r"--\1", str(error), flags=re.DOTALL)
        raise UserError(f"{option}: must be JSON in single quotes, such as '[1, 2]' or '{{\"key\": 1}}'") from error


def program_name(command: type[BaseSettings]) -> str:
    """Return the command as a user types it, such as `hcvae inspect` or `python -m jobs.search`."""
    module = command.__module__
    if module == "__main__":
        spec = sys.modules[module].__spec__
        if spec is not None:
            module = spec.name
    return PROGRAMS.get(module, f"python -m {module}")


def read_json(path: str) -> dict[str, Any]:
    """Read the object in the JSON file `path`.

    Raises:
        UserError: there is no such file, or it is not JSON; the message names the line.
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
    """Run `program` on this process's arguments and return the exit code.

    A `UserError` is printed and gives exit code 2; Ctrl-C and SIGTERM print one line and give exit code 130. If the
    reader of the output closes the pipe, as `head` does, the program ends with exit code 141 and without a message.
    """
    try:
        with interruptible():
            return _run_and_flush(program)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
        return PIPE_CLOSED
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return end_interrupted()


def _run_and_flush(program: Callable[[Sequence[str]], int]) -> int:
    try:
        return program(sys.argv[1:])
    finally:
        sys.stdout.flush()


def _join_numbers(arguments: Sequence[str], command: type[BaseModel]) -> list[str]:
    """Join the numbers after an option that takes several by commas, as in `--block-sweeps 8 16 32`."""
    options = _options_of(command, _takes_numbers)
    joined: list[str] = []
    for argument in arguments:
        given = OPTION_WITH_NUMBERS.search(" ".join(joined[-2:]))
        if given and given[1] in options and NUMBER.fullmatch(argument):
            joined[-1] += f",{argument}"
        else:
            joined.append(argument)
    return joined


def _options_of(command: type[BaseModel], is_wanted: Callable[[FieldInfo], bool]) -> set[Any]:
    """Return the options of the fields for which `is_wanted` holds."""
    return {field.validation_alias for field in command.model_fields.values() if is_wanted(field)}


def _takes_numbers(field: FieldInfo) -> bool:
    return re.search(r"(list|tuple)\[(int|float)", str(field.annotation)) is not None


class _Parser(argparse.ArgumentParser):
    """Parses the options of a command and raises errors as `UserError`.

    Unless `shows_all`, its help has only the common options, each with the first clause of its description.
    """

    def __init__(self, command: type[Command], shows_all: bool) -> None:
        super().__init__(
            program_name(command),
            description=inspect.getdoc(command),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.add_argument("-h", "--help", action="help", help="show this help")
        if command.common:
            self.add_argument("--help-all", action="help", help="show all options")
        self.add_argument("--version", action="version", version=f"hcvae {__version__}", help="show the version")
        self.usage = self.prog
        self._shows_all = shows_all
        self._common = command.common
        self._required = _options_of(command, FieldInfo.is_required)
        self._settings = self.add_argument_group("common settings of the configuration")

    def error(self, message: str) -> NoReturn:
        """Raise `message` as a `UserError`; suggest an option for an unknown one."""
        unknown = re.match(r"unrecognized arguments: ([^\s=]+)", message)
        if unknown and unknown[1].startswith("-"):
            options = [option for option in self._option_string_actions if option.startswith("--")]
            raise UserError(f"{unknown[1]}: unknown option{did_you_mean(unknown[1], options)}")
        message = message.removeprefix("argument ")
        if unknown:
            message = f"{unknown[1]}: unexpected argument"
        raise UserError(f"{message}; see `{self.prog} --help`")

    def add_option(self, context: argparse.ArgumentParser, *names: str, **settings: Any) -> None:
        """Add an option to `context`, the parser or a group of it, and to the usage if it is required."""
        option = names[0].removeprefix("--")
        settings["help"] = settings["help"].replace("(default: None)", "(default: null)")
        if settings.get("metavar") == "tuple[str,...]":
            settings["metavar"] = "A,B,..."
        if not names[0].startswith("-"):
            self.usage = f"{self.usage} {settings['metavar']}"
            if settings.get("nargs") == "+":
                self.usage += " ..."
        elif option in self._required:
            self.usage = f"{self.usage} --{option} {option.upper()}"
        elif not self._shows_all:
            if option.removeprefix("no-") in self._common:
                settings["help"] = _first_clause(settings["help"])
            else:
                settings["help"] = argparse.SUPPRESS
        context.add_argument(*names, **settings)

    def add_section(self, parser: argparse.ArgumentParser, **titles: Any) -> Any:
        """Return the group for the options of a section: its own, or in a short help one for all sections."""
        if self._shows_all:
            return parser.add_argument_group(**titles)
        return self._settings


def _source(command: type[Command], shows_all: bool) -> CliSettingsSource[_Parser]:
    """Return pydantic's reader of the command line, with our parser."""
    parser = _Parser(command, shows_all)
    source: CliSettingsSource[_Parser] = CliSettingsSource(
        command,
        root_parser=parser,
        add_argument_method=parser.add_option,
        add_argument_group_method=parser.add_section,
    )
    parser.usage = f"{parser.usage} [options]"
    return source


def _first_clause(text: str) -> str:
    """Return the first clause of an option's help, with its default."""
    first, _, rest = re.sub(r"[;.] ", "\n", text).partition("\n")
    default = re.search(r"\(default: .*\)$", rest)
    if default:
        return f"{first} {default[0]}"
    return first
