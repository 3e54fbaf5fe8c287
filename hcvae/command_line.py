"""Command lines from pydantic models: every field is an option, bad input is one message and exit code 2."""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from hcvae import __version__
from hcvae.errors import USER_ERROR, UserError
from hcvae.interruption import end_interrupted, interruptible
from hcvae.suggest import did_you_mean
from hcvae.validation import explain

NUMBER = re.compile(r"\d+(\.\d+)?")
OPTION_WITH_NUMBERS = re.compile(r"(?:^| )--([\w.-]+)[ =][\d.,]+$")


class Command(BaseSettings):
    """A command line: its fields are the options, its docstring the help. Reads nothing from the environment."""

    common: ClassVar[frozenset[str]] = frozenset()
    """Options that --help lists, where it leaves the others to --help-all; none: it lists all."""

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
    source = _options_of(command, "--help-all" in arguments or not command.common)
    try:
        return CliApp.run(command, _joined(arguments, command), source, **base or {})
    except ValidationError as error:
        raise UserError(explain(error, command, arguments)) from error
    except SettingsError as error:
        option = re.sub(r"Parsing error encountered for (\S+):.*", r"--\1", str(error), flags=re.DOTALL)
        raise UserError(f"{option}: must be JSON in single quotes, such as '[1, 2]' or '{{\"key\": 1}}'") from error


def program_name(command: type[BaseSettings]) -> str:
    """The command as a user types it, such as `hcvae inspect` or `python -m jobs.search`."""
    module = command.__module__
    if module == "__main__" and (spec := sys.modules[module].__spec__) is not None:
        module = spec.name
    package, _, name = module.rpartition(".")
    return f"hcvae {name}" if package == "hcvae.commands" else f"python -m {module}"


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


class _Parser(argparse.ArgumentParser):
    """Reads the options of a command; a mistake is a UserError. Unless `everything` is wanted, its help is short: the
    first clause and the default of each common option."""

    def __init__(self, command: type[Command], everything: bool) -> None:
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
        self._common = None if everything else command.common
        self._required = {
            str(f.validation_alias or name) for name, f in command.model_fields.items() if f.is_required()
        }
        self._settings = self.add_argument_group("settings of the configuration, those most often changed")

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: ([^\s=]+)", message)
        if unknown and unknown[1].startswith("-"):
            options = [option for option in self._option_string_actions if option.startswith("--")]
            raise UserError(f"{unknown[1]}: unknown option{did_you_mean(unknown[1], options)}")
        what = f"{unknown[1]}: unexpected argument" if unknown else message.removeprefix("argument ")
        raise UserError(f"{what}; see `{self.prog} --help`")

    def add_option(self, context: argparse.ArgumentParser, *names: str, **settings: Any) -> None:
        """Add one, to the usage as well if it must be given; `context` is the parser or a group of it."""
        option = names[0].removeprefix("--")
        settings["help"] = settings["help"].replace("(default: None)", "(default: null)")
        if settings.get("metavar") == "tuple[str,...]":
            settings["metavar"] = "A,B,..."
        if not names[0].startswith("-"):
            self.usage = f"{self.usage} {settings['metavar']}{' ...' if settings.get('nargs') == '+' else ''}"
        elif option in self._required:
            self.usage = f"{self.usage} --{option} {option.upper()}"
        elif self._common is not None:
            is_common = option.removeprefix("no-") in self._common
            settings["help"] = _first_clause(settings["help"]) if is_common else argparse.SUPPRESS
        context.add_argument(*names, **settings)

    def add_section(self, parser: argparse.ArgumentParser, **titles: Any) -> Any:
        """The group of a section's options; one for all in a short help."""
        return parser.add_argument_group(**titles) if self._common is None else self._settings


def _options_of(command: type[Command], everything: bool) -> CliSettingsSource[_Parser]:
    parser = _Parser(command, everything)
    source: CliSettingsSource[_Parser] = CliSettingsSource(
        command,
        root_parser=parser,
        add_argument_method=parser.add_option,
        add_argument_group_method=parser.add_section,
    )
    parser.usage = f"{parser.usage} [options]"
    return source


def _first_clause(text: str) -> str:
    """Of an option's help, with its default."""
    first, _, rest = re.sub(r"[;.] ", "\n", text).partition("\n")
    default = re.search(r"\(default: .*\)$", rest)
    return f"{first} {default[0]}" if default else first
