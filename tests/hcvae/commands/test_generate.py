"""`hcvae generate` as it is typed; tests/hcvae/generation has the arithmetic."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from hcvae import cli
from hcvae.data.simulator import simulate
from hcvae.data.table import signals_of, write_table
from hcvae.errors import UserError
from hcvae.generation import interpolate, read_recording, swap, vary


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "table.parquet"
    write_table(simulate(60, 0), path)
    return path


@pytest.fixture
def made(trained, tmp_path):
    """A function from the words of a command line to the table that it writes."""

    def run(*words):
        out = tmp_path / "made.parquet"
        assert cli.run(["generate", str(trained), *map(str, words), "--out", str(out)]) == 0
        return pq.read_table(out)

    return run


def test_ranges_and_lists_are_combined(made, capsys):
    table = made("--condition", "stimulus_level_db=20:80:20", "--condition", "sex=F,M", "--samples", 2)
    levels = np.repeat([20.0, 40.0, 60.0, 80.0], 4)
    assert table["stimulus_level_db"].to_pylist() == levels.tolist()
    assert table["sex"].to_pylist() == ["F", "F", "M", "M"] * 4
    assert {"peak_latency_ms", "peak_amplitude_uv"} < set(table.column_names)
    said = capsys.readouterr().out
    assert "stimulus_level_db = 20, 40, 60, 80\n" in said
    assert "sex = F, M\n" in said


def test_conditions_outside_the_training_range_need_an_option(made, trained_bundle):
    level = trained_bundle.preprocessing.static.columns[0]
    assert (level.minimum, level.maximum) == (10, 90)
    with pytest.raises(UserError, match="trained on 10 to 90, but got 100"):
        made("--condition", "stimulus_level_db=80:100:10")
    table = made("--condition", "stimulus_level_db=100", "--extrapolate", "--samples", 3)
    assert table["stimulus_level_db"].to_pylist() == [100.0] * 3


def test_like_a_recording(made, table, trained_bundle, capsys):
    first = read_recording(trained_bundle, table, 3)
    drawn = made("--like", table, "--row", 3, "--fix", "local", "--samples", 4, "--seed", 2, "--temperature", 0.5)
    assert_same(drawn, vary(trained_bundle, first, "local", 4, 2, temperature=0.5))
    assert "(of the recording)" in capsys.readouterr().out
    kept = made("--like", table, "--row", 3, "--fix", "both", "--condition", "stimulus_level_db=30:50:10")
    levels = [{"stimulus_level_db": level} for level in (30.0, 40.0, 50.0)]
    assert_same(kept, vary(trained_bundle, first, "both", 1, conditions=levels))


def test_with_a_second_recording(made, table, trained_bundle, tmp_path):
    write_table(simulate(60, 0).slice(40, 5), tmp_path / "other.parquet")
    first, second = (read_recording(trained_bundle, table, row) for row in (3, 41))
    other = ("--other", tmp_path / "other.parquet")
    for words in (("--interpolate", 41), ("--interpolate", 1, *other)):
        between = made("--like", table, "--row", 3, *words, "--steps", 4)
        assert_same(between, interpolate(trained_bundle, first, second, 4))
    exchanged = made("--like", table, "--row", 3, "--swap", 1, *other)
    assert_same(exchanged, swap(trained_bundle, first, second))


def test_the_figure_is_written_on_request(made, tmp_path, capsys):
    made("--condition", "stimulus_level_db=20:76:2", "--samples", 2, "--figure", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert f"figure written to {tmp_path / 'a.png'}" in said
    assert "5 of 29 conditions not plotted: " in said
    with pytest.raises(UserError, match=r"--figure .*a\.pdf: the name must end in \.png"):
        made("--figure", tmp_path / "a.pdf")


def assert_same(table, expected):
    assert table.drop_columns(["peak_latency_ms", "peak_amplitude_uv"]).equals(  # NaN is not equal to NaN
        expected.drop_columns(["peak_latency_ms", "peak_amplitude_uv"])
    )
    assert np.isfinite(signals_of(table)).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--row", "3"], "--row: needs --like FILE"),
        (["--swap", "3"], "--swap: needs --like FILE"),
        (["--like", "a", "--other", "b"], "--other: needs --interpolate ROW or --swap ROW"),
        (["--like", "a", "--swap", "1", "--steps", "3"], "--steps: needs --interpolate ROW"),
        (["--like", "a", "--swap", "1", "--interpolate", "1"], "give one of them, but got both"),
        (["--like", "a", "--interpolate", "1", "--residual-noise"], "--residual-noise: has no effect"),
        (["--like", "a", "--fix", "both", "--temperature", "2"], "--temperature: has no effect with --fix both"),
        (["--like", "a", "--fix", "both", "--samples", "2"], "--samples: has no effect with --fix both"),
        (["--like", "no.parquet"], r"no\.parquet: no such file"),
        (["--temperature", "-1"], "temperature"),
        (["--like", "a", "--fix", "shape"], "'global', 'local' or 'both'"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(made, tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        made(*words)
    assert list(tmp_path.iterdir()) == []
