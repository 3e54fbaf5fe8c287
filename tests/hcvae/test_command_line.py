import json

import pytest
from pydantic import Field

from hcvae.command_line import Command, parse, read_json
from hcvae.config import Config
from hcvae.errors import UserError


class Train(Config, Command):
    """Train.

    examples:
      train --model.width 0.5
    """

    dry_run: bool = Field(False, validation_alias="dry-run")
    """Do nothing."""


def test_options_override_the_file_and_the_file_the_defaults(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model": {"width": 0.5, "dropout": 0.1}}))
    command = parse(Train, ["--model.width=0.25", "--dry-run"], read_json(str(file)))
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
        ({"training": {"epochs": "many"}}, "training.epochs: input should be a valid integer"),
        (
            {"model": {"global_latent_dim": 64, "local_latent_dim": 32}},
            "local_latent_dim >= global_latent_dim must hold, but got (local_latent_dim=32, global_latent_dim=64)",
        ),
        ({"normalization": {"group_by": "species"}}, "normalization.group_by must be one of data.static"),
    ],
)
def test_bad_values_say_where_what_and_what_would_be_right(content, message):
    with pytest.raises(UserError) as error:
        parse(Train, [], content)
    assert message in str(error.value)


def test_every_mistake_is_told_at_once():
    with pytest.raises(UserError) as error:
        parse(Train, [], {"model": {"width": 0}, "training": {"epochs": 0}})
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


class Average(Command):
    """Average."""

    block_sweeps: list[int] = Field([], validation_alias="block-sweeps")
    seed: int = 0


@pytest.mark.parametrize("given", ["--block-sweeps 8 16", "--block-sweeps=8 16", "--block-sweeps 8 --block-sweeps=16"])
def test_several_numbers_after_an_option_of_several(given):
    assert parse(Average, given.split()).block_sweeps == [8, 16]


def test_an_option_of_one_number_takes_no_second():
    with pytest.raises(UserError, match="2: unknown option"):
        parse(Average, ["--seed", "1", "2"])
