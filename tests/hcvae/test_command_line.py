import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field, field_validator
from pydantic_settings import CliPositionalArg

from hcvae.command_line import Command, parse, program_name, read_json
from hcvae.config import Config
from hcvae.errors import UserError


class Train(Config, Command):
    """Train.

    examples:
      train --model.width 0.5
    """

    config: str | None = None
    """A file with further values."""
    dry_run: bool = Field(False)
    """Do nothing."""

    @classmethod
    def values_not_given(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        return read_json(given["config"]) if "config" in given else {}


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[[object], list[str]]:
    """Write a configuration file, and return the option that names it."""

    def write(content: object) -> list[str]:
        file = tmp_path / "config.json"
        file.write_text(json.dumps(content))
        return [f"--config={file}"]

    return write


def test_options_override_the_file_and_the_file_the_defaults(config_file):
    file = config_file({"model": {"width": 0.5, "dropout": 0.1}})
    command = parse(Train, [*file, "--model.width=0.25", "--dry-run"])
    assert (command.model.width, command.model.dropout, command.model.use_film) == (0.25, 0.1, True)
    assert command.dry_run


def test_null_and_lists_can_be_given():
    command = parse(Train, ["--training.gradient_clip_norm=null", "--data.static=age_years,sex"])
    assert command.training.gradient_clip_norm is None
    assert command.data.static == ("age_years", "sex")


def test_environment_variables_are_not_read(monkeypatch):
    monkeypatch.setenv("model", '{"width": 0.125}')
    assert parse(Train, []).model.width == 1.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"training": {"loss_weights": {"kll": 1}}},
            "training.loss_weights.kll: unknown key; did you mean 'kl'?",
        ),
        ({"trainig": {}}, "trainig: unknown key; did you mean 'training'?"),
        ({"model": {"width": -1}}, "model.width: input should be greater than 0, but got -1"),
        ({"training": {"epochs": "many"}}, "training.epochs: must be a whole number, but got 'many'"),
        ({"training": 5}, "training: must be an object, but got 5"),
        ({"data": {"tables": "a.parquet"}}, "data.tables: must be a list, but got 'a.parquet'"),
        ({"data": {"static": []}}, "data.static: must not be empty, but got []"),
        (
            {"model": {"global_latent_dim": 64, "local_latent_dim": 32}},
            "local_latent_dim >= global_latent_dim must hold, but got (local_latent_dim=32, global_latent_dim=64)",
        ),
        ({"normalization": {"group_by": "species"}}, "normalization.group_by must be one of data.static"),
    ],
)
def test_messages_have_place_value_and_what_would_be_right(config_file, content, message):
    with pytest.raises(UserError) as error:
        parse(Train, config_file(content))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "content",
    [{"data": {"tables": ["s3://me:qwerty@b/t"]}}, {"training": {"start_from": "s3://b/m?secret_key=qwerty"}}],
)
def test_keys_in_paths_are_refused_and_not_repeated(config_file, content):
    with pytest.raises(UserError, match="holds a key or a password") as error:
        parse(Train, config_file(content))
    assert "qwerty" not in str(error.value)


def test_the_home_of_an_unknown_user_is_a_path():
    assert parse(Train, ["--data.tables=~nobody-of-that-name/t"]).data.tables[0].endswith("/~nobody-of-that-name/t")


def test_all_errors_are_reported_at_once(config_file):
    with pytest.raises(UserError) as error:
        parse(Train, config_file({"model": {"width": 0}, "training": {"epochs": 0}}))
    assert len(str(error.value).splitlines()) == 2


def test_an_unknown_option_has_a_suggestion():
    with pytest.raises(UserError, match=r"--model.widht: unknown option; did you mean '--model.width'\?"):
        parse(Train, ["--model.widht=2"])


def test_files_that_are_not_json_are_named_with_the_line(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"model": {},\n "training": }')
    with pytest.raises(UserError, match=r"config.json: not JSON: .*line 2"):
        read_json(str(file))
    with pytest.raises(UserError, match=r"missing.json: No such file"):
        read_json(str(tmp_path / "missing.json"))
    file.write_text("[1]")
    with pytest.raises(UserError, match="must hold a JSON object, but got list"):
        read_json(str(file))


class Convert(Command):
    """Convert.

    examples:
      convert a.txt --to a.mat
    """

    files: CliPositionalArg[list[str]]
    """Files."""
    to: str
    """The file to write."""
    rows_per_file: int = Field(5, ge=1)
    """Rows."""
    columns: list[int] = Field([])
    """Columns."""
    band: tuple[float, float] | Literal["usual"] | None = "usual"
    """Band."""
    common: ClassVar = frozenset({"columns"})

    @field_validator("to")
    @classmethod
    def _is_mat(cls, to: str) -> str:
        if not to.endswith(".mat"):
            raise ValueError(f"must end in .mat, but got {to[-4:]!r}")
        return to


PROG = "python -m tests.hcvae.test_command_line"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--to a.mat", f"the following arguments are required: FILES; see `{PROG} --help`"),
        ("a", "--to: is required"),
        ("a --to", f"--to: expected one argument; see `{PROG} --help`"),
        ("a --to t.txt", "--to: must end in .mat, but got '.txt'"),
        ("a --to a.mat --rows-per-file x", "--rows-per-file: must be a whole number, but got 'x'"),
        ("a --to a.mat --rows-per-file=0", "--rows-per-file: input should be greater than or equal to 1, but got '0'"),
        ("a --to a.mat --columns 1 --columns x", "--columns: must be a whole number, but got 'x'"),
        ("a --to a.mat --band x", "--band: must be 2 values or 'usual', but got 'x'"),
        ("a --to a.mat --columns [1", "--columns: must be JSON in single quotes, such as '[1, 2]' or '{\"key\": 1}'"),
        ("a --to a.mat --rows b", "--rows: unknown option; did you mean '--rows-per-file'?"),
    ],
)
def test_messages_name_options_as_typed(arguments, message, monkeypatch):
    monkeypatch.setattr(Convert, "__module__", PROG.split()[-1])
    with pytest.raises(UserError) as error:
        parse(Convert, arguments.split())
    assert str(error.value) == message


def test_an_extra_argument_is_refused():
    with pytest.raises(UserError, match=r"^more: unexpected argument; see `"):
        parse(Train, ["more"])


@pytest.mark.parametrize(("option", "shown"), [("--help", {"--columns"}), ("--help-all", {"--columns", "--band"})])
def test_help_is_short_and_help_all_is_complete(option, shown, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(Convert, [option])
    assert ended.value.code == 0
    help_text = capsys.readouterr().out
    assert help_text.startswith(f"usage: {program_name(Convert)} FILES ... --to TO [options]\n")
    assert {word for word in ("--columns", "--band") if word in help_text} == shown
    assert "  convert a.txt --to a.mat\n" in help_text


@pytest.mark.parametrize(
    ("module", "typed"),
    [
        ("hcvae.commands.inspect", "hcvae inspect"),
        ("hcvae.commands.import_recordings", "hcvae import"),
        ("jobs.search", "python -m jobs.search"),
    ],
)
def test_a_program_is_named_as_it_is_typed(module, typed, monkeypatch):
    monkeypatch.setattr(Convert, "__module__", module)
    assert program_name(Convert) == typed


class Average(Command):
    """Average."""

    block_sweeps: list[int] = Field([])
    seed: int = 0


@pytest.mark.parametrize("given", ["--block-sweeps 8 16", "--block-sweeps=8 16", "--block-sweeps 8 --block-sweeps=16"])
def test_several_numbers_after_an_option(given):
    assert parse(Average, given.split()).block_sweeps == [8, 16]


def test_an_option_with_one_number_refuses_a_second():
    with pytest.raises(UserError, match="2: unexpected argument"):
        parse(Average, ["--seed", "1", "2"])
